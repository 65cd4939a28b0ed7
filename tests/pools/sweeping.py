"""What the tests of the sweeper share: a journal, a database, and the lanes between them, at the moments that a test names."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client

from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.domain.events import (
    PAGE_DECODER,
    Event,
    IdToken,
    Page,
    Sample,
    StatusChanged,
    TransactionEnded,
    TransactionLapsed,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools.fold import StoredPage
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.pools.sweeper import Sweeper
from cpms_actors.pools.tariff import Counts, rate_batch
from cpms_actors.store import offsets
from cpms_actors.store.database import Database, open_database

T0 = 1_700_000_000_000
S, MIN, H = 1_000, 60_000, 3_600_000
LOOK = MIN
_numbers = count(1)


async def rung() -> None:
    return None


class World:
    """A journal, a database, the lanes that fold the one into the other, and sweepers. Time is what a test says it is."""

    def __init__(self, bus: Client, database: Database, journal: Callable[[], Journal]) -> None:
        self.bus = bus
        self.database = database
        self._journal = journal
        self.sweeper = self.another_sweeper()
        self._lanes: list[Lane] = []

    def another_sweeper(self, settled_ms: int = 0, held: Callable[[], set[int]] = lambda: set(range(LANES))) -> Sweeper:
        """As another process has."""
        return Sweeper(self.bus, self.database, self._journal(), held, settled_ms=settled_ms)

    async def hear(self, *bodies: Any, at: int, charger: str = "CP1") -> None:
        """A worker journals what a charger says at that moment."""
        slot = slot_of("default", charger)
        events = tuple(Event(slot, 7, number, "default", charger, 1, "m", at, body) for number, body in enumerate(bodies))
        page = msgspec.msgpack.encode(Page(f"w{next(_numbers)}", 1, events))
        await self.bus.jetstream().publish(subjects.journal(lane_of(slot)), page)

    async def pages(self) -> list[tuple[int, StoredPage]]:
        """All there is in the journal, with its lane."""
        jetstream = self.bus.jetstream()
        last = (await jetstream.stream_info(subjects.JOURNAL_STREAM)).state.last_seq
        found = []
        for seq in range(1, last + 1):
            message = await jetstream.get_msg(subjects.JOURNAL_STREAM, seq)
            assert message.subject is not None
            found.append((int(message.subject.rpartition(".")[2]), StoredPage(seq, message.data or b"")))
        return found

    async def bodies(self) -> list[Any]:
        """All facts of the journal."""
        return [event.body for _, page in await self.pages() for event in PAGE_DECODER.decode(page.data).events]

    async def lapses(self) -> list[TransactionLapsed]:
        """What the sweepers have said."""
        return [body for body in await self.bodies() if isinstance(body, TransactionLapsed)]

    async def fold(self, database: Database | None = None) -> None:
        """Fold what is in the journal and not folded yet; into another database all there is."""
        lanes = self._lanes if database is None else []
        if not lanes:
            async with (database or self.database).transaction(()) as connection:
                held, _ = await offsets.hold(connection, "test", 3_600)
            ledger = PostgresLedger(database or self.database)
            lanes += [Lane(claim, JournalPages(self.bus), ledger, rung) for claim in held]
            for lane in lanes:
                await lane.recall()
        pages = await self.pages()
        for lane in lanes:
            await lane.fold_pages([page for number, page in pages if number == lane.claim.lane])
        assert [lane.statistics.parked + lane.statistics.stale for lane in lanes] == [0] * LANES

    async def sweep(self, as_of: int, sweeper: Sweeper | None = None) -> int:
        """What is silent at that moment is said to have lapsed; nothing of it is folded yet."""
        sweeper = sweeper or self.sweeper
        return await sweeper.sweep(as_of) + await sweeper.sweep(as_of + LOOK)

    async def rate(self) -> Counts:
        """What the tariff pool does at its next look."""
        return (await rate_batch(self.database))[0]

    async def ask(self, sql: str, database: Database | None = None) -> list[tuple[Any, ...]]:
        async with (database or self.database).transaction(["default"]) as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql)]

    async def session(self) -> tuple[Any, ...]:
        """Status, version, energy, reason and flags of the only session there is."""
        [found] = await self.ask("SELECT status, version, energy_wh, reason, flags FROM sessions")
        return found

    async def billed(self) -> list[tuple[Any, ...]]:
        """The CDRs: session version, energy, whether it is a credit, whether it is provisional."""
        return await self.ask(
            "SELECT session_version, energy_wh, credits IS NOT NULL, provisional FROM cdrs"
            " ORDER BY created_at, session_version, credits NULLS LAST"
        )


@asynccontextmanager
async def worlds(bus: Client, settings: Settings) -> AsyncIterator[World]:
    async with open_database(settings.postgres) as database, anyio.create_task_group() as group:

        def journal() -> Journal:
            journal = Journal(StreamPublisher(bus), range(LANES), f"sweeper{next(_numbers)}", settings.journal, bus.max_payload)
            group.start_soon(journal.run)
            return journal

        async with database.transaction(["default"]) as connection:
            await connection.execute("INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'CP1')")
        yield World(bus, database, journal)
        group.cancel_scope.cancel()


def start(transaction: str = "1000", at: int = T0, evse: int = 1) -> TransactionStarted:
    return TransactionStarted(transaction, evse, 1, at, IdToken("A"), 1_000, status="Accepted")


def meter(at: int, wh: float, transaction: str = "1000") -> TransactionUpdated:
    return TransactionUpdated(transaction, at, trigger="MeterValuePeriodic", samples=(Sample(at, wh),))


def stop(at: int, meter_wh: int, transaction: str = "1000") -> TransactionEnded:
    return TransactionEnded(transaction, at, meter_wh, "Local")


def status(word: str, at: int, evse: int = 1) -> StatusChanged:
    return StatusChanged(evse, 1, word, at)


async def charging(world: World, until: int = T0 + H, wh: int = 5_000) -> None:
    """A session of 4 kWh of which nothing is heard after an hour."""
    await world.hear(start(), at=T0)
    await world.hear(status("Charging", T0 + S), at=T0 + S)
    await world.hear(meter(until, wh), at=until)
    await world.fold()
