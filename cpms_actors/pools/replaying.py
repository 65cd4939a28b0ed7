"""A parked message tried again: pure, from what was kept to the events that the journal is to hold.

    parked message ──by its reason──▶ an event as JSON ─────────────────────────────────▶ the event
                                      an OCPP payload ──decode, dialect: as at the door──▶ a fact ──▶ an event
                                      a page ─────────────────────────────────────────────▶ its events

A replay is a writer of the journal of its own, named after the content of what is parked. So the same message tried again, by two
operators or after a failure half way, is the same page, which is folded once; and so it stays when the journal is read again from its
start. What is parked again by the fold has other content, for its event has another number: it can be replayed in its turn.

What only told of a connection is over, and left out.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct, ValidationError
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.domain import events
from cpms_actors.domain.access import BootPolicy, Strictness
from cpms_actors.domain.events import PAGE_DECODER, Event, Fact
from cpms_actors.domain.parking import Form, reason_of
from cpms_actors.ocpp.catalogue import DECODE_FAULTS
from cpms_actors.ocpp.dialect import Dialect, Doubts, Kind, Rule
from cpms_actors.ocpp.dialect2 import dialect21, dialect201
from cpms_actors.ocpp.dialect16 import Dialect16
from cpms_actors.ocpp.quirks import decode_lenient
from cpms_actors.store.parked import ParkedMessage

_OVER: Final = (events.Connected, events.Disconnected, events.Seen, events.Booted)
DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {"1.6": Dialect16, "2.0.1": dialect201, "2.1": dialect21}
_EVENT_DECODER: Final = msgspec.json.Decoder(Event)
_NO_START: Final = "a start gets its id when it is answered, and this one was not; a charger that went on has sent it again"
_IN_PAYLOAD: Final = (("transactionId",), ("transactionInfo", "transactionId"))


class NoReplay(OperatorError):
    """A message cannot be replayed: `why`, which the text says with the remedy of its reason."""

    def __init__(self, message: ParkedMessage, why: str) -> None:
        remedy = reason_of(message.reason).remedy
        super().__init__("no-replay", f"parked message {message.id} ({message.reason}) cannot be replayed: {why}. {remedy}")
        self.why = why


class Known(Struct, frozen=True):
    """What is known of the message's charger now: the version of OCPP that it spoke last, what its BootNotification is answered, how
    strict its tenant is, and the newest ownership of its slot that was folded."""

    version: str | None = None
    boot: BootPolicy | None = None
    strictness: Strictness = "lenient"
    epoch: int = 0


class Replay(Struct, frozen=True):
    """What is to be appended: the events, by that writer, to that lane."""

    writer: str
    lane: int
    events: tuple[Event, ...]


def replay_of(message: ParkedMessage, known: Known) -> Replay:
    """The message as events. Raises NoReplay when that is not possible."""
    form = reason_of(message.reason).replayed_as
    if form is None:
        raise NoReplay(message, reason_of(message.reason).replay)
    digest = sha256(msgspec.msgpack.encode(replace(message, id=0, detail=""))).hexdigest()
    found = _READ[form](message, known, -1 - int(digest[:12], 16))
    return Replay(f"parked.{digest[:32]}", lane_of(found[0].slot), found)


def transaction_of(payload: bytes) -> str | None:
    """The transaction that a payload names, be it an event or an OCPP message; None for none, or for what cannot be read."""
    try:
        body = _EVENT_DECODER.decode(payload).body
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _named_in_message(payload)
    transaction: str | None = getattr(body, "transaction", None)
    return transaction


def _named_in_message(payload: bytes) -> str | None:
    try:
        message = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    for path in _IN_PAYLOAD:
        found: Any = message
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, int | str):
            return str(found)
    return None


def _of_event(message: ParkedMessage, known: Known, number: int) -> tuple[Event, ...]:
    try:
        event = _EVENT_DECODER.decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoReplay(message, f"its event cannot be read: {error}") from None
    if (event.tenant, event.charger) != (message.tenant, message.charger):
        raise NoReplay(message, f"its event is of charger {event.charger!r} of a tenant {event.tenant!r}")
    if isinstance(event.body, _OVER):
        raise NoReplay(message, "it told of a connection, and that is over")
    # In the name of the slot's owner of today: as an older owner's it would be counted, and warned of.
    return (replace(event, epoch=known.epoch, number=number),)


def _of_message(message: ParkedMessage, known: Known, number: int) -> tuple[Event, ...]:
    slot = slot_of(message.tenant, message.charger)
    fact = _fact_of(message, known)
    return (Event(slot, known.epoch, number, message.tenant, message.charger, 0, message.message_id, message.received_at, fact),)


def _of_page(message: ParkedMessage, known: Known, number: int) -> tuple[Event, ...]:
    try:
        page = PAGE_DECODER.decode(message.payload)
    except msgspec.DecodeError as error:
        raise NoReplay(message, f"the page can still not be read: {error}") from None
    found = tuple(event for event in page.events if not isinstance(event.body, _OVER))
    if not found:
        raise NoReplay(message, "the page tells of connections only, and those are over")
    return found


_READ: Final[dict[Form, Callable[[ParkedMessage, Known, int], tuple[Event, ...]]]] = {
    "event": _of_event,
    "message": _of_message,
    "page": _of_page,
}


def _fact_of(message: ParkedMessage, known: Known) -> Fact:
    """What the charger's actor would have made of the message, had it taken it."""
    if known.version is None or known.version not in DIALECTS:
        raise NoReplay(message, f"nobody knows which version of OCPP {message.charger!r} speaks, since it has not connected")
    if known.boot != "Accepted":
        raise NoReplay(message, f"the boot policy of {message.charger!r} is {known.boot}")
    dialect = DIALECTS[known.version]()
    rule = dialect.rules.get(message.action or "")
    if rule is None:
        raise NoReplay(message, f"{message.action} is no action that a charger of OCPP {known.version} may send")
    translate = _TRANSLATED.get(rule.kind)
    if translate is None:
        raise NoReplay(message, _NO_START if rule.kind is Kind.START else "it asked for an answer at that moment, which is over")
    request = _decoded(message, rule, known)
    try:
        return translate(dialect, message, request, Doubts())  # doubts are no news: the message was parked, and stays readable
    except Exception as error:  # it may be here because a translation crashed, and whatever that raises is why it cannot be replayed
        raise NoReplay(message, f"it still crashes: {error!r}") from error


def _decoded(message: ParkedMessage, rule: Rule, known: Known) -> Any:
    try:
        return rule.decode(message.payload)
    except DECODE_FAULTS as error:
        if known.strictness == "lenient" and isinstance(error, ValidationError):
            try:
                return decode_lenient(rule.action, message.payload)[0]
            except ValidationError:
                pass  # the first error stands
        raise NoReplay(message, f"its payload still breaks the schema: {error}") from None


def _reported(dialect: Dialect, message: ParkedMessage, request: Any, doubts: Doubts) -> Fact:
    return events.Reported(message.action or "", message.payload)


_TRANSLATED: Final[dict[Kind, Callable[[Dialect, ParkedMessage, Any, Doubts], Fact]]] = {
    Kind.STOP: lambda dialect, message, request, doubts: dialect.stop(request, message.received_at, doubts),
    Kind.EVENT: lambda dialect, message, request, doubts: dialect.event(request, message.received_at, doubts),
    Kind.METER: lambda dialect, message, request, doubts: dialect.meter(request, message.received_at, doubts),
    Kind.STATUS: lambda dialect, message, request, doubts: dialect.status(request, message.received_at, doubts),
    Kind.REPORT: _reported,
}
