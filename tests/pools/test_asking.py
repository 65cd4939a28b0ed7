"""Stations are asked about transactions of which something is missing: what they say is honoured, and survives a rebuild."""

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from math import ceil
from time import time
from typing import Any

import anyio
import msgspec
import pytest
from nats.aio.msg import Msg

from cpms_actors.base.settings import Postgres, Settings
from cpms_actors.bus import commands, questions
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.domain.asking import ASKED_MAX, UNANSWERED_MAX
from cpms_actors.domain.events import (
    Connected,
    Disconnected,
    IdToken,
    Sample,
    TransactionAnswered,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools import session
from cpms_actors.pools.asking import ANSWER_S, AT_ONCE_MAX, ROUND_MAX, Counts
from cpms_actors.pools.calling import ANSWER_MARGIN_S
from cpms_actors.pools.sweeper import LOOK_S, LOOKS_APART_MS_MAX, Sweeper
from cpms_actors.store.database import open_database
from tests.pools.running_pool import running
from tests.pools.sweeping import LOOK, MIN, T0, H, S, World, meter, start, status

pytestmark = pytest.mark.anyio
DAY = 24 * H


class Stations:
    """The worker of all slots: answers for its chargers what a test tells it to, and keeps who was asked about what."""

    def __init__(self) -> None:
        self.answer: CallAnswer | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.at_once = self.at_once_max = 0

    def say(self, queued: bool, ongoing: bool | None = None) -> None:
        said = {"messagesInQueue": queued} | ({} if ongoing is None else {"ongoingIndicator": ongoing})
        self.answer = CallAnswer("result", msgspec.json.encode(said))

    async def serve(self, message: Msg) -> None:
        question = commands.QUESTION_DECODER.decode(message.data)
        assert question.action == "GetTransactionStatus"
        self.asked.append((message.subject.split(".")[-2], msgspec.json.decode(question.payload)))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await anyio.sleep(0.05)
        self.at_once -= 1
        if self.answer is not None:
            await message.respond(msgspec.msgpack.encode(self.answer))


@pytest.fixture
async def stations(world: World) -> AsyncIterator[Stations]:
    stations = Stations()

    async def on_call(message: Msg) -> None:
        group.start_soon(stations.serve, message)

    async with anyio.create_task_group() as group:
        subscription = await world.bus.subscribe("cpms.charger.>", cb=on_call)
        yield stations
        await subscription.unsubscribe()
        group.cancel_scope.cancel()


def started(transaction: str = "tx", seq: int = 0) -> TransactionStarted:
    return TransactionStarted(
        transaction, 1, 1, T0, IdToken("A"), seq=seq, status="Accepted", samples=read(T0, 1_000, "Transaction.Begin")
    )


def updated(seq: int, at: int, wh: int = 3_000, transaction: str = "tx") -> TransactionUpdated:
    return TransactionUpdated(transaction, at, seq, samples=read(at, wh))


def ended(seq: int, at: int, wh: int = 9_000, transaction: str = "tx") -> TransactionEnded:
    return TransactionEnded(transaction, at, reason="Local", seq=seq, samples=read(at, wh, "Transaction.End"))


def read(at: int, wh: int, context: str = "Sample.Periodic") -> tuple[Sample, ...]:
    return (Sample(at, wh, context=context),)


async def with_a_gap(world: World, charger: str = "CP1", ocpp: str = "2.0.1") -> None:
    """A transaction has ended, and its seqNo 1 is missing."""
    await world.hear(Connected(ocpp), started(), at=T0, charger=charger)
    await world.hear(ended(2, T0 + H), at=T0 + H, charger=charger)
    await world.fold()


async def silent(world: World) -> None:
    """A transaction that ran for an hour, and then said nothing for seven more; its charger is connected."""
    await world.hear(Connected("2.1"), started(), status("Available", T0 + H), at=T0)
    await world.hear(updated(1, T0 + H), at=T0 + H)
    await world.fold()


SILENT = T0 + 8 * H


# -- events that are missing


async def test_a_gap_is_asked_for_once_and_what_the_station_has_no_more_is_lost(world: World, stations: Stations) -> None:
    await with_a_gap(world)
    stations.say(queued=False, ongoing=False)
    await world.sweep(T0 + 2 * H)
    assert stations.asked == [("CP1", {"transactionId": "tx"})]
    assert [body for body in await world.bodies() if isinstance(body, TransactionAnswered)] == [
        TransactionAnswered("tx", False, False, 2)
    ]
    assert await world.session() == ("Ended", 1, 8_000, "Local", "gaps"), "the sweeper changes nothing itself"
    await world.fold()
    assert await world.session() == ("Ended", 1, 8_000, "Local", "lost")
    assert world.sweeper.asker.counts == Counts(asked=1, lost=1)
    for days in range(1, 9):
        await world.sweep(T0 + days * DAY)
    assert len(stations.asked) == 1


async def test_a_gap_is_asked_for_while_the_transaction_runs(world: World, stations: Stations) -> None:
    await world.hear(Connected("2.0.1"), started(), updated(2, T0 + MIN), at=T0 + MIN)
    await world.fold()
    stations.say(queued=False, ongoing=True)
    await world.sweep(T0 + 2 * MIN)
    await world.fold()
    assert await world.session() == ("Active", 0, 2_000, None, "lost")
    await world.hear(updated(4, T0 + 4 * MIN, 4_000), at=T0 + 4 * MIN)
    await world.fold()
    assert await world.session() == ("Active", 0, 3_000, None, "gaps lost")
    await world.sweep(T0 + 5 * MIN)
    await world.fold()
    assert (await world.session(), len(stations.asked)) == (("Active", 0, 3_000, None, "lost"), 2)


async def test_what_is_queued_is_waited_for_and_the_session_is_billed_once_when_it_has_come(world: World, stations: Stations) -> None:
    await with_a_gap(world)
    stations.say(queued=True, ongoing=False)
    await world.sweep(T0 + 2 * H)
    await world.fold()
    assert await world.session() == ("Ended", 1, 8_000, "Local", "gaps")
    await world.rate()
    assert await world.billed() == []
    await world.hear(updated(1, T0 + MIN), at=T0 + 2 * H + 2 * MIN)
    await world.fold()
    await world.rate()
    assert (await world.session(), await world.billed()) == (("Ended", 2, 8_000, "Local", ""), [(2, 8_000, False, False)])
    await world.sweep(T0 + 4 * H)
    assert (len(stations.asked), world.sweeper.asker.counts) == (1, Counts(asked=1))


async def test_a_station_whose_queue_never_empties_is_asked_ever_more_rarely_and_then_left(world: World, stations: Stations) -> None:
    await with_a_gap(world)
    stations.say(queued=True)
    asked_at: list[int] = []  # in half hours
    for half_hour in range(4, 84):
        await world.sweep(T0 + half_hour * H // 2)
        await world.fold()
        asked_at += [half_hour] * (len(stations.asked) - len(asked_at))
    assert len(asked_at) == ASKED_MAX
    pauses = [later - sooner for sooner, later in pairwise(asked_at)]
    assert (pauses, pauses[-3:]) == (sorted(pauses), [12, 12, 12])
    assert (await world.session())[4] == "gaps", "nobody has said that it is lost"


@pytest.mark.parametrize(
    "answer",
    [
        CallAnswer("error", b"{}", "NotSupported", "no"),
        CallAnswer("error", b"{}", "InternalError", ""),
        CallAnswer("failed", code=commands.TIMEOUT),
        CallAnswer("failed", code=commands.NOT_CONNECTED),
        CallAnswer("failed", code=commands.DISCONNECTED),
        CallAnswer("failed", code=commands.BUSY),
        CallAnswer("failed", code=commands.UNKNOWN_ACTION),
        CallAnswer("failed", b"{}", commands.INVALID_ANSWER, "no messagesInQueue"),
    ],
    ids=lambda answer: answer.code,
)
async def test_a_station_that_does_not_answer_is_asked_again_a_few_times_and_then_left(
    world: World, stations: Stations, answer: CallAnswer
) -> None:
    await with_a_gap(world)
    stations.answer = answer
    for hour in range(2, 30):
        await world.sweep(T0 + hour * H)
    assert len(stations.asked) == UNANSWERED_MAX
    assert world.sweeper.asker.counts == Counts(asked=UNANSWERED_MAX, unanswered=UNANSWERED_MAX)
    assert [body for body in await world.bodies() if isinstance(body, TransactionAnswered)] == []
    assert (await world.session())[4] == "gaps"


async def test_a_slot_that_nobody_owns_is_a_question_without_an_answer(world: World) -> None:
    await with_a_gap(world)
    await world.sweep(T0 + 2 * H)
    assert world.sweeper.asker.counts == Counts(asked=1, unanswered=1)


@pytest.mark.parametrize("ocpp", ["1.6", "2.0.1", "2.1"])
async def test_only_who_speaks_ocpp_2_is_asked(world: World, stations: Stations, ocpp: str) -> None:
    stations.say(queued=True)
    await with_a_gap(world, ocpp=ocpp)
    await world.sweep(T0 + 2 * H)
    assert len(stations.asked) == (0 if ocpp == "1.6" else 1)


async def test_a_station_that_is_away_is_asked_when_it_is_back(world: World, stations: Stations) -> None:
    stations.say(queued=False)
    await with_a_gap(world)
    await world.hear(Disconnected(1006), at=T0 + H)
    await world.fold()
    await world.sweep(T0 + 2 * H)
    assert stations.asked == []
    await world.hear(Connected("2.0.1"), at=T0 + 3 * H)
    await world.fold()
    await world.sweep(T0 + 4 * H)
    assert len(stations.asked) == 1


async def test_what_is_not_folded_yet_is_no_gap(world: World, stations: Stations) -> None:
    await with_a_gap(world)
    await world.hear(updated(1, T0 + MIN), at=T0 + 2 * H)
    await world.sweep(T0 + 2 * H + MIN)
    assert stations.asked == []


async def test_a_round_asks_so_many_at_once_so_many_in_all_and_each_station_about_one(
    world: World, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.asking.ROUND_MAX", 5)
    monkeypatch.setattr("cpms_actors.pools.asking.AT_ONCE_MAX", 2)
    stations.say(queued=True)
    async with world.database.transaction(["default"]) as connection:
        await connection.execute("INSERT INTO chargers (tenant_id, identity) SELECT 'default', 'ST' || n FROM generate_series(1, 6) n")
    for number in range(1, 7):
        charger = f"ST{number}"
        await world.hear(Connected("2.0.1"), started("one"), ended(2, T0 + H, transaction="one"), at=T0 + H, charger=charger)
    await world.hear(started("two"), ended(2, T0 + H, transaction="two"), at=T0 + H, charger="ST1")
    await world.fold()
    await world.sweep(T0 + 2 * H)
    assert (sorted(charger for charger, _ in stations.asked), stations.at_once_max) == (["ST1", "ST2", "ST3", "ST4", "ST5"], 2)
    assert world.sweeper.asker.counts == Counts(asked=5, postponed=2)
    await world.sweeper.sweep(T0 + 2 * H + 2 * LOOK)
    assert sorted((charger, said["transactionId"]) for charger, said in stations.asked[5:]) == [("ST1", "two"), ("ST6", "one")]


async def test_when_as_many_are_remembered_as_can_be_the_others_are_left_alone_until_there_is_room(
    world: World, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.asking.REMEMBERED_MAX", 1)
    stations.say(queued=False)
    await world.hear(Connected("2.0.1"), started("one"), ended(2, T0 + H, transaction="one"), at=T0 + H)
    await world.hear(started("two"), ended(2, T0 + H, transaction="two"), at=T0 + H)
    await world.fold()
    for hour in (2, 3):
        await world.sweep(T0 + hour * H)
        await world.fold()
    assert [said["transactionId"] for _, said in stations.asked] == ["one"]
    assert world.sweeper.asker.counts == Counts(asked=1, lost=1, unremembered=2)
    await world.sweep(T0 + 10 * H)  # by now the first is forgotten
    await world.sweep(T0 + 11 * H)
    assert [said["transactionId"] for _, said in stations.asked] == ["one", "two"]


def test_a_round_in_which_nobody_answers_is_over_before_the_look_is_too_old() -> None:
    waits_s = ceil(ROUND_MAX / AT_ONCE_MAX) * (ANSWER_S + ANSWER_MARGIN_S)
    assert (LOOK_S + waits_s) * 1000 < LOOKS_APART_MS_MAX


# -- an end that is missing


async def test_a_silent_transaction_that_is_over_for_its_station_is_closed(world: World, stations: Stations) -> None:
    await silent(world)
    stations.say(queued=False, ongoing=False)
    assert await world.sweep(SILENT) == 1
    assert stations.asked == [("CP1", {"transactionId": "tx"})]
    await world.fold()
    assert await world.session() == ("Ended", 1, 2_000, "endless", "provisional")


async def test_a_station_that_does_not_say_whether_it_goes_on_takes_it_for_over(world: World, stations: Stations) -> None:
    await silent(world)
    stations.say(queued=False)
    assert await world.sweep(SILENT) == 1


@pytest.mark.parametrize(("queued", "ongoing"), [(True, False), (True, None), (False, True), (True, True)])
async def test_a_transaction_that_goes_on_or_has_more_to_tell_is_heard_of_and_not_closed(
    world: World, stations: Stations, queued: bool, ongoing: bool | None
) -> None:
    await silent(world)
    stations.say(queued, ongoing)
    assert await world.sweep(SILENT) == 0
    await world.fold()
    assert (await world.session())[:3] == ("Active", 0, 2_000)
    assert await world.ask("SELECT (extract(epoch FROM heard_at) * 1000)::bigint FROM sessions") == [(SILENT + LOOK,)]
    assert await world.sweep(SILENT + 5 * H) == 0
    assert len(stations.asked) == 1, "heard of is heard of"
    for times in range(2, 16):
        assert await world.sweep(SILENT + 7 * times * H) == 0
        await world.fold()
        assert len(stations.asked) == times, "more often than it would be asked about events"


async def test_a_station_that_went_on_and_is_away_now_is_endless_a_limit_later(world: World, stations: Stations) -> None:
    await silent(world)
    stations.say(queued=False, ongoing=True)
    assert await world.sweep(SILENT) == 0
    await world.hear(Disconnected(1006), at=SILENT + H)
    await world.fold()
    assert await world.sweep(SILENT + 5 * H) == 0
    assert await world.sweep(SILENT + 7 * H) == 1


async def test_a_silent_transaction_of_a_station_that_does_not_answer_is_closed_after_a_few_questions(
    world: World, stations: Stations
) -> None:
    await silent(world)
    stations.answer = CallAnswer("failed", code=commands.TIMEOUT)
    closed = [await world.sweep(SILENT + minute * MIN) for minute in range(0, 60, 2)]
    assert len(stations.asked) == UNANSWERED_MAX
    assert (closed[:16], sum(closed)) == ([0] * 16, 1)
    await world.fold()
    assert (await world.session())[:2] == ("Ended", 1)


async def test_a_start_without_energy_that_goes_on_is_asked_about_ever_more_rarely_and_not_closed_in_between(
    world: World, stations: Stations
) -> None:
    await world.hear(Connected("2.0.1"), started(), status("Available", T0 + S), at=T0 + S)
    await world.fold()
    stations.say(queued=False, ongoing=True)
    asked_at: list[int] = []  # in minutes
    for minute in range(0, 240, 4):
        assert await world.sweep(T0 + minute * MIN) == 0
        await world.fold()
        asked_at += [minute] * (len(stations.asked) - len(asked_at))
    pauses = [later - sooner for sooner, later in pairwise(asked_at)]
    assert (pauses, min(pauses), pauses[-1]) == (sorted(pauses), 8, 64), "limits of five minutes, looked at every four"
    stations.say(queued=False, ongoing=False)
    assert [await world.sweep(T0 + minute * MIN) for minute in (480, 482)] == [1, 0]
    await world.fold()
    assert (await world.session())[3] == "failed-start"


async def test_a_fact_that_comes_while_its_station_is_asked_makes_the_close_say_nothing(world: World, stations: Stations) -> None:
    await silent(world)
    stations.say(queued=False, ongoing=False)
    await world.sweeper.sweep(SILENT)
    await world.hear(ended(2, T0 + 2 * H), at=SILENT + S)
    assert await world.sweeper.sweep(SILENT + LOOK) == 1
    await world.fold()
    assert await world.session() == ("Ended", 1, 8_000, "Local", "")


async def test_when_no_more_can_be_remembered_silence_decides(
    world: World, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.asking.REMEMBERED_MAX", 0)
    await silent(world)
    assert (await world.sweep(SILENT), stations.asked) == (1, [])


async def test_a_transaction_of_ocpp_1_6_is_closed_without_a_question(world: World, stations: Stations) -> None:
    await world.hear(Connected("1.6"), start(), at=T0)
    await world.hear(meter(T0 + H, 5_000), at=T0 + H)
    await world.fold()
    assert (await world.sweep(SILENT), stations.asked) == (1, [])


# -- in the pool


async def test_the_session_pool_asks_and_counts_what_it_asked(
    settings: Settings, world: World, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.sweeper.LOOK_S", 0.05)
    monkeypatch.setitem(Sweeper.__init__.__kwdefaults__ or {}, "settled_ms", 0)
    now = int(time() * 1000)
    stations.say(queued=False)
    await world.hear(Connected("2.1"), started(), updated(2, now), at=now)
    async with running(session.run, settings):
        with anyio.fail_after(30):
            while await world.ask("SELECT flags FROM sessions") != [("lost",)]:
                await anyio.sleep(0.05)
        answer = await world.bus.request(questions.STATUS_SUBJECT, b"", timeout=8)
        said = questions.STATUS_ANSWER.decode(answer.data)
        assert (said.asked, said.unanswered, said.lost, said.postponed, said.endless) == (1, 0, 1, 0, 0)
    assert len(stations.asked) == 1


# -- the journal


async def test_the_journal_folded_into_an_empty_database_comes_to_the_same_sessions(
    world: World, stations: Stations, fresh_postgres: Callable[[], Postgres]
) -> None:
    await with_a_gap(world)
    await world.hear(started("going"), at=T0 + H)
    await world.fold()
    stations.say(queued=False, ongoing=True)
    for hour in (2, 8, 9):
        await world.sweep(T0 + hour * H)
        await world.fold()
    rows = (
        "SELECT charger, transaction, status, version, energy_wh, ended_at, heard_at, reason, gaps, flags, marks FROM sessions"
        " ORDER BY transaction"
    )
    said = await world.ask(rows)
    assert [(row[1], row[2], row[8], row[9]) for row in said] == [("going", "Active", 0, ""), ("tx", "Ended", 1, "lost")]
    async with open_database(fresh_postgres()) as empty:
        await world.fold(empty)
        assert await world.ask(rows, empty) == said
