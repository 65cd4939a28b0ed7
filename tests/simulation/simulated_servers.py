"""Models of the servers: a JetStream that keeps what it has acknowledged, a Postgres whose transactions are all or nothing.

They keep the terms on which the real ones are used, and take every liberty those leave: a message or its acknowledgement is lost or
late, a page is stored although its writer was told nothing, a transaction is undone with the process that began it. What they must not
do is lose a page they acknowledged or write half of a transaction.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from random import Random
from typing import Any

from msgspec import Struct
from nats.errors import TimeoutError as NatsTimeout

from cpms_actors.base.ids import LANES
from cpms_actors.domain.cdr import Cdr
from cpms_actors.pools.fold import Batch, StoredPage
from cpms_actors.store.sessions import Found, Key, Stored

DEDUPLICATION_S = 120.0
HOP_S = (0.0002, 0.004)  # a message's way, either way


class Faults(Struct):
    """What the network does to messages between a process and a server, as chances; all 0 when the time of faults is over."""

    lost: float = 0.0
    late: float = 0.0
    checkpoint_lost: float = 0.0
    stored_twice: float = 0.0
    late_s: tuple[float, float] = (0.5, 12.0)


class Wire:
    """The way of one process to the servers. `cut` while it is partitioned, `dead` when the process has died."""

    def __init__(self, chance: Random, faults: Faults) -> None:
        self.cut = False
        self.dead = False
        self._chance = chance
        self._faults = faults

    def hop_s(self) -> float | None:
        """How long a message is under way; None: it does not arrive."""
        if self.cut or self.dead or self._chance.random() < self._faults.lost:
            return None
        if self._chance.random() < self._faults.late:
            return self._chance.uniform(*self._faults.late_s)
        return self._chance.uniform(*HOP_S)


class Broker:
    """The journal's stream and the bucket of checkpoints. While it is `down` nothing is stored and nothing is answered."""

    def __init__(self, chance: Random, faults: Faults) -> None:
        self.down = False
        self.pages: dict[int, list[StoredPage]] = {lane: [] for lane in range(LANES)}
        self.checkpoints: dict[str, tuple[int, bytes]] = {}
        self.stored_twice = 0
        self.deduplicated = 0
        self._seq = 0
        self._ids: dict[str, float] = {}
        self._chance = chance
        self._faults = faults

    def store(self, lane: int, data: bytes, id_: str) -> bool:
        """A page has arrived; whether it is acknowledged."""
        if self.down:
            return False
        now = asyncio.get_running_loop().time()
        known = self._ids.get(id_)
        if known is not None and now - known < DEDUPLICATION_S:
            self.deduplicated += 1
            return True
        self._ids[id_] = now
        self._append(lane, data)
        if self._chance.random() < self._faults.stored_twice:
            self.stored_twice += 1
            self._append(lane, data)
        return True

    def _append(self, lane: int, data: bytes) -> None:
        self._seq += 1
        self.pages[lane].append(StoredPage(self._seq, data))

    def after(self, lane: int, seq: int, most: int) -> list[StoredPage]:
        """At most so many pages of a lane behind a sequence."""
        pages = self.pages[lane]
        first = next((number for number in range(len(pages) - 1, -1, -1) if pages[number].stream_seq <= seq), -1) + 1
        return pages[first : first + most]

    def loses_checkpoint(self) -> bool:
        """Whether it is one of those that never arrive, though the page with the same fact does."""
        return self._chance.random() < self._faults.checkpoint_lost

    def save(self, key: str, epoch: int, live: bytes) -> bool:
        """A checkpoint has arrived. One of an older epoch is refused."""
        if self.down or self.checkpoints.get(key, (0, b""))[0] > epoch:
            return False
        self.checkpoints[key] = (epoch, live)
        return True


class Publisher:
    """What a process publishes pages with (bus.journal.Publisher)."""

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self._broker = broker
        self._wire = wire

    async def publish(self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str]) -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        lane, id_ = int(subject.rpartition(".")[2]), headers["Nats-Msg-Id"]

        def acknowledged() -> None:
            if not told.done():
                told.set_result(None)

        def arrived() -> None:  # whatever has become of the publisher meanwhile
            if self._broker.store(lane, payload, id_) and (back_s := self._wire.hop_s()) is not None:
                loop.call_later(back_s, acknowledged)

        if (there_s := self._wire.hop_s()) is not None:
            loop.call_later(there_s, arrived)
        try:
            async with asyncio.timeout(timeout):
                await told
        except TimeoutError:
            raise NatsTimeout from None


class Live:
    """The checkpoints of one process (charger.office.LivePort)."""

    TIMEOUT_S = 5.0

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self._broker = broker
        self._wire = wire
        self._loaded: dict[str, bytes] = {}

    def load(self, slots: Iterable[int]) -> None:
        """Read the checkpoints of these slots."""
        prefixes = tuple(f"{slot}." for slot in slots)
        for key in [key for key in self._loaded if key.startswith(prefixes)]:
            del self._loaded[key]
        self._loaded |= {key: live for key, (_, live) in self._broker.checkpoints.items() if key.startswith(prefixes)}

    def take(self, key: str) -> bytes | None:
        return self._loaded.pop(key, None)

    def peek(self, key: str) -> bytes | None:
        return self._loaded.get(key)

    def put(self, key: str, live: bytes) -> None:
        self._loaded[key] = live

    def save(self, key: str, epoch: int, live: bytes, then: Callable[[bool], None]) -> bool:
        loop = asyncio.get_running_loop()
        waiting = [then]

        def tell(durable: bool) -> None:
            if waiting:
                waiting.pop()(durable)

        def arrived() -> None:
            stored = self._broker.save(key, epoch, live)
            if (back_s := self._wire.hop_s()) is not None and not self._broker.down:
                loop.call_later(back_s, tell, stored)

        if (there_s := self._wire.hop_s()) is not None and not self._broker.loses_checkpoint():
            loop.call_later(there_s, arrived)
        loop.call_later(self.TIMEOUT_S, tell, False)
        return True


class LaneLost(Exception):
    """Another process has claimed the lane, or a transaction holds its row."""


class Ledger:
    """The tables that the fold and the tariff pool write."""

    def __init__(self) -> None:
        self.down = False
        self.lanes: dict[int, tuple[int, int]] = dict.fromkeys(range(LANES), (0, 0))  # epoch, stream_seq
        self.writers: dict[int, dict[str, int]] = {lane: {} for lane in range(LANES)}
        self.slot_epochs: dict[int, int] = {}
        self.sessions: dict[int, Stored] = {}
        self.by_transaction: dict[Key, int] = {}
        self.by_start: dict[Key, int] = {}
        self.readings: dict[int, set[tuple[int, float]]] = {}
        self.parked: list[Any] = []
        self.connected: dict[tuple[str, str], tuple[int, bool]] = {}
        self.rated: dict[int, int] = {}
        self.cdrs: list[Cdr] = []
        self._unrated: dict[int, Stored] = {}  # what has changed since it was rated: few of all
        self._ids = 0
        self._locked: set[int] = set()

    def draw_id(self) -> int:
        """A session's id."""
        self._ids += 1
        return self._ids

    def claim(self, lane: int) -> int:
        """Take a lane from whoever has it; the epoch. LaneLost while a transaction holds the row."""
        if lane in self._locked:
            raise LaneLost
        epoch, seq = self.lanes[lane]
        self.lanes[lane] = (epoch + 1, seq)
        return epoch + 1

    @contextmanager
    def folding(self, lane: int, epoch: int) -> Any:
        """The transaction of a fold, from its first step (the lane's row is locked) to its end."""
        if lane in self._locked or self.lanes[lane][0] != epoch:
            raise LaneLost
        self._locked.add(lane)
        try:
            yield
        finally:
            self._locked.discard(lane)

    def load(self, transactions: list[Key], starts: list[Key]) -> Found:
        """Copies: what a transaction makes of them is nobody's until it is committed."""
        once: dict[int, Stored] = {}

        def copy(id_: int) -> Stored:
            return once.setdefault(id_, Stored(id_, self.sessions[id_].session))

        by_transaction = {key: copy(self.by_transaction[key]) for key in transactions if key in self.by_transaction}
        for stored in list(once.values()):
            session = stored.session
            if session.start_key is not None:
                starts = [*starts, (session.tenant, session.charger, session.start_key)]
        return Found(by_transaction, {key: copy(self.by_start[key]) for key in starts if key in self.by_start})

    def commit(self, lane: int, stream_seq: int, writers: dict[str, int], slot_epochs: dict[int, int], batch: Batch) -> None:
        """Everything of a fold at once."""
        self.lanes[lane] = (self.lanes[lane][0], stream_seq)
        self.writers[lane] |= writers
        self.slot_epochs |= slot_epochs
        for id_, stored in batch.sessions.items():
            self.sessions[id_] = self._unrated[id_] = Stored(id_, stored.session)
            session = stored.session
            if session.start_key is not None:
                key = (session.tenant, session.charger, session.start_key)
                assert self.by_start.setdefault(key, id_) == id_, f"two sessions of one start: {key}"  # a unique index
        self.by_transaction |= batch.transactions
        for row in batch.readings:
            if row[4] is not None:
                self.readings.setdefault(row[4], set()).add((row[6], row[7]))
        self.parked += batch.parked
        for charger, live in batch.chargers.items():  # as store/chargers_live.py has it
            number, known = self.connected.get(charger, (0, False))
            if live.opened:
                self.connected[charger] = (live.connection, bool(live.connected))
            elif live.connected is not None and live.connection >= number:
                self.connected[charger] = (number, live.connected)
            else:
                self.connected[charger] = (number, known)

    def rate(self, stored: Stored, written: tuple[Cdr, ...]) -> None:
        """The CDRs of a version of a session."""
        self.cdrs += written
        self.rated[stored.id] = stored.session.version
        if self.sessions[stored.id].session.version == stored.session.version:
            self._unrated.pop(stored.id, None)

    def unrated(self) -> list[Stored]:
        """Ended sessions without a CDR of their version."""
        return [
            stored
            for id_, stored in self._unrated.items()
            if stored.session.status == "Ended" and stored.session.version > self.rated.get(id_, 0)
        ]

    def standing(self, session_id: int) -> list[Cdr]:
        """A session's CDRs that no credit took back."""
        credited = {cdr.credits for cdr in self.cdrs}
        return [cdr for cdr in self.cdrs if cdr.session_id == session_id and cdr.credits is None and cdr.id not in credited]
