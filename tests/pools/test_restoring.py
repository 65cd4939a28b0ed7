"""A backup on real servers, put back into empty ones: rows, partitions, sequences and offsets are what they were, or nothing is."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.pools.backing_up import STREAMS, backup
from cpms_actors.pools.backup_files import Manifest
from cpms_actors.pools.pages import stream_name
from cpms_actors.pools.restoring import checked, restore
from cpms_actors.store.migrate import migrate

pytestmark = pytest.mark.anyio

# Two bills and a credit, which refers to a row of its own table; a column that the database makes; a day of long ago.
ROWS = """
INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'CP1');
INSERT INTO tokens (tenant_id, id) VALUES ('default', 'Abc');
INSERT INTO sessions (tenant_id, charger, transaction, status, started_at, marks) VALUES ('default', 'CP1', '7', 'Ended', now(), '{}');
INSERT INTO session_transactions SELECT tenant_id, charger, transaction, id FROM sessions;
INSERT INTO cdrs (tenant_id, id, session_id, session_version, charger, started_at, ended_at, energy_wh, charging_s, parking_s, currency,
                  total_excl_minor, tax_minor, total_incl_minor, credits, detail, created_at)
SELECT 'default', u.id, s.id, u.version, 'CP1', now(), now(), u.wh, 0, 0, 'EUR', 0, 0, 0, u.credits, '{}', now()
FROM sessions s, (VALUES ('a', 1, 5, NULL), ('credit', 1, -5, 'a'), ('b', 2, 6, NULL)) AS u (id, version, wh, credits);
CREATE TABLE meter_values_20200131 PARTITION OF meter_values FOR VALUES FROM ('2020-01-31 00:00Z') TO ('2020-02-01 00:00Z');
INSERT INTO meter_values SELECT 'default', 'CP1', 1, 1, id, '2020-01-31Z', '2020-01-31 12:00Z', 1, 'E', 'C' FROM sessions;
INSERT INTO lanes (lane, owner, claimed_until) VALUES (0, 'somebody', now() + interval '1 minute'), (1, NULL, '-infinity');
SELECT nextval('transaction_id_blocks');
"""


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await ensure_stream(client.jetstream(), Settings())
    for _ in range(3):
        await client.jetstream().publish(subjects.journal(0), b"page")
    yield client
    await remove_streams(client)
    await client.close()


async def remove_streams(client: Client) -> None:
    for stream in STREAMS:
        with contextlib.suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)


@pytest.fixture
async def settings(bus: Client, nats_url: str, fresh_postgres: Callable[[], Postgres]) -> Settings:
    settings = Settings(nats=Nats(url=nats_url), postgres=fresh_postgres(), credential_key="key")
    name = stream_name(await bus.jetstream().stream_info(subjects.JOURNAL_STREAM))
    await asked(settings, ROWS)
    await asked(settings, f"UPDATE lanes SET stream = '{name}', stream_seq = 2 WHERE lane = 0")
    return settings


async def asked(settings: Settings, sql: str) -> Any:
    connection = await asyncpg.connect(settings.postgres.owner_dsn)
    try:
        return await (connection.fetch(sql) if sql.startswith("SELECT") else connection.execute(sql))
    finally:
        await connection.close()


async def backed_up(settings: Settings, folder: Path) -> Manifest:
    return await backup(settings, folder, say=lambda line: None)


async def put_back(settings: Settings, folder: Path, **changed: Any) -> None:
    await restore(settings, folder, replace(checked(folder, settings), **changed), say=lambda line: None)


async def test_all_comes_back_into_an_empty_system(settings: Settings, bus: Client, empty_postgres: Postgres, tmp_path: Path) -> None:
    await backed_up(settings, tmp_path / "b")
    await remove_streams(bus)
    there = replace(settings, postgres=empty_postgres)
    await put_back(there, tmp_path / "b")
    assert [row["id"] for row in await asked(there, "SELECT id FROM cdrs ORDER BY id")] == ["a", "b", "credit"]
    assert [row["folded_id"] for row in await asked(there, "SELECT folded_id FROM tokens")] == ["abc"]
    assert [row["n"] for row in await asked(there, "SELECT count(*) AS n FROM meter_values_20200131")] == [1]
    (lane, _) = await asked(there, "SELECT * FROM lanes ORDER BY lane")
    info = await bus.jetstream().stream_info(subjects.JOURNAL_STREAM)
    assert (lane["stream"], lane["stream_seq"], lane["owner"]) == (stream_name(info), 2, None)
    assert (info.state.messages, info.state.last_seq) == (3, 3)
    (drawn,) = await asked(there, "SELECT nextval('transaction_id_blocks') AS block, nextval('sessions_id_seq') AS session")
    assert drawn["block"] > 1_000_000
    assert drawn["session"] == 2


async def test_a_backup_of_an_older_database_is_migrated_with_its_rows(
    settings: Settings, bus: Client, empty_postgres: Postgres, postgres_server: Any, tmp_path: Path
) -> None:
    old = replace(settings, postgres=empty_postgres)
    await migrate(empty_postgres.owner_dsn, up_to=5)  # before sessions knew when they were heard of
    await asked(old, ROWS)
    await backed_up(old, tmp_path / "b")
    await remove_streams(bus)
    with pytest.raises(OperatorError, match="migration 0007 and the backup at 0005") as raised:
        await put_back(replace(settings, postgres=postgres_server.create("cpms_restoring_new", "cpms_template")), tmp_path / "b")
    assert raised.value.code == "restore-migrated"
    there = replace(settings, postgres=postgres_server.create("cpms_restoring_old"))
    await put_back(there, tmp_path / "b")
    (row,) = await asked(there, "SELECT heard_at IS NOT NULL AS heard FROM sessions")
    assert row["heard"]


async def test_a_restore_that_fails_leaves_an_empty_system(
    settings: Settings, bus: Client, empty_postgres: Postgres, tmp_path: Path
) -> None:
    manifest = await backed_up(settings, tmp_path / "b")
    await remove_streams(bus)
    there = replace(settings, postgres=empty_postgres)
    with pytest.raises(OperatorError, match="none of ours"):
        await put_back(there, tmp_path / "b", streams=[*manifest.streams, replace(manifest.streams[0], stream="OTHER")])
    with pytest.raises(NotFoundError):
        await bus.jetstream().stream_info(subjects.JOURNAL_STREAM)
    await put_back(there, tmp_path / "b")
    with pytest.raises(OperatorError, match="there are rows in") as raised:
        await put_back(there, tmp_path / "b")
    assert raised.value.code == "restore-not-empty"


async def test_a_journal_with_pages_is_left_alone(settings: Settings, empty_postgres: Postgres, tmp_path: Path) -> None:
    await backed_up(settings, tmp_path / "b")
    with pytest.raises(OperatorError, match="it has had 3 pages"):
        await put_back(replace(settings, postgres=empty_postgres), tmp_path / "b")


async def test_another_key_of_passwords_and_a_newer_release_are_refused(settings: Settings, tmp_path: Path) -> None:
    manifest = await backed_up(settings, tmp_path / "b")
    with pytest.raises(OperatorError, match="another CPMS_CREDENTIAL_KEY"):
        checked(tmp_path / "b", replace(settings, credential_key="other"))
    (tmp_path / "b" / "manifest.json").write_text(
        (tmp_path / "b" / "manifest.json").read_text().replace('"migrations": {', '"migrations": {"9999": "x",')
    )
    with pytest.raises(OperatorError, match=f"release {manifest.release} made the backup") as raised:
        checked(tmp_path / "b", settings)
    assert raised.value.code == "backup-newer"


async def test_pages_that_went_while_the_tables_were_written_end_the_backup(settings: Settings, bus: Client, tmp_path: Path) -> None:
    async def purged() -> None:
        await bus.jetstream().purge_stream(subjects.JOURNAL_STREAM, seq=3)

    with pytest.raises(OperatorError, match="begin the backup again") as raised:
        await backup(settings, tmp_path / "b", say=lambda line: None, dumped=purged)
    assert raised.value.code == "backup-overtaken"
    assert not (tmp_path / "b").exists()


async def test_without_the_owner_nothing_is_begun(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="CPMS_POSTGRES_OWNER_DSN"):
        await backed_up(replace(settings, postgres=replace(settings.postgres, owner_dsn="")), tmp_path / "b")
