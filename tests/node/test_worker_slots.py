"""Connections that go along with a slot: what waits for it, and what becomes of what has waited in vain."""

import asyncio
import selectors
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
from harness import Bench, Wire
from msgspec.structs import replace

from cpms_actors.base.ids import LANES, slot_of
from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.slots import Presence
from cpms_actors.bus.waves import Window
from cpms_actors.charger import moving
from cpms_actors.charger.moving import Moved
from cpms_actors.charger.office import Slot
from cpms_actors.domain.access import ChargerRecord
from cpms_actors.node import worker_slots
from cpms_actors.node.siblings import Siblings
from cpms_actors.node.worker_slots import WorkerSlots

MOVED = Moved("default", "CP1", 7, "1.6", False, "1.2.3.4:5", "", 1, b"", None, ())
SLOT = slot_of("default", "CP1")


class Leases:
    """Who had the slot before us, and with which epoch."""

    suspended = False

    def __init__(self, followed: dict[int, int]) -> None:
        self.followed = followed


class Place:
    """The slots of a worker, and what it went on with."""

    def __init__(self, chance: Callable[[], float] | None = None) -> None:
        self.resumed: list[tuple[Moved, socket.socket]] = []
        nothing: Any = None
        self.siblings = Siblings("n", "@nowhere")
        journal = Journal(nothing, range(LANES), "writer", JournalSettings())
        self.slots = WorkerSlots(
            nothing, journal, self.siblings, nothing, lambda moved, passed: self.resumed.append((moved, passed)), chance
        )
        self.slots.leases = Leases({SLOT: 7})  # type: ignore[assignment]

    def serve(self) -> None:
        """The slot has been claimed."""
        self.slots.served[SLOT] = None  # type: ignore[assignment]
        for moved, passed in self.slots._unpark(SLOT):
            self.slots._take_in(SLOT, moved, passed)

    def count(self) -> tuple[int, int, int]:
        """Went on, waiting, in vain."""
        return self.slots._moved_in, self.slots._parked_now, self.slots._unclaimed


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The charger's end and the one that is passed."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def run(use: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        await use(Place())

    asyncio.run(main())


def test_it_waits_for_the_claim_of_its_slot_and_goes_on_then() -> None:
    async def use(place: Place) -> None:
        with connection() as (_, passed):
            place.siblings.moved(moving.encode(MOVED), passed)
            assert (place.resumed, place.count()) == ([], (0, 1, 0))
            place.serve()
            assert (place.resumed, place.count()) == ([(MOVED, passed)], (1, 0, 0))

    run(use)


def test_one_that_comes_after_the_claim_goes_on_at_once() -> None:
    async def use(place: Place) -> None:
        place.serve()
        with connection() as (_, passed):
            place.siblings.moved(moving.encode(MOVED), passed)
            assert place.resumed == [(MOVED, passed)]

    run(use)


@pytest.mark.parametrize("late", [False, True])
def test_one_whose_slot_had_another_owner_in_between_is_closed(late: bool) -> None:
    """The charger may have been there, and what is known of it here would be old."""

    async def use(place: Place) -> None:
        with connection() as (charger, passed):
            if late:
                place.serve()
            place.siblings.moved(moving.encode(replace(MOVED, epoch=6)), passed)
            if not late:
                place.serve()
            assert (place.resumed, place.count()) == ([], (0, 0, 1))
            assert charger.recv(1) == b""

    run(use)


def test_what_is_not_claimed_in_time_is_closed_and_nothing_that_came_later_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(place: Place) -> None:
        with connection() as (first, passed), connection() as (_, passed_later):
            place.siblings.moved(moving.encode(MOVED), passed)
            (parked,) = place.slots._parked.values()
            async with asyncio.timeout(10):
                while place.count()[1]:
                    await asyncio.sleep(0.002)
            assert place.count() == (0, 0, 1)
            assert first.recv(1) == b""
            place.siblings.moved(moving.encode(MOVED), passed_later)
            place.slots._expire(SLOT, parked)
            assert place.count() == (0, 1, 1)
            place.slots.stop()
            assert place.count() == (0, 0, 2)

    monkeypatch.setattr(worker_slots, "PARKED_S", 0.02)
    run(use)


def test_no_more_than_so_many_wait_and_what_cannot_be_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(place: Place) -> None:
        with connection() as (_, one), connection() as (second, two), connection() as (third, three):
            place.siblings.moved(moving.encode(MOVED), one)
            place.siblings.moved(moving.encode(MOVED), two)
            assert second.recv(1) == b""
            place.siblings.moved(b"of another release", three)
            assert third.recv(1) == b""
            assert place.count() == (0, 1, 2)
            place.slots.stop()

    monkeypatch.setattr(worker_slots, "PARKED_MAX", 1)
    run(use)


def test_a_charger_that_housekeeping_forgets_while_its_slot_moves_is_no_fault() -> None:
    async def use(place: Place) -> None:
        quiet = Quiet(place)
        place.slots.chargers["default", "CP1"] = quiet  # type: ignore[assignment]
        await place.slots._moved(SLOT, 7, Presence("heir", "1", "n", "@heir"))
        assert quiet.looks > 1
        assert place.slots.chargers == {}

    run(use)


@pytest.mark.parametrize("moves", [False, True])
def test_a_handshake_that_ends_after_its_slot_has_gone_lets_nobody_in(moves: bool) -> None:
    async def use(place: Place) -> None:
        charger = place.slots.chargers["default", "CP1"] = Bench(record=ChargerRecord("default", "CP1")).charger
        if moves:
            await place.slots._moved(SLOT, 7, Presence("heir", "1", "n", "@heir"))
        else:
            await place.slots._lost([SLOT])
        wire = Wire(charger, "1.6")
        assert wire.closed is not None
        assert wire.closed[0] == 1012
        assert charger.line is None

    run(use)


class Quiet:
    """A charger whose connection ends while it is waited for, and which housekeeping forgets then."""

    def __init__(self, place: Place) -> None:
        self.slot = Slot(SLOT, 0, 7, place.slots._journal.lanes[0])
        self.looks = 0
        self._place = place
        self.connection = self

    @property
    def line(self) -> "Quiet | None":
        self.looks += 1
        if self.looks < 4:
            return self
        self._place.slots.chargers.pop(("default", "CP1"), None)
        return None

    def movable(self) -> bool:
        return False

    def hold(self) -> None: ...


# -- a drain


class Leap(selectors.SelectSelector):
    """Time passes when there is nothing else to do, and then all at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing will ever happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class Drained(Place):
    """A slot with chargers whose connections end as soon as they are closed, unless they are deaf."""

    def __init__(self, count: int, deaf: int = 0) -> None:
        self.chances = [number / count for number in range(count)]
        super().__init__(iter(self.chances).__next__)
        self.slots.served[SLOT] = None  # type: ignore[assignment]
        identities = (f"CP{number}" for number in range(100_000))
        on_it = (identity for identity in identities if slot_of("default", identity) == SLOT)
        self.left: list[tuple[float, tuple[int, str]]] = []
        self.wires = [Away(self, identity, number < deaf) for number, identity in enumerate(islice(on_it, count))]

    def moments(self) -> list[float]:
        return [moment for moment, _ in self.left]


class Away(Wire):
    """A connection, and when it was closed."""

    def __init__(self, place: Drained, identity: str, deaf: bool) -> None:
        self._place, self._deaf = place, deaf
        charger = Bench(record=ChargerRecord("default", identity)).charger
        place.slots.chargers["default", identity] = charger
        super().__init__(charger, "1.6")

    def close(self, code: int, reason: str = "") -> None:
        loop = asyncio.get_running_loop()
        self._place.left.append((loop.time(), (code, reason)))
        super().close(code, reason)
        if not self._deaf:
            loop.call_soon(self.hang_up)


def drained(count: int, use: Callable[[Drained], Awaitable[None]], deaf: int = 0) -> None:
    async def main() -> None:
        await use(Drained(count, deaf))

    def loop() -> asyncio.AbstractEventLoop:
        leap = Leap()
        made = asyncio.SelectorEventLoop(leap)
        made.time = lambda: leap.now  # type: ignore[method-assign]
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_the_chargers_of_a_slot_go_one_by_one_within_its_window_and_nobody_comes_in_meanwhile() -> None:
    async def use(place: Drained) -> None:
        slots = place.slots
        slots._send_away({SLOT: Window(5.0, 9.0)})
        await asyncio.sleep(4.9)
        assert slots.open_to_newcomers(SLOT)
        assert not slots._away(SLOT)
        await asyncio.sleep(0.2)
        assert not slots.open_to_newcomers(SLOT)
        assert SLOT in slots.served, "those who are left are served"
        assert not slots._away(SLOT)
        await asyncio.sleep(2.9)
        assert len(place.left) == 8
        assert not slots._away(SLOT)
        await asyncio.sleep(1.0)
        assert place.moments() == pytest.approx([5.0 + 4.0 * chance for chance in place.chances], abs=0.001)
        assert {said for _, said in place.left} == {(1012, "this charger is served elsewhere now")}
        assert slots._away(SLOT)
        assert slots._sent_away == 10
        await slots._lost([SLOT])
        assert not slots.open_to_newcomers(SLOT)
        assert (len(place.left), slots.chargers) == (10, {})

    drained(10, use)


def test_who_is_left_when_the_slot_is_lost_is_sent_away_then_and_nobody_later() -> None:
    async def use(place: Drained) -> None:
        place.slots._send_away({SLOT: Window(0.0, 4.0)})
        await asyncio.sleep(1.9)
        assert len(place.left) == 5
        await place.slots._lost([SLOT])
        assert len(place.left) == 10
        await asyncio.sleep(10)
        assert len(place.left) == 10

    drained(10, use)


def test_a_charger_that_does_not_hang_up_or_is_about_to_come_is_waited_for() -> None:
    async def use(place: Drained) -> None:
        place.slots._send_away({SLOT: Window(0.0, 4.0)})
        await asyncio.sleep(5)
        assert len(place.left) == 2
        assert not place.slots._away(SLOT)
        place.wires[0].hang_up()
        assert place.slots._away(SLOT)
        place.slots.chargers["default", "CP1"].expect()
        assert not place.slots._away(SLOT)

    drained(2, use, deaf=1)


@pytest.mark.parametrize("how", ["undone", "moved", "stopped"])
def test_a_drain_that_is_undone_sends_nobody_away_any_more(how: str) -> None:
    async def use(place: Drained) -> None:
        slots = place.slots
        slots._send_away({SLOT: Window(0.0, 4.0), SLOT + 1: Window(4.0, 8.0)})
        await asyncio.sleep(1.9)
        if how == "moved":  # to a sibling that has come meanwhile
            slots.chargers.clear()
            await slots._moved(SLOT, 7, Presence("heir", "1", "n", "@heir"))
            assert not slots.open_to_newcomers(SLOT)
        else:
            (slots._keep if how == "undone" else slots.stop)()
            assert slots.open_to_newcomers(SLOT)
        await asyncio.sleep(1.9)
        assert len(place.left) == 5
        assert not slots._away(SLOT)

    drained(10, use)
