"""What operators read of sessions, CDRs and parked messages: SQL here, rows to the views of the admin verbs.

Every query names the tenant, although row level security would hide the others' rows, so that the indexes serve it; every list is a
page. The order is the order of arrival, newest first: ids count up, and a CDR's `created_at` with its id does.
"""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from cpms_actors.base.time import format_rfc3339, from_datetime, parse_rfc3339, to_datetime
from cpms_actors.bus.verbs_ledger import (
    CdrDetail,
    CdrList,
    CdrView,
    CostLine,
    CostPeriod,
    Reading,
    SessionDetail,
    SessionList,
    SessionView,
)
from cpms_actors.bus.verbs_parked import ParkedDetail, ParkedList, ParkedView
from cpms_actors.domain.cdr import Detail
from cpms_actors.store import audit
from cpms_actors.store.database import Connection

CDRS_OF_SESSION_MAX: Final = 100
TRANSACTIONS_MAX: Final = 100

_SESSION: Final = (
    "tenant_id AS tenant, id, charger, transaction, evse, connector, token_id AS token, status, started_at, ended_at, meter_start_wh,"
    " meter_stop_wh, energy_wh, reason, charging_state, offline, gaps, flags, version, rated_version, updated_at"
)
_CDR: Final = (
    "tenant_id AS tenant, id, session_id AS session, session_version, charger, token, started_at, ended_at, energy_wh, charging_s,"
    " parking_s, currency, total_excl_minor, tax_minor, total_incl_minor, tariff_id AS tariff, tariff_version, provisional, credits,"
    " created_at"
)
_PARKED: Final = "tenant_id AS tenant, id, charger, reason, detail, action, message_id, received_at, resolved_at, resolution"
_DETAIL: Final = msgspec.json.Decoder(Detail)


async def sessions(connection: Connection, request: SessionList, before: int | None) -> list[SessionView]:
    """Sessions with a number below `before`, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_SESSION} FROM sessions WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2)"
        " AND ($3::text IS NULL OR charger = $3) AND ($4::text IS NULL OR lower(token_id) = lower($4))"
        " AND ($5::text IS NULL OR status = $5) ORDER BY id DESC LIMIT $6",
        request.tenant,
        before,
        request.charger,
        request.token,
        request.status,
        request.limit,
    )
    return [_session(row) for row in rows]


async def session(connection: Connection, tenant: str, number: int, readings: int) -> SessionDetail | None:
    """A session with its newest readings; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_SESSION} FROM sessions WHERE tenant_id = $1 AND id = $2", tenant, number)
    if row is None:
        return None
    transactions = await connection.fetch(
        "SELECT transaction FROM session_transactions WHERE tenant_id = $1 AND session_id = $2 ORDER BY transaction LIMIT $3",
        tenant,
        number,
        TRANSACTIONS_MAX,
    )
    values = await connection.fetch(
        "SELECT taken_at, value, measurand, context, phase, location, unit FROM meter_values"
        " WHERE tenant_id = $1 AND session_id = $2 ORDER BY taken_at DESC, measurand, phase LIMIT $3",
        tenant,
        number,
        readings,
    )
    cdrs = await connection.fetch(
        "SELECT id FROM cdrs WHERE tenant_id = $1 AND session_id = $2 ORDER BY created_at, id LIMIT $3",
        tenant,
        number,
        CDRS_OF_SESSION_MAX,
    )
    error = await connection.fetchval(
        "SELECT error FROM session_rating_errors WHERE tenant_id = $1 AND session_id = $2 AND session_version = $3",
        tenant,
        number,
        row["version"],
    )
    return SessionDetail(
        session=_session(row),
        transactions=[each["transaction"] for each in transactions],
        readings=[Reading(**each) for each in reversed(values)],
        cdrs=[each["id"] for each in cdrs],
        rating_error=error,
    )


async def sessions_of(connection: Connection, tenant: str, charger: str, transaction: str) -> list[SessionView]:
    """The sessions of a charger that have, or once had, this transaction id, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_SESSION} FROM sessions WHERE tenant_id = $1 AND id IN ("
        " SELECT session_id FROM session_transactions WHERE tenant_id = $1 AND charger = $2 AND transaction = $3"
        " UNION SELECT id FROM sessions WHERE tenant_id = $1 AND charger = $2 AND transaction = $3) ORDER BY id DESC LIMIT $4",
        tenant,
        charger,
        transaction,
        TRANSACTIONS_MAX,
    )
    return [_session(row) for row in rows]


async def cdrs(connection: Connection, request: CdrList, before: tuple[datetime, str] | None) -> list[CdrView]:
    """CDRs drawn up before that moment and id, the newest first."""
    moment, number = before or (None, None)
    rows = await connection.fetch(
        f"SELECT {_CDR} FROM cdrs WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text))"
        " AND ($4::text IS NULL OR charger = $4) AND ($5::text IS NULL OR lower(token) = lower($5))"
        " AND ($6::bigint IS NULL OR session_id = $6) ORDER BY created_at DESC, id DESC LIMIT $7",
        request.tenant,
        moment,
        number,
        request.charger,
        request.token,
        request.session,
        request.limit,
    )
    return [CdrView(**row) for row in rows]


async def cdr(connection: Connection, tenant: str, number: str) -> CdrDetail | None:
    """A CDR with the lines and periods of its totals; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_CDR}, detail FROM cdrs WHERE tenant_id = $1 AND id = $2", tenant, number)
    if row is None:
        return None
    fields = dict(row)
    detail = _DETAIL.decode(fields.pop("detail"))
    return CdrDetail(
        cdr=CdrView(**fields),
        lines=[CostLine(**msgspec.structs.asdict(line)) for line in detail.lines],
        periods=[
            CostPeriod(kind=each.kind, started_at=to_datetime(each.start_ms), duration_ms=each.duration_ms, energy_wh=each.energy_wh)
            for each in detail.periods
        ],
    )


async def parked(connection: Connection, request: ParkedList, before: int | None) -> list[ParkedView]:
    """Parked messages with a number below `before`, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_PARKED} FROM parked_messages WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2)"
        " AND ($3::text IS NULL OR charger = $3) AND ($4::text IS NULL OR reason = $4)"
        " AND ($5::boolean IS NULL OR (resolved_at IS NOT NULL) = $5) ORDER BY id DESC LIMIT $6",
        request.tenant,
        before,
        request.charger,
        request.reason,
        request.resolved,
        request.limit,
    )
    return [ParkedView(**row) for row in rows]


async def parked_message(connection: Connection, tenant: str, number: int) -> ParkedDetail | None:
    """A parked message with what it held; None when there is none."""
    row = await connection.fetchrow(f"SELECT {_PARKED}, payload FROM parked_messages WHERE tenant_id = $1 AND id = $2", tenant, number)
    if row is None:
        return None
    fields = dict(row)
    payload: bytes = fields.pop("payload")
    view = ParkedView(**fields)
    by = await audit.last_operator(connection, tenant, parked_subject(number)) if view.resolved_at else None
    try:
        return ParkedDetail(parked=view, payload=msgspec.json.decode(payload), payload_base64=None, resolved_by=by)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a message is parked because something is wrong with it
        return ParkedDetail(parked=view, payload=None, payload_base64=b64encode(payload).decode(), resolved_by=by)


def parked_subject(number: int) -> str:
    """What the audit calls a parked message."""
    return f"parked {number}"


def cdr_cursor(rows: Sequence[CdrView], limit: int) -> str | None:
    """Where the page after this one starts."""
    return f"{format_rfc3339(from_datetime(rows[-1].created_at))} {rows[-1].id}" if len(rows) == limit else None


def parse_cdr_cursor(text: str) -> tuple[datetime, str] | None:
    """The inverse of `cdr_cursor`; None when the text is none."""
    moment, _, number = text.partition(" ")
    at = parse_rfc3339(moment)
    return None if at is None or not number else (to_datetime(at), number)


def _session(row: asyncpg.Record) -> SessionView:
    fields: dict[str, Any] = dict(row)
    return SessionView(**{**fields, "flags": fields["flags"].split()})
