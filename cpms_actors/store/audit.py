"""The audit: which operator did what to what, and when. Rows are only ever inserted, in the transaction of what they tell of."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.store.database import Connection

_COLUMNS: Final = "id, at, operator, verb, subject, detail"


class Entry(Struct, frozen=True, kw_only=True):
    """One act. `subject` is the kind and the name of what it was done to ("parked 7"), `detail` what else the verb has to say."""

    id: int
    at: int
    operator: str
    verb: str
    subject: str
    detail: dict[str, Any]


async def note(
    connection: Connection, tenant: str, *, operator: str, verb: str, subject: str, detail: dict[str, Any] | None = None
) -> None:
    """Write what an operator does in this transaction."""
    await connection.execute(
        "INSERT INTO audit (tenant_id, operator, verb, subject, detail) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        operator,
        verb,
        subject,
        msgspec.json.encode(detail or {}).decode(),
    )


async def page(connection: Connection, tenant: str, *, limit: int, before: int | None = None) -> list[Entry]:
    """A tenant's entries with a number below `before`, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM audit WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        tenant,
        before,
        limit,
    )
    return [Entry(**{**row, "at": from_datetime(row["at"]), "detail": msgspec.json.decode(row["detail"])}) for row in rows]


async def last_operator(connection: Connection, tenant: str, subject: str) -> str | None:
    """Who did something to the subject last; None when nobody has."""
    operator: str | None = await connection.fetchval(
        "SELECT operator FROM audit WHERE tenant_id = $1 AND subject = $2 ORDER BY id DESC LIMIT 1", tenant, subject
    )
    return operator
