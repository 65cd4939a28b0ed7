"""The terms on which the servers are used, held by the real nats-server and Postgres and by the simulation's models of them alike.

What the simulation shows is worth as much as its models. Where one of them promises more than the server does, the simulation
finds too little; where less, it finds what cannot be. So every test here runs twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from random import Random
from typing import Any, Protocol

import asyncpg
import msgspec
import pytest
import simulated_servers as models
from msgspec.structs import replace
from nats.errors import TimeoutError as NatsTimeout
from simulated_servers import Broker, Faults, Wire

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import journal, subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import LiveStore, open_bucket
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.charger.office import LivePort
from cpms_actors.domain.cdr import Cdr, draw_up, issued
from cpms_actors.domain.charging import Marks, Session
from cpms_actors.domain.events import Event, IdToken, Page, Sample, TransactionEnded, TransactionStarted, TransactionUpdated
from cpms_actors.domain.metering import Reading
from cpms_actors.node.data_dir import free_port
from cpms_actors.pools.fold import Accepted, Batch, StoredPage
from cpms_actors.pools.lane import Folding, Lane, LaneLost, Ledger, Pages, Refused
from cpms_actors.pools.ledger import PostgresLedger, PostgresRating
from cpms_actors.pools.pages import JournalPages
from cpms_actors.pools.tariff import Rating
from cpms_actors.store import offsets
from cpms_actors.store.cdrs import Claimed
from cpms_actors.store.chargers_live import ChargerLive
from cpms_actors.store.database import Database, open_database
from cpms_actors.store.offsets import Claim, Progress
from cpms_actors.store.parked import ParkedMessage
from cpms_actors.store.sessions import Found, Key, Stored

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_000
LANE, OTHER = 1, 0
TENANTS = ("default",)
SLOT = 3  # of the lane
PATIENCE_S = 10.0
TWICE = pytest.mark.parametrize("kind", ["model", "server"])
_numbers = count(1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Real servers have no virtual clock: look again and again, but not for ever."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.02)


# -- the journal and the checkpoints


class Nodes(Protocol):
    """What the processes of a system have of NATS, or of its model."""

    def publisher(self) -> journal.Publisher: ...

    def pages(self) -> Pages: ...

    def worker(self, slots: Iterable[int]) -> AbstractAsyncContextManager[LivePort]:
        """The checkpoints of a worker that owns these slots from now on."""

    def slow(self) -> AbstractAsyncContextManager[None]:
        """What is published in the block arrives after it."""

    def away(self) -> AbstractAsyncContextManager[None]:
        """There is no server in the block."""


class ModelNodes:
    def __init__(self) -> None:
        self._chance, self._faults = Random(1), Faults()
        self._broker = Broker(self._chance, self._faults)
        self._wire = Wire(self._chance, self._faults)

    def publisher(self) -> journal.Publisher:
        return models.Publisher(self._broker, self._wire)

    def pages(self) -> Pages:
        return models.Pages(self._broker, Wire(self._chance, Faults()), self._chance)

    @asynccontextmanager
    async def worker(self, slots: Iterable[int]) -> AsyncIterator[LivePort]:
        live = models.Live(self._broker, self._wire)
        live.load(slots)
        yield live

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self._faults.late, self._faults.late_s = 1.0, (1.0, 1.0)
        yield
        self._faults.late = 0.0

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._broker.down = True
        yield
        self._broker.down = False


class ServerNodes:
    def __init__(self, server: Any, client: Any) -> None:
        self._server, self._client = server, client

    def publisher(self) -> journal.Publisher:
        return StreamPublisher(self._client)

    def pages(self) -> Pages:
        return JournalPages(self._client)

    @asynccontextmanager
    async def worker(self, slots: Iterable[int]) -> AsyncIterator[LivePort]:
        jetstream = self._client.jetstream()
        live = LiveStore(jetstream, lambda key: None)
        await live.load(await open_bucket(jetstream, subjects.LIVE_BUCKET, 1), slots)
        running = asyncio.create_task(live.run())
        yield live
        running.cancel()
        await asyncio.wait([running])

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self._server.freeze()
        try:
            yield
        finally:
            self._server.freeze(False)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()
        async with asyncio.timeout(PATIENCE_S):
            while not self._client.is_connected:
                await asyncio.sleep(0.02)


@pytest.fixture
async def nodes(nats_server: Any, kind: str) -> AsyncIterator[Nodes]:
    if kind == "model":
        yield ModelNodes()
        return
    settings = Settings(nats=Nats(url=nats_server.url))
    client = await connect(settings.nats, "test")
    jetstream = client.jetstream()
    await journal.ensure_stream(jetstream, settings)
    await open_bucket(jetstream, subjects.LIVE_BUCKET, 1)
    yield ServerNodes(nats_server, client)
    await jetstream.delete_stream(subjects.JOURNAL_STREAM)
    await jetstream.delete_key_value(subjects.LIVE_BUCKET)
    await client.close()


async def publish(nodes: Nodes, data: bytes, id_: str = "", *, lane: int = LANE, timeout: float = 5.0) -> None:
    headers = {"Nats-Msg-Id": id_ or f"id{next(_numbers)}"}
    await nodes.publisher().publish(subjects.journal(lane), data, timeout=timeout, headers=headers)


async def read(nodes: Nodes, after: int = 0, lane: int = LANE) -> list[StoredPage]:
    """All pages of a lane behind a sequence."""
    reader = nodes.pages().reader(lane, after)
    pages: list[StoredPage] = []
    await reader.open()
    while reader.pending:
        pages += await reader.fetch(1_000_000)
    await reader.close()
    return pages


@TWICE
async def test_what_is_acknowledged_is_read_in_order_behind_a_sequence(nodes: Nodes) -> None:
    for number in range(6):
        await publish(nodes, b"page %d" % number, lane=(LANE, OTHER)[number % 2])
    pages = await read(nodes)
    assert [page.data for page in pages] == [b"page 0", b"page 2", b"page 4"]
    sequences = [page.stream_seq for page in pages]
    assert sequences == sorted(set(sequences))
    assert await read(nodes, sequences[0]) == pages[1:]
    assert await read(nodes, sequences[-1]) == []
    assert [page.data for page in await read(nodes, lane=OTHER)] == [b"page 1", b"page 3", b"page 5"]
    _, last = await nodes.pages().stream()
    assert last == (await read(nodes, lane=OTHER))[-1].stream_seq
    assert await nodes.pages().page_at(sequences[1]) == (subjects.journal(LANE), b"page 2")
    assert await nodes.pages().page_at(last + 1) is None


@TWICE
async def test_a_reader_waits_for_what_is_published_and_takes_no_more_than_it_asked_for(nodes: Nodes) -> None:
    reader = nodes.pages().reader(LANE, 0)
    await reader.open()
    assert reader.pending == 0
    waiting = asyncio.create_task(reader.fetch(10))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await publish(nodes, b"x" * 100)
    async with asyncio.timeout(PATIENCE_S):
        assert [page.data for page in await waiting] == [b"x" * 100], "the first, however large it is"
    for _ in range(4):
        await publish(nodes, b"12345")
    fetched: list[list[StoredPage]] = []
    async with asyncio.timeout(PATIENCE_S):
        while sum(map(len, fetched)) < 4:
            fetched.append(await reader.fetch(10))
    assert all(1 <= len(pages) <= 2 for pages in fetched)
    await reader.close()


@TWICE
async def test_one_message_id_is_stored_once_and_acknowledged_each_time(nodes: Nodes) -> None:
    for id_ in ("w.1.1", "w.1.1", "w.1.2", "w.1.1"):
        await publish(nodes, b"the same", id_)
    assert len(await read(nodes)) == 2


@TWICE
async def test_who_is_told_nothing_hears_so_in_time_and_it_may_be_stored_all_the_same(nodes: Nodes) -> None:
    async with nodes.slow():
        began = asyncio.get_running_loop().time()
        with pytest.raises(NatsTimeout):
            await publish(nodes, b"late", "w.1.1", timeout=0.3)
        assert asyncio.get_running_loop().time() - began < 3
    await until(lambda: _stored(nodes, 1))
    await publish(nodes, b"late", "w.1.1")
    assert [page.data for page in await read(nodes)] == [b"late"]


async def _stored(nodes: Nodes, pages: int) -> bool:
    return len(await read(nodes)) == pages


@TWICE
async def test_without_a_server_nothing_is_acknowledged_and_what_was_is_there_afterwards(nodes: Nodes) -> None:
    await publish(nodes, b"before")
    async with nodes.away():
        with pytest.raises(NatsTimeout):
            await publish(nodes, b"meanwhile", "w.1.1", timeout=0.3)
        with pytest.raises(Unavailable):
            await nodes.pages().stream()
    await publish(nodes, b"meanwhile", "w.1.1")
    assert [page.data for page in await read(nodes)] == [b"before", b"meanwhile"]


@TWICE
async def test_a_reader_whose_server_was_away_ends(nodes: Nodes) -> None:
    reader = nodes.pages().reader(LANE, 0)
    await reader.open()
    waiting = asyncio.create_task(reader.fetch(10))
    async with nodes.away():
        await asyncio.sleep(0.1)
    with pytest.raises(Unavailable):
        async with asyncio.timeout(PATIENCE_S):
            await waiting
    await reader.close()


async def save(live: LivePort, key: str, epoch: int, data: bytes) -> bool:
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    assert live.save(key, epoch, data, told.set_result)
    async with asyncio.timeout(PATIENCE_S):
        return await told


@TWICE
async def test_the_next_owner_has_what_was_saved_once(nodes: Nodes) -> None:
    async with nodes.worker([5]) as first:
        assert await save(first, "5.t.a", 1, b"one")
        assert await save(first, "5.t.a", 1, b"two")
        assert first.take("5.t.a") is None, "what it saves is not what it was given"
    async with nodes.worker([5]) as second:
        assert (second.peek("5.t.a"), second.take("5.t.a"), second.take("5.t.a")) == (b"two", b"two", None)
        second.put("5.t.a", b"left")
        assert (second.peek("5.t.a"), second.take("5.t.a")) == (b"left", b"left")
        assert await save(second, "5.t.a", 2, b"three")
    async with nodes.worker([6]) as stranger:
        assert stranger.peek("5.t.a") is None


@TWICE
async def test_an_older_owner_is_refused_and_an_equal_one_is_not(nodes: Nodes) -> None:
    async with nodes.worker([5]) as old, nodes.worker([5]) as new, nodes.worker([5]) as namesake:
        assert await save(old, "5.t.a", 1, b"one")
        assert await save(new, "5.t.a", 2, b"two")
        assert not await save(old, "5.t.a", 1, b"late")
        assert await save(namesake, "5.t.a", 2, b"three")
    async with nodes.worker([5]) as heir:
        assert heir.take("5.t.a") == b"three"


@TWICE
async def test_of_what_is_saved_in_a_row_the_last_stays(nodes: Nodes) -> None:
    """A checkpoint never overtakes a newer one of its charger."""
    told: list[bool] = []
    async with nodes.worker([5]) as live:
        for charger in range(40):
            for state in (b"older", b"newer"):
                assert live.save(f"5.t.{charger}", 1, state, told.append)
        async with asyncio.timeout(PATIENCE_S):
            while len(told) < 80:
                await asyncio.sleep(0.01)
    assert all(told)
    async with nodes.worker([5]) as heir:
        assert {heir.take(f"5.t.{charger}") for charger in range(40)} == {b"newer"}


@TWICE
async def test_a_checkpoint_without_a_server_is_said_not_to_be_durable(nodes: Nodes) -> None:
    async with nodes.worker([5]) as live, nodes.away():
        assert not await save(live, "5.t.a", 1, b"one")


# -- Postgres


class Books(Protocol):
    """A database, or its model."""

    ledger: Ledger
    away: Ledger  # of a server that is not there

    async def claim(self, lane: int = LANE) -> Claim | None:
        """Another process claims the lane; None when it cannot."""

    async def readings(self) -> list[tuple[int, float]]: ...

    async def parked(self) -> list[str]: ...

    async def chargers(self) -> dict[str, tuple[int, bool]]: ...

    def rating(self) -> AbstractAsyncContextManager[Rating]:
        """A transaction of a tariff pool, committed at the end of the block and undone when that raises."""


class ModelBooks:
    def __init__(self) -> None:
        self._tables, away, chance = models.Ledger(), models.Ledger(), Random(1)
        away.down = True
        self._chance, self._wire = chance, Wire(chance, Faults())
        self.ledger: Ledger = models.Postgres(self._tables, self._wire, chance)
        self.away: Ledger = models.Postgres(away, self._wire, chance)

    async def claim(self, lane: int = LANE) -> Claim | None:
        epoch = self._tables.claim(lane)
        return None if epoch is None else Claim(lane, epoch)

    async def readings(self) -> list[tuple[int, float]]:
        return sorted(reading for some in self._tables.readings.values() for reading in some)

    async def parked(self) -> list[str]:
        return [message.reason for message in self._tables.parked]

    async def chargers(self) -> dict[str, tuple[int, bool]]:
        return {charger: state for (_, charger), state in self._tables.connected.items()}

    @asynccontextmanager
    async def rating(self) -> AsyncIterator[Rating]:
        rating = models.Rating(self._tables, self._wire, self._chance, None)
        try:
            yield rating
            await rating.commit()
        finally:
            rating.end()


class ServerBooks:
    def __init__(self, database: Database, away: Database) -> None:
        self._database = database
        self.ledger: Ledger = PostgresLedger(database)
        self.away: Ledger = PostgresLedger(away)

    async def claim(self, lane: int = LANE) -> Claim | None:
        await asyncio.sleep(0.01)  # the former's claim runs out
        async with self._database.transaction(()) as connection:
            held, _ = await offsets.hold(connection, f"process {next(_numbers)}", 0.001)
        return next((claim for claim in held if claim.lane == lane), None)

    async def _ask(self, sql: str) -> list[Any]:
        async with self._database.transaction(TENANTS) as connection:
            return list(await connection.fetch(sql))

    async def readings(self) -> list[tuple[int, float]]:
        sql = "SELECT extract(epoch FROM taken_at) * 1000 AS at, value FROM meter_values ORDER BY 1, 2"
        return [(int(row["at"]), row["value"]) for row in await self._ask(sql)]

    async def parked(self) -> list[str]:
        return [row["reason"] for row in await self._ask("SELECT reason FROM parked_messages ORDER BY id")]

    async def chargers(self) -> dict[str, tuple[int, bool]]:
        rows = await self._ask("SELECT identity, coalesce(connection, 0) AS connection, connected FROM chargers")
        return {row["identity"]: (row["connection"], row["connected"]) for row in rows if row["connection"] or row["connected"]}

    @asynccontextmanager
    async def rating(self) -> AsyncIterator[Rating]:
        async with self._database.transaction(TENANTS) as connection:
            yield PostgresRating(connection)


@pytest.fixture
async def books(fresh_postgres: Callable[[], Postgres], kind: str) -> AsyncIterator[Books]:
    if kind == "model":
        yield ModelBooks()
        return
    settings = fresh_postgres()
    nowhere = replace(settings, dsn=f"postgresql://cpms_app@127.0.0.1:{free_port()}/nowhere")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        async with database.transaction(TENANTS) as connection:
            await connection.execute("INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'CP1'), ('default', 'CP2')")
        yield ServerBooks(database, await stack.enter_async_context(open_database(nowhere)))


def session(transaction: str = "1", **fields: Any) -> Session:
    known = {"tenant": "default", "charger": "CP1", "transaction": transaction, "started_at": T0, "marks": Marks(T0)}
    return Session(**known | {"start_key": f"start of {transaction}"} | fields)


def key(transaction: str, tenant: str = "default") -> Key:
    return tenant, "CP1", transaction


def message(reason: str, detail: str = "", action: str = "MeterValues") -> ParkedMessage:
    return ParkedMessage(
        tenant="default", charger="CP1", reason=reason, detail=detail, action=action, payload=b"{}", message_id="m", received_at=T0
    )


def left_at(seq: int) -> Progress:
    return Progress("stream", seq, {}, {})


def accepted(seq: int, **fields: Any) -> Accepted:
    nothing: dict[str, Any] = {"events": [], "parked": [], "writers": {}, "slot_epochs": {}}
    return Accepted(seq, **nothing | fields)


async def written(folding: Folding, *known: Session) -> list[int]:
    """Sessions that are new, each with a reading and known by its transaction id; their ids."""
    ids = list(await folding.draw_ids(len(known)))
    readings = [(each.tenant, each.charger, 1, 1, id_, T0, [Sample(T0 + id_, 5.0)]) for id_, each in zip(ids, known, strict=True)]
    transactions = {(each.tenant, each.charger, each.transaction): id_ for id_, each in zip(ids, known, strict=True)}
    stored = {id_: Stored(id_, each) for id_, each in zip(ids, known, strict=True)}
    await folding.save(Batch(sessions=stored, transactions=transactions, readings=readings))
    return ids


async def fold(books: Books, *known: Session) -> list[int]:
    ids: list[int] = []

    async def work(folding: Folding) -> Batch:
        ids[:] = await written(folding, *known)
        return Batch()

    await books.ledger.fold(TENANTS, work)
    return ids


async def found(books: Books, transactions: list[Key], starts: list[Key], tenants: Iterable[str] = TENANTS) -> Found:
    loaded: list[Found] = []

    async def work(folding: Folding) -> Batch:
        loaded[:] = [await folding.load(transactions, starts)]
        return Batch()

    await books.ledger.fold(tenants, work)
    return loaded[0]


@TWICE
async def test_what_is_committed_is_loaded_by_transaction_and_by_start(books: Books) -> None:
    one, other = session("1"), session("2", start_key=None, energy_wh=7)
    ids = await fold(books, one, other)
    assert ids == sorted(set(ids)), "the newest session has the highest number"
    loaded = await found(books, [key("1"), key("2"), key("9")], [key("start of 1"), key("start of 9")])
    assert loaded.by_transaction == {key("1"): Stored(ids[0], one), key("2"): Stored(ids[1], other)}
    assert loaded.by_start == {key("start of 1"): Stored(ids[0], one)}
    assert loaded.by_start[key("start of 1")] is loaded.by_transaction[key("1")]
    assert (await found(books, [], [key("start of 1")])).by_start == {key("start of 1"): Stored(ids[0], one)}
    assert await found(books, [key("1")], [key("start of 1")], ["another"]) == Found({}, {}), "of tenants that it names"
    assert await books.readings() == [(T0 + id_, 5.0) for id_ in ids]


@TWICE
async def test_a_session_that_is_written_again_is_changed_and_one_id_may_leave_it(books: Books) -> None:
    one, anew = session("1"), session("1", start_key="later")
    (first,) = await fold(books, one)

    async def changes(folding: Folding) -> Batch:
        await folding.save(Batch(sessions={first: Stored(first, replace(one, energy_wh=9))}, transactions={key("2"): first}))
        loaded = await folding.load([key("1"), key("2")], [])
        assert {each.session.energy_wh for each in loaded.by_transaction.values()} == {9}, "it sees what it has written"
        return Batch()

    await books.ledger.fold(TENANTS, changes)
    (second,) = await fold(books, anew)
    loaded = await found(books, [key("1"), key("2")], [])
    assert {known: stored.id for known, stored in loaded.by_transaction.items()} == {key("1"): second, key("2"): first}


@TWICE
async def test_a_transaction_is_all_or_nothing(books: Books) -> None:
    claim = await books.claim()
    assert claim is not None

    async def fails(folding: Folding) -> Batch:
        whole = accepted(9, writers={"w": 3}, slot_epochs={SLOT: 4}, parked=[message("poison")])
        assert await folding.advance(claim, left_at(0), whole)
        await written(folding, session("1"))
        raise Unavailable("planted")

    before = await books.ledger.progress(LANE)
    with pytest.raises(Unavailable, match="planted"):
        await books.ledger.fold(TENANTS, fails)
    assert await books.ledger.progress(LANE) == before == Progress("", 0, {}, {})
    assert await found(books, [key("1")], [key("start of 1")]) == Found({}, {})
    assert (await books.readings(), await books.parked()) == ([], [])


@TWICE
async def test_progress_is_what_was_committed_and_a_stream_is_forgotten_but_not_its_writers(books: Books) -> None:
    claim = await books.claim()
    assert claim is not None

    async def advances(before: int, seq: int, writers: dict[str, int], epochs: dict[int, int]) -> None:
        async def work(folding: Folding) -> Batch:
            assert await folding.advance(claim, left_at(before), accepted(seq, writers=writers, slot_epochs=epochs))
            return Batch()

        await books.ledger.fold((), work)

    await advances(0, 7, {"a": 1, "b": 5}, {SLOT: 5})
    await advances(7, 9, {"a": 2}, {SLOT: 4, SLOT + 2: 1})
    assert await books.ledger.progress(LANE) == Progress("stream", 9, {"a": 2, "b": 5}, {SLOT: 5, SLOT + 2: 1})
    assert await books.ledger.progress(OTHER) == Progress("", 0, {}, {})
    await books.ledger.forget_stream(claim)
    assert await books.ledger.progress(LANE) == Progress("stream", 0, {"a": 2, "b": 5}, {})


@TWICE
async def test_a_lane_that_another_has_claimed_is_not_advanced(books: Books) -> None:
    former = await books.claim()
    latter = await books.claim()
    assert former is not None
    assert latter is not None
    assert latter.epoch > former.epoch
    advanced: list[bool] = []

    async def work(folding: Folding) -> Batch:
        advanced.append(await folding.advance(former, left_at(0), accepted(9, writers={"w": 3})))
        return Batch()

    await books.ledger.fold((), work)
    assert advanced[-1] is False
    assert await books.ledger.progress(LANE) == Progress("", 0, {}, {})


@TWICE
async def test_a_lane_is_advanced_only_from_where_it_was_left(books: Books) -> None:
    claim = await books.claim()
    assert claim is not None

    def to(seq: int, *, before: int) -> Callable[[Folding], Awaitable[Batch]]:
        async def work(folding: Folding) -> Batch:
            assert await folding.advance(claim, left_at(before), accepted(seq))
            return Batch()

        return work

    await books.ledger.fold((), to(5, before=0))
    for elsewhere in (0, 4, 6):
        with pytest.raises(Unavailable, match=f"at page 5.*left at {elsewhere}"):
            await books.ledger.fold((), to(9, before=elsewhere))
    assert (await books.ledger.progress(LANE)).stream_seq == 5


@TWICE
async def test_the_lane_of_a_process_that_lost_it_stores_nothing(books: Books, nodes: Nodes) -> None:
    former = await books.claim()
    latter = await books.claim()
    assert former is not None
    assert latter is not None
    bodies = (
        TransactionStarted("1", 1, 1, T0, IdToken("A"), 100),
        TransactionUpdated("1", T0 + 1, samples=(Sample(T0 + 1, 500.0),)),
        TransactionEnded("1", T0 + 2, 1_100),
    )
    events = tuple(Event(SLOT, 1, number, "default", "CP1", 1, "m", T0, body) for number, body in enumerate(bodies))
    await publish(nodes, msgspec.msgpack.encode(Page("w", 1, events)))
    pages = await read(nodes)

    async def nobody_waits() -> None:
        return None

    lanes = [Lane(claim, nodes.pages(), books.ledger, nobody_waits) for claim in (former, latter)]
    for lane in lanes:
        await lane.recall()
    with pytest.raises(LaneLost):
        await lanes[0].fold_pages(pages)
    assert (await books.readings(), (await books.ledger.progress(LANE)).stream_seq) == ([], 0)
    await lanes[1].fold_pages(pages)
    assert (await books.readings(), (await books.ledger.progress(LANE)).stream_seq) == ([(T0 + 1, 500.0)], pages[-1].stream_seq)
    await lanes[1].recall()
    assert lanes[1].statistics.offset == pages[-1].stream_seq, "the journal is still the one that was folded"


@TWICE
async def test_a_fold_has_its_lane_to_itself_until_it_ends(books: Books) -> None:
    claim = await books.claim()
    assert claim is not None
    done: list[str] = []
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def first(folding: Folding) -> Batch:
        assert await folding.advance(claim, left_at(0), accepted(5))
        locked.set()
        await go_on.wait()
        done.append("first")
        return Batch()

    async def second(folding: Folding) -> Batch:
        """Begun at the same place, as by who has not heard of the first one's commit."""
        with pytest.raises(Unavailable, match="at page 5"):
            await folding.advance(claim, left_at(0), accepted(6))
        done.append("second")
        return Batch()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(books.ledger.fold((), first))
        await locked.wait()
        group.create_task(books.ledger.fold((), second))
        await asyncio.sleep(0.1)
        assert done == []
        assert await books.claim() is None, "nor is it claimed meanwhile"
        go_on.set()
    assert list(dict.fromkeys(done)) == ["first", "second"]
    assert (await books.ledger.progress(LANE)).stream_seq == 5


NO_TEXT = [("default", "CP1", "LogStatusNotification", text, "m", T0) for text in ('{"text":"\\u0000"}', "no json")]
REFUSED: dict[str, Batch] = {
    "a NUL in JSON": Batch(reports=NO_TEXT[:1]),
    "no JSON": Batch(reports=NO_TEXT[1:]),
    "a NUL in a text": Batch(sessions={77: Stored(77, session("9", token=IdToken("nul\0")))}),
    "a register beyond bigint": Batch(sessions={77: Stored(77, session("9", meter_start_wh=2**63))}),
    "an EVSE beyond integer": Batch(sessions={77: Stored(77, session("9", evse=2**40))}),
    "a start that is another's": Batch(sessions={77: Stored(77, session("9", start_key="start of 1"))}),
}


@TWICE
@pytest.mark.parametrize("batch", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_costs_its_savepoint_or_its_transaction(books: Books, batch: Batch) -> None:
    await fold(books, session("1"))
    claim = await books.claim()
    assert claim is not None

    async def in_its_own(folding: Folding) -> None:
        async with folding.savepoint():
            await written(folding, session("2"))
            await folding.save(batch)

    async def in_savepoint(folding: Folding) -> Batch:
        assert await folding.advance(claim, left_at(0), accepted(5))
        with pytest.raises(Refused):
            await in_its_own(folding)
        await written(folding, session("3"))
        return Batch()

    async def without(folding: Folding) -> Batch:
        assert await folding.advance(claim, left_at(5), accepted(6))
        await written(folding, session("4"))
        await folding.save(batch)
        return Batch()

    await books.ledger.fold(TENANTS, in_savepoint)
    with pytest.raises(Refused):
        await books.ledger.fold(TENANTS, without)
    assert (await books.ledger.progress(LANE)).stream_seq == 5
    assert set((await found(books, [key(str(n)) for n in range(10)], [])).by_transaction) == {key("1"), key("3")}


@TWICE
async def test_after_a_refusal_a_transaction_without_a_savepoint_is_of_no_use(books: Books) -> None:
    claim = await books.claim()
    assert claim is not None

    async def goes_on(folding: Folding) -> Batch:
        assert await folding.advance(claim, left_at(0), accepted(5))
        await written(folding, session("1"))
        with pytest.raises(Exception, match=r"JSON|Unicode"):
            await folding.save(REFUSED["a NUL in JSON"])
        with pytest.raises(Exception, match="aborted"):
            await written(folding, session("2"))
        return Batch()

    await books.ledger.fold(TENANTS, goes_on)
    assert (await books.ledger.progress(LANE)).stream_seq == 0
    assert await found(books, [key("1"), key("2")], []) == Found({}, {})


@TWICE
async def test_without_a_server_everything_is_unavailable(books: Books) -> None:
    async def work(folding: Folding) -> Batch:
        await folding.load([key("1")], [])
        return Batch()

    for asked in (
        books.away.progress(LANE),
        books.away.forget_stream(Claim(LANE, 1)),
        books.away.make_days([19_000]),
        books.away.fold(TENANTS, work),
    ):
        with pytest.raises(Unavailable):
            await asked


@TWICE
async def test_readings_of_a_transaction_that_nobody_knows_are_told_of_once(books: Books) -> None:
    for _ in range(2):

        async def work(folding: Folding) -> Batch:
            told = [message("unknown-transaction", "4711", action) for action in ("TransactionUpdated", "TransactionEnded")]
            await folding.save(Batch(parked=[*told, message("unknown-transaction", "4712", "TransactionUpdated")]))
            return Batch()

        await books.ledger.fold(TENANTS, work)
    assert len(await books.parked()) == 4


OPENED, LOST = ("opened", True), ("lost", False)
CONNECTIONS: dict[str, tuple[list[tuple[str, int]], tuple[int, bool]]] = {
    "opened": ([("opened", 3)], (3, True)),
    "opened and lost": ([("opened", 3), ("lost", 3)], (3, False)),
    "the end of an older one": ([("opened", 3), ("opened", 4), ("lost", 3)], (4, True)),
    "a newer one with a lower number": ([("opened", 9), ("opened", 4)], (4, True)),
    "seen only": ([("opened", 3), ("seen", -1)], (3, True)),
    "the end of one whose beginning nobody told": ([("opened", 3), ("lost", 5)], (3, False)),
}


@TWICE
@pytest.mark.parametrize(("told", "known"), CONNECTIONS.values(), ids=CONNECTIONS)
async def test_a_charger_is_connected_by_its_newest_connection(
    books: Books, told: list[tuple[str, int]], known: tuple[int, bool]
) -> None:
    for what, number in told:
        connected = {"opened": True, "lost": False, "seen": None}[what]
        live = ChargerLive("default", "CP1", T0, number, connected, opened=what == "opened")

        async def work(folding: Folding, live: ChargerLive = live) -> Batch:
            await folding.save(Batch(chargers={("default", "CP1"): live}))
            return Batch()

        await books.ledger.fold(TENANTS, work)
    assert await books.chargers() == {"CP1": known}


def ended(version: int = 1, energy_wh: int = 1_000, **fields: Any) -> Session:
    whole = {"status": "Ended", "ended_at": T0 + 60_000, "version": version, "energy_wh": energy_wh, "meter_start_wh": 0}
    return session(**whole | fields)


async def amend(books: Books, id_: int, changed: Session) -> None:
    async def work(folding: Folding) -> Batch:
        await folding.save(Batch(sessions={id_: Stored(id_, changed)}))
        return Batch()

    await books.ledger.fold(TENANTS, work)


async def rated(rating: Rating, claimed: Claimed, former: Cdr | None = None) -> Cdr:
    """Draw its CDR up, and write it."""
    version = claimed.session.version
    cdr = draw_up(claimed.session, None, cdr_id=f"cdr {version}", currency=claimed.currency, now=T0)
    for each in issued(cdr, former, new_id=lambda: f"credit {version}"):
        await rating.insert(each)
    await rating.mark_rated(claimed)
    return cdr


@TWICE
async def test_an_ended_session_waits_for_the_cdr_of_its_version_and_one_that_is_credited_does_not_stand(books: Books) -> None:
    (id_,) = await fold(books, session("1"))
    async with books.rating() as rating:
        assert list(await rating.claim(9, 0)) == [], "it is not ended"
    former: Cdr | None = None
    for version, energy_wh in ((1, 1_000), (2, 1_500)):
        await amend(books, id_, ended(version, energy_wh))
        async with books.rating() as rating:
            (claimed,) = await rating.claim(9, 0)
            assert (claimed.session.id, claimed.session.version, claimed.rated) == (id_, version, version == 2)
            assert claimed.session.metered.energy_wh == energy_wh
            assert list(claimed.session.metered.readings) == [Reading(T0 + id_, 5)]
            assert await rating.current(claimed.session) == former
            former = await rated(rating, claimed, former)
        async with books.rating() as rating:
            assert list(await rating.claim(9, 0)) == []
            assert await rating.current(claimed.session) == former


@TWICE
async def test_what_one_pool_has_claimed_another_leaves_alone_until_it_ends(books: Books) -> None:
    ids = await fold(books, *(ended(transaction=str(number), start_key=None) for number in range(3)))
    claimed: list[Claimed] = []

    async def fails() -> None:
        async with books.rating() as first:
            claimed[:] = await first.claim(2, 0)
            async with books.rating() as second:
                claimed.extend(await second.claim(9, 0))
            await rated(first, claimed[0])
            raise Unavailable("planted")

    with pytest.raises(Unavailable, match="planted"):
        await fails()
    assert sorted(each.session.id for each in claimed) == ids
    async with books.rating() as third:
        assert sorted(each.session.id for each in await third.claim(9, 0)) == ids
        assert await third.current(claimed[0].session) is None


@TWICE
async def test_a_session_has_one_cdr_of_a_version_and_what_fails_costs_its_savepoint(books: Books) -> None:
    (id_,) = await fold(books, ended())

    async def twice(rating: Rating, claimed: Claimed) -> None:
        async with rating.savepoint():
            cdr = await rated(rating, claimed)
            await rating.insert(replace(cdr, id="another"))

    async with books.rating() as rating:
        (claimed,) = await rating.claim(9, 0)
        with pytest.raises((asyncpg.UniqueViolationError, ValueError)):
            await twice(rating, claimed)
    async with books.rating() as rating:
        (claimed,) = await rating.claim(9, 0)
        assert (claimed.session.id, await rating.current(claimed.session)) == (id_, None)


@TWICE
async def test_a_session_with_missing_events_waits_and_is_then_billed_provisionally(books: Books) -> None:
    await fold(books, ended(seqs=(0, 1, 4, 5)))
    async with books.rating() as rating:
        assert list(await rating.claim(9, 60)) == []
        (claimed,) = await rating.claim(9, 0)
        assert claimed.provisional
