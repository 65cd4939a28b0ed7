"""A batch of journal pages becomes rows, in memory: no I/O here, and no history.

    pages ──accept──▶ events that count ──keys──▶ (load) ──fold──▶ Batch: sessions, readings, live state, parked, reports

`accept` drops what was folded before (a page below the offset, a page the journal stored twice) and tells of pages that are missing.
What an outdated owner of a slot wrote counts all the same, because its charger was answered: the rules know a repetition by its
content, whoever heard it. Only what it says of its connection means nothing any more.

`fold` applies the rules of `domain.charging`. An event on which a rule raises is parked with its content, and the lane goes on: a
poison message costs itself only.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from cpms_actors.base.ids import DEFAULT_TENANT, is_tenant
from cpms_actors.domain import charging, events
from cpms_actors.domain.events import (
    NO_OWNER,
    PAGE_DECODER,
    Event,
    Metered,
    Page,
    TransactionAnswered,
    TransactionEnded,
    TransactionLapsed,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.observe import logs
from cpms_actors.store import meter_values
from cpms_actors.store.chargers_live import ChargerLive, ConnectorLive
from cpms_actors.store.offsets import Progress
from cpms_actors.store.parked import ParkedMessage
from cpms_actors.store.reports import Row as ReportRow
from cpms_actors.store.sessions import Found, Key, Stored

log = logs.get("session")

JOURNAL_GAP: Final = "journal-gap"
POISON: Final = "poison"
UNREADABLE_PAGE: Final = "unreadable-page"
SEEN_EVERY_MS: Final = 60_000  # a charger's last_seen_at is rewritten at most this often while nothing else of it changes

ChargerKey: TypeAlias = tuple[str, str]
_OURS: Final = (TransactionLapsed, TransactionAnswered)  # said by a pool: no charger has sent it
_TRANSACTIONS: Final = (TransactionStarted, TransactionUpdated, TransactionEnded, *_OURS)
_encode: Final = msgspec.json.Encoder().encode


class StoredPage(Struct, frozen=True):
    """A page as the stream holds it."""

    stream_seq: int
    data: bytes


class Accepted(Struct):
    """What of some pages is to be folded, and how far the lane is once it is. `stale` counts events of outdated owners of slots."""

    stream_seq: int
    events: list[Event]
    parked: list[ParkedMessage]
    writers: dict[str, int]
    slot_epochs: dict[int, int]
    stored_twice: int = 0
    stale: int = 0


class Batch(Struct):
    """The rows that a fold makes. `amended` tells that a session has a version nobody has rated."""

    sessions: dict[int, Stored] = {}
    transactions: dict[Key, int] = {}
    readings: list[meter_values.Readings] = []
    parked: list[ParkedMessage] = []
    reports: list[ReportRow] = []
    chargers: dict[ChargerKey, ChargerLive] = {}
    connectors: dict[tuple[str, str, int, int], ConnectorLive] = {}
    amended: bool = False


def accept(pages: Iterable[StoredPage], progress: Progress) -> Accepted:
    """Choose from the pages, in stream order, the events that were not folded before."""
    accepted = Accepted(progress.stream_seq, [], [], {}, {})
    for stored in pages:
        if stored.stream_seq <= accepted.stream_seq:
            continue
        accepted.stream_seq = stored.stream_seq
        try:
            page = PAGE_DECODER.decode(stored.data)
        except msgspec.DecodeError as error:
            accepted.parked.append(_unreadable(stored, error))
            continue
        known = accepted.writers.get(page.writer, progress.writers.get(page.writer, 0))
        if page.number <= known:
            accepted.stored_twice += 1
            continue
        if page.number > known + 1:  # a writer numbers its pages from 1, without a hole
            accepted.parked.append(_missing(page, known))
        accepted.writers[page.writer] = page.number
        for event in page.events:
            _accept_event(event, accepted, progress)
    return accepted


def _accept_event(event: Event, accepted: Accepted, progress: Progress) -> None:
    newest = accepted.slot_epochs.get(event.slot, progress.slot_epochs.get(event.slot, -1))
    if not is_tenant(event.tenant):
        accepted.parked.append(parked(event, POISON, f"no tenant can be called {event.tenant!r}", DEFAULT_TENANT))
        return
    if event.epoch == NO_OWNER:  # a pool's: who owns the slot does not matter
        accepted.events.append(event)
        return
    if event.epoch < newest:
        accepted.stale += 1
        if isinstance(event.body, events.Connected | events.Disconnected):
            return  # the charger is connected to the newer owner
    elif event.epoch > newest:
        accepted.slot_epochs[event.slot] = event.epoch
    accepted.events.append(event)


def keys_of(batch: Iterable[Event]) -> tuple[list[Key], list[Key]]:
    """The transaction ids and the start keys of the events, each once: what to load before `fold`."""
    transactions: dict[Key, None] = {}
    starts: dict[Key, None] = {}
    for event in batch:
        body = event.body
        if not isinstance(body, _TRANSACTIONS):
            continue
        transactions[event.tenant, event.charger, body.transaction] = None
        if isinstance(body, TransactionStarted):
            key = charging.start_key(body)
            if key is not None:
                starts[event.tenant, event.charger, key] = None
    return list(transactions), list(starts)


def fold(batch: Sequence[Event], found: Found, draw_id: Callable[[], int], seen: dict[ChargerKey, int]) -> Batch:
    """Fold the events into the sessions that were found. `found` belongs to the fold from now on, `seen` is only read.

    `draw_id` gives the id of a session that is new; `seen` is when each charger's last_seen_at was written last.
    """
    result = Batch()
    for event in batch:
        try:
            _FOLDS[type(event.body)](event, event.body, result, found, draw_id)
            _note_seen(event, result, seen)
        except Exception as error:  # whatever a rule raises on one event must not stop the lane: it is parked, with the event
            log.exception("event_poison", tenant=event.tenant, charger=event.charger, message_id=event.message_id)
            result.parked.append(parked(event, POISON, f"{type(error).__name__}: {error}"))
    return result


def parked(event: Event, reason: str, detail: str, tenant: str | None = None) -> ParkedMessage:
    """The event as a parked message: its payload is the event itself, as JSON."""
    return ParkedMessage(
        tenant=tenant or event.tenant,
        charger=event.charger,
        reason=reason,
        detail=detail,
        action=type(event.body).__name__,
        payload=_encode(event),
        message_id=event.message_id,
        received_at=event.received_at,
    )


def _unreadable(stored: StoredPage, error: msgspec.DecodeError) -> ParkedMessage:
    detail = f"page {stored.stream_seq} of the journal cannot be read: {error}"
    return ParkedMessage(
        tenant=DEFAULT_TENANT,
        charger="",
        reason=UNREADABLE_PAGE,
        detail=detail,
        action=None,
        payload=stored.data,
        message_id="",
        received_at=0,
    )


def _missing(page: Page, known: int) -> ParkedMessage:
    first, last = known + 1, page.number - 1
    return ParkedMessage(
        tenant=DEFAULT_TENANT,
        charger="",
        reason=JOURNAL_GAP,
        detail=f"pages {first} to {last} of writer {page.writer} are not in the journal: it was purged, or has lost them",
        action=None,
        payload=_encode({"writer": page.writer, "first": first, "last": last}),
        message_id="",
        received_at=page.events[0].received_at if page.events else 0,
    )


_Draw: TypeAlias = Callable[[], int]


def _fold_transaction(event: Event, body: charging.TransactionBody, result: Batch, found: Found, draw_id: _Draw) -> None:
    key = (event.tenant, event.charger, body.transaction)
    stored = found.by_transaction.get(key)
    if isinstance(body, TransactionStarted):
        start_key = charging.start_key(body)
        if start_key is not None:
            stored = found.by_start.get((event.tenant, event.charger, start_key), stored)
        if stored is not None and charging.begins_anew(stored.session, event, body):
            stored = None
            found.by_transaction.pop(key, None)
    before = stored.session if stored else None
    outcome = charging.fold(before, event)
    session = outcome.session
    if session is not None and outcome.parked is None:
        if stored is None:
            stored = Stored(draw_id(), session)
            if session.start_key is not None:
                found.by_start[event.tenant, event.charger, session.start_key] = stored
        if session is not before:
            stored.session = session
            result.sessions[stored.id] = stored
            result.amended = result.amended or session.version > (before.version if before else 0)
        if key not in found.by_transaction:
            found.by_transaction[key] = stored
            result.transactions[key] = stored.id
    if outcome.parked is not None:
        result.parked.append(parked(event, outcome.parked.reason, outcome.parked.detail))
    if outcome.readings:
        evse, connector = (stored.session.evse, stored.session.connector) if stored else (body.evse or 0, body.connector or 0)
        session_id = stored.id if stored else None
        result.readings.append((event.tenant, event.charger, evse, connector, session_id, event.received_at, outcome.readings))


def _fold_ours(event: Event, body: TransactionLapsed | TransactionAnswered, result: Batch, found: Found, draw_id: _Draw) -> None:
    """Of a session that is not here, or of which more is known by now, it tells nothing."""
    stored = found.by_transaction.get((event.tenant, event.charger, body.transaction))
    if stored is None:
        return
    before = stored.session
    session = charging.fold(before, event).session
    if session is not None and session is not before:
        stored.session = session
        result.sessions[stored.id] = stored
        result.amended = result.amended or session.version > before.version


def _fold_metered(event: Event, body: Metered, result: Batch, found: Found, draw_id: _Draw) -> None:
    result.readings.append((event.tenant, event.charger, body.evse, body.connector, None, event.received_at, body.samples))


def _fold_reported(event: Event, body: events.Reported, result: Batch, found: Found, draw_id: _Draw) -> None:
    payload = body.payload.decode()
    result.reports.append((event.tenant, event.charger, body.action, payload, event.message_id, event.received_at))


def _fold_parked(event: Event, body: events.Parked, result: Batch, found: Found, draw_id: _Draw) -> None:
    result.parked.append(
        ParkedMessage(
            tenant=event.tenant,
            charger=event.charger,
            reason=body.reason,
            detail=body.detail,
            action=body.action,
            payload=body.payload,
            message_id=event.message_id,
            received_at=event.received_at,
        )
    )


def _fold_status(event: Event, body: events.StatusChanged, result: Batch, found: Found, draw_id: _Draw) -> None:
    """The newest by the charger's clock; a clock that runs ahead counts from the moment of arrival, or it would win for ever."""
    key = (event.tenant, event.charger, body.evse, body.connector)
    at = min(body.at, event.received_at)
    known = result.connectors.get(key)
    if known is None or known.at <= at:
        result.connectors[key] = ConnectorLive(event.tenant, event.charger, at, body)


def _live(event: Event, result: Batch) -> ChargerLive:
    key = (event.tenant, event.charger)
    live = result.chargers.get(key)
    if live is None:
        live = result.chargers[key] = ChargerLive(event.tenant, event.charger, event.received_at)
    live.last_seen_at = max(live.last_seen_at, event.received_at)
    return live


def _fold_connected(event: Event, body: events.Connected, result: Batch, found: Found, draw_id: _Draw) -> None:
    """The newest wins. Its number may be lower than the one before: a worker that takes over counts on from the last checkpoint."""
    live = _live(event, result)
    live.connection, live.connected, live.ocpp, live.opened = event.connection, True, body.ocpp, True


def _fold_disconnected(event: Event, body: events.Disconnected, result: Batch, found: Found, draw_id: _Draw) -> None:
    live = _live(event, result)
    if event.connection >= live.connection:
        live.connection, live.connected = event.connection, False


def _fold_booted(event: Event, body: events.Booted, result: Batch, found: Found, draw_id: _Draw) -> None:
    live = _live(event, result)
    live.boot, live.booted_at = body, event.received_at


def _fold_seen(event: Event, body: events.Seen, result: Batch, found: Found, draw_id: _Draw) -> None:
    _live(event, result)


def _note_seen(event: Event, result: Batch, seen: dict[ChargerKey, int]) -> None:
    """Any event of a charger shows that it lives, but not every one is worth a write."""
    if isinstance(event.body, _OURS):
        return
    key = (event.tenant, event.charger)
    if key in result.chargers or event.received_at - seen.get(key, 0) >= SEEN_EVERY_MS:
        _live(event, result)


_FOLDS: Final[dict[type, Callable[..., None]]] = {
    TransactionStarted: _fold_transaction,
    TransactionUpdated: _fold_transaction,
    TransactionEnded: _fold_transaction,
    TransactionLapsed: _fold_ours,
    TransactionAnswered: _fold_ours,
    Metered: _fold_metered,
    events.Reported: _fold_reported,
    events.Parked: _fold_parked,
    events.StatusChanged: _fold_status,
    events.Connected: _fold_connected,
    events.Disconnected: _fold_disconnected,
    events.Booted: _fold_booted,
    events.Seen: _fold_seen,
}
