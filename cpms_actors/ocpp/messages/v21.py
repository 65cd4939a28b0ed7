"""The messages of OCPP 2.1, generated from the JSON schemas of ocpp 2.1.0 by `python -m cpms_actors.ocpp.generate`: do not edit."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from cpms_actors.ocpp.messages.fields import DateTime, INT64_MAX, Integer, Maybe, Message, OpenMessage

String3: TypeAlias = Annotated[str, Meta(max_length=3)]
String6: TypeAlias = Annotated[str, Meta(max_length=6)]
String8: TypeAlias = Annotated[str, Meta(max_length=8)]
String16: TypeAlias = Annotated[str, Meta(max_length=16)]
String20: TypeAlias = Annotated[str, Meta(max_length=20)]
String25: TypeAlias = Annotated[str, Meta(max_length=25)]
String32: TypeAlias = Annotated[str, Meta(max_length=32)]
String36: TypeAlias = Annotated[str, Meta(max_length=36)]
String40: TypeAlias = Annotated[str, Meta(max_length=40)]
String48: TypeAlias = Annotated[str, Meta(max_length=48)]
String50: TypeAlias = Annotated[str, Meta(max_length=50)]
String60: TypeAlias = Annotated[str, Meta(max_length=60)]
String64: TypeAlias = Annotated[str, Meta(max_length=64)]
String80: TypeAlias = Annotated[str, Meta(max_length=80)]
String88: TypeAlias = Annotated[str, Meta(max_length=88)]
String100: TypeAlias = Annotated[str, Meta(max_length=100)]
String128: TypeAlias = Annotated[str, Meta(max_length=128)]
String160: TypeAlias = Annotated[str, Meta(max_length=160)]
String200: TypeAlias = Annotated[str, Meta(max_length=200)]
String255: TypeAlias = Annotated[str, Meta(max_length=255)]
String256: TypeAlias = Annotated[str, Meta(max_length=256)]
String500: TypeAlias = Annotated[str, Meta(max_length=500)]
String512: TypeAlias = Annotated[str, Meta(max_length=512)]
String800: TypeAlias = Annotated[str, Meta(max_length=800)]
String1000: TypeAlias = Annotated[str, Meta(max_length=1000)]
String1024: TypeAlias = Annotated[str, Meta(max_length=1024)]
String2000: TypeAlias = Annotated[str, Meta(max_length=2000)]
String2500: TypeAlias = Annotated[str, Meta(max_length=2500)]
String5500: TypeAlias = Annotated[str, Meta(max_length=5500)]
String10000: TypeAlias = Annotated[str, Meta(max_length=10000)]
String11000: TypeAlias = Annotated[str, Meta(max_length=11000)]
String17000: TypeAlias = Annotated[str, Meta(max_length=17000)]
String18000: TypeAlias = Annotated[str, Meta(max_length=18000)]
String32768: TypeAlias = Annotated[str, Meta(max_length=32768)]

APNAuthenticationEnumType: TypeAlias = Literal["PAP", "CHAP", "NONE", "AUTO"]
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
BatterySwapEventEnumType: TypeAlias = Literal["BatteryIn", "BatteryOut", "BatteryOutTimeout"]
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
CertificateSigningUseEnumType: TypeAlias = Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate"]
CertificateStatusEnumType: TypeAlias = Literal["Good", "Revoked", "Unknown", "Failed"]
CertificateStatusSourceEnumType: TypeAlias = Literal["CRL", "OCSP"]
ChangeAvailabilityStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Scheduled"]
ChargingProfileKindEnumType: TypeAlias = Literal["Absolute", "Recurring", "Relative", "Dynamic"]
ChargingProfilePurposeEnumType: TypeAlias = Literal[
    "ChargingStationExternalConstraints",
    "ChargingStationMaxProfile",
    "TxDefaultProfile",
    "TxProfile",
    "PriorityCharging",
    "LocalGeneration",
]
ChargingProfileStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ChargingRateUnitEnumType: TypeAlias = Literal["W", "A"]
ChargingStateEnumType: TypeAlias = Literal["EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE", "Idle"]
ClearCacheStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ClearChargingProfileStatusEnumType: TypeAlias = Literal["Accepted", "Unknown"]
ClearMessageStatusEnumType: TypeAlias = Literal["Accepted", "Unknown", "Rejected"]
ClearMonitoringStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotFound"]
ComponentCriterionEnumType: TypeAlias = Literal["Active", "Available", "Enabled", "Problem"]
ConnectorStatusEnumType: TypeAlias = Literal["Available", "Occupied", "Reserved", "Unavailable", "Faulted"]
ControlModeEnumType: TypeAlias = Literal["ScheduledControl", "DynamicControl"]
CostDimensionEnumType: TypeAlias = Literal["Energy", "MaxCurrent", "MinCurrent", "MaxPower", "MinPower", "IdleTIme", "ChargingTime"]
CostKindEnumType: TypeAlias = Literal["CarbonDioxideEmission", "RelativePricePercentage", "RenewableGenerationPercentage"]
CustomerInformationStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Invalid"]
DERControlEnumType: TypeAlias = Literal[
    "EnterService",
    "FreqDroop",
    "FreqWatt",
    "FixedPFAbsorb",
    "FixedPFInject",
    "FixedVar",
    "Gradients",
    "HFMustTrip",
    "HFMayTrip",
    "HVMustTrip",
    "HVMomCess",
    "HVMayTrip",
    "LimitMaxDischarge",
    "LFMustTrip",
    "LVMustTrip",
    "LVMomCess",
    "LVMayTrip",
    "PowerMonitoringMustTrip",
    "VoltVar",
    "VoltWatt",
    "WattPF",
    "WattVar",
]
DERControlStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotSupported", "NotFound"]
DERUnitEnumType: TypeAlias = Literal["Not_Applicable", "PctMaxW", "PctMaxVar", "PctWAvail", "PctVarAvail", "PctEffectiveV"]
DataEnumType: TypeAlias = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]
DataTransferStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
DayOfWeekEnumType: TypeAlias = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DeleteCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed", "NotFound"]
DisplayMessageStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "NotSupportedMessageFormat",
    "Rejected",
    "NotSupportedPriority",
    "NotSupportedState",
    "UnknownTransaction",
    "LanguageNotSupported",
]
EnergyTransferModeEnumType: TypeAlias = Literal[
    "AC_single_phase",
    "AC_two_phase",
    "AC_three_phase",
    "DC",
    "AC_BPT",
    "AC_BPT_DER",
    "AC_DER",
    "DC_BPT",
    "DC_ACDP",
    "DC_ACDP_BPT",
    "WPT",
]
EventNotificationEnumType: TypeAlias = Literal["HardWiredNotification", "HardWiredMonitor", "PreconfiguredMonitor", "CustomMonitor"]
EventTriggerEnumType: TypeAlias = Literal["Alerting", "Delta", "Periodic"]
EvseKindEnumType: TypeAlias = Literal["AC", "DC"]
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
    "OEMRootCertificate",
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
GridEventFaultEnumType: TypeAlias = Literal[
    "CurrentImbalance",
    "LocalEmergency",
    "LowInputPower",
    "OverCurrent",
    "OverFrequency",
    "OverVoltage",
    "PhaseRotation",
    "RemoteEmergency",
    "UnderFrequency",
    "UnderVoltage",
    "VoltageImbalance",
]
HashAlgorithmEnumType: TypeAlias = Literal["SHA256", "SHA384", "SHA512"]
InstallCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Failed"]
InstallCertificateUseEnumType: TypeAlias = Literal[
    "V2GRootCertificate",
    "MORootCertificate",
    "ManufacturerRootCertificate",
    "CSMSRootCertificate",
    "OEMRootCertificate",
]
IslandingDetectionEnumType: TypeAlias = Literal[
    "NoAntiIslandingSupport",
    "RoCoF",
    "UVP_OVP",
    "UFP_OFP",
    "VoltageVectorShift",
    "ZeroCrossingDetection",
    "OtherPassive",
    "ImpedanceMeasurement",
    "ImpedanceAtFrequency",
    "SlipModeFrequencyShift",
    "SandiaFrequencyShift",
    "SandiaVoltageShift",
    "FrequencyJump",
    "RCLQFactor",
    "OtherActive",
]
Iso15118EVCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed"]
LocationEnumType: TypeAlias = Literal["Body", "Cable", "EV", "Inlet", "Outlet", "Upstream"]
LogEnumType: TypeAlias = Literal["DiagnosticsLog", "SecurityLog", "DataCollectorLog"]
LogStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "AcceptedCanceled"]
MeasurandEnumType: TypeAlias = Literal[
    "Current.Export",
    "Current.Export.Offered",
    "Current.Export.Minimum",
    "Current.Import",
    "Current.Import.Offered",
    "Current.Import.Minimum",
    "Current.Offered",
    "Display.PresentSOC",
    "Display.MinimumSOC",
    "Display.TargetSOC",
    "Display.MaximumSOC",
    "Display.RemainingTimeToMinimumSOC",
    "Display.RemainingTimeToTargetSOC",
    "Display.RemainingTimeToMaximumSOC",
    "Display.ChargingComplete",
    "Display.BatteryEnergyCapacity",
    "Display.InletHot",
    "Energy.Active.Export.Interval",
    "Energy.Active.Export.Register",
    "Energy.Active.Import.Interval",
    "Energy.Active.Import.Register",
    "Energy.Active.Import.CableLoss",
    "Energy.Active.Import.LocalGeneration.Register",
    "Energy.Active.Net",
    "Energy.Active.Setpoint.Interval",
    "Energy.Apparent.Export",
    "Energy.Apparent.Import",
    "Energy.Apparent.Net",
    "Energy.Reactive.Export.Interval",
    "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Interval",
    "Energy.Reactive.Import.Register",
    "Energy.Reactive.Net",
    "EnergyRequest.Target",
    "EnergyRequest.Minimum",
    "EnergyRequest.Maximum",
    "EnergyRequest.Minimum.V2X",
    "EnergyRequest.Maximum.V2X",
    "EnergyRequest.Bulk",
    "Frequency",
    "Power.Active.Export",
    "Power.Active.Import",
    "Power.Active.Setpoint",
    "Power.Active.Residual",
    "Power.Export.Minimum",
    "Power.Export.Offered",
    "Power.Factor",
    "Power.Import.Offered",
    "Power.Import.Minimum",
    "Power.Offered",
    "Power.Reactive.Export",
    "Power.Reactive.Import",
    "SoC",
    "Voltage",
    "Voltage.Minimum",
    "Voltage.Maximum",
]
MessageFormatEnumType: TypeAlias = Literal["ASCII", "HTML", "URI", "UTF8", "QRCODE"]
MessagePriorityEnumType: TypeAlias = Literal["AlwaysFront", "InFront", "NormalCycle"]
MessageStateEnumType: TypeAlias = Literal["Charging", "Faulted", "Idle", "Unavailable", "Suspended", "Discharging"]
MessageTriggerEnumType: TypeAlias = Literal[
    "BootNotification",
    "LogStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "SignChargingStationCertificate",
    "SignV2GCertificate",
    "SignV2G20Certificate",
    "StatusNotification",
    "TransactionEvent",
    "SignCombinedCertificate",
    "PublishFirmwareStatusNotification",
    "CustomTrigger",
]
MobilityNeedsModeEnumType: TypeAlias = Literal["EVCC", "EVCC_SECC"]
MonitorEnumType: TypeAlias = Literal[
    "UpperThreshold",
    "LowerThreshold",
    "Delta",
    "Periodic",
    "PeriodicClockAligned",
    "TargetDelta",
    "TargetDeltaRelative",
]
MonitoringBaseEnumType: TypeAlias = Literal["All", "FactoryDefault", "HardWiredOnly"]
MonitoringCriterionEnumType: TypeAlias = Literal["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]
MutabilityEnumType: TypeAlias = Literal["ReadOnly", "WriteOnly", "ReadWrite"]
NotifyAllowedEnergyTransferStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
NotifyEVChargingNeedsStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "Processing", "NoChargingProfile"]
OCPPInterfaceEnumType: TypeAlias = Literal[
    "Wired0",
    "Wired1",
    "Wired2",
    "Wired3",
    "Wireless0",
    "Wireless1",
    "Wireless2",
    "Wireless3",
    "Any",
]
OCPPTransportEnumType: TypeAlias = Literal["SOAP", "JSON"]
OCPPVersionEnumType: TypeAlias = Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20", "OCPP201", "OCPP21"]
OperationModeEnumType: TypeAlias = Literal[
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "ExternalSetpoint",
    "ExternalLimits",
    "CentralFrequency",
    "LocalFrequency",
    "LocalLoadBalancing",
]
OperationalStatusEnumType: TypeAlias = Literal["Inoperative", "Operative"]
PaymentStatusEnumType: TypeAlias = Literal["Settled", "Canceled", "Rejected", "Failed"]
PhaseEnumType: TypeAlias = Literal["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"]
PowerDuringCessationEnumType: TypeAlias = Literal["Active", "Reactive"]
PreconditioningStatusEnumType: TypeAlias = Literal["Unknown", "Ready", "NotReady", "Preconditioning"]
PriorityChargingStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NoProfile"]
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
    "MasterPass",
    "Local",
    "LocalOutOfCredit",
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
    "ReqEnergyTransferRejected",
]
RecurrencyKindEnumType: TypeAlias = Literal["Daily", "Weekly"]
RegistrationStatusEnumType: TypeAlias = Literal["Accepted", "Pending", "Rejected"]
ReportBaseEnumType: TypeAlias = Literal["ConfigurationInventory", "FullInventory", "SummaryInventory"]
RequestStartStopStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
ReservationUpdateStatusEnumType: TypeAlias = Literal["Expired", "Removed", "NoTransaction"]
ReserveNowStatusEnumType: TypeAlias = Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]
ResetEnumType: TypeAlias = Literal["Immediate", "OnIdle", "ImmediateAndResume"]
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
TariffChangeStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Rejected",
    "TooManyElements",
    "ConditionNotSupported",
    "TxNotFound",
    "NoCurrencyChange",
]
TariffClearStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NoTariff"]
TariffCostEnumType: TypeAlias = Literal["NormalCost", "MinCost", "MaxCost"]
TariffGetStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NoTariff"]
TariffKindEnumType: TypeAlias = Literal["DefaultTariff", "DriverTariff"]
TariffSetStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "TooManyElements", "ConditionNotSupported", "DuplicateTariffId"]
TransactionEventEnumType: TypeAlias = Literal["Ended", "Started", "Updated"]
TriggerMessageStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotImplemented"]
TriggerReasonEnumType: TypeAlias = Literal[
    "AbnormalCondition",
    "Authorized",
    "CablePluggedIn",
    "ChargingRateChanged",
    "ChargingStateChanged",
    "CostLimitReached",
    "Deauthorized",
    "EnergyLimitReached",
    "EVCommunicationLost",
    "EVConnectTimeout",
    "EVDeparted",
    "EVDetected",
    "LimitSet",
    "MeterValueClock",
    "MeterValuePeriodic",
    "OperationModeChanged",
    "RemoteStart",
    "RemoteStop",
    "ResetCommand",
    "RunningCost",
    "SignedDataReceived",
    "SoCLimitReached",
    "StopAuthorized",
    "TariffChanged",
    "TariffNotAccepted",
    "TimeLimitReached",
    "Trigger",
    "TxResumed",
    "UnlockCommand",
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


class StatusInfoType(Message, frozen=True, kw_only=True):
    reasonCode: String20
    additionalInfo: Maybe[String1024] = None
    customData: Maybe[CustomDataType] = None


class PeriodicEventStreamParamsType(Message, frozen=True, kw_only=True):
    interval: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    values: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class AdditionalInfoType(Message, frozen=True, kw_only=True):
    additionalIdToken: String255
    type: String50
    customData: Maybe[CustomDataType] = None


class IdTokenType(Message, frozen=True, kw_only=True):
    additionalInfo: Maybe[Annotated[tuple[AdditionalInfoType, ...], Meta(min_length=1)]] = None
    idToken: String255
    type: String20
    customData: Maybe[CustomDataType] = None


class OCSPRequestDataType(Message, frozen=True, kw_only=True):
    hashAlgorithm: HashAlgorithmEnumType
    issuerNameHash: String128
    issuerKeyHash: String128
    serialNumber: String40
    responderURL: String2000
    customData: Maybe[CustomDataType] = None


class MessageContentType(Message, frozen=True, kw_only=True):
    format: MessageFormatEnumType
    language: Maybe[String8] = None
    content: String1024
    customData: Maybe[CustomDataType] = None


class IdTokenInfoType(Message, frozen=True, kw_only=True):
    status: AuthorizationStatusEnumType
    cacheExpiryDateTime: Maybe[DateTime] = None
    chargingPriority: Maybe[Integer] = None
    groupIdToken: Maybe[IdTokenType] = None
    language1: Maybe[String8] = None
    language2: Maybe[String8] = None
    evseId: Maybe[Annotated[tuple[Annotated[int, Meta(ge=0, le=INT64_MAX)], ...], Meta(min_length=1)]] = None
    personalMessage: Maybe[MessageContentType] = None
    customData: Maybe[CustomDataType] = None


class TariffConditionsType(Message, frozen=True, kw_only=True):
    startTimeOfDay: Maybe[str] = None
    endTimeOfDay: Maybe[str] = None
    dayOfWeek: Maybe[Annotated[tuple[DayOfWeekEnumType, ...], Meta(min_length=1, max_length=7)]] = None
    validFromDate: Maybe[str] = None
    validToDate: Maybe[str] = None
    evseKind: Maybe[EvseKindEnumType] = None
    minEnergy: Maybe[float] = None
    maxEnergy: Maybe[float] = None
    minCurrent: Maybe[float] = None
    maxCurrent: Maybe[float] = None
    minPower: Maybe[float] = None
    maxPower: Maybe[float] = None
    minTime: Maybe[Integer] = None
    maxTime: Maybe[Integer] = None
    minChargingTime: Maybe[Integer] = None
    maxChargingTime: Maybe[Integer] = None
    minIdleTime: Maybe[Integer] = None
    maxIdleTime: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class TariffEnergyPriceType(Message, frozen=True, kw_only=True):
    priceKwh: float
    conditions: Maybe[TariffConditionsType] = None
    customData: Maybe[CustomDataType] = None


class TaxRateType(Message, frozen=True, kw_only=True):
    type: String20
    tax: float
    stack: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class TariffEnergyType(Message, frozen=True, kw_only=True):
    prices: Annotated[tuple[TariffEnergyPriceType, ...], Meta(min_length=1)]
    taxRates: Maybe[Annotated[tuple[TaxRateType, ...], Meta(min_length=1, max_length=5)]] = None
    customData: Maybe[CustomDataType] = None


class TariffTimePriceType(Message, frozen=True, kw_only=True):
    priceMinute: float
    conditions: Maybe[TariffConditionsType] = None
    customData: Maybe[CustomDataType] = None


class TariffTimeType(Message, frozen=True, kw_only=True):
    prices: Annotated[tuple[TariffTimePriceType, ...], Meta(min_length=1)]
    taxRates: Maybe[Annotated[tuple[TaxRateType, ...], Meta(min_length=1, max_length=5)]] = None
    customData: Maybe[CustomDataType] = None


class TariffConditionsFixedType(Message, frozen=True, kw_only=True):
    startTimeOfDay: Maybe[str] = None
    endTimeOfDay: Maybe[str] = None
    dayOfWeek: Maybe[Annotated[tuple[DayOfWeekEnumType, ...], Meta(min_length=1, max_length=7)]] = None
    validFromDate: Maybe[str] = None
    validToDate: Maybe[str] = None
    evseKind: Maybe[EvseKindEnumType] = None
    paymentBrand: Maybe[String20] = None
    paymentRecognition: Maybe[String20] = None
    customData: Maybe[CustomDataType] = None


class TariffFixedPriceType(Message, frozen=True, kw_only=True):
    conditions: Maybe[TariffConditionsFixedType] = None
    priceFixed: float
    customData: Maybe[CustomDataType] = None


class TariffFixedType(Message, frozen=True, kw_only=True):
    prices: Annotated[tuple[TariffFixedPriceType, ...], Meta(min_length=1)]
    taxRates: Maybe[Annotated[tuple[TaxRateType, ...], Meta(min_length=1, max_length=5)]] = None
    customData: Maybe[CustomDataType] = None


class PriceType(Message, frozen=True, kw_only=True):
    exclTax: Maybe[float] = None
    inclTax: Maybe[float] = None
    taxRates: Maybe[Annotated[tuple[TaxRateType, ...], Meta(min_length=1, max_length=5)]] = None
    customData: Maybe[CustomDataType] = None


class TariffType(Message, frozen=True, kw_only=True):
    tariffId: String60
    description: Maybe[Annotated[tuple[MessageContentType, ...], Meta(min_length=1, max_length=10)]] = None
    currency: String3
    energy: Maybe[TariffEnergyType] = None
    validFrom: Maybe[DateTime] = None
    chargingTime: Maybe[TariffTimeType] = None
    idleTime: Maybe[TariffTimeType] = None
    fixedFee: Maybe[TariffFixedType] = None
    reservationTime: Maybe[TariffTimeType] = None
    reservationFixed: Maybe[TariffFixedType] = None
    minCost: Maybe[PriceType] = None
    maxCost: Maybe[PriceType] = None
    customData: Maybe[CustomDataType] = None


class BatteryDataType(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    serialNumber: String50
    soC: Annotated[float, Meta(ge=0, le=100)]
    soH: Annotated[float, Meta(ge=0, le=100)]
    productionDate: Maybe[DateTime] = None
    vendorInfo: Maybe[String500] = None
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


class EVSEType(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    connectorId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class ClearChargingProfileType(Message, frozen=True, kw_only=True):
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    chargingProfilePurpose: Maybe[ChargingProfilePurposeEnumType] = None
    stackLevel: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class ClearTariffsResultType(Message, frozen=True, kw_only=True):
    statusInfo: Maybe[StatusInfoType] = None
    tariffId: Maybe[String60] = None
    status: TariffClearStatusEnumType
    customData: Maybe[CustomDataType] = None


class ClearMonitoringResultType(Message, frozen=True, kw_only=True):
    status: ClearMonitoringStatusEnumType
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class CertificateHashDataType(Message, frozen=True, kw_only=True):
    hashAlgorithm: HashAlgorithmEnumType
    issuerNameHash: String128
    issuerKeyHash: String128
    serialNumber: String40
    customData: Maybe[CustomDataType] = None


class CertificateStatusRequestInfoType(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType
    source: CertificateStatusSourceEnumType
    urls: Annotated[tuple[String2000, ...], Meta(min_length=1, max_length=5)]
    customData: Maybe[CustomDataType] = None


class CertificateStatusType(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType
    source: CertificateStatusSourceEnumType
    status: CertificateStatusEnumType
    nextUpdate: DateTime
    customData: Maybe[CustomDataType] = None


class ChargingProfileCriterionType(Message, frozen=True, kw_only=True):
    chargingProfilePurpose: Maybe[ChargingProfilePurposeEnumType] = None
    stackLevel: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    chargingProfileId: Maybe[Annotated[tuple[Integer, ...], Meta(min_length=1)]] = None
    chargingLimitSource: Maybe[Annotated[tuple[String20, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class V2XFreqWattPointType(Message, frozen=True, kw_only=True):
    frequency: float
    power: float
    customData: Maybe[CustomDataType] = None


class V2XSignalWattPointType(Message, frozen=True, kw_only=True):
    signal: Integer
    power: float
    customData: Maybe[CustomDataType] = None


class ChargingSchedulePeriodType(Message, frozen=True, kw_only=True):
    startPeriod: Integer
    limit: Maybe[float] = None
    limit_L2: Maybe[float] = None
    limit_L3: Maybe[float] = None
    numberPhases: Maybe[Annotated[int, Meta(ge=0, le=3)]] = None
    phaseToUse: Maybe[Annotated[int, Meta(ge=0, le=3)]] = None
    dischargeLimit: Maybe[Annotated[float, Meta(le=0)]] = None
    dischargeLimit_L2: Maybe[Annotated[float, Meta(le=0)]] = None
    dischargeLimit_L3: Maybe[Annotated[float, Meta(le=0)]] = None
    setpoint: Maybe[float] = None
    setpoint_L2: Maybe[float] = None
    setpoint_L3: Maybe[float] = None
    setpointReactive: Maybe[float] = None
    setpointReactive_L2: Maybe[float] = None
    setpointReactive_L3: Maybe[float] = None
    preconditioningRequest: Maybe[bool] = None
    evseSleep: Maybe[bool] = None
    v2xBaseline: Maybe[float] = None
    operationMode: Maybe[OperationModeEnumType] = None
    v2xFreqWattCurve: Maybe[Annotated[tuple[V2XFreqWattPointType, ...], Meta(min_length=1, max_length=20)]] = None
    v2xSignalWattCurve: Maybe[Annotated[tuple[V2XSignalWattPointType, ...], Meta(min_length=1, max_length=20)]] = None
    customData: Maybe[CustomDataType] = None


class CompositeScheduleType(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    duration: Integer
    scheduleStart: DateTime
    chargingRateUnit: ChargingRateUnitEnumType
    chargingSchedulePeriod: Annotated[tuple[ChargingSchedulePeriodType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class CertificateHashDataChainType(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType
    certificateType: GetCertificateIdUseEnumType
    childCertificateHashData: Maybe[Annotated[tuple[CertificateHashDataType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class LogParametersType(Message, frozen=True, kw_only=True):
    remoteLocation: String2000
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


class ConstantStreamDataType(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    params: PeriodicEventStreamParamsType
    variableMonitoringId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class TariffAssignmentType(Message, frozen=True, kw_only=True):
    tariffId: String60
    tariffKind: TariffKindEnumType
    validFrom: Maybe[DateTime] = None
    evseIds: Maybe[Annotated[tuple[Annotated[int, Meta(ge=0, le=INT64_MAX)], ...], Meta(min_length=1)]] = None
    idTokens: Maybe[Annotated[tuple[String255, ...], Meta(min_length=1)]] = None
    customData: Maybe[CustomDataType] = None


class GetVariableDataType(Message, frozen=True, kw_only=True):
    attributeType: Maybe[AttributeEnumType] = None
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class GetVariableResultType(Message, frozen=True, kw_only=True):
    attributeStatus: GetVariableStatusEnumType
    attributeStatusInfo: Maybe[StatusInfoType] = None
    attributeType: Maybe[AttributeEnumType] = None
    attributeValue: Maybe[String2500] = None
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class SignedMeterValueType(Message, frozen=True, kw_only=True):
    signedMeterData: String32768
    signingMethod: Maybe[String50] = None
    encodingMethod: String50
    publicKey: Maybe[String2500] = None
    customData: Maybe[CustomDataType] = None


class UnitOfMeasureType(Message, frozen=True, kw_only=True):
    unit: Maybe[String20] = None
    multiplier: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class SampledValueType(Message, frozen=True, kw_only=True):
    value: float
    measurand: Maybe[MeasurandEnumType] = None
    context: Maybe[ReadingContextEnumType] = None
    phase: Maybe[PhaseEnumType] = None
    location: Maybe[LocationEnumType] = None
    signedMeterValue: Maybe[SignedMeterValueType] = None
    unitOfMeasure: Maybe[UnitOfMeasureType] = None
    customData: Maybe[CustomDataType] = None


class MeterValueType(Message, frozen=True, kw_only=True):
    sampledValue: Annotated[tuple[SampledValueType, ...], Meta(min_length=1)]
    timestamp: DateTime
    customData: Maybe[CustomDataType] = None


class LimitAtSoCType(Message, frozen=True, kw_only=True):
    soc: Annotated[int, Meta(ge=0, le=100)]
    limit: float
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
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    salesTariffDescription: Maybe[String32] = None
    numEPriceLevels: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    salesTariffEntry: Annotated[tuple[SalesTariffEntryType, ...], Meta(min_length=1, max_length=1024)]
    customData: Maybe[CustomDataType] = None


class RationalNumberType(Message, frozen=True, kw_only=True):
    exponent: Integer
    value: Integer
    customData: Maybe[CustomDataType] = None


class PriceRuleType(Message, frozen=True, kw_only=True):
    parkingFeePeriod: Maybe[Integer] = None
    carbonDioxideEmission: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    renewableGenerationPercentage: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    energyFee: RationalNumberType
    parkingFee: Maybe[RationalNumberType] = None
    powerRangeStart: RationalNumberType
    customData: Maybe[CustomDataType] = None


class PriceRuleStackType(Message, frozen=True, kw_only=True):
    duration: Integer
    priceRule: Annotated[tuple[PriceRuleType, ...], Meta(min_length=1, max_length=8)]
    customData: Maybe[CustomDataType] = None


class TaxRuleType(Message, frozen=True, kw_only=True):
    taxRuleID: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    taxRuleName: Maybe[String100] = None
    taxIncludedInPrice: Maybe[bool] = None
    appliesToEnergyFee: bool
    appliesToParkingFee: bool
    appliesToOverstayFee: bool
    appliesToMinimumMaximumCost: bool
    taxRate: RationalNumberType
    customData: Maybe[CustomDataType] = None


class OverstayRuleType(Message, frozen=True, kw_only=True):
    overstayFee: RationalNumberType
    overstayRuleDescription: Maybe[String32] = None
    startTime: Integer
    overstayFeePeriod: Integer
    customData: Maybe[CustomDataType] = None


class OverstayRuleListType(Message, frozen=True, kw_only=True):
    overstayPowerThreshold: Maybe[RationalNumberType] = None
    overstayRule: Annotated[tuple[OverstayRuleType, ...], Meta(min_length=1, max_length=5)]
    overstayTimeThreshold: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class AdditionalSelectedServicesType(Message, frozen=True, kw_only=True):
    serviceFee: RationalNumberType
    serviceName: String80
    customData: Maybe[CustomDataType] = None


class AbsolutePriceScheduleType(Message, frozen=True, kw_only=True):
    timeAnchor: DateTime
    priceScheduleID: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    priceScheduleDescription: Maybe[String160] = None
    currency: String3
    language: String8
    priceAlgorithm: String2000
    minimumCost: Maybe[RationalNumberType] = None
    maximumCost: Maybe[RationalNumberType] = None
    priceRuleStacks: Annotated[tuple[PriceRuleStackType, ...], Meta(min_length=1, max_length=1024)]
    taxRules: Maybe[Annotated[tuple[TaxRuleType, ...], Meta(min_length=1, max_length=10)]] = None
    overstayRuleList: Maybe[OverstayRuleListType] = None
    additionalSelectedServices: Maybe[Annotated[tuple[AdditionalSelectedServicesType, ...], Meta(min_length=1, max_length=5)]] = None
    customData: Maybe[CustomDataType] = None


class PriceLevelScheduleEntryType(Message, frozen=True, kw_only=True):
    duration: Integer
    priceLevel: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class PriceLevelScheduleType(Message, frozen=True, kw_only=True):
    priceLevelScheduleEntries: Annotated[tuple[PriceLevelScheduleEntryType, ...], Meta(min_length=1, max_length=100)]
    timeAnchor: DateTime
    priceScheduleId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    priceScheduleDescription: Maybe[String32] = None
    numberOfPriceLevels: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class ChargingScheduleType(Message, frozen=True, kw_only=True):
    id: Integer
    limitAtSoC: Maybe[LimitAtSoCType] = None
    startSchedule: Maybe[DateTime] = None
    duration: Maybe[Integer] = None
    chargingRateUnit: ChargingRateUnitEnumType
    minChargingRate: Maybe[float] = None
    powerTolerance: Maybe[float] = None
    signatureId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    digestValue: Maybe[String88] = None
    useLocalTime: Maybe[bool] = None
    chargingSchedulePeriod: Annotated[tuple[ChargingSchedulePeriodType, ...], Meta(min_length=1, max_length=1024)]
    randomizedDelay: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    salesTariff: Maybe[SalesTariffType] = None
    absolutePriceSchedule: Maybe[AbsolutePriceScheduleType] = None
    priceLevelSchedule: Maybe[PriceLevelScheduleType] = None
    customData: Maybe[CustomDataType] = None


class ChargingLimitType(Message, frozen=True, kw_only=True):
    chargingLimitSource: String20
    isLocalGeneration: Maybe[bool] = None
    isGridCritical: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class MessageInfoType(Message, frozen=True, kw_only=True):
    display: Maybe[ComponentType] = None
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    priority: MessagePriorityEnumType
    state: Maybe[MessageStateEnumType] = None
    startDateTime: Maybe[DateTime] = None
    endDateTime: Maybe[DateTime] = None
    transactionId: Maybe[String36] = None
    message: MessageContentType
    messageExtra: Maybe[Annotated[tuple[MessageContentType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class ACChargingParametersType(Message, frozen=True, kw_only=True):
    energyAmount: float
    evMinCurrent: float
    evMaxCurrent: float
    evMaxVoltage: float
    customData: Maybe[CustomDataType] = None


class DERChargingParametersType(Message, frozen=True, kw_only=True):
    evSupportedDERControl: Maybe[Annotated[tuple[DERControlEnumType, ...], Meta(min_length=1)]] = None
    evOverExcitedMaxDischargePower: Maybe[float] = None
    evOverExcitedPowerFactor: Maybe[float] = None
    evUnderExcitedMaxDischargePower: Maybe[float] = None
    evUnderExcitedPowerFactor: Maybe[float] = None
    maxApparentPower: Maybe[float] = None
    maxChargeApparentPower: Maybe[float] = None
    maxChargeApparentPower_L2: Maybe[float] = None
    maxChargeApparentPower_L3: Maybe[float] = None
    maxDischargeApparentPower: Maybe[float] = None
    maxDischargeApparentPower_L2: Maybe[float] = None
    maxDischargeApparentPower_L3: Maybe[float] = None
    maxChargeReactivePower: Maybe[float] = None
    maxChargeReactivePower_L2: Maybe[float] = None
    maxChargeReactivePower_L3: Maybe[float] = None
    minChargeReactivePower: Maybe[float] = None
    minChargeReactivePower_L2: Maybe[float] = None
    minChargeReactivePower_L3: Maybe[float] = None
    maxDischargeReactivePower: Maybe[float] = None
    maxDischargeReactivePower_L2: Maybe[float] = None
    maxDischargeReactivePower_L3: Maybe[float] = None
    minDischargeReactivePower: Maybe[float] = None
    minDischargeReactivePower_L2: Maybe[float] = None
    minDischargeReactivePower_L3: Maybe[float] = None
    nominalVoltage: Maybe[float] = None
    nominalVoltageOffset: Maybe[float] = None
    maxNominalVoltage: Maybe[float] = None
    minNominalVoltage: Maybe[float] = None
    evInverterManufacturer: Maybe[String50] = None
    evInverterModel: Maybe[String50] = None
    evInverterSerialNumber: Maybe[String50] = None
    evInverterSwVersion: Maybe[String50] = None
    evInverterHwVersion: Maybe[String50] = None
    evIslandingDetectionMethod: Maybe[Annotated[tuple[IslandingDetectionEnumType, ...], Meta(min_length=1)]] = None
    evIslandingTripTime: Maybe[float] = None
    evMaximumLevel1DCInjection: Maybe[float] = None
    evDurationLevel1DCInjection: Maybe[float] = None
    evMaximumLevel2DCInjection: Maybe[float] = None
    evDurationLevel2DCInjection: Maybe[float] = None
    evReactiveSusceptance: Maybe[float] = None
    evSessionTotalDischargeEnergyAvailable: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class EVPriceRuleType(Message, frozen=True, kw_only=True):
    energyFee: float
    powerRangeStart: float
    customData: Maybe[CustomDataType] = None


class EVAbsolutePriceScheduleEntryType(Message, frozen=True, kw_only=True):
    duration: Integer
    evPriceRule: Annotated[tuple[EVPriceRuleType, ...], Meta(min_length=1, max_length=8)]
    customData: Maybe[CustomDataType] = None


class EVAbsolutePriceScheduleType(Message, frozen=True, kw_only=True):
    timeAnchor: DateTime
    currency: String3
    evAbsolutePriceScheduleEntries: Annotated[tuple[EVAbsolutePriceScheduleEntryType, ...], Meta(min_length=1, max_length=1024)]
    priceAlgorithm: String2000
    customData: Maybe[CustomDataType] = None


class EVPowerScheduleEntryType(Message, frozen=True, kw_only=True):
    duration: Integer
    power: float
    customData: Maybe[CustomDataType] = None


class EVPowerScheduleType(Message, frozen=True, kw_only=True):
    evPowerScheduleEntries: Annotated[tuple[EVPowerScheduleEntryType, ...], Meta(min_length=1, max_length=1024)]
    timeAnchor: DateTime
    customData: Maybe[CustomDataType] = None


class EVEnergyOfferType(Message, frozen=True, kw_only=True):
    evAbsolutePriceSchedule: Maybe[EVAbsolutePriceScheduleType] = None
    evPowerSchedule: EVPowerScheduleType
    customData: Maybe[CustomDataType] = None


class DCChargingParametersType(Message, frozen=True, kw_only=True):
    evMaxCurrent: float
    evMaxVoltage: float
    evMaxPower: Maybe[float] = None
    evEnergyCapacity: Maybe[float] = None
    energyAmount: Maybe[float] = None
    stateOfCharge: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    fullSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    bulkSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    customData: Maybe[CustomDataType] = None


class V2XChargingParametersType(Message, frozen=True, kw_only=True):
    minChargePower: Maybe[float] = None
    minChargePower_L2: Maybe[float] = None
    minChargePower_L3: Maybe[float] = None
    maxChargePower: Maybe[float] = None
    maxChargePower_L2: Maybe[float] = None
    maxChargePower_L3: Maybe[float] = None
    minDischargePower: Maybe[float] = None
    minDischargePower_L2: Maybe[float] = None
    minDischargePower_L3: Maybe[float] = None
    maxDischargePower: Maybe[float] = None
    maxDischargePower_L2: Maybe[float] = None
    maxDischargePower_L3: Maybe[float] = None
    minChargeCurrent: Maybe[float] = None
    maxChargeCurrent: Maybe[float] = None
    minDischargeCurrent: Maybe[float] = None
    maxDischargeCurrent: Maybe[float] = None
    minVoltage: Maybe[float] = None
    maxVoltage: Maybe[float] = None
    evTargetEnergyRequest: Maybe[float] = None
    evMinEnergyRequest: Maybe[float] = None
    evMaxEnergyRequest: Maybe[float] = None
    evMinV2XEnergyRequest: Maybe[float] = None
    evMaxV2XEnergyRequest: Maybe[float] = None
    targetSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    customData: Maybe[CustomDataType] = None


class ChargingNeedsType(Message, frozen=True, kw_only=True):
    acChargingParameters: Maybe[ACChargingParametersType] = None
    derChargingParameters: Maybe[DERChargingParametersType] = None
    evEnergyOffer: Maybe[EVEnergyOfferType] = None
    requestedEnergyTransfer: EnergyTransferModeEnumType
    dcChargingParameters: Maybe[DCChargingParametersType] = None
    v2xChargingParameters: Maybe[V2XChargingParametersType] = None
    availableEnergyTransfer: Maybe[Annotated[tuple[EnergyTransferModeEnumType, ...], Meta(min_length=1)]] = None
    controlMode: Maybe[ControlModeEnumType] = None
    mobilityNeedsMode: Maybe[MobilityNeedsModeEnumType] = None
    departureTime: Maybe[DateTime] = None
    customData: Maybe[CustomDataType] = None


class EventDataType(Message, frozen=True, kw_only=True):
    eventId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    timestamp: DateTime
    trigger: EventTriggerEnumType
    cause: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    actualValue: String2500
    techCode: Maybe[String50] = None
    techInfo: Maybe[String500] = None
    cleared: Maybe[bool] = None
    transactionId: Maybe[String36] = None
    component: ComponentType
    variableMonitoringId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    eventNotificationType: EventNotificationEnumType
    variable: VariableType
    severity: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class VariableMonitoringType(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    transaction: bool
    value: float
    type: MonitorEnumType
    severity: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    eventNotificationType: EventNotificationEnumType
    customData: Maybe[CustomDataType] = None


class MonitoringDataType(Message, frozen=True, kw_only=True):
    component: ComponentType
    variable: VariableType
    variableMonitoring: Annotated[tuple[VariableMonitoringType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class StreamDataElementType(Message, frozen=True, kw_only=True):
    t: float
    v: String2500
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
    maxElements: Maybe[Annotated[int, Meta(ge=1, le=INT64_MAX)]] = None
    valuesList: Maybe[String1000] = None
    supportsMonitoring: bool
    customData: Maybe[CustomDataType] = None


class ReportDataType(Message, frozen=True, kw_only=True):
    component: ComponentType
    variable: VariableType
    variableAttribute: Annotated[tuple[VariableAttributeType, ...], Meta(min_length=1, max_length=4)]
    variableCharacteristics: Maybe[VariableCharacteristicsType] = None
    customData: Maybe[CustomDataType] = None


class AddressType(Message, frozen=True, kw_only=True):
    name: String50
    address1: String100
    address2: Maybe[String100] = None
    city: String100
    postalCode: Maybe[String20] = None
    country: String50
    customData: Maybe[CustomDataType] = None


class ChargingScheduleUpdateType(Message, frozen=True, kw_only=True):
    limit: Maybe[float] = None
    limit_L2: Maybe[float] = None
    limit_L3: Maybe[float] = None
    dischargeLimit: Maybe[Annotated[float, Meta(le=0)]] = None
    dischargeLimit_L2: Maybe[Annotated[float, Meta(le=0)]] = None
    dischargeLimit_L3: Maybe[Annotated[float, Meta(le=0)]] = None
    setpoint: Maybe[float] = None
    setpoint_L2: Maybe[float] = None
    setpoint_L3: Maybe[float] = None
    setpointReactive: Maybe[float] = None
    setpointReactive_L2: Maybe[float] = None
    setpointReactive_L3: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class ChargingProfileType(Message, frozen=True, kw_only=True):
    id: Integer
    stackLevel: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    chargingProfilePurpose: ChargingProfilePurposeEnumType
    chargingProfileKind: ChargingProfileKindEnumType
    recurrencyKind: Maybe[RecurrencyKindEnumType] = None
    validFrom: Maybe[DateTime] = None
    validTo: Maybe[DateTime] = None
    transactionId: Maybe[String36] = None
    maxOfflineDuration: Maybe[Integer] = None
    chargingSchedule: Annotated[tuple[ChargingScheduleType, ...], Meta(min_length=1, max_length=3)]
    invalidAfterOfflineDuration: Maybe[bool] = None
    dynUpdateInterval: Maybe[Integer] = None
    dynUpdateTime: Maybe[DateTime] = None
    priceScheduleSignature: Maybe[String256] = None
    customData: Maybe[CustomDataType] = None


class DERCurvePointsType(Message, frozen=True, kw_only=True):
    x: float
    y: float
    customData: Maybe[CustomDataType] = None


class HysteresisType(Message, frozen=True, kw_only=True):
    hysteresisHigh: Maybe[float] = None
    hysteresisLow: Maybe[float] = None
    hysteresisDelay: Maybe[float] = None
    hysteresisGradient: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class ReactivePowerParamsType(Message, frozen=True, kw_only=True):
    vRef: Maybe[float] = None
    autonomousVRefEnable: Maybe[bool] = None
    autonomousVRefTimeConstant: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class VoltageParamsType(Message, frozen=True, kw_only=True):
    hv10MinMeanValue: Maybe[float] = None
    hv10MinMeanTripDelay: Maybe[float] = None
    powerDuringCessation: Maybe[PowerDuringCessationEnumType] = None
    customData: Maybe[CustomDataType] = None


class DERCurveType(Message, frozen=True, kw_only=True):
    curveData: Annotated[tuple[DERCurvePointsType, ...], Meta(min_length=1, max_length=10)]
    hysteresis: Maybe[HysteresisType] = None
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    reactivePowerParams: Maybe[ReactivePowerParamsType] = None
    voltageParams: Maybe[VoltageParamsType] = None
    yUnit: DERUnitEnumType
    responseTime: Maybe[float] = None
    startTime: Maybe[DateTime] = None
    duration: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class DERCurveGetType(Message, frozen=True, kw_only=True):
    curve: DERCurveType
    id: String36
    curveType: DERControlEnumType
    isDefault: bool
    isSuperseded: bool
    customData: Maybe[CustomDataType] = None


class EnterServiceType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    highVoltage: float
    lowVoltage: float
    highFreq: float
    lowFreq: float
    delay: Maybe[float] = None
    randomDelay: Maybe[float] = None
    rampRate: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class EnterServiceGetType(Message, frozen=True, kw_only=True):
    enterService: EnterServiceType
    id: String36
    customData: Maybe[CustomDataType] = None


class FixedPFType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    displacement: float
    excitation: bool
    startTime: Maybe[DateTime] = None
    duration: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class FixedPFGetType(Message, frozen=True, kw_only=True):
    fixedPF: FixedPFType
    id: String36
    isDefault: bool
    isSuperseded: bool
    customData: Maybe[CustomDataType] = None


class FixedVarType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    setpoint: float
    unit: DERUnitEnumType
    startTime: Maybe[DateTime] = None
    duration: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class FixedVarGetType(Message, frozen=True, kw_only=True):
    fixedVar: FixedVarType
    id: String36
    isDefault: bool
    isSuperseded: bool
    customData: Maybe[CustomDataType] = None


class FreqDroopType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    overFreq: float
    underFreq: float
    overDroop: float
    underDroop: float
    responseTime: float
    startTime: Maybe[DateTime] = None
    duration: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class FreqDroopGetType(Message, frozen=True, kw_only=True):
    freqDroop: FreqDroopType
    id: String36
    isDefault: bool
    isSuperseded: bool
    customData: Maybe[CustomDataType] = None


class GradientType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    gradient: float
    softGradient: float
    customData: Maybe[CustomDataType] = None


class GradientGetType(Message, frozen=True, kw_only=True):
    gradient: GradientType
    id: String36
    customData: Maybe[CustomDataType] = None


class LimitMaxDischargeType(Message, frozen=True, kw_only=True):
    priority: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    pctMaxDischargePower: Maybe[float] = None
    powerMonitoringMustTrip: Maybe[DERCurveType] = None
    startTime: Maybe[DateTime] = None
    duration: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class LimitMaxDischargeGetType(Message, frozen=True, kw_only=True):
    id: String36
    isDefault: bool
    isSuperseded: bool
    limitMaxDischarge: LimitMaxDischargeType
    customData: Maybe[CustomDataType] = None


class AuthorizationData(Message, frozen=True, kw_only=True):
    idToken: IdTokenType
    idTokenInfo: Maybe[IdTokenInfoType] = None
    customData: Maybe[CustomDataType] = None


class APNType(Message, frozen=True, kw_only=True):
    apn: String2000
    apnUserName: Maybe[String50] = None
    apnPassword: Maybe[String64] = None
    simPin: Maybe[Integer] = None
    preferredNetwork: Maybe[String6] = None
    useOnlyPreferredNetwork: Maybe[bool] = None
    apnAuthentication: APNAuthenticationEnumType
    customData: Maybe[CustomDataType] = None


class VPNType(Message, frozen=True, kw_only=True):
    server: String2000
    user: String50
    group: Maybe[String50] = None
    password: String64
    key: String255
    type: VPNEnumType
    customData: Maybe[CustomDataType] = None


class NetworkConnectionProfileType(Message, frozen=True, kw_only=True):
    apn: Maybe[APNType] = None
    ocppVersion: Maybe[OCPPVersionEnumType] = None
    ocppInterface: OCPPInterfaceEnumType
    ocppTransport: OCPPTransportEnumType
    messageTimeout: Integer
    ocppCsmsUrl: String2000
    securityProfile: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    identity: Maybe[String48] = None
    basicAuthPassword: Maybe[String64] = None
    vpn: Maybe[VPNType] = None
    customData: Maybe[CustomDataType] = None


class SetMonitoringDataType(Message, frozen=True, kw_only=True):
    id: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    periodicEventStream: Maybe[PeriodicEventStreamParamsType] = None
    transaction: Maybe[bool] = None
    value: float
    type: MonitorEnumType
    severity: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    component: ComponentType
    variable: VariableType
    customData: Maybe[CustomDataType] = None


class SetMonitoringResultType(Message, frozen=True, kw_only=True):
    id: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    statusInfo: Maybe[StatusInfoType] = None
    status: SetMonitoringStatusEnumType
    type: MonitorEnumType
    component: ComponentType
    variable: VariableType
    severity: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class SetVariableDataType(Message, frozen=True, kw_only=True):
    attributeType: Maybe[AttributeEnumType] = None
    attributeValue: String2500
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


class CostDimensionType(Message, frozen=True, kw_only=True):
    type: CostDimensionEnumType
    volume: float
    customData: Maybe[CustomDataType] = None


class ChargingPeriodType(Message, frozen=True, kw_only=True):
    dimensions: Maybe[Annotated[tuple[CostDimensionType, ...], Meta(min_length=1)]] = None
    tariffId: Maybe[String60] = None
    startPeriod: DateTime
    customData: Maybe[CustomDataType] = None


class TotalPriceType(Message, frozen=True, kw_only=True):
    exclTax: Maybe[float] = None
    inclTax: Maybe[float] = None
    customData: Maybe[CustomDataType] = None


class TotalCostType(Message, frozen=True, kw_only=True):
    currency: String3
    typeOfCost: TariffCostEnumType
    fixed: Maybe[PriceType] = None
    energy: Maybe[PriceType] = None
    chargingTime: Maybe[PriceType] = None
    idleTime: Maybe[PriceType] = None
    reservationTime: Maybe[PriceType] = None
    reservationFixed: Maybe[PriceType] = None
    total: TotalPriceType
    customData: Maybe[CustomDataType] = None


class TotalUsageType(Message, frozen=True, kw_only=True):
    energy: float
    chargingTime: Integer
    idleTime: Integer
    reservationTime: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class CostDetailsType(Message, frozen=True, kw_only=True):
    chargingPeriods: Maybe[Annotated[tuple[ChargingPeriodType, ...], Meta(min_length=1)]] = None
    totalCost: TotalCostType
    totalUsage: TotalUsageType
    failureToCalculate: Maybe[bool] = None
    failureReason: Maybe[String500] = None
    customData: Maybe[CustomDataType] = None


class TransactionLimitType(Message, frozen=True, kw_only=True):
    maxCost: Maybe[float] = None
    maxEnergy: Maybe[float] = None
    maxTime: Maybe[Integer] = None
    maxSoC: Maybe[Annotated[int, Meta(ge=0, le=100)]] = None
    customData: Maybe[CustomDataType] = None


class TransactionType(Message, frozen=True, kw_only=True):
    transactionId: String36
    chargingState: Maybe[ChargingStateEnumType] = None
    timeSpentCharging: Maybe[Integer] = None
    stoppedReason: Maybe[ReasonEnumType] = None
    remoteStartId: Maybe[Integer] = None
    operationMode: Maybe[OperationModeEnumType] = None
    tariffId: Maybe[String60] = None
    transactionLimit: Maybe[TransactionLimitType] = None
    customData: Maybe[CustomDataType] = None


class FirmwareType(Message, frozen=True, kw_only=True):
    location: String2000
    retrieveDateTime: DateTime
    installDateTime: Maybe[DateTime] = None
    signingCertificate: Maybe[String5500] = None
    signature: Maybe[String800] = None
    customData: Maybe[CustomDataType] = None


class AFRRSignalRequest(Message, frozen=True, kw_only=True):
    timestamp: DateTime
    signal: Integer
    customData: Maybe[CustomDataType] = None


class AFRRSignalResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class AdjustPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    params: PeriodicEventStreamParamsType
    customData: Maybe[CustomDataType] = None


class AdjustPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class AuthorizeRequest(Message, frozen=True, kw_only=True):
    idToken: IdTokenType
    certificate: Maybe[String10000] = None
    iso15118CertificateHashData: Maybe[Annotated[tuple[OCSPRequestDataType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class AuthorizeResponse(Message, frozen=True, kw_only=True):
    idTokenInfo: IdTokenInfoType
    certificateStatus: Maybe[AuthorizeCertificateStatusEnumType] = None
    allowedEnergyTransfer: Maybe[Annotated[tuple[EnergyTransferModeEnumType, ...], Meta(min_length=1)]] = None
    tariff: Maybe[TariffType] = None
    customData: Maybe[CustomDataType] = None


class BatterySwapRequest(Message, frozen=True, kw_only=True):
    batteryData: Annotated[tuple[BatteryDataType, ...], Meta(min_length=1)]
    eventType: BatterySwapEventEnumType
    idToken: IdTokenType
    requestId: Integer
    customData: Maybe[CustomDataType] = None


class BatterySwapResponse(Message, frozen=True, kw_only=True):
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
    reservationId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class CancelReservationResponse(Message, frozen=True, kw_only=True):
    status: CancelReservationStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class CertificateSignedRequest(Message, frozen=True, kw_only=True):
    certificateChain: String10000
    certificateType: Maybe[CertificateSigningUseEnumType] = None
    requestId: Maybe[Integer] = None
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


class ChangeTransactionTariffRequest(Message, frozen=True, kw_only=True):
    tariff: TariffType
    transactionId: String36
    customData: Maybe[CustomDataType] = None


class ChangeTransactionTariffResponse(Message, frozen=True, kw_only=True):
    status: TariffChangeStatusEnumType
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


class ClearDERControlRequest(Message, frozen=True, kw_only=True):
    isDefault: bool
    controlType: Maybe[DERControlEnumType] = None
    controlId: Maybe[String36] = None
    customData: Maybe[CustomDataType] = None


class ClearDERControlResponse(Message, frozen=True, kw_only=True):
    status: DERControlStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearDisplayMessageRequest(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class ClearDisplayMessageResponse(Message, frozen=True, kw_only=True):
    status: ClearMessageStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ClearTariffsRequest(Message, frozen=True, kw_only=True):
    tariffIds: Maybe[Annotated[tuple[String60, ...], Meta(min_length=1)]] = None
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class ClearTariffsResponse(Message, frozen=True, kw_only=True):
    clearTariffsResult: Annotated[tuple[ClearTariffsResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class ClearVariableMonitoringRequest(Message, frozen=True, kw_only=True):
    id: Annotated[tuple[Annotated[int, Meta(ge=0, le=INT64_MAX)], ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class ClearVariableMonitoringResponse(Message, frozen=True, kw_only=True):
    clearMonitoringResult: Annotated[tuple[ClearMonitoringResultType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class ClearedChargingLimitRequest(Message, frozen=True, kw_only=True):
    chargingLimitSource: String20
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class ClearedChargingLimitResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ClosePeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class ClosePeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
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
    requestId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
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
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class FirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class Get15118EVCertificateRequest(Message, frozen=True, kw_only=True):
    iso15118SchemaVersion: String50
    action: CertificateActionEnumType
    exiRequest: String11000
    maximumContractCertificateChains: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    prioritizedEMAIDs: Maybe[Annotated[tuple[String255, ...], Meta(min_length=1, max_length=8)]] = None
    customData: Maybe[CustomDataType] = None


class Get15118EVCertificateResponse(Message, frozen=True, kw_only=True):
    status: Iso15118EVCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    exiResponse: String17000
    remainingContracts: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class GetBaseReportRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    reportBase: ReportBaseEnumType
    customData: Maybe[CustomDataType] = None


class GetBaseReportResponse(Message, frozen=True, kw_only=True):
    status: GenericDeviceModelStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetCertificateChainStatusRequest(Message, frozen=True, kw_only=True):
    certificateStatusRequests: Annotated[tuple[CertificateStatusRequestInfoType, ...], Meta(min_length=1, max_length=4)]
    customData: Maybe[CustomDataType] = None


class GetCertificateChainStatusResponse(Message, frozen=True, kw_only=True):
    certificateStatus: Annotated[tuple[CertificateStatusType, ...], Meta(min_length=1, max_length=4)]
    customData: Maybe[CustomDataType] = None


class GetCertificateStatusRequest(Message, frozen=True, kw_only=True):
    ocspRequestData: OCSPRequestDataType
    customData: Maybe[CustomDataType] = None


class GetCertificateStatusResponse(Message, frozen=True, kw_only=True):
    status: GetCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    ocspResult: Maybe[String18000] = None
    customData: Maybe[CustomDataType] = None


class GetChargingProfilesRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    chargingProfile: ChargingProfileCriterionType
    customData: Maybe[CustomDataType] = None


class GetChargingProfilesResponse(Message, frozen=True, kw_only=True):
    status: GetChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetCompositeScheduleRequest(Message, frozen=True, kw_only=True):
    duration: Integer
    chargingRateUnit: Maybe[ChargingRateUnitEnumType] = None
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class GetCompositeScheduleResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    schedule: Maybe[CompositeScheduleType] = None
    customData: Maybe[CustomDataType] = None


class GetDERControlRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    isDefault: Maybe[bool] = None
    controlType: Maybe[DERControlEnumType] = None
    controlId: Maybe[String36] = None
    customData: Maybe[CustomDataType] = None


class GetDERControlResponse(Message, frozen=True, kw_only=True):
    status: DERControlStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class GetDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    id: Maybe[Annotated[tuple[Annotated[int, Meta(ge=0, le=INT64_MAX)], ...], Meta(min_length=1)]] = None
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
    retries: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
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


class GetPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class GetPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    constantStreamData: Maybe[Annotated[tuple[ConstantStreamDataType, ...], Meta(min_length=1)]] = None
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


class GetTariffsRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class GetTariffsResponse(Message, frozen=True, kw_only=True):
    status: TariffGetStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    tariffAssignments: Maybe[Annotated[tuple[TariffAssignmentType, ...], Meta(min_length=1)]] = None
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
    certificate: String10000
    customData: Maybe[CustomDataType] = None


class InstallCertificateResponse(Message, frozen=True, kw_only=True):
    status: InstallCertificateStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class LogStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: UploadLogStatusEnumType
    requestId: Maybe[Integer] = None
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class LogStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class MeterValuesRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    meterValue: Annotated[tuple[MeterValueType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class MeterValuesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyAllowedEnergyTransferRequest(Message, frozen=True, kw_only=True):
    transactionId: String36
    allowedEnergyTransfer: Annotated[tuple[EnergyTransferModeEnumType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class NotifyAllowedEnergyTransferResponse(Message, frozen=True, kw_only=True):
    status: NotifyAllowedEnergyTransferStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class NotifyChargingLimitRequest(Message, frozen=True, kw_only=True):
    chargingSchedule: Maybe[Annotated[tuple[ChargingScheduleType, ...], Meta(min_length=1)]] = None
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    chargingLimit: ChargingLimitType
    customData: Maybe[CustomDataType] = None


class NotifyChargingLimitResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyCustomerInformationRequest(Message, frozen=True, kw_only=True):
    data: String512
    tbc: Maybe[bool] = None
    seqNo: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    generatedAt: DateTime
    requestId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class NotifyCustomerInformationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyDERAlarmRequest(Message, frozen=True, kw_only=True):
    controlType: DERControlEnumType
    gridEventFault: Maybe[GridEventFaultEnumType] = None
    alarmEnded: Maybe[bool] = None
    timestamp: DateTime
    extraInfo: Maybe[String200] = None
    customData: Maybe[CustomDataType] = None


class NotifyDERAlarmResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyDERStartStopRequest(Message, frozen=True, kw_only=True):
    controlId: String36
    started: bool
    timestamp: DateTime
    supersededIds: Maybe[Annotated[tuple[String36, ...], Meta(min_length=1, max_length=24)]] = None
    customData: Maybe[CustomDataType] = None


class NotifyDERStartStopResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    messageInfo: Maybe[Annotated[tuple[MessageInfoType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    tbc: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class NotifyDisplayMessagesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingNeedsRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=1, le=INT64_MAX)]
    maxScheduleTuples: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    chargingNeeds: ChargingNeedsType
    timestamp: Maybe[DateTime] = None
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingNeedsResponse(Message, frozen=True, kw_only=True):
    status: NotifyEVChargingNeedsStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingScheduleRequest(Message, frozen=True, kw_only=True):
    timeBase: DateTime
    chargingSchedule: ChargingScheduleType
    evseId: Annotated[int, Meta(ge=1, le=INT64_MAX)]
    selectedChargingScheduleId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    powerToleranceAcceptance: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class NotifyEVChargingScheduleResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class NotifyEventRequest(Message, frozen=True, kw_only=True):
    generatedAt: DateTime
    tbc: Maybe[bool] = None
    seqNo: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    eventData: Annotated[tuple[EventDataType, ...], Meta(min_length=1)]
    customData: Maybe[CustomDataType] = None


class NotifyEventResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyMonitoringReportRequest(Message, frozen=True, kw_only=True):
    monitor: Maybe[Annotated[tuple[MonitoringDataType, ...], Meta(min_length=1)]] = None
    requestId: Integer
    tbc: Maybe[bool] = None
    seqNo: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    generatedAt: DateTime
    customData: Maybe[CustomDataType] = None


class NotifyMonitoringReportResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyPeriodicEventStream(Message, frozen=True, kw_only=True):
    data: Annotated[tuple[StreamDataElementType, ...], Meta(min_length=1)]
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    pending: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    basetime: DateTime
    customData: Maybe[CustomDataType] = None


class NotifyPriorityChargingRequest(Message, frozen=True, kw_only=True):
    transactionId: String36
    activated: bool
    customData: Maybe[CustomDataType] = None


class NotifyPriorityChargingResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifyReportRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    generatedAt: DateTime
    reportData: Maybe[Annotated[tuple[ReportDataType, ...], Meta(min_length=1)]] = None
    tbc: Maybe[bool] = None
    seqNo: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class NotifyReportResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class NotifySettlementRequest(Message, frozen=True, kw_only=True):
    transactionId: Maybe[String36] = None
    pspRef: String255
    status: PaymentStatusEnumType
    statusInfo: Maybe[String500] = None
    settlementAmount: float
    settlementTime: DateTime
    receiptId: Maybe[String50] = None
    receiptUrl: Maybe[String2000] = None
    vatCompany: Maybe[AddressType] = None
    vatNumber: Maybe[String20] = None
    customData: Maybe[CustomDataType] = None


class NotifySettlementResponse(Message, frozen=True, kw_only=True):
    receiptUrl: Maybe[String2000] = None
    receiptId: Maybe[String50] = None
    customData: Maybe[CustomDataType] = None


class NotifyWebPaymentStartedRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    timeout: Integer
    customData: Maybe[CustomDataType] = None


class NotifyWebPaymentStartedResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class OpenPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    constantStreamData: ConstantStreamDataType
    customData: Maybe[CustomDataType] = None


class OpenPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareRequest(Message, frozen=True, kw_only=True):
    location: String2000
    retries: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    checksum: String32
    requestId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    retryInterval: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: PublishFirmwareStatusEnumType
    location: Maybe[Annotated[tuple[String2000, ...], Meta(min_length=1)]] = None
    requestId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class PublishFirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class PullDynamicScheduleUpdateRequest(Message, frozen=True, kw_only=True):
    chargingProfileId: Integer
    customData: Maybe[CustomDataType] = None


class PullDynamicScheduleUpdateResponse(Message, frozen=True, kw_only=True):
    scheduleUpdate: Maybe[ChargingScheduleUpdateType] = None
    status: ChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ReportChargingProfilesRequest(Message, frozen=True, kw_only=True):
    requestId: Integer
    chargingLimitSource: String20
    chargingProfile: Annotated[tuple[ChargingProfileType, ...], Meta(min_length=1)]
    tbc: Maybe[bool] = None
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class ReportChargingProfilesResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ReportDERControlRequest(Message, frozen=True, kw_only=True):
    curve: Maybe[Annotated[tuple[DERCurveGetType, ...], Meta(min_length=1, max_length=24)]] = None
    enterService: Maybe[Annotated[tuple[EnterServiceGetType, ...], Meta(min_length=1, max_length=24)]] = None
    fixedPFAbsorb: Maybe[Annotated[tuple[FixedPFGetType, ...], Meta(min_length=1, max_length=24)]] = None
    fixedPFInject: Maybe[Annotated[tuple[FixedPFGetType, ...], Meta(min_length=1, max_length=24)]] = None
    fixedVar: Maybe[Annotated[tuple[FixedVarGetType, ...], Meta(min_length=1, max_length=24)]] = None
    freqDroop: Maybe[Annotated[tuple[FreqDroopGetType, ...], Meta(min_length=1, max_length=24)]] = None
    gradient: Maybe[Annotated[tuple[GradientGetType, ...], Meta(min_length=1, max_length=24)]] = None
    limitMaxDischarge: Maybe[Annotated[tuple[LimitMaxDischargeGetType, ...], Meta(min_length=1, max_length=24)]] = None
    requestId: Integer
    tbc: Maybe[bool] = None
    customData: Maybe[CustomDataType] = None


class ReportDERControlResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class RequestBatterySwapRequest(Message, frozen=True, kw_only=True):
    idToken: IdTokenType
    requestId: Integer
    customData: Maybe[CustomDataType] = None


class RequestBatterySwapResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class RequestStartTransactionRequest(Message, frozen=True, kw_only=True):
    evseId: Maybe[Annotated[int, Meta(ge=1, le=INT64_MAX)]] = None
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
    reservationId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    reservationUpdateStatus: ReservationUpdateStatusEnumType
    customData: Maybe[CustomDataType] = None


class ReservationStatusUpdateResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class ReserveNowRequest(Message, frozen=True, kw_only=True):
    id: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    expiryDateTime: DateTime
    connectorType: Maybe[String20] = None
    idToken: IdTokenType
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    groupIdToken: Maybe[IdTokenType] = None
    customData: Maybe[CustomDataType] = None


class ReserveNowResponse(Message, frozen=True, kw_only=True):
    status: ReserveNowStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class ResetRequest(Message, frozen=True, kw_only=True):
    type: ResetEnumType
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
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
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    chargingProfile: ChargingProfileType
    customData: Maybe[CustomDataType] = None


class SetChargingProfileResponse(Message, frozen=True, kw_only=True):
    status: ChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class SetDERControlRequest(Message, frozen=True, kw_only=True):
    isDefault: bool
    controlId: String36
    controlType: DERControlEnumType
    curve: Maybe[DERCurveType] = None
    enterService: Maybe[EnterServiceType] = None
    fixedPFAbsorb: Maybe[FixedPFType] = None
    fixedPFInject: Maybe[FixedPFType] = None
    fixedVar: Maybe[FixedVarType] = None
    freqDroop: Maybe[FreqDroopType] = None
    gradient: Maybe[GradientType] = None
    limitMaxDischarge: Maybe[LimitMaxDischargeType] = None
    customData: Maybe[CustomDataType] = None


class SetDERControlResponse(Message, frozen=True, kw_only=True):
    status: DERControlStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    supersededIds: Maybe[Annotated[tuple[String36, ...], Meta(min_length=1, max_length=24)]] = None
    customData: Maybe[CustomDataType] = None


class SetDefaultTariffRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    tariff: TariffType
    customData: Maybe[CustomDataType] = None


class SetDefaultTariffResponse(Message, frozen=True, kw_only=True):
    status: TariffSetStatusEnumType
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
    severity: Annotated[int, Meta(ge=0, le=INT64_MAX)]
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
    hashRootCertificate: Maybe[CertificateHashDataType] = None
    requestId: Maybe[Integer] = None
    customData: Maybe[CustomDataType] = None


class SignCertificateResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class StatusNotificationRequest(Message, frozen=True, kw_only=True):
    timestamp: DateTime
    connectorStatus: ConnectorStatusEnumType
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    connectorId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    customData: Maybe[CustomDataType] = None


class StatusNotificationResponse(Message, frozen=True, kw_only=True):
    customData: Maybe[CustomDataType] = None


class TransactionEventRequest(Message, frozen=True, kw_only=True):
    costDetails: Maybe[CostDetailsType] = None
    eventType: TransactionEventEnumType
    meterValue: Maybe[Annotated[tuple[MeterValueType, ...], Meta(min_length=1)]] = None
    timestamp: DateTime
    triggerReason: TriggerReasonEnumType
    seqNo: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    offline: Maybe[bool] = None
    numberOfPhasesUsed: Maybe[Annotated[int, Meta(ge=0, le=3)]] = None
    cableMaxCurrent: Maybe[Integer] = None
    reservationId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    preconditioningStatus: Maybe[PreconditioningStatusEnumType] = None
    evseSleep: Maybe[bool] = None
    transactionInfo: TransactionType
    evse: Maybe[EVSEType] = None
    idToken: Maybe[IdTokenType] = None
    customData: Maybe[CustomDataType] = None


class TransactionEventResponse(Message, frozen=True, kw_only=True):
    totalCost: Maybe[float] = None
    chargingPriority: Maybe[Integer] = None
    idTokenInfo: Maybe[IdTokenInfoType] = None
    transactionLimit: Maybe[TransactionLimitType] = None
    updatedPersonalMessage: Maybe[MessageContentType] = None
    updatedPersonalMessageExtra: Maybe[Annotated[tuple[MessageContentType, ...], Meta(min_length=1, max_length=4)]] = None
    customData: Maybe[CustomDataType] = None


class TriggerMessageRequest(Message, frozen=True, kw_only=True):
    evse: Maybe[EVSEType] = None
    requestedMessage: MessageTriggerEnumType
    customTrigger: Maybe[String50] = None
    customData: Maybe[CustomDataType] = None


class TriggerMessageResponse(Message, frozen=True, kw_only=True):
    status: TriggerMessageStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class UnlockConnectorRequest(Message, frozen=True, kw_only=True):
    evseId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
    connectorId: Annotated[int, Meta(ge=0, le=INT64_MAX)]
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


class UpdateDynamicScheduleRequest(Message, frozen=True, kw_only=True):
    chargingProfileId: Integer
    scheduleUpdate: ChargingScheduleUpdateType
    customData: Maybe[CustomDataType] = None


class UpdateDynamicScheduleResponse(Message, frozen=True, kw_only=True):
    status: ChargingProfileStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class UpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    retries: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    retryInterval: Maybe[Integer] = None
    requestId: Integer
    firmware: FirmwareType
    customData: Maybe[CustomDataType] = None


class UpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    status: UpdateFirmwareStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class UsePriorityChargingRequest(Message, frozen=True, kw_only=True):
    transactionId: String36
    activate: bool
    customData: Maybe[CustomDataType] = None


class UsePriorityChargingResponse(Message, frozen=True, kw_only=True):
    status: PriorityChargingStatusEnumType
    statusInfo: Maybe[StatusInfoType] = None
    customData: Maybe[CustomDataType] = None


class VatNumberValidationRequest(Message, frozen=True, kw_only=True):
    vatNumber: String20
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    customData: Maybe[CustomDataType] = None


class VatNumberValidationResponse(Message, frozen=True, kw_only=True):
    company: Maybe[AddressType] = None
    statusInfo: Maybe[StatusInfoType] = None
    vatNumber: String20
    evseId: Maybe[Annotated[int, Meta(ge=0, le=INT64_MAX)]] = None
    status: GenericStatusEnumType
    customData: Maybe[CustomDataType] = None
