"""Ownership of slots: one KV key per slot, whose revision is the epoch of its owner.

Claiming is a put: the new revision is larger than any before it, so the newest claim has the largest epoch, and every durable write
carries it. The session pool refuses what an older owner still writes.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from nats.js.kv import KeyValue


class Owner(Struct, frozen=True):
    """Who holds a slot."""

    worker: str
    claimed_at: int


async def claim(bucket: KeyValue, slots: Sequence[int], worker: str, now: int) -> dict[int, int]:
    """Claim the slots for a worker: slot to epoch."""
    value = msgspec.msgpack.encode(Owner(worker, now))
    epochs = await asyncio.gather(*(bucket.put(str(slot), value) for slot in slots))
    return dict(zip(slots, epochs, strict=True))
