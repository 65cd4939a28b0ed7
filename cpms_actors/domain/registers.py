"""Which meter readings bound a transaction, and the energy between them.

A transaction's energy is the difference of two readings of Energy.Active.Import.Register. Candidates come in any order and more than
once, so each bound is a minimum or a maximum over keys, which no order of arrival and no repetition can change:

    start   the message's own meterStart, else context Transaction.Begin, else the earliest reading
    stop    the message's own meterStop, else context Transaction.End
    last    the latest reading
    high    the highest reading: above the end register, the register fell on the way

(OCPP 1.6 sections 4.7, 4.8, 4.10; OCPP 2.x part 2, E06 to E09 and ReadingContextEnumType.)
"""

from typing import Final, TypeAlias, TypeVar

from msgspec import Struct

from cpms_actors.domain.events import Sample

Mark: TypeAlias = tuple[int, int, int, int]
"""How good the source is (rank), when it was read, its event's place in the transaction, and the register in Wh."""

Bound = TypeVar("Bound", int, Mark)

REGISTER: Final = "Energy.Active.Import.Register"
OUTLETS: Final = (None, "Outlet", "Cable")  # Inlet and Body measure more than this transaction, EV is the car's own opinion
WH_MAX: Final = 2**53  # beyond, a float is no longer exact; the test for it also refuses NaN

_START_MESSAGE, _START_CONTEXT, START_GUESSED = 0, 1, 2
_STOP_CONTEXT, STOP_MESSAGE = 1, 2


class Registers(Struct, frozen=True, array_like=True, gc=False):
    """The bounds found so far; None where no candidate came."""

    start: Mark | None = None
    last: Mark | None = None
    stop: Mark | None = None
    high_wh: int | None = None

    @property
    def end_wh(self) -> int | None:
        """The register at the end: the stop where there is one, else the last reading."""
        bound = self.stop or self.last
        return None if bound is None else bound[3]

    @property
    def fell(self) -> bool:
        """Whether a reading lies above the end register, or the end below the start: the register went backwards."""
        end = self.end_wh
        return end is not None and self.high_wh is not None and self.high_wh > end

    @property
    def energy_wh(self) -> int | None:
        """The energy between the bounds; None while one is unknown.

        Never negative: where the end lies below the start (a meter reset to 0, a meterStop of 0), what was measured up to the
        fall counts, which is the least that flowed.
        """
        end = self.end_wh
        if self.start is None or end is None or self.high_wh is None:
            return None
        start = self.start[3]
        return end - start if end >= start else max(self.high_wh - start, 0)


NOTHING: Final = Registers()


def merge(one: Registers, other: Registers) -> Registers:
    """The bounds of both: the order of merging does not matter, and neither does merging the same twice."""
    if other is NOTHING:
        return one
    return Registers(
        start=_lowest(one.start, other.start),
        last=_highest(one.last, other.last),
        stop=_highest(one.stop, other.stop),
        high_wh=_highest(one.high_wh, other.high_wh),
    )


def of_samples(samples: tuple[Sample, ...], order: int) -> Registers:
    """The bounds that the samples of one event are candidates for; `order` is the event's place in the transaction."""
    start = last = stop = None
    high: int | None = None
    for sample in samples:
        if sample.measurand != REGISTER or sample.phase is not None or sample.location not in OUTLETS:
            continue
        if not -WH_MAX < sample.value < WH_MAX:
            continue
        wh = round(sample.value)
        rank = _START_CONTEXT if sample.context == "Transaction.Begin" else START_GUESSED
        start = _lowest(start, (rank, sample.taken_at, order, wh))
        last = _highest(last, (0, sample.taken_at, order, wh))
        if sample.context == "Transaction.End":
            stop = _highest(stop, (_STOP_CONTEXT, sample.taken_at, order, wh))
        high = wh if high is None else max(high, wh)
    return NOTHING if high is None else Registers(start, last, stop, high)


def of_start(at: int, order: int, wh: int) -> Registers:
    """The bounds that the register in the start message itself gives."""
    return Registers(start=(_START_MESSAGE, at, order, wh), last=(0, at, order, wh), high_wh=wh)


def of_stop(at: int, order: int, wh: int) -> Registers:
    """The bounds that the register in the stop message itself gives."""
    return Registers(last=(0, at, order, wh), stop=(STOP_MESSAGE, at, order, wh), high_wh=wh)


def _lowest(one: Bound | None, other: Bound | None) -> Bound | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _highest(one: Bound | None, other: Bound | None) -> Bound | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
