"""Transactions of which events are missing are asked about, and those of which nothing is heard any more are closed provisionally.

    silent sessions (store/silence.py) ─▶ judge (domain/silence.py) ─▶ ask ─▶ TransactionLapsed in the journal        once a minute
    sessions with gaps ─────────────────────────────────────────────▶ ask ─▶ TransactionAnswered in the journal

Who can be asked (domain/asking.py) is asked before it is taken for dead: what goes on, or has messages that wait, is not.

The sweeper changes no session: it says a fact, and the lane folds that like any other, so who reads the journal again comes to the same
sessions. The fact says of which state of the session it speaks. So it does nothing where a newer fact was folded before it, and a
second one is no news: two sweepers at once do no harm. What a charger tells later amends the session (domain/charging.py).

What Postgres does not know yet must not be taken for silence. So a session is judged as of the *last* look, and only if all pages that
its lane's journal held then are folded by now. And after an outage, when chargers have hours to tell and have not come back yet, a
lane is left alone until its fold has kept up for SETTLED_MS.

A process sweeps the lanes that it folds. A failure costs the next look.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from time import time
from typing import Final, TypeAlias

import anyio
import asyncpg
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import Journal
from cpms_actors.domain.events import NO_OWNER, Event, TransactionAnswered, TransactionLapsed
from cpms_actors.domain.silence import FAILED_START, Reason, judge
from cpms_actors.observe import logs
from cpms_actors.pools.asking import Answered, Asker
from cpms_actors.pools.pages import last_page, stream_name
from cpms_actors.store import offsets, silence, tenants
from cpms_actors.store.database import Database
from cpms_actors.store.silence import Doubtful, Silent

log = logs.get("session")

LOOK_S: Final = 60.0
LOOKS_APART_MS_MAX: Final = 300_000  # who was away for longer, or whose clock went back, knows no more than one that begins
SETTLED_MS: Final = 600_000
PAGE_MAX: Final = 500  # sessions of one query, and facts that are appended at once

Due: TypeAlias = tuple[Silent, Reason]


class Closed(Struct):
    """How many transactions this process has closed provisionally, by reason."""

    failed_starts: int = 0
    endless: int = 0


class Look(Struct, frozen=True):
    """How far the lanes of the journal went at a moment (ms): the sequence of each lane's last page, 0 when there was none."""

    at: int
    stream: str
    ends: dict[int, int]


class Sweeper:
    """Sweeps until cancelled. `held` says which lanes this process folds."""

    def __init__(
        self,
        client: Client,
        database: Database,
        journal: Journal,
        held: Callable[[], Collection[int]],
        *,
        clock: Callable[[], float] = time,
        settled_ms: int = SETTLED_MS,
    ) -> None:
        self.closed = Closed()
        self.asker = Asker(client)
        self._jetstream = client.jetstream()
        self._database = database
        self._journal = journal
        self._held = held
        self._clock = clock
        self._settled_ms = settled_ms
        self._look: Look | None = None
        self._keeps_up_since: dict[int, int] = {}  # lane to the first of its looks in a row
        # What the last look has said, by session: the next one may judge before that is folded. The one after that may not, so what
        # is still silent then (its page was lost) is said again.
        self._told: dict[int, tuple[int, int]] = {}

    async def write(self, started: Callable[[], None]) -> None:
        """Write what `sweep` appends, until cancelled. What is not durable then somebody finds again."""
        started()
        await self._journal.run()

    async def run(self, started: Callable[[], None]) -> None:
        """Look every LOOK_S. What fails is looked at again: this must not stop the fold."""
        started()
        while True:
            try:
                await self.sweep(int(self._clock() * 1000))
            except (Unavailable, asyncpg.PostgresError, NatsError, TimeoutError, OSError) as error:
                log.warning("sweeper_waits", error=repr(error))
            await anyio.sleep(LOOK_S)

    async def sweep(self, now: int) -> int:
        """Look at the journal at `now`, and judge as of the look before; how many sessions were closed.

        Raises Unavailable, or as the drivers do; then nothing is known of the looks before.
        """
        before, since = self._look, self._keeps_up_since
        self._look, self._keeps_up_since = None, {}
        look = await self._look_at_journal(now)
        keeps_up: dict[int, int] = {}
        closed = 0
        if before is not None and before.stream == look.stream and 0 <= now - before.at <= LOOKS_APART_MS_MAX:
            keeps_up = {lane: since.get(lane, before.at) for lane in await self._folded_up_to(before)}
            lanes = {lane for lane, at in keeps_up.items() if before.at - at >= self._settled_ms} & set(self._held())
            closed = await self._look_at_sessions(lanes, before.at, now) if lanes else 0
        self._look, self._keeps_up_since = look, keeps_up
        return closed

    async def _look_at_journal(self, now: int) -> Look:
        info = await self._jetstream.stream_info(subjects.JOURNAL_STREAM)
        return Look(now, stream_name(info), {lane: await last_page(self._jetstream, lane) for lane in range(LANES)})

    async def _folded_up_to(self, look: Look) -> list[int]:
        """The lanes of which everything is folded that the journal held at that look."""
        async with self._database.transaction(()) as connection:
            folded = await offsets.folded(connection, look.stream)
        return [lane for lane, last in look.ends.items() if folded.get(lane, 0) >= last]

    async def _look_at_sessions(self, lanes: Collection[int], as_of: int, now: int) -> int:
        async with self._database.transaction(()) as connection:
            names = await tenants.ids(connection)
        self.asker.begin()
        closed = await self._close_silent(names, lanes, as_of, now)
        await self._ask_for_events(names, lanes, as_of, now)
        self.asker.end(now)
        return closed

    async def _close_silent(self, names: Collection[str], lanes: Collection[int], as_of: int, now: int) -> int:
        told, self._told = self._told, {}
        closed, after = 0, 0
        while True:
            async with self._database.transaction(names) as connection:
                page = await silence.find(connection, as_of, after=after, limit=PAGE_MAX)
            due: list[Due] = []
            for each in page:
                reason = judge(each.known, each.limits, as_of)
                if reason is None or lane_of(slot_of(each.tenant, each.charger)) not in lanes:
                    continue
                if told.get(each.id) != (each.version, each.known.heard_at):
                    due.append((each, reason))
            closed += await self._close(await self._over(due, now), as_of, now)
            if len(page) < PAGE_MAX:
                return closed
            after = page[-1].id

    async def _over(self, due: Sequence[Due], now: int) -> list[Due]:
        """Those that are over: their stations say so, or cannot be asked."""
        steps = {each.id: self.asker.next_step("end", each, now) for each, _ in due}
        answers = await self._ask([each for each, _ in due if steps[each.id] == "ask"], now)
        over = {each.id for each, answer in answers if answer.over}
        return [(each, reason) for each, reason in due if steps[each.id] == "leave" or each.id in over]

    async def _ask_for_events(self, names: Collection[str], lanes: Collection[int], as_of: int, now: int) -> None:
        after = 0
        while True:
            async with self._database.transaction(names) as connection:
                page = await silence.find_gaps(connection, as_of, after=after, limit=PAGE_MAX)
            here = [each for each in page if lane_of(slot_of(each.tenant, each.charger)) in lanes]
            await self._ask([each for each in here if self.asker.next_step("events", each, now) == "ask"], now)
            if len(page) < PAGE_MAX:
                return
            after = page[-1].id

    async def _ask(self, doubtful: Sequence[Doubtful], now: int) -> list[Answered]:
        """Ask the stations, and append what they say. An answer that is not durable counts as none: it is asked for again."""
        answers = await self.asker.ask(doubtful, now)
        durable = await self._append([_said(each, answer, now) for each, answer in answers])
        kept = [answered for answered, is_kept in zip(answers, durable, strict=True) if is_kept]
        self.asker.counts.lost += sum(not answer.queued for _, answer in kept)
        return kept

    async def _close(self, due: Sequence[Due], as_of: int, now: int) -> int:
        """Say of these sessions that they have lapsed; of how many that is durable."""
        durable = await self._append([_said(silent, _lapse(silent, reason), now) for silent, reason in due])
        for (silent, reason), kept in zip(due, durable, strict=True):
            if not kept:
                continue
            self._told[silent.id] = (silent.version, silent.known.heard_at)
            if reason == FAILED_START:
                self.closed.failed_starts += 1
            else:
                self.closed.endless += 1
            log.warning(
                "transaction_stuck",
                tenant=silent.tenant,
                charger=silent.charger,
                session=silent.id,
                transaction=silent.transaction,
                reason=reason,
                silent_s=(as_of - silent.known.heard_at) // 1000,
            )
        return sum(durable)

    async def _append(self, facts: Sequence[Event]) -> list[bool]:
        """Append the events, and wait until the journal has told of each whether it is durable."""
        durable = [False] * len(facts)
        waiting = set(range(len(facts)))
        all_told = anyio.Event()

        def tell(number: int, kept: bool) -> None:
            durable[number] = kept
            waiting.discard(number)
            if not waiting:
                all_told.set()

        for number, fact in enumerate(facts):
            if not self._journal.lanes[lane_of(fact.slot)].append(fact, partial(tell, number)):
                tell(number, False)
        if facts:
            await all_told.wait()
        return durable


def _lapse(silent: Silent, reason: Reason) -> TransactionLapsed:
    return TransactionLapsed(silent.transaction, silent.known.heard_at, silent.version, reason)


def _said(doubtful: Doubtful, body: TransactionLapsed | TransactionAnswered, now: int) -> Event:
    return Event(
        slot=slot_of(doubtful.tenant, doubtful.charger),
        epoch=NO_OWNER,
        number=0,
        tenant=doubtful.tenant,
        charger=doubtful.charger,
        connection=0,
        message_id="",
        received_at=now,
        body=body,
    )
