"""The life of a charging session: one pure function folds what a charger reports into the state of its transaction.

    session, event  ──fold──▶  session, readings, what must be parked

Chargers report late, twice, out of order and, after an outage, a day later. So every field of a session is chosen by a key that
lies in the events themselves (seqNo, the station's clock, the meter's reading), never by the order of arrival: whatever the
permutation and repetition of a transaction's OCPP 2.x events, the session that comes out is the same (its `version` alone counts
arrivals). The cost of an event does not depend on the history of its transaction: what is kept is bounds, not events.

OCPP 2.x: events belong together by the station's transaction id and are ordered by seqNo (part 2, use cases E01 to E15); an
Updated or Ended that comes before its Started opens a provisional session. OCPP 1.6: order per charger is guaranteed (section
3.7), the transaction id is ours, a repeated StartTransaction is known by its content, and what names no transaction is parked.

A session of which nothing is heard any more is closed provisionally (TransactionLapsed), and is open again with the next fact of it:
once its end is known, nothing but the version tells that it was ever closed. What a station answers when it is asked about a
transaction (TransactionAnswered) is a sign that it lives, or the last word on the events that are missing: no figure changes by it.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.domain import registers, sequence
from cpms_actors.domain.events import (
    Event,
    IdToken,
    Metered,
    Sample,
    TransactionAnswered,
    TransactionEnded,
    TransactionLapsed,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.domain.registers import Registers
from cpms_actors.domain.sequence import Ranges

Status: TypeAlias = Literal["Active", "Ended"]
TransactionBody: TypeAlias = TransactionStarted | TransactionUpdated | TransactionEnded

GAPS_MAX: Final = 256  # of one transaction: an event that would open one more counts, but its number is not kept
CLOCK_SET_AT: Final = 1_420_070_400_000  # 2015: an earlier clock was never set
CLOCK_AHEAD_MS: Final = 86_400_000

UNKNOWN_TRANSACTION: Final = "unknown-transaction"
NO_TRANSACTION: Final = "no-transaction"
SECOND_STOP: Final = "second-stop"
TRANSACTION_REUSED: Final = "transaction-reused"


class Marks(Struct, frozen=True, array_like=True, gc=False):
    """Where each field of a session comes from: the place (seqNo; 0 or the station's clock in 1.6) of the event that gave it.

    Kept so that a later arrival can tell whether it knows better. `first_at` and `last_at` are the earliest and the latest moment any
    event names, `clock` whether one named a moment that cannot be. `lost`: the station has said that it has nothing more to tell of the
    seqNos below this one.
    """

    first_at: int
    started: int | None = None
    ended: int | None = None
    token: int | None = None
    evse: int | None = None
    connector: int | None = None
    state: int | None = None
    registers: Registers = registers.NOTHING
    clock: bool = False
    last_at: int | None = None
    lost: int | None = None


class Session(Struct, frozen=True, gc=False, kw_only=True):
    """One transaction as far as it is known. Moments in ms, energy in Wh.

    `version` is 0 until the session ends, then 1, and one more for every later fact (one that opens it again, too, but none while it
    goes on): who rated version n knows by it that there is something new. `started_at` is the earliest moment known while the start
    itself was not seen (`flags` says so). `heard_at` is when a worker received its newest fact, or its station was asked and said that
    it goes on or has more to tell: by our clock, nobody is billed by it.
    """

    tenant: str
    charger: str
    transaction: str
    start_key: str | None = None
    evse: int = 0
    connector: int = 0
    token: IdToken | None = None
    stop_token: IdToken | None = None
    status: Status = "Active"
    started_at: int
    ended_at: int | None = None
    heard_at: int = 0
    meter_start_wh: int | None = None
    meter_last_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int = 0
    reason: str | None = None
    charging_state: str | None = None
    authorization: str | None = None
    remote_start_id: int | None = None
    reservation: int | None = None
    offline: bool = False
    seqs: Ranges = ()
    version: int = 0
    marks: Marks


class Refused(Struct, frozen=True, gc=False):
    """Why an event must be parked: a stable word, and a sentence for the operator."""

    reason: str
    detail: str


class Outcome(Struct, frozen=True, gc=False):
    """What one event did. `session` is the very object that was given when nothing changed; None when no session is concerned.

    `readings` are the samples to keep, which may belong to no session (`session` None).
    """

    session: Session | None
    readings: tuple[Sample, ...] = ()
    parked: Refused | None = None


def start_key(body: TransactionStarted) -> str | None:
    """By what a repeated StartTransaction is recognised, whatever its message id and transaction id; None for 2.x.

    OCPP 1.6 section 4.8 has no number to tell a repetition by; what the charger says does: where, who, when and at which register.
    """
    if body.seq is not None:
        return None
    who = body.token.id if body.token else ""
    return f"{body.evse}/{body.connector}/{body.at}/{body.meter_wh}/{who}"


def fold(session: Session | None, event: Event) -> Outcome:
    """Fold a transaction's event, or Metered, into its session (None: no session has this transaction, or this start key)."""
    return _FOLDS[type(event.body)](session, event, event.body)


def lapsed(session: Session) -> bool:
    """Whether it is closed provisionally: nobody but us says that it has ended."""
    return session.status == "Ended" and session.marks.ended is None


def begins_anew(session: Session, event: Event, body: TransactionStarted) -> bool:
    """Whether the start is of another transaction that was given the id of this one, which has ended before.

    A station that was reset may count its transactions from the beginning; a ledger that was restored may lease our ids twice. Both
    transactions are billed. A start that could be a repetition is taken for one.
    """
    marks = session.marks
    if session.ended_at is None or marks.started is None or _impossible(event, body.at):
        return False
    if body.at <= session.ended_at or body.at == session.started_at:
        return False
    return session.start_key != start_key(body) if body.seq is None else body.seq <= marks.started


def gaps(session: Session) -> Ranges:
    """The seqNos that are missing, as ranges (low, high, low, high, …): what to ask the station about (use case E14).

    They count from 0, which the specification recommends, or from the Started's own number.
    """
    return sequence.missing(session.seqs, session.marks.started or 0)


def flags(session: Session) -> tuple[str, ...]:
    """What an operator should know before trusting the figures: stable words, none when all is well.

    "offline": some events were queued while the station was offline. "provisional": the start was not seen, or the end was not and we
    have closed it, for which `reason` has a word of ours. "gaps": events are missing that may still come. "lost": events are missing,
    and the station has said that it has no more of them. "register-unknown": no energy can be told. "register-guessed": the start is
    merely the earliest reading. "register-fell": the meter went backwards. "register-implausible": it rose by more than any charger
    can deliver. "clock": it ended before it started, or the station's clock cannot have been right and the moment of arrival stands
    in for it.
    """
    bounds = session.marks.registers
    missing, lost = gaps(session), session.marks.lost
    found = {
        "offline": session.offline,
        "provisional": session.marks.started is None or lapsed(session),
        "gaps": bool(missing) and (lost is None or missing[-1] > lost),
        "lost": bool(missing) and lost is not None and missing[0] < lost,
        "register-unknown": session.status == "Ended" and bounds.energy_wh is None,
        "register-guessed": bounds.start is not None and bounds.start[0] == registers.START_GUESSED,
        "register-fell": bounds.fell,
        "register-implausible": bounds.implausible,
        "clock": session.marks.clock or (session.ended_at is not None and session.ended_at < session.started_at),
    }
    return tuple(word for word, holds in found.items() if holds)


def _fold_started(session: Session | None, event: Event, body: TransactionStarted) -> Outcome:
    key = start_key(body)
    if session is None:
        session = _opened(event, body, key)
    elif body.seq is None:
        if session.start_key == key:
            return Outcome(session)  # the charger did not get our answer, and asks again: same session, perhaps under another id
        return _parked(TRANSACTION_REUSED, f"transaction {body.transaction} was started before, with other content")
    elif session.marks.started is not None and sequence.contains(session.seqs, body.seq):
        if body.at == session.started_at or _impossible(event, body.at):
            return Outcome(session)
        return _parked(TRANSACTION_REUSED, f"transaction {body.transaction} was started before, at another time", session)
    order = body.seq or 0
    at = _moment(event, body.at)
    changes: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    if session.marks.started is None or order < session.marks.started:
        marks["started"] = order
        changes = {
            "started_at": at,
            "authorization": body.status,
            "remote_start_id": body.remote_start_id,
            "reservation": body.reservation,
        }
    own = _own_register(body)
    bounds = registers.NOTHING if own is None else registers.of_start(at, order, own)
    return _taken(session, event, body, order, bounds, changes, marks)


def _fold_updated(session: Session | None, event: Event, body: TransactionUpdated) -> Outcome:
    if session is None:
        if body.seq is None:
            return _readings_of_none(body)
        session = _opened(event, body, None)
    elif body.seq is not None and sequence.contains(session.seqs, body.seq):
        return Outcome(session)
    order = body.at if body.seq is None else body.seq
    return _taken(session, event, body, order, registers.NOTHING, {}, {})


def _fold_ended(session: Session | None, event: Event, body: TransactionEnded) -> Outcome:
    if session is None:
        if body.seq is None:
            return _stop_of_none(body)
        session = _opened(event, body, None)
    elif session.marks.ended is not None:
        if body.seq is None:
            return _second_stop(session, body)
        if sequence.contains(session.seqs, body.seq):
            return Outcome(session)
    order = body.at if body.seq is None else body.seq
    at = _moment(event, body.at)
    changes: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    if session.marks.ended is None or order > session.marks.ended:
        marks["ended"] = order
        changes = {"status": "Ended", "ended_at": at, "reason": body.reason, "stop_token": body.token}
    own = _own_register(body)
    bounds = registers.NOTHING if own is None else registers.of_stop(at, order, own)
    return _taken(session, event, body, order, bounds, changes, marks)


def _fold_lapsed(session: Session | None, event: Event, body: TransactionLapsed) -> Outcome:
    """Close it with what is known. Whatever was heard since, or has closed it before, makes this no news."""
    if session is None or session.status == "Ended" or session.heard_at > body.heard_at or session.version > body.version:
        return Outcome(session)
    ended_at = max(session.started_at, _last_known(session))
    return Outcome(_figured(session, replace(session, status="Ended", ended_at=ended_at, reason=body.reason), measured=False))


def _fold_answered(session: Session | None, event: Event, body: TransactionAnswered) -> Outcome:
    """Of what runs or has more to tell we have heard; what is not queued will not come. If it comes all the same it is taken."""
    if session is None:
        return Outcome(None)
    if session.status == "Active" and (body.queued or body.ongoing) and event.received_at > session.heard_at:
        session = replace(session, heard_at=event.received_at)
    if not body.queued and (session.marks.lost is None or body.up_to > session.marks.lost):
        session = replace(session, marks=replace(session.marks, lost=body.up_to))
    return Outcome(session)


def _fold_metered(session: Session | None, event: Event, body: Metered) -> Outcome:
    return Outcome(None, body.samples)


_FOLDS: Final[dict[type, Callable[..., Outcome]]] = {
    TransactionStarted: _fold_started,
    TransactionUpdated: _fold_updated,
    TransactionEnded: _fold_ended,
    TransactionLapsed: _fold_lapsed,
    TransactionAnswered: _fold_answered,
    Metered: _fold_metered,
}


def _impossible(event: Event, at: int) -> bool:
    """Whether the moment that an event names cannot be: its station's clock was never set, or runs far ahead of us."""
    return not CLOCK_SET_AT <= at <= event.received_at + CLOCK_AHEAD_MS


def _moment(event: Event, at: int) -> int:
    """When it happened: by the station's clock, unless that cannot be. Nobody pays for the years since 1970."""
    return event.received_at if _impossible(event, at) else at


def _last_known(session: Session) -> int:
    """The latest moment that is known of it. A session that was stored without `last_at` gets it when it is heard of again: until then
    the last reading stands in for it, whose clock nobody has looked at."""
    marks = session.marks
    if marks.last_at is not None:
        return marks.last_at
    return min(marks.registers.last[1], session.heard_at) if marks.registers.last else session.started_at


def _own_register(body: TransactionStarted | TransactionEnded) -> int | None:
    """The register in the message itself. 2.x has none but in its samples, and those say where they were measured: they are asked."""
    return None if body.seq is not None and body.samples else body.meter_wh


def _opened(event: Event, body: TransactionBody, key: str | None) -> Session:
    at = _moment(event, body.at)
    return Session(
        tenant=event.tenant,
        charger=event.charger,
        transaction=body.transaction,
        start_key=key,
        started_at=at,
        marks=Marks(at),
    )


def _taken(
    session: Session,
    event: Event,
    body: TransactionBody,
    order: int,
    bounds: Registers,
    changes: dict[str, Any],
    marks: dict[str, Any],
) -> Outcome:
    """Fold what every transaction event may carry; `changes` and `marks` are what the kind of event decided already."""
    old = session.marks
    if body.seq is not None:
        seqs = sequence.add(session.seqs, body.seq)
        if len(seqs) <= 2 * (GAPS_MAX + 1):
            changes["seqs"] = seqs
    if event.received_at > session.heard_at:
        changes["heard_at"] = event.received_at
    if lapsed(session) and "ended" not in marks:  # so it goes on: as if it had never been closed, but that its version tells
        changes |= {"status": "Active", "ended_at": None, "reason": None}
    at = _moment(event, body.at)
    if at < old.first_at:
        marks["first_at"] = at
    if old.last_at is None or at > old.last_at:
        marks["last_at"] = at
    if at != body.at:
        marks["clock"] = True
    if old.started is None and "started" not in marks:
        changes["started_at"] = marks.get("first_at", old.first_at)
    if body.offline:
        changes["offline"] = True
    _choose_origins(body, order, old, changes, marks)
    bounds = registers.merge(registers.merge(old.registers, bounds), registers.of_samples(body.samples, order))
    if bounds != old.registers:
        marks["registers"] = bounds
    changes["marks"] = replace(old, **marks)
    return Outcome(_figured(session, replace(session, **changes), bool(body.samples)), body.samples)


def _choose_origins(body: TransactionBody, order: int, old: Marks, changes: dict[str, Any], marks: dict[str, Any]) -> None:
    """The first event that names the driver or the place is believed, the last one that names the charging state."""
    if body.token is not None and not isinstance(body, TransactionEnded) and (old.token is None or order < old.token):
        marks["token"], changes["token"] = order, body.token
    if body.evse and (old.evse is None or order < old.evse):
        marks["evse"], changes["evse"] = order, body.evse
    if body.connector and (old.connector is None or order < old.connector):
        marks["connector"], changes["connector"] = order, body.connector
    if body.charging_state is not None and (old.state is None or order > old.state):
        marks["state"], changes["charging_state"] = order, body.charging_state


def _figured(before: Session, after: Session, measured: bool) -> Session:
    """The session with its figures drawn from its marks, and the next version if that is due."""
    bounds = after.marks.registers
    ended = after.status == "Ended"
    after = replace(
        after,
        meter_start_wh=bounds.start[3] if bounds.start else None,
        meter_last_wh=bounds.last[3] if bounds.last else None,
        meter_stop_wh=bounds.end_wh if ended else None,
        energy_wh=bounds.energy_wh or 0,
    )
    if (ended or before.status == "Ended") and (measured or replace(after, heard_at=before.heard_at) != before):
        return replace(after, version=before.version + 1)
    return before if after == before else after


def _readings_of_none(body: TransactionUpdated) -> Outcome:
    """1.6 MeterValues of a transaction we do not know. 0 and -1 are how chargers say "none": no fault, only readings."""
    if _names_none(body.transaction):
        return Outcome(None, body.samples)
    detail = f"meter values of transaction {body.transaction}, which this charger never started here"
    return Outcome(None, body.samples, Refused(UNKNOWN_TRANSACTION, detail))


def _stop_of_none(body: TransactionEnded) -> Outcome:
    """1.6 StopTransaction of a transaction we do not know. -1: the charger never got the answer to its start (errata 3.18)."""
    what = f"stopped at register {body.meter_wh} Wh, reason {body.reason or 'Local'}"
    if _names_none(body.transaction):
        refused = Refused(NO_TRANSACTION, f"a stop without a transaction id ({body.transaction}): {what}")
    else:
        refused = Refused(UNKNOWN_TRANSACTION, f"transaction {body.transaction}, which this charger never started here: {what}")
    return Outcome(None, body.samples, refused)


def _second_stop(session: Session, body: TransactionEnded) -> Outcome:
    """1.6: the same stop again is no news; another stop of a transaction that has ended is for a person to judge."""
    own = session.marks.registers.stop
    meter = own[3] if own and own[0] == registers.STOP_MESSAGE else None
    if session.marks.ended == body.at and meter == body.meter_wh:
        return Outcome(session)
    detail = f"transaction {body.transaction} had ended with {meter} Wh; a second stop says {body.meter_wh} Wh"
    return _parked(SECOND_STOP, detail, session)


def _names_none(transaction: str) -> bool:
    return transaction in ("", "0") or transaction.startswith("-")


def _parked(reason: str, detail: str, session: Session | None = None) -> Outcome:
    return Outcome(session, (), Refused(reason, detail))
