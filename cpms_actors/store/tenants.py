"""Tenants: who shares this deployment, and under which policies.

Every pool may read all tenants (it must know them before it can name them in a transaction); to write one, the transaction must
name it. Changes go through `locked` and `save` in one transaction, so that two operators never overwrite each other's fields.
"""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.domain.access import OfflinePolicy, Strictness
from cpms_actors.domain.access import Tenant as Policy
from cpms_actors.store.database import Connection


class Tenant(Struct, frozen=True, kw_only=True):
    """A tenant's row. `failed_start_s` and `endless_s`: see domain/silence.py. `created_at` is in ms; 0 until the row is stored."""

    id: str
    name: str = ""
    profile0: bool = False
    strictness: Strictness = "lenient"
    offline: OfflinePolicy = "cached"
    heartbeat_s: int = 300
    failed_start_s: int = 300
    endless_s: int = 21_600
    currency: str = "EUR"
    timezone: str = "UTC"
    default_tariff: str | None = None
    created_at: int = 0

    def policy(self) -> Policy:
        """What the workers must know of it."""
        return Policy(
            id=self.id,
            name=self.name,
            profile0=self.profile0,
            strictness=self.strictness,
            offline=self.offline,
            heartbeat_s=self.heartbeat_s,
            currency=self.currency,
            timezone=self.timezone,
        )


_COLUMNS: Final = (
    "id, name, profile0, strictness, offline, heartbeat_s, failed_start_s, endless_s, currency, timezone, default_tariff, created_at"
)
_VALUES: Final = (
    "name = $2, profile0 = $3, strictness = $4, offline = $5, heartbeat_s = $6, failed_start_s = $7, endless_s = $8, currency = $9,"
    " timezone = $10, default_tariff = $11"
)


async def add(connection: Connection, tenant: Tenant) -> Tenant | None:
    """Store a new tenant; None when the id is taken."""
    row = await connection.fetchrow(
        "INSERT INTO tenants (id, name, profile0, strictness, offline, heartbeat_s, failed_start_s, endless_s, currency, timezone,"
        f" default_tariff) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        *_arguments(tenant),
    )
    return None if row is None else _tenant(row)


async def locked(connection: Connection, tenant: str) -> Tenant | None:
    """The tenant, locked until the transaction ends; None when there is none or the transaction does not name it."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM tenants WHERE id = $1 FOR UPDATE", tenant)
    return None if row is None else _tenant(row)


async def save(connection: Connection, tenant: Tenant) -> None:
    """Write every field of a tenant that `locked` gave."""
    await connection.execute(f"UPDATE tenants SET {_VALUES} WHERE id = $1", *_arguments(tenant))


async def find(connection: Connection, tenant: str) -> Tenant | None:
    """The tenant; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM tenants WHERE id = $1", tenant)
    return None if row is None else _tenant(row)


async def page(connection: Connection, *, limit: int, after: str | None = None) -> list[Tenant]:
    """Tenants by id, at most `limit`, those after `after`."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM tenants WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2", after, limit
    )
    return [_tenant(row) for row in rows]


async def ids(connection: Connection) -> list[str]:
    """The ids of all tenants: what a pool names to see everything."""
    return [row["id"] for row in await connection.fetch("SELECT id FROM tenants ORDER BY id")]


def _arguments(tenant: Tenant) -> tuple[str | int | None, ...]:
    return (
        tenant.id,
        tenant.name,
        tenant.profile0,
        tenant.strictness,
        tenant.offline,
        tenant.heartbeat_s,
        tenant.failed_start_s,
        tenant.endless_s,
        tenant.currency,
        tenant.timezone,
        tenant.default_tariff,
    )


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(**{**row, "created_at": from_datetime(row["created_at"])})
