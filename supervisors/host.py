"""Two event loops in one thread: asyncio on uvloop is the host, trio its guest. No other module knows both.

    uvloop ─ sockets, drivers ─ host callbacks ──▶ Actor.tell, Reply.set, Supervisor.start_task, CancelScope.cancel
       │  ▲
       ▼  │ one tick of the guest is one callback of the host
      trio ─ main(bridge) ─ supervisors, deadlines, turns that wait ──▶ loop.call_soon, Future.set_result, bridge.on_host

Both sides run on the same thread, so either may call the other's synchronous functions directly. What has to be awaited crosses by
the bridge: `on_host` lends a trio task a coroutine of asyncio, `on_guest` lends an asyncio task one of trio. A crossing is a call and
not a spawn: whoever awaits it gets its result or its exception with the traceback, its cancellation is passed on, and it is
waited for even then, so that nothing outlives its caller. Each crossing has a waiting task of its own on the near side: they are
bounded by whatever bounds those tasks.

anyio asks which loop is running and in a plain host callback there is no answer: `TaskGroup.start_soon`, `Event()` and `CancelScope()`
of anyio belong into tasks. `Supervisor.start_task`, `Actor.tell` and `Reply.set` may be called from anywhere.

Signals. The first SIGTERM or SIGINT cancels main's scope, so that everything below stops in order; what main's clean-up awaits must
be shielded, as always in trio. At the same moment both signals get back the system's own meaning: a second one ends the process at
once, without clean-up, even if the loop hangs. Handlers that were there before are put back at the end. trio installs no handler
of its own, for it finds one in place, and leaves the wake-up descriptor to uvloop.

Order of the end: main returns, what came over by `on_guest` is cancelled and waited for, the guest ends, the host cancels and waits for
stray asyncio tasks, the host ends. The guest always ends first: its last ticks need the host.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

import trio
import uvloop
from outcome import Outcome

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class FarSideCancelled(Exception):
    """The far side of a crossing was cancelled, and not by the one who awaits it here."""


class BridgeClosed(Exception):
    """main has returned: nothing crosses to trio any more."""


class Bridge:
    """What main is given: the host's `loop`, a way across in both directions, and a way to stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.stopped_by: signal.Signals | None = None  # the signal that asked for the end, if one did
        self._main_scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def stop(self) -> None:
        """Cancel main. From either loop, any number of times."""
        self._main_scope.cancel()

    async def on_host(self, async_fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
        """Run a coroutine function of asyncio on the host; awaited from trio.

        Cancelled here, the asyncio task is cancelled and waited for: Cancelled if it gives in, its result if it had one after all.
        FarSideCancelled when it was cancelled over there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting = trio.lowlevel.current_task()
        task = self.loop.create_task(async_fn(*args))
        task.add_done_callback(lambda _: trio.lowlevel.reschedule(waiting))
        cancelled_by: Callable[[], NoReturn] | None = None

        def abort(raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            nonlocal cancelled_by
            cancelled_by = raise_cancel
            task.cancel()
            return trio.lowlevel.Abort.FAILED  # wait until the task has ended

        await trio.lowlevel.wait_task_rescheduled(abort)
        if not task.cancelled():
            return task.result()
        if cancelled_by is not None:
            cancelled_by()
        raise FarSideCancelled(f"{task.get_name()} was cancelled on the host")

    async def on_guest(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a coroutine function of trio on the guest; awaited from asyncio.

        Cancelled here, the trio task is cancelled and waited for, and CancelledError raised even if it finished after all: asyncio
        counts on that. FarSideCancelled when main ended meanwhile, BridgeClosed when it had before.
        """
        if self._nursery is None:
            raise BridgeClosed("main has returned")
        done: asyncio.Future[T] = self.loop.create_future()
        scope = trio.CancelScope()
        self._nursery.start_soon(_carry_over, async_fn, args, scope, done)
        cancelled: asyncio.CancelledError | None = None
        while not done.done():
            try:
                await asyncio.wait((done,))
            except asyncio.CancelledError as error:
                cancelled = error
                scope.cancel()
        failure = done.exception()
        try:
            if cancelled is not None and (failure is None or isinstance(failure, FarSideCancelled)):
                raise cancelled
            return done.result()
        finally:
            del cancelled, failure  # either would make a cycle of this frame and its own traceback

    async def _guest(self, main: Callable[["Bridge"], Awaitable[None]]) -> None:
        """The guest's main task: main, and beside it whatever crosses by `on_guest`."""
        failure: Exception | None = None
        async with trio.open_nursery() as self._nursery:
            try:
                with self._main_scope:
                    await main(self)
            except Exception as error:
                failure = error  # raised below: here the nursery would wrap it in a group
            finally:
                self._nursery.cancel_scope.cancel()
                self._nursery = None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure


async def _carry_over(
    async_fn: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts], scope: trio.CancelScope, done: "asyncio.Future[T]"
) -> None:
    """The far half of `on_guest`. Ends with `done` set, and lets no exception but those of the end into the nursery."""
    try:
        with scope:
            value = await async_fn(*args)
    except Exception as error:
        done.set_exception(error)
    except BaseException:
        done.set_exception(FarSideCancelled("main ended meanwhile"))
        raise
    else:
        if scope.cancelled_caught:
            done.set_exception(FarSideCancelled("cancelled by the asyncio task that awaits it"))
        else:
            done.set_result(value)


@contextmanager
def _stopping_on_signals(bridge: Bridge) -> Iterator[None]:
    """While in here the first of STOP_SIGNALS stops the bridge. Only the main thread of a process gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def on_signal(number: signal.Signals) -> None:
        for each in STOP_SIGNALS:
            bridge.loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        bridge.stopped_by = number
        bridge.stop()

    for number in STOP_SIGNALS:
        bridge.loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            bridge.loop.remove_signal_handler(number)
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


async def _host(main: Callable[[Bridge], Awaitable[None]]) -> int:
    """The host's main task: start the guest and outlive it."""
    loop = asyncio.get_running_loop()
    bridge = Bridge(loop)
    over: asyncio.Future[Outcome[None]] = loop.create_future()
    cancelled = False
    with _stopping_on_signals(bridge):
        trio.lowlevel.start_guest_run(
            bridge._guest,
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=over.set_result,
            host_uses_signal_set_wakeup_fd=True,
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
        while not over.done():
            try:
                await asyncio.wait((over,))
            except asyncio.CancelledError:
                cancelled = True
                bridge.stop()
    over.result().unwrap()
    if cancelled:
        raise asyncio.CancelledError
    return 128 + signal.SIGINT if bridge.stopped_by == signal.SIGINT else 0


def run(main: Callable[[Bridge], Awaitable[None]]) -> int:
    """Run `main` on trio inside uvloop until it returns, raises, or is stopped.

    Returns the exit code for the process: 0 when main returned, by itself or stopped by SIGTERM; 130 after SIGINT. What main raises is
    raised here.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_host(main))
