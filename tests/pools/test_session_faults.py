"""A lane on a Postgres that answers too late, refuses for want of room, or has no connection to give: it waits, and folds once."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import asyncpg
import msgspec
import pytest
from crowd import no_connection_left
from nats.aio.client import Client

from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.domain.events import Event, Page, Sample, TransactionEnded, TransactionStarted, TransactionUpdated
from cpms_actors.pools.lane import RETRY, Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.store import offsets
from cpms_actors.store.database import Database, open_database

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_000
LANE = 1
HOUR_MS = 3_600_000
_numbers = count(1)


@pytest.fixture
def own_postgres(fresh_postgres: Callable[[], Postgres]) -> Postgres:
    return fresh_postgres()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    settings = Settings(nats=Nats(url=nats_url))
    client = await connect(settings.nats, "test")
    await ensure_stream(client.jetstream(), settings)
    yield client
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()


def page(charger: str, *received_at: int) -> bytes:
    """A whole session of 1 kWh, with a reading; the journal's clock said these moments."""
    bodies = (
        TransactionStarted("1", 1, 1, T0, None, 100),
        TransactionUpdated("1", T0 + 1, samples=(Sample(T0 + 1, 500.0),)),
        TransactionEnded("1", T0 + 2, 1_100),
    )
    moments = received_at or (T0,) * len(bodies)
    events = [Event(LANE, 1, n, "default", charger, 1, "m", at, body) for n, (body, at) in enumerate(zip(bodies, moments, strict=True))]
    return msgspec.msgpack.encode(Page(f"w{next(_numbers)}", 1, tuple(events)))


async def publish(bus: Client, *pages: bytes) -> None:
    for data in pages:
        await bus.jetstream().publish(subjects.journal(LANE), data)


async def nobody() -> None:
    return None


@asynccontextmanager
async def folding(bus: Client, database: Database, chance: Callable[[], float] = lambda: 1.0) -> AsyncIterator[Lane]:
    """A lane that runs while the block does."""
    async with database.transaction(()) as connection:
        held, _ = await offsets.hold(connection, "a", 60)
    claim = next(claim for claim in held if claim.lane == LANE)
    lane = Lane(claim, JournalPages(bus), PostgresLedger(database), nobody, chance=chance)
    async with anyio.create_task_group() as group:
        group.start_soon(lane.run, lambda: None)
        yield lane
        group.cancel_scope.cancel()


async def until(holds: Callable[[], Any]) -> None:
    """Real servers have no virtual clock: look again and again, but not for ever."""
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.02)


async def each_is_folded_once(database: Database, chargers: int) -> None:
    async with database.transaction(["default"]) as connection:
        rows = await connection.fetch(
            "SELECT s.status, s.energy_wh, s.version, (SELECT count(*) FROM meter_values m WHERE m.session_id = s.id) AS readings"
            " FROM sessions s"
        )
        assert await connection.fetchval("SELECT count(*) FROM parked_messages") == 0
    assert [tuple(row.values()) for row in rows] == [("Ended", 1_000, 1, 1)] * chargers


@asynccontextmanager
async def locked(owner: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """Somebody has a table to himself."""
    async with owner.transaction():
        await owner.execute("LOCK TABLE meter_values IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def with_trigger(owner: "asyncpg.Connection[asyncpg.Record]", does: str) -> AsyncIterator[None]:
    """Whoever writes a session meets this."""
    await owner.execute(
        f"CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$;"
        " CREATE TRIGGER meet BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION meet()"
    )
    yield
    await owner.execute("DROP TRIGGER meet ON sessions")


TROUBLES: dict[str, Callable[["asyncpg.Connection[asyncpg.Record]"], Any]] = {
    "a lock that is held": locked,
    "a statement that never ends": lambda owner: with_trigger(owner, "PERFORM pg_sleep(60)"),
    "a full disk": lambda owner: with_trigger(owner, "RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'"),
    "no memory": lambda owner: with_trigger(owner, "RAISE EXCEPTION 'out of memory' USING ERRCODE = 'out_of_memory'"),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_a_batch_that_postgres_does_not_take_is_tried_again_and_folded_once(
    bus: Client, own_postgres: Postgres, trouble: Callable[..., Any]
) -> None:
    owner = await asyncpg.connect(own_postgres.owner_dsn)
    async with open_database(own_postgres, statement_s=0.4, lock_s=0.2) as database, folding(bus, database) as lane:
        async with trouble(owner):
            await publish(bus, page("CP1"), page("CP2"))
            await until(lambda: lane.statistics.failures >= 3)
            assert (lane.statistics.events, lane.statistics.pending) == (0, 2)
            await publish(bus, page("CP3"))
        await until(lambda: lane.statistics.events == 9)
        await each_is_folded_once(database, 3)
    await owner.close()


async def test_without_a_connection_to_be_had_the_lane_waits_and_goes_on_when_there_is_one(bus: Client, own_postgres: Postgres) -> None:
    """Others have taken all, and what the lane had was lost."""
    async with open_database(own_postgres) as database, folding(bus, database) as lane:
        await publish(bus, page("CP1"))
        await until(lambda: lane.statistics.events == 3)
        async with no_connection_left(own_postgres):
            await publish(bus, page("CP2"))
            await until(lambda: lane.statistics.failures >= 3)
            assert lane.statistics.events == 3
            assert database.outages >= 3
        await until(lambda: lane.statistics.events == 6)
        await each_is_folded_once(database, 2)


def test_what_is_waited_between_two_tries_doubles_up_to_a_bound_and_chance_takes_up_to_half_of_it() -> None:
    for chance, least in ((0.0, 1.0), (1.0, 0.5)):
        delays = [RETRY.delay(attempt, chance) for attempt in range(1, 9)]
        assert delays == pytest.approx([least * min(RETRY.max_s, RETRY.first_s * 2**n) for n in range(8)])


async def test_a_clock_that_jumps_by_hours_within_a_session_changes_nothing_of_it(bus: Client, own_postgres: Postgres) -> None:
    jumps = [(T0, T0 - 5 * HOUR_MS, T0 + 1), (T0, T0 + 5 * HOUR_MS, T0 + 1), (T0 + 5 * HOUR_MS, T0, T0 - 5 * HOUR_MS)]
    async with open_database(own_postgres) as database, folding(bus, database) as lane:
        await publish(bus, *(page(f"CP{n}", *jump) for n, jump in enumerate(jumps)))
        await until(lambda: lane.statistics.events == 9)
        await each_is_folded_once(database, 3)
