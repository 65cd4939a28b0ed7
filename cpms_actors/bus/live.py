"""Checkpoints of chargers' live state in a JetStream KV bucket, so that an actor survives its process.

A checkpoint carries the slot epoch of its writer and is written with the revision it replaces: when another owner has written
meanwhile the write is refused, and the writer knows that it has lost the slot. Saves wait in a bounded queue and go out together.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import APIError, BucketNotFoundError, NotFoundError
from nats.js.kv import KeyValue

from cpms_actors.bus import subjects
from cpms_actors.observe import logs

log = logs.get("live")

WAITING_MAX: Final = 20_000
TOGETHER_MAX: Final = 128
TIMEOUT_S: Final = 5.0
WRONG_REVISION: Final = (10_071, 10_164)  # JetStream: wrong last sequence, and its constant form
Then = Callable[[bool], None]


class Checkpoint(Struct, frozen=True, array_like=True, gc=False):
    """What a key holds: the slot epoch of the writer and the encoded live state."""

    epoch: int
    live: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


async def open_bucket(jetstream: JetStreamContext, name: str, replicas: int) -> KeyValue:
    """The KV bucket, created when it is missing: one revision per key, on file."""
    try:
        return await jetstream.key_value(name)
    except (BucketNotFoundError, NotFoundError):
        return await jetstream.create_key_value(KeyValueConfig(bucket=name, history=1, storage=StorageType.FILE, replicas=replicas))


class LiveStore:
    """The checkpoints of one worker. Lives on the host loop; `save` never blocks."""

    def __init__(self, jetstream: JetStreamContext, on_fenced: Callable[[str], None]) -> None:
        self._jetstream = jetstream
        self._on_fenced = on_fenced
        self._revisions: dict[str, int] = {}
        self._loaded: dict[str, bytes] = {}
        self._waiting: list[tuple[str, Checkpoint, Then]] = []
        self._awake = asyncio.Event()
        self.saved = 0
        self.refusals = 0
        self.fenced = 0

    async def load(self, bucket: KeyValue) -> int:
        """Read every checkpoint there is; `take` gives them out. How many."""
        watcher = await bucket.watchall()
        try:
            async for entry in watcher:
                if entry is None:
                    break
                if entry.value and entry.revision is not None:
                    self._revisions[entry.key] = entry.revision
                    self._loaded[entry.key] = _decode(entry.value).live
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]  # untyped in nats-py
        return len(self._loaded)

    def take(self, key: str) -> bytes | None:
        """The live state a charger had when its last owner saved it, once."""
        return self._loaded.pop(key, None)

    def put(self, key: str, live: bytes) -> None:
        """Keep a live state in this process, for a charger that left and may come back; nothing is written."""
        self._loaded[key] = live

    def save(self, key: str, epoch: int, live: bytes, then: Then) -> bool:
        """Store a checkpoint; `then` hears whether it is durable. False, and counted, when too many wait: `then` is not called."""
        if len(self._waiting) >= WAITING_MAX:
            self.refusals += 1
            return False
        self._waiting.append((key, Checkpoint(epoch, live), then))
        self._awake.set()
        return True

    async def run(self) -> None:
        """Write checkpoints until cancelled."""
        while True:
            await self._awake.wait()
            batch, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            if not self._waiting:
                self._awake.clear()
            outcomes = await asyncio.gather(*(self._write(key, checkpoint) for key, checkpoint, _ in batch))
            for (_, _, then), stored in zip(batch, outcomes, strict=True):
                then(stored)

    async def _write(self, key: str, checkpoint: Checkpoint) -> bool:
        for _ in range(2):  # the second time with the revision that the first was told of
            try:
                ack = await self._jetstream.publish(
                    f"$KV.{subjects.LIVE_BUCKET}.{key}",
                    _encode(checkpoint),
                    timeout=TIMEOUT_S,
                    headers={"Nats-Expected-Last-Subject-Sequence": str(self._revisions.get(key, 0))},
                )
            except APIError as error:
                if error.err_code not in WRONG_REVISION:
                    log.warning("checkpoint_failed", key=key, error=repr(error))
                    return False
                if not await self._still_mine(key, checkpoint.epoch):
                    return False
            except (NatsError, TimeoutError, OSError) as error:
                log.warning("checkpoint_failed", key=key, error=repr(error))
                return False
            else:
                self._revisions[key] = ack.seq
                self.saved += 1
                return True
        return False

    async def _still_mine(self, key: str, epoch: int) -> bool:
        """Whether the revision that is in the way is our own, from a save that timed out and was stored all the same."""
        try:
            stored = await self._jetstream.get_last_msg(f"KV_{subjects.LIVE_BUCKET}", f"$KV.{subjects.LIVE_BUCKET}.{key}")
        except (NatsError, APIError, TimeoutError, OSError) as error:
            log.warning("checkpoint_failed", key=key, error=repr(error))
            return False
        if stored.data and _decode(stored.data).epoch > epoch:
            self.fenced += 1
            log.warning("slot_lost", key=key, epoch=epoch)
            self._on_fenced(key)
            return False
        self._revisions[key] = stored.seq or 0
        return True
