"""Parked messages: what could not be folded and must not be dropped, for a person to judge."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.store.columns import Column, insert, moment, text, transpose
from cpms_actors.store.database import Connection

_READ: Final = "id, tenant_id AS tenant, charger, reason, detail, action, payload, message_id, received_at"


class ParkedMessage(Struct, frozen=True, kw_only=True):
    """One of them. `reason` is a stable word, `detail` a sentence; `id` is 0 until the row is stored."""

    id: int = 0
    tenant: str
    charger: str
    reason: str
    detail: str
    action: str | None
    payload: bytes
    message_id: str
    received_at: int


_SAVE: Final = insert(
    "parked_messages",
    (
        text("tenant_id"),
        text("charger"),
        text("reason"),
        text("detail"),
        text("action"),
        Column("payload", "bytea"),
        text("message_id"),
        moment("received_at"),
    ),
    "ON CONFLICT DO NOTHING",  # the same again of what one message tells of: see the index parked_messages_once
)


async def save(connection: Connection, messages: Sequence[ParkedMessage]) -> None:
    """Write them. NUL, which Postgres cannot hold in a text, is shown as U+2400."""
    if messages:
        await connection.execute(_SAVE, *transpose([_row(message) for message in messages]))


async def open_page(connection: Connection, tenant: str, *, limit: int, after: int = 0) -> list[ParkedMessage]:
    """A tenant's messages that nobody has resolved, by id, at most `limit`, those after the id `after`."""
    rows = await connection.fetch(
        f"SELECT {_READ} FROM parked_messages WHERE tenant_id = $1 AND id > $2 AND resolved_at IS NULL ORDER BY id LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [_message(row) for row in rows]


async def find(connection: Connection, tenant: str, message: int, *, lock: bool = False) -> ParkedMessage | None:
    """One message, resolved or not; None when there is none. `lock`: nobody else resolves it before this transaction ends."""
    rest = " FOR UPDATE" if lock else ""
    row = await connection.fetchrow(f"SELECT {_READ} FROM parked_messages WHERE tenant_id = $1 AND id = $2{rest}", tenant, message)
    return None if row is None else _message(row)


async def resolve(connection: Connection, tenant: str, message: int, resolution: str) -> bool:
    """Close one with a sentence that says what was done. False: there is no such open message."""
    tag: str = await connection.execute(
        "UPDATE parked_messages SET resolved_at = now(), resolution = $3 WHERE tenant_id = $1 AND id = $2 AND resolved_at IS NULL",
        tenant,
        message,
        resolution,
    )
    return tag == "UPDATE 1"


def _message(row: asyncpg.Record) -> ParkedMessage:
    return ParkedMessage(**{**row, "received_at": from_datetime(row["received_at"])})


def _row(message: ParkedMessage) -> tuple[Any, ...]:
    return (
        message.tenant,
        _shown(message.charger),
        message.reason,
        _shown(message.detail),
        _shown(message.action) if message.action else None,
        message.payload,
        _shown(message.message_id),
        message.received_at,
    )


def _shown(text: str) -> str:
    return text.replace("\0", "␀")
