"""The tables of the registry under the role that the pools have: who sees which rows, and what the database itself refuses."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from cpms_actors.base.settings import Postgres
from cpms_actors.base.time import EPOCH
from cpms_actors.store import chargers, sites, tenants, tokens
from cpms_actors.store.chargers import Charger
from cpms_actors.store.database import Database, open_database
from cpms_actors.store.sites import Site
from cpms_actors.store.tenants import Tenant
from cpms_actors.store.tokens import Token

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres) as database:
        for name in ("a", "b"):
            async with database.transaction((name,)) as connection:
                await tenants.add(connection, Tenant(id=name))
                await sites.add(connection, Site(tenant_id=name, id="depot"))
                await chargers.add(connection, Charger(tenant_id=name, identity="CP", site_id="depot", note=name))
                await tokens.add(connection, Token(tenant_id=name, id="Card", note=name))
        yield database


@pytest.mark.parametrize("table", ["sites", "chargers", "tokens", "connectors"])
@pytest.mark.parametrize(
    ("named", "seen"),
    [((), set()), (("a",), {"a"}), (("b",), {"b"}), (("a", "b"), {"a", "b"}), (("a,b",), {"a", "b"}), (("ab", "a "), set())],
)
async def test_a_transaction_sees_the_rows_of_the_tenants_it_names_and_no_others(
    database: Database, postgres: Postgres, table: str, named: tuple[str, ...], seen: set[str]
) -> None:
    owner = await asyncpg.connect(postgres.owner_dsn)
    await owner.execute(
        "INSERT INTO connectors (tenant_id, charger, evse, connector, status, status_at) SELECT tenant_id, identity, 1, 1, 'Available',"
        " now() FROM chargers ON CONFLICT DO NOTHING"
    )
    await owner.close()
    async with database.transaction(named) as connection:
        rows = await connection.fetch(f"SELECT tenant_id FROM {table}")
    assert {row["tenant_id"] for row in rows} == seen


async def test_without_the_setting_the_role_sees_nothing_but_which_tenants_exist(database: Database, postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    assert await connection.fetchval("SELECT count(*) FROM chargers") == 0
    assert await connection.fetchval("SELECT count(*) FROM tenants WHERE id IN ('a', 'b', 'default')") == 3
    await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO chargers (tenant_id, identity) VALUES ('b', 'intruder')",
        "INSERT INTO tokens (tenant_id, id) VALUES ('b', 'intruder')",
        "INSERT INTO sites (tenant_id, id) VALUES ('b', 'intruder')",
        "INSERT INTO tenants (id) VALUES ('c')",
        "UPDATE chargers SET tenant_id = 'b', identity = 'moved', site_id = NULL WHERE tenant_id = 'a'",
        "DELETE FROM tenants WHERE id = 'a'",
        "ALTER TABLE chargers DISABLE ROW LEVEL SECURITY",
        "TRUNCATE tokens",
    ],
)
async def test_a_tenant_cannot_write_into_another_nor_switch_its_walls_off(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(("a",)) as connection:
            await connection.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE tokens SET status = 'Blocked'", "DELETE FROM tokens", "UPDATE tenants SET name = 'x'"])
async def test_a_statement_without_a_condition_touches_the_named_tenant_only(
    database: Database, postgres: Postgres, statement: str
) -> None:
    owner = await asyncpg.connect(postgres.owner_dsn)
    before = await owner.fetchval("SELECT array_agg(t ORDER BY t.tenant_id) FROM tokens t WHERE tenant_id <> 'a'")
    names = await owner.fetchval("SELECT array_agg(name ORDER BY id) FROM tenants WHERE id <> 'a'")
    async with database.transaction(("a",)) as connection:
        await connection.execute(statement)
    assert await owner.fetchval("SELECT array_agg(t ORDER BY t.tenant_id) FROM tokens t WHERE tenant_id <> 'a'") == before
    assert await owner.fetchval("SELECT array_agg(name ORDER BY id) FROM tenants WHERE id <> 'a'") == names
    await owner.close()


async def test_what_was_saved_is_what_is_found(database: Database) -> None:
    async with database.transaction(("a",)) as connection:
        row = await chargers.add(
            connection, Charger(tenant_id="a", identity="NEW", security_profile=2, credential=b"x" * 32, boot="Pending")
        )
        assert row is not None
        assert row.created_at > 0
        assert await chargers.add(connection, Charger(tenant_id="a", identity="NEW")) is None, "taken"
        assert await chargers.find(connection, "a", "NEW") == row
        assert [record.identity for record in await chargers.records(connection, "a", limit=9, after="CP")] == ["NEW"]
        token = await tokens.add(connection, Token(tenant_id="a", id="MixedCase", expires_at=1_900_000_000_123))
        assert await tokens.find(connection, "a", "mIXEDcASE") == token
        assert await tokens.add(connection, Token(tenant_id="a", id="CARD")) is None, "taken, in another case"
        await connection.execute("DELETE FROM chargers WHERE identity = 'NEW'; DELETE FROM tokens WHERE id <> 'Card'")


async def test_an_operator_s_save_leaves_what_the_charger_reported_alone(database: Database) -> None:
    async with database.transaction(("a",)) as connection:
        before = await chargers.locked(connection, "a", "CP")
        assert before is not None
        await connection.execute(
            "UPDATE chargers SET vendor = 'Acme', connected = true, last_seen_at = $1 WHERE identity = 'CP'", EPOCH
        )
        await chargers.save(connection, before)
        after = await chargers.find(connection, "a", "CP")
    assert after is not None
    assert (after.vendor, after.connected, after.last_seen_at) == ("Acme", True, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tenants (id) VALUES ('Not A Tenant')",
        "UPDATE tenants SET heartbeat_s = 1 WHERE id = 'a'",
        "UPDATE tenants SET strictness = 'loose' WHERE id = 'a'",
        "UPDATE tenants SET failed_start_s = 1 WHERE id = 'a'",
        "UPDATE tenants SET endless_s = -1 WHERE id = 'a'",
        "UPDATE chargers SET security_profile = 4 WHERE identity = 'CP'",
        "UPDATE chargers SET credential = 'plain text' WHERE identity = 'CP'",
        "UPDATE chargers SET boot = 'Maybe' WHERE identity = 'CP'",
    ],
)
async def test_the_database_refuses_what_no_verb_would_let_through(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.transaction(("a", "Not A Tenant")) as connection:
            await connection.execute(statement)


async def test_a_site_that_does_not_exist_or_is_another_tenant_s_cannot_be_named(database: Database) -> None:
    async with database.transaction(("b",)) as connection:
        await sites.add(connection, Site(tenant_id="b", id="only-b"))
    for site in ("nowhere", "only-b"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with database.transaction(("a",)) as connection:
                await connection.execute("UPDATE chargers SET site_id = $1 WHERE identity = 'CP'", site)
