"""Migrations: plain SQL files `migrations/NNNN_name.sql`, applied in order, each once, each in its own transaction.

Forward only: a mistake is corrected by the next file, never by editing one that was released. The table `schema_migrations` keeps a
checksum of what was applied, so that an edited file, a file that slipped in below the newest one, or a database of a newer
release is refused before anything is touched. An advisory lock lets any number of processes start at once.

The owner's connection also makes the role `cpms_app`, without a right to bypass row level security and without any table: each
file grants what it means to. The role's password is for whoever set up the server.
"""

from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from re import compile as pattern
from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.errors import OperatorError, Unavailable

APP_ROLE: Final = "cpms_app"
_FILE_NAME: Final = pattern(r"(\d{4})_([a-z0-9_]+)\.sql\Z")
_LOCK: Final = 0x6370_6D73  # "cpms": the key of the advisory lock
_CONNECT_S: Final = 10.0

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# A role belongs to the whole server, the lock to one database: two databases may create it at the same moment.
_ROLE: Final = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
        CREATE ROLE {APP_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE ON SCHEMA public TO {APP_ROLE};
GRANT SELECT ON schema_migrations TO {APP_ROLE};
"""


class Migration(Struct, frozen=True, order=True):
    """One file: `version` is its number, `checksum` the SHA-256 of its text in hex."""

    version: int
    name: str
    checksum: str
    sql: str


def load_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The files in order. Raises OperatorError("migrations-files") for a name that is none, or a number used twice."""
    found: dict[int, Migration] = {}
    for file in (folder or files("cpms_actors.store") / "migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.match(file.name)
        if match is None or int(match[1]) in found:
            raise OperatorError("migrations-files", f"{file.name}: name a migration NNNN_name.sql, with a number no other has")
        text = file.read_text("utf-8")
        found[int(match[1])] = Migration(int(match[1]), match[2], sha256(text.encode()).hexdigest(), text)
    return sorted(found.values())


def pending(known: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """What is still to apply, given the checksums of what was.

    Raises OperatorError: "migrations-newer" when the database is of a newer release, "migrations-changed" when an applied file was
    edited, "migrations-order" when a file appeared below the newest one applied.
    """
    by_version = {migration.version: migration for migration in known}
    for version, checksum in sorted(applied.items()):
        migration = by_version.get(version)
        if migration is None:
            raise OperatorError(
                "migrations-newer", f"the database has migration {version:04}, unknown to this release; run the newer one"
            )
        if migration.checksum != checksum:
            raise OperatorError(
                "migrations-changed",
                f"migration {version:04}_{migration.name}.sql was edited after it was applied; restore it and add a new file",
            )
    newest = max(applied, default=0)
    waiting = [migration for migration in known if migration.version not in applied]
    for migration in waiting:
        if migration.version < newest:
            raise OperatorError(
                "migrations-order",
                f"migration {migration.version:04}_{migration.name}.sql is older than {newest:04}, which is applied; renumber it",
            )
    return waiting


async def migrate(owner_dsn: str, folder: Traversable | None = None, *, up_to: int | None = None) -> list[str]:
    """Bring the database up to this release, or to a migration; the names of what was applied now, `[]` when nothing was left to do.

    Raises OperatorError when the files and the database disagree (see `pending`) or the server refuses the owner, Unavailable when no
    server answers. A file that fails leaves no trace; the ones before it stay.
    """
    known = load_migrations(folder)
    try:
        connection = await asyncpg.connect(owner_dsn, timeout=_CONNECT_S)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise OperatorError("postgres-owner", f"Postgres refuses the owner: {error}; correct CPMS_POSTGRES_OWNER_DSN") from None
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable(f"no Postgres to migrate: {error}") from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        await connection.execute(_ROLE)
        rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
        waiting = pending(known, {row["version"]: row["checksum"] for row in rows})
        if up_to is not None:
            waiting = [migration for migration in waiting if migration.version <= up_to]
        for migration in waiting:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                    migration.version,
                    migration.name,
                    migration.checksum,
                )
        return [f"{migration.version:04}_{migration.name}" for migration in waiting]
    finally:
        await connection.close()
