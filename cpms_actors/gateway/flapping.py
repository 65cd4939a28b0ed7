"""A charger that connects and goes again, over and over, is held off: for 2 s, 4 s, 8 s … 120 s.

A *flap* is a connection that ended within FLAP_S without a text, and not by our own doing. As many of them as are allowed within
SPAN_S, and the path is held off; after that every further flap doubles the time, until the charger has behaved for as long as it was
held off, and for SPAN_S at least. Being refused is no flap, so nobody is refused for ever.

Only flaps are remembered, by the path of the request and only of those whom the door let in: to a fleet that returns after a power
cut this costs one lookup each in a table that is nearly empty, and nobody can have somebody else's charger held off.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from cpms_actors.gateway.engine import INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER, Connection, Receiver, Refused

FLAP_S: Final = 10.0
SPAN_S: Final = 60.0
HOLD_S: Final = (2.0, 120.0)  # the first time and the longest
TABLE_MAX: Final = 20_000  # paths that are remembered; the one whose last flap is longest ago goes first

_OUR_DOING: Final = (INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER)  # the second: its slot has gone to another worker


class _Flapping:
    """What is remembered of a path, in seconds of the caller's clock."""

    __slots__ = ("flaps", "forget_at", "free_at", "hold_s")

    def __init__(self) -> None:
        self.flaps: list[float] = []  # when, the last ones
        self.hold_s = 0.0  # how long it was held off the last time
        self.free_at = 0.0
        self.forget_at = 0.0


class Flaps:
    """Who flaps. More than `flaps_max` within SPAN_S are too many."""

    def __init__(self, flaps_max: int) -> None:
        self._flaps_max = flaps_max
        self._table: dict[bytes, _Flapping] = {}  # in the order of their last flaps

    def __len__(self) -> int:
        return len(self._table)

    def wait_s(self, path: bytes, now: float) -> float:
        """For how many seconds more this path is held off; 0 when it may come in."""
        found = self._table.get(path)
        if found is None:
            return 0.0
        if found.forget_at <= now:
            del self._table[path]
            return 0.0
        return max(0.0, found.free_at - now)

    def ended(self, path: bytes, now: float) -> None:
        """A connection of this path was a flap."""
        found = self._table.pop(path, None)
        if found is None or found.forget_at <= now:
            found = _Flapping()
        self._table[path] = found
        found.flaps.append(now)
        del found.flaps[: -self._flaps_max]
        if found.hold_s or (len(found.flaps) == self._flaps_max and now - found.flaps[0] <= SPAN_S):
            first_s, longest_s = HOLD_S
            found.hold_s = min(longest_s, 2.0 * found.hold_s or first_s)
            found.free_at = now + found.hold_s
        found.forget_at = max(found.free_at, now) + max(SPAN_S, found.hold_s)
        self._make_room(now)

    def _make_room(self, now: float) -> None:
        """Drop the oldest when there are too many, and two that have expired: so those who never return do not stay."""
        for _ in range(2):
            oldest = next(iter(self._table))
            if len(self._table) > TABLE_MAX or self._table[oldest].forget_at <= now:
                del self._table[oldest]


class Watch:
    """A receiver before its first text. An engine whose connections can `hand_over` is rid of it with that; else it passes all on."""

    __slots__ = ("_began", "_clock", "_connection", "_flaps", "_path", "_receiver", "_spoke")

    def __init__(self, receiver: Receiver, flaps: Flaps, path: bytes, clock: Callable[[], float]) -> None:
        self._receiver = receiver
        self._flaps = flaps
        self._path = path
        self._clock = clock
        self._began = clock()
        self._connection: Connection | None = None
        self._spoke = False

    def on_open(self, connection: Connection) -> None:
        """See engine.Receiver."""
        self._connection = connection
        self._receiver.on_open(connection)

    def on_text(self, text: bytes) -> None:
        """See engine.Receiver."""
        if not self._spoke:
            self._spoke = True
            hand_over: Callable[[Receiver], None] | None = getattr(self._connection, "hand_over", None)
            if hand_over is not None:
                hand_over(self._receiver)
        self._receiver.on_text(text)

    def on_closed(self, code: int, reason: str) -> None:
        """See engine.Receiver."""
        self._connection = None
        if not self._spoke and code not in _OUR_DOING:
            now = self._clock()
            if now - self._began < FLAP_S:
                self._flaps.ended(self._path, now)
        self._receiver.on_closed(code, reason)


def held_off(wait_s: float) -> Refused:
    """The answer to a charger that is held off for so many seconds more."""
    return Refused(503, "too many short connections, try again later", (("Retry-After", str(ceil(wait_s))),))
