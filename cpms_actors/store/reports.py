"""Reports: every action that has no table of its own (firmware status, security events, device model, …), kept as it came."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.store.columns import Column, insert, moment, text, transpose
from cpms_actors.store.database import Connection

Row: TypeAlias = tuple[str, str, str, str, str, int]
"""Tenant, charger, action, payload (JSON text), message id, received at (ms)."""


class Report(Struct, frozen=True):
    """One report; `payload` is JSON text."""

    id: int
    charger: str
    action: str
    payload: str
    message_id: str
    received_at: int


_SAVE: Final = insert(
    "reports",
    (
        text("tenant_id"),
        text("charger"),
        text("action"),
        Column("payload", "text", "u.payload::jsonb"),
        text("message_id"),
        moment("received_at"),
    ),
)


async def save(connection: Connection, rows: Sequence[Row]) -> None:
    """Write the reports. Raises asyncpg.DataError for a payload that Postgres does not take as JSON."""
    if rows:
        await connection.execute(_SAVE, *transpose(rows))


async def latest(connection: Connection, tenant: str, charger: str, *, limit: int, action: str | None = None) -> list[Report]:
    """A charger's newest reports, newest first; of one action, or of all."""
    rows = await connection.fetch(
        "SELECT id, charger, action, payload, message_id, received_at FROM reports WHERE tenant_id = $1 AND charger = $2"
        " AND ($3::text IS NULL OR action = $3) ORDER BY received_at DESC, id DESC LIMIT $4",
        tenant,
        charger,
        action,
        limit,
    )
    return [Report(**{**row, "received_at": from_datetime(row["received_at"])}) for row in rows]
