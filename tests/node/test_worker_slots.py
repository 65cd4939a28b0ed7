"""Connections that go along with a slot: what waits for it, and what becomes of what has waited in vain."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from cpms_actors.base.ids import LANES, slot_of
from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.slots import Presence
from cpms_actors.charger import moving
from cpms_actors.charger.moving import Moved
from cpms_actors.charger.office import Slot
from cpms_actors.node import worker_slots
from cpms_actors.node.siblings import Siblings
from cpms_actors.node.worker_slots import WorkerSlots

MOVED = Moved("default", "CP1", 7, "1.6", False, "1.2.3.4:5", "", 1, b"", None, ())
SLOT = slot_of("default", "CP1")


class Leases:
    """Who had the slot before us, and with which epoch."""

    def __init__(self, followed: dict[int, int]) -> None:
        self.followed = followed


class Place:
    """The slots of a worker, and what it went on with."""

    def __init__(self) -> None:
        self.resumed: list[tuple[Moved, socket.socket]] = []
        nothing: Any = None
        self.siblings = Siblings("n", "/nowhere")
        journal = Journal(nothing, range(LANES), "writer", JournalSettings())
        self.slots = WorkerSlots(nothing, journal, self.siblings, nothing, lambda moved, passed: self.resumed.append((moved, passed)))
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
        await place.slots._moved(SLOT, 7, Presence("heir", "1", "n", "/heir"))
        assert quiet.looks > 1
        assert place.slots.chargers == {}

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
