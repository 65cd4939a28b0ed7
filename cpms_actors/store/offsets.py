"""Who folds which lane, and how far each is folded.

Nobody owns a lane by believing so. A claim bumps the lane's epoch; the fold of a batch begins with `advance`, which locks the
lane's row, checks that epoch, and moves the offset in the same transaction as what was folded. An owner that lost its lane
finds no row, and its transaction does nothing. Nor does anybody know by memory how far a lane is: the offset moves from where the
owner left it or not at all, for a Postgres that came back without its last commits (a standby that takes over) has not got them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.ids import LANES, SLOTS, lane_of
from cpms_actors.store.columns import insert, text, transpose, whole
from cpms_actors.store.database import Connection

WRITERS_KEPT_DAYS: Final = 400  # longer than any journal keeps a page: one that is read again must be known for as long


class Claim(Struct, frozen=True):
    """A lane that is ours while the row's epoch is this one."""

    lane: int
    epoch: int


class Progress(Struct):
    """How far a lane is folded: the last page, each writer's last number, the newest ownership of each slot."""

    stream: str
    stream_seq: int
    writers: dict[str, int]
    slot_epochs: dict[int, int]


# Looks first: ON CONFLICT alone waits for every fold that is under way, since it moves its lane's row.
_ADD_MISSING: Final = """
INSERT INTO lanes (lane) SELECT lane FROM generate_series(0, $1 - 1) AS n (lane)
WHERE NOT EXISTS (SELECT FROM lanes l WHERE l.lane = n.lane) ON CONFLICT DO NOTHING
"""
_HOLD: Final = """
UPDATE lanes SET claimed_until = now() + $2::float8 * interval '1 second'
WHERE owner = $1 AND claimed_until > now() RETURNING lane, epoch
"""
_CLAIM: Final = """
UPDATE lanes SET owner = $1, epoch = epoch + 1, claimed_until = now() + $2::float8 * interval '1 second'
WHERE lane IN (SELECT lane FROM lanes WHERE claimed_until <= now() ORDER BY lane LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING lane, epoch
"""
_ADVANCE: Final = """
UPDATE lanes SET stream = $3, stream_seq = $5, folded_at = now() WHERE lane = $1 AND epoch = $2 AND stream_seq = $4 RETURNING lane
"""
_SAVE_WRITERS: Final = insert(
    "journal_writers",
    (whole("lane"), text("writer"), whole("number")),
    "ON CONFLICT (lane, writer) DO UPDATE SET number = EXCLUDED.number, updated_at = now()",
)
_SAVE_SLOT_EPOCHS: Final = insert(
    "slot_epochs",
    (whole("slot"), whole("epoch")),
    "ON CONFLICT (slot) DO UPDATE SET epoch = EXCLUDED.epoch WHERE slot_epochs.epoch < EXCLUDED.epoch",
)


async def hold(connection: Connection, owner: str, ttl_s: float) -> tuple[list[Claim], int]:
    """Say that the owner lives, renew what it holds and claim up to its share of what is free; the claims, and the share.

    The share is the lanes divided by the owners alive, rounded up, so that a new process finds lanes as soon as others `release`
    what they hold beyond it. Raises OperatorError when the database was begun with more lanes: nobody would fold them.
    """
    await connection.execute(_ADD_MISSING, LANES)
    begun_with = await connection.fetchval("SELECT count(*) FROM lanes")
    if begun_with != LANES:
        text = f"this deployment was begun with {begun_with} lanes and this release has {LANES}; run the release that it was begun with"
        raise OperatorError("lanes", text)
    await connection.execute(
        "INSERT INTO pool_members VALUES ($1, now() + $2::float8 * interval '1 second')"
        " ON CONFLICT (owner) DO UPDATE SET seen_until = EXCLUDED.seen_until",
        owner,
        ttl_s,
    )
    await connection.execute("DELETE FROM pool_members WHERE seen_until < now() - interval '1 day'")
    alive = await connection.fetchval("SELECT count(*) FROM pool_members WHERE seen_until > now()")
    share = -(-LANES // alive)
    held = await connection.fetch(_HOLD, owner, ttl_s)
    if len(held) < share:
        held += await connection.fetch(_CLAIM, owner, ttl_s, share - len(held))
    return sorted((Claim(row["lane"], row["epoch"]) for row in held), key=lambda claim: claim.lane), share


async def release(connection: Connection, owner: str, claims: Sequence[Claim]) -> None:
    """Give lanes up, at once and not when the claim runs out."""
    await connection.execute(
        "UPDATE lanes l SET owner = NULL, claimed_until = '-infinity'"
        " FROM unnest($2::int[], $3::bigint[]) AS u (lane, epoch) WHERE l.lane = u.lane AND l.epoch = u.epoch AND l.owner = $1",
        owner,
        [claim.lane for claim in claims],
        [claim.epoch for claim in claims],
    )


async def leave(connection: Connection, owner: str) -> None:
    """The owner stops: its lanes and its share are free."""
    await connection.execute("UPDATE lanes SET owner = NULL, claimed_until = '-infinity' WHERE owner = $1", owner)
    await connection.execute("DELETE FROM pool_members WHERE owner = $1", owner)


async def load_progress(connection: Connection, lane: int) -> Progress:
    """How far the lane is folded, once what is too old to matter is forgotten."""
    await connection.execute(
        "DELETE FROM journal_writers WHERE lane = $1 AND updated_at < now() - $2 * interval '1 day'", lane, WRITERS_KEPT_DAYS
    )
    row = await connection.fetchrow("SELECT stream, stream_seq FROM lanes WHERE lane = $1", lane)
    writers = await connection.fetch("SELECT writer, number FROM journal_writers WHERE lane = $1", lane)
    epochs = await connection.fetch("SELECT slot, epoch FROM slot_epochs WHERE slot = ANY ($1::int[])", slots_of(lane))
    return Progress(
        stream=row["stream"] if row else "",
        stream_seq=row["stream_seq"] if row else 0,
        writers={entry["writer"]: entry["number"] for entry in writers},
        slot_epochs={entry["slot"]: entry["epoch"] for entry in epochs},
    )


async def newest_epoch(connection: Connection, slot: int) -> int:
    """The newest ownership of a slot that was folded; 0 when none was."""
    epoch: int | None = await connection.fetchval("SELECT epoch FROM slot_epochs WHERE slot = $1", slot)
    return epoch or 0


async def folded(connection: Connection, stream: str) -> dict[int, int]:
    """The last page that is folded of each lane, as far as the lanes are folded from this stream at all."""
    rows = await connection.fetch("SELECT lane, stream_seq FROM lanes WHERE stream = $1 AND stream_seq > 0", stream)
    return {row["lane"]: row["stream_seq"] for row in rows}


def slots_of(lane: int) -> list[int]:
    """The slots whose events the lane carries."""
    return [slot for slot in range(SLOTS) if lane_of(slot) == lane]


async def forget_stream(connection: Connection, claim: Claim) -> None:
    """The journal began anew: its sequence, and the epochs of slots that were kept beside it, start over.

    Writers' page numbers stay: their names are never used again, and a page that was carried over is still folded once.
    """
    await connection.execute("DELETE FROM slot_epochs WHERE slot = ANY ($1::int[])", slots_of(claim.lane))
    await connection.execute("UPDATE lanes SET stream_seq = 0 WHERE lane = $1 AND epoch = $2", claim.lane, claim.epoch)


async def advance(connection: Connection, claim: Claim, progress: Progress, stream_seq: int) -> bool:
    """Lock the lane and move its offset from where `progress` has it, as the first step of a fold's transaction.

    False: the lane is another's. Raises Unavailable when Postgres has it elsewhere: read the progress again.
    """
    if await connection.fetchrow(_ADVANCE, claim.lane, claim.epoch, progress.stream, progress.stream_seq, stream_seq) is not None:
        return True
    found = await connection.fetchval("SELECT stream_seq FROM lanes WHERE lane = $1 AND epoch = $2", claim.lane, claim.epoch)
    if found is None:
        return False
    raise Unavailable(f"Postgres has lane {claim.lane} at page {found}, which was left at {progress.stream_seq}")


async def save_writers(connection: Connection, lane: int, writers: Mapping[str, int]) -> None:
    """Record the last page number of these writers."""
    if writers:
        await connection.execute(_SAVE_WRITERS, *transpose([(lane, writer, number) for writer, number in writers.items()]))


async def save_slot_epochs(connection: Connection, epochs: Mapping[int, int]) -> None:
    """Record the newest ownership of these slots."""
    if epochs:
        await connection.execute(_SAVE_SLOT_EPOCHS, *transpose(list(epochs.items())))
