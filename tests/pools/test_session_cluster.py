"""From the journal to Postgres with three nats-servers: whoever leads the journal steps down, and dies, while pages are appended."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import journal as journals
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.journal import Journal, ensure_stream
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.domain.events import Event, Sample, TransactionEnded, TransactionStarted, TransactionUpdated
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.store import offsets
from cpms_actors.store.database import Database, open_database

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_000
LANE = 1
AT_ONCE = 10
PHASE = 40  # sessions, between one fault and the next


class Fleet:
    """Chargers that have a session each, some at a time, and repeat what was not answered."""

    def __init__(self, lane: journals.Lane) -> None:
        self.sessions = 0
        self.repeated = 0
        self._lane = lane
        self._numbers = iter(range(1_000_000))
        self._had = asyncio.Condition()

    async def run(self) -> None:
        """One session after the other, until cancelled between two."""
        while True:
            charger = f"CP{next(self._numbers)}"
            with anyio.CancelScope(shield=True):
                for body in (
                    TransactionStarted("1", 1, 1, T0, None, 100),
                    TransactionUpdated("1", T0 + 1, samples=(Sample(T0 + 1, 500.0),)),
                    TransactionEnded("1", T0 + 2, 1_100),
                ):
                    while not await self._durable(Event(LANE, 1, 0, "default", charger, 1, "m", T0, body)):
                        self.repeated += 1
                        await anyio.sleep(0.05)
                self.sessions += 1
                async with self._had:
                    self._had.notify_all()
            await anyio.lowlevel.checkpoint()

    async def _durable(self, event: Event) -> bool:
        told = asyncio.get_running_loop().create_future()
        return self._lane.append(event, told.set_result) and bool(await told)

    async def more(self, count: int) -> None:
        wanted = self.sessions + count
        async with asyncio.timeout(30), self._had:
            await self._had.wait_for(lambda: self.sessions >= wanted)


async def nobody() -> None:
    return None


async def patiently(client: Client, settings: Settings) -> None:
    """Make the stream, as soon as the servers have found each other."""
    with anyio.fail_after(30):
        while True:
            try:
                return await ensure_stream(client.jetstream(), settings)
            except NatsError:
                await anyio.sleep(0.1)


async def leader(client: Client) -> str:
    """Who leads the journal."""
    with anyio.fail_after(20):
        while True:
            try:
                info = await client.jetstream(timeout=1).stream_info(subjects.JOURNAL_STREAM)
                if info.cluster and info.cluster.leader:
                    return info.cluster.leader
            except NatsError:
                pass
            await anyio.sleep(0.05)


@asynccontextmanager
async def folding(client: Client, database: Database) -> AsyncIterator[Lane]:
    """A lane that is folded while the block runs."""
    async with database.transaction(()) as connection:
        held, _ = await offsets.hold(connection, "a", 60)
    claim = next(claim for claim in held if claim.lane == LANE)
    lane = Lane(claim, JournalPages(client), PostgresLedger(database), nobody)
    async with anyio.create_task_group() as group:
        group.start_soon(lane.run, lambda: None)
        yield lane
        group.cancel_scope.cancel()


async def test_whoever_leads_the_journal_steps_down_and_dies_and_every_session_is_folded_once(
    nats_cluster: Any, fresh_postgres: Callable[[], Postgres]
) -> None:
    settings = Settings(nats=Nats(url=nats_cluster.url, ping_interval_s=0.5, replicas=3), journal=JournalSettings(append_timeout_s=1.0))
    writing, reading = await connect(settings.nats, "writing"), await connect(settings.nats, "reading")
    await patiently(writing, settings)
    journal = Journal(StreamPublisher(writing), [LANE], uuid4().hex, settings.journal, writing.max_payload)
    fleet = Fleet(journal.lanes[0])
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    async with open_database(fresh_postgres()) as database, folding(reading, database) as lane:
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(fleet.run)
            await fleet.more(PHASE)

            first = await leader(writing)
            said = await writing.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{subjects.JOURNAL_STREAM}", b"", timeout=5)
            assert json.loads(said.data)["success"]
            await fleet.more(PHASE)

            second = await leader(writing)
            assert second != first
            nats_cluster.servers[second].stop(signal.SIGKILL)
            await fleet.more(PHASE)
            assert await leader(writing) != second

            nats_cluster.servers[second].start()
            await fleet.more(PHASE)
            group.cancel_scope.cancel()
        with anyio.fail_after(20):
            while lane.statistics.events < 3 * fleet.sessions + fleet.repeated:
                await anyio.sleep(0.05)
        async with database.transaction(["default"]) as connection:
            assert await connection.fetchval("SELECT count(*) FROM sessions") == fleet.sessions == await ended(database)
            assert await connection.fetchval("SELECT count(*) FROM parked_messages") == 0
        statistics = journal.lanes[0].statistics
        assert (statistics.waiting, lane.statistics.parked) == (0, 0)
        assert lane.statistics.events == 3 * fleet.sessions + fleet.repeated == statistics.events
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for client in (writing, reading):
        await client.close()


async def ended(database: Database) -> int:
    async with database.transaction(["default"]) as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM sessions WHERE status = 'Ended' AND energy_wh = 1000 AND version = 1"
        )
        return count
