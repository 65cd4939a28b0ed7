"""Two databases held against each other, table by table: what the journal made of one must be what it makes of the other.

What is compared is what a fact says, not the row that holds it: ids that were drawn, moments of writing and numbers of versions are
left out, and a session is named by its charger, its transaction and its start. The checksum of a table is the sum of its rows' hashes,
so no order matters. Where two checksums differ, both tables are read side by side for the rows that do.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Final

from msgspec import Struct

from cpms_actors.store import cdrs
from cpms_actors.store.database import Connection

PREFETCH: Final = 500  # rows
_SESSION: Final = "s.tenant_id || '/' || s.charger || '/' || s.transaction || ' of ' || s.started_at"

# h is the horizon; h.since is -infinity when nothing of the journal was ever purged.
TABLES: Final[dict[str, str]] = {
    "sessions": f"""
        SELECT {_SESSION} AS key,
               to_jsonb(s) - '{{id,token_group,version,rated_version,created_at,updated_at}}'::text[] AS row
        FROM sessions s WHERE s.started_at >= h.since""",
    "session_transactions": f"""
        SELECT t.tenant_id || '/' || t.charger || '/' || t.transaction AS key, to_jsonb({_SESSION}) AS row
        FROM session_transactions t JOIN sessions s ON s.id = t.session_id WHERE s.started_at >= h.since""",
    "meter_values": f"""
        SELECT m.tenant_id || '/' || m.charger || ' at ' || m.taken_at AS key,
               (to_jsonb(m) - 'session_id') || jsonb_build_object('session', {_SESSION}) AS row
        FROM meter_values m LEFT JOIN sessions s ON s.id = m.session_id
        WHERE m.received_at >= greatest(h.since, h.kept) AND (h.since = '-infinity' OR s.started_at >= h.since)""",
    "reports": """
        SELECT r.tenant_id || '/' || r.charger || '/' || r.action || ' ' || r.message_id AS key, to_jsonb(r) - 'id' AS row
        FROM reports r WHERE r.received_at >= greatest(h.since, h.kept)""",
    # Of what one message tells again and again (the index parked_messages_once) only that it was told. A purged page is a gap.
    "parked_messages": """
        SELECT DISTINCT p.tenant_id || '/' || p.charger || ' ' || p.reason || ': ' || p.detail AS key,
               CASE WHEN p.reason = 'unknown-transaction' AND p.action = 'TransactionUpdated' THEN to_jsonb(p.action)
               ELSE to_jsonb(p) - '{id,parked_at,resolved_at,resolution}'::text[] END AS row
        FROM parked_messages p
        WHERE p.received_at >= greatest(h.since, h.kept)
          AND (h.since = '-infinity' OR p.reason NOT IN ('unknown-transaction', 'journal-gap'))""",
    "connectors": """
        SELECT k.tenant_id || '/' || k.charger || '/' || k.evse || '/' || k.connector AS key, to_jsonb(k) AS row
        FROM connectors k JOIN chargers c ON c.tenant_id = k.tenant_id AND c.identity = k.charger
        WHERE k.status_at >= greatest(h.since, c.created_at)""",
    "chargers": """
        SELECT c.tenant_id || '/' || c.identity AS key,
               jsonb_build_array(c.vendor, c.reported_model, c.serial, c.firmware, c.boot_status, c.booted_at) AS row
        FROM chargers c WHERE c.booted_at >= greatest(h.since, c.created_at)""",
    "cdrs": f"""
        SELECT {_SESSION} AS key, to_jsonb(c) - '{{id,session_id,session_version,created_at}}'::text[] AS row
        FROM cdrs c JOIN sessions s ON s.id = c.session_id
        WHERE s.started_at >= h.since AND s.version = s.rated_version AND {cdrs.STANDING}""",
    "journal_writers": """
        SELECT w.lane || '/' || w.writer AS key, to_jsonb(w.number) AS row FROM journal_writers w WHERE h.since = '-infinity'""",
}


class Horizon(Struct, frozen=True):
    """What of the tables can be compared: sessions that began `since`, telemetry that was `kept`."""

    since: datetime | None  # None: there is no such moment, everything can be
    kept: datetime


class Checksum(Struct, frozen=True):
    """Of a table: how many rows count, and the sum of their hashes."""

    rows: int
    sum: str


class Differing(Struct, frozen=True):
    """A row that is not the same on both sides; None where a side has none. Both are JSON."""

    key: str
    stored: str | None
    rebuilt: str | None


async def checksum(connection: Connection, table: str, horizon: Horizon) -> Checksum:
    """The checksum of a table; one of TABLES."""
    row = await connection.fetchrow(
        f"SELECT count(*) AS rows, coalesce(sum(hashtextextended(t.key || t.row::text, 0)::numeric), 0)::text AS sum"
        f" FROM {_sql(table)}",
        *_arguments(horizon),
    )
    assert row is not None  # an aggregate without GROUP BY has one row
    return Checksum(row["rows"], row["sum"])


async def differences(stored: Connection, rebuilt: Connection, table: str, horizon: Horizon, *, limit: int) -> list[Differing]:
    """At most `limit` rows that only one side has, or has otherwise, by key. Both connections are in a transaction."""
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    async with aclosing(_rows(stored, table, horizon)) as left, aclosing(_rows(rebuilt, table, horizon)) as right:
        one, other = await anext(left, None), await anext(right, None)
        while (one or other) and len(ours.keys() | theirs.keys()) <= limit:
            if one == other:
                one, other = await anext(left, None), await anext(right, None)
            elif other is None or (one is not None and one < other):
                ours[one[0]] = one[1]  # type: ignore[index]  # one of both is there
                one = await anext(left, None)
            else:
                theirs[other[0]] = other[1]
                other = await anext(right, None)
    return [Differing(key, ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())[:limit]]


async def _rows(connection: Connection, table: str, horizon: Horizon) -> AsyncGenerator[tuple[str, str], None]:
    """Keys and rows in the order in which Python compares them."""
    sql = f'SELECT t.key COLLATE "C" AS key, t.row::text COLLATE "C" AS row FROM {_sql(table)} ORDER BY 1, 2'
    async for row in connection.cursor(sql, *_arguments(horizon), prefetch=PREFETCH):
        yield row["key"], row["row"]


def _sql(table: str) -> str:
    return f"(SELECT $1::timestamptz AS since, $2::timestamptz AS kept) h CROSS JOIN LATERAL ({TABLES[table]}) t"


def _arguments(horizon: Horizon) -> tuple[datetime, datetime]:
    return horizon.since or datetime.min, horizon.kept  # it is how the driver says -infinity
