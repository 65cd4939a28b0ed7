"""The two sides between a charge point and the version of OCPP it speaks.

`Words` turns what happened into requests and reads answers; `Station` is what a command from the server may do to the charge
point, in words no version owns. A version is a module with one implementation of `Words` and one table of commands; the charge
point itself never asks which version it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Raw, Struct

from cpms_actors.simulator.options import Version
from cpms_actors.simulator.queue import TransactionMessage
from cpms_actors.simulator.session import Sample

BootReason = Literal["PowerUp", "RemoteReset", "FirmwareUpdate", "Triggered"]
REBOOTS: Final = frozenset({"RemoteReset", "FirmwareUpdate"})  # the station restarts by itself
Trigger = Literal["BootNotification", "Heartbeat", "StatusNotification", "MeterValues", "TransactionEvent"]
FirmwareWord = Literal["Downloading", "Downloaded", "Installing", "Installed"]
ConfigureStatus = Literal["Accepted", "Rejected", "NotSupported"]
ECHO_VENDOR: Final = "cpms.simulator"  # the one vendor whose DataTransfer is understood: its data comes back
ConnectorWord = Literal["Available", "Preparing", "Charging", "SuspendedEV", "Finishing", "Unavailable"]


class Request(Struct, frozen=True, gc=False):
    """A CALL to be sent: the action and its payload."""

    action: str
    payload: Struct


class BootAnswer(Struct, frozen=True, gc=False):
    """What BootNotification was answered. `interval` in seconds: of heartbeats when Accepted, else until the next attempt."""

    status: Literal["Accepted", "Pending", "Rejected"]
    interval: int


class TransactionAnswer(Struct, frozen=True, gc=False):
    """What a transaction message was answered: the id (1.6 start only) and the verdict on the token, where one was given."""

    transaction: str | None = None
    status: str | None = None


class Setting(Struct, frozen=True, gc=False):
    """One configuration key or variable. `integer`: only whole numbers are accepted. A write-only value is never told."""

    value: str
    readonly: bool = False
    integer: bool = False
    secret: bool = False


class Station(Protocol):
    """What commands do. Everything happens at the moment the charge point was told with the frame."""

    settings: dict[str, Setting]

    def remote_start(self, token: str, kind: str, evse: int | None, remote_start_id: int | None) -> bool:
        """Begin a session for a token. False: no connector is free, or the boot is not accepted."""

    def remote_stop(self, transaction: str) -> bool:
        """Stop a running transaction. False: there is none of that id."""

    def reset(self, immediate: bool) -> bool:
        """Reboot: now, or once no transaction runs. False: it has to wait."""

    def change_availability(self, evse: int, operative: bool) -> Literal["Accepted", "Scheduled", "Rejected"]:
        """Put a connector (0: all) into or out of service."""

    def trigger(self, what: Trigger, evse: int | None) -> bool:
        """Send a message soon. False: not for this connector, or not now."""

    def update_firmware(self, location: str, say: Callable[[FirmwareWord], Request]) -> bool:
        """Fetch another firmware and restart with it; `say` makes the notifications. False: an update is under way."""

    def unlock(self, evse: int) -> bool | None:
        """Release the cable, which stops a transaction. None: there is no such connector."""

    def is_occupied(self, evse: int) -> bool:
        """Whether a transaction runs at a connector."""

    def configure(self, name: str, value: str) -> ConfigureStatus:
        """Change a setting."""

    def is_running(self, transaction: str) -> bool | None:
        """Whether a transaction goes on. None: never heard of it."""

    def has_queued(self, transaction: str | None) -> bool:
        """Whether messages of a transaction (None: of any) are not told yet."""

    def release(self) -> None:
        """Tell what a quirk held back."""


class Command(Struct, frozen=True):
    """A CALL of the server: how to read its payload, and what to do and answer."""

    decode: Callable[[Raw], Any]
    handle: Callable[[Station, Any], Struct]


class Words(Protocol):
    """One version of OCPP as a charge point speaks it."""

    version: Version
    commands: Mapping[str, Command]
    status_of_charger: bool  # whether connector 0 has a status of its own (1.6)
    names_transactions: bool  # whether the station gives the transaction id (2.x)
    meters_in_transactions: bool  # whether a triggered MeterValues belongs to the running transaction (1.6)
    boots_when_accepted: bool  # whether a BootNotification may be triggered after the boot is accepted (not in 2.x, F06.FR.17)
    format_violation: str  # the CALLERROR code for a payload that breaks its schema

    def settings(self) -> dict[str, Setting]:
        """The settings of a new charge point."""

    def boot(self, reason: BootReason, firmware: str) -> Request:
        """BootNotification of a charge point that runs this firmware."""

    def heartbeat(self) -> Request:
        """Heartbeat."""

    def status(self, evse: int, word: ConnectorWord, at: int) -> Request:
        """StatusNotification at a station moment."""

    def authorize(self, token: str, kind: str) -> Request:
        """Authorize."""

    def meter(self, evse: int, sample: Sample) -> Request:
        """MeterValues outside any transaction."""

    def transaction(self, message: TransactionMessage) -> Request:
        """StartTransaction, MeterValues, StopTransaction or TransactionEvent."""

    def read_boot(self, payload: Raw) -> BootAnswer:
        """The answer to `boot`; raises msgspec.DecodeError for one that breaks the schema."""

    def read_authorize(self, payload: Raw) -> str:
        """The status in the answer to `authorize`; raises msgspec.DecodeError."""

    def read_transaction(self, action: str, payload: Raw) -> TransactionAnswer:
        """The answer to `transaction`; raises msgspec.DecodeError."""

    def coarse(self, word: ConnectorWord) -> str:
        """The word as this version tells it: a change that it cannot tell is not sent."""

    def meaning(self, setting: str) -> Literal["heartbeat", "meter"] | None:
        """Which behaviour a setting changes."""


def command(payload: type[Any], handle: Callable[[Station, Any], Struct]) -> Command:
    """A row of a table of commands; unknown fields are ignored, as a charger does."""
    return Command(msgspec.json.Decoder(payload).decode, handle)
