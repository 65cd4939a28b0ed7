"""A token bucket: so many in a second. Pure: the time is an argument."""

from typing import Final

_LATE_S: Final = 1e-6  # what floats may be wrong by: a bucket that ought to have a whole token has it


class TokenBucket:
    """At most `per_s` in a second, after a burst of one second's worth, at least one. Full at first.

    `reserve_s` seconds' worth, at least one, lie beyond that for whoever goes first. What they take, the others wait for.
    """

    __slots__ = ("_at", "_gap_s", "_owed_s", "_reserve_s", "_room_s")

    def __init__(self, per_s: float, reserve_s: float = 0.0) -> None:
        self._gap_s = 1.0 / per_s
        self._room_s = max(0.0, 1.0 - self._gap_s)  # a token is there as long as no more than this is owed
        self._reserve_s = max(reserve_s, self._gap_s) if reserve_s else 0.0
        self._owed_s = 0.0  # until the bucket is full; kept apart from the clock, whose floats are coarse on an old machine
        self._at = 0.0

    def take(self, now: float, *, first: bool = False) -> bool:
        """Take a token, if there is one; `first` may take from the reserve. `now` is in seconds and does not go back."""
        owed_s = self._passed(now)
        taken = owed_s <= self._room_s + (self._reserve_s if first else 0.0) + _LATE_S
        if taken:
            self._owed_s = owed_s + self._gap_s
        return taken

    def book(self, now: float, longest_s: float) -> float | None:
        """Take the next token, there already or not yet: in how many seconds it is. None, and none taken, if after `longest_s`."""
        wait_s = max(0.0, self._passed(now) - self._room_s)
        if wait_s > longest_s:
            return None
        self._owed_s += self._gap_s
        return wait_s if wait_s > _LATE_S else 0.0

    def _passed(self, now: float) -> float:
        """What is owed now."""
        self._owed_s = max(0.0, self._owed_s - (now - self._at))
        self._at = now
        return self._owed_s
