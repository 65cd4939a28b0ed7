"""The journal on a model of JetStream, for the faults that a real server cannot be made to show at will: one event that cannot be
encoded, a page that is too large, a crash or an end while a page is on its way, a waiter that raises."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from nats.errors import MaxPayloadError
from nats.errors import TimeoutError as NatsTimeout

from cpms_actors.base.settings import Journal as Settings
from cpms_actors.bus import journal as lanes
from cpms_actors.bus.journal import Journal, Lane
from cpms_actors.domain.events import PAGE_DECODER, Body, Event, Parked, Reported, Seen, TransactionUpdated


class Stream:
    """Stores a page when `open` lets it; `fault` is raised for what reaches it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.stored: dict[str, bytes] = {}  # by Nats-Msg-Id, in order: a repetition is a duplicate
        self.sent: list[tuple[str, bytes]] = []
        self.payload_bytes_max = 8 * 1024 * 1024
        self.fault: BaseException | None = None
        self.refused: set[str] = set()  # subjects

    async def publish(self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str]) -> None:
        if len(payload) > self.payload_bytes_max:
            raise MaxPayloadError
        self.sent.append((headers["Nats-Msg-Id"], payload))
        try:
            async with asyncio.timeout(timeout):
                await self.open.wait()
        except TimeoutError:
            raise NatsTimeout from None
        if self.fault is not None:
            raise self.fault
        if subject in self.refused:
            raise NatsTimeout
        self.stored.setdefault(headers["Nats-Msg-Id"], payload)

    @property
    def events(self) -> list[int]:
        return [event.number for data in self.stored.values() for event in PAGE_DECODER.decode(data).events]


def event(number: int, body: Body | None = None) -> Event:
    return Event(0, 1, number, "default", "CP1", 1, "", 0, body or Seen())  # type: ignore[arg-type]


async def until(true: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.002)


async def stopped(running: "asyncio.Task[None]") -> None:
    if running.cancel():
        with suppress(asyncio.CancelledError):
            await running


Use = Callable[[Stream, Lane, "asyncio.Task[None]", Journal], Awaitable[None]]


def with_stream(use: Use, payload: int = 0, lanes: int = 1, **settings: Any) -> None:
    """Run `use` with the first lane of a running journal."""

    async def main() -> None:
        stream = Stream()
        sizes = {"payload_bytes_max": payload} if payload else {}
        journal = Journal(stream, range(lanes), "w", Settings(**{"linger_ms": 0.0, **settings}), **sizes)
        running = asyncio.create_task(journal.run())
        await asyncio.sleep(0)
        await use(stream, journal.lanes[0], running, journal)
        await stopped(running)

    asyncio.run(main())


def test_an_event_that_cannot_be_encoded_costs_only_its_own_waiter() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        for number in range(1, 6):
            body = TransactionUpdated("tx", 0, seq=2**64) if number == 3 else Seen()
            lane.append(event(number, body), lambda durable, n=number: told.append((n, durable)))  # type: ignore[misc]
        await until(lambda: len(told) == 5)
        assert sorted(told) == [(1, True), (2, True), (3, False), (4, True), (5, True)]
        assert stream.events == [1, 2, 3, 4, 5]
        (page,) = [PAGE_DECODER.decode(data) for data in stream.stored.values()]
        assert isinstance(page.events[2].body, Parked)
        assert lane.statistics.waiting == 0
        assert not running.done()

    with_stream(use)


@pytest.mark.parametrize("told_limit", [0, 1_000_000], ids=["the limit is found out", "the limit is known"])
def test_pages_stay_below_what_the_broker_takes(told_limit: int) -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        stream.payload_bytes_max = 1_000_000
        told: list[bool] = []
        for number in range(40):
            assert lane.append(event(number, Reported("DataTransfer", b"x" * 90_000)), told.append)
        assert 40 * 90_000 < lane.statistics.waiting_bytes < 40 * 90_100
        await until(lambda: len(told) == 40)
        assert told == [True] * 40
        assert stream.events == list(range(40))
        assert (lane.statistics.waiting, lane.statistics.waiting_bytes) == (0, 0)

    with_stream(use, payload=told_limit)


def test_an_event_larger_than_any_page_is_parked_and_its_waiter_refused() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        lane.append(event(1), lambda durable: told.append((1, durable)))
        lane.append(event(2, Reported("DataTransfer", b"x" * 200_000)), lambda durable: told.append((2, durable)))
        lane.append(event(3), lambda durable: told.append((3, durable)))
        await until(lambda: len(told) == 3)
        assert sorted(told) == [(1, True), (2, False), (3, True)]
        assert stream.events == [1, 2, 3]
        assert (lane.statistics.waiting, lane.statistics.waiting_bytes) == (0, 0)

    with_stream(use, payload=100_000)


def test_a_broker_that_takes_next_to_nothing_stalls_the_lane_and_loses_nothing() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        stream.payload_bytes_max = 10
        told: list[bool] = []
        lane.append(event(1), told.append)
        await until(lambda: told == [False])
        stream.payload_bytes_max = 1_000_000
        await until(lambda: stream.events == [1])

    with_stream(use)


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAITING_BYTES_MAX", 10_000)

    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        stream.open.clear()
        assert [lane.append(event(n, Parked("r", "d", None, b"x" * 3000))) for n in range(5)] == [True] * 3 + [False] * 2
        assert lane.statistics.refusals == 2
        assert lane.append(event(9)), "what carries little has room"
        await until(lambda: len(stream.sent) == 1)
        assert not lane.append(event(10, Reported("A", b"x" * 3000))), "what is on its way counts too"
        stream.open.set()
        await until(lambda: lane.statistics.waiting == 0)
        assert lane.append(event(11, Reported("A", b"x" * 9000)))

    with_stream(use)


def test_sealed_events_count_among_those_that_wait() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        stream.open.clear()
        assert all(lane.append(event(n)) for n in range(3))
        await until(lambda: len(stream.sent) == 1)
        assert [lane.append(event(n)) for n in range(3, 7)] == [True, True, False, False]
        assert (lane.statistics.waiting, lane.statistics.refusals) == (5, 2)
        stream.open.set()

    with_stream(use, waiting_max=5)


@pytest.mark.parametrize("stalled", [False, True])
def test_a_waiter_that_raises_costs_only_itself(stalled: bool) -> None:
    def bad(_: bool) -> None:
        raise RuntimeError("a fault of the charger's")

    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[bool] = []
        if stalled:
            stream.fault = NatsTimeout()
            lane.append(event(0), told.append)
            await until(lambda: told == [False])
            told.clear()
        for then in (bad, told.append, bad, told.append):
            assert lane.append(event(1), then)
        await until(lambda: len(told) == 2)
        assert told == [not stalled] * 2
        assert not running.done()
        stream.fault = None
        lane.append(event(2))
        await until(lambda: 2 in stream.events)

    with_stream(use)


def test_the_page_on_its_way_at_the_end_is_sent_again_under_its_number_and_the_rest_after_it() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        stream.open.clear()
        lane.append(event(1), lambda durable: told.append((1, durable)))
        await until(lambda: len(stream.sent) == 1)
        lane.append(event(2), lambda durable: told.append((2, durable)))
        asyncio.get_running_loop().call_later(0.05, stream.open.set)
        await stopped(running)
        assert [name for name, _ in stream.sent] == ["w.0.1", "w.0.1", "w.0.2"]
        assert stream.sent[0] == stream.sent[1]
        assert stream.events == [1, 2]
        assert told == [(1, True), (2, True)]
        assert not lane.append(event(3)), "the lane is closed"
        assert lane.statistics.refusals == 1

    with_stream(use)


@pytest.mark.parametrize("stalled", [False, True])
def test_an_end_without_a_broker_takes_bounded_time_and_everybody_hears_once(stalled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DRAIN_STALLED_S" if stalled else "DRAIN_S", 0.1)

    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[bool] = []
        if stalled:
            stream.fault = NatsTimeout()
        else:
            stream.open.clear()
        lane.append(event(1), told.append)
        await until(lambda: len(stream.sent) == 1)
        lane.append(event(2), told.append)
        async with asyncio.timeout(0.9):
            await stopped(running)
        assert told == [False, False]
        assert lane.statistics.waiting == 2

    with_stream(use)


def test_a_lane_that_runs_again_is_open_again_and_goes_on_with_what_it_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DRAIN_S", 0.05)

    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        stream.open.clear()
        lane.append(event(1))
        await until(lambda: len(stream.sent) == 1)
        await stopped(running)
        again = asyncio.create_task(journal.run())
        await asyncio.sleep(0)
        told: list[bool] = []
        assert lane.append(event(2), told.append)
        stream.open.set()
        await until(lambda: told == [True])
        assert stream.events == [1, 2]
        await stopped(again)

    with_stream(use)


def test_after_a_crash_the_page_on_its_way_goes_first_under_its_number() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        stream.fault = AttributeError("a fault inside the client")
        lane.append(event(1), lambda durable: told.append((1, durable)))
        with pytest.raises(AttributeError):
            await running
        assert told == [(1, False)]
        assert lane.append(event(2), lambda durable: told.append((2, durable))), "the supervisor will run it again"
        assert told == [(1, False), (2, False)], "until then nobody waits"
        stream.fault = None
        again = asyncio.create_task(journal.run())
        await until(lambda: stream.events == [1, 2])
        assert [name for name, _ in stream.sent] == ["w.0.1", "w.0.1", "w.0.2"]
        lane.append(event(3), lambda durable: told.append((3, durable)))
        await until(lambda: told[-1] == (3, True))
        await stopped(again)

    with_stream(use)


def test_the_lanes_send_in_rounds_and_one_that_is_refused_rests_without_holding_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "RETRY_FIRST_S", 3600.0)

    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        stream.refused = {"cpms.journal.1"}
        for number, each in enumerate(journal.lanes):
            each.append(event(number), lambda durable, n=number: told.append((n, durable)))  # type: ignore[misc]
        await until(lambda: len(told) == 3)
        assert sorted(told) == [(0, True), (1, False), (2, True)]
        lane.append(event(3), lambda durable: told.append((3, durable)))
        await until(lambda: (3, True) in told)
        stream.refused = set()
        await stopped(running)
        assert sorted(stream.events) == [0, 1, 2, 3], "at the end it is tried once more"

    with_stream(use, lanes=3)


def test_a_fault_inside_the_client_ends_the_round_and_every_lane_goes_on_after_the_restart() -> None:
    async def use(stream: Stream, lane: Lane, running: "asyncio.Task[None]", journal: Journal) -> None:
        told: list[bool] = []
        stream.fault = AttributeError("a fault inside the client")
        for number, each in enumerate(journal.lanes):
            each.append(event(number), told.append)
        with pytest.raises(ExceptionGroup):
            await running
        assert told == [False] * 3
        stream.fault = None
        again = asyncio.create_task(journal.run())
        await until(lambda: sorted(stream.events) == [0, 1, 2])
        await stopped(again)

    with_stream(use, lanes=3)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 1.0), (1.0, 0.5)])
def test_what_a_lane_rests_doubles_up_to_a_bound_and_chance_takes_up_to_half_of_it(chance: float, share: float) -> None:
    """All workers lose the same broker at once; they do not return to it in step."""

    async def main() -> None:
        stream = Stream()
        stream.fault = NatsTimeout()
        lane = Journal(stream, [0], "w", Settings(), chance=lambda: chance).lanes[0]
        lane.open()
        lane.append(event(1))
        lane.seal()
        rests = []
        for _ in range(7):
            await lane.send(1.0)
            rests.append(lane.retry_at - asyncio.get_running_loop().time())
        assert rests == pytest.approx([share * rest for rest in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0)], abs=0.05)
        assert lane.statistics.retries == 7

    asyncio.run(main())
