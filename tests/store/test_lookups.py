"""What is looked up for every message is found in an index, also in a young database, of which the planner knows nothing."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from cpms_actors.base.settings import Postgres
from cpms_actors.base.time import to_datetime
from cpms_actors.store import chargers_live, sessions, silence, verdicts
from cpms_actors.store.chargers_live import ChargerLive
from cpms_actors.store.database import Connection, open_database
from tests.conftest import PostgresServer

pytestmark = pytest.mark.anyio
TENANT = "default"
ROWS = 3000
WANTED = [str(number) for number in range(1, ROWS, 60)]
KEYS = [[TENANT] * len(WANTED), ["CP1"] * len(WANTED)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["of which nothing is known", "that was analyzed"])
def database(request: pytest.FixtureRequest, postgres_server: PostgresServer, _template: str) -> Postgres:
    """One of which a tenant has ROWS rows in each table, all sessions of one charger: the worst that statistics can say of it."""
    settings = postgres_server.create(f"cpms_lookups_{request.param_index}", _template)

    async def fill() -> None:
        owner = await asyncpg.connect(settings.owner_dsn)
        for table in ("sessions", "session_transactions", "tokens", "chargers"):  # or it would be analyzed while it is tested
            await owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        async with open_database(settings) as opened, opened.transaction([TENANT]) as connection:
            await connection.execute(
                "INSERT INTO sessions (id, tenant_id, charger, transaction, start_key, status, started_at, marks)"
                " SELECT n, $1, 'CP1', n::text, 'start ' || n, 'Ended', now(), '{}' FROM generate_series(1, $2) AS n",
                TENANT,
                ROWS,
            )
            await connection.execute(
                "INSERT INTO session_transactions (tenant_id, charger, transaction, session_id)"
                " SELECT $1, 'CP1', n::text, n FROM generate_series(1, $2) AS n",
                TENANT,
                ROWS,
            )
            await connection.execute(
                "INSERT INTO tokens (tenant_id, id, group_id) SELECT $1, 'Token ' || n, 'Group ' || n FROM generate_series(1, $2) AS n",
                TENANT,
                ROWS,
            )
            await connection.execute(
                "INSERT INTO chargers (tenant_id, identity) SELECT $1, n::text FROM generate_series(1, $2) AS n", TENANT, ROWS
            )
        if request.param == "that was analyzed":
            await owner.execute("ANALYZE")
        await owner.close()

    asyncio.run(fill())
    return settings


@pytest.fixture
async def connection(database: Postgres) -> AsyncIterator[Connection]:
    """The role of the pools, in a transaction of which nothing is kept."""
    async with open_database(database) as opened:
        with contextlib.suppress(_NotKept):
            async with opened.transaction([TENANT]) as connection:
                yield connection
                raise _NotKept


class _NotKept(Exception): ...


QUESTIONS = {
    "sessions by transaction and by start": (sessions._LOAD, [*KEYS, WANTED, *KEYS, [f"start {number}" for number in WANTED]]),
    "verdicts on tokens": (verdicts._FIND, [[*range(len(WANTED))], KEYS[0], [f"TOKEN {number}" for number in WANTED]]),
    "the group of a token": (
        f"SELECT {sessions._TOKEN_GROUP.value} AS found FROM unnest($1::text[], $2::text[]) AS u (tenant_id, token_id)",
        [KEYS[0], [f"TOKEN {number}" for number in WANTED]],
    ),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_row_is_read_for_each_that_is_wanted_and_no_other(connection: Connection, question: str, mode: str) -> None:
    query, arguments = QUESTIONS[question]
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    rows = await connection.fetch(f"EXPLAIN (ANALYZE) {query}", *arguments)
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan, plan
    assert "Rows Removed" not in plan, plan
    assert "Hash" not in plan, plan
    found = await connection.fetch(query, *arguments)
    assert len(found) == len(WANTED) * query.count("unnest")
    assert "found" not in found[0] or found[0]["found"] == f"Group {WANTED[0]}"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_of_all_chargers_those_are_read_that_are_written(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    row = chargers_live._charger_row(ChargerLive(TENANT, WANTED[0], 1, connected=True))
    explained = await connection.fetch(f"EXPLAIN (ANALYZE) {chargers_live._SAVE_CHARGERS}", *row)
    plan = "\n".join(row[0] for row in explained)
    assert "Index Scan" in plan, plan
    assert "Rows Removed" not in plan, plan


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_silent_sessions_are_found_without_reading_those_that_have_ended(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    await connection.execute("UPDATE sessions SET status = 'Active', heard_at = 'epoch', evse = 1 WHERE id % 600 = 1")
    await connection.execute("UPDATE sessions SET charger = id::text WHERE id % 600 = 1")
    rows = await connection.fetch(f"EXPLAIN (ANALYZE) {silence._FIND}", to_datetime(10**9), 0, 500)
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan on sessions" not in plan, plan
    assert "sessions_pkey" not in plan, plan
    assert "Join Filter: ((c." not in plan, plan
    assert all(int(removed) <= 1 for removed in re.findall(r"Rows Removed by [A-Za-z ]+: (\d+)", plan)), plan
    assert [each.id for each in await silence.find(connection, 10**9, after=0, limit=500)] == [1, 601, 1201, 1801, 2401]
    assert [each.id for each in await silence.find(connection, 10**9, after=601, limit=1)] == [1201]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_sessions_to_ask_about_are_found_in_an_index_of_their_own(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    await connection.execute("UPDATE sessions SET heard_at = 'epoch', seqs = '{[0,2),[3,5)}', flags = 'lost' WHERE id % 3 = 1")
    await connection.execute("UPDATE sessions SET flags = 'offline gaps lost' WHERE id % 600 = 1")
    await connection.execute("UPDATE sessions SET transaction = 'another' WHERE id = 1201")
    rows = await connection.fetch(f"EXPLAIN (ANALYZE) {silence._FIND_GAPS}", to_datetime(10**8), 0, 500)
    plan = "\n".join(row[0] for row in rows)
    assert "sessions_to_ask" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert all(int(removed) <= 1 for removed in re.findall(r"Rows Removed by [A-Za-z ]+: (\d+)", plan)), plan
    found = await silence.find_gaps(connection, 10**8, after=0, limit=500)
    assert [(each.id, each.up_to) for each in found] == [(1, 4), (601, 4), (1801, 4), (2401, 4)]
    assert [each.id for each in await silence.find_gaps(connection, 10**8, after=601, limit=1)] == [1801]
    week = silence.GAPS_DAYS_MAX * 86_400_000
    assert len(await silence.find_gaps(connection, week - 1, after=0, limit=500)) == 4
    assert await silence.find_gaps(connection, week, after=0, limit=500) == []
