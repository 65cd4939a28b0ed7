"""All tables of a database as files, and back into an empty one, by COPY in Postgres's binary format.

What is dumped is one moment: the caller has begun a transaction that sees it (REPEATABLE READ). The structure is not dumped, migrations
make it: a dump is loaded into a database at its own migration, and then migrated further. Only the owner, whom row level security
does not bind, sees all there is.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.store.database import Connection

LEDGER: Final = "schema_migrations"
BLOCKS: Final = "transaction_id_blocks"
BLOCK: Final = 1000  # transaction ids that a step of the sequence stands for
BLOCKS_SKIPPED: Final = 1000
_BLOCKS_END: Final = 1_999_999_000  # the sequence wraps there
_DAY: Final = re.compile(r"meter_values_(\d{4})(\d\d)(\d\d)\Z")

# What a system that has just begun has rows in, though nothing has happened in it.
_BEGUN: Final = frozenset(("tenants", "lanes", "pool_members", "journal_writers", "slot_epochs"))

_TABLES: Final = f"""
SELECT relname AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> '{LEDGER}' ORDER BY 1
"""
_REFERENCES: Final = """
SELECT r.relname AS name, t.relname AS target
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_class t ON t.oid = c.confrelid
WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND c.conparentid = 0
"""
_COLUMNS: Final = """
SELECT column_name AS name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""


class TableDump(Struct, frozen=True):
    """A table: in `file` are its rows, as COPY writes these columns."""

    table: str
    columns: list[str]
    rows: int
    file: str


async def migrations(connection: Connection) -> dict[int, str]:
    """The migrations that were applied, with their checksums; none to a database that has no tables yet."""
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"public.{LEDGER}"):
        return {}
    return {row["version"]: row["checksum"] for row in await connection.fetch(f"SELECT version, checksum FROM {LEDGER}")}


async def tables(connection: Connection) -> list[str]:
    """Every table, a partitioned one once, in an order in which they can be loaded: none before those that it refers to."""
    before: dict[str, set[str]] = {row["name"]: set() for row in await connection.fetch(_TABLES)}
    for row in await connection.fetch(_REFERENCES):
        if row["name"] != row["target"] and row["name"] in before:
            before[row["name"]].add(row["target"])
    return list(TopologicalSorter(before).static_order())


async def dump(connection: Connection, table: str, file: str, write: Callable[[bytes], None]) -> TableDump:
    """Give `write` the rows of a table, piece by piece."""

    async def sink(data: bytes) -> None:
        write(data)

    columns = await columns_of(connection, table)
    status: str = await connection.copy_from_query(f'SELECT {listed(columns)} FROM "{table}"', output=_taken_as(sink), format="binary")
    return TableDump(table, columns, int(status.split()[-1]), file)


def _taken_as(sink: Callable[[bytes], Awaitable[None]]) -> Any:
    """The driver takes a coroutine function, its stubs know files only."""
    return sink


async def columns_of(connection: Connection, table: str) -> list[str]:
    """The columns that can be written."""
    return [row["name"] for row in await connection.fetch(_COLUMNS, table)]


def listed(columns: Iterable[str]) -> str:
    """Names of columns, as a query has them."""
    return ", ".join(f'"{name}"' for name in columns)


async def sequences(connection: Connection) -> dict[str, int | None]:
    """How far each sequence is; None: nothing was drawn. It knows no transaction: read after the tables it is not behind them."""
    rows = await connection.fetch("SELECT sequencename AS name, last_value FROM pg_sequences WHERE schemaname = 'public'")
    return {row["name"]: row["last_value"] for row in rows}


async def days(connection: Connection) -> list[str]:
    """The partitions of meter_values that hold a day."""
    rows = await connection.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'meter_values'::regclass")
    return sorted(row["name"] for row in rows if _DAY.match(row["name"]))


async def in_use(connection: Connection) -> list[str]:
    """The tables that have rows because something has happened: none in a database that a dump may be loaded into."""
    looked_at = [table for table in await tables(connection) if table not in _BEGUN]
    return [table for table in looked_at if await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{table}")')]


async def make_room(connection: Connection, partitions: Iterable[str]) -> None:
    """Empty what a new database has rows in, and make the partitions of the days, of whatever age they are."""
    for table in reversed(await tables(connection)):
        if table in _BEGUN:
            await connection.execute(f'DELETE FROM "{table}"')
    for name in partitions:
        found = _DAY.match(name)
        if found is None:
            raise OperatorError("backup-manifest", f"{name!r} is no day of meter_values; take another backup")
        first = date(*(int(part) for part in found.groups()))
        last = first + timedelta(days=1)
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF meter_values FOR VALUES FROM ('{first} 00:00Z') TO ('{last} 00:00Z')"
        )
        await connection.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")  # and no policy: reached through meter_values only


async def load(connection: Connection, dumped: TableDump, path: Path) -> None:
    """Read the rows of a table. Raises OperatorError when the dump does not fit the table."""
    known = await columns_of(connection, dumped.table)
    if not known or not set(dumped.columns) <= set(known):
        raise OperatorError(
            "backup-manifest", f"the table {dumped.table} of the backup is not one of this release; take another backup"
        )
    status = await connection.copy_to_table(dumped.table, source=path, columns=dumped.columns, format="binary")
    if status != f"COPY {dumped.rows}":
        raise OperatorError("backup-damaged", f"{dumped.file} gave {status} rows and should have {dumped.rows}; take another backup")


async def set_sequences(connection: Connection, values: Mapping[str, int | None]) -> None:
    """Go on behind what was drawn, and in transaction ids far behind: chargers may hold ids that were given out after the dump."""
    for name in await sequences(connection):
        last = values.get(name)
        if name == BLOCKS:
            last = skipped(last or 1)
        if last is not None:
            await connection.execute("SELECT setval($1::text::regclass, $2)", f"public.{name}", last)


def skipped(last: int) -> int:
    """The block of transaction ids that counts as drawn last."""
    return 1 + (last - 1 + BLOCKS_SKIPPED * BLOCK) % _BLOCKS_END


async def hand_over_lanes(connection: Connection, was: str, now: str) -> None:
    """The lanes are free, since those who folded are gone with their machine; and their offsets are of the stream put back."""
    await connection.execute("DELETE FROM pool_members")
    await connection.execute("UPDATE lanes SET owner = NULL, claimed_until = '-infinity', epoch = epoch + 1")
    await connection.execute("UPDATE lanes SET stream = $2 WHERE stream = $1", was, now)
