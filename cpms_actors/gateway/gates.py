"""The storm gates: what an upgrade request passes before its door is asked, so that a storm of reconnects is a queue and no outage.

    socket ──▶ pace ──▶ head ──▶ rate ──▶ lag ──▶ flapping ──▶ door           each: come in, or 503 with a Retry-After
                │                 │        │         └ too many short and silent connections of this path (flapping.py)
                │                 │        └ more than the loop can take at present, by how late it is
                │                 └ more than so many per second
                └ when its turn comes: so many per tick (where sockets are accepted one by one, arrivals.py)

Who is refused is told when to return, and the times are drawn so that the refused come back spread over what the queue needs. Whoever
has a running transaction goes first: the two gates that count keep a reserve for it, and it is told to return sooner. While there is a
queue, chargers that have just started are not accepted at once either, see `boot_wait_s`. The rules are pure: time and chance are
arguments. Only `Gates`, which puts them together and counts, holds a clock.
"""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from cpms_actors.base.buckets import TokenBucket
from cpms_actors.gateway.engine import Admitted, Limits, Refused
from cpms_actors.gateway.flapping import TABLE_MAX, Flaps, Watch, held_off
from cpms_actors.gateway.handshake import overloaded
from cpms_actors.observe.counters import Counters

RETRY_AFTER_S: Final = (5, 120)  # the bounds of what the refused are told
RETRY_FIRST_S: Final = (1, 4)  # and those with a running transaction
RESERVE: Final = 0.25  # for them, on top of what the others may take: of a second's worth, and of a window's
SPREAD: Final = 1.5  # times what the queue needs: a third of what is let in is left for those who come for the first time
SPREAD_S_MIN: Final = 10.0  # the first of a storm do not know yet that they are many

TICK_S: Final = 0.01  # of the pace
TICKS_MOST: Final = 5  # that a late tick stands for
TICK_LATE_S: Final = 0.003  # a tick that is later than this says that the loop, or the machine, has too much to do
TICK_GROWTH: Final = 1.01  # of the pace by one in time while somebody waits: twice as much after 0.7 s
PACE_MOST: Final = 10_000  # handshakes per second, where nothing else is asked for
BACK_S: Final = 50.0  # nobody gains by a pace that has all of them back sooner, and those who stayed would wait for it
LOOKS: Final = 4.0  # times the pace are accepted, so all within a quarter of BACK_S: many are another worker's, or told to return
LINE_S_MAX: Final = 12.0  # more, for a handshake's turn; who would wait longer is told to return (a charger's own patience is 30 s)
LINE_SHARE: Final = 0.75  # of the sockets whose handshake is unfinished: the rest are for who has not been looked at yet
TURNED_AWAY: Final = 5  # per tick, of a line that the pace has left too long

WINDOW_S: Final = 0.1  # of the adaptive limit, and how often the loop's lag is measured
WINDOW_FLOOR: Final = 20  # admissions per window that no lag takes away: a charger always gets in some day
PACE_LEAST: Final = WINDOW_FLOOR / WINDOW_S  # per second, likewise
WINDOW_NO_LIMIT: Final = 400  # from here on there is no limit
WINDOW_LATE: Final = 100  # two late windows in a row: one may be anything, two are too much work
WINDOW_STEP: Final = 10  # from the floor to no limit in 3.8 s without lag

MESSAGES_BURST_S: Final = 20.0  # what a charger may send at once is the limit's worth of so long: hours of what it kept while offline


Charging: TypeAlias = Callable[[bytes], bool]
"""Whether the charger of a request's path has a running transaction, as far as is known here."""


def nobody(path: bytes) -> bool:
    """Nothing is known of transactions."""
    return False


class Backlog:
    """How many were refused and have not had their turn since, as far as can be known: the queue that a storm would be."""

    __slots__ = ("_at", "_waiting")

    def __init__(self) -> None:
        self._at = 0.0
        self._waiting = 0.0

    def waiting(self, now: float, per_s: float) -> float:
        """How many are in the queue."""
        return max(0.0, self._waiting - (now - self._at) * per_s) if self._waiting else 0.0

    def retry_after_s(self, now: float, per_s: float, chance: float) -> int:
        """Count one more refused, and say when it is to return, in whole seconds. `per_s` have their turn, `chance` is 0 … 1.

        Drawn from SPREAD times what the queue needs.
        """
        self._waiting = self.waiting(now, per_s) + 1.0
        self._at = now
        shortest, longest = RETRY_AFTER_S
        spread_s = min(longest - shortest, max(SPREAD_S_MIN, SPREAD * self._waiting / per_s))
        return shortest + int(chance * spread_s)


class Pace:
    """How many handshakes are begun per tick of TICK_S: some more while somebody waits, half as many after a late tick.

    It is never faster than it takes to have as many in within BACK_S as were ever in at once, nor slower than PACE_LEAST. Whoever is in
    notices little of a storm then: the others wait, as bytes that nobody has read.
    """

    __slots__ = ("_credit", "_least", "_line", "_most", "allowed")

    def __init__(self, per_s: float, openings: int) -> None:
        """At most so many per second, of at most so many sockets whose handshake is unfinished."""
        self._line = int(openings * LINE_SHARE)
        self._most = per_s * TICK_S
        self._least = min(self._most, PACE_LEAST * TICK_S)
        self._credit = 0.0
        self.allowed = self._least

    @property
    def per_s(self) -> float:
        """What is begun per second at present."""
        return self.allowed / TICK_S

    def accepts_per_s(self) -> float:
        """How many sockets may be accepted per second at present. The kernel keeps the others: to look at all of a storm in its first
        second is work as well, and those who stayed would wait for it."""
        return self.per_s * LOOKS

    @property
    def room(self) -> int:
        """How many may wait for their turn."""
        return min(self._line, int(self.per_s * LINE_S_MAX))

    def tick(self, late_s: float, *, wanted: bool, held: int) -> int:
        """A tick is over, it was so late, and somebody waits for a turn or nobody: how many may begin in the next one.

        `held` is the most that were ever connected at once.
        """
        if late_s > TICK_LATE_S:
            self.allowed = max(self._least, self.allowed / 2)
        elif wanted:  # a pace that nobody has tried says nothing
            ceiling = min(self._most, max(self._least, held / BACK_S * TICK_S))
            self.allowed = min(ceiling, self.allowed * TICK_GROWTH)
        # For all the time since the last one: a loop that is always late would be slower than PACE_LEAST.
        allowed = self.allowed * min(1.0 + late_s / TICK_S, TICKS_MOST)
        granted = int(self._credit + allowed)
        self._credit += allowed - granted
        return granted


class AdmissionLimit:
    """How many may come in per window of WINDOW_S, by how late the loop is: additive increase, multiplicative decrease.

    A window ends when the loop says so. When it is late the window is longer, and the limit so much the tighter.
    """

    __slots__ = ("_lag_max_ms", "_left", "allowed")

    def __init__(self, lag_max_ms: float) -> None:
        self._lag_max_ms = lag_max_ms
        self.allowed = WINDOW_NO_LIMIT
        self._left = WINDOW_NO_LIMIT

    def take(self, *, first: bool = False) -> bool:
        """Take one of this window's admissions, if one is left; `first` may take from the next window's."""
        if self._left <= (-int(self.allowed * RESERVE) if first else 0) and self.allowed < WINDOW_NO_LIMIT:
            return False
        self._left -= 1
        return True

    def window(self, lag_ms: float) -> None:
        """A window is over, and the loop was so late."""
        taken = max(0, -self._left) if self.allowed < WINDOW_NO_LIMIT else 0
        if lag_ms > self._lag_max_ms:
            self.allowed = max(WINDOW_FLOOR, self.allowed // 2)
        elif lag_ms < self._lag_max_ms / 2:
            self.allowed = min(WINDOW_NO_LIMIT, self.allowed + WINDOW_STEP)
        self._left = max(0, self.allowed - taken)


class Gates:
    """The gates that the limits ask for, in order, and their counts. `chance` draws from 0 … 1, `clock` tells seconds.

    `charging` says whether the charger of a path has a running transaction. It is asked only when a gate would refuse.
    """

    def __init__(
        self,
        limits: Limits,
        counters: Counters,
        chance: Callable[[], float],
        clock: Callable[[], float],
        charging: Charging = nobody,
    ) -> None:
        self.charging = charging
        most = max(PACE_LEAST, limits.admissions_per_s or PACE_MOST)
        self.pace = Pace(most, limits.openings) if limits.lag_max_ms > 0 else None
        self._rate = TokenBucket(limits.admissions_per_s, RESERVE) if limits.admissions_per_s > 0 else None
        self._limit = AdmissionLimit(limits.lag_max_ms) if limits.lag_max_ms > 0 else None
        self._flaps = Flaps(limits.flaps_max) if limits.flaps_max > 0 else None
        self._per_s = float(limits.admissions_per_s)
        self._backlog = Backlog()
        self._chance = chance
        self._clock = clock
        self._probed: float | None = None
        self._lag = counters.gauge("gateway.lag_ms", bound=round(limits.lag_max_ms) if limits.lag_max_ms > 0 else None)
        self._flapping = counters.gauge("gateway.flapping", bound=TABLE_MAX)
        self._by_pace = counters.counter("gateway.gate.pace")
        self._by_rate = counters.counter("gateway.gate.rate")
        self._by_lag = counters.counter("gateway.gate.lag")
        self._by_flapping = counters.counter("gateway.gate.flapping")
        self._queue = counters.gauge("gateway.queue")
        self._by_boot = counters.counter("gateway.gate.boot")
        self._first = counters.counter("gateway.first")

    def refusal(self, path: bytes) -> Refused | None:
        """Why this upgrade request has to wait; None when the door may be asked."""
        now = self._clock()
        if self._rate is not None and not self._rate.take(now):
            charging = self.charging(path)
            if not charging or not self._rate.take(now, first=True):
                self._by_rate.value += 1
                return self._later(now, self._per_s, charging)
            self._first.value += 1
        if self._limit is not None and not self._limit.take():
            charging = self.charging(path)
            if not charging or not self._limit.take(first=True):
                self._by_lag.value += 1
                return self._later(now, self._limit.allowed / WINDOW_S, charging)
            self._first.value += 1
        if self._flaps is not None and (wait_s := self._flaps.wait_s(path, now)) > 0.0:
            self._by_flapping.value += 1
            return held_off(wait_s)
        return None

    def too_many(self) -> Refused:
        """What is said to whoever would wait too long for its turn, before its request is read."""
        assert self.pace is not None  # without one there are no turns
        self._by_pace.value += 1
        return self._later(self._clock(), self.pace.per_s, charging=False)

    def _later(self, now: float, per_s: float, charging: bool) -> Refused:
        """Refused, until its turn; whoever is charging is not put into the queue of the others."""
        if charging:
            soonest, latest = RETRY_FIRST_S
            return overloaded(soonest + int(self._chance() * (latest - soonest)))
        return overloaded(self._backlog.retry_after_s(now, per_s, self._chance()))

    def boot_wait_s(self) -> float:
        """Within how many seconds a charger that has just started is to ask again, because there is a queue; 0: accept it. Counted.

        There is one when the loop is late again and again, and when the refused need longer than a first one is told to wait.
        """
        limit, per_s = self._limit, self._per_s_now
        needs_s = SPREAD * self._backlog.waiting(self._clock(), per_s) / per_s
        if needs_s <= SPREAD_S_MIN and (limit is None or limit.allowed > WINDOW_LATE):
            return 0.0
        self._by_boot.value += 1
        return min(float(RETRY_AFTER_S[1]), max(SPREAD_S_MIN, needs_s))

    @property
    def _per_s_now(self) -> float:
        """How many the gates let in per second at present."""
        by_lag = self._limit.allowed / WINDOW_S if self._limit is not None else math.inf
        return min(self._per_s or math.inf, by_lag)

    def watched(self, admitted: Admitted, path: bytes) -> Admitted:
        """The same, with an eye on whether it flaps."""
        flaps = self._flaps
        if flaps is None:
            return admitted
        if admitted.subprotocol is None:  # closed at once, and its receiver never called
            flaps.ended(path, self._clock())
            return admitted
        return Admitted(Watch(admitted.receiver, flaps, path, self._clock), admitted.subprotocol)

    def probe(self) -> None:
        """The loop was asked to call this WINDOW_S after the last call: whatever it is later is its lag. The first call only begins."""
        now = self._clock()
        if self._probed is not None:
            lag_ms = max(0.0, now - self._probed - WINDOW_S) * 1000.0
            self._lag.set(round(lag_ms))
            self._flapping.set(len(self._flaps) if self._flaps is not None else 0)
            self._queue.set(round(self._backlog.waiting(now, self._per_s_now)))
            if self._limit is not None:
                self._limit.window(lag_ms)
        self._probed = now
