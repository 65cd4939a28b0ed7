"""The messages of OCPP 2.0.1, generated from the JSON schemas of ocpp 2.1.0 by `python -m cpms_actors.ocpp.generate`: do not edit."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from cpms_actors.ocpp.messages.fields import DateTime, INT64_MAX, Integer, Maybe, Message, OpenMessage

String6: TypeAlias = Annotated[str, Meta(max_length=6)]
String8: TypeAlias = Annotated[str, Meta(max_length=8)]
String16: TypeAlias = Annotated[str, Meta(max_length=16)]
String20: TypeAlias = Annotated[str, Meta(max_length=20)]
String25: TypeAlias = Annotated[str, Meta(max_length=25)]
String32: TypeAlias = Annotated[str, Meta(max_length=32)]
String36: TypeAlias = Annotated[str, Meta(max_length=36)]
String40: TypeAlias = Annotated[str, Meta(max_length=40)]
String50: TypeAlias = Annotated[str, Meta(max_length=50)]
String64: TypeAlias = Annotated[str, Meta(max_length=64)]
String128: TypeAlias = Annotated[str, Meta(max_length=128)]
String255: TypeAlias = Annotated[str, Meta(max_length=255)]
String500: TypeAlias = Annotated[str, Meta(max_length=500)]
String512: TypeAlias = Annotated[str, Meta(max_length=512)]
String800: TypeAlias = Annotated[str, Meta(max_length=800)]
String1000: TypeAlias = Annotated[str, Meta(max_length=1000)]
String2500: TypeAlias = Annotated[str, Meta(max_length=2500)]
String5500: TypeAlias = Annotated[str, Meta(max_length=5500)]
String5600: TypeAlias = Annotated[str, Meta(max_length=5600)]
String7500: TypeAlias = Annotated[str, Meta(max_length=7500)]
String10000: TypeAlias = Annotated[str, Meta(max_length=10000)]

APNAuthenticationEnumType: TypeAlias = Literal["CHAP", "NONE", "PAP", "AUTO"]
AttributeEnumType: TypeAlias = Literal["Actual", "Target", "MinSet", "MaxSet"]
AuthorizationStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Blocked",
    "ConcurrentTx",
    "Expired",
    "Invalid",
    "NoCredit",
    "NotAllowedTypeEVSE",
    "NotAtThisLocation",
    "NotAtThisTime",
    "Unknown",
]
AuthorizeCertificateStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "SignatureError",
    "CertificateExpired",
    "CertificateRevoked",
    "NoCertificateAvailable",
    "CertChainError",
    "ContractCancelled",
]
BootReasonEnumType: TypeAlias = Literal[
    "ApplicationReset",
    "FirmwareUpdate",
    "LocalReset",
    "PowerUp",
    "RemoteReset",
    "ScheduledReset",
    "Triggered",
    "Unknown",
    "Watchdog",
]
CancelReservationStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
CertificateActionEnumType: TypeAlias = Literal["Install", "Update"]
CertificateSignedStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
CertificateSigningUseEnumType: TypeAlias = Literal["ChargingStationCertificate", "V2GCertificate"]
ChangeAvailabilityStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Scheduled"]
ChargingLimitSourceEnumType: TypeAlias = Literal["EMS", "Other", "SO", "CSO"]
ChargingProfileKindEnumType: TypeAlias = Literal["Absolute", "Recurring", "Relative"]
ChargingProfilePurposeEnumType: TypeAlias = Literal[
    "ChargingStationExternalConstraints",
    "ChargingStationMaxProfile",
    "TxDefaultProfile",
    "TxProfile",
]
ChargingProfileStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ChargingRateUnitEnumType: TypeAlias = Literal["W", "A"]
ChargingStateEnumType: TypeAlias = Literal["Charging", "EVConnected", "SuspendedEV", "SuspendedEVSE", "Idle"]
ClearCacheStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ClearChargingProfileStatusEnumType: TypeAlias = Literal["Accepted", "Unknown"]
ClearMessageStatusEnumType: TypeAlias = Literal["Accepted", "Unknown"]
ClearMonitoringStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotFound"]
ComponentCriterionEnumType: TypeAlias = Literal["Active", "Available", "Enabled", "Problem"]
ConnectorEnumType: TypeAlias = Literal[
    "cCCS1",
    "cCCS2",
    "cG105",
    "cTesla",
    "cType1",
    "cType2",
    "s309-1P-16A",
    "s309-1P-32A",
    "s309-3P-16A",
    "s309-3P-32A",
    "sBS1361",
    "sCEE-7-7",
    "sType2",
    "sType3",
    "Other1PhMax16A",
    "Other1PhOver16A",
    "Other3Ph",
    "Pan",
    "wInductive",
    "wResonant",
    "Undetermined",
    "Unknown",
]
ConnectorStatusEnumType: TypeAlias = Literal["Available", "Occupied", "Reserved", "Unavailable", "Faulted"]
CostKindEnumType: TypeAlias = Literal["CarbonDioxideEmission", "RelativePricePercentage", "RenewableGenerationPercentage"]
CustomerInformationStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Invalid"]
DataEnumType: TypeAlias = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]
DataTransferStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
DeleteCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed", "NotFound"]
DisplayMessageStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "NotSupportedMessageFormat",
    "Rejected",
    "NotSupportedPriority",
    "NotSupportedState",
    "UnknownTransaction",
]
EnergyTransferModeEnumType: TypeAlias = Literal["DC", "AC_single_phase", "AC_two_phase", "AC_three_phase"]
EventNotificationEnumType: TypeAlias = Literal["HardWiredNotification", "HardWiredMonitor", "PreconfiguredMonitor", "CustomMonitor"]
EventTriggerEnumType: TypeAlias = Literal["Alerting", "Delta", "Periodic"]
FirmwareStatusEnumType: TypeAlias = Literal[
    "Downloaded",
    "DownloadFailed",
    "Downloading",
    "DownloadScheduled",
    "DownloadPaused",
    "Idle",
    "InstallationFailed",
    "Installing",
    "Installed",
    "InstallRebooting",
    "InstallScheduled",
    "InstallVerificationFailed",
    "InvalidSignature",
    "SignatureVerified",
]
GenericDeviceModelStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotSupported", "EmptyResultSet"]
GenericStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
GetCertificateIdUseEnumType: TypeAlias = Literal[
    "V2GRootCertificate",
    "MORootCertificate",
    "CSMSRootCertificate",
    "V2GCertificateChain",
    "ManufacturerRootCertificate",
]
GetCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed"]
GetChargingProfileStatusEnumType: TypeAlias = Literal["Accepted", "NoProfiles"]
GetDisplayMessagesStatusEnumType: TypeAlias = Literal["Accepted", "Unknown"]
GetInstalledCertificateStatusEnumType: TypeAlias = Literal["Accepted", "NotFound"]
GetVariableStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Rejected",
    "UnknownComponent",
    "UnknownVariable",
    "NotSupportedAttributeType",
]
HashAlgorithmEnumType: TypeAlias = Literal["SHA256", "SHA384", "SHA512"]
IdTokenEnumType: TypeAlias = Literal["Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization"]
InstallCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Failed"]
InstallCertificateUseEnumType: TypeAlias = Literal[
    "V2GRootCertificate",
    "MORootCertificate",
    "CSMSRootCertificate",
    "ManufacturerRootCertificate",
]
Iso15118EVCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed"]
LocationEnumType: TypeAlias = Literal["Body", "Cable", "EV", "Inlet", "Outlet"]
LogEnumType: TypeAlias = Literal["DiagnosticsLog", "SecurityLog"]
LogStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "AcceptedCanceled"]
MeasurandEnumType: TypeAlias = Literal[
    "Current.Export",
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Export.Register",
    "Energy.Active.Import.Register",
    "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Register",
    "Energy.Active.Export.Interval",
    "Energy.Active.Import.Interval",
    "Energy.Active.Net",
    "Energy.Reactive.Export.Interval",
    "Energy.Reactive.Import.Interval",
    "Energy.Reactive.Net",
    "Energy.Apparent.Net",
    "Energy.Apparent.Import",
    "Energy.Apparent.Export",
    "Frequency",
    "Power.Active.Export",
    "Power.Active.Import",
    "Power.Factor",
    "Power.Offered",
    "Power.Reactive.Export",
    "Power.Reactive.Import",
    "SoC",
    "Voltage",
]
MessageFormatEnumType: TypeAlias = Literal["ASCII", "HTML", "URI", "UTF8"]
MessagePriorityEnumType: TypeAlias = Literal["AlwaysFront", "InFront", "NormalCycle"]
MessageStateEnumType: TypeAlias = Literal["Charging", "Faulted", "Idle", "Unavailable"]
MessageTriggerEnumType: TypeAlias = Literal[
    "BootNotification",
    "LogStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "SignChargingStationCertificate",
    "SignV2GCertificate",
    "StatusNotification",
    "TransactionEvent",
    "SignCombinedCertificate",
    "PublishFirmwareStatusNotification",
]
MonitorEnumType: TypeAlias = Literal["UpperThreshold", "LowerThreshold", "Delta", "Periodic", "PeriodicClockAligned"]
MonitoringBaseEnumType: TypeAlias = Literal["All", "FactoryDefault", "HardWiredOnly"]
MonitoringCriterionEnumType: TypeAlias = Literal["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]
MutabilityEnumType: TypeAlias = Literal["ReadOnly", "WriteOnly", "ReadWrite"]
NotifyEVChargingNeedsStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Processing"]
OCPPInterfaceEnumType: TypeAlias = Literal["Wired0", "Wired1", "Wired2", "Wired3", "Wireless0", "Wireless1", "Wireless2", "Wireless3"]
OCPPTransportEnumType: TypeAlias = Literal["JSON", "SOAP"]
OCPPVersionEnumType: TypeAlias = Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20"]
OperationalStatusEnumType: TypeAlias = Literal["Inoperative", "Operative"]
PhaseEnumType: TypeAlias = Literal["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"]
PublishFirmwareStatusEnumType: TypeAlias = Literal[
    "Idle",
    "DownloadScheduled",
    "Downloading",
    "Downloaded",
    "Published",
    "DownloadFailed",
    "DownloadPaused",
    "InvalidChecksum",
    "ChecksumVerified",
    "PublishFailed",
]
ReadingContextEnumType: TypeAlias = Literal[
    "Interruption.Begin",
    "Interruption.End",
    "Other",
    "Sample.Clock",
    "Sample.Periodic",
    "Transaction.Begin",
    "Transaction.End",
    "Trigger",
]
ReasonEnumType: TypeAlias = Literal[
    "DeAuthorized",
    "EmergencyStop",
    "EnergyLimitReached",
    "EVDisconnected",
    "GroundFault",
    "ImmediateReset",
    "Local",
    "LocalOutOfCredit",
    "MasterPass",
    "Other",
    "OvercurrentFault",
    "PowerLoss",
    "PowerQuality",
    "Reboot",
    "Remote",
    "SOCLimitReached",
    "StoppedByEV",
    "TimeLimitReached",
    "Timeout",
]
RecurrencyKindEnumType: TypeAlias = Literal["Daily", "Weekly"]
RegistrationStatusEnumType: TypeAlias = Literal["Accepted", "Pending", "Rejected"]
ReportBaseEnumType: TypeAlias = Literal["ConfigurationInventory", "FullInventory", "SummaryInventory"]
RequestStartStopStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ReservationUpdateStatusEnumType: TypeAlias = Literal["Expired", "Removed"]
ReserveNowStatusEnumType: TypeAlias = Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]
ResetEnumType: TypeAlias = Literal["Immediate", "OnIdle"]
ResetStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Scheduled"]
SendLocalListStatusEnumType: TypeAlias = Literal["Accepted", "Failed", "VersionMismatch"]
SetMonitoringStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "UnknownComponent",
    "UnknownVariable",
    "UnsupportedMonitorType",
    "Rejected",
    "Duplicate",
]
SetNetworkProfileStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Failed"]
SetVariableStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Rejected",
    "UnknownComponent",
    "UnknownVariable",
    "NotSupportedAttributeType",
    "RebootRequired",
]
TransactionEventEnumType: TypeAlias = Literal["Ended", "Started", "Updated"]
TriggerMessageStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotImplemented"]
TriggerReasonEnumType: TypeAlias = Literal[
    "Authorized",
    "CablePluggedIn",
    "ChargingRateChanged",
    "ChargingStateChanged",
    "Deauthorized",
    "EnergyLimitReached",
    "EVCommunicationLost",
    "EVConnectTimeout",
    "MeterValueClock",
    "MeterValuePeriodic",
    "TimeLimitReached",
    "Trigger",
    "UnlockCommand",
    "StopAuthorized",
    "EVDeparted",
    "EVDetected",
    "RemoteStop",
    "RemoteStart",
    "AbnormalCondition",
    "SignedDataReceived",
    "ResetCommand",
]
UnlockStatusEnumType: TypeAlias = Literal["Unlocked", "UnlockFailed", "OngoingAuthorizedTransaction", "UnknownConnector"]
UnpublishFirmwareStatusEnumType: TypeAlias = Literal["DownloadOngoing", "NoFirmware", "Unpublished"]
UpdateEnumType: TypeAlias = Literal["Differential", "Full"]
UpdateFirmwareStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Rejected",
    "AcceptedCanceled",
    "InvalidCertificate",
    "RevokedCertificate",
]
UploadLogStatusEnumType: TypeAlias = Literal[
    "BadMessage",
    "Idle",
    "NotSupportedOperation",
    "PermissionDenied",
    "Uploaded",
    "UploadFailure",
    "Uploading",
    "AcceptedCanceled",
]
VPNEnumType: TypeAlias = Literal["IKEv2", "IPSec", "L2TP", "PPTP"]


class CustomDataType(OpenMessage, frozen=True, kw_only=True):
    vendorId: String255


class AdditionalInfoType(Message, frozen=True, kw_only=True):
    additionalIdToken: String36
    type: String50
    customData: Maybe[CustomDataType] = None


class IdTokenType(Message, frozen=True, kw_only=True):
    additionalInfo: Maybe[Annotated[tuple[AdditionalInfoType, ...], Meta(min_length=1)]] = None
    idToken: String36
    type: IdTokenEnumType
    customData: Maybe[CustomDataType] = None


class OCSPRequestDataType(Message, frozen=True, kw_only=True):
    hashAlgorithm: HashAlgorithmEnumType
    issuerNameHash: String128
    issuerKeyHash: String128
    serialNumber: String40
    responderURL: String512
    customData: Maybe[CustomDataType] = None


class MessageContentType(Message, frozen=True, kw_only=True):
    format: MessageFormatEnumType
    language: Maybe[String8] = None
    content: String512
    customData: Maybe[CustomDataType] = None


class IdTokenInfoType(Message, frozen=True, kw_only=True):
    status: AuthorizationStatusEnumType
    cacheExpiryDateTime: Maybe[DateTime] = None
    chargingPriority: Maybe[Integer] = None
    language1: Maybe[String8] = None
    evseId: Maybe[Annotated[tuple[Integer, ...], Meta(min_length=1)]] = None
    groupIdToken: Maybe[IdTokenType] = None
    language2: Maybe[String8] = None
    personalMessage: Maybe[MessageContentType] = None
    customData: Maybe[CustomDataType] = None


class ModemType(Message, frozen=True, kw_only=True):
    iccid: Maybe[String20] = None
    imsi: Maybe[String20] = None
    customData: Maybe[CustomDataType] = None


class ChargingStationType(Message, frozen=True, kw_only=True):
    serialNumber: Maybe[String25] = None
    model: String20
    modem: Maybe[ModemType] = None
    vendorName: String50
    firmwareVersion: Maybe[String50] = None
    customData: Maybe[CustomDataType] = None


class StatusInfoType(Message, frozen=True, kw_only=True):
    reasonCode: String20
    additionalInfo: Maybe[String512] = None
    customData: Maybe[CustomDataType] = None


class EVSEType(Message, frozen=True, kw_only=True):
    id: Integer
    connectorId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class ClearChargingProfileType(Message, frozen=True, kw_only=True):
    evseId: Maybe[Integer] = None
    chargingProfilePurpose: Maybe[ChargingProfilePurposeEnumType] = None
    stackLevel: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class ClearMonitoringResultType(Message, frozen=True, kw_only=True):
    status: ClearMonitoringStatusEnumType
    id: Integer
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class CertificateHashDataType(Message, frozen=True, kw_only=True):
    hashAlgorithm: HashAlgorithmEnumType
    issuerNameHash: String128
    issuerKeyHash: String128
    serialNumber: String40
    customData: Maybe[CustomDataType] = None


class ChargingProfileCriterionType(Message, frozen=True, kw_only=True):
    chargingProfilePurpose: Maybe[ChargingProfilePurposeEnumType] = None
    stackLevel: Maybe[Integer] = None
    chargingProfileId: Maybe[Annotated[tuple[Integer, ...], Meta(min_length=1)]] = None
    chargingLimitSource: Maybe[Annotated[tuple[ChargingLimitSourceEnumType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class ChargingSchedulePeriodType(Message, frozen=True, kw_only=True):
    startPeriod: Integer
    limit: float
    numberPhases: Maybe[Integer] = None
    phaseToUse: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class CompositeScheduleType(Message, frozen=True, kw_only=True):
    chargingSchedulePeriod: Annotated[tuple[ChargingSchedulePeriodType, ...], Meta(min_length=1)]
    evseId: Integer
    duration: Integer
    scheduleStart: DateTime
    chargingRateUnit: ChargingRateUnitEnumType
    customData: Maybe[CustomDataType] = None


class CertificateHashDataChainType(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType
    certificateType: GetCertificateIdUseEnumType
    childCertificateHashData: Maybe[Annotated[tuple[CertificateHashDataType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class LogParametersType(Message, frozen=True, kw_only=True):
    remoteLocation: String512
    oldestTimestamp: Maybe[DateTime] = None
    latestTimestamp: Maybe[DateTime] = None
    customData: Maybe[CustomDataType] = None


class ComponentType(Message, frozen=True, kw_only=True):
    evse: Maybe[EVSEType] = None
    name: String50
    instance: Maybe[String50] = None
    customData: Maybe[CustomDataType] = None


class VariableType(Message, frozen=True, kw_only=True):
    name: String50
    instance: Maybe[String50] = None
    customData: Maybe[CustomDataType] = None


class ComponentVariableType(Message, frozen=True, kw_only=True):
    component: ComponentType
    variable: Maybe[VariableType] = None
    customData: Maybe[CustomDataType] = None


class GetVariableDataType(Message, frozen=True, kw_only=True):
    attributeType: Maybe[AttributeEnumType] = None
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class GetVariableResultType(Message, frozen=True, kw_only=True):
    attributeStatusInfo: Maybe[StatusInfoType] = None
    attributeStatus: GetVariableStatusEnumType
    attributeType: Maybe[AttributeEnumType] = None
    attributeValue: Maybe[String2500] = None
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class SignedMeterValueType(Message, frozen=True, kw_only=True):
    signedMeterData: String2500
    signingMethod: String50
    encodingMethod: String50
    publicKey: String2500
    customData: Maybe[CustomDataType] = None


class UnitOfMeasureType(Message, frozen=True, kw_only=True):
    unit: Maybe[String20] = None
    multiplier: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class SampledValueType(Message, frozen=True, kw_only=True):
    value: float
    context: Maybe[ReadingContextEnumType] = None
    measurand: Maybe[MeasurandEnumType] = None
    phase: Maybe[PhaseEnumType] = None
    location: Maybe[LocationEnumType] = None
    signedMeterValue: Maybe[SignedMeterValueType] = None
    unitOfMeasure: Maybe[UnitOfMeasureType] = None
    customData: Maybe[CustomDataType] = None


class MeterValueType(Message, frozen=True, kw_only=True):
    sampledValue: Annotated[tuple[SampledValueType, ...], Meta(min_length=1)]
    timestamp: DateTime
    customData: Maybe[CustomDataType] = None


class RelativeTimeIntervalType(Message, frozen=True, kw_only=True):
    start: Integer
    duration: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class CostType(Message, frozen=True, kw_only=True):
    costKind: CostKindEnumType
    amount: Integer
    amountMultiplier: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class ConsumptionCostType(Message, frozen=True, kw_only=True):
    startValue: float
    cost: Annotated[tuple[CostType, ...], Meta(min_length=1, max_length=3)]
    customData: Maybe[CustomDataType] = None


class SalesTariffEntryType(Message, frozen=True, kw_only=True):
    relativeTimeInterval: RelativeTimeIntervalType
    ePriceLevel: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    consumptionCost: Maybe[Annotated[tuple[ConsumptionCostType, ...], Meta(min_length=1, max_length=3)]] = None
    customData: Maybe[CustomDataType] = None


class SalesTariffType(Message, frozen=True, kw_only=True):
    id: Integer
    salesTariffDescription: Maybe[String32] = None
    numEPriceLevels: Maybe[Integer] = None
    salesTariffEntry: Annotated[tuple[SalesTariffEntryType, ...], Meta(min_length=1, max_length=1024)]
    customData: Maybe[CustomDataType] = None


class ChargingScheduleType(Message, frozen=True, kw_only=True):
    id: Integer
    startSchedule: Maybe[DateTime] = None
    duration: Maybe[Integer] = None
    chargingRateUnit: ChargingRateUnitEnumType
    chargingSchedulePeriod: Annotated[tuple[ChargingSchedulePeriodType, ...], Meta(min_length=1, max_length=1024)]
    minChargingRate: Maybe[float] = None
    salesTariff: Maybe[SalesTariffType] = None
    customData: Maybe[CustomDataType] = None


class ChargingLimitType(Message, frozen=True, kw_only=True):
    chargingLimitSource: ChargingLimitSourceEnumType
    isGridCritical: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class MessageInfoType(Message, frozen=True, kw_only=True):
    display: Maybe[ComponentType] = None
    id: Integer
    priority: MessagePriorityEnumType
    state: Maybe[MessageStateEnumType] = None
    startDateTime: Maybe[DateTime] = None
    endDateTime: Maybe[DateTime] = None
    transactionId: Maybe[String36] = None
    message: MessageContentType
    customData: Maybe[CustomDataType] = None


class ACChargingParametersType(Message, frozen=True, kw_only=True):
    energyAmount: Integer
    evMinCurrent: Integer
    evMaxCurrent: Integer
    evMaxVoltage: Integer
    customData: Maybe[CustomDataType] = None


class DCChargingParametersType(Message, frozen=True, kw_only=True):
    evMaxCurrent: Integer
    evMaxVoltage: Integer
    energyAmount: Maybe[Integer] = None
    evMaxPower: Maybe[Integer] = None
    stateOfCharge: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    evEnergyCapacity: Maybe[Integer] = None
    fullSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    bulkSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    customData: Maybe[CustomDataType] = None


class ChargingNeedsType(Message, frozen=True, kw_only=True):
    acChargingParameters: Maybe[ACChargingParametersType] = None
    dcChargingParameters: Maybe[DCChargingParametersType] = None
    requestedEnergyTransfer: EnergyTransferModeEnumType
    departureTime: Maybe[DateTime] = None
    customData: Maybe[CustomDataType] = None


class EventDataType(Message, frozen=True, kw_only=True):
    eventId: Integer
    timestamp: DateTime
    trigger: EventTriggerEnumType
    cause: Maybe[Integer] = None
    actualValue: String2500
    techCode: Maybe[String50] = None
    techInfo: Maybe[String500] = None
    cleared: Maybe[bool] = None
    transactionId: Maybe[String36] = None
    component: ComponentType
    variableMonitoringId: Maybe[Integer] = None
    eventNotificationType: EventNotificationEnumType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class VariableMonitoringType(Message, frozen=True, kw_only=True):
    id: Integer
    transaction: bool
    value: float
    type: MonitorEnumType
    severity: Integer
    customData: Maybe[CustomDataType] = None


class MonitoringDataType(Message, frozen=True, kw_only=True):
    component: ComponentType
    variable: VariableType
    variableMonitoring: Annotated[tuple[VariableMonitoringType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class VariableAttributeType(Message, frozen=True, kw_only=True):
    type: Maybe[AttributeEnumType] = None
    value: Maybe[String2500] = None
    mutability: Maybe[MutabilityEnumType] = None
    persistent: Maybe[bool] = None
    constant: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class VariableCharacteristicsType(Message, frozen=True, kw_only=True):
    unit: Maybe[String16] = None
    dataType: DataEnumType
    minLimit: Maybe[float] = None
    maxLimit: Maybe[float] = None
    valuesList: Maybe[String1000] = None
    supportsMonitoring: bool
    customData: Maybe[CustomDataType] = None


class ReportDataType(Message, frozen=True, kw_only=True):
    component: ComponentType
    variable: VariableType
    variableAttribute: Annotated[tuple[VariableAttributeType, ...], Meta(min_length=1, max_length=4)]
    variableCharacteristics: Maybe[VariableCharacteristicsType] = None
    customData: Maybe[CustomDataType] = None


class ChargingProfileType(Message, frozen=True, kw_only=True):
    id: Integer
    stackLevel: Integer
    chargingProfilePurpose: ChargingProfilePurposeEnumType
    chargingProfileKind: ChargingProfileKindEnumType
    recurrencyKind: Maybe[RecurrencyKindEnumType] = None
    validFrom: Maybe[DateTime] = None
    validTo: Maybe[DateTime] = None
    chargingSchedule: Annotated[tuple[ChargingScheduleType, ...], Meta(min_length=1, max_length=3)]
    transactionId: Maybe[String36] = None
    customData: Maybe[CustomDataType] = None


class AuthorizationData(Message, frozen=True, kw_only=True):
    idToken: IdTokenType
    idTokenInfo: Maybe[IdTokenInfoType] = None
    customData: Maybe[CustomDataType] = None


class APNType(Message, frozen=True, kw_only=True):
    apn: String512
    apnUserName: Maybe[String20] = None
    apnPassword: Maybe[String20] = None
    simPin: Maybe[Integer] = None
    preferredNetwork: Maybe[String6] = None
    useOnlyPreferredNetwork: Maybe[bool] = None
    apnAuthentication: APNAuthenticationEnumType
    customData: Maybe[CustomDataType] = None


class VPNType(Message, frozen=True, kw_only=True):
    server: String512
    user: String20
    group: Maybe[String20] = None
    password: String20
    key: String255
    type: VPNEnumType
    customData: Maybe[CustomDataType] = None


class NetworkConnectionProfileType(Message, frozen=True, kw_only=True):
    apn: Maybe[APNType] = None
    ocppVersion: OCPPVersionEnumType
    ocppTransport: OCPPTransportEnumType
    ocppCsmsUrl: String512
    messageTimeout: Integer
    securityProfile: Integer
    ocppInterface: OCPPInterfaceEnumType
    vpn: Maybe[VPNType] = None
    customData: Maybe[CustomDataType] = None


class SetMonitoringDataType(Message, frozen=True, kw_only=True):
    id: Maybe[Integer] = None
    transaction: Maybe[bool] = None
    value: float
    type: MonitorEnumType
    severity: Integer
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class SetMonitoringResultType(Message, frozen=True, kw_only=True):
    id: Maybe[Integer] = None
    statusInfo: Maybe[StatusInfoType] = None
    status: SetMonitoringStatusEnumType
    type: MonitorEnumType
    component: ComponentType
    variable: VariableType
    severity: Integer
    customData: Maybe[CustomDataType] = None


class SetVariableDataType(Message, frozen=True, kw_only=True):
    attributeType: Maybe[AttributeEnumType] = None
    attributeValue: String1000
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class SetVariableResultType(Message, frozen=True, kw_only=True):
    attributeType: Maybe[AttributeEnumType] = None
    attributeStatus: SetVariableStatusEnumType
    attributeStatusInfo: Maybe[StatusInfoType] = None
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class TransactionType(Message, frozen=True, kw_only=True):
    transactionId: String36
    chargingState: Maybe[ChargingStateEnumType] = None
    timeSpentCharging: Maybe[Integer] = None
    stoppedReason: Maybe[ReasonEnumType] = None
    remoteStartId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class FirmwareType(Message, frozen=True, kw_only=True):
    location: String512
    retrieveDateTime: DateTime
    installDateTime: Maybe[DateTime] = None
    signingCertificate: Maybe[String5500] = None
    signature: Maybe[String800] = None
    customData: Maybe[CustomDataType] = None


class AuthorizeRequest(Message, frozen=True, kw_only=True):
    idToken: IdTokenType
    certificate: Maybe[String5500] = None
    iso15118CertificateHashData: Maybe[Annotated[tuple[OCSPRequestDataType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class AuthorizeResponse(Message, frozen=True, kw_only=True):
    idTokenInfo: IdTokenInfoType
    certificateStatus: Maybe[AuthorizeCertificateStatusEnumType] = None
    customData: Maybe[CustomDataType] = None


class BootNotificationRequest(Message, frozen=True, kw_only=True):
    chargingStation: ChargingStationType
    reason: BootReasonEnumType
    customData: Maybe[CustomDataType] = None


class BootNotificationResponse(Message, frozen=True, kw_only=True):
    currentTime: DateTime
    interval: Integer
    status: RegistrationStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class CancelReservationRequest(Message, frozen=True, kw_only=True):
    reservationId: Integer
    customData: Maybe[CustomDataType] = None


class CancelReservationResponse(Message, frozen=True, kw_only=True):
    status: CancelReservationStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class CertificateSignedRequest(Message, frozen=True, kw_only=True):
    certificateChain: String10000
    certificateType: Maybe[CertificateSigningUseEnumType] = None
    customData: Maybe[CustomDataType] = None


class CertificateSignedResponse(Message, frozen=True, kw_only=True):
    status: CertificateSignedStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ChangeAvailabilityRequest(Message, frozen=True, kw_only=True):
    evse: Maybe[EVSEType] = None
    operationalStatus: OperationalStatusEnumType
    customData: Maybe[CustomDataType] = None


class ChangeAvailabilityResponse(Message, frozen=True, kw_only=True):
    status: ChangeAvailabilityStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearCacheRequest(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ClearCacheResponse(Message, frozen=True, kw_only=True):
    status: ClearCacheStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearChargingProfileRequest(Message, frozen=True, kw_only=True):
    chargingProfileId: Maybe[Integer] = None
    chargingProfileCriteria: Maybe[ClearChargingProfileType] = None
    customData: Maybe[CustomDataType] = None


class ClearChargingProfileResponse(Message, frozen=True, kw_only=True):
    status: ClearChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearDisplayMessageRequest(Message, frozen=True, kw_only=True):
    id: Integer
    customData: Maybe[CustomDataType] = None


class ClearDisplayMessageResponse(Message, frozen=True, kw_only=True):
    status: ClearMessageStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearVariableMonitoringRequest(Message, frozen=True, kw_only=True):
    id: Annotated[tuple[Integer, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class ClearVariableMonitoringResponse(Message, frozen=True, kw_only=True):
    clearMonitoringResult: Annotated[tuple[ClearMonitoringResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class ClearedChargingLimitRequest(Message, frozen=True, kw_only=True):
    chargingLimitSource: ChargingLimitSourceEnumType
    evseId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class ClearedChargingLimitResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class CostUpdatedRequest(Message, frozen=True, kw_only=True):
    totalCost: float
    transactionId: String36
    customData: Maybe[CustomDataType] = None


class CostUpdatedResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class CustomerInformationRequest(Message, frozen=True, kw_only=True):
    customerCertificate: Maybe[CertificateHashDataType] = None
    idToken: Maybe[IdTokenType] = None
    requestId: Integer
    report: bool
    clear: bool
    customerIdentifier: Maybe[String64] = None
    customData: Maybe[CustomDataType] = None


class CustomerInformationResponse(Message, frozen=True, kw_only=True):
    status: CustomerInformationStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class DataTransferRequest(Message, frozen=True, kw_only=True):
    messageId: Maybe[String50] = None
    data: Any = None
    vendorId: String255
    customData: Maybe[CustomDataType] = None


class DataTransferResponse(Message, frozen=True, kw_only=True):
    status: DataTransferStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    data: Any = None
    customData: Maybe[CustomDataType] = None


class DeleteCertificateRequest(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType
    customData: Maybe[CustomDataType] = None


class DeleteCertificateResponse(Message, frozen=True, kw_only=True):
    status: DeleteCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class FirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: FirmwareStatusEnumType
    requestId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class FirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class Get15118EVCertificateRequest(Message, frozen=True, kw_only=True):
    iso15118SchemaVersion: String50
    action: CertificateActionEnumType
    exiRequest: String5600
    customData: Maybe[CustomDataType] = None


class Get15118EVCertificateResponse(Message, frozen=True, kw_only=True):
    status: Iso15118EVCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    exiResponse: String7500
    customData: Maybe[CustomDataType] = None


class GetBaseReportRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    reportBase: ReportBaseEnumType
    customData: Maybe[CustomDataType] = None


class GetBaseReportResponse(Message, frozen=True, kw_only=True):
    status: GenericDeviceModelStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetCertificateStatusRequest(Message, frozen=True, kw_only=True):
    ocspRequestData: OCSPRequestDataType
    customData: Maybe[CustomDataType] = None


class GetCertificateStatusResponse(Message, frozen=True, kw_only=True):
    status: GetCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    ocspResult: Maybe[String5500] = None
    customData: Maybe[CustomDataType] = None


class GetChargingProfilesRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    evseId: Maybe[Integer] = None
    chargingProfile: ChargingProfileCriterionType
    customData: Maybe[CustomDataType] = None


class GetChargingProfilesResponse(Message, frozen=True, kw_only=True):
    status: GetChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetCompositeScheduleRequest(Message, frozen=True, kw_only=True):
    duration: Integer
    chargingRateUnit: Maybe[ChargingRateUnitEnumType] = None
    evseId: Integer
    customData: Maybe[CustomDataType] = None


class GetCompositeScheduleResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    schedule: Maybe[CompositeScheduleType] = None
    customData: Maybe[CustomDataType] = None


class GetDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    id: Maybe[Annotated[tuple[Integer, ...], Meta(min_length=1)]] = None
    requestId: Integer
    priority: Maybe[MessagePriorityEnumType] = None
    state: Maybe[MessageStateEnumType] = None
    customData: Maybe[CustomDataType] = None


class GetDisplayMessagesResponse(Message, frozen=True, kw_only=True):
    status: GetDisplayMessagesStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetInstalledCertificateIdsRequest(Message, frozen=True, kw_only=True):
    certificateType: Maybe[Annotated[tuple[GetCertificateIdUseEnumType, ...], Meta(min_length=1)]] = None
    customData: Maybe[CustomDataType] = None


class GetInstalledCertificateIdsResponse(Message, frozen=True, kw_only=True):
    status: GetInstalledCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    certificateHashDataChain: Maybe[Annotated[tuple[CertificateHashDataChainType, ...], Meta(min_length=1)]] = None
    customData: Maybe[CustomDataType] = None


class GetLocalListVersionRequest(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class GetLocalListVersionResponse(Message, frozen=True, kw_only=True):
    versionNumber: Integer
    customData: Maybe[CustomDataType] = None


class GetLogRequest(Message, frozen=True, kw_only=True):
    log: LogParametersType
    logType: LogEnumType
    requestId: Integer
    retries: Maybe[Integer] = None
    retryInterval: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class GetLogResponse(Message, frozen=True, kw_only=True):
    status: LogStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    filename: Maybe[String255] = None
    customData: Maybe[CustomDataType] = None


class GetMonitoringReportRequest(Message, frozen=True, kw_only=True):
    componentVariable: Maybe[Annotated[tuple[ComponentVariableType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    monitoringCriteria: Maybe[Annotated[tuple[MonitoringCriterionEnumType, ...], Meta(min_length=1, max_length=3)]] = None
    customData: Maybe[CustomDataType] = None


class GetMonitoringReportResponse(Message, frozen=True, kw_only=True):
    status: GenericDeviceModelStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetReportRequest(Message, frozen=True, kw_only=True):
    componentVariable: Maybe[Annotated[tuple[ComponentVariableType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    componentCriteria: Maybe[Annotated[tuple[ComponentCriterionEnumType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class GetReportResponse(Message, frozen=True, kw_only=True):
    status: GenericDeviceModelStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetTransactionStatusRequest(Message, frozen=True, kw_only=True):
    transactionId: Maybe[String36] = None
    customData: Maybe[CustomDataType] = None


class GetTransactionStatusResponse(Message, frozen=True, kw_only=True):
    ongoingIndicator: Maybe[bool] = None
    messagesInQueue: bool
    customData: Maybe[CustomDataType] = None


class GetVariablesRequest(Message, frozen=True, kw_only=True):
    getVariableData: Annotated[tuple[GetVariableDataType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class GetVariablesResponse(Message, frozen=True, kw_only=True):
    getVariableResult: Annotated[tuple[GetVariableResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class HeartbeatRequest(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class HeartbeatResponse(Message, frozen=True, kw_only=True):
    currentTime: DateTime
    customData: Maybe[CustomDataType] = None


class InstallCertificateRequest(Message, frozen=True, kw_only=True):
    certificateType: InstallCertificateUseEnumType
    certificate: String5500
    customData: Maybe[CustomDataType] = None


class InstallCertificateResponse(Message, frozen=True, kw_only=True):
    status: InstallCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class LogStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: UploadLogStatusEnumType
    requestId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class LogStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class MeterValuesRequest(Message, frozen=True, kw_only=True):
    evseId: Integer
    meterValue: Annotated[tuple[MeterValueType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class MeterValuesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyChargingLimitRequest(Message, frozen=True, kw_only=True):
    chargingSchedule: Maybe[Annotated[tuple[ChargingScheduleType, ...], Meta(min_length=1)]] = None
    evseId: Maybe[Integer] = None
    chargingLimit: ChargingLimitType
    customData: Maybe[CustomDataType] = None


class NotifyChargingLimitResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyCustomerInformationRequest(Message, frozen=True, kw_only=True):
    data: String512
    tbc: Maybe[bool] = None
    seqNo: Integer
    generatedAt: DateTime
    requestId: Integer
    customData: Maybe[CustomDataType] = None


class NotifyCustomerInformationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    messageInfo: Maybe[Annotated[tuple[MessageInfoType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    tbc: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class NotifyDisplayMessagesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingNeedsRequest(Message, frozen=True, kw_only=True):
    maxScheduleTuples: Maybe[Integer] = None
    chargingNeeds: ChargingNeedsType
    evseId: Integer
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingNeedsResponse(Message, frozen=True, kw_only=True):
    status: NotifyEVChargingNeedsStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingScheduleRequest(Message, frozen=True, kw_only=True):
    timeBase: DateTime
    chargingSchedule: ChargingScheduleType
    evseId: Integer
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingScheduleResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class NotifyEventRequest(Message, frozen=True, kw_only=True):
    generatedAt: DateTime
    tbc: Maybe[bool] = None
    seqNo: Integer
    eventData: Annotated[tuple[EventDataType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class NotifyEventResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyMonitoringReportRequest(Message, frozen=True, kw_only=True):
    monitor: Maybe[Annotated[tuple[MonitoringDataType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    tbc: Maybe[bool] = None
    seqNo: Integer
    generatedAt: DateTime
    customData: Maybe[CustomDataType] = None


class NotifyMonitoringReportResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyReportRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    generatedAt: DateTime
    reportData: Maybe[Annotated[tuple[ReportDataType, ...], Meta(min_length=1)]] = None
    tbc: Maybe[bool] = None
    seqNo: Integer
    customData: Maybe[CustomDataType] = None


class NotifyReportResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class PublishFirmwareRequest(Message, frozen=True, kw_only=True):
    location: String512
    retries: Maybe[Integer] = None
    checksum: String32
    requestId: Integer
    retryInterval: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: PublishFirmwareStatusEnumType
    location: Maybe[Annotated[tuple[String512, ...], Meta(min_length=1)]] = None
    requestId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ReportChargingProfilesRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    chargingLimitSource: ChargingLimitSourceEnumType
    chargingProfile: Annotated[tuple[ChargingProfileType, ...], Meta(min_length=1)]
    tbc: Maybe[bool] = None
    evseId: Integer
    customData: Maybe[CustomDataType] = None


class ReportChargingProfilesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class RequestStartTransactionRequest(Message, frozen=True, kw_only=True):
    evseId: Maybe[Integer] = None
    groupIdToken: Maybe[IdTokenType] = None
    idToken: IdTokenType
    remoteStartId: Integer
    chargingProfile: Maybe[ChargingProfileType] = None
    customData: Maybe[CustomDataType] = None


class RequestStartTransactionResponse(Message, frozen=True, kw_only=True):
    status: RequestStartStopStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    transactionId: Maybe[String36] = None
    customData: Maybe[CustomDataType] = None


class RequestStopTransactionRequest(Message, frozen=True, kw_only=True):
    transactionId: String36
    customData: Maybe[CustomDataType] = None


class RequestStopTransactionResponse(Message, frozen=True, kw_only=True):
    status: RequestStartStopStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ReservationStatusUpdateRequest(Message, frozen=True, kw_only=True):
    reservationId: Integer
    reservationUpdateStatus: ReservationUpdateStatusEnumType
    customData: Maybe[CustomDataType] = None


class ReservationStatusUpdateResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ReserveNowRequest(Message, frozen=True, kw_only=True):
    id: Integer
    expiryDateTime: DateTime
    connectorType: Maybe[ConnectorEnumType] = None
    idToken: IdTokenType
    evseId: Maybe[Integer] = None
    groupIdToken: Maybe[IdTokenType] = None
    customData: Maybe[CustomDataType] = None


class ReserveNowResponse(Message, frozen=True, kw_only=True):
    status: ReserveNowStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ResetRequest(Message, frozen=True, kw_only=True):
    type: ResetEnumType
    evseId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class ResetResponse(Message, frozen=True, kw_only=True):
    status: ResetStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SecurityEventNotificationRequest(Message, frozen=True, kw_only=True):
    type: String50
    timestamp: DateTime
    techInfo: Maybe[String255] = None
    customData: Maybe[CustomDataType] = None


class SecurityEventNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class SendLocalListRequest(Message, frozen=True, kw_only=True):
    localAuthorizationList: Maybe[Annotated[tuple[AuthorizationData, ...], Meta(min_length=1)]] = None
    versionNumber: Integer
    updateType: UpdateEnumType
    customData: Maybe[CustomDataType] = None


class SendLocalListResponse(Message, frozen=True, kw_only=True):
    status: SendLocalListStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetChargingProfileRequest(Message, frozen=True, kw_only=True):
    evseId: Integer
    chargingProfile: ChargingProfileType
    customData: Maybe[CustomDataType] = None


class SetChargingProfileResponse(Message, frozen=True, kw_only=True):
    status: ChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetDisplayMessageRequest(Message, frozen=True, kw_only=True):
    message: MessageInfoType
    customData: Maybe[CustomDataType] = None


class SetDisplayMessageResponse(Message, frozen=True, kw_only=True):
    status: DisplayMessageStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetMonitoringBaseRequest(Message, frozen=True, kw_only=True):
    monitoringBase: MonitoringBaseEnumType
    customData: Maybe[CustomDataType] = None


class SetMonitoringBaseResponse(Message, frozen=True, kw_only=True):
    status: GenericDeviceModelStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetMonitoringLevelRequest(Message, frozen=True, kw_only=True):
    severity: Integer
    customData: Maybe[CustomDataType] = None


class SetMonitoringLevelResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetNetworkProfileRequest(Message, frozen=True, kw_only=True):
    configurationSlot: Integer
    connectionData: NetworkConnectionProfileType
    customData: Maybe[CustomDataType] = None


class SetNetworkProfileResponse(Message, frozen=True, kw_only=True):
    status: SetNetworkProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetVariableMonitoringRequest(Message, frozen=True, kw_only=True):
    setMonitoringData: Annotated[tuple[SetMonitoringDataType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class SetVariableMonitoringResponse(Message, frozen=True, kw_only=True):
    setMonitoringResult: Annotated[tuple[SetMonitoringResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class SetVariablesRequest(Message, frozen=True, kw_only=True):
    setVariableData: Annotated[tuple[SetVariableDataType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class SetVariablesResponse(Message, frozen=True, kw_only=True):
    setVariableResult: Annotated[tuple[SetVariableResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class SignCertificateRequest(Message, frozen=True, kw_only=True):
    csr: String5500
    certificateType: Maybe[CertificateSigningUseEnumType] = None
    customData: Maybe[CustomDataType] = None


class SignCertificateResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class StatusNotificationRequest(Message, frozen=True, kw_only=True):
    timestamp: DateTime
    connectorStatus: ConnectorStatusEnumType
    evseId: Integer
    connectorId: Integer
    customData: Maybe[CustomDataType] = None


class StatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class TransactionEventRequest(Message, frozen=True, kw_only=True):
    eventType: TransactionEventEnumType
    meterValue: Maybe[Annotated[tuple[MeterValueType, ...], Meta(min_length=1)]] = None
    timestamp: DateTime
    triggerReason: TriggerReasonEnumType
    seqNo: Integer
    offline: Maybe[bool] = None
    numberOfPhasesUsed: Maybe[Integer] = None
    cableMaxCurrent: Maybe[Integer] = None
    reservationId: Maybe[Integer] = None
    transactionInfo: TransactionType
    evse: Maybe[EVSEType] = None
    idToken: Maybe[IdTokenType] = None
    customData: Maybe[CustomDataType] = None


class TransactionEventResponse(Message, frozen=True, kw_only=True):
    totalCost: Maybe[float] = None
    chargingPriority: Maybe[Integer] = None
    idTokenInfo: Maybe[IdTokenInfoType] = None
    updatedPersonalMessage: Maybe[MessageContentType] = None
    customData: Maybe[CustomDataType] = None


class TriggerMessageRequest(Message, frozen=True, kw_only=True):
    evse: Maybe[EVSEType] = None
    requestedMessage: MessageTriggerEnumType
    customData: Maybe[CustomDataType] = None


class TriggerMessageResponse(Message, frozen=True, kw_only=True):
    status: TriggerMessageStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class UnlockConnectorRequest(Message, frozen=True, kw_only=True):
    evseId: Integer
    connectorId: Integer
    customData: Maybe[CustomDataType] = None


class UnlockConnectorResponse(Message, frozen=True, kw_only=True):
    status: UnlockStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class UnpublishFirmwareRequest(Message, frozen=True, kw_only=True):
    checksum: String32
    customData: Maybe[CustomDataType] = None


class UnpublishFirmwareResponse(Message, frozen=True, kw_only=True):
    status: UnpublishFirmwareStatusEnumType
    customData: Maybe[CustomDataType] = None


class UpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    retries: Maybe[Integer] = None
    retryInterval: Maybe[Integer] = None
    requestId: Integer
    firmware: FirmwareType
    customData: Maybe[CustomDataType] = None


class UpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    status: UpdateFirmwareStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None
