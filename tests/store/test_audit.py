"""What operators did stays as it was written, belongs to its tenant, and is there exactly when the change is."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from cpms_actors.base.settings import Postgres
from cpms_actors.store import audit, parked
from cpms_actors.store.database import Database, open_database
from cpms_actors.store.parked import ParkedMessage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(postgres) as database:
        yield database


async def note(database: Database, tenant: str, subject: str, operator: str = "alice") -> None:
    async with database.transaction([tenant]) as connection:
        await audit.note(connection, tenant, operator=operator, verb="parked.discard", subject=subject, detail={"reason": "a test"})


async def subjects(database: Database, tenant: str, *, limit: int = 10, before: int | None = None) -> list[str]:
    async with database.transaction([tenant]) as connection:
        return [entry.subject for entry in await audit.page(connection, tenant, limit=limit, before=before)]


async def test_entries_come_newest_first_in_pages_with_who_did_what(database: Database) -> None:
    for number in range(3):
        await note(database, "pages", f"parked {number}")
    async with database.transaction(["pages"]) as connection:
        newest, middle = await audit.page(connection, "pages", limit=2)
        assert await audit.last_operator(connection, "pages", "parked 7") is None
    assert (newest.operator, newest.verb, newest.subject) == ("alice", "parked.discard", "parked 2")
    assert (newest.detail, newest.at > 1_700_000_000_000) == ({"reason": "a test"}, True)
    assert await subjects(database, "pages", before=middle.id) == ["parked 0"]


async def test_who_did_something_last_is_found_by_what_it_was_done_to(database: Database) -> None:
    for operator in ("alice", "bob"):
        await note(database, "last", "parked 7", operator)
    await note(database, "last", "parked 8", "carol")
    async with database.transaction(["last"]) as connection:
        assert await audit.last_operator(connection, "last", "parked 7") == "bob"


async def test_a_tenant_sees_and_writes_its_own_entries_only(database: Database) -> None:
    await note(database, "mine", "parked 1")
    assert await subjects(database, "other") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(["other"]) as connection:
            await audit.note(connection, "mine", operator="eve", verb="parked.discard", subject="parked 1")


@pytest.mark.parametrize("sql", ["DELETE FROM audit", "UPDATE audit SET operator = 'nobody'", "TRUNCATE audit"])
async def test_no_process_changes_what_was_written(database: Database, sql: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(["mine"]) as connection:
            await connection.execute(sql)


async def test_what_was_not_done_was_not_written(database: Database) -> None:
    """The entry belongs to the transaction of the change."""
    message = ParkedMessage(
        tenant="undone", charger="CP1", reason="r", detail="d", action=None, payload=b"", message_id="m", received_at=5
    )

    async def failing() -> None:
        async with database.transaction(["undone"]) as connection:
            await parked.save(connection, [message])
            await audit.note(connection, "undone", operator="alice", verb="parked.discard", subject="parked 1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await subjects(database, "undone") == []


@pytest.mark.parametrize(
    ("question", "index"),
    [("ORDER BY id DESC LIMIT 50", "audit_of_tenant"), ("AND subject = 'parked 7' ORDER BY id DESC LIMIT 1", "audit_of_subject")],
)
async def test_the_audit_is_read_from_an_index_and_sorts_nothing(database: Database, question: str, index: str) -> None:
    async with database.transaction(["mine"]) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        rows = await connection.fetch(f"EXPLAIN SELECT * FROM audit WHERE tenant_id = 'mine' {question}")
    plan = "\n".join(row[0] for row in rows)
    assert f"using {index} on" in plan
    assert "Sort" not in plan
