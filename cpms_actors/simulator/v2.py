"""OCPP 2.0.1 and 2.1 as a charging station speaks them. For what a virtual station says the two are the same on the wire.

They are the simulator's own Structs, not those of `cpms_actors.ocpp.messages`: a slip there must not be repeated here unseen.
A transaction starts when the driver is authorized (TxStartPoint = Authorized, PowerPathClosed) and ends when he stops it.
"""

from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from cpms_actors.base.time import format_rfc3339
from cpms_actors.simulator.options import Options, Version
from cpms_actors.simulator.queue import Kind, TransactionMessage
from cpms_actors.simulator.session import Sample, Session, StopReason
from cpms_actors.simulator.v2_commands import COMMANDS, EVSE, IdToken
from cpms_actors.simulator.words import BootAnswer, BootReason, ConnectorWord, Request, Setting, TransactionAnswer

SERIAL_TOO_LONG = "EVB1A22P2RI3N18234120010035079A5"

# TriggerReasonEnumType and ReasonEnumType of an Ended event, by why it ended (part 2, 3.82 and 3.67).
_ENDED: Final[dict[StopReason, tuple[str, str]]] = {
    StopReason.LOCAL: ("StopAuthorized", "Local"),
    StopReason.REMOTE: ("RemoteStop", "Remote"),
    StopReason.EV_DISCONNECTED: ("EVDeparted", "EVDisconnected"),
    StopReason.DEAUTHORIZED: ("Deauthorized", "DeAuthorized"),
    StopReason.SOFT_RESET: ("ResetCommand", "ImmediateReset"),
    StopReason.HARD_RESET: ("ResetCommand", "ImmediateReset"),
    StopReason.UNLOCK: ("UnlockCommand", "Other"),
}


class ChargingStation(Struct, frozen=True, gc=False):
    model: str
    vendorName: str
    serialNumber: str
    firmwareVersion: str


class BootNotification(Struct, frozen=True, gc=False):
    reason: str
    chargingStation: ChargingStation


class Heartbeat(Struct, frozen=True, gc=False):
    pass


class StatusNotification(Struct, frozen=True, gc=False):
    timestamp: str
    connectorStatus: str
    evseId: int
    connectorId: int


class Authorize(Struct, frozen=True, gc=False):
    idToken: IdToken


class UnitOfMeasure(Struct, frozen=True, gc=False):
    unit: str


class SampledValue(Struct, frozen=True, gc=False):
    value: float | str
    context: str
    measurand: str
    unitOfMeasure: UnitOfMeasure


class MeterValue(Struct, frozen=True, gc=False):
    timestamp: str
    sampledValue: tuple[SampledValue, ...]


class MeterValues(Struct, frozen=True, gc=False):
    evseId: int
    meterValue: tuple[MeterValue, ...]


class Transaction(Struct, frozen=True, gc=False, omit_defaults=True):
    transactionId: str
    chargingState: str | None = None
    timeSpentCharging: int | None = None
    stoppedReason: str | None = None
    remoteStartId: int | None = None


class TransactionEvent(Struct, frozen=True, gc=False, omit_defaults=True):
    eventType: str
    timestamp: str
    triggerReason: str
    seqNo: int
    transactionInfo: Transaction
    meterValue: tuple[MeterValue, ...]
    offline: bool = False
    evse: EVSE | None = None
    idToken: IdToken | None = None


class IdTokenInfo(Struct, frozen=True, gc=False):
    status: str


class AuthorizeAnswer(Struct, frozen=True, gc=False):
    idTokenInfo: IdTokenInfo


class TransactionEventAnswer(Struct, frozen=True, gc=False):
    idTokenInfo: IdTokenInfo | None = None


_READ_BOOT = msgspec.json.Decoder(BootAnswer)
_READ_AUTHORIZE = msgspec.json.Decoder(AuthorizeAnswer)
_READ_EVENT = msgspec.json.Decoder(TransactionEventAnswer)
_WH, _W, _PERCENT = UnitOfMeasure("Wh"), UnitOfMeasure("W"), UnitOfMeasure("Percent")
_HZ, _ANSWERED = UnitOfMeasure("Hz"), TransactionAnswer()


class Words2:
    """The implementation of `Words` for OCPP 2.0.1 and 2.1."""

    commands = COMMANDS
    status_of_charger = False
    names_transactions = True
    meters_in_transactions = False
    boots_when_accepted = False
    format_violation = "FormatViolation"

    def __init__(self, version: Version, identity: str, options: Options) -> None:
        self.version: Version = version
        self._serial = identity[:25]
        self._options = options
        self._quirks = options.quirks

    def settings(self) -> dict[str, Setting]:
        return {
            "OCPPCommCtrlr.HeartbeatInterval": Setting("300", integer=True),
            "OCPPCommCtrlr.WebSocketPingInterval": Setting("0", integer=True),
            "OCPPCommCtrlr.MessageAttempts": Setting(str(self._options.attempts_max), readonly=True),
            "OCPPCommCtrlr.MessageAttemptInterval": Setting(f"{self._options.retry_interval_s:.0f}", readonly=True),
            "SampledDataCtrlr.TxUpdatedInterval": Setting("60", integer=True),
            "TxCtrlr.EVConnectionTimeOut": Setting("60", integer=True),
            "TxCtrlr.TxStartPoint": Setting("PowerPathClosed", readonly=True),
            "TxCtrlr.TxStopPoint": Setting("Authorized", readonly=True),
            "AuthCtrlr.AuthorizeRemoteStart": Setting(str(self._options.remote_authorize).lower(), readonly=True),
            "SecurityCtrlr.BasicAuthPassword": Setting("", secret=True),
        }

    def meaning(self, setting: str) -> Literal["heartbeat", "meter"] | None:
        if setting == "OCPPCommCtrlr.HeartbeatInterval":
            return "heartbeat"
        return "meter" if setting == "SampledDataCtrlr.TxUpdatedInterval" else None

    def coarse(self, word: ConnectorWord) -> str:
        return word if word in ("Available", "Unavailable") else "Occupied"

    def boot(self, reason: BootReason, firmware: str) -> Request:
        o = self._options
        serial = SERIAL_TOO_LONG if self._quirks.serial_too_long else self._serial
        return Request("BootNotification", BootNotification(reason, ChargingStation(o.model, o.vendor, serial, firmware)))

    def heartbeat(self) -> Request:
        return Request("Heartbeat", Heartbeat())

    def status(self, evse: int, word: ConnectorWord, at: int) -> Request:
        return Request("StatusNotification", StatusNotification(self._time(at), self.coarse(word), evse, 1))

    def authorize(self, token: str, kind: str) -> Request:
        return Request("Authorize", Authorize(IdToken(token, kind)))

    def meter(self, evse: int, sample: Sample) -> Request:
        return Request("MeterValues", MeterValues(evse, (self._meter_value(sample),)))

    def transaction(self, message: TransactionMessage) -> Request:
        session, sample, kind = message.session, message.sample, message.kind
        started = kind is Kind.START
        trigger, stopped, by = message.trigger, None, None
        if kind is Kind.END and session.reason is not None:
            trigger, stopped = _ENDED[session.reason]
        if started or (stopped == "Local" and not self._quirks.stops_without_token):
            by = IdToken(session.token, session.plan.token_kind)
        event = TransactionEvent(
            eventType="Started" if started else "Updated" if kind is Kind.UPDATE else "Ended",
            timestamp=self._time(sample.at),
            triggerReason=trigger,
            seqNo=message.seq,
            transactionInfo=self._transaction(session, message, stopped),
            meterValue=(self._meter_value(sample),),
            offline=message.offline,
            evse=EVSE(session.plan.evse, 1) if started else None,
            idToken=by,
        )
        return Request("TransactionEvent", event)

    def read_boot(self, payload: Raw) -> BootAnswer:
        return _READ_BOOT.decode(payload)

    def read_authorize(self, payload: Raw) -> str:
        return _READ_AUTHORIZE.decode(payload).idTokenInfo.status

    def read_transaction(self, action: str, payload: Raw) -> TransactionAnswer:
        info = _READ_EVENT.decode(payload).idTokenInfo
        return TransactionAnswer(status=info.status) if info else _ANSWERED

    def _transaction(self, session: Session, message: TransactionMessage, stopped: str | None) -> Transaction:
        started = message.kind is Kind.START
        spent = None
        if message.kind is Kind.END and session.charged_until is not None and session.started_at is not None:
            spent = (session.charged_until - session.started_at) // 1000
        remote = session.remote_start_id if started else None
        return Transaction(session.transaction or "", message.charging_state, spent, stopped, remote)

    def _time(self, at: int) -> str:
        text = format_rfc3339(at)
        return text[:-1] if self._quirks.naive_timestamps else text

    def _meter_value(self, sample: Sample) -> MeterValue:
        c, q = sample.context, self._quirks
        values: tuple[SampledValue, ...] = (
            SampledValue(self._value(sample.register_wh), c, "Energy.Active.Import.Register", _WH),
            SampledValue(self._value(sample.power_w), c, "Power.Active.Import", _W),
            SampledValue(self._value(sample.soc), c, "SoC", _PERCENT),
        )
        if q.unit_synonyms:
            values += (SampledValue(self._value(50), c, "Frequency", _HZ),)
        if q.unknown_context:
            values += (SampledValue(self._value(16), "CurrentMax", "Current.Import", UnitOfMeasure("A")),)
        return MeterValue(self._time(sample.at), values)

    def _value(self, value: int) -> float | str:
        return str(value) if self._quirks.numeric_values else value
