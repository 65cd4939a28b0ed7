"""Ownership of slots: one KV key per slot, whose revision is the epoch of its owner.

Claiming is a put: the new revision is larger than any before it, so the newest claim has the largest epoch, and every durable write
carries it. The session pool refuses what an older owner still writes, and the older owner learns of the newer by watching the keys.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.js.kv import KeyValue

from cpms_actors.bus.watching import Watch
from cpms_actors.observe import logs

log = logs.get("slots")


class Owner(Struct, frozen=True):
    """Who holds a slot."""

    worker: str
    claimed_at: int


async def claim(bucket: KeyValue, slots: Sequence[int], worker: str, now: int) -> dict[int, int]:
    """Claim the slots for a worker: slot to epoch."""
    value = msgspec.msgpack.encode(Owner(worker, now))
    epochs = await asyncio.gather(*(bucket.put(str(slot), value) for slot in slots))
    return dict(zip(slots, epochs, strict=True))


async def watch(client: Client, bucket: KeyValue, epochs: Mapping[int, int], on_lost: Callable[[int], None]) -> None:
    """Follow the slots until cancelled; `on_lost` hears, once, of each slot of `epochs` that has been claimed after our epoch.

    A claim that was made while NATS was away is heard of when it is back. A slot that is claimed anew by us needs its new epoch in
    `epochs` before it is told of again.
    """
    told: dict[int, int] = {}  # slot to the epoch of ours that was lost

    def on_entry(key: str, value: bytes | None, revision: int) -> None:
        slot = int(key)
        epoch = epochs.get(slot)
        if value is None or epoch is None or revision <= epoch or told.get(slot) == epoch:
            return
        told[slot] = epoch
        log.warning("slot_lost", slot=slot, epoch=epoch, newer=revision)
        on_lost(slot)

    await Watch(client, bucket, "slots", on_entry, lambda _keys: None).run()
