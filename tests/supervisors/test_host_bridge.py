"""Truths of the two loops in one thread. Each test runs a whole host; what concerns signals runs in a process of its own."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest
import trio
import trio.lowlevel

from supervisors.actor import Actor, Decision, Pause, Reply
from supervisors.host import Bridge, BridgeClosed, FarSideCancelled, run
from supervisors.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No 'never awaited', no unclosed loop, no exception that nobody retrieved, and the signal handlers as before."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def hosted(main: Callable[[Bridge], Awaitable[None]]) -> int:
    """Run main with a limit, so that a lost wake-up fails instead of hanging."""

    async def limited(bridge: Bridge) -> None:
        with trio.fail_after(10):
            await main(bridge)

    return run(limited)


def test_each_loop_awaits_the_other_and_gets_the_result() -> None:
    results: list[object] = []

    async def on_asyncio(bridge: Bridge, value: int) -> int:
        await asyncio.sleep(0.001)
        return await bridge.on_guest(on_trio, value) + 1

    async def on_trio(value: int) -> int:
        await trio.sleep(0.001)
        return value * 2

    async def main(bridge: Bridge) -> None:
        results.append(await bridge.on_host(on_asyncio, bridge, 20))

    assert hosted(main) == 0
    assert results == [41]


def test_an_exception_crosses_both_ways_with_its_traceback() -> None:
    async def the_bug_is_here() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("bug")

    async def through_asyncio(bridge: Bridge) -> None:
        await bridge.on_guest(the_bug_is_here)

    async def main(bridge: Bridge) -> None:
        with pytest.raises(ValueError, match="bug") as caught:
            await bridge.on_host(through_asyncio, bridge)
        names = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert names.index("through_asyncio") < names.index("the_bug_is_here")

    hosted(main)


def test_cancelling_the_trio_side_cancels_the_asyncio_task_and_waits_for_it() -> None:
    log: list[str] = []

    async def on_asyncio() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            log.append("cleaned up")
            raise

    async def main(bridge: Bridge) -> None:
        with trio.move_on_after(0.01) as scope:
            await bridge.on_host(on_asyncio)
        log.append(f"caught {scope.cancelled_caught}")

    hosted(main)
    assert log == ["cleaned up", "caught True"]


def test_a_result_that_came_in_spite_of_the_cancellation_is_not_lost() -> None:
    async def on_asyncio() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "committed"
        return "never"

    async def main(bridge: Bridge) -> None:
        with trio.move_on_after(0.01) as scope:
            assert await bridge.on_host(on_asyncio) == "committed"
        assert not scope.cancelled_caught

    hosted(main)


def test_cancelling_the_asyncio_side_cancels_the_trio_task_and_waits_for_it() -> None:
    log: list[str] = []

    async def on_trio() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append("cleaned up")

    async def on_asyncio(bridge: Bridge) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bridge.on_guest(on_trio)
        log.append("timed out")

    async def main(bridge: Bridge) -> None:
        await bridge.on_host(on_asyncio, bridge)

    hosted(main)
    assert log == ["cleaned up", "timed out"]


def test_an_error_during_the_clean_up_of_a_cancelled_side_is_not_lost() -> None:
    async def on_trio() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("clean-up")

    async def on_asyncio(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge.on_guest(on_trio))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(OSError, match="clean-up"):
            await task

    async def main(bridge: Bridge) -> None:
        await bridge.on_host(on_asyncio, bridge)

    hosted(main)


def test_a_task_cancelled_by_others_over_there_is_told_apart() -> None:
    async def main(bridge: Bridge) -> None:
        async def gives_up() -> None:
            raise asyncio.CancelledError

        with pytest.raises(FarSideCancelled):
            await bridge.on_host(gives_up)

    hosted(main)


def test_what_crossed_to_trio_ends_with_main_and_its_caller_is_told() -> None:
    raised: list[str] = []

    async def on_asyncio(bridge: Bridge) -> None:
        with pytest.raises(FarSideCancelled):
            await bridge.on_guest(trio.sleep_forever)
        raised.append("while")
        with pytest.raises(BridgeClosed):
            await bridge.on_guest(trio.sleep, 0)
        raised.append("after")

    async def main(bridge: Bridge) -> None:
        bridge.loop.create_task(on_asyncio(bridge))
        await trio.sleep(0.01)

    hosted(main)
    assert raised == ["while", "after"]


def test_main_ends_with_its_own_exception_and_not_with_a_group() -> None:
    async def main(bridge: Bridge) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(main)


def test_stop_from_a_host_callback_cancels_main_and_its_clean_up_may_still_cross() -> None:
    log: list[str] = []

    async def farewell() -> None:
        await asyncio.sleep(0.001)
        log.append("farewell")

    async def main(bridge: Bridge) -> None:
        bridge.loop.call_later(0.01, bridge.stop)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await bridge.on_host(farewell)

    assert run(main) == 0
    assert log == ["farewell"]


def test_stray_asyncio_tasks_are_cancelled_after_the_guest_has_ended() -> None:
    log: list[str] = []

    async def stray() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("stray")

    async def main(bridge: Bridge) -> None:
        bridge.loop.create_task(stray())
        await trio.sleep(0.01)
        log.append("main")

    hosted(main)
    assert log == ["main", "stray"]


def test_a_hundred_crossings_at_once_all_arrive() -> None:
    results: list[int] = []

    async def on_asyncio(bridge: Bridge, n: int) -> int:
        await asyncio.sleep(0.001 * (n % 3))
        return await bridge.on_guest(on_trio, n)

    async def on_trio(n: int) -> int:
        await trio.sleep(0.001 * (n % 5))
        return n

    async def main(bridge: Bridge) -> None:
        async def cross(n: int) -> None:
            results.append(await bridge.on_host(on_asyncio, bridge, n))

        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(cross, n)

    hosted(main)
    assert sorted(results) == list(range(100))


def test_a_reply_set_in_a_host_callback_wakes_the_trio_task_that_asks() -> None:
    """The guest sleeps in its own poll at that moment and nothing else would wake it."""

    class Keep:
        def decide(self, state: int, message: Reply) -> Decision[int]:
            return Decision(state, (message,))

    class Stage:
        def __init__(self, bridge: Bridge) -> None:
            self.bridge = bridge

        def perform(self, actor: object, effect: Reply) -> Pause | None:
            self.bridge.loop.call_later(0.02, effect.set, "from the host")
            return None

        def crashed(self, actor: object, message: object, error: Exception) -> None: ...

        def gave_up(self, actor: object, error: Exception) -> None: ...

    async def main(bridge: Bridge) -> None:
        actor: Actor[int, Reply] = Actor("a", 0, Keep(), Stage(bridge), 4)
        before = trio.current_time()
        assert await actor.ask(lambda reply: reply, 5.0) == "from the host"
        assert trio.current_time() - before < 1.0

    hosted(main)


@pytest.mark.parametrize("where", ["callback", "asyncio task", "trio task"])
def test_a_supervisor_on_trio_starts_tasks_from_anywhere_on_the_thread(where: str) -> None:
    done: list[str] = []

    async def task(finished: trio.Event) -> None:
        with anyio.move_on_after(5):
            await anyio.sleep(0.001)
        done.append(where)
        finished.set()

    async def main(bridge: Bridge) -> None:
        top = Supervisor("top")
        finished = trio.Event()

        async def on_asyncio() -> None:
            assert top.start_task(task, finished)

        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: top.run(task_status=task_status))
            match where:
                case "callback":
                    bridge.loop.call_later(0.01, top.start_task, task, finished)
                case "asyncio task":
                    await bridge.on_host(on_asyncio)
                case _:
                    assert top.start_task(task, finished)
            await finished.wait()
            nursery.cancel_scope.cancel()

    hosted(main)
    assert done == [where]


SIGNALLED = """
    import trio
    from supervisors.host import Bridge, run

    async def main(bridge: Bridge) -> None:
        print("ready", flush=True)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep({clean_up_s})
            print("cleaned up", bridge.stopped_by.name, flush=True)

    raise SystemExit(run(main))
"""


def signalled(clean_up_s: float, *numbers: signal.Signals) -> tuple[int, str, str]:
    """Run the program above in development mode, send it signals 0.2 s apart; returns its code, stdout and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(SIGNALLED.format(clean_up_s=clean_up_s))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for position, number in enumerate(numbers):
            if position:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.2)
            process.send_signal(number)
        out, err = process.communicate(timeout=10)
        return process.returncode, out, err
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_main_in_order_and_gives_the_exit_code(number: signal.Signals, code: int) -> None:
    assert signalled(0.01, number) == (code, f"cleaned up {number.name}\n", "")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    assert signalled(3600.0, signal.SIGTERM, second) == (-second, "", "")
