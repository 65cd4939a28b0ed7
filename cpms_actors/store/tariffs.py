"""Tariffs in Postgres: versions that are never changed, and where they apply.

A session is priced with the tariff of its charger, else of the charger's site, else with the tenant's default, in the version that was
valid when the session started. A tariff that had no version valid then does not apply, and the next wider scope is asked; where
none is left the session is free. A scope that names a tariff which does not exist at all is a mistake, not a gift: an error.

The tenant's default is a column of tenants; chargers and sites are in tariff_assignments.
"""

from typing import Final, Literal

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.domain.tariff import Tariff, decode, encode, validate
from cpms_actors.store.database import Connection

Scope = Literal["tenant", "site", "charger"]


class StoredTariff(Struct, frozen=True):
    """One version of a tariff; sessions that start at or after `valid_from` (ms) are priced with it."""

    tariff: Tariff
    valid_from: int
    created_at: int


class Assignment(Struct, frozen=True):
    """Where a tariff applies; `key` is the site's id, the charger's identity, or the tenant's id."""

    scope: Scope
    key: str
    tariff_id: str


async def add_version(connection: Connection, tenant: str, tariff: Tariff, *, valid_from: int) -> StoredTariff:
    """Store a tariff as the next version of its id; the version it came with does not matter.

    Raises OperatorError("tariff") when it cannot be meant, asyncpg.ForeignKeyViolationError for an unknown tenant.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0))", tenant, tariff.id)
    newest = await connection.fetchval("SELECT max(version) FROM tariffs WHERE tenant_id = $1 AND id = $2", tenant, tariff.id)
    numbered = replace(tariff, version=(newest or 0) + 1)
    validate(numbered)
    row = await connection.fetchrow(
        "INSERT INTO tariffs (tenant_id, id, version, valid_from, document) VALUES ($1, $2, $3, $4, $5)"
        " RETURNING document, valid_from, created_at",
        tenant,
        numbered.id,
        numbered.version,
        to_datetime(valid_from),
        encode(numbered),
    )
    assert row is not None  # INSERT without ON CONFLICT returns its row or raises
    return _stored(row)


async def find(connection: Connection, tenant: str, tariff_id: str, version: int | None = None) -> StoredTariff | None:
    """A version of a tariff, the newest when none is named; None when there is none."""
    row = await connection.fetchrow(
        "SELECT document, valid_from, created_at FROM tariffs"
        " WHERE tenant_id = $1 AND id = $2 AND ($3::int IS NULL OR version = $3) ORDER BY version DESC LIMIT 1",
        tenant,
        tariff_id,
        version,
    )
    return _stored(row) if row else None


async def page(connection: Connection, tenant: str, *, limit: int, after: str | None = None) -> list[StoredTariff]:
    """A tenant's tariffs by id, the newest version of each, at most `limit`, those after `after`."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (id) document, valid_from, created_at FROM tariffs"
        " WHERE tenant_id = $1 AND ($2::text IS NULL OR id > $2) ORDER BY id, version DESC LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [_stored(row) for row in rows]


async def assign(connection: Connection, tenant: str, assignment: Assignment) -> None:
    """Let a tariff apply from now on, in place of the one that did. Raises OperatorError("unknown-tariff") when there is none."""
    if await find(connection, tenant, assignment.tariff_id) is None:
        raise OperatorError("unknown-tariff", f"tenant {tenant} has no tariff {assignment.tariff_id!r}; store it first")
    if assignment.scope == "tenant":
        await connection.execute("UPDATE tenants SET default_tariff = $2 WHERE id = $1", tenant, assignment.tariff_id)
        return
    await connection.execute(
        "INSERT INTO tariff_assignments (tenant_id, scope, key, tariff_id) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (tenant_id, scope, key) DO UPDATE SET tariff_id = EXCLUDED.tariff_id, created_at = now()",
        tenant,
        assignment.scope,
        assignment.key,
        assignment.tariff_id,
    )


async def unassign(connection: Connection, tenant: str, scope: Scope, key: str) -> bool:
    """Let the next wider scope decide; False when nothing was assigned here."""
    if scope == "tenant":
        done = await connection.fetchval(
            "UPDATE tenants SET default_tariff = NULL WHERE id = $1 AND default_tariff IS NOT NULL RETURNING true", tenant
        )
    else:
        done = await connection.fetchval(
            "DELETE FROM tariff_assignments WHERE tenant_id = $1 AND scope = $2 AND key = $3 RETURNING true", tenant, scope, key
        )
    return bool(done)


async def assignments(connection: Connection, tenant: str, *, limit: int) -> list[Assignment]:
    """A tenant's assignments, the widest scope first, at most `limit`."""
    rows = await connection.fetch(
        "SELECT 'tenant' AS scope, id AS key, default_tariff AS tariff_id, 1 AS width FROM tenants"
        " WHERE id = $1 AND default_tariff IS NOT NULL"
        " UNION ALL SELECT scope, key, tariff_id, CASE scope WHEN 'site' THEN 2 ELSE 3 END FROM tariff_assignments WHERE tenant_id = $1"
        " ORDER BY width, key LIMIT $2",
        tenant,
        limit,
    )
    return [Assignment(row["scope"], row["key"], row["tariff_id"]) for row in rows]


# Every scope that names a tariff, the narrowest first; `document` is null when no version was valid at $3, `known` whether any exists.
_IN_FORCE: Final = """
SELECT named.tariff_id, named.scope, valid.document,
       EXISTS (SELECT FROM tariffs t WHERE t.tenant_id = $1 AND t.id = named.tariff_id) AS known
FROM (
    SELECT 1 AS width, scope, tariff_id FROM tariff_assignments WHERE tenant_id = $1 AND scope = 'charger' AND key = $2
    UNION ALL
    SELECT 2, a.scope, a.tariff_id FROM chargers c
    JOIN tariff_assignments a ON a.tenant_id = c.tenant_id AND a.scope = 'site' AND a.key = c.site_id
    WHERE c.tenant_id = $1 AND c.identity = $2
    UNION ALL
    SELECT 3, 'tenant', default_tariff FROM tenants WHERE id = $1 AND default_tariff IS NOT NULL
) AS named
LEFT JOIN LATERAL (
    SELECT document FROM tariffs t
    WHERE t.tenant_id = $1 AND t.id = named.tariff_id AND t.valid_from <= $3
    ORDER BY version DESC LIMIT 1
) AS valid ON true
ORDER BY named.width
"""


async def in_force(connection: Connection, tenant: str, charger: str, at: int) -> Tariff | None:
    """The tariff for a session that starts at a charger at that moment (ms); None when it is free.

    Raises OperatorError("unknown-tariff") when a scope that decides names a tariff which does not exist.
    """
    for row in await connection.fetch(_IN_FORCE, tenant, charger, to_datetime(at)):
        if not row["known"]:
            raise OperatorError(
                "unknown-tariff",
                f"the {row['scope']} of charger {charger} is to be priced with tariff {row['tariff_id']!r}, which does not exist; "
                "store that tariff, or assign another",
            )
        if row["document"] is not None:
            return decode(row["document"])
    return None


def _stored(row: asyncpg.Record) -> StoredTariff:
    return StoredTariff(decode(row["document"]), from_datetime(row["valid_from"]), from_datetime(row["created_at"]))
