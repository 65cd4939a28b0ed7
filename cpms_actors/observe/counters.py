"""Counters and gauges: what a process tells about itself in its status.

Whatever can grow has a name, a bound, a peak and a count of refusals; here they are kept. A part of the program asks for its
counters once, at start, and adds to plain attributes afterwards: no lookup, lock or allocation per message. One thread writes.

    frames = counters.counter("frames.in")          frames.value += 1
    waiting = counters.gauge("mailbox", bound=64)   waiting.set(len(queue));  waiting.refused += 1

`snapshot()` flattens them to whole numbers: `frames.in`, `mailbox`, `mailbox.bound`, `mailbox.peak`, `mailbox.refused`.
"""

from collections.abc import Callable
from re import compile as pattern
from typing import Final, TypeVar

NAMES_MAX: Final = 512  # names are written in code, so more means that somebody makes names from data

_NAME = pattern(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*\Z")
_Kept = TypeVar("_Kept", "Counter", "Gauge", Callable[[], int])


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, count: int = 1) -> None:
        """Count `count` more."""
        self.value += count


class Gauge:
    """A number that moves, the most it ever was, and how often something was refused because it was at its bound (None: no bound)."""

    __slots__ = ("bound", "peak", "refused", "value")

    def __init__(self, bound: int | None) -> None:
        self.bound = bound
        self.value = 0
        self.peak = 0
        self.refused = 0

    def set(self, value: int) -> None:
        """The value is now this."""
        self.value = value
        if value > self.peak:
            self.peak = value

    def refuse(self) -> None:
        """Something was refused for want of room."""
        self.refused += 1


class Counters:
    """The registry of one process. A name asked for twice is the same counter; asked for as another kind it is a ValueError."""

    def __init__(self) -> None:
        self._named: dict[str, Counter | Gauge | Callable[[], int]] = {}

    def counter(self, name: str) -> Counter:
        """The counter of that name: lower case words joined by dots."""
        found = self._named.get(name)
        if found is None:
            found = self._add(name, Counter())
        if not isinstance(found, Counter):
            raise ValueError(f"{name} is no counter")
        return found

    def gauge(self, name: str, bound: int | None = None) -> Gauge:
        """The gauge of that name; its bound is the first one given."""
        found = self._named.get(name)
        if found is None:
            found = self._add(name, Gauge(bound))
        if not isinstance(found, Gauge):
            raise ValueError(f"{name} is no gauge")
        return found

    def probe(self, name: str, read: Callable[[], int]) -> None:
        """A number that is only read when somebody asks, such as the length of a table. The last probe of a name wins."""
        if isinstance(self._named.get(name), Counter | Gauge):
            raise ValueError(f"{name} is no probe")
        self._add(name, read)

    def snapshot(self) -> dict[str, int]:
        """All of them now, by name in order."""
        numbers: dict[str, int] = {}
        for name, kept in sorted(self._named.items()):
            if isinstance(kept, Gauge):
                numbers[name] = kept.value
                if kept.bound is not None:
                    numbers[f"{name}.bound"] = kept.bound
                numbers[f"{name}.peak"] = kept.peak
                numbers[f"{name}.refused"] = kept.refused
            else:
                numbers[name] = kept.value if isinstance(kept, Counter) else kept()
        return numbers

    def _add(self, name: str, kept: _Kept) -> _Kept:
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a counter: lower case words joined by dots")
        if name not in self._named and len(self._named) >= NAMES_MAX:
            raise ValueError(f"more than {NAMES_MAX} counters: is {name!r} made from data?")
        self._named[name] = kept
        return kept
