"""The verbs of parked messages: looked at, explained, replayed, discarded; and of the audit, which has who did what.

    parked.replay   lock the message ──▶ events of it ──▶ would the fold take them? ──▶ journal ──▶ resolved, audited ──▶ commit

The journal comes before the commit: when that fails, the message is still open, and a replay appends the same page again, which is
folded once (pools/replaying.py). The session pool makes of the events what it makes of all others. What it cannot use then either, it
parks anew under another number; nothing is ever replayed but by an operator.
"""

from collections.abc import Sequence
from itertools import count
from time import time
from typing import Final

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import slot_of
from cpms_actors.base.time import format_rfc3339, to_datetime
from cpms_actors.bus.appending import append
from cpms_actors.bus.verbs_parked import (
    AuditList,
    AuditPage,
    AuditView,
    ParkedDetail,
    ParkedDiscard,
    ParkedExplain,
    ParkedExplanation,
    ParkedList,
    ParkedPage,
    ParkedReplay,
    ParkedReplayed,
    ParkedShow,
)
from cpms_actors.domain.events import Event
from cpms_actors.domain.parking import reason_of
from cpms_actors.pools import operations_queries as queries
from cpms_actors.pools.fold import Batch, fold, keys_of
from cpms_actors.pools.operations_desk import Desk, Handler, next_of, number_of, require_tenant
from cpms_actors.pools.replaying import Known, NoReplay, Replay, replay_of, transaction_of
from cpms_actors.store import audit, chargers, offsets, parked, sessions
from cpms_actors.store.database import Connection
from cpms_actors.store.parked import ParkedMessage


async def parked_list(desk: Desk, request: ParkedList) -> ParkedPage:
    """Messages that could not be used, the newest first."""
    before = number_of(request.after)
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await queries.parked(connection, request, before)
    return ParkedPage(parked=rows, next=next_of(rows, request.limit, "id"))


async def parked_show(desk: Desk, request: ParkedShow) -> ParkedDetail:
    """One parked message with its payload."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        return await _detail(connection, request.tenant, request.id)


async def parked_explain(desk: Desk, request: ParkedExplain) -> ParkedExplanation:
    """What the reason means, and what is known of the message by now."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        message = await _message(connection, request.tenant, request.id)
        detail = await _detail(connection, request.tenant, request.id)
        charger = await chargers.find(connection, request.tenant, message.charger)
        transaction = transaction_of(message.payload)
        known = await queries.sessions_of(connection, request.tenant, message.charger, transaction) if transaction else []
        replayable, replay = await _prospect(connection, message, detail)
    reason = reason_of(message.reason)
    return ParkedExplanation(
        parked=detail.parked,
        means=reason.means,
        causes=reason.causes,
        remedy=reason.remedy,
        replayable=replayable,
        replay=replay,
        ocpp=charger.ocpp if charger else None,
        connected=charger.connected if charger else None,
        transaction=transaction,
        sessions=known,
    )


async def parked_replay(desk: Desk, request: ParkedReplay) -> ParkedReplayed:
    """Append the message to the journal again, as facts, and close it."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        message = await _message(connection, request.tenant, request.id, lock=True)
        _require_open(await _detail(connection, request.tenant, request.id))
        replay, changed = await _planned(connection, message)
        timeout_s = desk.settings.journal.append_timeout_s
        await append(desk.client, replay.writer, replay.lane, replay.events, timeout_s=timeout_s)
        resolution = f"replayed by {desk.operator} at {format_rfc3339(int(time() * 1000))}"
        await parked.resolve(connection, request.tenant, request.id, resolution)
        await _note(connection, desk, "parked.replay", message, {"events": len(replay.events), "writer": replay.writer})
        detail = await _detail(connection, request.tenant, request.id)
    return ParkedReplayed(parked=detail.parked, events=len(replay.events), writer=replay.writer, sessions=changed)


async def parked_discard(desk: Desk, request: ParkedDiscard) -> ParkedDetail:
    """Close a parked message with the reason that the operator gives."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        message = await _message(connection, request.tenant, request.id, lock=True)
        _require_open(await _detail(connection, request.tenant, request.id))
        await parked.resolve(connection, request.tenant, request.id, request.reason)
        await _note(connection, desk, "parked.discard", message, {"reason": request.reason})
        return await _detail(connection, request.tenant, request.id)


async def audit_list(desk: Desk, request: AuditList) -> AuditPage:
    """What operators did within a tenant, the newest first."""
    before = number_of(request.after)
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await audit.page(connection, request.tenant, limit=request.limit, before=before)
    views = [
        AuditView(id=row.id, at=to_datetime(row.at), operator=row.operator, verb=row.verb, subject=row.subject, detail=row.detail)
        for row in rows
    ]
    return AuditPage(audit=views, next=next_of(views, request.limit, "id"))


HANDLERS: Final[dict[str, Handler]] = {
    "parked.list": parked_list,
    "parked.show": parked_show,
    "parked.explain": parked_explain,
    "parked.replay": parked_replay,
    "parked.discard": parked_discard,
    "audit.list": audit_list,
}


async def _planned(connection: Connection, message: ParkedMessage) -> tuple[Replay, list[int]]:
    """What a replay would append, and the sessions it would change. Raises NoReplay.

    Events that the rules would park again as things are need not go to the journal to be told so. A page is appended whatever comes of
    its events: they are of many chargers.
    """
    charger = await chargers.find(connection, message.tenant, message.charger)
    known = Known(
        charger.ocpp if charger else None,
        charger.boot if charger else None,
        (await require_tenant(connection, message.tenant)).strictness,
        await offsets.newest_epoch(connection, slot_of(message.tenant, message.charger)),
    )
    replay = replay_of(message, known)
    if reason_of(message.reason).replayed_as == "page":
        return replay, []
    outcome = await _tried(connection, replay.events)
    if outcome.parked:
        again = outcome.parked[0]
        raise NoReplay(message, f"it would be parked again ({again.reason}: {again.detail})")
    return replay, sorted(number for number in outcome.sessions if number > 0)


async def _tried(connection: Connection, events: Sequence[Event]) -> Batch:
    """What the fold would make of the events now; sessions that are new have numbers below 0. Nothing is written."""
    transactions, starts = keys_of(events)
    found = await sessions.load(connection, transactions, starts)
    return fold(events, found, count(-1, -1).__next__, {})


async def _prospect(connection: Connection, message: ParkedMessage, detail: ParkedDetail) -> tuple[bool, str]:
    """Whether a replay is of use now, and what it would do or why not."""
    if detail.parked.resolved_at is not None:
        return False, f"it is resolved: {detail.parked.resolution}"
    try:
        replay, changed = await _planned(connection, message)
    except NoReplay as error:
        return False, f"not as things are: {error.why}" if reason_of(message.reason).replayed_as else error.why
    what = "1 fact" if len(replay.events) == 1 else f"{len(replay.events)} facts"
    where = f"; it concerns session {', '.join(map(str, changed))}" if changed else ""
    return True, f"`cpms parked replay {message.id}` puts {what} into the journal{where}"


async def _message(connection: Connection, tenant: str, number: int, *, lock: bool = False) -> ParkedMessage:
    found = await parked.find(connection, tenant, number, lock=lock)
    if found is None:
        raise _unknown(tenant, number)
    return found


async def _detail(connection: Connection, tenant: str, number: int) -> ParkedDetail:
    found = await queries.parked_message(connection, tenant, number)
    if found is None:
        raise _unknown(tenant, number)
    return found


def _require_open(detail: ParkedDetail) -> None:
    """Raises OperatorError("resolved")."""
    if detail.parked.resolved_at is not None:
        by = f" by {detail.resolved_by}" if detail.resolved_by else ""
        raise OperatorError("resolved", f"parked message {detail.parked.id} is resolved already{by}: {detail.parked.resolution}")


async def _note(connection: Connection, desk: Desk, verb: str, message: ParkedMessage, detail: dict[str, object]) -> None:
    """Into the audit; with what tells which message it was when that has gone by its age."""
    about = {"charger": message.charger, "parked_for": message.reason, **detail}
    subject = queries.parked_subject(message.id)
    await audit.note(connection, message.tenant, operator=desk.operator, verb=verb, subject=subject, detail=about)


def _unknown(tenant: str, number: int) -> OperatorError:
    return OperatorError(
        "unknown-parked", f"tenant {tenant!r} has no parked message {number}; `cpms parked list --tenant {tenant}` shows them"
    )
