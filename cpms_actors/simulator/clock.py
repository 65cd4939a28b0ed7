"""The station's own clock: virtual, faster than the real one by a factor, and wrong by a skew.

The plan of a session is in station time, and so is every timestamp a station sends; deadlines of the protocol (an answer, a
heartbeat, a retry, a reconnection) are real. Both are integer milliseconds (base.time); this is the one place that converts.
"""

from math import ceil

from msgspec import Struct


class StationClock(Struct, frozen=True, gc=False):
    """At the real moment `origin_ms` the station believes it is `starts_at_ms` + `skew_ms`; `speed` station ms pass per ms."""

    origin_ms: int
    starts_at_ms: int
    speed: float = 1.0
    skew_ms: int = 0

    def at(self, now_ms: int) -> int:
        """Station time at a real moment."""
        return self.starts_at_ms + self.skew_ms + int((now_ms - self.origin_ms) * self.speed)

    def real(self, station_ms: int) -> int:
        """The first real moment at which the station's clock has reached `station_ms`."""
        return self.origin_ms + ceil((station_ms - self.skew_ms - self.starts_at_ms) / self.speed)
