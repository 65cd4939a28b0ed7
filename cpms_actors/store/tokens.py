"""Tokens: what a driver shows to a reader, and whether it may charge.

Ids do not know upper from lower case (OCPP 1.6 section 7.15, CiString20Type; OCPP 2.x IdTokenType): a token is found in any
case and kept in the one it was entered in.
"""

from typing import Final

import asyncpg
from msgspec import Struct

from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.store.database import Connection


class Token(Struct, frozen=True, kw_only=True):
    """A token's row. `kind` and `status` are words of OCPP 2.x; moments are in ms, `created_at` 0 until the row is stored."""

    tenant_id: str
    id: str
    kind: str = "ISO14443"
    status: str = "Accepted"
    group_id: str | None = None
    parent_id: str | None = None
    expires_at: int | None = None
    note: str | None = None
    created_at: int = 0


_COLUMNS: Final = "tenant_id, id, kind, status, group_id, parent_id, expires_at, note, created_at"


async def add(connection: Connection, token: Token) -> Token | None:
    """Store a new token; None when the id is taken, in whatever case.

    Raises asyncpg.ForeignKeyViolationError for an unknown tenant.
    """
    row = await connection.fetchrow(
        "INSERT INTO tokens (tenant_id, id, kind, status, group_id, parent_id, expires_at, note)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        *_arguments(token),
    )
    return None if row is None else _token(row)


async def locked(connection: Connection, tenant: str, token: str) -> Token | None:
    """The token, in any case, locked until the transaction ends; None when there is none."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM tokens WHERE tenant_id = $1 AND folded_id = lower($2) FOR UPDATE", tenant, token
    )
    return None if row is None else _token(row)


async def save(connection: Connection, token: Token) -> None:
    """Write every field of a token that `locked` gave."""
    await connection.execute(
        "UPDATE tokens SET kind = $3, status = $4, group_id = $5, parent_id = $6, expires_at = $7, note = $8"
        " WHERE tenant_id = $1 AND id = $2",
        *_arguments(token),
    )


async def find(connection: Connection, tenant: str, token: str) -> Token | None:
    """The token, in any case; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM tokens WHERE tenant_id = $1 AND folded_id = lower($2)", tenant, token)
    return None if row is None else _token(row)


async def page(
    connection: Connection,
    tenant: str,
    *,
    limit: int,
    after: str | None = None,
    status: str | None = None,
    group: str | None = None,
) -> list[Token]:
    """A tenant's tokens by id, at most `limit`, those after `after`; None in a filter lets everything through."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM tokens WHERE tenant_id = $1 AND ($2::text IS NULL OR id > $2)"
        " AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR lower(group_id) = lower($4)) ORDER BY id LIMIT $5",
        tenant,
        after,
        status,
        group,
        limit,
    )
    return [_token(row) for row in rows]


def _arguments(token: Token) -> tuple[object, ...]:
    return (
        token.tenant_id,
        token.id,
        token.kind,
        token.status,
        token.group_id,
        token.parent_id,
        None if token.expires_at is None else to_datetime(token.expires_at),
        token.note,
    )


def _token(row: asyncpg.Record) -> Token:
    expires = row["expires_at"]
    return Token(
        **{
            **row,
            "expires_at": None if expires is None else from_datetime(expires),
            "created_at": from_datetime(row["created_at"]),
        }
    )
