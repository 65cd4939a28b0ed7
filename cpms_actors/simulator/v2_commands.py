"""What an OCPP 2.0.1 or 2.1 charging station does on the server's calls: one row per action."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from cpms_actors.simulator.words import ECHO_VENDOR, Command, FirmwareWord, Request, Setting, Station, Trigger, command

_TRIGGERS: Final[dict[str, Trigger]] = {
    "BootNotification": "BootNotification",
    "Heartbeat": "Heartbeat",
    "StatusNotification": "StatusNotification",
    "MeterValues": "MeterValues",
    "TransactionEvent": "TransactionEvent",
}


class IdToken(Struct, frozen=True, gc=False):
    idToken: str
    type: str


class EVSE(Struct, frozen=True, gc=False, omit_defaults=True):
    id: int
    connectorId: int | None = None


class RequestStartTransaction(Struct, frozen=True, gc=False):
    remoteStartId: int
    idToken: IdToken
    evseId: int | None = None


class RequestStopTransaction(Struct, frozen=True, gc=False):
    transactionId: str


class Reset(Struct, frozen=True, gc=False):
    type: Literal["Immediate", "OnIdle"]
    evseId: int | None = None


class ChangeAvailability(Struct, frozen=True, gc=False):
    operationalStatus: Literal["Operative", "Inoperative"]
    evse: EVSE | None = None


class TriggerMessage(Struct, frozen=True, gc=False):
    requestedMessage: str
    evse: EVSE | None = None


class Component(Struct, frozen=True, gc=False, omit_defaults=True):
    name: str
    instance: str | None = None
    evse: EVSE | None = None


class Variable(Struct, frozen=True, gc=False, omit_defaults=True):
    name: str
    instance: str | None = None


class GetVariableData(Struct, frozen=True, gc=False):
    component: Component
    variable: Variable
    attributeType: str | None = None


class GetVariables(Struct, frozen=True, gc=False):
    getVariableData: tuple[GetVariableData, ...]


class SetVariableData(Struct, frozen=True, gc=False):
    component: Component
    variable: Variable
    attributeValue: str
    attributeType: str | None = None


class SetVariables(Struct, frozen=True, gc=False):
    setVariableData: tuple[SetVariableData, ...]


class UnlockConnector(Struct, frozen=True, gc=False):
    evseId: int
    connectorId: int


class GetTransactionStatus(Struct, frozen=True, gc=False):
    transactionId: str | None = None


class DataTransfer(Struct, frozen=True, gc=False):
    vendorId: str
    messageId: str | None = None
    data: Any = None


class FirmwareFile(Struct, frozen=True, gc=False):
    location: str


class UpdateFirmware(Struct, frozen=True, gc=False):
    requestId: int
    firmware: FirmwareFile


class FirmwareStatusNotification(Struct, frozen=True, gc=False):
    status: str
    requestId: int


class ClearCache(Struct, frozen=True, gc=False):
    pass


class StatusAnswer(Struct, frozen=True, gc=False):
    status: str


class GetVariableResult(Struct, frozen=True, gc=False, omit_defaults=True):
    attributeStatus: str
    component: Component
    variable: Variable
    attributeType: str | None = None
    attributeValue: str | None = None


class GetVariablesAnswer(Struct, frozen=True, gc=False):
    getVariableResult: tuple[GetVariableResult, ...]


class SetVariableResult(Struct, frozen=True, gc=False, omit_defaults=True):
    attributeStatus: str
    component: Component
    variable: Variable
    attributeType: str | None = None


class SetVariablesAnswer(Struct, frozen=True, gc=False):
    setVariableResult: tuple[SetVariableResult, ...]


class TransactionStatusAnswer(Struct, frozen=True, gc=False, omit_defaults=True):
    messagesInQueue: bool
    ongoingIndicator: bool | None = None


class DataTransferAnswer(Struct, frozen=True, gc=False, omit_defaults=True):
    status: str
    data: Any = None


def _accepted(yes: bool) -> StatusAnswer:
    return StatusAnswer("Accepted" if yes else "Rejected")


def _remote_start(station: Station, request: RequestStartTransaction) -> Struct:
    token = request.idToken
    return _accepted(station.remote_start(token.idToken, token.type, request.evseId, request.remoteStartId))


def _remote_stop(station: Station, request: RequestStopTransaction) -> Struct:
    return _accepted(station.remote_stop(request.transactionId))


def _reset(station: Station, request: Reset) -> Struct:
    if request.evseId is not None:
        return StatusAnswer("Rejected")  # B11.FR.09: no EVSE of this station can be reset on its own
    return StatusAnswer("Accepted" if station.reset(request.type == "Immediate") else "Scheduled")


def _change_availability(station: Station, request: ChangeAvailability) -> Struct:
    evse = request.evse.id if request.evse else 0
    return StatusAnswer(station.change_availability(evse, request.operationalStatus == "Operative"))


def _trigger(station: Station, request: TriggerMessage) -> Struct:
    what = _TRIGGERS.get(request.requestedMessage)
    if what is None:
        return StatusAnswer("NotImplemented")
    return _accepted(station.trigger(what, request.evse.id if request.evse else None))


def _find(station: Station, component: Component, variable: Variable, attribute: str | None) -> tuple[str, Setting | str]:
    """The setting's name and itself, or the status that says why there is none."""
    name = f"{component.name}.{variable.name}"
    setting = station.settings.get(name)
    if setting is None:
        known = any(key.startswith(f"{component.name}.") for key in station.settings)
        return name, "UnknownVariable" if known else "UnknownComponent"
    return name, setting if attribute in (None, "Actual") else "NotSupportedAttributeType"


def _get_variable(station: Station, wanted: GetVariableData) -> GetVariableResult:
    _, found = _find(station, wanted.component, wanted.variable, wanted.attributeType)
    if isinstance(found, str):
        return GetVariableResult(found, wanted.component, wanted.variable, wanted.attributeType)
    if found.secret:  # B06.FR.09: a write-only variable is not told
        return GetVariableResult("Rejected", wanted.component, wanted.variable, wanted.attributeType)
    return GetVariableResult("Accepted", wanted.component, wanted.variable, wanted.attributeType, found.value)


def _set_variable(station: Station, wanted: SetVariableData) -> SetVariableResult:
    name, found = _find(station, wanted.component, wanted.variable, wanted.attributeType)
    status = found if isinstance(found, str) else station.configure(name, wanted.attributeValue)
    return SetVariableResult(status, wanted.component, wanted.variable, wanted.attributeType)


def _get_variables(station: Station, request: GetVariables) -> Struct:
    return GetVariablesAnswer(tuple(_get_variable(station, wanted) for wanted in request.getVariableData))


def _set_variables(station: Station, request: SetVariables) -> Struct:
    return SetVariablesAnswer(tuple(_set_variable(station, wanted) for wanted in request.setVariableData))


def _unlock(station: Station, request: UnlockConnector) -> Struct:
    # F05.FR.02: unlike 1.6, an ongoing authorized transaction is not ended by an unlock.
    if station.is_occupied(request.evseId):
        return StatusAnswer("OngoingAuthorizedTransaction")
    return StatusAnswer({True: "Unlocked", False: "UnlockFailed", None: "UnknownConnector"}[station.unlock(request.evseId)])


def _transaction_status(station: Station, request: GetTransactionStatus) -> Struct:
    queued = station.has_queued(request.transactionId)
    station.release()
    if request.transactionId is None:
        return TransactionStatusAnswer(queued)  # E14.FR.06: the ongoing indicator is about one transaction only
    return TransactionStatusAnswer(queued, station.is_running(request.transactionId) or False)


def _data_transfer(station: Station, request: DataTransfer) -> Struct:
    if request.vendorId != ECHO_VENDOR:
        return DataTransferAnswer("UnknownVendorId")
    return DataTransferAnswer("Accepted", request.data)


def _update_firmware(station: Station, request: UpdateFirmware) -> Struct:
    def say(word: FirmwareWord) -> Request:
        return Request("FirmwareStatusNotification", FirmwareStatusNotification(word, request.requestId))

    return _accepted(station.update_firmware(request.firmware.location, say))  # one at a time; none is cancelled for another


def _clear_cache(station: Station, request: ClearCache) -> Struct:
    return _accepted(True)


COMMANDS: Final[Mapping[str, Command]] = {
    "RequestStartTransaction": command(RequestStartTransaction, _remote_start),
    "RequestStopTransaction": command(RequestStopTransaction, _remote_stop),
    "Reset": command(Reset, _reset),
    "ChangeAvailability": command(ChangeAvailability, _change_availability),
    "TriggerMessage": command(TriggerMessage, _trigger),
    "GetVariables": command(GetVariables, _get_variables),
    "SetVariables": command(SetVariables, _set_variables),
    "UnlockConnector": command(UnlockConnector, _unlock),
    "GetTransactionStatus": command(GetTransactionStatus, _transaction_status),
    "DataTransfer": command(DataTransfer, _data_transfer),
    "UpdateFirmware": command(UpdateFirmware, _update_firmware),
    "ClearCache": command(ClearCache, _clear_cache),
}
