"""What Postgres knows of sessions of which something is missing: asked by the sweeper, judged by the rules of domain/."""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.domain.silence import Known, Limits
from cpms_actors.store.columns import same_tenant
from cpms_actors.store.database import Connection

GAPS_DAYS_MAX: Final = 7  # since the last fact of a session: whoever has not told more by then will not be asked


class Doubtful(Struct, frozen=True):
    """A session that may have to be asked about. `up_to` is its highest seqNo, None in OCPP 1.6; `reachable`: its station is connected
    and knows GetTransactionStatus."""

    id: int
    tenant: str
    charger: str
    transaction: str
    up_to: int | None
    reachable: bool


class Silent(Doubtful, frozen=True):
    """An active session that was silent for one of its tenant's limits, and what a judgement needs."""

    version: int
    known: Known
    limits: Limits


# Only sessions that a rule could concern are looked at closely: of the many that say nothing for five minutes nearly all have drawn
# energy. Each look into another table is LATERAL, and by the tenant's own rows: joined plainly, a planner without statistics reads all
# chargers for each session. An active session is always known by its first transaction id: only one that has ended can lose it.
_DOUBTFUL: Final = """
SELECT s.id, s.tenant_id, s.charger, s.transaction, upper(s.seqs) - 1 AS up_to,
       coalesce(c.connected AND c.ocpp <> '1.6', false) AS reachable"""
_CHARGER: Final = f"""
LEFT JOIN LATERAL (
    SELECT c.last_seen_at, c.connected, c.ocpp FROM chargers c
    WHERE {same_tenant("c", "s")} AND c.identity = s.charger LIMIT 1
) AS c ON true"""
_FIND: Final = f"""
{_DOUBTFUL},
       s.version, s.started_at, s.heard_at,
       s.energy_wh > 0 OR s.meter_last_wh IS DISTINCT FROM s.meter_start_wh AS drew,
       t.failed_start_s, t.endless_s, t.heartbeat_s, c.last_seen_at, n.words, n.moments, o.overtaken_at
FROM sessions s
JOIN tenants t ON t.id = s.tenant_id
{_CHARGER}
CROSS JOIN LATERAL (
    SELECT array_agg(n.status ORDER BY n.connector) AS words, array_agg(n.status_at ORDER BY n.connector) AS moments FROM connectors n
    WHERE {same_tenant("n", "s")} AND n.charger = s.charger AND n.evse = s.evse AND s.evse > 0
      AND (s.connector = 0 OR n.connector = s.connector)
) AS n
CROSS JOIN LATERAL (
    SELECT min(l.started_at) AS overtaken_at FROM sessions l
    WHERE {same_tenant("l", "s")} AND l.charger = s.charger AND l.evse = s.evse AND l.evse > 0 AND l.started_at > s.started_at
) AS o
WHERE s.status = 'Active' AND s.id > $2
  AND ((t.failed_start_s > 0 AND s.energy_wh = 0 AND s.heard_at <= $1::timestamptz - t.failed_start_s * interval '1 second')
    OR (t.endless_s > 0 AND s.heard_at <= $1::timestamptz - t.endless_s * interval '1 second'))
ORDER BY s.id
LIMIT $3
"""
# Only what still leads to its session: a station that counts anew would answer for another transaction.
_FIND_GAPS: Final = f"""
{_DOUBTFUL}
FROM sessions s
{_CHARGER}
WHERE s.flags LIKE '%gaps%' AND s.id > $2 AND s.heard_at > $1::timestamptz - interval '{GAPS_DAYS_MAX} days'
  AND EXISTS (SELECT FROM session_transactions t
              WHERE {same_tenant("t", "s")} AND t.charger = s.charger AND t.transaction = s.transaction AND t.session_id = s.id)
ORDER BY s.id
LIMIT $3
"""


async def find(connection: Connection, as_of: int, *, after: int, limit: int) -> list[Silent]:
    """Active sessions of the transaction's tenants that were silent for a limit at a moment (ms): at most `limit`, by id, after one."""
    return [_silent(row) for row in await connection.fetch(_FIND, to_datetime(as_of), after, limit)]


async def find_gaps(connection: Connection, as_of: int, *, after: int, limit: int) -> list[Doubtful]:
    """Sessions with events that are missing and may still come, heard of in the GAPS_DAYS_MAX days before a moment (ms)."""
    rows = await connection.fetch(_FIND_GAPS, to_datetime(as_of), after, limit)
    return [Doubtful(row["id"], row["tenant_id"], row["charger"], row["transaction"], row["up_to"], row["reachable"]) for row in rows]


def _silent(row: asyncpg.Record) -> Silent:
    seen, overtaken = row["last_seen_at"], row["overtaken_at"]
    known = Known(
        started_at=from_datetime(row["started_at"]),
        heard_at=from_datetime(row["heard_at"]),
        drew=row["drew"],
        statuses=tuple(zip(row["words"] or (), map(from_datetime, row["moments"] or ()), strict=True)),
        charger_heard_at=None if seen is None else from_datetime(seen),
        overtaken_at=None if overtaken is None else from_datetime(overtaken),
    )
    return Silent(
        id=row["id"],
        tenant=row["tenant_id"],
        charger=row["charger"],
        transaction=row["transaction"],
        up_to=row["up_to"],
        reachable=row["reachable"],
        version=row["version"],
        known=known,
        limits=Limits(row["failed_start_s"], row["endless_s"], row["heartbeat_s"]),
    )
