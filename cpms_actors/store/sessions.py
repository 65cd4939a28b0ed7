"""Sessions as rows: the fold loads those a batch touches with one statement and writes them with another.

A session is found by any transaction id it is known by (`session_transactions`) or by the content of its start. Ids are drawn from
the sequence before the rows are written, so that readings can name a session that is new in the same batch.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import asyncpg
import msgspec
from msgspec import Struct

from cpms_actors.base.time import from_datetime
from cpms_actors.domain.charging import Marks, Session, flags, gaps
from cpms_actors.domain.events import IdToken
from cpms_actors.domain.sequence import Ranges
from cpms_actors.store.columns import Column, insert, moment, same_tenant, text, transpose, whole
from cpms_actors.store.database import Connection

Key: TypeAlias = tuple[str, str, str]
"""Tenant, charger, and a transaction id or a start key."""


class Stored(Struct, gc=False):
    """A session and the id of its row."""

    id: int
    session: Session


class Found(Struct):
    """What `load` found, by transaction id and by start key; one session may be under several keys, as the same object."""

    by_transaction: dict[Key, Stored]
    by_start: dict[Key, Stored]


_COLUMNS: Final = (
    whole("id"),
    text("tenant_id"),
    text("charger"),
    text("transaction"),
    text("start_key"),
    whole("evse"),
    whole("connector"),
    text("token_id"),
    text("token_kind"),
    text("stop_token_id"),
    text("stop_token_kind"),
    text("status"),
    moment("started_at"),
    moment("ended_at"),
    moment("heard_at"),
    whole("meter_start_wh"),
    whole("meter_last_wh"),
    whole("meter_stop_wh"),
    whole("energy_wh"),
    text("reason"),
    text("charging_state"),
    text("authorization_status"),
    whole("remote_start_id"),
    whole("reservation"),
    Column("offline", "boolean"),
    Column("seqs", "text", "u.seqs::int8multirange"),
    whole("gaps"),
    text("flags"),
    whole("version"),
    Column("marks", "text", "u.marks::jsonb"),
)
# What the token's owner belongs to, as it is when the session is written: tariffs may ask for it.
_TOKEN_GROUP: Final = Column(
    "token_group",
    "",
    f"(SELECT coalesce(t.group_id, t.parent_id) FROM tokens t WHERE {same_tenant('t', 'u')} AND t.folded_id = lower(u.token_id))",
)
_FIXED: Final = frozenset({"id", "tenant_id", "charger", "transaction", "start_key"})
_READ: Final = ", ".join(f"s.{column.name}" + ("::text" if column.name in ("seqs", "marks") else "") for column in _COLUMNS)
_SAVE: Final = insert(
    "sessions",
    (*_COLUMNS, _TOKEN_GROUP),
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column.name} = EXCLUDED.{column.name}" for column in (*_COLUMNS, _TOKEN_GROUP) if column.name not in _FIXED)
    + ", updated_at = now()",
)
# LATERAL with LIMIT is one look into the unique index for each. Joined plainly, a planner with statistics that are old, or none, reads
# all transactions of the tenant.
_LOAD: Final = f"""
SELECT w.transaction AS known_as, {_READ}
FROM unnest($1::text[], $2::text[], $3::text[]) AS w (tenant_id, charger, transaction)
CROSS JOIN LATERAL (
    SELECT t.session_id FROM session_transactions AS t
    WHERE t.tenant_id = w.tenant_id AND t.charger = w.charger AND t.transaction = w.transaction
    LIMIT 1
) AS t
JOIN sessions AS s ON s.id = t.session_id
UNION ALL
SELECT NULL, {_READ}
FROM unnest($4::text[], $5::text[], $6::text[]) AS w (tenant_id, charger, start_key)
CROSS JOIN LATERAL (
    SELECT * FROM sessions AS s
    WHERE {same_tenant("s", "w")} AND s.charger = w.charger AND s.start_key = w.start_key
    LIMIT 1
) AS s
"""
_SAVE_TRANSACTIONS: Final = insert(
    "session_transactions",
    (text("tenant_id"), text("charger"), text("transaction"), whole("session_id")),
    "ON CONFLICT (tenant_id, charger, transaction) DO UPDATE SET session_id = EXCLUDED.session_id",
)
_NO_KEYS: Final = ((), (), ())
_encode_marks: Final = msgspec.json.Encoder().encode
_decode_marks: Final = msgspec.json.Decoder(Marks).decode


async def load(connection: Connection, transactions: Sequence[Key], starts: Sequence[Key]) -> Found:
    """The sessions that have one of these transaction ids or start keys."""
    by_transaction = transpose(transactions) if transactions else _NO_KEYS
    by_start = transpose(starts) if starts else _NO_KEYS
    found = Found({}, {})
    once: dict[int, Stored] = {}
    for row in await connection.fetch(_LOAD, *by_transaction, *by_start):
        stored = once.get(row["id"])
        if stored is None:
            stored = once[row["id"]] = Stored(row["id"], _session(row))
        if row["known_as"] is not None:
            found.by_transaction[row["tenant_id"], row["charger"], row["known_as"]] = stored
        if stored.session.start_key is not None:
            found.by_start[row["tenant_id"], row["charger"], stored.session.start_key] = stored
    return found


async def draw_ids(connection: Connection, count: int) -> list[int]:
    """Ids for sessions to come; those that are not used are lost, which costs nothing."""
    rows = await connection.fetch("SELECT nextval('sessions_id_seq') AS id FROM generate_series(1, $1)", count)
    return [row["id"] for row in rows]


async def save(connection: Connection, entries: Sequence[Stored]) -> None:
    """Write the sessions, new or changed. Each must be given once."""
    if entries:
        await connection.execute(_SAVE, *transpose([_row(entry) for entry in entries]))


async def save_transactions(connection: Connection, known: Mapping[Key, int]) -> None:
    """Record by which transaction ids sessions are known. An id that begins anew leaves the session it had."""
    rows = [(*key, session_id) for key, session_id in known.items()]
    if rows:
        await connection.execute(_SAVE_TRANSACTIONS, *transpose(rows))


async def find(connection: Connection, session_id: int) -> Session | None:
    """One session by its row's id."""
    row = await connection.fetchrow(f"SELECT {_READ} FROM sessions s WHERE s.id = $1", session_id)
    return None if row is None else _session(row)


async def lease_transaction_ids(connection: Connection, blocks: int, block: int) -> tuple[int, int]:
    """The first and the last of `blocks` consecutive blocks of OCPP 1.6 transaction ids; fewer where the sequence wraps."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('transaction_id_blocks'))")
    rows = await connection.fetch("SELECT nextval('transaction_id_blocks') AS first FROM generate_series(1, $1)", blocks)
    first = last = rows[0]["first"]
    for row in rows[1:]:
        if row["first"] != last + block:
            break
        last = row["first"]
    return first, last + block - 1


def _row(entry: Stored) -> tuple[object, ...]:
    session = entry.session
    token, stop_token = session.token, session.stop_token
    return (
        entry.id,
        session.tenant,
        session.charger,
        session.transaction,
        session.start_key,
        session.evse,
        session.connector,
        token.id if token else None,
        token.kind if token else None,
        stop_token.id if stop_token else None,
        stop_token.kind if stop_token else None,
        session.status,
        session.started_at,
        session.ended_at,
        session.heard_at,
        session.meter_start_wh,
        session.meter_last_wh,
        session.meter_stop_wh,
        session.energy_wh,
        session.reason,
        session.charging_state,
        session.authorization,
        session.remote_start_id,
        session.reservation,
        session.offline,
        _multirange(session.seqs),
        len(gaps(session)) // 2,
        " ".join(flags(session)),
        session.version,
        _encode_marks(session.marks).decode(),
    )


def _session(row: asyncpg.Record) -> Session:
    return Session(
        tenant=row["tenant_id"],
        charger=row["charger"],
        transaction=row["transaction"],
        start_key=row["start_key"],
        evse=row["evse"],
        connector=row["connector"],
        token=_token(row["token_id"], row["token_kind"]),
        stop_token=_token(row["stop_token_id"], row["stop_token_kind"]),
        status=row["status"],
        started_at=from_datetime(row["started_at"]),
        ended_at=from_datetime(row["ended_at"]) if row["ended_at"] else None,
        heard_at=from_datetime(row["heard_at"]),
        meter_start_wh=row["meter_start_wh"],
        meter_last_wh=row["meter_last_wh"],
        meter_stop_wh=row["meter_stop_wh"],
        energy_wh=row["energy_wh"],
        reason=row["reason"],
        charging_state=row["charging_state"],
        authorization=row["authorization_status"],
        remote_start_id=row["remote_start_id"],
        reservation=row["reservation"],
        offline=row["offline"],
        seqs=_ranges(row["seqs"]),
        version=row["version"],
        marks=_decode_marks(row["marks"]),
    )


def _token(token_id: str | None, kind: str | None) -> IdToken | None:
    return None if token_id is None or kind is None else IdToken(token_id, kind)


def _multirange(ranges: Ranges) -> str:
    """`(0, 4, 7, 7)` as Postgres writes it."""
    pairs = zip(ranges[::2], ranges[1::2], strict=True)
    return "{" + ",".join(f"[{low},{high + 1})" for low, high in pairs) + "}"


def _ranges(multirange: str) -> Ranges:
    """The inverse of `_multirange`: Postgres writes ranges of integers low included, high excluded."""
    if multirange == "{}":
        return ()
    bounds: list[int] = []
    for pair in multirange[2:-2].split("),["):
        low, high = pair.split(",")
        bounds += (int(low), int(high) - 1)
    return tuple(bounds)
