"""CDRs in a real Postgres: the claim of ended sessions, and rows that are never changed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from cpms_actors.base.settings import Postgres
from cpms_actors.base.time import to_datetime
from cpms_actors.domain.cdr import Cdr, EndedSession, credit_of, draw_up
from cpms_actors.domain.metering import MeteredSession, Reading
from cpms_actors.domain.tariff import simple_tariff
from cpms_actors.store import cdrs, tariffs
from cpms_actors.store.database import Connection, open_database

pytestmark = pytest.mark.anyio
HOUR = 3_600_000
TARIFF = simple_tariff("day", "EUR", per_kwh=Decimal("0.50"), tax_percent=Decimal(19))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def own_postgres(fresh_postgres: Callable[[], Postgres]) -> Postgres:
    return fresh_postgres()


@asynccontextmanager
async def undone(postgres: Postgres, *tenants: str) -> AsyncIterator[Connection]:
    """A transaction that is rolled back, so that tests share one database."""
    async with open_database(postgres) as database, database.transaction(tenants or ("default",)) as connection:
        savepoint = connection.transaction()
        await savepoint.start()
        try:
            yield connection
        finally:
            await savepoint.rollback()


async def add_session(connection: Connection, **fields: Any) -> int:
    """A session of two hours and 10 kWh that has ended and has no CDR; `fields` differ."""
    row = {
        "tenant_id": "default",
        "charger": "CP1",
        "transaction": "1",
        "token_id": "TAG",
        "status": "Ended",
        "started_at": to_datetime(0),
        "ended_at": to_datetime(2 * HOUR),
        "meter_start_wh": 500,
        "energy_wh": 10_000,
        "version": 1,
        "marks": "[]",
    } | fields
    places = ", ".join(f"${n + 1}" for n in range(len(row)))
    sql = f"INSERT INTO sessions ({', '.join(row)}) VALUES ({places}) RETURNING id"
    session_id: int = await connection.fetchval(sql, *row.values())
    return session_id


async def add_reading(connection: Connection, session_id: int, at: int, wh: float, **fields: Any) -> None:
    row = {
        "tenant_id": "default",
        "charger": "CP1",
        "evse": 1,
        "connector": 1,
        "session_id": session_id,
        "taken_at": to_datetime(at),
        "received_at": to_datetime(at),
        "value": wh,
        "measurand": "Energy.Active.Import.Register",
        "context": "Sample.Periodic",
    } | fields
    places = ", ".join(f"${n + 1}" for n in range(len(row)))
    await connection.execute(f"INSERT INTO meter_values ({', '.join(row)}) VALUES ({places})", *row.values())


async def claimed(connection: Connection) -> list[int]:
    return [c.session.id for c in await cdrs.claim(connection, limit=10, gap_grace_s=60)]


def drawn(session_id: int, cdr_id: str = "c1", version: int = 1) -> Cdr:
    metered = MeteredSession(0, 2 * HOUR, 500, 10_000, [Reading(HOUR, 10_500)])
    return draw_up(
        EndedSession("default", session_id, version, "CP1", "TAG", metered), TARIFF, cdr_id=cdr_id, currency="EUR", now=3 * HOUR
    )


async def stored(connection: Connection, *written: Cdr) -> None:
    if await tariffs.find(connection, "default", "day") is None:
        await tariffs.add_version(connection, "default", TARIFF, valid_from=0)
    for cdr in written:
        await cdrs.insert(connection, cdr)


# --- the claim

OLD = to_datetime(0)


@pytest.mark.parametrize(
    ("fields", "is_claimed"),
    [
        ({}, True),
        ({"version": 2, "rated_version": 1}, True),
        ({"version": 2, "rated_version": 2}, False),
        ({"status": "Active", "version": 0, "ended_at": None}, False),
        ({"gaps": 1}, False),
        ({"gaps": 1, "updated_at": OLD}, True),
    ],
    ids=["ended", "amended", "rated", "active", "missing events", "missing events for long"],
)
async def test_what_is_claimed(postgres: Postgres, fields: dict[str, Any], is_claimed: bool) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection, **fields)
        assert await claimed(connection) == ([session_id] if is_claimed else [])


async def test_a_claim_holds_what_pricing_needs(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        await connection.execute("UPDATE tenants SET currency = 'CHF' WHERE id = 'default'")
        session_id = await add_session(connection, version=3, rated_version=1, gaps=2, updated_at=OLD)
        await add_reading(connection, session_id, HOUR, 10_500)
        await add_reading(connection, session_id, HOUR // 2, 6_000)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        metered = MeteredSession(0, 2 * HOUR, 500, 10_000, [Reading(HOUR // 2, 6_000), Reading(HOUR, 10_500)])
        assert claim.session == EndedSession("default", session_id, 3, "CP1", "TAG", metered)
        assert (claim.provisional, claim.rated, claim.failed, claim.currency) == (True, True, False, "CHF")


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"location": "Outlet"}, True),
        ({"location": "Cable"}, True),
        ({"location": "Inlet"}, False),
        ({"location": "EV"}, False),
        ({"phase": "L1"}, False),
        ({"measurand": "Power.Active.Import"}, False),
        ({"value": float("nan")}, False),
        ({"value": float("inf")}, False),
        ({"value": -5.0}, False),
        ({"taken_at": to_datetime(-1)}, False),
        ({"taken_at": to_datetime(2 * HOUR + 1)}, False),
    ],
)
async def test_which_readings_tell_when_energy_flowed(postgres: Postgres, fields: dict[str, Any], counts: bool) -> None:
    """The registers that bound the session's energy (domain/registers.py), within the session."""
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        await add_reading(connection, session_id, HOUR, 6_000, **fields)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        assert len(claim.session.metered.readings) == counts


async def test_a_session_sampled_too_often_is_thinned(postgres: Postgres) -> None:
    """The last reading of each 5,000th part of the session's time."""
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        await connection.execute(
            "INSERT INTO meter_values (tenant_id, charger, evse, connector, session_id, taken_at, received_at, value,"
            " measurand, context) SELECT 'default', 'CP1', 1, 1, $1, timestamptz 'epoch' + n * interval '500 ms', now(), 500 + n,"
            " 'Energy.Active.Import.Register', 'Sample.Periodic' FROM generate_series(0, 14400) n",
            session_id,
        )
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        readings = claim.session.metered.readings
        assert len(readings) == cdrs.READINGS_MAX + 1
        assert (readings[0], readings[-1]) == (Reading(1_000, 502), Reading(2 * HOUR, 14_900))
        assert list(readings) == sorted(readings)


async def test_those_waiting_longest_come_first_and_no_more_than_asked_for(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        ids = [await add_session(connection, updated_at=to_datetime(at)) for at in (3, 1, 2)]
        first = await cdrs.claim(connection, limit=2, gap_grace_s=60)
        assert [c.session.id for c in first] == [ids[1], ids[2]]


async def test_a_session_is_claimed_by_one_transaction_only(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        async with database.transaction(["default"]) as connection:
            ids = [await add_session(connection) for _ in range(2)]
        async with database.transaction(["default"]) as one, database.transaction(["default"]) as other:
            [first] = await cdrs.claim(one, limit=1, gap_grace_s=60)
            [second] = await cdrs.claim(other, limit=2, gap_grace_s=60)
            assert {first.session.id, second.session.id} == set(ids)


async def test_a_rated_session_is_not_claimed_until_it_is_amended(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        await cdrs.mark_rated(connection, claim)
        assert await claimed(connection) == []
        await connection.execute("UPDATE sessions SET version = 2 WHERE id = $1", session_id)
        assert await claimed(connection) == [session_id]


async def test_a_failed_session_comes_back_later_and_ever_more_rarely(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        waits = []
        for n in range(12):
            await cdrs.mark_failed(connection, claim.session, f"error {n}\0")
            assert await claimed(connection) == []
            waits.append(await connection.fetchval("SELECT extract(epoch FROM retry_at - failed_at)::int FROM session_rating_errors"))
        assert waits[:4] == [15, 30, 60, 120]
        assert waits[-1] == 3600
        [stuck] = await cdrs.stuck(connection, "default", limit=10)
        assert (stuck.session_id, stuck.error, stuck.attempts) == (session_id, "error 11\ufffd", 12)
        await connection.execute("UPDATE session_rating_errors SET retry_at = now()")
        assert await claimed(connection) == [session_id]


async def test_a_failed_session_is_tried_at_once_when_it_is_amended(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        await cdrs.mark_failed(connection, claim.session, "no")
        await connection.execute("UPDATE sessions SET version = 2 WHERE id = $1", session_id)
        [claim] = await cdrs.claim(connection, limit=10, gap_grace_s=60)
        await cdrs.mark_rated(connection, claim)
        assert await connection.fetchval("SELECT count(*) FROM session_rating_errors") == 0


async def test_the_backlog_tells_what_waits_and_why(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        assert await cdrs.backlog(connection) == cdrs.Backlog(0, 0, 0, 0)
        await add_session(connection, updated_at=to_datetime(0))
        gaps = await add_session(connection, gaps=1)
        failed = await add_session(connection)
        await add_session(connection, status="Active", version=0)
        await cdrs.mark_failed(connection, EndedSession("default", failed, 1, "CP1", None, MeteredSession(0, 0)), "no tariff")
        backlog = await cdrs.backlog(connection)
        assert (backlog.waiting, backlog.gaps, backlog.errors) == (3, 1, 1)
        assert backlog.oldest_s > 1_000_000
        stuck = await cdrs.stuck(connection, "default", limit=2)
        assert [(s.session_id, s.error) for s in stuck] == [(failed, "no tariff"), (stuck[1].session_id, None)]
        assert stuck[1].session_id != gaps


# --- the records


async def test_a_cdr_comes_back_as_it_was(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        cdr = drawn(await add_session(connection))
        credit = credit_of(cdr, cdr_id="c2", now=4 * HOUR)
        await stored(connection, cdr, credit)
        assert await cdrs.find(connection, "default", "c1") == cdr
        assert await cdrs.find(connection, "default", "c2") == credit
        assert await cdrs.find(connection, "default", "c3") is None
        assert cdr.total_incl_minor == 595
        assert len(cdr.detail.periods) == 2


async def test_the_current_cdr_is_the_one_no_credit_took_back(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        assert await cdrs.current(connection, "default", session_id) is None
        first, second = drawn(session_id, "a"), drawn(session_id, "c", version=2)
        await stored(connection, first)
        assert await cdrs.current(connection, "default", session_id) == first
        credit = credit_of(first, cdr_id="b", now=3 * HOUR)
        await stored(connection, credit)
        assert await cdrs.current(connection, "default", session_id) is None
        await stored(connection, second)
        assert await cdrs.current(connection, "default", session_id) == second
        assert await cdrs.of_session(connection, "default", session_id) == [credit, first, second]


async def test_one_cdr_per_version_and_one_credit_per_cdr(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        session_id = await add_session(connection)
        first = drawn(session_id, "a")
        await stored(connection, first, credit_of(first, cdr_id="b", now=0))
        for again in (drawn(session_id, "c"), credit_of(first, cdr_id="d", now=0)):
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():
                    await cdrs.insert(connection, again)


@pytest.mark.parametrize("change", ["UPDATE cdrs SET total_excl_minor = 0", "DELETE FROM cdrs"])
async def test_a_cdr_is_never_changed(postgres: Postgres, change: str) -> None:
    """Not by the pools, which lack the right, and not by the owner of the tables."""
    async with undone(postgres) as connection:
        await stored(connection, drawn(await add_session(connection)))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(change)
    owner = await asyncpg.connect(postgres.owner_dsn)
    try:
        await owner.execute("BEGIN")  # and no COMMIT
        await stored(owner, drawn(await add_session(owner)))
        with pytest.raises(asyncpg.RestrictViolationError, match="never changed"):
            await owner.execute(change)
    finally:
        await owner.close()


async def test_a_page_goes_from_new_to_old(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        ids = [await add_session(connection) for _ in range(3)]
        await stored(connection, *(drawn(session_id, f"c{n}") for n, session_id in enumerate(ids)))
        first = await cdrs.page(connection, "default", limit=2)
        assert [c.id for c in first] == ["c2", "c1"]
        rest = await cdrs.page(connection, "default", limit=2, before=(first[-1].created_at, first[-1].id))
        assert [c.id for c in rest] == ["c0"]
        assert [c.id for c in await cdrs.page(connection, "default", limit=9, session_id=ids[1])] == ["c1"]
        assert len(await cdrs.page(connection, "default", limit=9, charger="CP1", token="tag")) == 3
        assert await cdrs.page(connection, "default", limit=9, charger="CP2") == []
        assert await cdrs.page(connection, "default", limit=9, token="other") == []


async def test_a_tenant_sees_and_rates_nothing_of_another(postgres: Postgres) -> None:
    async with undone(postgres, "default", "other") as connection:
        await connection.execute("INSERT INTO tenants (id) VALUES ('other')")
        session_id = await add_session(connection, tenant_id="other")
        await stored(connection, drawn(await add_session(connection)))
        await connection.execute("SELECT set_config('cpms.tenants', 'other', true)")
        assert await cdrs.find(connection, "default", "c1") is None
        assert await claimed(connection) == [session_id]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await cdrs.insert(connection, drawn(session_id, "c9"))
