"""Connections that have gone, until their receivers hear of it: so many per tick, for a thousand of them may go in one moment.

What a receiver does then, and all that follows from it, would be one long pause for everybody who is still there. It has been told
late and not never: its connection takes nothing any more, and a charger that is back already has a newer one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from cpms_actors.gateway.engine import Receiver
from cpms_actors.gateway.gates import PACE_LEAST, TICK_S
from cpms_actors.observe.counters import Counters

PER_TICK: Final = round(PACE_LEAST * TICK_S)  # as handshakes at their least; whoever is among the first of a tick hears at once


class Endings:
    """Calls `on_closed`, in order. `fault` is told where, when one raises. On the loop only."""

    def __init__(self, bound: int, counters: Counters, fault: Callable[[str], None]) -> None:
        """At most `bound` wait; beyond that they hear at once."""
        self._waiting: deque[tuple[Receiver, int, str]] = deque()
        self._bound = bound
        self._fault = fault
        self._turns = PER_TICK
        self._ticking: asyncio.TimerHandle | None = None
        self._gauge = counters.gauge("gateway.ending", bound=bound)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, receiver: Receiver, code: int, reason: str) -> None:
        """A connection has gone."""
        if self._turns:
            self._turns -= 1
            self._tell(receiver, code, reason)
        elif len(self._waiting) < self._bound:
            self._waiting.append((receiver, code, reason))
            self._gauge.set(len(self._waiting))
        else:
            self._gauge.refuse()
            self._tell(receiver, code, reason)
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def tell_all(self) -> None:
        """Whoever has not heard yet hears now: there is no later."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self._turns = PER_TICK
        while self._waiting:
            self._tell(*self._waiting.popleft())
        self._gauge.set(0)

    def _tick(self) -> None:
        self._ticking = None
        self._turns = PER_TICK
        while self._waiting and self._turns:
            self._turns -= 1
            self._tell(*self._waiting.popleft())
        self._gauge.set(len(self._waiting))
        if self._turns < PER_TICK:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tell(self, receiver: Receiver, code: int, reason: str) -> None:
        try:
            receiver.on_closed(code, reason)
        except Exception:  # the boundary: one receiver's bug costs its own connection
            self._fault("on_closed")
