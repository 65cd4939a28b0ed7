"""Truths of the supervisor of tasks, on both backends: order, restarts, limits, deadlines, nesting."""

import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from supervisors.policy import NO_BACKOFF, Backoff, Intensity, Restart, Strategy
from supervisors.reports import Happening, Report
from supervisors.supervisor import (
    ChildSpec,
    IntensityExceeded,
    NotRunning,
    NotStarted,
    Started,
    Supervisor,
    SupervisorError,
    SupervisorFull,
)

pytestmark = pytest.mark.anyio


class Theatre:
    """Children that note what happens to them, and fail when told to."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.reports: list[Report] = []
        self._cues: dict[str, anyio.Event] = {}
        self._failures: dict[str, Exception | None] = {}

    def child(self, name: str, restart: Restart = Restart.permanent, **rest: Any) -> ChildSpec:
        async def run(started: Started) -> None:
            self.log.append(f"+{name}")
            self._cues[name] = anyio.Event()
            await anyio.lowlevel.checkpoint()
            self.log.append(f"{name}!")
            started()
            try:
                await self._cues[name].wait()
                if (failure := self._failures[name]) is not None:
                    raise failure
            finally:
                self.log.append(f"-{name}")

        return ChildSpec(name, run, restart, **rest)

    async def end(self, name: str, failure: Exception | None = None) -> None:
        """Let a child return or raise, and what follows from it settle."""
        self._failures[name] = failure
        self._cues[name].set()
        await anyio.sleep(0.02)

    def happened(self, *happenings: Happening) -> list[tuple[str, str]]:
        return [(r.happening.value, r.child) for r in self.reports if not happenings or r.happening in happenings]

    def supervisor(self, *children: ChildSpec, **options: Any) -> Supervisor:
        return Supervisor("top", children, report=self.reports.append, **({"backoff": NO_BACKOFF} | options))


@pytest.fixture
def theatre() -> Theatre:
    return Theatre()


async def test_each_child_starts_after_the_one_before_has_started_and_they_stop_in_reverse(theatre: Theatre) -> None:
    top = theatre.supervisor(*(theatre.child(name) for name in "abc"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert theatre.log == ["+a", "a!", "+b", "b!", "+c", "c!"]
        assert top.running() == ["a", "b", "c"]
        theatre.log.clear()
        group.cancel_scope.cancel()
    assert theatre.log == ["-c", "-b", "-a"]
    assert top.running() == []


@pytest.mark.parametrize(
    ("strategy", "failed", "log"),
    [
        (Strategy.one_for_one, "b", ["-b", "+b", "b!"]),
        (Strategy.one_for_all, "b", ["-b", "-c", "-a", "+a", "a!", "+b", "b!", "+c", "c!"]),
        (Strategy.rest_for_one, "b", ["-b", "-c", "+b", "b!", "+c", "c!"]),
    ],
)
async def test_the_strategy_says_who_restarts_with_a_failed_child(
    theatre: Theatre, strategy: Strategy, failed: str, log: list[str]
) -> None:
    top = theatre.supervisor(*(theatre.child(name) for name in "abc"), strategy=strategy)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        theatre.log.clear()
        await theatre.end(failed, ValueError("bug"))
        assert theatre.log == log
        assert top.statistics().restarts == 1
        group.cancel_scope.cancel()


@pytest.mark.parametrize("failure", [None, ValueError("bug")], ids=["finished", "failed"])
@pytest.mark.parametrize("restart", list(Restart))
async def test_the_kind_of_child_says_which_ends_call_for_a_restart(
    theatre: Theatre, restart: Restart, failure: Exception | None
) -> None:
    top = theatre.supervisor(theatre.child("a", restart))
    again = restart is Restart.permanent or (restart is Restart.transient and failure is not None)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await theatre.end("a", failure)
        assert top.running() == (["a"] if again else [])
        assert top.statistics().children == (1 if again else 0)
        group.cancel_scope.cancel()


async def test_a_temporary_sibling_goes_down_with_the_group_and_stays_down(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), theatre.child("b", Restart.temporary), strategy=Strategy.one_for_all)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await theatre.end("a", ValueError("bug"))
        assert top.running() == ["a"]
        assert top.statistics().children == 1
        group.cancel_scope.cancel()


async def test_one_restart_too_many_stops_all_and_raises_with_the_cause(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), theatre.child("b"), intensity=Intensity(1, 60.0))
    bug = ValueError("second")

    async def fail_twice() -> None:
        await anyio.sleep(0.02)
        await theatre.end("b", ValueError("first"))
        theatre.log.clear()
        await theatre.end("b", bug)

    async with anyio.create_task_group() as group:
        group.start_soon(fail_twice)
        with pytest.raises(IntensityExceeded, match="top: b") as caught:
            await top.run()
    assert caught.value.__cause__ is bug
    assert theatre.log == ["-b", "-a"]
    assert theatre.happened(Happening.gave_up) == [("gave_up", "b")]


async def test_giving_up_is_to_the_parent_a_child_that_failed(theatre: Theatre) -> None:
    """The inner supervisor starts afresh, with a fresh window, and the parent's other child never notices."""
    inner = Supervisor("inner", [theatre.child("x")], intensity=Intensity(0, 60.0), backoff=NO_BACKOFF, report=theatre.reports.append)
    top = theatre.supervisor(theatre.child("a"), ChildSpec("inner", inner.run))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        theatre.log.clear()
        for _ in range(2):
            await theatre.end("x", ValueError("bug"))
        assert theatre.log == ["-x", "+x", "x!"] * 2
        assert theatre.happened(Happening.restarting) == [("restarting", "inner")] * 2
        theatre.log.clear()
        group.cancel_scope.cancel()
    assert theatre.log == ["-x", "-a"]


async def test_the_window_is_measured_on_the_injected_clock(theatre: Theatre) -> None:
    moments = iter([0.0, 61.0, 122.0])
    top = theatre.supervisor(theatre.child("a"), intensity=Intensity(1, 60.0), clock=lambda: next(moments))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        for _ in range(3):
            await theatre.end("a", ValueError("bug"))
        assert top.statistics().restarts == 3
        group.cancel_scope.cancel()


async def test_a_restart_waits_for_its_backoff_and_delays_no_other(theatre: Theatre) -> None:
    """Child a waits for its second, long delay; b fails meanwhile and is back after its first."""
    backoff = Backoff(first_s=0.001, factor=100_000.0, max_s=100.0, jitter=0.0)
    top = theatre.supervisor(theatre.child("a"), theatre.child("b"), backoff=backoff)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await theatre.end("a", ValueError("first"))
        await theatre.end("a", ValueError("second"))
        assert top.running() == ["b"]
        await theatre.end("b", ValueError("bug"))
        assert top.running() == ["b"]
        assert top.statistics().restarts == 3
        group.cancel_scope.cancel()


async def test_chance_takes_its_share_of_the_delay(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), backoff=Backoff(100.0, 1.0, 100.0, jitter=1.0), chance=lambda: 0.9999)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await theatre.end("a", ValueError("bug"))
        assert top.running() == ["a"]
        group.cancel_scope.cancel()


async def test_a_child_that_cannot_start_is_tried_again_and_those_after_it_wait(theatre: Theatre) -> None:
    tries: list[int] = []

    async def third_time_lucky(started: Started) -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("address in use")
        started()
        await anyio.sleep_forever()

    backoff = Backoff(0.005, 1.0, 0.005, jitter=0.0)
    top = theatre.supervisor(theatre.child("a"), ChildSpec("b", third_time_lucky), theatre.child("c"), backoff=backoff)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert len(tries) == 3
        assert theatre.log == ["+a", "a!", "+c", "c!"]
        assert theatre.happened() == [("started", "a"), *[("restarting", "b")] * 2, ("started", "b"), ("started", "c")]
        group.cancel_scope.cancel()


async def test_a_child_that_does_not_start_in_time_has_failed(theatre: Theatre) -> None:
    async def never(started: Started) -> None:
        await anyio.sleep_forever()

    top = theatre.supervisor(ChildSpec("a", never, start_s=0.01), intensity=Intensity(1, 60.0))
    with pytest.raises(IntensityExceeded) as caught:
        await top.run()
    assert isinstance(caught.value.__cause__, NotStarted)


async def test_a_child_that_ignores_its_stop_is_reported_and_the_others_stop_meanwhile(theatre: Theatre) -> None:
    deaf_until = 0.05

    async def deaf(started: Started) -> None:
        started()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(deaf_until)
        theatre.log.append("deaf over")

    top = theatre.supervisor(theatre.child("a"), ChildSpec("deaf", deaf, shutdown_s=0.01), theatre.child("c"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        theatre.log.clear()
        group.cancel_scope.cancel()
    assert theatre.log == ["-c", "-a", "deaf over"]
    assert theatre.happened(Happening.overdue) == [("overdue", "deaf")]


async def test_a_child_is_never_started_before_its_last_run_is_over(theatre: Theatre) -> None:
    """The sibling is overdue when its group restarts; the group waits for it."""
    present: list[int] = []

    async def deaf(started: Started) -> None:
        assert not present, "two at a time"
        present.append(1)
        started()
        try:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            await anyio.sleep_forever()
        finally:
            present.pop()

    top = theatre.supervisor(theatre.child("a"), ChildSpec("deaf", deaf, shutdown_s=0.001), strategy=Strategy.one_for_all)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await theatre.end("a", ValueError("bug"))
        assert top.running() == ["deaf"]
        await anyio.sleep(0.1)
        assert top.running() == ["a", "deaf"]
        assert top.statistics().restarts == 1
        group.cancel_scope.cancel()
    assert theatre.happened(Happening.overdue)[0] == ("overdue", "deaf")


async def test_siblings_that_fail_together_count_once_when_they_restart_together(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), theatre.child("b"), strategy=Strategy.one_for_all, intensity=Intensity(1, 60.0))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        theatre._failures["a"] = ValueError("one fault, two victims")
        theatre._cues["a"].set()
        await theatre.end("b", ValueError("one fault, two victims"))
        assert top.running() == ["a", "b"]
        assert top.statistics().restarts == 1
        group.cancel_scope.cancel()


async def test_a_child_added_while_running_is_supervised_like_the_others(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await top.start_child(theatre.child("b"))
        assert theatre.log[-1] == "b!"
        await theatre.end("b", ValueError("bug"))
        assert top.running() == ["a", "b"]
        theatre.log.clear()
        group.cancel_scope.cancel()
    assert theatre.log == ["-b", "-a"]


async def test_a_child_that_fails_its_first_start_is_not_added_and_its_caller_is_told(theatre: Theatre) -> None:
    async def fails(started: Started) -> None:
        raise OSError("address in use")

    async def never(started: Started) -> None:
        await anyio.sleep_forever()

    top = theatre.supervisor()
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        with pytest.raises(NotStarted) as caught:
            await top.start_child(ChildSpec("b", fails))
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(NotStarted):
            await top.start_child(ChildSpec("b", never, start_s=0.01))
        with anyio.move_on_after(0.01):
            await top.start_child(ChildSpec("b", never))
        assert (top.statistics().children, top.statistics().restarts) == (0, 0)
        await top.start_child(theatre.child("b"))
        group.cancel_scope.cancel()


async def test_a_child_can_be_stopped_for_good(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), theatre.child("b"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await top.stop_child("a")
        assert theatre.log[-1] == "-a"
        await anyio.sleep(0.01)
        assert top.running() == ["b"]
        with pytest.raises(KeyError):
            await top.stop_child("a")
        group.cancel_scope.cancel()


async def test_children_are_bounded_named_once_and_only_added_while_it_runs(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"), children_max=1)
    with pytest.raises(NotRunning):
        await top.start_child(theatre.child("b"))
    with pytest.raises(ValueError, match="one name"):
        theatre.supervisor(theatre.child("a"), theatre.child("a"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        with pytest.raises(ValueError, match="already"):
            await top.start_child(theatre.child("a"))
        with pytest.raises(SupervisorFull):
            await top.start_child(theatre.child("b"))
        with pytest.raises(SupervisorError, match="runs already"):
            await top.run()
        assert top.statistics().refused == 1
        group.cancel_scope.cancel()


async def test_it_can_run_again_after_it_has_ended(theatre: Theatre) -> None:
    top = theatre.supervisor(theatre.child("a"))
    for _ in range(2):
        theatre.log.clear()
        async with anyio.create_task_group() as group:
            await group.start(lambda *, task_status: top.run(task_status=task_status))
            group.cancel_scope.cancel()
        assert theatre.log == ["+a", "a!", "-a"]


async def test_a_child_that_fails_while_it_stops_is_reported(theatre: Theatre) -> None:
    async def clumsy(started: Started) -> None:
        started()
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("while stopping")

    top = theatre.supervisor(ChildSpec("a", clumsy))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        group.cancel_scope.cancel()
    assert theatre.happened(Happening.failed) == [("failed", "a")]


async def test_stopping_before_all_have_started_stops_those_that_have(theatre: Theatre) -> None:
    async def never(started: Started) -> None:
        await anyio.sleep_forever()

    announced: list[str] = []
    top = theatre.supervisor(theatre.child("a"), ChildSpec("b", never), theatre.child("c"))
    with anyio.move_on_after(0.02):
        await top.run(lambda: announced.append("started"))
    assert (theatre.log, announced) == (["+a", "a!", "-a"], [])


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_started_is_told_once_all_have(theatre: Theatre, count: int) -> None:
    at_start: list[list[str]] = []
    top = theatre.supervisor(*(theatre.child(f"{n}") for n in range(count)))

    def started() -> None:
        at_start.append(top.running())

    with anyio.move_on_after(0.02):
        await top.run(started)
    assert at_start == [[f"{n}" for n in range(count)]]


def test_a_child_that_is_cancelled_from_within_has_failed() -> None:
    """asyncio only: awaiting a cancelled future raises CancelledError although nobody cancelled the child."""
    import asyncio

    reports: list[Report] = []

    async def awaits_a_cancelled_future(started: Started) -> None:
        started()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async def main() -> None:
        top = Supervisor(
            "top", [ChildSpec("a", awaits_a_cancelled_future)], intensity=Intensity(2, 60.0), backoff=NO_BACKOFF, report=reports.append
        )
        with pytest.raises(IntensityExceeded):
            await top.run()

    anyio.run(main)
    assert [r.happening.value for r in reports if r.happening is not Happening.started] == ["restarting", "restarting", "gave_up"]


def test_infinite_deadlines_are_allowed() -> None:
    assert ChildSpec("a", lambda started: anyio.lowlevel.checkpoint(), shutdown_s=math.inf).shutdown_s == math.inf
