"""An asyncio loop whose clock jumps: when nobody has anything to do, it is at once as late as the next timer.

Nothing sleeps and no socket is read, so an hour takes as long as what happens in it, and the same seed gives the same order of events.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Clock(selectors.DefaultSelector):
    """A selector that never waits: it moves its clock to where the loop would have waited until."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits and nothing is due: the simulation would stand still for ever")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self._virtual = _Clock()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._virtual.now


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run it in virtual time. What it leaves behind is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
