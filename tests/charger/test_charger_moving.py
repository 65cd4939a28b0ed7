"""A charger that comes from another worker with its connection open: what the journal and whoever asks it know of that."""

from typing import Any

import pytest
import trio
import trio.testing
from harness import Bench, Wire

from cpms_actors.bus import commands
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.charger.charger import ARRIVAL_S
from cpms_actors.charger.line import Line
from cpms_actors.domain.events import Connected, Fact


class Arriving(Wire):
    """The far end of a WebSocket that was open at `before` and is on its way to `here`."""

    def __init__(self, before: Bench, here: Bench) -> None:
        super().__init__(before.charger, "1.6")
        moved = before.charger.moving(1, "")
        assert moved is not None
        before.charger.parted()
        self.calls = here.charger.take_over(moved)
        self.line = Line(here.charger, "1.6", "test", moved=True)

    def arrive(self) -> None:
        self.line.on_open(self)


def connections(bench: Bench) -> list[tuple[int, Fact]]:
    return [(event.connection, event.body) for event in bench.journal.events]


def test_the_journal_hears_of_the_connection_from_the_new_worker_too() -> None:
    """The one before may have died before its page was stored; or it is stored late, and an outdated owner's word of a connection
    does not count."""
    before, here = Bench(), Bench()
    wire = Arriving(before, here)
    here.now += 1
    wire.arrive()
    assert connections(here) == connections(before) == [(before.charger.connection, Connected("1.6", "test"))]


def test_a_connection_that_comes_when_its_slot_is_lost_already_is_closed() -> None:
    """Nobody would know of it, and what its charger said would be an outdated owner's to answer."""
    here = Bench()
    wire = Arriving(Bench(), here)
    here.charger.lose(1012, "elsewhere")
    wire.arrive()
    assert wire.closed == (1012, "elsewhere")
    assert connections(here) == []


@pytest.mark.trio
async def test_a_call_that_comes_before_the_connection_waits_for_it() -> None:
    """The charger is connected, and sees nothing of its move."""
    here, answers = Bench(), []
    wire = Arriving(Bench(), here)

    async def ask() -> None:
        answers.append(await here.charger.call("ClearCache", b"{}", 5.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.sent == []
        wire.arrive()
        await trio.testing.wait_all_tasks_blocked()
        (call,) = wire.sent
        wire.say(3, call[1], {"status": "Accepted"})
    assert answers == [CallAnswer("result", b'{"status": "Accepted"}')]


@pytest.mark.trio
async def test_when_as_many_calls_wait_for_the_connection_as_may_the_next_is_told_that_the_charger_is_busy() -> None:
    """It is connected, and whoever reads that it were not would go and look for what is wrong with it."""
    here = Bench(commands_max=1)
    wire = Arriving(Bench(), here)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.charger.call, "ClearCache", b"{}", 5.0)
        await trio.testing.wait_all_tasks_blocked()
        refused = await here.charger.call("ClearCache", b"{}", 5.0)
        assert refused is not None
        assert (refused.kind, refused.code) == ("failed", commands.BUSY)
        wire.arrive()
        await trio.testing.wait_all_tasks_blocked()
        wire.say(3, wire.sent[0][1], {"status": "Accepted"})
    assert here.office.counters.calls_failed == 1


@pytest.mark.trio
async def test_a_call_is_refused_soon_when_the_connection_does_not_come(autojump_clock: Any) -> None:
    here = Bench()
    Arriving(Bench(), here)
    answer = await here.charger.call("ClearCache", b"{}", 60.0)
    assert answer is not None
    assert (answer.kind, answer.code) == ("failed", commands.NOT_CONNECTED)
    assert trio.current_time() == pytest.approx(ARRIVAL_S, abs=0.1)


@pytest.mark.trio
async def test_a_call_that_came_along_is_answered_when_the_connection_does_not_come_and_keeps_no_other_waiting(
    autojump_clock: Any,
) -> None:
    """Its charger has gone while it was on its way."""
    before, here = Bench(), Bench()
    answers: list[CallAnswer | None] = []
    async with trio.open_nursery() as asking:
        sent = before.connect()
        asking.start_soon(before.charger.call, "ClearCache", b"{}", 60.0, "inbox")
        await trio.testing.wait_all_tasks_blocked()
        assert len(sent.sent) == 1
        moved = before.charger.moving(1, "")
        assert moved is not None
        before.charger.parted()
    (asked,) = here.charger.take_over(moved)

    async def go_on() -> None:
        answers.append(await here.charger.go_on(asked))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
    assert [answer and (answer.kind, answer.code) for answer in answers] == [("failed", commands.DISCONNECTED)]
    assert trio.current_time() == pytest.approx(ARRIVAL_S, abs=0.1)
    wire = here.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.charger.call, "ClearCache", b"{}", 5.0)
        await trio.testing.wait_all_tasks_blocked()
        (call,) = wire.sent
        wire.say(3, call[1], {"status": "Accepted"})
