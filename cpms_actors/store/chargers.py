"""Chargers and their connectors: what operators decided, and what the chargers said of themselves.

Operators write through `locked` and `save`, which touch only the operator's columns; what a charger reported is written by whoever
folds the journal, so that neither overwrites the other.
"""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.domain.access import BootPolicy, ChargerRecord
from cpms_actors.store.database import Connection


class Charger(Struct, frozen=True, kw_only=True):
    """A charger's row; the second half is the charger's own report. Moments in ms; `created_at` is 0 until the row is stored."""

    tenant_id: str
    identity: str
    security_profile: int = 1
    credential: bytes | None = None
    boot: BootPolicy = "Accepted"
    enabled: bool = True
    site_id: str | None = None
    model: str | None = None
    note: str | None = None
    created_at: int = 0
    vendor: str | None = None
    reported_model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    ocpp: str | None = None
    connected: bool = False
    connection: int | None = None
    last_seen_at: int | None = None
    booted_at: int | None = None
    boot_status: str | None = None

    def record(self) -> ChargerRecord:
        """What the gateway must know of it before it may connect."""
        return ChargerRecord(
            tenant=self.tenant_id,
            identity=self.identity,
            security_profile=self.security_profile,
            credential=self.credential,
            boot=self.boot,
            enabled=self.enabled,
        )


class Connector(Struct, frozen=True, kw_only=True):
    """What was last said of a connector; `evse` 0 is the charger itself. `status_at` is in ms."""

    evse: int
    connector: int
    status: str
    error_code: str | None
    info: str | None
    vendor_error: str | None
    status_at: int


_COLUMNS: Final = (
    "tenant_id, identity, security_profile, credential, boot, enabled, site_id, model, note, created_at,"
    " vendor, reported_model, serial, firmware, ocpp, connected, connection, last_seen_at, booted_at, boot_status"
)


async def add(connection: Connection, charger: Charger) -> Charger | None:
    """Store a new charger; None when the identity is taken.

    Raises asyncpg.ForeignKeyViolationError for an unknown tenant or site.
    """
    row = await connection.fetchrow(
        "INSERT INTO chargers (tenant_id, identity, security_profile, credential, boot, enabled, site_id, model, note)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        *_arguments(charger),
    )
    return None if row is None else _charger(row)


async def locked(connection: Connection, tenant: str, identity: str) -> Charger | None:
    """The charger, locked until the transaction ends; None when there is none."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM chargers WHERE tenant_id = $1 AND identity = $2 FOR NO KEY UPDATE", tenant, identity
    )
    return None if row is None else _charger(row)


async def save(connection: Connection, charger: Charger) -> None:
    """Write the operator's fields of a charger that `locked` gave. Raises asyncpg.ForeignKeyViolationError for an unknown site."""
    await connection.execute(
        "UPDATE chargers SET security_profile = $3, credential = $4, boot = $5, enabled = $6, site_id = $7, model = $8, note = $9"
        " WHERE tenant_id = $1 AND identity = $2",
        *_arguments(charger),
    )


async def find(connection: Connection, tenant: str, identity: str) -> Charger | None:
    """The charger; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM chargers WHERE tenant_id = $1 AND identity = $2", tenant, identity)
    return None if row is None else _charger(row)


async def page(
    connection: Connection,
    tenant: str,
    *,
    limit: int,
    after: str | None = None,
    site: str | None = None,
    connected: bool | None = None,
    boot: BootPolicy | None = None,
) -> list[Charger]:
    """A tenant's chargers by identity, at most `limit`, those after `after`; None in a filter lets everything through."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM chargers WHERE tenant_id = $1 AND ($2::text IS NULL OR identity > $2)"
        " AND ($3::text IS NULL OR site_id = $3) AND ($4::boolean IS NULL OR connected = $4) AND ($5::text IS NULL OR boot = $5)"
        " ORDER BY identity LIMIT $6",
        tenant,
        after,
        site,
        connected,
        boot,
        limit,
    )
    return [_charger(row) for row in rows]


async def records(connection: Connection, tenant: str, *, limit: int, after: str | None = None) -> list[ChargerRecord]:
    """What the gateway must know of a tenant's chargers, by identity, at most `limit`, those after `after`."""
    rows = await connection.fetch(
        "SELECT tenant_id AS tenant, identity, security_profile, credential, boot, enabled FROM chargers"
        " WHERE tenant_id = $1 AND ($2::text IS NULL OR identity > $2) ORDER BY identity LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [ChargerRecord(**row) for row in rows]


async def connectors(connection: Connection, tenant: str, identity: str, *, limit: int = 1_000) -> list[Connector]:
    """What was last said of a charger's connectors, by EVSE and connector, at most `limit`."""
    rows = await connection.fetch(
        "SELECT evse, connector, status, error_code, info, vendor_error, status_at FROM connectors"
        " WHERE tenant_id = $1 AND charger = $2 ORDER BY evse, connector LIMIT $3",
        tenant,
        identity,
        limit,
    )
    return [Connector(**{**row, "status_at": from_datetime(row["status_at"])}) for row in rows]


def _arguments(charger: Charger) -> tuple[str | int | bytes | None, ...]:
    return (
        charger.tenant_id,
        charger.identity,
        charger.security_profile,
        charger.credential,
        charger.boot,
        charger.enabled,
        charger.site_id,
        charger.model,
        charger.note,
    )


_MOMENTS: Final = ("created_at", "last_seen_at", "booted_at")


def _charger(row: asyncpg.Record) -> Charger:
    moments = {name: None if row[name] is None else from_datetime(row[name]) for name in _MOMENTS}
    return Charger(**{**row, **moments})
