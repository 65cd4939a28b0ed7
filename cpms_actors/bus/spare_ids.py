"""Transaction ids for when the session pool cannot lease any: a counter in a KV bucket, far above the pool's sequence.

A worker that starts while Postgres is away has no ids ahead, and a StartTransaction without an id cannot be answered. The pool's
sequence stays below FIRST for two thousand million transactions, so the two never meet; the counter is moved by compare and set, so two
workers never share a block.
"""

from typing import Final

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from cpms_actors.base.errors import Unavailable
from cpms_actors.bus.questions import LEASE_BLOCK, IdBlock

KEY: Final = "spare_ids"
FIRST: Final = 2_000_000_000
LAST: Final = 2**31 - 1
TRIES: Final = 8
SKIPPED: Final = 1_000_000  # after a restore


async def lease(bucket: KeyValue) -> IdBlock:
    """A block of ids that nobody else has. Raises Unavailable when the counter is contended or used up, NatsError without NATS."""
    for _ in range(TRIES):
        try:
            entry = await bucket.get(KEY)
            first, revision = int(entry.value or b"0"), entry.revision
        except KeyNotFoundError:
            first, revision = FIRST, 0
        last = first + LEASE_BLOCK - 1
        if last > LAST:
            raise Unavailable("the spare transaction ids are used up; the session pool must come back")
        try:
            await bucket.update(KEY, str(last + 1).encode(), last=revision)
        except KeyWrongLastSequenceError:
            continue
        return IdBlock(first, last)
    raise Unavailable("the spare transaction ids are contended; try again")


async def skip(bucket: KeyValue) -> None:
    """Go far ahead: chargers may hold ids that were leased after what is known here."""
    try:
        entry = await bucket.get(KEY)
        first, revision = int(entry.value or b"0"), entry.revision
    except KeyNotFoundError:
        first, revision = FIRST, 0
    await bucket.update(KEY, str(min(first + SKIPPED, LAST)).encode(), last=revision)
