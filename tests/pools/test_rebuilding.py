"""The journal makes the database: replayed into an empty one it gives the same, and what it does not give is found."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any, Final

import asyncpg
import msgspec
import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.domain.events import (
    Booted,
    Connected,
    Event,
    IdToken,
    Page,
    Parked,
    Reported,
    Sample,
    StatusChanged,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools import rebuilding
from cpms_actors.pools.lane import BATCH_BYTES_MAX, Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.pools.rebuilding import DATABASE, Rebuilt, rebuild
from cpms_actors.pools.tariff import rate_batch
from cpms_actors.store import comparing, offsets
from cpms_actors.store.database import Database, open_database

pytestmark = pytest.mark.anyio

CHARGERS: Final = ("CP1", "CP2", "CP3", "CP4")
_numbers = count(1)

# A change by hand, and the tables that no longer say what the journal makes of them.
TAMPERED: Final[dict[str, tuple[str, set[str]]]] = {
    "another energy": ("UPDATE sessions SET energy_wh = energy_wh + 1 WHERE charger = 'CP1'", {"sessions"}),
    "a session that never was": (
        "INSERT INTO sessions (tenant_id, charger, transaction, status, started_at, marks)"
        " VALUES ('default', 'CP1', 'made-up', 'Active', now(), '{}')",
        {"sessions"},
    ),
    "a transaction of another session": (
        "UPDATE session_transactions SET session_id = (SELECT id FROM sessions WHERE charger = 'CP2' ORDER BY id LIMIT 1)"
        " WHERE charger = 'CP1'",
        {"session_transactions"},
    ),
    "a reading twice": ("INSERT INTO meter_values SELECT * FROM meter_values WHERE charger = 'CP1' LIMIT 1", {"meter_values"}),
    "a report is gone": ("DELETE FROM reports WHERE charger = 'CP2'", {"reports"}),
    "a parked message is gone": ("DELETE FROM parked_messages WHERE charger = 'CP3'", {"parked_messages"}),
    "a status": ("UPDATE connectors SET status = 'Faulted' WHERE charger = 'CP4'", {"connectors"}),
    "a firmware": ("UPDATE chargers SET firmware = 'x' WHERE identity = 'CP4'", {"chargers"}),
    "a page that was not folded": ("UPDATE journal_writers SET number = number + 1", {"journal_writers"}),
    "another price": (
        "ALTER TABLE cdrs DISABLE TRIGGER cdrs_are_final;"
        " UPDATE cdrs SET total_excl_minor = total_excl_minor + 1, total_incl_minor = total_incl_minor + 1 WHERE charger = 'CP1'",
        {"cdrs"},
    ),
}


@pytest.fixture
def settings(nats_url: str, fresh_postgres: Callable[[], Postgres]) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=fresh_postgres())


@pytest.fixture
async def bus(nats_url: str, settings: Settings) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await ensure_stream(client.jetstream(), settings)
    yield client
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()


@pytest.fixture
async def database(settings: Settings, owner: Any) -> AsyncIterator[Database]:
    for charger in CHARGERS:
        await owner.execute(
            "INSERT INTO chargers (tenant_id, identity, created_at) VALUES ('default', $1, now() - interval '1 day')", charger
        )
    async with open_database(settings.postgres) as database:
        yield database


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(settings.postgres.owner_dsn)
    yield connection
    await connection.close()


def day_of(charger: str, begins: int) -> list[Event]:
    """What a charger says on a day: it boots, charges twice, and once something that nobody can use."""
    bodies: list[Any] = [
        Connected("1.6"),
        Booted("V", "M", "Accepted", firmware="1.0"),
        StatusChanged(1, 1, "Available", begins),
    ]
    for number in range(2):
        at, transaction = begins + 1 + number * 7_200_000, str(100 + number)
        bodies.append(TransactionStarted(transaction, 1, 1, at, IdToken("A"), 1_000, status="Accepted"))
        bodies += [
            TransactionUpdated(transaction, at + n * 60_000, samples=(Sample(at + n * 60_000, 1_000.0 + n * 100),)) for n in range(1, 6)
        ]
        bodies.append(TransactionEnded(transaction, at + 3_600_000, 11_000, "Local"))
    bodies.append(TransactionEnded("nobody's", begins, 5, "Local"))
    bodies.append(Reported("FirmwareStatusNotification", b'{"status":"Idle"}'))
    bodies.append(Parked("malformed", "it is no JSON", None, b"[2,"))
    slot = slot_of("default", charger)
    return [Event(slot, 1, next(_numbers), "default", charger, 1, f"m{n}", begins + n, body) for n, body in enumerate(bodies)]


async def journalled(bus: Client, events: list[Event], writer: str, per_page: int) -> None:
    """The events on pages of their lanes, in order."""
    for lane in range(LANES):
        mine = [event for event in events if lane_of(event.slot) == lane]
        for number, first in enumerate(range(0, len(mine), per_page), 1):
            page = Page(writer, number, mine[first : first + per_page])
            await bus.jetstream().publish(subjects.journal(lane), msgspec.msgpack.encode(page))


async def folded(bus: Client, database: Database, *, batches_of: int) -> None:
    """All that the journal holds is folded, in batches of so many bytes, and what has ended is rated."""
    async with database.transaction(()) as connection:
        claims, _ = await offsets.hold(connection, "a", 60)
    for claim in claims:
        lane = Lane(claim, JournalPages(bus), PostgresLedger(database), nobody)
        await lane.recall()
        reader = JournalPages(bus).reader(claim.lane, lane.statistics.offset)
        await reader.open()
        while reader.pending:
            await lane.fold_pages(await reader.fetch(batches_of))
        await reader.close()
    while (await rate_batch(database, gap_grace_s=0))[1]:
        pass


async def nobody() -> None:
    return None


async def rebuilt(settings: Settings) -> Rebuilt:
    return await rebuild(settings, limit=10, progress=lambda pages, total: None)


async def test_the_journal_gives_the_same_in_other_batches_and_nothing_is_left_behind(
    settings: Settings, bus: Client, database: Database, owner: Any
) -> None:
    begins = await now_ms(owner)
    events = [event for charger in CHARGERS for event in day_of(charger, begins)]
    await journalled(bus, events, "w1", 3)
    await folded(bus, database, batches_of=1)

    found = await rebuilt(settings)
    assert [table.table for table in found.tables if not table.identical] == []
    assert found.identical
    assert (found.since, found.events, found.cdrs) == (None, len(events), 2 * len(CHARGERS))
    rows = {table.table: table.stored.rows for table in found.tables}
    assert rows == {
        "sessions": 8, "session_transactions": 8, "meter_values": 40, "reports": 4, "parked_messages": 8,
        "connectors": 4, "chargers": 4, "cdrs": 8, "journal_writers": LANES,
    }  # fmt: skip
    assert await owner.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE) == 0


async def test_what_the_database_has_and_the_journal_does_not_give_is_found(
    settings: Settings, bus: Client, database: Database, owner: Any
) -> None:
    begins = await now_ms(owner)
    await journalled(bus, [event for charger in CHARGERS for event in day_of(charger, begins)], "w1", 5)
    await folded(bus, database, batches_of=BATCH_BYTES_MAX)
    expected: set[str] = set()
    for sql, tables in TAMPERED.values():
        await owner.execute(sql)
        expected |= tables

    found = await rebuilt(settings)
    assert not found.identical
    assert {table.table for table in found.tables if not table.identical} == expected == set(comparing.TABLES)
    rows = {table.table: table.differing for table in found.tables}
    made_up, changed = sorted(rows["sessions"], key=lambda row: row.rebuilt is not None)[:2]
    assert made_up.rebuilt is None
    assert "made-up" in made_up.key
    assert changed.stored is not None
    assert changed.rebuilt is not None
    assert msgspec.json.decode(changed.stored)["energy_wh"] == msgspec.json.decode(changed.rebuilt)["energy_wh"] + 1
    (report,) = rows["reports"]
    assert report.stored is None


async def test_what_began_before_a_purge_is_not_compared_and_the_rest_is(
    settings: Settings, bus: Client, database: Database, owner: Any
) -> None:
    """The first pages of every lane are gone; what begins two hours from now is whole."""
    begins = await now_ms(owner)
    await journalled(bus, [event for charger in CHARGERS for event in day_of(charger, begins)], "w1", 4)
    await folded(bus, database, batches_of=BATCH_BYTES_MAX)
    info = await bus.jetstream().stream_info(subjects.JOURNAL_STREAM)
    later = [event for charger in CHARGERS for event in day_of(charger, begins + 4 * 3_600_000)]
    await journalled(bus, later, "w2", 4)
    await folded(bus, database, batches_of=BATCH_BYTES_MAX)
    await bus.jetstream().purge_stream(subjects.JOURNAL_STREAM, seq=info.state.last_seq)

    found = await rebuilt(settings)
    assert found.since is not None
    assert [table for table in found.tables if not table.identical] == []
    rows = {table.table: table.stored.rows for table in found.tables}
    assert (rows["sessions"], rows["cdrs"], rows["reports"]) == (8, 8, 4)

    await owner.execute("DELETE FROM reports WHERE charger = 'CP1'")
    assert [table.table for table in (await rebuilt(settings)).tables if not table.identical] == ["reports"]


async def test_an_owner_who_may_not_make_a_database_is_told_what_lets_him(settings: Settings, bus: Client, owner: Any) -> None:
    await owner.execute("CREATE ROLE somebody LOGIN; GRANT pg_read_all_data TO somebody")
    dsn = settings.postgres.owner_dsn.replace("//cpms@", "//somebody@")
    with pytest.raises(OperatorError, match="ALTER ROLE somebody CREATEDB"):
        await rebuilt(replace(settings, postgres=replace(settings.postgres, owner_dsn=dsn)))


async def test_two_rebuilds_at_once_do_not_drop_each_others_database(settings: Settings, bus: Client, owner: Any) -> None:
    await owner.execute("SELECT pg_advisory_lock($1)", rebuilding.LOCK)
    with pytest.raises(OperatorError, match="under way"):
        await rebuilt(settings)


async def now_ms(owner: Any) -> int:
    return int(await owner.fetchval("SELECT extract(epoch FROM now()) * 1000")) - 7_200_000
