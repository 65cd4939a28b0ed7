"""OCPP 1.6 as a charge point speaks it. The Structs carry the names of the specification; what it sends and reads, no more.

They are the simulator's own, not those of `cpms_actors.ocpp.messages`: a slip there must not be repeated here unseen.
"""

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from cpms_actors.base.time import format_rfc3339
from cpms_actors.simulator.options import Options, Version
from cpms_actors.simulator.queue import Kind, TransactionMessage
from cpms_actors.simulator.session import Sample
from cpms_actors.simulator.v16_commands import COMMANDS
from cpms_actors.simulator.words import BootAnswer, BootReason, ConnectorWord, Request, Setting, TransactionAnswer

UNKNOWN_TRANSACTION = -1  # errata 3.18: the start was never answered
SERIAL_TOO_LONG = "EVB1A22P2RI3N18234120010035079A5"


class BootNotification(Struct, frozen=True, gc=False):
    chargePointVendor: str
    chargePointModel: str
    chargePointSerialNumber: str
    chargeBoxSerialNumber: str
    firmwareVersion: str


class Heartbeat(Struct, frozen=True, gc=False):
    pass


class StatusNotification(Struct, frozen=True, gc=False, omit_defaults=True):
    connectorId: int
    errorCode: str
    status: str
    timestamp: str | None = None
    info: str | None = None


class Authorize(Struct, frozen=True, gc=False):
    idTag: str


class StartTransaction(Struct, frozen=True, gc=False):
    connectorId: int
    idTag: str
    meterStart: int
    timestamp: str


class SampledValue(Struct, frozen=True, gc=False, omit_defaults=True):
    value: str | int
    context: str
    measurand: str
    unit: str


class MeterValue(Struct, frozen=True, gc=False):
    timestamp: str
    sampledValue: tuple[SampledValue, ...]


class MeterValues(Struct, frozen=True, gc=False, omit_defaults=True):
    connectorId: int
    meterValue: tuple[MeterValue, ...]
    transactionId: int | None = None


class StopTransaction(Struct, frozen=True, gc=False, omit_defaults=True):
    transactionId: int
    meterStop: int
    timestamp: str
    reason: str | None = None
    idTag: str | None = None
    transactionData: tuple[MeterValue, ...] | None = None


class IdTagInfo(Struct, frozen=True, gc=False):
    status: str


class AuthorizeAnswer(Struct, frozen=True, gc=False):
    idTagInfo: IdTagInfo


class StartAnswer(Struct, frozen=True, gc=False):
    transactionId: int
    idTagInfo: IdTagInfo


class StopAnswer(Struct, frozen=True, gc=False):
    idTagInfo: IdTagInfo | None = None


_READ_BOOT = msgspec.json.Decoder(BootAnswer)
_READ_AUTHORIZE = msgspec.json.Decoder(AuthorizeAnswer)
_READ_START = msgspec.json.Decoder(StartAnswer)
_READ_STOP = msgspec.json.Decoder(StopAnswer)


class Words16:
    """The implementation of `Words` for OCPP 1.6."""

    version: Version = "1.6"
    commands = COMMANDS
    status_of_charger = True
    names_transactions = False
    meters_in_transactions = True
    boots_when_accepted = True
    format_violation = "FormationViolation"

    def __init__(self, identity: str, options: Options) -> None:
        self._serial = identity[:25]
        self._options = options
        self._quirks = options.quirks

    def settings(self) -> dict[str, Setting]:
        return {
            "HeartbeatInterval": Setting("300", integer=True),
            "MeterValueSampleInterval": Setting("60", integer=True),
            "ConnectionTimeOut": Setting("60", integer=True),
            "TransactionMessageAttempts": Setting(str(self._options.attempts_max), readonly=True),
            "TransactionMessageRetryInterval": Setting(f"{self._options.retry_interval_s:.0f}", readonly=True),
            "NumberOfConnectors": Setting(str(self._options.evses), readonly=True),
            "AuthorizeRemoteTxRequests": Setting(str(self._options.remote_authorize).lower(), readonly=True),
            "SupportedFeatureProfiles": Setting("Core,RemoteTrigger", readonly=True),
            "WebSocketPingInterval": Setting("0", integer=True),
            "AuthorizationKey": Setting("", secret=True),
        }

    def meaning(self, setting: str) -> Literal["heartbeat", "meter"] | None:
        if setting == "HeartbeatInterval":
            return "heartbeat"
        return "meter" if setting == "MeterValueSampleInterval" else None

    def coarse(self, word: ConnectorWord) -> str:
        return word

    def boot(self, reason: BootReason, firmware: str) -> Request:
        o = self._options
        box = SERIAL_TOO_LONG if self._quirks.serial_too_long else self._serial
        return Request("BootNotification", BootNotification(o.vendor, o.model, self._serial, box, firmware))

    def heartbeat(self) -> Request:
        return Request("Heartbeat", Heartbeat())

    def status(self, evse: int, word: ConnectorWord, at: int) -> Request:
        if self._quirks.null_info:
            return Request("StatusNotification", StatusNotification(evse, "NoError", word, info="null"))
        return Request("StatusNotification", StatusNotification(evse, "NoError", word, self._time(at)))

    def authorize(self, token: str, kind: str) -> Request:
        return Request("Authorize", Authorize(token))

    def meter(self, evse: int, sample: Sample) -> Request:
        return Request("MeterValues", MeterValues(evse, (self._meter_value(sample),)))

    def transaction(self, message: TransactionMessage) -> Request:
        session, sample = message.session, message.sample
        evse, at = session.plan.evse, self._time(sample.at)
        if message.kind is Kind.START:
            return Request("StartTransaction", StartTransaction(evse, session.token, sample.register_wh, at))
        transaction = UNKNOWN_TRANSACTION if session.transaction is None else int(session.transaction)
        if self._quirks.forgets_transaction_id:
            transaction = UNKNOWN_TRANSACTION
        if message.kind is Kind.UPDATE:
            if self._quirks.huge_transaction_id:
                transaction = 2**63 - 1
            return Request("MeterValues", MeterValues(evse, (self._meter_value(sample),), transaction))
        reason = session.reason.value if session.reason else None
        # Only a token that was shown again ends a transaction (1.6 section 4.10); "Local" is the default of `reason`.
        tag = session.token if reason == "Local" and not self._quirks.stops_without_token else None
        stop = StopTransaction(transaction, sample.register_wh, at, reason, tag, (self._meter_value(sample),))
        return Request("StopTransaction", stop)

    def read_boot(self, payload: Raw) -> BootAnswer:
        return _READ_BOOT.decode(payload)

    def read_authorize(self, payload: Raw) -> str:
        return _READ_AUTHORIZE.decode(payload).idTagInfo.status

    def read_transaction(self, action: str, payload: Raw) -> TransactionAnswer:
        if action == "StartTransaction":
            start = _READ_START.decode(payload)
            return TransactionAnswer(str(start.transactionId), start.idTagInfo.status)
        if action == "StopTransaction":
            stop = _READ_STOP.decode(payload)
            return TransactionAnswer(status=stop.idTagInfo.status if stop.idTagInfo else None)
        return TransactionAnswer()

    def _time(self, at: int) -> str:
        text = format_rfc3339(at)
        return text[:-1] if self._quirks.naive_timestamps else text

    def _meter_value(self, sample: Sample) -> MeterValue:
        c, q = sample.context, self._quirks
        values: tuple[SampledValue, ...] = (
            SampledValue(self._value(sample.register_wh), c, "Energy.Active.Import.Register", "Wh"),
            SampledValue(self._value(sample.power_w), c, "Power.Active.Import", "W"),
            SampledValue(self._value(sample.soc), c, "SoC", "Percent"),
        )
        if q.unit_synonyms:
            synonyms = (SampledValue(self._value(50), c, "Frequency", "Hz"), SampledValue(self._value(31), c, "Temperature", "Celcius"))
            values += synonyms
        if q.unknown_context:
            values += (SampledValue(self._value(16), "CurrentMax", "Current.Import", "A"),)
        return MeterValue(self._time(sample.at), values)

    def _value(self, value: int) -> str | int:
        return value if self._quirks.numeric_values else str(value)
