"""What an OCPP 1.6 charge point does on the server's calls: one row per action."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from cpms_actors.simulator.words import ECHO_VENDOR, Command, Request, Station, Trigger, command

_TRIGGERS: Final[dict[str, Trigger]] = {
    "BootNotification": "BootNotification",
    "Heartbeat": "Heartbeat",
    "StatusNotification": "StatusNotification",
    "MeterValues": "MeterValues",
}


class RemoteStartTransaction(Struct, frozen=True, gc=False):
    idTag: str
    connectorId: int | None = None


class RemoteStopTransaction(Struct, frozen=True, gc=False):
    transactionId: int


class Reset(Struct, frozen=True, gc=False):
    type: str


class ChangeAvailability(Struct, frozen=True, gc=False):
    connectorId: int
    type: str


class TriggerMessage(Struct, frozen=True, gc=False):
    requestedMessage: str
    connectorId: int | None = None


class GetConfiguration(Struct, frozen=True, gc=False):
    key: list[str] | None = None


class ChangeConfiguration(Struct, frozen=True, gc=False):
    key: str
    value: str


class UnlockConnector(Struct, frozen=True, gc=False):
    connectorId: int


class DataTransfer(Struct, frozen=True, gc=False):
    vendorId: str
    messageId: str | None = None
    data: str | None = None


class UpdateFirmware(Struct, frozen=True, gc=False):
    location: str


class UpdateFirmwareAnswer(Struct, frozen=True, gc=False):
    pass


class FirmwareStatusNotification(Struct, frozen=True, gc=False):
    status: str


class ClearCache(Struct, frozen=True, gc=False):
    pass


class StatusAnswer(Struct, frozen=True, gc=False):
    status: str


class DataTransferAnswer(Struct, frozen=True, gc=False, omit_defaults=True):
    status: str
    data: str | None = None


class KeyValue(Struct, frozen=True, gc=False, omit_defaults=True):
    key: str
    readonly: bool
    value: str | None = None


class GetConfigurationAnswer(Struct, frozen=True, gc=False, omit_defaults=True):
    configurationKey: tuple[KeyValue, ...] | None = None
    unknownKey: tuple[str, ...] | None = None


def _accepted(yes: bool) -> StatusAnswer:
    return StatusAnswer("Accepted" if yes else "Rejected")


def _remote_start(station: Station, request: RemoteStartTransaction) -> Struct:
    return _accepted(station.remote_start(request.idTag, "ISO14443", request.connectorId, None))


def _remote_stop(station: Station, request: RemoteStopTransaction) -> Struct:
    return _accepted(station.remote_stop(str(request.transactionId)))


def _reset(station: Station, request: Reset) -> Struct:
    station.reset(True)  # 1.6 knows no reset that waits: Soft stops transactions in good order, Hard at once (section 5.14)
    return _accepted(True)


def _change_availability(station: Station, request: ChangeAvailability) -> Struct:
    return StatusAnswer(station.change_availability(request.connectorId, request.type == "Operative"))


def _trigger(station: Station, request: TriggerMessage) -> Struct:
    what = _TRIGGERS.get(request.requestedMessage)
    return StatusAnswer("NotImplemented") if what is None else _accepted(station.trigger(what, request.connectorId))


def _get_configuration(station: Station, request: GetConfiguration) -> Struct:
    names = request.key or list(station.settings)
    known = tuple(
        KeyValue(name, setting.readonly, None if setting.secret else setting.value)
        for name in names
        if (setting := station.settings.get(name)) is not None
    )
    unknown = tuple(name for name in names if name not in station.settings)
    return GetConfigurationAnswer(known or None, unknown or None)


def _change_configuration(station: Station, request: ChangeConfiguration) -> Struct:
    return StatusAnswer(station.configure(request.key, request.value))


def _unlock(station: Station, request: UnlockConnector) -> Struct:
    return StatusAnswer({True: "Unlocked", False: "UnlockFailed", None: "NotSupported"}[station.unlock(request.connectorId)])


def _data_transfer(station: Station, request: DataTransfer) -> Struct:
    if request.vendorId != ECHO_VENDOR:
        return DataTransferAnswer("UnknownVendorId")
    return DataTransferAnswer("Accepted", request.data)


def _update_firmware(station: Station, request: UpdateFirmware) -> Struct:
    station.update_firmware(request.location, lambda word: Request("FirmwareStatusNotification", FirmwareStatusNotification(word)))
    return UpdateFirmwareAnswer()  # there is no way to say no


def _clear_cache(station: Station, request: ClearCache) -> Struct:
    return _accepted(True)


COMMANDS: Final[Mapping[str, Command]] = {
    "RemoteStartTransaction": command(RemoteStartTransaction, _remote_start),
    "RemoteStopTransaction": command(RemoteStopTransaction, _remote_stop),
    "Reset": command(Reset, _reset),
    "ChangeAvailability": command(ChangeAvailability, _change_availability),
    "TriggerMessage": command(TriggerMessage, _trigger),
    "GetConfiguration": command(GetConfiguration, _get_configuration),
    "ChangeConfiguration": command(ChangeConfiguration, _change_configuration),
    "UnlockConnector": command(UnlockConnector, _unlock),
    "DataTransfer": command(DataTransfer, _data_transfer),
    "UpdateFirmware": command(UpdateFirmware, _update_firmware),
    "ClearCache": command(ClearCache, _clear_cache),
}
