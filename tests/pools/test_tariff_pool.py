"""The tariff pool on real servers: every ended session gets its CDR, once, whatever else happens."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, Protocol

import anyio
import msgspec
import nats
import pytest

from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.base.time import to_datetime
from cpms_actors.bus.client import subscribed
from cpms_actors.domain.cdr import Cdr
from cpms_actors.domain.tariff import Tariff, simple_tariff
from cpms_actors.pools import tariff as pool
from cpms_actors.pools.tariff import Counts, rate_batch
from cpms_actors.store import cdrs, tariffs
from cpms_actors.store.database import Connection, Database, open_database
from cpms_actors.store.tariffs import Assignment

pytestmark = pytest.mark.anyio
HOUR = 3_600_000
DAY_TARIFF = simple_tariff("day", "EUR", per_kwh=Decimal("0.50"), per_minute_parking=Decimal("0.10"), tax_percent=Decimal(19))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def own_postgres(fresh_postgres: Callable[[], Postgres]) -> Postgres:
    """The pool rates whatever it finds: a database for each test."""
    return fresh_postgres()


async def add_session(database: Database, **fields: Any) -> int:
    """A session of two hours that has ended and has no CDR: 10 kWh in the first hour, then parking; `fields` differ."""
    row: dict[str, Any] = {
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
    async with database.transaction([row["tenant_id"]]) as connection:
        session_id: int = await connection.fetchval(
            f"INSERT INTO sessions ({', '.join(row)}) VALUES ({places}) RETURNING id", *row.values()
        )
        await connection.execute(
            "INSERT INTO meter_values (tenant_id, charger, evse, connector, session_id, taken_at, received_at, value,"
            " measurand, context) VALUES ($1, 'CP1', 1, 1, $2, $3, $3, 10500, 'Energy.Active.Import.Register', 'Sample.Periodic')",
            row["tenant_id"],
            session_id,
            to_datetime(HOUR),
        )
    return session_id


async def assign(database: Database, tariff: Tariff, tenant: str = "default") -> None:
    async with database.transaction([tenant]) as connection:
        await tariffs.add_version(connection, tenant, tariff, valid_from=0)
        await tariffs.assign(connection, tenant, Assignment("tenant", tenant, tariff.id))


async def amend(database: Database, session_id: int, **fields: Any) -> None:
    """What the session pool does when a late fact comes."""
    changes = "".join(f", {name} = ${n + 2}" for n, name in enumerate(fields))
    async with database.transaction(["default"]) as connection:
        await connection.execute(f"UPDATE sessions SET version = version + 1{changes} WHERE id = $1", session_id, *fields.values())


async def records(database: Database, session_id: int) -> list[Cdr]:
    async with database.transaction(["default"]) as connection:
        return await cdrs.of_session(connection, "default", session_id)


async def test_an_ended_session_gets_its_cdr(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        await assign(database, DAY_TARIFF)
        session_id = await add_session(database)
        assert await rate_batch(database, clock=lambda: 3 * HOUR, new_id=lambda: "c1") == (Counts(cdrs=1), False)
        [cdr] = await records(database, session_id)
        # 10 kWh are 5.00, an hour of parking 6.00: 11.00, with 19 % 13.09
        assert (cdr.total_excl_minor, cdr.tax_minor, cdr.total_incl_minor) == (1100, 209, 1309)
        assert (cdr.id, cdr.created_at, cdr.energy_wh, cdr.charging_s, cdr.parking_s) == ("c1", 3 * HOUR, 10_000, 3600, 3600)
        assert (cdr.tariff_id, cdr.tariff_version, cdr.provisional, cdr.credits) == ("day", 1, False, None)
        assert await rate_batch(database) == (Counts(), False)


async def test_batch_after_batch_until_nothing_is_left(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        for _ in range(3):
            await add_session(database)
        assert await rate_batch(database, batch_max=2) == (Counts(cdrs=2, free=2), True)
        assert await rate_batch(database, batch_max=2) == (Counts(cdrs=1, free=1), False)


async def test_a_session_without_a_tariff_is_free_in_the_currency_of_its_tenant(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        async with database.transaction(["default"]) as connection:
            await connection.execute("UPDATE tenants SET currency = 'CHF' WHERE id = 'default'")
        session_id = await add_session(database)
        assert await rate_batch(database) == (Counts(cdrs=1, free=1), False)
        [cdr] = await records(database, session_id)
        assert (cdr.currency, cdr.total_incl_minor, cdr.tariff_id, cdr.energy_wh) == ("CHF", 0, None, 10_000)


async def test_every_tenant_is_rated_by_its_own_tariff(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        async with database.transaction(["other"]) as connection:
            await connection.execute("INSERT INTO tenants (id) VALUES ('other')")
        await assign(database, DAY_TARIFF)
        await assign(database, simple_tariff("day", "NOK", per_kwh=Decimal(4)), "other")
        await add_session(database)
        await add_session(database, tenant_id="other")
        await rate_batch(database)
        async with database.transaction(["default", "other"]) as connection:
            rows = await connection.fetch("SELECT tenant_id, currency, total_incl_minor FROM cdrs ORDER BY tenant_id")
        assert [tuple(row) for row in rows] == [("default", "EUR", 1309), ("other", "NOK", 4000)]


async def test_an_amended_session_gets_a_credit_and_a_new_cdr(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        await assign(database, DAY_TARIFF)
        session_id = await add_session(database)
        await rate_batch(database, clock=lambda: 3 * HOUR)
        await amend(database, session_id, energy_wh=12_000)
        assert await rate_batch(database, clock=lambda: 4 * HOUR) == (Counts(cdrs=2, credits=1), False)
        first, *rest = await records(database, session_id)
        [credit] = [cdr for cdr in rest if cdr.credits]
        [second] = [cdr for cdr in rest if not cdr.credits]
        assert (credit.credits, credit.total_incl_minor, credit.energy_wh) == (first.id, -1309, -10_000)
        # the last 2 kWh were not there after the first hour: all 120 minutes are charging
        assert (second.session_version, second.total_excl_minor, second.energy_wh) == (2, 600, 12_000)
        assert first.energy_wh + credit.energy_wh + second.energy_wh == 12_000
        assert await rate_batch(database) == (Counts(), False)


async def test_every_amendment_replaces_the_current_cdr_only(own_postgres: Postgres) -> None:
    """However often: the sums over a session's CDRs are its newest truth."""
    async with open_database(own_postgres) as database:
        await assign(database, DAY_TARIFF)
        session_id = await add_session(database)
        for energy_wh in (10_000, 20_000, 20_000, 7_000):
            await amend(database, session_id, energy_wh=energy_wh)
            await rate_batch(database)
            written = await records(database, session_id)
            current = [c for c in written if not c.credits and c.id not in {k.credits for k in written}]
            assert [c.energy_wh for c in current] == [energy_wh]
            assert sum(c.energy_wh for c in written) == energy_wh
            assert sum(c.total_incl_minor for c in written) == current[0].total_incl_minor
        assert len(written) == 5


async def test_an_amended_session_keeps_its_tariff(own_postgres: Postgres) -> None:
    """A dearer version that is valid from the beginning of time does not touch what a driver was promised."""
    async with open_database(own_postgres) as database:
        await assign(database, DAY_TARIFF)
        session_id = await add_session(database)
        await rate_batch(database)
        await assign(database, simple_tariff("day", "EUR", per_kwh=Decimal(9)))
        await amend(database, session_id)
        await rate_batch(database)
        assert {(c.tariff_version, abs(c.total_incl_minor)) for c in await records(database, session_id)} == {(1, 1309)}


async def test_a_session_that_was_free_stays_free_when_it_is_amended_after_a_tariff_came(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        session_id = await add_session(database)
        await rate_batch(database)
        await assign(database, DAY_TARIFF)
        await amend(database, session_id, energy_wh=12_000)
        await rate_batch(database)
        assert sorted((c.total_incl_minor, c.energy_wh) for c in await records(database, session_id)) == [
            (0, -10_000),
            (0, 10_000),
            (0, 12_000),
        ]


async def test_an_amendment_that_changes_nothing_leaves_the_cdr_as_it_is(own_postgres: Postgres) -> None:
    """A charger that repeats a reading for ever must not make a credit of every repetition."""
    async with open_database(own_postgres) as database:
        await assign(database, DAY_TARIFF)
        session_id = await add_session(database)
        await rate_batch(database)
        for _ in range(3):
            await amend(database, session_id)
            assert await rate_batch(database) == (Counts(), False)
        assert [(c.session_version, c.total_incl_minor) for c in await records(database, session_id)] == [(1, 1309)]
        await amend(database, session_id, energy_wh=12_000)
        assert await rate_batch(database) == (Counts(cdrs=2, credits=1), False)


async def test_a_session_with_missing_events_waits_and_is_then_priced_provisionally(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        session_id = await add_session(database, gaps=1)
        assert await rate_batch(database) == (Counts(), False)
        assert await rate_batch(database, gap_grace_s=0) == (Counts(cdrs=1, free=1), False)
        await amend(database, session_id, gaps=0)
        await rate_batch(database)
        assert sorted((c.session_version, c.provisional, c.credits is not None) for c in await records(database, session_id)) == [
            (1, True, False),
            (1, True, True),
            (2, False, False),
        ]


# --- what goes wrong


async def break_insert(connection: Connection, cdr: Cdr) -> None:
    """A bug that one session meets."""
    if cdr.charger == "POISON":
        raise KeyError("a bug")
    await _insert(connection, cdr)


_insert = cdrs.insert


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"charger": "POISON"}, "KeyError: 'a bug'"),
        ({"energy_wh": 2**62}, "value out of int64 range"),
        ({"energy_wh": -1}, "violates check constraint"),
    ],
)
async def test_a_poison_session_is_kept_apart_and_stops_no_other(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(cdrs, "insert", break_insert)
    async with open_database(own_postgres) as database:
        await assign(database, simple_tariff("dear", "EUR", per_kwh=Decimal(1_000_000)))
        sane = [await add_session(database), 0, await add_session(database)]
        sane[1] = await add_session(database, **fields, updated_at=to_datetime(0))
        assert await rate_batch(database) == (Counts(cdrs=2, failures=1), False)
        assert [len(await records(database, session_id)) for session_id in sane] == [1, 0, 1]
        async with database.transaction(["default"]) as connection:
            [stuck] = await cdrs.stuck(connection, "default", limit=10)
            assert stuck.session_id == sane[1]
            assert says in (stuck.error or "")
        assert await rate_batch(database) == (Counts(), False)


async def test_a_tariff_that_does_not_exist_keeps_a_session_waiting_until_it_does(own_postgres: Postgres) -> None:
    async with open_database(own_postgres) as database:
        async with database.transaction(["default"]) as connection:
            await connection.execute("UPDATE tenants SET default_tariff = 'day' WHERE id = 'default'")
        session_id = await add_session(database)
        assert await rate_batch(database) == (Counts(failures=1), False)
        async with database.transaction(["default"]) as connection:
            [stuck] = await cdrs.stuck(connection, "default", limit=10)
            assert (stuck.error or "").startswith("the tenant of charger CP1 is to be priced with tariff 'day', which does not exist")
            await tariffs.add_version(connection, "default", DAY_TARIFF, valid_from=0)
            await connection.execute("UPDATE session_rating_errors SET retry_at = now()")
        assert await rate_batch(database) == (Counts(cdrs=1), False)
        async with database.transaction(["default"]) as connection:
            assert await cdrs.stuck(connection, "default", limit=10) == []
        assert len(await records(database, session_id)) == 1


async def test_many_processes_write_each_cdr_once(own_postgres: Postgres) -> None:
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(own_postgres)) for _ in range(3)]
        ids = [await add_session(databases[0]) for _ in range(30)]

        async def rate(database: Database) -> None:
            while (await rate_batch(database, batch_max=4))[0].cdrs:
                pass

        async with anyio.create_task_group() as group:
            for database in databases:
                group.start_soon(rate, database)
        await rate_batch(databases[0])
        assert [len(await records(databases[0], session_id)) for session_id in ids] == [1] * 30


# --- the whole pool


def settings_of(postgres: Postgres, nats_url: str) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=postgres)


async def running(group: anyio.abc.TaskGroup, settings: Settings) -> None:
    """Start the pool, and return when it has started."""
    ready = anyio.Event()

    async def run() -> None:
        await pool.run(settings, started=ready.set)

    group.start_soon(run)
    await ready.wait()


async def test_the_doorbell_wakes_the_pool_and_it_rings_the_next(
    own_postgres: Postgres, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "POLL_S", 600.0)
    client = await nats.connect(nats_url)
    async with open_database(own_postgres) as database, anyio.create_task_group() as group:
        billing = await client.subscribe("cpms.doorbell.billing")
        await subscribed(client)
        await running(group, settings_of(own_postgres, nats_url))
        session_id = await add_session(database)
        with anyio.fail_after(10):
            await client.publish("cpms.doorbell.tariff", b"")
            await billing.next_msg(timeout=10)
            assert len(await records(database, session_id)) == 1
        group.cancel_scope.cancel()
    await client.close()


async def test_a_lost_doorbell_costs_a_poll(own_postgres: Postgres, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "POLL_S", 0.02)
    client = await nats.connect(nats_url)
    async with open_database(own_postgres) as database, anyio.create_task_group() as group:
        billing = await client.subscribe("cpms.doorbell.billing")
        await subscribed(client)
        await running(group, settings_of(own_postgres, nats_url))
        session_id = await add_session(database)
        with anyio.fail_after(10):
            await billing.next_msg(timeout=10)
            assert len(await records(database, session_id)) == 1
        group.cancel_scope.cancel()
    await client.close()


async def test_the_status_counts_what_waits_and_what_was_done(
    own_postgres: Postgres, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "POLL_S", 0.02)
    client = await nats.connect(nats_url)
    async with open_database(own_postgres) as database, anyio.create_task_group() as group:
        billing = await client.subscribe("cpms.doorbell.billing")
        await add_session(database)
        await add_session(database, gaps=1)
        await add_session(database, energy_wh=-1)
        await client.flush()
        await running(group, settings_of(own_postgres, nats_url))
        await billing.next_msg(timeout=10)
        status = msgspec.msgpack.decode((await client.request("cpms.tariff.status", b"", timeout=10)).data)
        assert status.pop("owner")
        assert status.pop("oldest_s") >= 0
        assert status == {
            "postgres": True,
            "waiting": 2,
            "gaps": 1,
            "errors": 1,
            "rated": 1,
            "credits": 0,
            "free": 1,
            "failures": 1,
            "outages": 0,
        }
        group.cancel_scope.cancel()
    await client.close()


class Restartable(Protocol):
    """A server of tests/conftest.py."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


async def test_the_pool_starts_without_postgres_and_rates_once_it_is_there(
    own_postgres: Postgres, postgres_server: Restartable, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "POLL_S", 0.02)
    client = await nats.connect(nats_url)
    postgres_server.stop()
    try:
        async with anyio.create_task_group() as group:
            billing = await client.subscribe("cpms.doorbell.billing")
            await subscribed(client)
            await running(group, settings_of(own_postgres, nats_url))
            with anyio.fail_after(10):
                outages = 0
                while not outages:
                    status = msgspec.msgpack.decode((await client.request("cpms.tariff.status", b"", timeout=10)).data)
                    assert (status["postgres"], status["waiting"]) == (False, None)
                    outages = status["outages"]
                postgres_server.start()
                async with open_database(own_postgres) as database:
                    await add_session(database)
                await billing.next_msg(timeout=10)
            group.cancel_scope.cancel()
    finally:
        postgres_server.stop()
        postgres_server.start()
        await client.close()
