"""Which meter readings bound a transaction, and the energy between them.

A transaction's energy is the difference of two readings of Energy.Active.Import.Register. Candidates come in any order and more than
once, so each bound is a minimum or a maximum over keys, which no order of arrival and no repetition can change:

    start   the message's own meterStart, else context Transaction.Begin, else the earliest reading
    stop    the message's own meterStop, else context Transaction.End
    last    the latest reading
    highs   the two highest readings of different moments: one above the end register tells that the register fell on the way

Registers fail: they restart at 0, they spike, firmware writes 0 or 2**32 - 1 where it knows nothing. A driver pays for what is sure:
where the end lies below the start, or so far above it that no charger could have delivered that much, the *second* highest reading
stands in for it. Two readings that agree are no spike; with one alone nothing is sure, and `flags` in charging.py tells the operator.

(OCPP 1.6 sections 4.7, 4.8, 4.10; OCPP 2.x part 2, E06 to E09 and ReadingContextEnumType.)
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from cpms_actors.domain.events import Sample

Mark: TypeAlias = tuple[int, int, int, int]
"""How good the source is (rank), when it was read, its event's place in the transaction, and the register in Wh."""

High: TypeAlias = tuple[int, int]
"""A reading by height: the register in Wh, and when it was read."""

REGISTER: Final = "Energy.Active.Import.Register"
OUTLETS: Final = (None, "Outlet", "Cable")  # Inlet and Body measure more than this transaction, EV is the car's own opinion
WH_MAX: Final = 2**53  # beyond, a float is no longer exact; the test for it also refuses NaN
POWER_W_MAX: Final = 4_000_000  # the Megawatt Charging System ends at 3.75 MW
DURATION_MS_MIN: Final = 60_000  # clocks jump: a shorter session counts as this long
_MS_PER_HOUR: Final = 3_600_000

_START_MESSAGE, _START_CONTEXT, START_GUESSED = 0, 1, 2
_STOP_CONTEXT, STOP_MESSAGE = 1, 2


class Registers(Struct, frozen=True, array_like=True, gc=False):
    """The bounds found so far; None where no candidate came."""

    start: Mark | None = None
    last: Mark | None = None
    stop: Mark | None = None
    highs: tuple[High, ...] = ()

    @property
    def end_wh(self) -> int | None:
        """The register at the end: the stop where there is one, else the last reading."""
        bound = self.stop or self.last
        return None if bound is None else bound[3]

    @property
    def fell(self) -> bool:
        """Whether a reading lies above the end register, or the end below the start: the register went backwards."""
        end = self.end_wh
        return end is not None and bool(self.highs) and self.highs[0][0] > end

    @property
    def implausible(self) -> bool:
        """Whether the end lies further above the start than any charger could have brought it."""
        end = self.stop or self.last
        return self.start is not None and end is not None and not self._plausible(end[3], end[1])

    @property
    def energy_wh(self) -> int | None:
        """The energy between the bounds; None while one is unknown. Never negative.

        Where the end cannot be right (below the start, or implausible), what two readings agree on counts: the least that flowed.
        """
        end = self.stop or self.last
        if self.start is None or end is None:
            return None
        start_wh = self.start[3]
        if end[3] >= start_wh and self._plausible(end[3], end[1]):
            return end[3] - start_wh
        confirmed = self.highs[1] if len(self.highs) > 1 else None
        return max(confirmed[0] - start_wh, 0) if confirmed is not None and self._plausible(*confirmed) else 0

    def _plausible(self, wh: int, at: int) -> bool:
        assert self.start is not None  # whoever asks has a start
        duration_ms = max(at - self.start[1], DURATION_MS_MIN)
        return (wh - self.start[3]) * _MS_PER_HOUR <= POWER_W_MAX * duration_ms


NOTHING: Final = Registers()


def merge(one: Registers, other: Registers) -> Registers:
    """The bounds of both: the order of merging does not matter, and neither does merging the same twice."""
    if other is NOTHING:
        return one
    return Registers(
        start=_lowest(one.start, other.start),
        last=_highest(one.last, other.last),
        stop=_highest(one.stop, other.stop),
        highs=_two_highest(one.highs + other.highs),
    )


def of_samples(samples: tuple[Sample, ...], order: int) -> Registers:
    """The bounds that the samples of one event are candidates for; `order` is the event's place in the transaction."""
    start = last = stop = None
    highs: list[High] = []
    for sample in samples:
        if sample.measurand != REGISTER or sample.phase is not None or sample.location not in OUTLETS:
            continue
        if not -WH_MAX < sample.value < WH_MAX:
            continue
        if sample.signed is not None and sample.unit is None:
            continue  # OCPP 1.6 SignedData: the register is inside, and `value` says nothing
        wh = round(sample.value)
        rank = _START_CONTEXT if sample.context == "Transaction.Begin" else START_GUESSED
        start = _lowest(start, (rank, sample.taken_at, order, wh))
        last = _highest(last, (0, sample.taken_at, order, wh))
        if sample.context == "Transaction.End":
            stop = _highest(stop, (_STOP_CONTEXT, sample.taken_at, order, wh))
        highs.append((wh, sample.taken_at))
    return Registers(start, last, stop, _two_highest(highs)) if highs else NOTHING


def of_start(at: int, order: int, wh: int) -> Registers:
    """The bounds that the register in the start message itself gives."""
    return Registers(start=(_START_MESSAGE, at, order, wh), last=(0, at, order, wh), highs=((wh, at),))


def of_stop(at: int, order: int, wh: int) -> Registers:
    """The bounds that the register in the stop message itself gives."""
    return Registers(last=(0, at, order, wh), stop=(STOP_MESSAGE, at, order, wh), highs=((wh, at),))


def _two_highest(highs: Sequence[High]) -> tuple[High, ...]:
    """The two highest of different moments; of one moment the highest only, for a message that comes twice confirms nothing."""
    by_moment: dict[int, int] = {}
    for wh, at in highs:
        by_moment[at] = max(wh, by_moment.get(at, wh))
    return tuple(sorted(zip(by_moment.values(), by_moment, strict=True), reverse=True)[:2])


def _lowest(one: Mark | None, other: Mark | None) -> Mark | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _highest(one: Mark | None, other: Mark | None) -> Mark | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
