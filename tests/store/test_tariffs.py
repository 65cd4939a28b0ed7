"""Tariffs in a real Postgres: versions that stay, and the one that is in force for a charger at a moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Postgres
from cpms_actors.domain.tariff import Tariff, simple_tariff
from cpms_actors.store import tariffs
from cpms_actors.store.database import Connection, open_database
from cpms_actors.store.tariffs import Assignment, Scope

pytestmark = pytest.mark.anyio
DAY = 86_400_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def tariff(name: str, per_kwh: str = "0.50") -> Tariff:
    return simple_tariff(name, "EUR", per_kwh=Decimal(per_kwh))


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


async def test_a_tariff_is_stored_as_the_next_version(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        first = await tariffs.add_version(connection, "default", tariff("day", "0.50"), valid_from=0)
        second = await tariffs.add_version(connection, "default", tariff("day", "0.60"), valid_from=DAY)
        await tariffs.add_version(connection, "default", tariff("other"), valid_from=0)
        assert (first.tariff.version, second.tariff.version) == (1, 2)
        assert await tariffs.find(connection, "default", "day") == second
        assert await tariffs.find(connection, "default", "day", 1) == first
        assert await tariffs.find(connection, "default", "day", 3) is None
        assert (second.valid_from, second.tariff.components[0].price) == (DAY, Decimal("0.60"))


async def test_what_cannot_be_meant_is_not_stored(postgres: Postgres) -> None:
    wrong = Tariff("day", 1, "XYZ", ())
    async with undone(postgres) as connection:
        with pytest.raises(OperatorError, match="currency 'XYZ' is not known"):
            await tariffs.add_version(connection, "default", wrong, valid_from=0)


async def test_a_page_has_the_newest_version_of_each(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        for name in ("b", "a", "c", "a"):
            await tariffs.add_version(connection, "default", tariff(name), valid_from=0)
        shown = [(s.tariff.id, s.tariff.version) for s in await tariffs.page(connection, "default", limit=2)]
        assert shown == [("a", 2), ("b", 1)]
        assert [s.tariff.id for s in await tariffs.page(connection, "default", limit=2, after="b")] == ["c"]


@pytest.mark.parametrize("change", ["UPDATE tariffs SET valid_from = now()", "DELETE FROM tariffs"])
async def test_a_version_is_never_changed(postgres: Postgres, change: str) -> None:
    """Not by the pools, which lack the right, and not by the owner of the tables."""
    async with undone(postgres) as connection:
        await tariffs.add_version(connection, "default", tariff("day"), valid_from=0)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(change)
    owner = await asyncpg.connect(postgres.owner_dsn)
    try:
        await owner.execute("BEGIN")  # and no COMMIT
        await tariffs.add_version(owner, "default", tariff("day"), valid_from=0)
        with pytest.raises(asyncpg.RestrictViolationError, match="never changed"):
            await owner.execute(change)
    finally:
        await owner.close()


async def _scene(connection: Connection) -> None:
    """Charger CP1 at site S, CP2 nowhere; a tariff for each scope."""
    await connection.execute("INSERT INTO sites (tenant_id, id) VALUES ('default', 'S')")
    await connection.execute(
        "INSERT INTO chargers (tenant_id, identity, site_id) VALUES ('default', 'CP1', 'S'), ('default', 'CP2', NULL)"
    )
    for name in ("of-tenant", "of-site", "of-charger"):
        await tariffs.add_version(connection, "default", tariff(name), valid_from=0)


@pytest.mark.parametrize(
    ("assigned", "charger", "expected"),
    [
        ([], "CP1", None),
        (["tenant"], "CP1", "of-tenant"),
        (["tenant", "site"], "CP1", "of-site"),
        (["tenant", "site", "charger"], "CP1", "of-charger"),
        (["site", "charger"], "CP1", "of-charger"),
        (["site"], "CP2", None),
        (["tenant", "site", "charger"], "CP2", "of-tenant"),
        (["tenant"], "never seen", "of-tenant"),
    ],
)
async def test_the_narrowest_scope_decides(postgres: Postgres, assigned: list[Scope], charger: str, expected: str | None) -> None:
    keys: dict[Scope, str] = {"tenant": "default", "site": "S", "charger": "CP1"}
    async with undone(postgres) as connection:
        await _scene(connection)
        for scope in assigned:
            await tariffs.assign(connection, "default", Assignment(scope, keys[scope], f"of-{scope}"))
        found = await tariffs.in_force(connection, "default", charger, DAY)
        assert (found.id if found else None) == expected
        assert [a.scope for a in await tariffs.assignments(connection, "default", limit=10)] == assigned


@pytest.mark.parametrize(("at", "version"), [(DAY - 1, None), (DAY, 1), (3 * DAY - 1, 1), (3 * DAY, 2), (9 * DAY, 2)])
async def test_the_version_valid_at_the_start_is_in_force(postgres: Postgres, at: int, version: int | None) -> None:
    async with undone(postgres) as connection:
        await tariffs.add_version(connection, "default", tariff("day"), valid_from=DAY)
        await tariffs.add_version(connection, "default", tariff("day"), valid_from=3 * DAY)
        await tariffs.assign(connection, "default", Assignment("charger", "CP1", "day"))
        found = await tariffs.in_force(connection, "default", "CP1", at)
        assert (found.version if found else None) == version


async def test_the_newest_of_the_valid_versions_is_in_force(postgres: Postgres) -> None:
    """A later version with the same or an earlier beginning corrects the one before."""
    async with undone(postgres) as connection:
        await tariffs.add_version(connection, "default", tariff("day"), valid_from=DAY)
        await tariffs.add_version(connection, "default", tariff("day"), valid_from=0)
        await tariffs.assign(connection, "default", Assignment("tenant", "default", "day"))
        found = await tariffs.in_force(connection, "default", "CP1", 2 * DAY)
        assert found is not None
        assert found.version == 2


async def test_a_tariff_that_is_not_valid_yet_leaves_the_wider_scope_in_force(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        await tariffs.add_version(connection, "default", tariff("all"), valid_from=0)
        await tariffs.add_version(connection, "default", tariff("special"), valid_from=5 * DAY)
        await tariffs.assign(connection, "default", Assignment("tenant", "default", "all"))
        await tariffs.assign(connection, "default", Assignment("charger", "CP1", "special"))
        names = [(await tariffs.in_force(connection, "default", "CP1", at)) for at in (DAY, 5 * DAY)]
        assert [t.id if t else None for t in names] == ["all", "special"]


async def test_a_scope_that_names_no_tariff_is_an_error_and_not_a_gift(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        await connection.execute("UPDATE tenants SET default_tariff = 'typo' WHERE id = 'default'")
        with pytest.raises(OperatorError, match="tariff 'typo', which does not exist; store that tariff, or assign another"):
            await tariffs.in_force(connection, "default", "CP1", DAY)


async def test_only_a_tariff_that_exists_can_be_assigned(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        with pytest.raises(OperatorError, match="tenant default has no tariff 'typo'; store it first"):
            await tariffs.assign(connection, "default", Assignment("charger", "CP1", "typo"))


async def test_assignments_are_replaced_and_taken_back(postgres: Postgres) -> None:
    async with undone(postgres) as connection:
        await _scene(connection)
        places: list[tuple[Scope, str]] = [("tenant", "default"), ("site", "S"), ("charger", "CP1")]
        for named, key in places:
            await tariffs.assign(connection, "default", Assignment(named, key, "of-tenant"))
            await tariffs.assign(connection, "default", Assignment(named, key, "of-site"))
            shown = await tariffs.assignments(connection, "default", limit=10)
            assert shown == [Assignment(named, key, "of-site")]
            assert await tariffs.unassign(connection, "default", named, key) is True
            assert await tariffs.unassign(connection, "default", named, key) is False
        assert await tariffs.in_force(connection, "default", "CP1", DAY) is None


async def test_a_tenant_sees_no_tariff_of_another(postgres: Postgres) -> None:
    async with undone(postgres, "default", "other") as connection:
        await connection.execute("INSERT INTO tenants (id) VALUES ('other')")
        await tariffs.add_version(connection, "other", tariff("day"), valid_from=0)
        await tariffs.assign(connection, "other", Assignment("charger", "CP1", "day"))
        await connection.execute("SELECT set_config('cpms.tenants', 'default', true)")
        assert await tariffs.find(connection, "other", "day") is None
        assert await tariffs.in_force(connection, "other", "CP1", DAY) is None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await tariffs.add_version(connection, "other", tariff("day"), valid_from=0)
