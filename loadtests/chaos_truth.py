"""What the ledger of a scratch stack says, read from its tables as their owner and from nowhere else: nothing that was killed is asked.

`settled` waits until the pools have caught up, with a deadline; `look` reads what `chaos_verdict` judges.
"""

import asyncio
import time
from typing import Final, TypeAlias

import asyncpg

from cpms_actors.base.errors import Unavailable
from loadtests.chaos_verdict import Ledger, Stored

POLL_S: Final = 0.5
CONNECT_S_MAX: Final = 10.0
READ_S_MAX: Final = 120.0  # a long run has some hundred thousand readings

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_STANDING: Final = "c.credits IS NULL AND NOT EXISTS (SELECT FROM cdrs k WHERE k.tenant_id = c.tenant_id AND k.credits = c.id)"
_MS: Final = "(extract(epoch FROM {}) * 1000)::bigint"
_REST: Final = f"""
  SELECT (SELECT count(*) FROM sessions WHERE status = 'Ended') AS ended,
         (SELECT count(*) FROM sessions WHERE status <> 'Ended' OR version > rated_version) AS waiting,
         (SELECT count(*) FROM cdrs c WHERE {_STANDING}) AS cdrs
"""
_SESSIONS: Final = f"""
  SELECT id, charger, status, {_MS.format("started_at")} AS started_at, {_MS.format("ended_at")} AS ended_at, meter_start_wh,
         meter_stop_wh, energy_wh
  FROM sessions ORDER BY id
"""
_READINGS: Final = f"""
  SELECT session_id, {_MS.format("taken_at")} AS at, value::bigint AS register_wh, context, count(*) AS times FROM meter_values
  WHERE session_id IS NOT NULL AND measurand = 'Energy.Active.Import.Register' GROUP BY 1, 2, 3, 4
"""


async def settled(dsn: str, sessions: int, seconds: float) -> bool:
    """Wait until so many sessions have ended and each has its CDR. False: it did not come to that in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=CONNECT_S_MAX)
            try:
                row = await connection.fetchrow(_REST, timeout=CONNECT_S_MAX)
            finally:
                await connection.close(timeout=CONNECT_S_MAX)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            row = None  # it was killed a moment ago
        if row is not None and (row["ended"], row["waiting"], row["cdrs"]) == (sessions, 0, sessions):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)


async def look(dsn: str, differences: list[str]) -> Ledger:
    """All of it, in one snapshot. Raises Unavailable when Postgres is not there."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S_MAX, command_timeout=READ_S_MAX)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _ledger(connection, differences)
        finally:
            await connection.close(timeout=CONNECT_S_MAX)
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable(f"Postgres is not available: {error!r}") from error


async def _ledger(connection: _Connection, differences: list[str]) -> Ledger:
    names = await connection.fetch("SELECT charger, transaction, session_id FROM session_transactions")
    cdrs = await connection.fetch(f"SELECT session_id, charger, energy_wh FROM cdrs c WHERE {_STANDING}")
    readings = await connection.fetch(_READINGS)
    parked = await connection.fetch("SELECT charger, reason, action, detail FROM parked_messages ORDER BY id")
    return Ledger(
        sessions=[Stored(**dict(row)) for row in await connection.fetch(_SESSIONS)],
        names={(row["charger"], row["transaction"]): row["session_id"] for row in names},
        cdrs=[(row["session_id"], row["charger"], row["energy_wh"]) for row in cdrs],
        readings={(row["session_id"], row["at"], row["register_wh"], row["context"]): row["times"] for row in readings},
        parked=[f"{row['action']} of {row['charger'] or 'nobody'} ({row['reason']}: {row['detail']})" for row in parked],
        differences=differences,
    )
