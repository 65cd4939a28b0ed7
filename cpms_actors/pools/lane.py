"""A lane's actor: reads the lane's pages in order and folds them into Postgres, exactly once.

    pages ──accept, load, fold──▶ one transaction: move the offset (is the lane still ours?), then write everything

Whatever is redelivered, stored twice or interrupted: a batch is either in Postgres together with the offset behind it, or not at all.
After a failure the actor forgets what it knew and begins again at the stored offset.

A batch that Postgres refuses for what is in it (a text with a NUL, a number beyond bigint) is folded again in halves, each in a
savepoint, down to the events that are refused alone: those are parked. So a poison event costs itself, and a few savepoints.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from math import exp
from time import monotonic
from typing import Final, Protocol

import anyio
import msgspec
from msgspec import Struct

from cpms_actors.base.errors import Unavailable
from cpms_actors.bus import subjects
from cpms_actors.domain.events import PAGE_DECODER, Event, TransactionStarted
from cpms_actors.observe import logs
from cpms_actors.pools.fold import POISON, Accepted, Batch, ChargerKey, StoredPage, accept, fold, keys_of, parked
from cpms_actors.store.meter_values import DAY_MS
from cpms_actors.store.offsets import Claim, Progress
from cpms_actors.store.sessions import Found, Key
from supervisors.policy import Backoff

log = logs.get("session")

BATCH_BYTES_MAX: Final = 1_048_576  # of pages: about 10,000 events, and a transaction of well under a second
REST_S: Final = (0.1, 0.25)  # between batches, at least and at most: nobody waits for the fold
REST_PER_FOLD: Final = 9  # times what the last one took: who keeps up folds for a tenth of the time, in batches that are worth it
RETRY: Final = Backoff(first_s=0.2, max_s=5.0)  # the lanes of all processes lose the same server at once
SEEN_MAX: Final = 50_000  # chargers whose last write of last_seen_at is remembered; beyond, all are forgotten
DAYS_MAX: Final = 64
RATE_WINDOW_S: Final = 10.0


def rest_s(took_s: float, fetched: int, pending: int) -> float:
    """How long a lane waits before it looks again, in seconds; not at all when it falls behind.

    A batch costs several milliseconds of two processes however little is in it, and a session that is in two is loaded and saved twice.
    So few large ones are better than many small ones, and the more so the busier the machine is, which shows in the time that the last
    one took. Some pages always come meanwhile: a lane falls behind when as many are `pending` then as it had `fetched`.
    """
    if pending >= fetched:
        return 0.0
    least, most = REST_S
    return min(most, max(least, REST_PER_FOLD * took_s))


class LaneLost(Exception):
    """Another process has claimed the lane; nothing was written."""


class Refused(Exception):
    """Postgres refuses something for what is in it, and would again; nothing of the transaction, or the savepoint, is written."""


class Reader(Protocol):
    """The pages of a lane behind a sequence: `pools.pages.PageReader`. `pending` is how many are still to be fetched."""

    @property
    def pending(self) -> int: ...

    async def open(self) -> None: ...

    async def fetch(self, bytes_max: int) -> list[StoredPage]: ...

    async def close(self) -> None: ...


class Pages(Protocol):
    """The reading end of the journal: `pools.pages.JournalPages`. Raises Unavailable when it is not there."""

    async def stream(self) -> tuple[str, int]:
        """What tells this journal from one that was made anew, and its last sequence."""

    async def page_at(self, seq: int) -> tuple[str, bytes] | None:
        """The subject and the data of the page that has this sequence; None when it has made room."""

    def reader(self, lane: int, after: int) -> Reader:
        """A reader of a lane's pages behind a sequence; it is to be opened, and closed."""


class Folding(Protocol):
    """One transaction of a fold. It sees what it has written itself."""

    async def advance(self, claim: Claim, progress: Progress, accepted: Accepted) -> bool:
        """Lock the lane and move its offset from where `progress` has it, with all that was accepted but the events.

        False: the lane is another's. Raises Unavailable when Postgres has it elsewhere.
        """

    async def load(self, transactions: Sequence[Key], starts: Sequence[Key]) -> Found:
        """The sessions that have one of these transaction ids or start keys."""

    async def draw_ids(self, count: int) -> Sequence[int]:
        """Ids for sessions to come, each higher than the one before."""

    async def save(self, batch: Batch) -> None:
        """Write what came of events."""

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What is written in the block is undone when it raises. Raises Refused."""


class Ledger(Protocol):
    """Postgres, as a lane uses it: `pools.ledger.PostgresLedger`.

    Raises Unavailable when it is not there; whether what was asked for was done is then unknown.
    """

    async def progress(self, lane: int) -> Progress:
        """How far the lane is folded."""

    async def forget_stream(self, claim: Claim) -> None:
        """The journal began anew: the lane is folded from its beginning."""

    async def make_days(self, days: Iterable[int]) -> None:
        """See to the partitions of these days (since 1970-01-01 UTC)."""

    async def fold(self, tenants: Iterable[str], work: Callable[[Folding], Awaitable[Batch]]) -> Batch:
        """The work in one transaction, of which all is stored or, when it raises, nothing; it sees the rows of these tenants only.

        The work may be done again, so its effects in memory must bear that. Raises Refused.
        """


class LaneStatistics(Struct):
    """Counts since the lane was claimed. `stale`: events of outdated owners of slots. `folded_received_at`: when a worker received the
    event that was folded last."""

    offset: int = 0
    pending: int = 0
    events: int = 0
    batches: int = 0
    parked: int = 0
    stored_twice: int = 0
    stale: int = 0
    failures: int = 0
    folded_received_at: int = 0


class Rate:
    """Events per second over the last ten seconds or so: every event counts for RATE_WINDOW_S, and fades."""

    def __init__(self) -> None:
        self._per_s = 0.0
        self._at = 0.0

    def note(self, events: int, now_s: float) -> None:
        """That many events, now."""
        self._per_s = self.at(now_s) + events / RATE_WINDOW_S
        self._at = now_s

    def at(self, now_s: float) -> float:
        """Events per second as of now."""
        return self._per_s * exp(-(now_s - self._at) / RATE_WINDOW_S)


class Lane:
    """Folds one lane while the claim on it holds.

    `ring` is called after a commit that left something to rate; `clock` tells seconds.
    """

    def __init__(
        self,
        claim: Claim,
        pages: Pages,
        ledger: Ledger,
        ring: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.claim = claim
        self.statistics = LaneStatistics()
        self.rate = Rate()
        self._pages = pages
        self._ledger = ledger
        self._ring = ring
        self._clock = clock
        self._chance = chance
        self._progress = Progress("", 0, {}, {})
        self._seen: dict[ChargerKey, int] = {}
        self._days: set[int] = set()

    async def run(self, started: Callable[[], None]) -> None:
        """Fold until cancelled, or until the lane is another's. Outages of NATS and Postgres are waited out."""
        started()
        failures = 0
        while True:
            before = self.statistics.batches
            try:
                await self._read_and_fold()
            except LaneLost:
                log.info("lane_lost", lane=self.claim.lane, epoch=self.claim.epoch)
                return
            except Unavailable as error:
                self.statistics.failures += 1
                failures = 1 if self.statistics.batches > before else failures + 1
                delay = RETRY.delay(failures, self._chance())
                log.warning("lane_waits", lane=self.claim.lane, error=str(error), delay_s=delay)
                await self._measure()
                await anyio.sleep(delay)

    async def _read_and_fold(self) -> None:
        await self.recall()
        reader = self._reader()
        try:
            await reader.open()
            while True:
                pages = await reader.fetch(BATCH_BYTES_MAX)
                began = self._clock()
                await self.fold_pages(pages)
                self.statistics.pending = reader.pending
                await anyio.sleep(rest_s(self._clock() - began, len(pages), reader.pending))
        finally:
            await reader.close()

    def _reader(self) -> Reader:
        return self._pages.reader(self.claim.lane, self.statistics.offset)

    async def _measure(self) -> None:
        """How much waits, while nothing is folded: an outage must show in the lag."""
        reader = self._reader()
        with suppress(Unavailable):
            await reader.open()
            self.statistics.pending = reader.pending
        await reader.close()

    async def recall(self) -> None:
        """Read from Postgres how far the lane is; begin anew when the journal did. Raises Unavailable."""
        progress = await self._ledger.progress(self.claim.lane)
        stream, last_seq = await self._pages.stream()
        if progress.stream not in ("", stream) or await self._rolled_back(progress, last_seq):
            log.warning("journal_began_anew", lane=self.claim.lane, was=progress.stream, now=stream, offset=progress.stream_seq)
            await self._ledger.forget_stream(self.claim)
            progress.stream_seq, progress.slot_epochs = 0, {}
        progress.stream = stream
        self._progress = progress
        self._seen.clear()
        self.statistics.offset = progress.stream_seq

    async def _rolled_back(self, progress: Progress, last_seq: int) -> bool:
        """Whether the journal has lost pages that were folded, and gives their sequence to others: a power failure before its fsync.

        Then the page at the offset is none of those we folded. To read all there is again costs time only.
        """
        if last_seq < progress.stream_seq:
            return True
        if progress.stream_seq == 0:
            return False
        stored = await self._pages.page_at(progress.stream_seq)
        if stored is None:  # it was folded long ago, and made room since
            return False
        subject, data = stored
        if subject != subjects.journal(self.claim.lane):
            return True
        try:
            page = PAGE_DECODER.decode(data)
        except msgspec.DecodeError:  # it is parked
            return False
        return page.number > progress.writers.get(page.writer, 0)

    async def fold_pages(self, pages: Sequence[StoredPage]) -> None:
        """Fold pages that follow each other in the stream. Raises LaneLost or Unavailable; then none of it is stored."""
        accepted = accept(pages, self._progress)
        if accepted.stream_seq == self._progress.stream_seq:
            return
        await self._make_days(accepted.events)
        tenants = {event.tenant for event in accepted.events} | {message.tenant for message in accepted.parked}

        async def at_once(folding: Folding) -> Batch:
            await self._advance(folding, accepted)
            return await self._apply(folding, accepted.events)

        async def in_halves(folding: Folding) -> Batch:
            await self._advance(folding, accepted)
            return await self._apply_in_halves(folding, accepted.events)

        try:
            batch = await self._ledger.fold(tenants, at_once)
        except Refused as error:
            log.warning("batch_refused", lane=self.claim.lane, events=len(accepted.events), error=repr(error.__cause__))
            batch = await self._ledger.fold(tenants, in_halves)
        self._committed(accepted, batch)
        if batch.amended:
            await self._ring()

    async def _advance(self, folding: Folding, accepted: Accepted) -> None:
        if not await folding.advance(self.claim, self._progress, accepted):
            raise LaneLost(self.claim.lane)

    async def _apply(self, folding: Folding, events: Sequence[Event]) -> Batch:
        """Fold the events and write what came of them."""
        transactions, starts = keys_of(events)
        found = await folding.load(transactions, starts) if transactions else Found({}, {})
        # Drawn when they are needed and no more than that, since lists go by them: the newest session has the highest.
        fresh = len(transactions) - len(found.by_transaction) + sum(isinstance(event.body, TransactionStarted) for event in events)
        ids = iter(await folding.draw_ids(fresh) if fresh else ())
        batch = fold(events, found, ids.__next__, self._seen)
        await folding.save(batch)
        return batch

    async def _apply_in_halves(self, folding: Folding, events: Sequence[Event]) -> Batch:
        """Fold the events, those that Postgres refuses left out. Of the batch only what `_committed` asks for is kept."""
        try:
            async with folding.savepoint():
                return await self._apply(folding, events)
        except Refused as error:
            if len(events) == 1:
                refused = Batch(parked=[parked(events[0], POISON, f"Postgres refused it: {error}")])
                await folding.save(refused)
                return refused
        middle = len(events) // 2
        first = await self._apply_in_halves(folding, events[:middle])
        second = await self._apply_in_halves(folding, events[middle:])
        return Batch(
            parked=first.parked + second.parked, chargers=first.chargers | second.chargers, amended=first.amended or second.amended
        )

    def _committed(self, accepted: Accepted, batch: Batch) -> None:
        """It is in Postgres: only now may memory know."""
        progress, statistics = self._progress, self.statistics
        progress.stream_seq = statistics.offset = accepted.stream_seq
        progress.writers |= accepted.writers
        progress.slot_epochs |= accepted.slot_epochs
        if len(self._seen) > SEEN_MAX:
            self._seen.clear()
        self._seen.update((key, live.last_seen_at) for key, live in batch.chargers.items())
        statistics.batches += 1
        statistics.events += len(accepted.events)
        statistics.parked += len(accepted.parked) + len(batch.parked)
        statistics.stored_twice += accepted.stored_twice
        statistics.stale += accepted.stale
        if accepted.stale:
            log.warning("outdated_owner_writes", lane=self.claim.lane, events=accepted.stale)
        if accepted.events:
            statistics.folded_received_at = accepted.events[-1].received_at
            self.rate.note(len(accepted.events), self._clock())

    async def _make_days(self, events: Sequence[Event]) -> None:
        """See to the partitions of the days in the batch. Not in its transaction: the lock would last as long as that."""
        days = {event.received_at // DAY_MS for event in events} - self._days
        if not days:
            return
        if len(self._days) > DAYS_MAX:
            self._days.clear()
        await self._ledger.make_days(days)
        self._days |= days
