"""What grows stays within its bounds, on a real nats-server and Postgres: pages that are folded make room, old telemetry goes."""

import time
from collections.abc import AsyncIterator, Callable

import anyio
import nats
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from cpms_actors.base.settings import Journal, Nats, Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.pools.pages import stream_name
from cpms_actors.pools.retention import Retention
from cpms_actors.store import meter_values, offsets, reports
from cpms_actors.store.database import Database, open_database

pytestmark = pytest.mark.anyio
PAGE = b"x" * 10_000
FULL = 100  # pages, about, of a journal of 1 MB


@pytest.fixture
def settings(nats_url: str, fresh_postgres: Callable[[], Postgres]) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=fresh_postgres(), journal=Journal(bytes_max=1_024_000))


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.postgres) as database:
        async with database.transaction(()) as connection:
            await offsets.hold(connection, "a", 60)
        yield database


@pytest.fixture
async def bus(settings: Settings) -> AsyncIterator[Client]:
    client = await nats.connect(settings.nats.url)
    await ensure_stream(client.jetstream(), settings)
    yield client
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()


async def append(bus: Client, *lanes: int) -> None:
    """A page of each lane, in this order."""
    for lane in lanes:
        await bus.jetstream().publish(subjects.journal(lane), PAGE)


async def folded(bus: Client, database: Database, **offsets_by_lane: int) -> None:
    """The fold has come that far: `lane0=7`."""
    stream = stream_name(await bus.jetstream().stream_info(subjects.JOURNAL_STREAM))
    async with database.transaction(()) as connection:
        for name, offset in offsets_by_lane.items():
            await connection.execute(
                "UPDATE lanes SET stream = $1, stream_seq = $2 WHERE lane = $3", stream, offset, int(name.removeprefix("lane"))
            )


async def kept(bus: Client) -> list[int]:
    """The sequences of the pages that are there."""
    jetstream = bus.jetstream()
    state = (await jetstream.stream_info(subjects.JOURNAL_STREAM)).state
    found = []
    for seq in range(state.first_seq, state.last_seq + 1):
        try:
            await jetstream.get_msg(subjects.JOURNAL_STREAM, seq)
        except NotFoundError:
            continue
        found.append(seq)
    return found


async def test_a_journal_that_is_not_half_full_keeps_every_page(bus: Client, database: Database, settings: Settings) -> None:
    await append(bus, *[0] * 40)
    await folded(bus, database, lane0=40)
    retention = Retention(bus, database, settings, kept_s=0)
    await retention.make_room()
    assert (await kept(bus), retention.purged) == (list(range(1, 41)), 0)


async def test_the_older_half_of_what_is_folded_goes_and_what_is_not_folded_stays(
    bus: Client, database: Database, settings: Settings
) -> None:
    """Lane 0 is folded to page 40 of 60 and lane 1 not at all."""
    await append(bus, *[0, 1, 0] * 20)
    await folded(bus, database, lane0=40)
    retention = Retention(bus, database, settings, kept_s=0)
    await retention.make_room()
    pages = await kept(bus)
    assert retention.purged == 60 - len(pages) > 0
    assert pages == [seq for seq in range(1, 61) if seq >= 21 or seq % 3 == 2]


async def test_no_page_goes_before_what_came_of_it_is_on_the_disk(bus: Client, database: Database, settings: Settings) -> None:
    """The fold does not flush: what a crash of Postgres takes back it reads from the journal again."""
    await append(bus, *[0] * 60)
    stream = stream_name(await bus.jetstream().stream_info(subjects.JOURNAL_STREAM))
    async with database.transaction((), flushed=False) as connection:
        await connection.execute("UPDATE lanes SET stream = $1, stream_seq = 60 WHERE lane = 0", stream)
    async with database.transaction(()) as connection:
        written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    retention = Retention(bus, database, settings, kept_s=0)
    await retention.make_room()
    async with database.transaction(()) as connection:
        assert (retention.purged > 0, await connection.fetchval("SELECT pg_current_wal_flush_lsn() >= $1", written)) == (True, True)


@pytest.mark.parametrize(("pages", "spared"), [(60, True), (90, False)], ids=["half full", "nearly full"])
async def test_the_last_hour_goes_only_when_the_journal_is_nearly_full(
    bus: Client, database: Database, settings: Settings, pages: int, spared: bool
) -> None:
    await append(bus, *[0] * pages)
    await folded(bus, database, lane0=pages)
    retention = Retention(bus, database, settings)
    await retention.make_room()
    assert (retention.purged == 0) == spared
    later = Retention(bus, database, settings, clock=lambda: time.time() + 3_700)
    await later.make_room()
    assert len(await kept(bus)) < FULL // 2
    assert (await kept(bus))[-1] == pages


async def test_a_full_journal_takes_pages_again_although_one_lane_is_not_folded(
    bus: Client, database: Database, settings: Settings
) -> None:
    await append(bus, 1)
    with pytest.raises(nats.js.errors.APIError):
        await append(bus, *[0] * 200)
    last = (await bus.jetstream().stream_info(subjects.JOURNAL_STREAM)).state.last_seq
    await folded(bus, database, lane0=last)
    await Retention(bus, database, settings).make_room()
    await append(bus, 0, 1)
    pages = await kept(bus)
    assert (pages[0], last in pages, len(pages) < FULL * 0.6) == (1, True, True)


async def test_pages_that_nobody_has_folded_never_go(bus: Client, database: Database, settings: Settings) -> None:
    await append(bus, *[0] * 90)
    retention = Retention(bus, database, settings, kept_s=0)
    await retention.make_room()
    async with database.transaction(()) as connection:  # folded, but from a journal that is no more
        await connection.execute("UPDATE lanes SET stream = 'another', stream_seq = 90 WHERE lane = 3")
    await retention.make_room()
    assert (await kept(bus), retention.purged) == (list(range(1, 91)), 0)


async def test_telemetry_goes_when_its_days_are_over(bus: Client, database: Database, settings: Settings) -> None:
    """And the pool looks by itself; what fails is tried at the next look."""
    async with database.transaction(["default"]) as connection:
        now: int = await connection.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        today = now // meter_values.DAY_MS
        for age in (0, 9, 10, 11):
            assert await meter_values.create_day(connection, today - age)
            at = now - age * meter_values.DAY_MS
            await reports.save(connection, [("default", "CP1", "LogStatusNotification", f'{{"age": {age}}}', "m", at)])
    kept_days = Settings(settings.nats, Postgres(settings.postgres.dsn, telemetry_days=10), journal=settings.journal)
    retention = Retention(bus, database, kept_days)
    async with anyio.create_task_group() as group:
        group.start_soon(retention.run, lambda: None)
        with anyio.fail_after(20):
            while not retention.deleted:
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert (retention.dropped, retention.deleted) == (1, 1)
    async with database.transaction(["default"]) as connection:
        left = await reports.latest(connection, "default", "CP1", limit=9)
        assert [report.payload for report in left] == ['{"age": 0}', '{"age": 9}', '{"age": 10}']


async def test_keeping_house_goes_on_when_nats_or_postgres_does_not_answer(
    bus: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.retention.LOOK_S", 0.01)
    looks = 0

    async def fails(retention: Retention) -> None:
        nonlocal looks
        looks += 1
        raise nats.errors.TimeoutError

    monkeypatch.setattr(Retention, "make_room", fails)
    async with open_database(Postgres("postgresql://cpms_app@127.0.0.1:1/cpms")) as nowhere, anyio.create_task_group() as group:
        group.start_soon(Retention(bus, nowhere, settings).run, lambda: None)
        with anyio.fail_after(20):
            while looks < 3:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
