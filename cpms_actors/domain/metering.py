"""From what a session's meter showed to periods of charging and parking.

How much energy flowed is settled before (domain/registers.py): the bounds of the session. Readings in between only tell *when*, so they
are believed as far as they fit: one below the start or above the end of the session is a dip or a spike of the register, or belongs to
another life of it, and is passed over; one below what was reached before counts as no rise.

    5000 ── 5800 ── 0 ── 6000         1000 Wh: 800, then 200
    5000 ── 9999999 ── 6000           1000 Wh in one stretch
    5000 ── 5800 ── 0 ── 400          800 Wh (a reset: the session's energy is what rose before it), then none

Between two readings, energy that rose means charging; none means parking. Where charging states are known they cut such a stretch:
its energy then belongs to the parts in which the state was Charging, in proportion to their length.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from msgspec import Struct

Kind = Literal["charging", "parking"]

# The words of OCPP 2.x ChargingStateEnumType and of the 1.6 status that mean no energy is meant to flow.
IDLE_STATES: Final = frozenset({"EVConnected", "SuspendedEV", "SuspendedEVSE", "Idle", "Finishing", "Preparing", "Available"})


class Reading(NamedTuple):
    """What the import register showed: Wh at a moment in ms."""

    at_ms: int
    register_wh: int


class StateChange(NamedTuple):
    """The charging state that began at a moment (ms): a word of OCPP 2.x ChargingStateEnumType or a 1.6 status."""

    at_ms: int
    state: str


class MeteredSession(Struct, frozen=True):
    """What metering needs of a session: its moments, the register at its start, its energy, and what is known of the time in between.

    The energy is not negative. Readings outside of start and end count as taken at the nearer one. Readings and states by time.
    """

    start_ms: int
    end_ms: int
    meter_start_wh: int = 0
    energy_wh: int = 0
    readings: Sequence[Reading] = ()
    states: Sequence[StateChange] = ()


class Period(Struct, frozen=True, gc=False):
    """A stretch of a session in which it either charged or parked. Moments in ms; `energy_wh` is 0 when parking, never negative."""

    start_ms: int
    end_ms: int
    energy_wh: int
    kind: Kind

    @property
    def duration_ms(self) -> int:
        """The length of the period in ms."""
        return self.end_ms - self.start_ms


def metered_periods(session: MeteredSession) -> tuple[Period, ...]:
    """The periods of a session, gapless from start to end, in order; neighbours differ in kind or meet at a reading.

    Their energy adds up to the session's exactly. A session without duration and energy has none. A session that ends before
    it starts (a charger set its clock back) has no duration; its energy counts all the same.
    """
    periods: list[Period] = []
    for before, after in pairwise(_levels(session)):
        _add(periods, before.at_ms, after.at_ms, after.register_wh - before.register_wh, session.states)
    return tuple(periods)


def merged(periods: Iterable[Period]) -> tuple[Period, ...]:
    """The same periods with adjoining ones of one kind made one: what a CDR shows. Sums stay what they were."""
    whole: list[Period] = []
    for period in periods:
        if whole and whole[-1].kind == period.kind and whole[-1].end_ms == period.start_ms:
            last = whole.pop()
            period = Period(last.start_ms, period.end_ms, last.energy_wh + period.energy_wh, period.kind)
        whole.append(period)
    return tuple(whole)


def _levels(session: MeteredSession) -> list[Reading]:
    """The register from the session's start to its end, only ever rising."""
    start, end = session.start_ms, max(session.start_ms, session.end_ms)
    reached, last = session.meter_start_wh, session.meter_start_wh + session.energy_wh
    levels = [Reading(start, reached)]
    for at, wh in session.readings:
        if session.meter_start_wh <= wh <= last:
            reached = max(reached, wh)
            levels.append(Reading(min(max(at, start), end), reached))
    levels.append(Reading(end, last))
    return levels


def _add(periods: list[Period], start: int, end: int, energy_wh: int, states: Sequence[StateChange]) -> None:
    """Append what happened between two readings."""
    if energy_wh == 0:
        if start < end:
            periods.append(Period(start, end, 0, "parking"))
        return
    parts = _parts(start, end, states)
    charging_ms = sum(to - since for since, to, idle in parts if not idle)
    if charging_ms == 0:  # energy is stronger evidence than a state
        periods.append(Period(start, end, energy_wh, "charging"))
        return
    # Shares are cut from the running total, so that they add up to the whole however they round.
    elapsed = given = 0
    for since, to, idle in parts:
        if idle:
            periods.append(Period(since, to, 0, "parking"))
            continue
        elapsed += to - since
        share = energy_wh * elapsed // charging_ms - given
        given += share
        periods.append(Period(since, to, share, "charging"))


def _parts(start: int, end: int, states: Sequence[StateChange]) -> list[tuple[int, int, bool]]:
    """(since, until, idle) of the stretches between start and end in which the state did not change; an unknown state is not idle."""
    parts: list[tuple[int, int, bool]] = []
    first = bisect_right(states, start, key=itemgetter(0))
    since, idle = start, first > 0 and states[first - 1].state in IDLE_STATES
    for at, state in islice(states, first, None):
        if at >= end:
            break
        becomes = state in IDLE_STATES
        if becomes != idle:
            parts.append((since, at, idle))
            since, idle = at, becomes
    parts.append((since, end, idle))
    return parts
