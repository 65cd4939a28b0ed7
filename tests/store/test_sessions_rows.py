"""Sessions, readings, parked messages, reports and live state as rows of a real Postgres."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.ids import LANES
from cpms_actors.base.settings import Postgres
from cpms_actors.base.time import to_datetime
from cpms_actors.domain import sequence
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.charging import Marks, Session, fold
from cpms_actors.domain.events import Booted, Event, IdToken, Sample, StatusChanged, TransactionEnded, TransactionStarted
from cpms_actors.store import chargers_live, meter_values, offsets, parked, reports, sessions, verdicts
from cpms_actors.store.chargers_live import ChargerLive, ConnectorLive
from cpms_actors.store.database import Connection, Database, open_database
from cpms_actors.store.offsets import Claim
from cpms_actors.store.parked import ParkedMessage
from cpms_actors.store.sessions import Stored

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_123
TENANT = "default"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres) as database:
        yield database


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A transaction that is rolled back, so that tests share one database."""
    async with database.transaction([TENANT]) as connection:
        savepoint = connection.transaction()
        await savepoint.start()
        yield connection
        await savepoint.rollback()


def session(*bodies: Any) -> Session:
    state: Session | None = None
    for body in bodies:
        state = fold(state, Event(3, 1, 1, TENANT, "CP1", 1, "m", T0, body)).session
    assert state is not None
    return state


FULL = session(
    TransactionStarted("7", 1, 1, T0, IdToken("TAG", "eMAID"), 100, 0, True, None, "Charging", 5, 6, "Accepted"),
    TransactionEnded("7", T0 + 999, 300, "Local", IdToken("STOP"), 3),
)
BARE = Session(tenant=TENANT, charger="CP1", transaction="bare", started_at=T0, marks=Marks(T0))


@pytest.mark.parametrize("original", [FULL, BARE, session(TransactionStarted("9", 1, 1, T0, None, 0))], ids=["full", "bare", "1.6"])
async def test_a_session_comes_back_as_it_was_written(connection: Connection, original: Session) -> None:
    (session_id,) = await sessions.draw_ids(connection, 1)
    await sessions.save(connection, [Stored(session_id, original)])
    assert await sessions.find(connection, session_id) == original
    changed = replace(original, version=9, energy_wh=5, seqs=(0, 3, 7, 7), status="Ended", ended_at=T0 + 5)
    await sessions.save(connection, [Stored(session_id, changed)])
    assert await sessions.find(connection, session_id) == changed


async def test_writing_a_session_again_keeps_what_the_tariff_pool_noted(connection: Connection) -> None:
    await sessions.save(connection, [Stored(900_001, FULL)])
    await connection.execute("UPDATE sessions SET rated_version = version WHERE id = 900001")
    await sessions.save(connection, [Stored(900_001, replace(FULL, version=2))])
    row = await connection.fetchrow("SELECT version, rated_version, gaps, flags FROM sessions WHERE id = 900001")
    assert row is not None
    assert tuple(row.values()) == (2, 1, 1, "offline gaps")


async def test_a_session_is_found_by_every_id_and_by_its_start_as_one_object(connection: Connection) -> None:
    original = session(TransactionStarted("1000", 1, 1, T0, IdToken("A"), 10))
    await sessions.save(connection, [Stored(900_002, original)])
    known = {(TENANT, "CP1", name): 900_002 for name in ("1000", "2000")}
    await sessions.save_transactions(connection, known)
    start = (TENANT, "CP1", original.start_key or "")
    found = await sessions.load(connection, [*known, (TENANT, "CP2", "1000")], [start, (TENANT, "CP1", "other")])
    assert set(found.by_transaction) == set(known)
    assert set(found.by_start) == {start}
    assert len({id(stored) for stored in (*found.by_transaction.values(), *found.by_start.values())}) == 1
    assert (await sessions.load(connection, [], [])).by_transaction == {}


async def test_the_group_of_the_token_is_noted_when_the_session_is_written(connection: Connection) -> None:
    await connection.execute("INSERT INTO tokens (tenant_id, id, group_id) VALUES ($1, 'tag', 'FLEET')", TENANT)
    await sessions.save(connection, [Stored(900_003, FULL), Stored(900_004, BARE)])
    rows = await connection.fetch("SELECT token_group FROM sessions WHERE id IN (900003, 900004) ORDER BY id")
    assert [row["token_group"] for row in rows] == ["FLEET", None]


@given(st.sets(st.integers(0, 50)))
def test_ranges_and_multiranges_are_the_same(numbers: set[int]) -> None:
    ranges: sequence.Ranges = ()
    for number in numbers:
        ranges = sequence.add(ranges, number)
    assert sessions._ranges(sessions._multirange(ranges)) == ranges


async def test_leased_transaction_ids_never_overlap_and_wrap_below_the_spare_ones(fresh_postgres: Callable[[], Postgres]) -> None:
    fresh = fresh_postgres()
    async with open_database(fresh) as database:
        blocks: list[tuple[int, int]] = []

        async def lease(count: int) -> None:
            async with database.transaction(()) as connection:
                blocks.append(await sessions.lease_transaction_ids(connection, count, 1000))

        async with anyio.create_task_group() as group:
            for count in (1, 3, 2, 1, 4):
                group.start_soon(lease, count)
        blocks.sort()
        assert [first for first, _ in blocks] == [1, *(last + 1 for _, last in blocks[:-1])]
        assert sorted((last - first + 1) // 1000 for first, last in blocks) == [1, 1, 2, 3, 4]
    owner = await asyncpg.connect(fresh.owner_dsn)
    await owner.execute("SELECT setval('transaction_id_blocks', 1999997001)")
    first, last = await sessions.lease_transaction_ids(owner, 3, 1000)
    assert (first, last) == (1_999_998_001, 1_999_999_000)
    assert await sessions.lease_transaction_ids(owner, 1, 1000) == (2001, 3000)  # two blocks beyond the wrap are lost
    await owner.close()


async def test_readings_lie_in_the_partition_of_the_day_they_arrived(database: Database) -> None:
    now = await _now(database)
    sample = Sample(T0, 1.5, "Power.Active.Import", "Sample.Clock", "L1", "Outlet", "W", "signed")
    async with database.transaction([TENANT]) as connection:
        assert await meter_values.create_day(connection, now // meter_values.DAY_MS)
        assert await meter_values.create_day(connection, now // meter_values.DAY_MS)
        assert not await meter_values.create_day(connection, 0)
        await meter_values.save(connection, [(TENANT, "CP7", 1, 1, None, at, [sample]) for at in (now, 5)])
        rows = await connection.fetch(
            "SELECT tableoid::regclass::text AS place, taken_at, value, phase, signed FROM meter_values WHERE charger = 'CP7'"
            " ORDER BY received_at"
        )
        assert [row["place"] for row in rows] == ["meter_values_default", f"meter_values_{to_datetime(now):%Y%m%d}"]
        assert tuple(rows[1].values())[1:] == (to_datetime(T0), 1.5, "L1", "signed")


kinds = st.builds(
    Sample,
    st.integers(0, 2**42),
    st.floats(allow_nan=False),
    st.sampled_from(["Power.Active.Import", "Voltage", "SoC"]),
    st.just("Sample.Clock"),
    *[st.none() | st.sampled_from(["L1", "Outlet", "W", ""])] * 3,
    st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3),
)


@given(readings=st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 2), st.none() | st.integers(1, 3), st.lists(kinds))))
@example(readings=[("A", 1, n, [Sample(n, n, signed=f"{n}.{m}") for m in range(meter_values.KINDS_MOST - 1)]) for n in range(1, 5)])
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_reading_is_a_row_with_what_its_event_and_its_kind_say(
    connection: Connection, readings: list[tuple[str, int, int | None, list[Sample]]]
) -> None:
    savepoint = connection.transaction()
    await savepoint.start()
    await meter_values.save(
        connection, [(TENANT, charger, evse, 7, number, T0 + evse, samples) for charger, evse, number, samples in readings]
    )
    rows = await connection.fetch(
        "SELECT charger, evse, connector, session_id, received_at, taken_at, value, measurand, context, phase, location, unit, signed"
        " FROM meter_values WHERE connector = 7"
    )
    expected = Counter(
        (charger, evse, 7, number, to_datetime(T0 + evse), to_datetime(s.taken_at), *msgspec.structs.astuple(s)[1:])
        for charger, evse, number, samples in readings
        for s in samples
    )
    assert Counter(tuple(row.values()) for row in rows) == expected
    await savepoint.rollback()


async def test_telemetry_is_dropped_by_day_but_never_that_of_today(database: Database) -> None:
    day = await _now(database) // meter_values.DAY_MS
    async with database.transaction([TENANT]) as connection:
        assert await meter_values.create_day(connection, day - 5)
        await reports.save(connection, [(TENANT, "CP8", "LogStatusNotification", "{}", "m", 5)] * 3)
        await meter_values.save(connection, [(TENANT, "CP8", 1, 1, None, 5, [Sample(T0, 1.0)])])
    async with database.transaction(()) as connection:  # whose rows they are does not matter
        assert await meter_values.drop_before(connection, day - 4) == 1
        assert await meter_values.drop_before(connection, day - 4) == 0
        deleted = [await meter_values.delete_before(connection, day - 4, 2) for _ in range(3)]
        assert deleted[1:] == [1, 0]
        assert deleted[0] >= 3
    async with database.transaction([TENANT]) as connection:
        assert await reports.latest(connection, TENANT, "CP8", limit=5) == []
    for drop in (meter_values.drop_before, lambda connection, day: meter_values.delete_before(connection, day, 1)):
        with pytest.raises(asyncpg.InvalidParameterValueError):
            async with database.transaction([TENANT]) as connection:
                await drop(connection, day)


async def test_a_parked_message_goes_with_age_only_when_somebody_resolved_it(database: Database, connection: Connection) -> None:
    day = await _now(database) // meter_values.DAY_MS
    message = ParkedMessage(
        tenant=TENANT, charger="CP9", reason="r", detail="d", action=None, payload=b"", message_id="m", received_at=5
    )
    await meter_values.delete_before(connection, day - 4, 100)  # what other tests left
    await parked.save(connection, [message, message])
    first, second = await parked.open_page(connection, TENANT, limit=50)
    await parked.resolve(connection, TENANT, first.id, "billed by hand")
    assert await meter_values.delete_before(connection, day - 4, 100) == 0
    await connection.execute("UPDATE parked_messages SET resolved_at = $2 WHERE id = $1", first.id, to_datetime(T0))
    assert await meter_values.delete_before(connection, day - 4, 100) == 1
    assert [row["id"] for row in await connection.fetch("SELECT id FROM parked_messages")] == [second.id]


@pytest.mark.parametrize(
    ("table", "order", "index"),
    [
        ("sessions", "id DESC", "sessions_of_tenant"),
        ("cdrs", "created_at DESC, id DESC", "cdrs_by_time"),
        ("parked_messages", "id DESC", "parked_messages_of_tenant"),
    ],
)
async def test_a_list_is_read_newest_first_from_an_index_and_sorts_nothing(
    connection: Connection, table: str, order: str, index: str
) -> None:
    await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    rows = await connection.fetch(f"EXPLAIN SELECT * FROM {table} WHERE tenant_id = 'default' ORDER BY {order} LIMIT 50")
    plan = "\n".join(row[0] for row in rows)
    assert f"using {index} on" in plan
    assert "Sort" not in plan


async def test_a_parked_message_is_open_until_somebody_resolves_it(connection: Connection) -> None:
    one = ParkedMessage(
        tenant=TENANT, charger="C\0P", reason="r", detail="a\0b", action="Stop", payload=b"\0\xff", message_id="m", received_at=T0
    )
    await parked.save(connection, [one, one])
    first, second = await parked.open_page(connection, TENANT, limit=5)
    assert (first.detail, first.payload, first.charger, first.received_at) == ("a␀b", b"\0\xff", "C␀P", T0)
    assert await parked.open_page(connection, TENANT, limit=5, after=first.id) == [second]
    assert [await parked.resolve(connection, TENANT, first.id, "billed by hand") for _ in range(2)] == [True, False]
    assert await parked.open_page(connection, TENANT, limit=5) == [second]


async def test_reports_come_newest_first(connection: Connection) -> None:
    await reports.save(connection, [(TENANT, "CP6", action, f'{{"n": {n}}}', "m", T0 + n) for n, action in enumerate("ABA")])
    assert [report.payload for report in await reports.latest(connection, TENANT, "CP6", limit=2)] == ['{"n": 2}', '{"n": 1}']
    assert [report.received_at for report in await reports.latest(connection, TENANT, "CP6", limit=5, action="A")] == [T0 + 2, T0]


async def test_the_late_end_of_an_old_connection_does_not_touch_the_new_one(connection: Connection) -> None:
    await connection.execute("INSERT INTO chargers (tenant_id, identity) VALUES ($1, 'CP1')", TENANT)

    async def live(at: int, connection_epoch: int, connected: bool | None, boot: Booted | None = None) -> tuple[Any, ...]:
        entry = ChargerLive(TENANT, "CP1", at, connection_epoch, connected, "1.6", boot, at if boot else None, connected is True)
        await chargers_live.save_chargers(connection, [entry, replace(entry, charger="unknown")])
        row = await connection.fetchrow(
            "SELECT connected, connection, last_seen_at, vendor, serial FROM chargers WHERE identity = 'CP1'"
        )
        assert row is not None
        return tuple(row.values())

    assert await live(T0, 5, True, Booted("V", "M", "Accepted", "S1")) == (True, 5, to_datetime(T0), "V", "S1")
    assert await live(T0 + 9, 6, True) == (True, 6, to_datetime(T0 + 9), "V", "S1")
    assert await live(T0 + 5, 5, False) == (True, 6, to_datetime(T0 + 9), "V", "S1")
    assert await live(T0 + 10, -1, None, Booted("W", "M", "Accepted")) == (True, 6, to_datetime(T0 + 10), "W", None)
    assert await live(T0 + 11, 6, False) == (False, 6, to_datetime(T0 + 11), "W", None)
    assert await live(T0 + 12, 2, True) == (True, 2, to_datetime(T0 + 12), "W", None)  # a worker that took over counts anew


async def test_an_older_status_does_not_overwrite_a_newer_one(connection: Connection) -> None:
    async def shown(at: int, status: str) -> str:
        body = StatusChanged(1, 1, status, at, "NoError")
        await chargers_live.save_connectors(connection, [ConnectorLive(TENANT, "CP1", at, body)])
        word: str = await connection.fetchval("SELECT status FROM connectors WHERE charger = 'CP1'")
        return word

    assert [await shown(at, status) for at, status in ((T0, "Charging"), (T0 - 1, "Available"), (T0 + 1, "Finishing"))] == [
        "Charging",
        "Charging",
        "Finishing",
    ]


async def test_verdicts_come_in_the_order_of_the_questions(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO tokens (tenant_id, id, status, expires_at, group_id, parent_id) VALUES"
        " ($1, 'Good', 'Accepted', NULL, 'G', 'P'), ($1, 'Bad', 'Blocked', NULL, NULL, 'P'), ($1, 'Old', 'Accepted', $2, NULL, NULL),"
        " ($1, 'OldBad', 'Blocked', $2, NULL, NULL)",
        TENANT,
        to_datetime(T0),
    )
    asked = [(TENANT, name) for name in ("old", "nobody", "GOOD", "bad", "oldbad", "good")] + [("other", "good")]
    assert await verdicts.find_verdicts(connection, asked, T0) == [
        Verdict("Expired", T0),
        Verdict("Invalid"),
        Verdict("Accepted", None, "G"),
        Verdict("Blocked", None, "P"),
        Verdict("Blocked", T0),
        Verdict("Accepted", None, "G"),
        Verdict("Invalid"),
    ]
    assert await verdicts.find_verdicts(connection, [("default", "old")], T0 - 1) == [Verdict("Accepted", T0)]


async def test_owners_share_the_lanes_and_take_over_what_is_free(fresh_postgres: Callable[[], Postgres]) -> None:
    async with open_database(fresh_postgres()) as database:

        async def hold(owner: str) -> list[Claim]:
            async with database.transaction(()) as connection:
                held, share = await offsets.hold(connection, owner, 60)
                await offsets.release(connection, owner, held[share:])
                return held[:share]

        first = await hold("a")
        assert [claim.lane for claim in first] == list(range(LANES))
        assert await hold("a") == first  # renewing is no new claim
        assert await hold("b") == []
        kept = await hold("a")
        assert (len(kept), set(kept) <= set(first)) == (LANES // 2, True)
        taken = await hold("b")
        assert sorted(claim.lane for claim in (*kept, *taken)) == list(range(LANES))
        assert all(claim.epoch == 2 for claim in taken)
        async with database.transaction(()) as connection:
            await offsets.leave(connection, "b")
        assert len(await hold("a")) == LANES
        assert await hold("c") == []
        async with database.transaction(()) as connection:  # a dies, and its time passes
            await connection.execute("UPDATE lanes SET claimed_until = now()")
            await connection.execute("UPDATE pool_members SET seen_until = now() WHERE owner = 'a'")
        assert len(await hold("c")) == LANES


async def test_a_deployment_that_was_begun_with_more_lanes_is_refused_and_not_half_folded(
    fresh_postgres: Callable[[], Postgres],
) -> None:
    async with open_database(fresh_postgres()) as database:
        async with database.transaction(()) as connection:
            await connection.execute("INSERT INTO lanes (lane) SELECT generate_series(0, $1)", LANES)
        with pytest.raises(OperatorError, match=f"begun with {LANES + 1} lanes"):
            async with database.transaction(()) as connection:
                await offsets.hold(connection, "a", 60)


async def test_an_offset_is_moved_only_by_who_holds_the_lane(fresh_postgres: Callable[[], Postgres]) -> None:
    async with open_database(fresh_postgres()) as database, database.transaction(()) as connection:
        held, _ = await offsets.hold(connection, "a", 60)
        claim = held[0]
        begun, there = (offsets.Progress("s1", seq, {}, {}) for seq in (0, 42))
        assert await offsets.advance(connection, claim, begun, 42)
        assert not await offsets.advance(connection, Claim(claim.lane, claim.epoch - 1), there, 99)
        with pytest.raises(Unavailable, match="at page 42, which was left at 0"):
            await offsets.advance(connection, claim, begun, 99)
        await offsets.save_writers(connection, claim.lane, {"w1": 7})
        await offsets.save_writers(connection, claim.lane, {"w1": 8, "w2": 1})
        await offsets.save_slot_epochs(connection, {0: 5, 1: 6, 8: 9})
        await offsets.save_slot_epochs(connection, {0: 4})
        progress = await offsets.load_progress(connection, claim.lane)
        assert progress == offsets.Progress("s1", 42, {"w1": 8, "w2": 1}, {0: 5, 8: 9})
        await offsets.forget_stream(connection, claim)
        assert await offsets.load_progress(connection, claim.lane) == offsets.Progress("s1", 0, {"w1": 8, "w2": 1}, {})


async def _now(database: Database) -> int:
    async with database.transaction(()) as connection:
        now: int = await connection.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        return now
