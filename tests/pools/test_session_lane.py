"""A lane on a real Postgres and a real nats-server: folded exactly once, whatever is redelivered, interrupted or taken over."""

import random
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import anyio
import msgspec
import nats
import pytest
from nats.aio.client import Client

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.domain.events import (
    Event,
    IdToken,
    Page,
    Reported,
    Sample,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools.fold import StoredPage
from cpms_actors.pools.lane import REST_S, Lane, LaneLost, rest_s
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.store import offsets, parked, sessions
from cpms_actors.store.database import Database, open_database
from cpms_actors.store.offsets import Claim

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_000
LANE = 1
_numbers = count(1)


@pytest.fixture
async def database(fresh_postgres: Callable[[], Postgres]) -> AsyncIterator[Database]:
    async with open_database(fresh_postgres()) as database:
        yield database


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await ensure_stream(client.jetstream(), Settings(nats=Nats(url=nats_url)))
    yield client
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()


async def claimed(database: Database, owner: str = "a") -> Claim:
    async with database.transaction(()) as connection:
        held, _ = await offsets.hold(connection, owner, 60)
        return next(claim for claim in held if claim.lane == LANE)


async def stolen(database: Database) -> None:
    """Another process claims the lane."""
    async with database.transaction(()) as connection:
        await connection.execute("UPDATE lanes SET epoch = epoch + 1, owner = 'b' WHERE lane = $1", LANE)


def event(body: Any, charger: str = "CP1", epoch: int = 1) -> Event:
    return Event(LANE, epoch, next(_numbers), "default", charger, 1, "m", T0, body)


def session_events(charger: str, transaction: str) -> list[Event]:
    """A whole 1.6 session of 1 kWh, with two readings."""
    at = T0 + 1_000 * int(transaction)
    start = TransactionStarted(transaction, 1, 1, at, IdToken("A"), 100, status="Accepted")
    readings = [TransactionUpdated(transaction, at + n, samples=(Sample(at + n, 100.0 + n),)) for n in (1, 2)]
    return [event(body, charger) for body in (start, *readings, TransactionEnded(transaction, at + 3, 1_100, "Local"))]


def page(*events: Event, writer: str = "", number: int = 1) -> bytes:
    """A page; of a writer of its own, unless one is named."""
    return msgspec.msgpack.encode(Page(writer or f"w{next(_numbers)}", number, events))


async def rung() -> None:
    return None


def lane_of(claim: Claim, bus: Client, database: Database) -> Lane:
    return Lane(claim, JournalPages(bus), PostgresLedger(database), rung)


async def ask(database: Database, sql: str) -> list[tuple[Any, ...]]:
    async with database.transaction(["default"]) as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql)]


SUMMARY = (
    "SELECT s.charger, s.transaction, s.status, s.energy_wh, s.version, (SELECT count(*) FROM meter_values m WHERE m.session_id = s.id)"
    " FROM sessions s ORDER BY 1, 2"
)


async def test_pages_become_sessions_readings_and_an_offset_in_one_transaction(bus: Client, database: Database) -> None:
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    await lane.fold_pages([StoredPage(7, page(*session_events("CP1", "1"), *session_events("CP2", "1")))])
    assert await ask(database, SUMMARY) == [("CP1", "1", "Ended", 1_000, 1, 2), ("CP2", "1", "Ended", 1_000, 1, 2)]
    assert await ask(database, f"SELECT stream_seq FROM lanes WHERE lane = {LANE}") == [(7,)]
    assert (lane.statistics.offset, lane.statistics.events, lane.statistics.parked) == (7, 8, 0)


@pytest.mark.parametrize(
    "step",
    [
        "offsets.advance",
        "offsets.save_writers",
        "sessions.load",
        "sessions.save",
        "sessions.save_transactions",
        "meter_values.save",
        "chargers_live.save_chargers",
        "chargers_live.save_connectors",
    ],
)
async def test_a_crash_at_any_step_before_the_commit_leaves_nothing_and_the_replay_folds_all(
    bus: Client, database: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pages = [StoredPage(1, page(*session_events("CP1", "1")))]
    claim = await claimed(database)
    lane = lane_of(claim, bus, database)
    await lane.recall()

    async def crash(*arguments: Any) -> None:
        raise Unavailable("planted")

    with monkeypatch.context() as patched:
        patched.setattr(f"cpms_actors.store.{step}", crash)
        with pytest.raises(Unavailable):
            await lane.fold_pages(pages)
    assert await ask(database, SUMMARY) == []
    again = lane_of(claim, bus, database)
    await again.recall()
    await again.fold_pages(pages)
    assert await ask(database, SUMMARY) == [("CP1", "1", "Ended", 1_000, 1, 2)]


async def test_a_replay_after_the_commit_changes_nothing(bus: Client, database: Database) -> None:
    pages = [StoredPage(n, page(e)) for n, e in enumerate(session_events("CP1", "1"), 1)]
    claim = await claimed(database)
    for _ in range(3):
        lane = lane_of(claim, bus, database)  # as a process that starts again
        await lane.recall()
        await lane.fold_pages(pages)
    assert await ask(database, SUMMARY) == [("CP1", "1", "Ended", 1_000, 1, 2)]


async def test_a_page_that_the_journal_stored_twice_is_folded_once(bus: Client, database: Database) -> None:
    data = page(*session_events("CP1", "1"))
    claim = await claimed(database)
    lane = lane_of(claim, bus, database)
    await lane.recall()
    await lane.fold_pages([StoredPage(1, data), StoredPage(2, data)])
    later = lane_of(claim, bus, database)
    await later.recall()
    await later.fold_pages([StoredPage(3, data)])
    assert await ask(database, SUMMARY) == [("CP1", "1", "Ended", 1_000, 1, 2)]
    assert (lane.statistics.stored_twice, later.statistics.stored_twice, later.statistics.offset) == (1, 1, 3)


async def test_an_owner_that_lost_its_lane_writes_nothing(bus: Client, database: Database) -> None:
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    await stolen(database)
    with pytest.raises(LaneLost):
        await lane.fold_pages([StoredPage(1, page(*session_events("CP1", "1")))])
    assert await ask(database, SUMMARY) == []
    assert await ask(database, f"SELECT stream_seq FROM lanes WHERE lane = {LANE}") == [(0,)]


async def test_two_owners_of_one_lane_fold_every_page_once_between_them(bus: Client, database: Database) -> None:
    """The first does not know that it was replaced, and goes on with the same pages at the same time."""
    pages = [StoredPage(n, page(*session_events(f"CP{n}", "1"))) for n in range(1, 21)]
    first = lane_of(await claimed(database), bus, database)
    await first.recall()
    await first.fold_pages(pages[:5])
    await stolen(database)
    (epoch,) = (await ask(database, f"SELECT epoch FROM lanes WHERE lane = {LANE}"))[0]
    second = lane_of(Claim(LANE, epoch), bus, database)
    await second.recall()
    lost = 0

    async def old() -> None:
        nonlocal lost
        for one in pages[5:]:
            try:
                await first.fold_pages([one])
            except LaneLost:
                lost += 1

    async with anyio.create_task_group() as group:
        group.start_soon(old)
        for one in pages[5:]:
            await second.fold_pages([one])
    assert lost == 15
    assert [row[2:] for row in await ask(database, SUMMARY)] == [("Ended", 1_000, 1, 2)] * 20


async def test_what_an_outdated_owner_of_a_slot_was_told_counts_also_after_a_restart(bus: Client, database: Database) -> None:
    claim = await claimed(database)
    lane = lane_of(claim, bus, database)
    await lane.recall()
    started = page(event(TransactionStarted("1", 1, 1, T0, None, 100), epoch=5))
    await publish(bus, started)
    await lane.fold_pages([StoredPage(1, started)])
    later = lane_of(claim, bus, database)
    await later.recall()
    await later.fold_pages([StoredPage(2, page(event(TransactionEnded("1", T0, 500), epoch=4)))])
    assert await ask(database, "SELECT status, energy_wh FROM sessions") == [("Ended", 400)]
    assert (later.statistics.stale, later.statistics.parked) == (1, 0)


@pytest.mark.parametrize(
    "poison",
    [
        Reported("LogStatusNotification", b'{"text":"\\u0000"}'),
        Reported("LogStatusNotification", b"no json"),
        Reported("LogStatusNotification", b"\xff"),
        TransactionStarted("9", 1, 1, T0, IdToken("nul\0"), 100),
        TransactionStarted("9", 1, 1, T0, None, 2**63),
        TransactionStarted("9", 2**40, 1, T0, None, 100),
        TransactionUpdated("9", T0, 0, samples=(Sample(2**62, 1.0),)),
        TransactionStarted("9", 1, 1, T0, IdToken("".join(random.Random(1).choices("abcdefgh", k=20_000))), 100),
    ],
    ids=["nul in json", "no json", "no text", "nul", "register", "evse", "moment", "too long for an index"],
)
async def test_what_postgres_refuses_is_parked_and_its_neighbours_are_folded(bus: Client, database: Database, poison: Any) -> None:
    good = session_events("CP1", "1")
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    await lane.fold_pages([StoredPage(1, page(*good[:2], event(poison, "BAD"), *good[2:]))])
    await lane.fold_pages([StoredPage(2, page(*session_events("CP2", "1")))])
    assert await ask(database, SUMMARY) == [("CP1", "1", "Ended", 1_000, 1, 2), ("CP2", "1", "Ended", 1_000, 1, 2)]
    async with database.transaction(["default"]) as connection:
        (message,) = await parked.open_page(connection, "default", limit=5)
    assert (message.charger, message.reason, message.action) == ("BAD", "poison", type(poison).__name__)
    assert lane.statistics.parked == 1


async def test_readings_of_a_transaction_nobody_knows_are_all_kept_and_told_of_once(bus: Client, database: Database) -> None:
    """Until somebody resolves it; a stop is told of each time."""
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    bodies = [TransactionUpdated("4711", T0 + n, samples=(Sample(T0 + n, 100.0 + n),)) for n in range(5)]
    stops = [TransactionEnded("4711", T0 + n, 200, "Local") for n in range(2)]
    await lane.fold_pages([StoredPage(1, page(*(event(body) for body in (*bodies, *stops))))])
    await lane.fold_pages([StoredPage(2, page(*(event(body) for body in bodies)))])
    told = "SELECT action, count(*) FROM parked_messages GROUP BY 1 ORDER BY 1"
    assert await ask(database, told) == [("TransactionEnded", 2), ("TransactionUpdated", 1)]
    async with database.transaction(["default"]) as connection:
        await connection.execute("UPDATE parked_messages SET resolved_at = now()")
    await lane.fold_pages([StoredPage(3, page(event(bodies[0])))])
    assert await ask(database, told) == [("TransactionEnded", 2), ("TransactionUpdated", 2)]
    assert await ask(database, "SELECT count(*) FROM meter_values") == [(11,)]


async def test_a_poison_event_costs_its_batch_a_few_savepoints(
    bus: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one for every event: a process that folds for longer than its claim lasts would lose its lanes."""
    good = [each for n in range(128) for each in session_events(f"CP{n}", "1")]
    poison = event(TransactionStarted("9", 1, 1, T0, IdToken("nul\0"), 100), "BAD")
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    applied = 0
    load = sessions.load

    async def counted(*arguments: Any) -> Any:
        nonlocal applied
        applied += 1
        return await load(*arguments)

    monkeypatch.setattr(sessions, "load", counted)
    await lane.fold_pages([StoredPage(1, page(*good[:300], poison, *good[300:]))])
    assert [row[2:] for row in await ask(database, SUMMARY)] == [("Ended", 1_000, 1, 2)] * 128
    assert lane.statistics.parked == 1
    assert applied <= 2 * (len(good).bit_length() + 1)


async def test_a_station_that_empties_its_queue_in_any_order_ends_in_one_session(bus: Client, database: Database) -> None:
    bodies: list[Any] = [
        TransactionStarted("tx", 1, 1, T0, IdToken("A"), seq=0, samples=(Sample(T0, 100, context="Transaction.Begin"),))
    ]
    bodies += [TransactionUpdated("tx", T0 + n, n, samples=(Sample(T0 + n, 100.0 + n),)) for n in range(1, 9)]
    bodies.append(TransactionEnded("tx", T0 + 9, None, "Local", seq=9, samples=(Sample(T0 + 9, 500, context="Transaction.End"),)))
    chance = random.Random(7)
    claim = await claimed(database)
    for attempt in range(5):
        shuffled = bodies + chance.choices(bodies, k=5)
        chance.shuffle(shuffled)
        lane = lane_of(claim, bus, database)
        await lane.recall()
        for body in shuffled:  # every event a batch of its own: state goes through the database
            await lane.fold_pages([StoredPage(lane.statistics.offset + 1, page(event(body, f"CP{attempt}")))])
    rows = await ask(database, "SELECT status, energy_wh, seqs::text, gaps, flags, started_at, ended_at FROM sessions")
    assert len(rows) == 5
    assert len(set(rows)) == 1
    assert rows[0][:5] == ("Ended", 400, "{[0,10)}", 0, "")
    assert await ask(database, "SELECT count(*) FROM meter_values GROUP BY session_id") == [(10,)] * 5


async def publish(bus: Client, *pages: bytes) -> None:
    for data in pages:
        await bus.jetstream().publish(subjects.journal(LANE), data)


async def folds(lane: Lane, events: int) -> None:
    await until(lambda: lane.statistics.events >= events)


async def until(holds: Callable[[], bool]) -> None:
    """Real servers have no virtual clock: look again and again, but not for ever."""
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.02)


async def test_the_lane_reads_from_the_stored_offset_and_follows_what_is_appended(bus: Client, database: Database) -> None:
    await publish(bus, page(*session_events("CP1", "1")), page(*session_events("CP2", "1")))
    claim = await claimed(database)
    async with anyio.create_task_group() as group:
        lane = lane_of(claim, bus, database)
        group.start_soon(lane.run, lambda: None)
        await folds(lane, 8)
        await publish(bus, *(page(*session_events(f"CP{n}", "2")) for n in range(100)))
        await folds(lane, 408)
        group.cancel_scope.cancel()
    assert [row[2:] for row in await ask(database, SUMMARY)] == [("Ended", 1_000, 1, 2)] * 102
    async with anyio.create_task_group() as group:
        lane = lane_of(claim, bus, database)
        group.start_soon(lane.run, lambda: None)
        await publish(bus, page(*session_events("CP3", "3")))
        await folds(lane, 4)
        group.cancel_scope.cancel()
    assert len(await ask(database, SUMMARY)) == 103


async def test_a_lane_that_was_taken_over_ends(bus: Client, database: Database) -> None:
    lane = lane_of(await claimed(database), bus, database)
    await stolen(database)
    await publish(bus, page(*session_events("CP1", "1")))
    with anyio.fail_after(10):
        await lane.run(lambda: None)
    assert await ask(database, SUMMARY) == []


async def test_a_journal_that_was_made_anew_is_read_from_its_beginning(bus: Client, database: Database) -> None:
    """Sequences and slot epochs start over with it; pages carried over from the old one are still folded once."""
    claim = await claimed(database)
    carried = page(event(TransactionStarted("1", 1, 1, T0, None, 100), epoch=900), number=1)
    lane = lane_of(claim, bus, database)
    await lane.recall()
    await lane.fold_pages([StoredPage(500, carried)])
    await bus.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await ensure_stream(bus.jetstream(), Settings())
    await publish(bus, carried, page(event(TransactionEnded("1", T0, 600), epoch=1), writer="x", number=1))
    async with anyio.create_task_group() as group:
        group.start_soon(lane.run, lambda: None)
        await folds(lane, 2)
        group.cancel_scope.cancel()
    assert await ask(database, "SELECT status, energy_wh FROM sessions") == [("Ended", 500)]
    assert await ask(database, "SELECT count(*) FROM parked_messages") == [(0,)]


async def test_a_journal_that_lost_pages_is_read_again_from_its_beginning(bus: Client, database: Database) -> None:
    """After a power failure new pages may come under the sequence of pages that are folded: they must not be passed over."""
    claim = await claimed(database)
    await publish(bus, *(page(*session_events(f"CP{n}", "1")) for n in range(3)))
    async with anyio.create_task_group() as group:
        lane = lane_of(claim, bus, database)
        group.start_soon(lane.run, lambda: None)
        await folds(lane, 12)
        group.cancel_scope.cancel()
    jetstream = bus.jetstream()
    for seq in (2, 3):  # what follows takes the sequence 4: as if the offset had been at it
        await jetstream.delete_msg(subjects.JOURNAL_STREAM, seq)
    async with database.transaction(()) as connection:
        await connection.execute("UPDATE lanes SET stream_seq = 4 WHERE lane = $1", LANE)
    await publish(bus, page(*session_events("CP7", "1")), page(*session_events("CP8", "1")))
    async with anyio.create_task_group() as group:
        lane = lane_of(claim, bus, database)
        group.start_soon(lane.run, lambda: None)
        await folds(lane, 8)
        group.cancel_scope.cancel()
    assert [row[0] for row in await ask(database, SUMMARY)] == ["CP0", "CP1", "CP2", "CP7", "CP8"]
    assert (lane.statistics.stored_twice, lane.statistics.parked) == (1, 0)


async def test_a_lane_whose_offset_postgres_has_forgotten_is_read_again_from_what_it_knows(bus: Client, database: Database) -> None:
    """A standby that lacks the last commits takes over while the lane rests: what it lacks must not be passed over."""
    lane = lane_of(await claimed(database), bus, database)
    await publish(bus, page(*session_events("CP1", "1")))
    async with anyio.create_task_group() as group:
        group.start_soon(lane.run, lambda: None)
        await folds(lane, 4)
        async with database.transaction(()) as connection:
            await connection.execute("UPDATE lanes SET stream_seq = 0 WHERE lane = $1", LANE)
            await connection.execute("DELETE FROM journal_writers")
        await publish(bus, page(*session_events("CP2", "1")))
        await folds(lane, 12)  # the first page once more, and the second
        group.cancel_scope.cancel()
    assert [row[:4] for row in await ask(database, SUMMARY)] == [("CP1", "1", "Ended", 1_000), ("CP2", "1", "Ended", 1_000)]


@pytest.mark.parametrize("lost", ["purged", "another lane's", "beyond the end"])
async def test_the_page_at_the_offset_tells_whether_the_journal_is_the_one_that_was_folded(
    bus: Client, database: Database, lost: str
) -> None:
    claim = await claimed(database)
    lane = lane_of(claim, bus, database)
    await bus.jetstream().publish(subjects.journal(LANE + 1), page())
    await publish(bus, data := page(*session_events("CP1", "1")))
    await lane.recall()
    await lane.fold_pages([StoredPage(2, data)])
    if lost == "purged":
        await bus.jetstream().purge_stream(subjects.JOURNAL_STREAM)
    else:
        async with database.transaction(()) as connection:
            await connection.execute("UPDATE lanes SET stream_seq = $2 WHERE lane = $1", LANE, 1 if lost == "another lane's" else 3)
    await lane.recall()
    assert lane.statistics.offset == (2 if lost == "purged" else 0)


async def test_the_newest_session_has_the_highest_number_whichever_lane_folded_it(bus: Client, database: Database) -> None:
    """Operators' lists go by it."""
    async with database.transaction(()) as connection:
        held, _ = await offsets.hold(connection, "a", 60)
    lanes = [lane_of(claim, bus, database) for claim in held[:2]]
    for n in range(6):
        lane = lanes[n % 2]
        if n < 2:
            await lane.recall()
        await lane.fold_pages([StoredPage(n + 1, page(*session_events(f"CP{n}a", "1"), *session_events(f"CP{n}b", "1")))])
    listed = [row[0] for row in await ask(database, "SELECT charger FROM sessions ORDER BY id")]
    assert listed == [f"CP{n}{half}" for n in range(6) for half in "ab"]


async def test_a_transaction_id_that_begins_anew_leaves_the_session_it_had(bus: Client, database: Database) -> None:
    lane = lane_of(await claimed(database), bus, database)
    await lane.recall()
    for seq, at in ((1, T0), (2, T0 + 1_000)):
        bodies = TransactionStarted("tx", 1, 1, at, IdToken("A"), 100, 0), TransactionEnded("tx", at + 1, 200 * seq, seq=1)
        for step, body in enumerate(bodies):
            await lane.fold_pages([StoredPage(10 * seq + step, page(event(body)))])
    assert await ask(database, "SELECT transaction, status, energy_wh FROM sessions ORDER BY id") == [
        ("tx", "Ended", 100),
        ("tx", "Ended", 300),
    ]


@pytest.mark.parametrize("crash", [False, True], ids=["restarted", "killed"])
async def test_the_lane_goes_on_after_the_broker_was_away(nats_server: Any, database: Database, crash: bool) -> None:
    """A server that comes back has forgotten the consumer; nothing but its silence tells."""
    settings = Settings(nats=Nats(url=nats_server.url))
    client = await nats.connect(nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet)
    await ensure_stream(client.jetstream(), settings)
    try:
        lane = lane_of(await claimed(database), client, database)
        async with anyio.create_task_group() as group:
            group.start_soon(lane.run, lambda: None)
            await publish(client, page(*session_events("CP1", "1")))
            await folds(lane, 4)
            nats_server.stop(*((9,) if crash else ()))
            await anyio.sleep(0.3)
            nats_server.start()
            await until(lambda: bool(client.is_connected))
            await publish(client, page(*session_events("CP2", "1")))
            await folds(lane, 8)
            group.cancel_scope.cancel()
        assert [row[0] for row in await ask(database, SUMMARY)] == ["CP1", "CP2"]
        assert lane.statistics.failures >= 1
    finally:
        await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
        await client.close()


async def _quiet(error: Exception) -> None:
    """The broker is away on purpose."""


@pytest.mark.parametrize(("took_s", "rests_s"), [(0.0, REST_S[0]), (0.005, REST_S[0]), (0.02, 0.18), (1.0, REST_S[1])])
@pytest.mark.parametrize(("fetched", "pending"), [(1, 0), (40, 3), (40, 39)])
def test_a_lane_that_keeps_up_folds_for_a_tenth_of_the_time_at_most(took_s: float, rests_s: float, fetched: int, pending: int) -> None:
    assert rest_s(took_s, fetched, pending) == pytest.approx(rests_s)


@pytest.mark.parametrize(("fetched", "pending"), [(1, 1), (40, 40), (64, 100_000)])
def test_a_lane_does_not_rest_when_as_much_waits_as_it_had_at_once(fetched: int, pending: int) -> None:
    assert rest_s(0.02, fetched, pending) == 0.0
