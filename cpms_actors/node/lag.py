"""How late a loop is: a task on it sleeps for a moment, over and over, and whatever it wakes later is the loop's lag.

A late loop answers everybody late. What is told is the worst of the last seconds: an average would hide the one second that hurts.
"""

from collections import deque
from time import monotonic
from typing import Final

import anyio

from cpms_actors.observe.counters import Gauge

PROBE_S: Final = 0.25
PROBES: Final = 20  # the last five seconds
LATE_MS: Final = 250.0  # unless the settings say what is late


class Lag:
    """The lag of one loop. Whole milliseconds go into the gauge, which keeps the peak."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._last: deque[float] = deque((0.0,), maxlen=PROBES)

    @property
    def worst_ms(self) -> float:
        """The worst of the last seconds, in milliseconds."""
        return max(self._last)

    def late(self, lag_s: float) -> None:
        """A probe came back so many seconds later than it was to."""
        self._last.append(max(0.0, lag_s * 1000.0))
        self._gauge.set(round(self.worst_ms))

    async def run(self) -> None:
        """Probe the loop that this runs on, until cancelled."""
        while True:
            before = monotonic()
            await anyio.sleep(PROBE_S)
            self.late(monotonic() - before - PROBE_S)


def health(late_ms: float, *lags: Lag) -> str:
    """A word for a worker: "late" when one of its loops is later than `late_ms` (0: LATE_MS), else "ok"."""
    return "late" if max(lag.worst_ms for lag in lags) > (late_ms or LATE_MS) else "ok"
