"""Models of the servers: a JetStream that keeps what it has acknowledged, a Postgres whose transactions are all or nothing.

They keep the terms on which the real ones are used, and take every liberty those leave: a message or its acknowledgement is lost or
late, a page is stored although its writer was told nothing, a transaction is undone with the process that began it. What they must not
do is lose a page they acknowledged or write half of a transaction.
"""

import asyncio
import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from random import Random

from msgspec import Struct
from msgspec.structs import replace
from nats.errors import TimeoutError as NatsTimeout

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, lane_of
from cpms_actors.bus import subjects
from cpms_actors.domain.cdr import Cdr, EndedSession
from cpms_actors.domain.charging import UNKNOWN_TRANSACTION, flags, gaps
from cpms_actors.domain.events import Reported, TransactionLapsed
from cpms_actors.domain.metering import MeteredSession, Reading
from cpms_actors.domain.tariff import Tariff
from cpms_actors.pools.fold import Accepted, Batch, StoredPage
from cpms_actors.pools.lane import Folding, Refused
from cpms_actors.pools.pages import PULL_PAGES, SILENT_S
from cpms_actors.store.cdrs import Claimed
from cpms_actors.store.chargers_live import ChargerLive
from cpms_actors.store.database import LOCK_S
from cpms_actors.store.offsets import Claim, Progress
from cpms_actors.store.parked import ParkedMessage
from cpms_actors.store.sessions import Found, Key, Stored

DEDUPLICATION_S = 120.0
HOP_S = (0.0002, 0.004)  # a message's way, either way
STATEMENT_S = (0.0005, 0.01)
LOST_S = 5.0  # until whoever waits on a lost connection is told
CONFLICTS = 0.02  # of a fold's transactions, another was in its way: it is repeated


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


class Server:
    """Whether a server is away, and how often it was: what was under way then is lost."""

    def __init__(self) -> None:
        self.outages = 0
        self._down = False

    @property
    def down(self) -> bool:
        """Whether it is away."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self.outages += down
        self._down = down
        self.changed()

    def changed(self) -> None:
        """It has gone or come."""


class Broker(Server):
    """The journal's stream and the bucket of checkpoints. While it is `down` nothing is stored and nothing is answered."""

    STREAM = "the only one"

    def __init__(self, chance: Random, faults: Faults) -> None:
        super().__init__()
        self.pages: dict[int, list[StoredPage]] = {lane: [] for lane in range(LANES)}
        self.checkpoints: dict[str, tuple[int, bytes]] = {}
        self.stored_twice = 0
        self.deduplicated = 0
        self.last_seq = 0
        self._news: asyncio.Future[None] | None = None
        self._ids: dict[str, float] = {}
        self._chance = chance
        self._faults = faults

    def changed(self) -> None:
        self._tell()

    async def news(self) -> None:
        """Wait for a page, or for the server to go or come."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

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
        self.last_seq += 1
        self.pages[lane].append(StoredPage(self.last_seq, data))
        self._tell()

    def after(self, lane: int, seq: int, most: int) -> list[StoredPage]:
        """At most so many pages of a lane behind a sequence."""
        first = self._first(lane, seq)
        return self.pages[lane][first : first + most]

    def pending(self, lane: int, seq: int) -> int:
        """How many pages of a lane are behind a sequence."""
        return len(self.pages[lane]) - self._first(lane, seq)

    def _first(self, lane: int, seq: int) -> int:
        return bisect_right(self.pages[lane], seq, key=lambda page: page.stream_seq)

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


class Pages:
    """The reading end of the journal for one process (pools.lane.Pages)."""

    def __init__(self, broker: Broker, wire: Wire, chance: Random) -> None:
        self._broker = broker
        self._wire = wire
        self._chance = chance

    async def request(self) -> None:
        """A request and its answer. Raises Unavailable when there is none."""
        there_s, back_s = self._wire.hop_s(), self._wire.hop_s()
        lost = there_s is None or back_s is None or self._broker.down
        await asyncio.sleep(SILENT_S if lost else min(SILENT_S, (there_s or 0.0) + (back_s or 0.0)))
        if lost or self._broker.down:
            raise Unavailable("no answer")

    async def stream(self) -> tuple[str, int]:
        await self.request()
        return self._broker.STREAM, self._broker.last_seq

    async def page_at(self, seq: int) -> tuple[str, bytes] | None:
        await self.request()
        for lane in self._broker.pages:
            for page in self._broker.after(lane, seq - 1, 1):
                if page.stream_seq == seq:
                    return subjects.journal(lane), page.data
        return None

    def reader(self, lane: int, after: int) -> "Reader":
        return Reader(self, self._broker, self._chance, lane, after)


class Reader:
    """A consumer of one lane: the server forgets it when it goes away, and tells nobody (pools.pages.PageReader)."""

    def __init__(self, pages: Pages, broker: Broker, chance: Random, lane: int, after: int) -> None:
        self._pages = pages
        self._broker = broker
        self._chance = chance
        self._lane = lane
        self._after = after
        self._outages = -1

    @property
    def pending(self) -> int:
        return self._broker.pending(self._lane, self._after) if self._outages >= 0 else 0

    async def open(self) -> None:
        await self._pages.request()
        self._outages = self._broker.outages

    async def fetch(self, bytes_max: int) -> list[StoredPage]:
        while True:
            if self._outages != self._broker.outages:
                await asyncio.sleep(SILENT_S)
                raise Unavailable("no heartbeat")
            pages = self._broker.after(self._lane, self._after, self._chance.randint(1, PULL_PAGES))
            if pages:
                break
            await self._broker.news()
        await self._pages.request()
        size = len(pages[0].data)
        fitting = [page for page in pages[1:] if (size := size + len(page.data)) <= bytes_max]
        self._after = (pages[0], *fitting)[-1].stream_seq
        return [pages[0], *fitting]

    async def close(self) -> None:
        self._outages = -1


class Live:
    """The checkpoints of one process (charger.office.LivePort)."""

    TIMEOUT_S = 5.0

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self._broker = broker
        self._wire = wire
        self._loaded: dict[str, bytes] = {}
        self._arrived: dict[str, float] = {}  # when the last of a key that is under way does

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
            at = max(loop.time() + there_s, self._arrived.get(key, 0.0) + HOP_S[0])  # a newer one waits until the older is stored
            self._arrived[key] = at
            loop.call_at(at, arrived)
        loop.call_later(self.TIMEOUT_S, tell, False)
        return True


class Rows(Struct):
    """What a transaction has written."""

    lanes: dict[int, tuple[int, int]] = {}
    streams: dict[int, str] = {}
    writers: dict[tuple[int, str], int] = {}
    slot_epochs: dict[int, int] = {}
    sessions: dict[int, Stored] = {}
    by_transaction: dict[Key, int] = {}
    by_start: dict[Key, int] = {}
    readings: list[tuple[int, int, float]] = []
    parked: list[ParkedMessage] = []
    chargers: list[ChargerLive] = []
    heard: dict[tuple[str, str], int] = {}


TABLES = (
    "lanes", "streams", "writers", "slot_epochs", "sessions", "by_transaction", "by_start", "parked", "connected", "seen", "written_at",
    "rated", "cdrs", "unpriced", "_unrated",
)  # fmt: skip


class Ledger(Server):
    """The tables that the fold and the tariff pool write. While it is `down`, and in what was begun before, nothing is done."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: dict[int, tuple[int, int]] = dict.fromkeys(range(LANES), (0, 0))  # epoch, stream_seq
        self.streams: dict[int, str] = dict.fromkeys(range(LANES), "")
        self.writers: dict[tuple[int, str], int] = {}
        self.slot_epochs: dict[int, int] = {}
        self.sessions: dict[int, Stored] = {}
        self.by_transaction: dict[Key, int] = {}
        self.by_start: dict[Key, int] = {}
        self.readings: dict[int, list[tuple[int, float]]] = {}
        self.parked: list[ParkedMessage] = []
        self.connected: dict[tuple[str, str], tuple[int, bool]] = {}
        self.seen: dict[tuple[str, str], int] = {}
        self.seen_late_ms = 0  # at most, by how much `seen` was behind what is folded
        self.refused = dict.fromkeys(range(LANES), 0)  # batches of a lane in a row that went on from elsewhere
        self.refused_most = 0
        self.written_at: dict[int, float] = {}
        self.rated: dict[int, int] = {}
        self.cdrs: list[Cdr] = []
        self.unpriced: list[str] = []
        self.rating: set[int] = set()  # sessions that a transaction of a tariff pool has claimed
        self._unrated: dict[int, Stored] = {}  # what has changed since it was rated: few of all
        self._ids = 0
        self._locked: dict[int, asyncio.Future[None]] = {}
        self._flushed: Callable[[], None] | None = None  # lets a crash take back what was not

    def draw_id(self) -> int:
        """A session's id."""
        self._ids += 1
        return self._ids

    def claim(self, lane: int) -> int | None:
        """Take a lane from whoever has it; the epoch. None while a transaction holds the row."""
        if lane in self._locked:
            return None
        epoch, seq = self.lanes[lane]
        self.lanes[lane] = (epoch + 1, seq)
        return epoch + 1

    async def lock(self, lane: int) -> None:
        """Take a lane's row until `unlock`, as soon as nobody else has it. Raises Unavailable when that takes too long."""
        try:
            async with asyncio.timeout(LOCK_S):
                while lane in self._locked:
                    await asyncio.shield(self._locked[lane])
        except TimeoutError as error:
            raise Unavailable("somebody else holds the row") from error
        self._locked[lane] = asyncio.get_running_loop().create_future()

    def unlock(self, lane: int) -> None:
        """The transaction that has the row has ended."""
        self._locked.pop(lane).set_result(None)

    def commit(self, rows: Rows) -> None:
        """Everything of a transaction at once."""
        for lane, (epoch, seq) in rows.lanes.items():
            self.lanes[lane] = (epoch, seq)
        self.streams |= rows.streams
        self.writers |= rows.writers
        self.slot_epochs |= rows.slot_epochs
        self.sessions |= rows.sessions
        self._unrated |= rows.sessions
        self.written_at |= dict.fromkeys(rows.sessions, asyncio.get_running_loop().time())
        self.by_transaction |= rows.by_transaction
        self.by_start |= rows.by_start
        for session, at, value in rows.readings:
            self.readings.setdefault(session, []).append((at, value))
        self.parked += rows.parked
        for live in rows.chargers:  # as store/chargers_live.py has it
            charger = (live.tenant, live.charger)
            number, known = self.connected.get(charger, (0, False))
            if live.opened or live.connection >= number:
                known = bool(live.connected)
            self.connected[charger] = (live.connection if live.opened else number, known)
            self.seen[charger] = max(self.seen.get(charger, 0), live.last_seen_at)
        for charger, at in rows.heard.items():
            self.seen_late_ms = max(self.seen_late_ms, at - self.seen.get(charger, 0))

    def standby(self) -> Callable[[], None]:
        """A standby that has what is committed now and will get no more. What is returned lets it take over."""
        tables = {name: copy(getattr(self, name)) for name in TABLES}
        readings = {session: list(some) for session, some in self.readings.items()}

        def take_over() -> None:
            self.outages += 1  # whoever was connected is not
            self._flushed = None  # of what took its place nothing is known to be in memory alone
            for name, table in tables.items():
                setattr(self, name, table)
            self.readings = readings

        return take_over

    def rate(self, cdrs: list[Cdr], rated: dict[int, int]) -> None:
        """CDRs, and the versions of sessions that have theirs by them."""
        self.cdrs += cdrs
        self.rated |= rated
        for id_, version in rated.items():
            if self.sessions[id_].session.version == version:
                self._unrated.pop(id_, None)
        if self._flushed is not None:
            self.begin_unflushed()

    def begin_unflushed(self) -> None:
        """What is committed now is on the disk; of what follows only what is committed together with a CDR, or before one."""
        self._flushed = self.standby()

    def crash(self) -> None:
        """Take back what was committed and not flushed."""
        if self._flushed is not None:
            take_back, self._flushed = self._flushed, None
            take_back()

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


class Postgres:
    """The ledger as the lanes of one process use it (pools.lane.Ledger)."""

    def __init__(self, ledger: Ledger, wire: Wire, chance: Random) -> None:
        self._ledger = ledger
        self._wire = wire
        self._chance = chance

    async def progress(self, lane: int) -> Progress:
        await Transaction(self._ledger, self._wire, self._chance, ()).step()
        ledger = self._ledger
        writers = {writer: number for (known, writer), number in ledger.writers.items() if known == lane}
        epochs = {slot: epoch for slot, epoch in ledger.slot_epochs.items() if lane_of(slot) == lane}
        return Progress(ledger.streams[lane], ledger.lanes[lane][1], writers, epochs)

    async def forget_stream(self, claim: Claim) -> None:
        ledger = self._ledger
        await ledger.lock(claim.lane)
        try:
            await Transaction(ledger, self._wire, self._chance, ()).step()
            ledger.slot_epochs = {slot: epoch for slot, epoch in ledger.slot_epochs.items() if lane_of(slot) != claim.lane}
            if ledger.lanes[claim.lane][0] == claim.epoch:
                ledger.lanes[claim.lane] = (claim.epoch, 0)
        finally:
            ledger.unlock(claim.lane)

    async def make_days(self, days: Iterable[int]) -> None:
        await Transaction(self._ledger, self._wire, self._chance, ()).step()

    async def fold(self, tenants: Iterable[str], work: Callable[[Folding], Awaitable[Batch]]) -> Batch:
        names = frozenset(tenants)
        while True:
            transaction = Transaction(self._ledger, self._wire, self._chance, names)
            try:
                batch = await work(transaction)
                if self._chance.random() >= CONFLICTS:
                    await transaction.commit()
                    return batch
            finally:
                transaction.end()


class Transaction:
    """One transaction of one process (pools.lane.Folding)."""

    def __init__(self, ledger: Ledger, wire: Wire, chance: Random, tenants: Iterable[str]) -> None:
        self._ledger = ledger
        self._wire = wire
        self._chance = chance
        self._tenants = frozenset(tenants)
        self._outages = ledger.outages
        self._rows = Rows()
        self._aborted = False
        self._locked: int | None = None

    async def step(self) -> None:
        """A statement and its answer. Raises Unavailable when the server is away, or was since the transaction began."""
        await asyncio.sleep(self._chance.uniform(*STATEMENT_S))
        if self._is_lost():
            raise Unavailable("the connection is lost")
        if self._aborted:
            raise RuntimeError("the transaction is aborted: nothing more is done until it ends, or the savepoint does")

    def _is_lost(self) -> bool:
        return self._ledger.down or self._outages != self._ledger.outages or self._wire.cut or self._wire.dead

    async def advance(self, claim: Claim, progress: Progress, accepted: Accepted) -> bool:
        await self.step()
        await self._ledger.lock(claim.lane)
        self._locked = claim.lane
        epoch, stream_seq = self._ledger.lanes[claim.lane]
        if epoch != claim.epoch:
            return False
        if stream_seq != progress.stream_seq:
            self._ledger.refused[claim.lane] += 1
            self._ledger.refused_most = max(self._ledger.refused_most, self._ledger.refused[claim.lane])
            raise Unavailable(f"lane {claim.lane} is at page {stream_seq}, and was left at {progress.stream_seq}")
        self._ledger.refused[claim.lane] = 0
        self._rows.lanes[claim.lane] = (claim.epoch, accepted.stream_seq)
        self._rows.streams[claim.lane] = progress.stream
        self._rows.writers |= {(claim.lane, writer): number for writer, number in accepted.writers.items()}
        self._rows.slot_epochs |= {
            slot: epoch for slot, epoch in accepted.slot_epochs.items() if epoch > self._ledger.slot_epochs.get(slot, 0)
        }
        self._park(accepted.parked)
        for event in accepted.events:
            if not isinstance(event.body, TransactionLapsed | Reported):  # no sign of life; perhaps refused
                key = (event.tenant, event.charger)
                self._rows.heard[key] = max(self._rows.heard.get(key, 0), event.received_at)
        return True

    async def load(self, transactions: Sequence[Key], starts: Sequence[Key]) -> Found:
        """Copies: what a transaction makes of them is nobody's until it is committed."""
        await self.step()
        once: dict[int, Stored] = {}
        found = Found({}, {})

        def copy(id_: int) -> Stored:
            stored = once.get(id_)
            if stored is None:
                known = self._rows.sessions.get(id_) or self._ledger.sessions[id_]
                stored = once[id_] = Stored(id_, known.session)
                session = known.session
                if session.start_key is not None:
                    found.by_start[session.tenant, session.charger, session.start_key] = stored
            return stored

        for key in transactions:
            id_ = self._rows.by_transaction.get(key) or self._ledger.by_transaction.get(key)
            if id_ is not None and key[0] in self._tenants:
                found.by_transaction[key] = copy(id_)
        for key in starts:
            id_ = self._id_of_start(key)
            if id_ is not None and key[0] in self._tenants:
                copy(id_)
        return found

    def _id_of_start(self, key: Key) -> int | None:
        return self._rows.by_start.get(key) or self._ledger.by_start.get(key)

    async def draw_ids(self, count: int) -> Sequence[int]:
        return [self._ledger.draw_id() for _ in range(count)]

    async def save(self, batch: Batch) -> None:
        await self.step()
        try:
            self._write(batch)
        except Refused:
            self._aborted = True
            raise

    def _write(self, batch: Batch) -> None:
        _refuse(batch)
        rows = self._rows
        for id_, stored in batch.sessions.items():
            session = stored.session
            if session.start_key is not None:
                key = (session.tenant, session.charger, session.start_key)
                if self._id_of_start(key) not in (None, id_):  # a unique index
                    raise Refused(f"two sessions of one start: {key}")
                rows.by_start[key] = id_
            rows.sessions[id_] = Stored(id_, session)
        rows.by_transaction |= batch.transactions
        rows.readings += [(id_, each.taken_at, each.value) for *_, id_, _, some in batch.readings if id_ is not None for each in some]
        rows.chargers += [replace(live) for live in batch.chargers.values()]
        self._park(batch.parked)

    def _park(self, messages: list[ParkedMessage]) -> None:
        """Of readings of a transaction that nobody knows it is told once (the index parked_messages_once)."""
        for message in messages:
            once = message.reason == UNKNOWN_TRANSACTION and message.action == "TransactionUpdated"
            if not once or not any(_same(message, known) for known in (*self._ledger.parked, *self._rows.parked)):
                self._rows.parked.append(message)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        before = Rows(*(copy(getattr(self._rows, name)) for name in Rows.__struct_fields__))
        try:
            yield
        except BaseException:
            self._rows, self._aborted = before, False
            raise

    async def commit(self) -> None:
        """Raises Unavailable when it was not done, and also when it was and nobody hears so."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        lane, self._locked = self._locked, None  # the server has it until the commit has arrived

        def fail() -> None:
            if not answered.done():
                answered.set_exception(Unavailable("the connection is lost"))

        def tell() -> None:
            if not answered.done():
                answered.set_result(None)

        def arrived() -> None:
            if lane is not None:
                self._ledger.unlock(lane)
            if there_s is None or self._ledger.down or self._outages != self._ledger.outages:
                fail()
                return
            if not self._aborted:
                self._ledger.commit(self._rows)
            back_s = self._wire.hop_s()
            loop.call_later(LOST_S if back_s is None else back_s, fail if back_s is None else tell)

        there_s = self._wire.hop_s()
        loop.call_later(LOST_S if there_s is None else there_s, arrived)
        await answered

    def end(self) -> None:
        """Undo what was not committed."""
        if self._locked is not None:
            self._ledger.unlock(self._locked)
            self._locked = None


class Rating:
    """A transaction of a tariff pool (pools.tariff.Rating); `tariff` is in force everywhere."""

    def __init__(self, ledger: Ledger, wire: Wire, chance: Random, tariff: Tariff | None) -> None:
        self._ledger = ledger
        self._transaction = Transaction(ledger, wire, chance, ())
        self._tariff = tariff
        self._claimed: set[int] = set()
        self._cdrs: list[Cdr] = []
        self._rated: dict[int, int] = {}
        self._unpriced: list[str] = []

    async def claim(self, limit: int, gap_grace_s: float) -> Sequence[Claimed]:
        await self._transaction.step()
        ledger, old = self._ledger, asyncio.get_running_loop().time() - gap_grace_s
        free = [stored for stored in ledger.unrated() if stored.id not in ledger.rating]
        due = [stored for stored in free if not gaps(stored.session) or ledger.written_at[stored.id] <= old]
        claimed = [self._to_rate(stored) for stored in due[:limit]]
        self._claimed = {each.session.id for each in claimed}
        ledger.rating |= self._claimed
        return claimed

    def _to_rate(self, stored: Stored) -> Claimed:
        session, ledger = stored.session, self._ledger
        metered = MeteredSession(
            start_ms=session.started_at,
            end_ms=session.ended_at or session.started_at,
            meter_start_wh=session.meter_start_wh or 0,
            energy_wh=session.energy_wh,
            readings=[Reading(at, round(value)) for at, value in sorted(set(ledger.readings.get(stored.id, ())))],
        )
        token = session.token.id if session.token else None
        ended = EndedSession(session.tenant, stored.id, session.version, session.charger, token, metered)
        provisional = bool(gaps(session)) or "provisional" in flags(session)
        return Claimed(ended, provisional, rated=stored.id in ledger.rated, failed=False, currency="EUR")

    async def current(self, session: EndedSession) -> Cdr | None:
        await self._transaction.step()
        standing = self._ledger.standing(session.id)
        return standing[-1] if standing else None

    async def tariff(self, session: EndedSession) -> Tariff | None:
        return self._tariff

    async def insert(self, cdr: Cdr) -> None:
        await self._transaction.step()
        for other in (*self._ledger.cdrs, *self._cdrs):  # two unique indexes
            same = (other.session_id, other.session_version, other.credits) == (cdr.session_id, cdr.session_version, None)
            if (same and cdr.credits is None) or (cdr.credits is not None and other.credits == cdr.credits):
                raise ValueError(f"session {cdr.session_id} has such a CDR")
        self._cdrs.append(cdr)

    async def mark_rated(self, claimed: Claimed) -> None:
        await self._transaction.step()
        self._rated[claimed.session.id] = claimed.session.version

    async def mark_failed(self, session: EndedSession, error: str) -> None:
        await self._transaction.step()
        self._unpriced.append(f"session {session.id}: {error}")

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        cdrs, rated = len(self._cdrs), dict(self._rated)
        try:
            yield
        except BaseException:
            del self._cdrs[cdrs:]
            self._rated = rated
            raise

    async def commit(self) -> None:
        """Raises Unavailable."""
        await self._transaction.step()
        self._ledger.rate(self._cdrs, self._rated)
        self._ledger.unpriced += self._unpriced

    def end(self) -> None:
        """Undo what was not committed."""
        self._ledger.rating -= self._claimed


def _refuse(batch: Batch) -> None:
    """What Postgres does not take: a NUL in a text, a number beyond bigint, a report that is no JSON. Raises Refused."""
    for report in batch.reports:
        try:
            json.loads(report[3])
        except ValueError as error:
            raise Refused(str(error)) from error
        if "\\u0000" in report[3]:
            raise Refused("a NUL in JSON")
    for stored in batch.sessions.values():
        session = stored.session
        texts = (session.transaction, session.token.id if session.token else "")
        if any("\0" in text for text in texts):
            raise Refused("a NUL in a text")
        if max(session.meter_start_wh or 0, session.meter_stop_wh or 0, session.energy_wh) >= 2**63 or session.evse >= 2**31:
            raise Refused("a number that is too large")


def _same(one: ParkedMessage, other: ParkedMessage) -> bool:
    return (one.tenant, one.charger, one.detail, one.reason, one.action) == (
        other.tenant,
        other.charger,
        other.detail,
        other.reason,
        other.action,
    )
