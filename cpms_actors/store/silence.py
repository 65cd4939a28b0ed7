"""What Postgres knows of active sessions that say nothing: asked by the sweeper, judged by domain/silence.py."""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.domain.silence import Known, Limits
from cpms_actors.store.columns import same_tenant
from cpms_actors.store.database import Connection


class Silent(Struct, frozen=True):
    """An active session that was silent for one of its tenant's limits, and what a judgement needs."""

    id: int
    tenant: str
    charger: str
    transaction: str
    version: int
    known: Known
    limits: Limits


# Only sessions that a rule could concern are looked at closely: of the many that say nothing for five minutes nearly all have drawn
# energy. Each look into another table is LATERAL, and by the tenant's own rows: joined plainly, a planner without statistics reads all
# chargers for each session. An active session is always known by its first transaction id: only one that has ended can lose it.
_FIND: Final = f"""
SELECT s.id, s.tenant_id, s.charger, s.transaction, s.version, s.started_at, s.heard_at,
       s.energy_wh > 0 OR s.meter_last_wh IS DISTINCT FROM s.meter_start_wh AS drew,
       t.failed_start_s, t.endless_s, t.heartbeat_s, c.last_seen_at, n.words, n.moments, o.overtaken_at
FROM sessions s
JOIN tenants t ON t.id = s.tenant_id
LEFT JOIN LATERAL (SELECT c.last_seen_at FROM chargers c WHERE {same_tenant("c", "s")} AND c.identity = s.charger LIMIT 1) AS c ON true
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


async def find(connection: Connection, as_of: int, *, after: int, limit: int) -> list[Silent]:
    """Active sessions of the transaction's tenants that were silent for a limit at a moment (ms): at most `limit`, by id, after one."""
    return [_silent(row) for row in await connection.fetch(_FIND, to_datetime(as_of), after, limit)]


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
        version=row["version"],
        known=known,
        limits=Limits(row["failed_start_s"], row["endless_s"], row["heartbeat_s"]),
    )
