"""Sites: the places where a tenant's chargers stand."""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.store.database import Connection


class Site(Struct, frozen=True, kw_only=True):
    """A site's row. `timezone` None is the tenant's; `created_at` is in ms, 0 until the row is stored."""

    tenant_id: str
    id: str
    name: str = ""
    timezone: str | None = None
    address: str | None = None
    city: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    created_at: int = 0


_COLUMNS: Final = "tenant_id, id, name, timezone, address, city, country, latitude, longitude, created_at"


async def add(connection: Connection, site: Site) -> Site | None:
    """Store a new site; None when the id is taken. Raises asyncpg.ForeignKeyViolationError for an unknown tenant."""
    row = await connection.fetchrow(
        "INSERT INTO sites (tenant_id, id, name, timezone, address, city, country, latitude, longitude)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        *_arguments(site),
    )
    return None if row is None else _site(row)


async def locked(connection: Connection, tenant: str, site: str) -> Site | None:
    """The site, locked until the transaction ends; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM sites WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, site)
    return None if row is None else _site(row)


async def save(connection: Connection, site: Site) -> None:
    """Write every field of a site that `locked` gave."""
    await connection.execute(
        "UPDATE sites SET name = $3, timezone = $4, address = $5, city = $6, country = $7, latitude = $8, longitude = $9"
        " WHERE tenant_id = $1 AND id = $2",
        *_arguments(site),
    )


async def find(connection: Connection, tenant: str, site: str) -> Site | None:
    """The site; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM sites WHERE tenant_id = $1 AND id = $2", tenant, site)
    return None if row is None else _site(row)


async def page(connection: Connection, tenant: str, *, limit: int, after: str | None = None) -> list[Site]:
    """A tenant's sites by id, at most `limit`, those after `after`."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM sites WHERE tenant_id = $1 AND ($2::text IS NULL OR id > $2) ORDER BY id LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [_site(row) for row in rows]


def _arguments(site: Site) -> tuple[str | float | None, ...]:
    return (
        site.tenant_id,
        site.id,
        site.name,
        site.timezone,
        site.address,
        site.city,
        site.country,
        site.latitude,
        site.longitude,
    )


def _site(row: asyncpg.Record) -> Site:
    return Site(**{**row, "created_at": from_datetime(row["created_at"])})
