"""Checkpoints of chargers' live state in a JetStream KV bucket, so that an actor survives its process.

A checkpoint carries the slot epoch of its writer and is written with the revision it replaces: when another owner has written
meanwhile the write is refused, and the writer knows that it has lost the slot. Saves wait, the newest of each charger, and go out
together.

While NATS is away the store is *stalled*: from the first write that fails for want of an answer, whoever waits hears False, and so
does every new save, at once. The newest checkpoints stay, one of them goes out again and again as a probe, and when it is stored so
are the others.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from enum import Enum, auto
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct
from nats.errors import BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import APIError, BucketNotFoundError, NotFoundError, ServiceUnavailableError
from nats.js.kv import KeyValue

from cpms_actors.bus import subjects
from cpms_actors.bus.waiters import Then, tell
from cpms_actors.bus.watching import entries
from cpms_actors.observe import logs

log = logs.get("live")

WAITING_MAX: Final = 20_000
TOGETHER_MAX: Final = 128
TIMEOUT_S: Final = 5.0
WRONG_REVISION: Final = (10_071, 10_164)  # JetStream: wrong last sequence, and its constant form
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
RETRY_JITTER: Final = 0.5  # the share of a wait that chance may take away
ONE_BY_ONE_MAX: Final = 16  # slots that are read each for itself; of more, the whole bucket is
OF_ITS_OWN: Final = (APIError, MaxPayloadError, BadSubjectError)  # JetStream answered, or it is the checkpoint's own fault


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


class Save(Struct):
    """The newest checkpoint of one charger, and whoever waits to hear that it, or one before it, is durable."""

    key: str
    checkpoint: Checkpoint
    waiters: list[Then]


class Outcome(Enum):
    """What became of one write."""

    STORED = auto()
    REFUSED = auto()  # by JetStream, or because a newer owner has written
    UNANSWERED = auto()


class LiveStore:
    """The checkpoints of one worker. Lives on the host loop; `save` never blocks."""

    def __init__(
        self, jetstream: JetStreamContext, on_fenced: Callable[[str], None], *, chance: Callable[[], float] = random.random
    ) -> None:
        self._jetstream = jetstream
        self._chance = chance
        self._on_fenced = on_fenced
        self._revisions: dict[str, int] = {}
        self._loaded: dict[str, bytes] = {}
        self._waiting: dict[str, Save] = {}
        self._writing: list[Save] = []
        self._waiters = 0  # not told yet
        self._awake = asyncio.Event()
        self._stalled = False
        self._closed = False
        self.saved = 0
        self.refusals = 0
        self.fenced = 0
        self.stalls = 0
        self.waiting_peak = 0

    @property
    def waiting(self) -> int:
        """Checkpoints that are not stored yet."""
        return len(self._waiting) + len(self._writing)

    async def load(self, bucket: KeyValue, slots: Iterable[int]) -> int:
        """Read the checkpoints of these slots, in place of what was known of them; `take` gives them out. How many."""
        wanted = {str(slot) for slot in slots}
        for known in (self._revisions, self._loaded):
            for key in [key for key in known if key.partition(".")[0] in wanted]:
                del known[key]  # another owner may have written since
        found = len(self._loaded)
        keys = [f"{slot}.>" for slot in wanted] if len(wanted) <= ONE_BY_ONE_MAX else [">"]
        for some in keys:
            async for key, value, revision in entries(bucket, some):
                if value and key.partition(".")[0] in wanted:
                    self._revisions[key] = revision
                    self._read(key, value)
        return len(self._loaded) - found

    def _read(self, key: str, value: bytes) -> None:
        try:
            self._loaded[key] = _decode(value).live
        except msgspec.DecodeError as error:  # the charger starts afresh, as one without a checkpoint; the others are not held up
            log.error("checkpoint_unreadable", key=key, error=repr(error))

    def take(self, key: str) -> bytes | None:
        """The live state a charger had when its last owner saved it, once."""
        return self._loaded.pop(key, None)

    def peek(self, key: str) -> bytes | None:
        """The same, and it stays there."""
        return self._loaded.get(key)

    def put(self, key: str, live: bytes) -> None:
        """Keep a live state in this process, for a charger that left and may come back; nothing is written."""
        self._loaded[key] = live

    def save(self, key: str, epoch: int, live: bytes, then: Then) -> bool:
        """Store a checkpoint; `then` hears whether it is durable. False, and counted, when too many wait: `then` is not called.

        A checkpoint takes the place of one of the same key that still waits. After False the checkpoint may still become durable.
        """
        waiting = self._waiting.get(key)
        if self._closed or self._waiters >= WAITING_MAX or (waiting is None and len(self._waiting) >= WAITING_MAX):
            self.refusals += 1
            return False
        if waiting is None:
            waiting = self._waiting[key] = Save(key, Checkpoint(epoch, live), [])
        else:
            waiting.checkpoint = Checkpoint(epoch, live)
        self._awake.set()
        if self._stalled:
            tell((then,), False)
        else:
            waiting.waiters.append(then)
            self._waiters += 1
        return True

    async def run(self) -> None:
        """Write checkpoints until cancelled; then whoever waits hears False and nothing is saved any more, until it is run again."""
        self._closed = self._stalled = False
        delay = RETRY_FIRST_S
        try:
            while True:
                await self._awake.wait()
                await self._write_together(1 if self._stalled else TOGETHER_MAX)
                if self._stalled:
                    await asyncio.sleep(delay * (1.0 - RETRY_JITTER * self._chance()))
                    delay = min(delay * 2, RETRY_MAX_S)
                else:
                    delay = RETRY_FIRST_S
        except asyncio.CancelledError:
            self._closed = True
            raise
        finally:
            self._stalled = True  # nobody shall wait for what nobody does
            writing, self._writing = self._writing, []
            self._settle(writing, [Outcome.UNANSWERED] * len(writing))
            self._give_up_waiters()

    async def _write_together(self, at_most: int) -> None:
        """Write some of what waits and tell whoever waits for it."""
        self.waiting_peak = max(self.waiting_peak, self.waiting)
        self._writing = [self._waiting.pop(key) for key in list(islice(self._waiting, at_most))]
        if not self._waiting:
            self._awake.clear()
        results = await asyncio.gather(*(self._write(save.key, save.checkpoint) for save in self._writing), return_exceptions=True)
        writing, self._writing = self._writing, []
        outcomes = [_outcome(save.key, result) for save, result in zip(writing, results, strict=True)]
        if self._stalled and Outcome.UNANSWERED not in outcomes:
            self._stalled = False
            log.info("checkpoints_flow", waiting=self.waiting)
        self._settle(writing, outcomes)

    def _settle(self, saves: list[Save], outcomes: list[Outcome]) -> None:
        """Tell whoever waits; keep what went unanswered, unless something newer waits: bounded by what may wait and one batch."""
        for save, outcome in zip(saves, outcomes, strict=True):
            self._tell(save, outcome is Outcome.STORED)
            if outcome is Outcome.UNANSWERED:
                self._waiting.setdefault(save.key, save)
                self._awake.set()

    def _stall(self, error: Exception) -> None:
        """There is no answer: whoever waits for a later write need not."""
        if not self._stalled:
            self._stalled = True
            self.stalls += 1
            log.warning("checkpoints_stalled", error=repr(error), waiting=self.waiting)
        self._give_up_waiters()

    def _give_up_waiters(self) -> None:
        for save in list(self._waiting.values()):
            self._tell(save, False)

    def _tell(self, save: Save, durable: bool) -> None:
        waiters, save.waiters = save.waiters, []
        self._waiters -= len(waiters)
        tell(waiters, durable)

    async def _write(self, key: str, checkpoint: Checkpoint) -> Outcome:
        for _ in range(2):  # the second time with the revision that the first was told of
            try:
                ack = await self._jetstream.publish(
                    f"$KV.{subjects.LIVE_BUCKET}.{key}",
                    _encode(checkpoint),
                    timeout=TIMEOUT_S,
                    headers={"Nats-Expected-Last-Subject-Sequence": str(self._revisions.get(key, 0))},
                )
            except (NatsError, TimeoutError, OSError) as error:
                if not isinstance(error, APIError) or error.err_code not in WRONG_REVISION:
                    return self._failed(key, error)
                outcome = await self._whose(key, checkpoint.epoch)
                if outcome is not None:
                    return outcome
            else:
                self._revisions[key] = ack.seq
                self.saved += 1
                return Outcome.STORED
        return Outcome.REFUSED

    def _failed(self, key: str, error: Exception) -> Outcome:
        if isinstance(error, OF_ITS_OWN) and not isinstance(error, ServiceUnavailableError):
            log.warning("checkpoint_failed", key=key, error=repr(error))
            return Outcome.REFUSED
        self._stall(error)
        return Outcome.UNANSWERED

    async def _whose(self, key: str, epoch: int) -> Outcome | None:
        """None when the revision in the way is our own, from a save that timed out and was stored all the same; else what became of
        this one."""
        try:
            stored = await self._jetstream.get_last_msg(f"KV_{subjects.LIVE_BUCKET}", f"$KV.{subjects.LIVE_BUCKET}.{key}")
        except (NatsError, TimeoutError, OSError) as error:
            return self._failed(key, error)
        if stored.data and _decode(stored.data).epoch > epoch:
            self.fenced += 1
            log.warning("slot_lost", key=key, epoch=epoch)
            self._on_fenced(key)
            return Outcome.REFUSED
        self._revisions[key] = stored.seq or 0
        return None


def _outcome(key: str, result: Outcome | BaseException) -> Outcome:
    """A write that failed in no foreseen way, an unreadable revision in its way or a fault of `on_fenced`, costs only itself."""
    if isinstance(result, Outcome):
        return result
    log.error("checkpoint_failed", key=key, exc_info=result)
    return Outcome.REFUSED
