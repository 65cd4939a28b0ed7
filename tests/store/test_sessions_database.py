"""Transactions of the pools: bound to tenants, repeated after a conflict, and honest about an outage."""

import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import asyncpg
import pytest

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Postgres
from cpms_actors.store import parked
from cpms_actors.store.database import ATTEMPTS_MAX, PEER_S, Connection, Database, open_database
from cpms_actors.store.parked import ParkedMessage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres) as database:
        yield database


def message(tenant: str, charger: str = "CP1") -> ParkedMessage:
    return ParkedMessage(
        tenant=tenant, charger=charger, reason="test", detail="d", action=None, payload=b"", message_id="m", received_at=0
    )


async def count(database: Database, *tenants: str) -> int:
    async with database.transaction(tenants) as connection:
        total: int = await connection.fetchval("SELECT count(*) FROM parked_messages")
        return total


async def test_a_transaction_sees_and_writes_the_rows_of_its_tenants_only(database: Database) -> None:
    async with database.transaction(["acme", "default"]) as connection:
        await parked.save(connection, [message("acme"), message("default")])
    assert [await count(database, *names) for names in (["acme"], ["acme", "default"], ["other"], [])] == [1, 2, 0, 0]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(["acme"]) as connection:
            await parked.save(connection, [message("default")])


async def test_the_tenants_end_with_the_transaction(postgres: Postgres) -> None:
    """One connection serves both: the second must not inherit what the first might see."""
    async with open_database(Postgres(postgres.dsn, postgres.owner_dsn, connections_max=1)) as single:
        async with single.transaction(["default"]) as connection:
            await parked.save(connection, [message("default", "CP9")])
        assert await count(single) == 0


async def test_a_transaction_ends_with_its_commit_and_no_round_trip_more(database: Database, postgres: Postgres) -> None:
    async with database.transaction([]) as connection:
        process = await connection.fetchval("SELECT pg_backend_pid()")
    watching = await asyncpg.connect(postgres.dsn)
    try:
        last = await watching.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", process)
    finally:
        await watching.close()
    assert last == "COMMIT;"


async def test_a_transaction_is_flushed_unless_it_need_not_be(fresh_postgres: Callable[[], Postgres]) -> None:
    settings = fresh_postgres()
    owner = await asyncpg.connect(settings.owner_dsn)
    try:  # as a server is that nobody has set up for tests
        await owner.execute(f'ALTER DATABASE "{settings.owner_dsn.rpartition("/")[2]}" SET synchronous_commit = on')
    finally:
        await owner.close()
    async with open_database(settings) as database:
        told = []
        for flushed in (False, True):
            async with database.transaction([], flushed=flushed) as connection:
                told.append(await connection.fetchval("SHOW synchronous_commit"))
    assert told == ["off", "on"]


async def test_what_was_not_flushed_is_with_the_next_flush_even_where_the_server_flushes_nothing(database: Database) -> None:
    async with database.transaction(["default"], flushed=False) as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
        await parked.save(connection, [message("default", "CP7")])
    async with database.transaction([]) as connection:
        written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    await database.flush()
    async with database.transaction([]) as connection:
        assert await connection.fetchval("SELECT pg_current_wal_flush_lsn() >= $1", written)


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    async def failing() -> None:
        async with database.transaction(["gone"]) as connection:
            await parked.save(connection, [message("gone")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await count(database, "gone") == 0


async def test_the_app_role_reads_no_partition_around_its_parent_and_makes_no_tables(database: Database) -> None:
    for sql in ("SELECT * FROM meter_values_default", "CREATE TABLE mine (id int)", "DELETE FROM sessions"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.transaction(["default"]) as connection:
                await connection.execute(sql)


async def test_work_in_a_deadlock_is_repeated_until_both_are_done(database: Database) -> None:
    """Two transactions lock the same rows in opposite order: one is the victim, and is done again."""
    async with database.transaction(()) as connection:
        await connection.execute("INSERT INTO slot_epochs VALUES (1000, 0), (1001, 0)")
    both = [anyio.Event(), anyio.Event()]

    async def cross(mine: int) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute("UPDATE slot_epochs SET epoch = epoch + 1 WHERE slot = $1", 1000 + mine)
            both[mine].set()
            await both[1 - mine].wait()
            await connection.execute("UPDATE slot_epochs SET epoch = epoch + 1 WHERE slot = $1", 1001 - mine)

        await database.run((), work)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(cross, 0)
            group.start_soon(cross, 1)
    assert database.conflicts == 1
    async with database.transaction(()) as connection:
        assert [r["epoch"] for r in await connection.fetch("SELECT epoch FROM slot_epochs WHERE slot >= 1000")] == [2, 2]


async def test_work_that_never_finds_its_way_is_given_up_as_unavailable(database: Database) -> None:
    tries = 0

    async def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        raise asyncpg.SerializationError("planted")

    with pytest.raises(Unavailable):
        await database.run((), work)
    assert (tries, database.conflicts) == (ATTEMPTS_MAX, ATTEMPTS_MAX)


async def test_a_process_starts_without_postgres_and_says_unavailable() -> None:
    async with open_database(Postgres("postgresql://cpms_app@127.0.0.1:1/cpms")) as database:
        with pytest.raises(Unavailable):
            await count(database)
        assert database.outages == 1


async def test_a_mistake_of_ours_is_no_outage(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with database.transaction(()) as connection:
            await connection.execute("SELECT * FROM no_such_table")
    with pytest.raises(asyncpg.InterfaceError):
        async with database.transaction(()) as connection:
            await connection.execute("SELECT $1::int", 1, 2)
    assert database.outages == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_the_pool_finds_postgres_again_after_it_was_away(postgres_server: Any, postgres: Postgres, how: signal.Signals) -> None:
    async def lose_it(database: Database) -> None:
        async with database.transaction(()) as connection:
            postgres_server.stop(how)
            await connection.execute("SELECT 1")

    async with open_database(postgres) as database:
        assert await count(database) == 0
        try:
            with pytest.raises(Unavailable):
                await lose_it(database)
            with pytest.raises(Unavailable):
                await count(database)
        finally:
            postgres_server.start()
        with anyio.fail_after(20):
            assert await count(database) == 0


async def test_a_connection_notices_within_seconds_that_its_peer_is_gone_without_a_word(database: Database) -> None:
    """A statement may take longer than that, on a server that is slow: its machine still acknowledges."""
    async with database.transaction(()) as connection:
        peer = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
        idle, every, probes, unsent_ms = (
            peer.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        )
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert idle + every * probes <= PEER_S
    assert unsent_ms == PEER_S * 1000


async def test_a_connection_that_dies_while_the_driver_waits_to_undo_its_transaction_is_an_outage(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool has taken it back by then, and lets nobody touch it."""

    async def give_up(*_: object) -> None:
        raise TimeoutError

    async def dies(connection: Connection) -> None:
        connection.terminate()
        await anyio.sleep(0.05)

    monkeypatch.setattr("asyncpg.transaction.Transaction.__aexit__", give_up)
    with pytest.raises(Unavailable):
        await database.run((), dies)
    assert database.outages == 1
