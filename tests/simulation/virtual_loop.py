"""An asyncio loop whose clock jumps: when nobody has anything to do, it is at once as late as the next timer.

Nothing sleeps and no socket is read, so an hour takes as long as what happens in it, and the same seed gives the same order of events.
Timers wait in a heap of plain tuples, which C compares; asyncio's own compares handles in Python, a tenth of all the time.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. Its `_run_once` is that of asyncio without a selector, which nothing here would ever wake."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = 0
        super().__init__()

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        """As asyncio's; of one moment whoever came first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heappush(self._timers, (when, self._numbers, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        if not ready:
            while timers and timers[0][2].cancelled():
                heappop(timers)
            if not timers:
                raise RuntimeError("everybody waits and nothing is due: the simulation would stand still for ever")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run it in virtual time. What it leaves behind is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
