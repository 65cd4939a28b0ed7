"""The words of the journal: what chargers did, in one vocabulary for every version of OCPP.

The dialects translate frames into these bodies before the journal; readers never see an OCPP version. Everything here is data:
msgspec Structs, encoded as msgpack arrays. Adding a field at the end with a default keeps old pages readable; that is the only
change allowed to a Struct that was ever released.

Energy is in Wh, moments are milliseconds since the epoch in UTC (`base.time`), both integers. `evse` 0 is the charger itself; for
OCPP 1.6 a connector is its own EVSE: evse = connectorId, connector = 1 (as OCPI and OCPP 2.x see such hardware).
"""

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct


class Body(Struct, frozen=True, array_like=True, gc=False, tag_field="t"):
    """The root of the bodies."""


class IdToken(Struct, frozen=True, array_like=True, gc=False):
    """What a driver shows: `kind` is the OCPP 2.x IdTokenEnumType; 1.6 tags are "ISO14443" as they nearly always are RFID."""

    id: str
    kind: str = "ISO14443"


class Sample(Struct, frozen=True, array_like=True, gc=False):
    """One sampled value, in the base unit of its measurand (Wh, W, A, V, Hz, Celsius, Percent); kilo-units are multiplied out.

    `value` is a float for telemetry; energy registers are whole Wh after rounding and exact below 2**53. `signed` keeps signed
    data (OCMF and the like) as it came.
    """

    taken_at: int
    value: float
    measurand: str = "Energy.Active.Import.Register"
    context: str = "Sample.Periodic"
    phase: str | None = None
    location: str | None = None
    unit: str | None = None
    signed: str | None = None


class Connected(Body, frozen=True, tag="conn"):
    """A WebSocket was accepted. `ocpp` is "1.6", "2.0.1" or "2.1"."""

    ocpp: str
    remote: str = ""


class Disconnected(Body, frozen=True, tag="gone"):
    """The WebSocket of this connection epoch is closed."""

    code: int
    reason: str = ""


class Seen(Body, frozen=True, tag="seen"):
    """The charger is alive: at most one a minute per charger, whatever the number of heartbeats."""


class Booted(Body, frozen=True, tag="boot"):
    """BootNotification, and what it was answered: "Accepted", "Pending" or "Rejected"."""

    vendor: str
    model: str
    status: str
    serial: str | None = None
    firmware: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    reason: str | None = None


class StatusChanged(Body, frozen=True, tag="stat"):
    """StatusNotification. `status` is the word the charger used (1.6 has nine, 2.x five)."""

    evse: int
    connector: int
    status: str
    at: int
    error_code: str | None = None
    info: str | None = None
    vendor_error: str | None = None


class TransactionStarted(Body, frozen=True, tag="txb"):
    """StartTransaction, or TransactionEvent(Started). `transaction` is decimal for 1.6, the station's own id for 2.x.

    `seq` is None for 1.6. `offline` is 2.x's flag. `status` is the authorization the charger was answered.
    """

    transaction: str
    evse: int
    connector: int
    at: int
    token: IdToken | None = None
    meter_wh: int | None = None
    seq: int | None = None
    offline: bool = False
    trigger: str | None = None
    charging_state: str | None = None
    remote_start_id: int | None = None
    reservation: int | None = None
    status: str | None = None
    samples: tuple[Sample, ...] = ()


class TransactionUpdated(Body, frozen=True, tag="txu"):
    """TransactionEvent(Updated), or transactional MeterValues of 1.6 (then `seq` is None and `trigger` "MeterValuePeriodic")."""

    transaction: str
    at: int
    seq: int | None = None
    offline: bool = False
    trigger: str | None = None
    charging_state: str | None = None
    token: IdToken | None = None
    evse: int | None = None
    connector: int | None = None
    samples: tuple[Sample, ...] = ()


class TransactionEnded(Body, frozen=True, tag="txe"):
    """StopTransaction, or TransactionEvent(Ended)."""

    transaction: str
    at: int
    meter_wh: int | None = None
    reason: str | None = None
    token: IdToken | None = None
    seq: int | None = None
    offline: bool = False
    trigger: str | None = None
    charging_state: str | None = None
    evse: int | None = None
    connector: int | None = None
    samples: tuple[Sample, ...] = ()


class TransactionLapsed(Body, frozen=True, tag="txl"):
    """Nothing was heard of a transaction for too long, so we close it provisionally: our word, not its charger's (pools/sweeper.py).

    `heard_at` and `version` are what was known of the session when that was decided: whatever is newer refutes it. `reason` is a word
    of domain/silence.py.
    """

    transaction: str
    heard_at: int
    version: int
    reason: str


class TransactionAnswered(Body, frozen=True, tag="txa"):
    """What a station has said of a transaction when it was asked (GetTransactionStatus, use case E14; pools/asking.py).

    `queued`: it holds messages of it that were not delivered. `ongoing` is None when it did not say. `up_to` is the highest seqNo that
    was known when it was asked: an answer without anything queued is the last word on whatever is missing below.
    """

    transaction: str
    queued: bool
    ongoing: bool | None
    up_to: int

    @property
    def over(self) -> bool:
        """Whether nothing more will come of the transaction."""
        return not self.queued and not self.ongoing


class Metered(Body, frozen=True, tag="met"):
    """Meter values outside any transaction (clock-aligned values of a connector, or of the main meter with evse 0)."""

    evse: int
    connector: int
    samples: tuple[Sample, ...]


class Reported(Body, frozen=True, tag="rep"):
    """Any other action a charger may send, kept as it came: `payload` is the JSON object's text."""

    action: str
    payload: bytes


class Parked(Body, frozen=True, tag="park"):
    """What could not be used and must not be dropped. `reason` is a stable word, `detail` a sentence for the operator."""

    reason: str
    detail: str
    action: str | None
    payload: bytes


Fact: TypeAlias = (
    Connected
    | Disconnected
    | Seen
    | Booted
    | StatusChanged
    | TransactionStarted
    | TransactionUpdated
    | TransactionEnded
    | TransactionLapsed
    | TransactionAnswered
    | Metered
    | Reported
    | Parked
)


NO_OWNER: Final = 0
"""The epoch of an event that no owner of the slot wrote, but a pool: a claim's revision is never 0."""


class Event(Struct, frozen=True, array_like=True, gc=False):
    """One line of the journal.

    (slot, epoch, number) is unique for ever: `number` counts within one ownership of a slot; it is negative, and drawn from the
    content, when an operator has replayed what was parked, and says nothing under NO_OWNER. `connection` is the charger's connection
    epoch, `message_id` the OCPP message id that carried the fact ("" when none did).
    """

    slot: int
    epoch: int
    number: int
    tenant: str
    charger: str
    connection: int
    message_id: str
    received_at: int
    body: Fact


class Page(Struct, frozen=True, array_like=True, gc=False):
    """What one append to the journal holds: events of one lane, by one writer, numbered so that a page stored twice is folded once."""

    writer: str
    number: int
    events: tuple[Event, ...]


PAGE_DECODER: msgspec.msgpack.Decoder[Page] = msgspec.msgpack.Decoder(Page)
