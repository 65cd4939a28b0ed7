"""CDRs in Postgres, and the claim of sessions that still need one.

A session needs a CDR while it is ended and its version is above rated_version. Whoever draws one up claims the session with FOR UPDATE
SKIP LOCKED, writes the CDR and sets rated_version, all in one transaction: any number of processes may do so at once, and a crash
anywhere leaves a session that is claimed again. What cannot be priced is written to session_rating_errors and comes back later.

Rows of cdrs are only ever inserted (the migration says how that is held).
"""

from typing import Final, NamedTuple

import asyncpg
import msgspec
from msgspec import Struct

from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.domain.cdr import Cdr, Detail, EndedSession
from cpms_actors.domain.metering import MeteredSession, Reading
from cpms_actors.domain.registers import OUTLETS, REGISTER, WH_MAX
from cpms_actors.store.database import Connection

READINGS_MAX: Final = 5_000  # of one session: 1.4 hours by the second, 3.5 days by the minute; beyond that, one per so much time
ERROR_CHARACTERS_MAX: Final = 2_000
RETRY_FIRST_S: Final = 15  # doubled by every attempt
RETRY_S_MAX: Final = 3_600
_COLUMNS: Final = (
    "tenant_id, id, session_id, session_version, charger, token, started_at, ended_at, energy_wh, charging_s, parking_s, currency,"
    " total_excl_minor, tax_minor, total_incl_minor, tariff_id, tariff_version, provisional, credits, detail, created_at"
)
_LOCATIONS: Final = [location for location in OUTLETS if location]


class Claimed(NamedTuple):
    """A session to draw up a CDR for, its row locked until the transaction ends.

    `provisional`: events of it are still missing, or its end is. `rated`: it has a CDR of an older version. `failed`: it could not be
    priced before. `currency` is its tenant's.
    """

    session: EndedSession
    provisional: bool
    rated: bool
    failed: bool
    currency: str


class Stuck(Struct, frozen=True):
    """A session without a current CDR, and why: `error` None means that it waits for missing events, or just for its turn."""

    session_id: int
    charger: str
    session_version: int
    ended_at: int
    gaps: int
    error: str | None
    attempts: int
    retry_at: int | None


class Backlog(Struct, frozen=True):
    """How much there is to do: `waiting` sessions without a current CDR, of which `gaps` wait for missing events and `errors` could not
    be priced; `oldest_s` is how long ago the one that waits longest was last written."""

    waiting: int
    gaps: int
    errors: int
    oldest_s: int


_CLAIM: Final = """
SELECT s.tenant_id, s.id, s.version, s.charger, s.token_id, s.started_at, coalesce(s.ended_at, s.started_at) AS ended_at,
       coalesce(s.meter_start_wh, 0) AS meter_start_wh, s.energy_wh,
       s.gaps > 0 OR 'provisional' = ANY (string_to_array(s.flags, ' ')) AS provisional,
       s.rated_version > 0 AS rated, e.session_id IS NOT NULL AS failed, t.currency
FROM sessions s
JOIN tenants t ON t.id = s.tenant_id
LEFT JOIN session_rating_errors e ON e.tenant_id = s.tenant_id AND e.session_id = s.id
WHERE s.status = 'Ended' AND s.version > s.rated_version
  AND (s.gaps = 0 OR s.updated_at <= now() - $2 * interval '1 second')
  AND (e.session_id IS NULL OR e.session_version < s.version OR e.retry_at <= now())
ORDER BY s.updated_at
LIMIT $1
FOR UPDATE OF s SKIP LOCKED
"""
# The last reading of each bucket of time, so that a session has at most READINGS_MAX + 1, however often the charger sampled. LATERAL
# with DISTINCT is an index scan for each session: joined plainly, a planner without statistics reads all telemetry there is.
_REGISTERS: Final = f"""
SELECT c.id, r.taken_at, r.value
FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS c (id, started_at, ended_at)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (bucket) m.taken_at, m.value,
           floor(extract(epoch FROM m.taken_at - c.started_at)::float8
                 / greatest(1, extract(epoch FROM c.ended_at - c.started_at)::float8 / {READINGS_MAX})) AS bucket
    FROM meter_values m
    WHERE m.session_id = c.id AND m.taken_at BETWEEN c.started_at AND c.ended_at
      AND m.measurand = $4 AND (m.signed IS NULL OR m.unit IS NOT NULL) AND m.phase IS NULL
      AND (m.location IS NULL OR m.location = ANY ($5::text[])) AND m.value BETWEEN 0 AND $6
    ORDER BY bucket, m.taken_at DESC, m.value DESC
) AS r
ORDER BY c.id, r.taken_at
"""


async def claim(connection: Connection, *, limit: int, gap_grace_s: float) -> list[Claimed]:
    """Ended sessions without a current CDR, those waiting longest first, at most `limit`, none that another transaction holds.

    A session with missing events is left alone until nothing came for `gap_grace_s`.
    """
    rows = await connection.fetch(_CLAIM, limit, gap_grace_s)
    readings: dict[int, list[Reading]] = {row["id"]: [] for row in rows}
    if rows:
        bounds = [[row[name] for row in rows] for name in ("id", "started_at", "ended_at")]
        for at in await connection.fetch(_REGISTERS, *bounds, REGISTER, _LOCATIONS, WH_MAX):
            readings[at["id"]].append(Reading(from_datetime(at["taken_at"]), round(at["value"])))
    return [Claimed(_ended(row, readings[row["id"]]), row["provisional"], row["rated"], row["failed"], row["currency"]) for row in rows]


STANDING: Final = "c.credits IS NULL AND NOT EXISTS (SELECT FROM cdrs k WHERE k.tenant_id = c.tenant_id AND k.credits = c.id)"
"""What is true of a CDR `c` that no credit has taken back, in SQL."""


async def current(connection: Connection, tenant: str, session_id: int) -> Cdr | None:
    """The CDR of a session that no credit took back; None when it has none."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM cdrs c WHERE tenant_id = $1 AND session_id = $2 AND {STANDING} ORDER BY session_version DESC LIMIT 1",
        tenant,
        session_id,
    )
    return _cdr(row) if row else None


async def insert(connection: Connection, cdr: Cdr) -> None:
    """Write a CDR. Raises asyncpg.UniqueViolationError when this version of its session has one, or the CDR it credits a credit."""
    await connection.execute(
        f"INSERT INTO cdrs ({_COLUMNS})"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        cdr.tenant,
        cdr.id,
        cdr.session_id,
        cdr.session_version,
        cdr.charger,
        cdr.token,
        to_datetime(cdr.started_at),
        to_datetime(cdr.ended_at),
        cdr.energy_wh,
        cdr.charging_s,
        cdr.parking_s,
        cdr.currency,
        cdr.total_excl_minor,
        cdr.tax_minor,
        cdr.total_incl_minor,
        cdr.tariff_id,
        cdr.tariff_version,
        cdr.provisional,
        cdr.credits,
        msgspec.json.encode(cdr.detail).decode(),
        to_datetime(cdr.created_at),
    )


async def mark_rated(connection: Connection, claimed: Claimed) -> None:
    """The session's version has its CDR; what went wrong before is forgotten."""
    session = claimed.session
    await connection.execute(
        "UPDATE sessions SET rated_version = $3 WHERE tenant_id = $1 AND id = $2", session.tenant, session.id, session.version
    )
    if claimed.failed:
        await connection.execute(
            "DELETE FROM session_rating_errors WHERE tenant_id = $1 AND session_id = $2", session.tenant, session.id
        )


async def mark_failed(connection: Connection, session: EndedSession, error: str) -> None:
    """The session could not be priced: keep why, and when to try again. A new version of the session is tried at once."""
    await connection.execute(
        "INSERT INTO session_rating_errors AS e (tenant_id, session_id, session_version, error, attempts, failed_at, retry_at)"
        " VALUES ($1, $2, $3, $4, 1, now(), now() + $5 * interval '1 second')"
        " ON CONFLICT (tenant_id, session_id) DO UPDATE SET"
        " session_version = EXCLUDED.session_version, error = EXCLUDED.error, attempts = least(e.attempts + 1, 1000),"
        " failed_at = now(), retry_at = now() + least($5 * power(2, least(e.attempts, 20)), $6) * interval '1 second'",
        session.tenant,
        session.id,
        session.version,
        error.replace("\0", "�")[:ERROR_CHARACTERS_MAX],
        RETRY_FIRST_S,
        RETRY_S_MAX,
    )


async def find(connection: Connection, tenant: str, cdr_id: str) -> Cdr | None:
    """A CDR; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM cdrs WHERE tenant_id = $1 AND id = $2", tenant, cdr_id)
    return _cdr(row) if row else None


async def of_session(connection: Connection, tenant: str, session_id: int) -> list[Cdr]:
    """All CDRs and credits of a session as they were drawn up."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM cdrs WHERE tenant_id = $1 AND session_id = $2"
        " ORDER BY created_at, session_version, credits NULLS LAST",
        tenant,
        session_id,
    )
    return [_cdr(row) for row in rows]


async def page(
    connection: Connection,
    tenant: str,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    charger: str | None = None,
    token: str | None = None,
    session_id: int | None = None,
) -> list[Cdr]:
    """A tenant's CDRs, the newest first, at most `limit`, those before (created_at, id) of the last one of the page before.

    None in a filter lets everything through; a token is found in any case.
    """
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM cdrs WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))"
        " AND ($4::text IS NULL OR charger = $4) AND ($5::text IS NULL OR lower(token) = lower($5))"
        " AND ($6::bigint IS NULL OR session_id = $6) ORDER BY created_at DESC, id DESC LIMIT $7",
        tenant,
        to_datetime(before[0]) if before else None,
        before[1] if before else None,
        charger,
        token,
        session_id,
        limit,
    )
    return [_cdr(row) for row in rows]


async def stuck(connection: Connection, tenant: str, *, limit: int) -> list[Stuck]:
    """What is without a current CDR, those that failed first, then those waiting longest; at most `limit`."""
    rows = await connection.fetch(
        "SELECT s.id, s.charger, s.version, coalesce(s.ended_at, s.started_at) AS ended_at, s.gaps, e.error,"
        " coalesce(e.attempts, 0) AS attempts, e.retry_at"
        " FROM sessions s LEFT JOIN session_rating_errors e"
        " ON e.tenant_id = s.tenant_id AND e.session_id = s.id AND e.session_version = s.version"
        " WHERE s.tenant_id = $1 AND s.status = 'Ended' AND s.version > s.rated_version"
        " ORDER BY e.attempts DESC NULLS LAST, s.updated_at LIMIT $2",
        tenant,
        limit,
    )
    return [
        Stuck(
            session_id=row["id"],
            charger=row["charger"],
            session_version=row["version"],
            ended_at=from_datetime(row["ended_at"]),
            gaps=row["gaps"],
            error=row["error"],
            attempts=row["attempts"],
            retry_at=from_datetime(row["retry_at"]) if row["retry_at"] else None,
        )
        for row in rows
    ]


async def backlog(connection: Connection) -> Backlog:
    """How much there is to do for the tenants of this transaction."""
    row = await connection.fetchrow(
        "SELECT count(*) AS waiting, count(*) FILTER (WHERE s.gaps > 0 AND e.session_id IS NULL) AS gaps,"
        " count(e.session_id) AS errors, coalesce(extract(epoch FROM now() - min(s.updated_at)), 0)::bigint AS oldest_s"
        " FROM sessions s LEFT JOIN session_rating_errors e"
        " ON e.tenant_id = s.tenant_id AND e.session_id = s.id AND e.session_version = s.version"
        " WHERE s.status = 'Ended' AND s.version > s.rated_version"
    )
    assert row is not None  # an aggregate without GROUP BY has one row
    return Backlog(row["waiting"], row["gaps"], row["errors"], max(0, row["oldest_s"]))


_DETAIL: Final = msgspec.json.Decoder(Detail)


def _ended(row: asyncpg.Record, readings: list[Reading]) -> EndedSession:
    return EndedSession(
        tenant=row["tenant_id"],
        id=row["id"],
        version=row["version"],
        charger=row["charger"],
        token=row["token_id"],
        metered=MeteredSession(
            start_ms=from_datetime(row["started_at"]),
            end_ms=from_datetime(row["ended_at"]),
            meter_start_wh=row["meter_start_wh"],
            energy_wh=row["energy_wh"],
            readings=readings,
        ),
    )


def _cdr(row: asyncpg.Record) -> Cdr:
    return Cdr(
        tenant=row["tenant_id"],
        id=row["id"],
        session_id=row["session_id"],
        session_version=row["session_version"],
        charger=row["charger"],
        token=row["token"],
        started_at=from_datetime(row["started_at"]),
        ended_at=from_datetime(row["ended_at"]),
        energy_wh=row["energy_wh"],
        charging_s=row["charging_s"],
        parking_s=row["parking_s"],
        currency=row["currency"],
        total_excl_minor=row["total_excl_minor"],
        tax_minor=row["tax_minor"],
        total_incl_minor=row["total_incl_minor"],
        detail=_DETAIL.decode(row["detail"]),
        created_at=from_datetime(row["created_at"]),
        provisional=row["provisional"],
        credits=row["credits"],
    )
