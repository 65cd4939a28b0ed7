"""The messages of OCPP 1.6, generated from the JSON schemas of ocpp 2.1.0 by `python -m cpms_actors.ocpp.generate`: do not edit."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from cpms_actors.ocpp.messages.fields import DateTime, Integer, Maybe, Message, require_tenths

String20: TypeAlias = Annotated[str, Meta(max_length=20)]
String25: TypeAlias = Annotated[str, Meta(max_length=25)]
String40: TypeAlias = Annotated[str, Meta(max_length=40)]
String50: TypeAlias = Annotated[str, Meta(max_length=50)]
String128: TypeAlias = Annotated[str, Meta(max_length=128)]
String255: TypeAlias = Annotated[str, Meta(max_length=255)]
String500: TypeAlias = Annotated[str, Meta(max_length=500)]
String512: TypeAlias = Annotated[str, Meta(max_length=512)]
String800: TypeAlias = Annotated[str, Meta(max_length=800)]
String5500: TypeAlias = Annotated[str, Meta(max_length=5500)]
String10000: TypeAlias = Annotated[str, Meta(max_length=10000)]

AuthorizationStatus: TypeAlias = Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
AvailabilityStatus: TypeAlias = Literal["Accepted", "Rejected", "Scheduled"]
AvailabilityType: TypeAlias = Literal["Inoperative", "Operative"]
CancelReservationStatus: TypeAlias = Literal["Accepted", "Rejected"]
CertificateSignedStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
CertificateUseEnumType: TypeAlias = Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]
ChargePointErrorCode: TypeAlias = Literal[
    "ConnectorLockFailure",
    "EVCommunicationError",
    "GroundFailure",
    "HighTemperature",
    "InternalError",
    "LocalListConflict",
    "NoError",
    "OtherError",
    "OverCurrentFailure",
    "PowerMeterFailure",
    "PowerSwitchFailure",
    "ReaderFailure",
    "ResetFailure",
    "UnderVoltage",
    "OverVoltage",
    "WeakSignal",
]
ChargePointStatus: TypeAlias = Literal[
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEVSE",
    "SuspendedEV",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
]
ChargingProfileKindType: TypeAlias = Literal["Absolute", "Recurring", "Relative"]
ChargingProfilePurposeType: TypeAlias = Literal["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]
ChargingProfileStatus: TypeAlias = Literal["Accepted", "Rejected", "NotSupported"]
ChargingRateUnitType: TypeAlias = Literal["A", "W"]
ClearCacheStatus: TypeAlias = Literal["Accepted", "Rejected"]
ClearChargingProfileStatus: TypeAlias = Literal["Accepted", "Unknown"]
ConfigurationStatus: TypeAlias = Literal["Accepted", "Rejected", "RebootRequired", "NotSupported"]
DataTransferStatus: TypeAlias = Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
DeleteCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed", "NotFound"]
DiagnosticsStatus: TypeAlias = Literal["Idle", "Uploaded", "UploadFailed", "Uploading"]
FirmwareStatus: TypeAlias = Literal[
    "Downloaded",
    "DownloadFailed",
    "Downloading",
    "Idle",
    "InstallationFailed",
    "Installing",
    "Installed",
]
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
GenericStatusEnumType: TypeAlias = Literal["Accepted", "Rejected"]
GetCompositeScheduleStatus: TypeAlias = Literal["Accepted", "Rejected"]
GetInstalledCertificateStatusEnumType: TypeAlias = Literal["Accepted", "NotFound"]
HashAlgorithmEnumType: TypeAlias = Literal["SHA256", "SHA384", "SHA512"]
InstallCertificateStatusEnumType: TypeAlias = Literal["Accepted", "Failed", "Rejected"]
Location: TypeAlias = Literal["Cable", "EV", "Inlet", "Outlet", "Body"]
LogEnumType: TypeAlias = Literal["DiagnosticsLog", "SecurityLog"]
LogStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "AcceptedCanceled"]
Measurand: TypeAlias = Literal[
    "Energy.Active.Export.Register",
    "Energy.Active.Import.Register",
    "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Register",
    "Energy.Active.Export.Interval",
    "Energy.Active.Import.Interval",
    "Energy.Reactive.Export.Interval",
    "Energy.Reactive.Import.Interval",
    "Power.Active.Export",
    "Power.Active.Import",
    "Power.Offered",
    "Power.Reactive.Export",
    "Power.Reactive.Import",
    "Power.Factor",
    "Current.Import",
    "Current.Export",
    "Current.Offered",
    "Voltage",
    "Frequency",
    "Temperature",
    "SoC",
    "RPM",
]
MessageTrigger: TypeAlias = Literal[
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
]
MessageTriggerEnumType: TypeAlias = Literal[
    "BootNotification",
    "LogStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "SignChargePointCertificate",
    "StatusNotification",
]
Phase: TypeAlias = Literal["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"]
ReadingContext: TypeAlias = Literal[
    "Interruption.Begin",
    "Interruption.End",
    "Sample.Clock",
    "Sample.Periodic",
    "Transaction.Begin",
    "Transaction.End",
    "Trigger",
    "Other",
]
Reason: TypeAlias = Literal[
    "EmergencyStop",
    "EVDisconnected",
    "HardReset",
    "Local",
    "Other",
    "PowerLoss",
    "Reboot",
    "Remote",
    "SoftReset",
    "UnlockCommand",
    "DeAuthorized",
]
RecurrencyKindType: TypeAlias = Literal["Daily", "Weekly"]
RegistrationStatus: TypeAlias = Literal["Accepted", "Pending", "Rejected"]
RemoteStartStopStatus: TypeAlias = Literal["Accepted", "Rejected"]
ReservationStatus: TypeAlias = Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]
ResetStatus: TypeAlias = Literal["Accepted", "Rejected"]
ResetType: TypeAlias = Literal["Hard", "Soft"]
StopTransactionUnitOfMeasure: TypeAlias = Literal[
    "Wh",
    "kWh",
    "varh",
    "kvarh",
    "W",
    "kW",
    "VA",
    "kVA",
    "var",
    "kvar",
    "A",
    "V",
    "K",
    "Celcius",
    "Celsius",
    "Fahrenheit",
    "Percent",
]
TriggerMessageStatus: TypeAlias = Literal["Accepted", "Rejected", "NotImplemented"]
TriggerMessageStatusEnumType: TypeAlias = Literal["Accepted", "Rejected", "NotImplemented"]
UnitOfMeasure: TypeAlias = Literal[
    "Wh",
    "kWh",
    "varh",
    "kvarh",
    "W",
    "kW",
    "VA",
    "kVA",
    "var",
    "kvar",
    "A",
    "V",
    "K",
    "Celcius",
    "Celsius",
    "Fahrenheit",
    "Percent",
    "Hertz",
]
UnlockStatus: TypeAlias = Literal["Unlocked", "UnlockFailed", "NotSupported"]
UpdateFirmwareStatusEnumType: TypeAlias = Literal[
    "Accepted",
    "Rejected",
    "AcceptedCanceled",
    "InvalidCertificate",
    "RevokedCertificate",
]
UpdateStatus: TypeAlias = Literal["Accepted", "Failed", "NotSupported", "VersionMismatch"]
UpdateType: TypeAlias = Literal["Differential", "Full"]
UploadLogStatusEnumType: TypeAlias = Literal[
    "BadMessage",
    "Idle",
    "NotSupportedOperation",
    "PermissionDenied",
    "Uploaded",
    "UploadFailure",
    "Uploading",
]
ValueFormat: TypeAlias = Literal["Raw", "SignedData"]


class IdTagInfo(Message, frozen=True, kw_only=True):
    expiryDate: Maybe[DateTime] = None
    parentIdTag: Maybe[String20] = None
    status: AuthorizationStatus


class CertificateHashDataType(Message, frozen=True, kw_only=True):
    hashAlgorithm: HashAlgorithmEnumType
    issuerNameHash: String128
    issuerKeyHash: String128
    serialNumber: String40


class ChargingSchedulePeriod(Message, frozen=True, kw_only=True):
    startPeriod: Integer
    limit: float
    numberPhases: Maybe[Integer] = None

    def __post_init__(self) -> None:
        require_tenths(self.limit)


class ChargingSchedule(Message, frozen=True, kw_only=True):
    duration: Maybe[Integer] = None
    startSchedule: Maybe[DateTime] = None
    chargingRateUnit: ChargingRateUnitType
    chargingSchedulePeriod: tuple[ChargingSchedulePeriod, ...]
    minChargingRate: Maybe[float] = None

    def __post_init__(self) -> None:
        require_tenths(self.minChargingRate)


class KeyValue(Message, frozen=True, kw_only=True):
    key: String50
    readonly: bool
    value: Maybe[String500] = None


class LogParametersType(Message, frozen=True, kw_only=True):
    remoteLocation: String512
    oldestTimestamp: Maybe[DateTime] = None
    latestTimestamp: Maybe[DateTime] = None


class SampledValue(Message, frozen=True, kw_only=True):
    value: str
    context: Maybe[ReadingContext] = None
    format: Maybe[ValueFormat] = None
    measurand: Maybe[Measurand] = None
    phase: Maybe[Phase] = None
    location: Maybe[Location] = None
    unit: Maybe[UnitOfMeasure] = None


class MeterValue(Message, frozen=True, kw_only=True):
    timestamp: DateTime
    sampledValue: Annotated[tuple[SampledValue, ...], Meta(min_length=1)]


class ChargingProfile(Message, frozen=True, kw_only=True):
    chargingProfileId: Integer
    transactionId: Maybe[Integer] = None
    stackLevel: Integer
    chargingProfilePurpose: ChargingProfilePurposeType
    chargingProfileKind: ChargingProfileKindType
    recurrencyKind: Maybe[RecurrencyKindType] = None
    validFrom: Maybe[DateTime] = None
    validTo: Maybe[DateTime] = None
    chargingSchedule: ChargingSchedule


class AuthorizationData(Message, frozen=True, kw_only=True):
    idTag: String20
    idTagInfo: Maybe[IdTagInfo] = None


class FirmwareType(Message, frozen=True, kw_only=True):
    location: String512
    retrieveDateTime: DateTime
    installDateTime: Maybe[DateTime] = None
    signingCertificate: String5500
    signature: String800


class StopTransactionSampledValue(Message, frozen=True, kw_only=True):
    value: str
    context: Maybe[ReadingContext] = None
    format: Maybe[ValueFormat] = None
    measurand: Maybe[Measurand] = None
    phase: Maybe[Phase] = None
    location: Maybe[Location] = None
    unit: Maybe[StopTransactionUnitOfMeasure] = None


class StopTransactionMeterValue(Message, frozen=True, kw_only=True):
    timestamp: DateTime
    sampledValue: tuple[StopTransactionSampledValue, ...]


class AuthorizeRequest(Message, frozen=True, kw_only=True):
    idTag: String20


class AuthorizeResponse(Message, frozen=True, kw_only=True):
    idTagInfo: IdTagInfo


class BootNotificationRequest(Message, frozen=True, kw_only=True):
    chargePointVendor: String20
    chargePointModel: String20
    chargePointSerialNumber: Maybe[String25] = None
    chargeBoxSerialNumber: Maybe[String25] = None
    firmwareVersion: Maybe[String50] = None
    iccid: Maybe[String20] = None
    imsi: Maybe[String20] = None
    meterType: Maybe[String25] = None
    meterSerialNumber: Maybe[String25] = None


class BootNotificationResponse(Message, frozen=True, kw_only=True):
    status: RegistrationStatus
    currentTime: DateTime
    interval: Integer


class CancelReservationRequest(Message, frozen=True, kw_only=True):
    reservationId: Integer


class CancelReservationResponse(Message, frozen=True, kw_only=True):
    status: CancelReservationStatus


class CertificateSignedRequest(Message, frozen=True, kw_only=True):
    certificateChain: String10000


class CertificateSignedResponse(Message, frozen=True, kw_only=True):
    status: CertificateSignedStatusEnumType


class ChangeAvailabilityRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    type: AvailabilityType


class ChangeAvailabilityResponse(Message, frozen=True, kw_only=True):
    status: AvailabilityStatus


class ChangeConfigurationRequest(Message, frozen=True, kw_only=True):
    key: String50
    value: String500


class ChangeConfigurationResponse(Message, frozen=True, kw_only=True):
    status: ConfigurationStatus


class ClearCacheRequest(Message, frozen=True, kw_only=True):
    pass


class ClearCacheResponse(Message, frozen=True, kw_only=True):
    status: ClearCacheStatus


class ClearChargingProfileRequest(Message, frozen=True, kw_only=True):
    id: Maybe[Integer] = None
    connectorId: Maybe[Integer] = None
    chargingProfilePurpose: Maybe[ChargingProfilePurposeType] = None
    stackLevel: Maybe[Integer] = None


class ClearChargingProfileResponse(Message, frozen=True, kw_only=True):
    status: ClearChargingProfileStatus


class DataTransferRequest(Message, frozen=True, kw_only=True):
    vendorId: String255
    messageId: Maybe[String50] = None
    data: Maybe[str] = None


class DataTransferResponse(Message, frozen=True, kw_only=True):
    status: DataTransferStatus
    data: Maybe[str] = None


class DeleteCertificateRequest(Message, frozen=True, kw_only=True):
    certificateHashData: CertificateHashDataType


class DeleteCertificateResponse(Message, frozen=True, kw_only=True):
    status: DeleteCertificateStatusEnumType


class DiagnosticsStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: DiagnosticsStatus


class DiagnosticsStatusNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class ExtendedTriggerMessageRequest(Message, frozen=True, kw_only=True):
    requestedMessage: MessageTriggerEnumType
    connectorId: Maybe[Integer] = None


class ExtendedTriggerMessageResponse(Message, frozen=True, kw_only=True):
    status: TriggerMessageStatusEnumType


class FirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: FirmwareStatus


class FirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class GetCompositeScheduleRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    duration: Integer
    chargingRateUnit: Maybe[ChargingRateUnitType] = None


class GetCompositeScheduleResponse(Message, frozen=True, kw_only=True):
    status: GetCompositeScheduleStatus
    connectorId: Maybe[Integer] = None
    scheduleStart: Maybe[DateTime] = None
    chargingSchedule: Maybe[ChargingSchedule] = None


class GetConfigurationRequest(Message, frozen=True, kw_only=True):
    key: Maybe[tuple[String50, ...]] = None


class GetConfigurationResponse(Message, frozen=True, kw_only=True):
    configurationKey: Maybe[tuple[KeyValue, ...]] = None
    unknownKey: Maybe[tuple[String50, ...]] = None


class GetDiagnosticsRequest(Message, frozen=True, kw_only=True):
    location: str
    retries: Maybe[Integer] = None
    retryInterval: Maybe[Integer] = None
    startTime: Maybe[DateTime] = None
    stopTime: Maybe[DateTime] = None


class GetDiagnosticsResponse(Message, frozen=True, kw_only=True):
    fileName: Maybe[String255] = None


class GetInstalledCertificateIdsRequest(Message, frozen=True, kw_only=True):
    certificateType: CertificateUseEnumType


class GetInstalledCertificateIdsResponse(Message, frozen=True, kw_only=True):
    certificateHashData: Maybe[Annotated[tuple[CertificateHashDataType, ...], Meta(min_length=1)]] = None
    status: GetInstalledCertificateStatusEnumType


class GetLocalListVersionRequest(Message, frozen=True, kw_only=True):
    pass


class GetLocalListVersionResponse(Message, frozen=True, kw_only=True):
    listVersion: Integer


class GetLogRequest(Message, frozen=True, kw_only=True):
    log: LogParametersType
    logType: LogEnumType
    requestId: Integer
    retries: Maybe[Integer] = None
    retryInterval: Maybe[Integer] = None


class GetLogResponse(Message, frozen=True, kw_only=True):
    status: LogStatusEnumType
    filename: Maybe[String255] = None


class HeartbeatRequest(Message, frozen=True, kw_only=True):
    pass


class HeartbeatResponse(Message, frozen=True, kw_only=True):
    currentTime: DateTime


class InstallCertificateRequest(Message, frozen=True, kw_only=True):
    certificateType: CertificateUseEnumType
    certificate: String5500


class InstallCertificateResponse(Message, frozen=True, kw_only=True):
    status: InstallCertificateStatusEnumType


class LogStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: UploadLogStatusEnumType
    requestId: Maybe[Integer] = None


class LogStatusNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class MeterValuesRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    transactionId: Maybe[Integer] = None
    meterValue: Annotated[tuple[MeterValue, ...], Meta(min_length=1)]


class MeterValuesResponse(Message, frozen=True, kw_only=True):
    pass


class RemoteStartTransactionRequest(Message, frozen=True, kw_only=True):
    connectorId: Maybe[Integer] = None
    idTag: String20
    chargingProfile: Maybe[ChargingProfile] = None


class RemoteStartTransactionResponse(Message, frozen=True, kw_only=True):
    status: RemoteStartStopStatus


class RemoteStopTransactionRequest(Message, frozen=True, kw_only=True):
    transactionId: Integer


class RemoteStopTransactionResponse(Message, frozen=True, kw_only=True):
    status: RemoteStartStopStatus


class ReserveNowRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    expiryDate: DateTime
    idTag: String20
    parentIdTag: Maybe[String20] = None
    reservationId: Integer


class ReserveNowResponse(Message, frozen=True, kw_only=True):
    status: ReservationStatus


class ResetRequest(Message, frozen=True, kw_only=True):
    type: ResetType


class ResetResponse(Message, frozen=True, kw_only=True):
    status: ResetStatus


class SecurityEventNotificationRequest(Message, frozen=True, kw_only=True):
    type: String50
    timestamp: DateTime
    techInfo: Maybe[String255] = None


class SecurityEventNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class SendLocalListRequest(Message, frozen=True, kw_only=True):
    listVersion: Integer
    localAuthorizationList: Maybe[tuple[AuthorizationData, ...]] = None
    updateType: UpdateType


class SendLocalListResponse(Message, frozen=True, kw_only=True):
    status: UpdateStatus


class SetChargingProfileRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    csChargingProfiles: ChargingProfile


class SetChargingProfileResponse(Message, frozen=True, kw_only=True):
    status: ChargingProfileStatus


class SignCertificateRequest(Message, frozen=True, kw_only=True):
    csr: String5500


class SignCertificateResponse(Message, frozen=True, kw_only=True):
    status: GenericStatusEnumType


class SignedFirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    status: FirmwareStatusEnumType
    requestId: Maybe[Integer] = None


class SignedFirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class SignedUpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    retries: Maybe[Integer] = None
    retryInterval: Maybe[Integer] = None
    requestId: Integer
    firmware: FirmwareType


class SignedUpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    status: UpdateFirmwareStatusEnumType


class StartTransactionRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    idTag: String20
    meterStart: Integer
    reservationId: Maybe[Integer] = None
    timestamp: DateTime


class StartTransactionResponse(Message, frozen=True, kw_only=True):
    idTagInfo: IdTagInfo
    transactionId: Integer


class StatusNotificationRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer
    errorCode: ChargePointErrorCode
    info: Maybe[String50] = None
    status: ChargePointStatus
    timestamp: Maybe[DateTime] = None
    vendorId: Maybe[String255] = None
    vendorErrorCode: Maybe[String50] = None


class StatusNotificationResponse(Message, frozen=True, kw_only=True):
    pass


class StopTransactionRequest(Message, frozen=True, kw_only=True):
    idTag: Maybe[String20] = None
    meterStop: Integer
    timestamp: DateTime
    transactionId: Integer
    reason: Maybe[Reason] = None
    transactionData: Maybe[tuple[StopTransactionMeterValue, ...]] = None


class StopTransactionResponse(Message, frozen=True, kw_only=True):
    idTagInfo: Maybe[IdTagInfo] = None


class TriggerMessageRequest(Message, frozen=True, kw_only=True):
    requestedMessage: MessageTrigger
    connectorId: Maybe[Integer] = None


class TriggerMessageResponse(Message, frozen=True, kw_only=True):
    status: TriggerMessageStatus


class UnlockConnectorRequest(Message, frozen=True, kw_only=True):
    connectorId: Integer


class UnlockConnectorResponse(Message, frozen=True, kw_only=True):
    status: UnlockStatus


class UpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    location: str
    retries: Maybe[Integer] = None
    retrieveDate: DateTime
    retryInterval: Maybe[Integer] = None


class UpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    pass
