"""Migrations on a real Postgres: forward, once, and never on a database they do not belong to."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Postgres
from cpms_actors.store.migrate import APP_ROLE, load_migrations, migrate, pending


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


async def ask(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


def test_a_fresh_database_gets_every_file_and_the_second_time_nothing(empty_postgres: Postgres) -> None:
    names = [f"{migration.version:04}_{migration.name}" for migration in load_migrations()]
    assert asyncio.run(migrate(empty_postgres.owner_dsn)) == names
    assert asyncio.run(migrate(empty_postgres.owner_dsn)) == []


def test_processes_that_start_at_once_apply_every_file_once(empty_postgres: Postgres) -> None:
    async def at_once() -> list[list[str]]:
        return await asyncio.gather(*(migrate(empty_postgres.owner_dsn) for _ in range(4)))

    applied = asyncio.run(at_once())
    assert sorted(len(names) for names in applied) == [0, 0, 0, len(load_migrations())]


def test_a_file_that_fails_leaves_no_trace_and_the_ones_before_it_stay(empty_postgres: Postgres, tmp_path: Path) -> None:
    files(tmp_path, m0001_good="CREATE TABLE good (id int)", m0002_bad="CREATE TABLE bad (id int); SELECT nonsense")
    with pytest.raises(asyncpg.UndefinedColumnError):
        asyncio.run(migrate(empty_postgres.owner_dsn, tmp_path))
    rows = asyncio.run(ask(empty_postgres.owner_dsn, "SELECT to_regclass('good') AS good, to_regclass('bad') AS bad"))
    assert (rows[0]["good"], rows[0]["bad"]) == ("good", None)
    files(tmp_path, m0002_bad="CREATE TABLE bad (id int)")
    assert asyncio.run(migrate(empty_postgres.owner_dsn, tmp_path)) == ["0002_bad"]


@pytest.mark.parametrize(
    ("present", "code"),
    [
        ({"m0001_a": "SELECT 1", "m0003_c": "SELECT 33"}, "migrations-changed"),
        ({"m0001_a": "SELECT 1"}, "migrations-newer"),
        ({"m0001_a": "SELECT 1", "m0002_b": "SELECT 2", "m0003_c": "SELECT 3"}, "migrations-order"),
        ({"m0001_a": "SELECT 1", "mnonsense": "SELECT 2"}, "migrations-files"),
        ({"m0001_a": "SELECT 1", "m0001_b": "SELECT 2"}, "migrations-files"),
    ],
)
def test_files_that_disagree_with_the_database_are_refused(tmp_path: Path, present: dict[str, str], code: str) -> None:
    was = tmp_path / "was"
    was.mkdir()
    applied = {m.version: m.checksum for m in load_migrations(files(was, m0001_a="SELECT 1", m0003_c="SELECT 3"))}
    now = tmp_path / "now"
    now.mkdir()
    with pytest.raises(OperatorError) as refusal:
        pending(load_migrations(files(now, **present)), applied)
    assert refusal.value.code == code


def test_no_server_is_unavailable_and_a_refused_owner_is_the_operators_business(postgres: Postgres) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(migrate("postgresql://cpms@127.0.0.1:1/cpms"))
    with pytest.raises(OperatorError) as refusal:
        asyncio.run(migrate(postgres.owner_dsn.replace("cpms@", "nobody-of-that-name@")))
    assert refusal.value.code == "postgres-owner"


def test_every_table_of_a_tenant_is_bound_by_row_level_security(postgres: Postgres) -> None:
    """And so is every partition, which has no policy: it cannot be read around its parent."""
    unbound = asyncio.run(
        ask(
            postgres.owner_dsn,
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
            " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'"
            " WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND (c.relispartition OR EXISTS"
            " (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)))",
        )
    )
    assert unbound == []
    role = asyncio.run(ask(postgres.owner_dsn, f"SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = '{APP_ROLE}'"))
    assert tuple(role[0].values()) == (False, False)
