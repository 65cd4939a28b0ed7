"""The fleet of a scenario, whoever carries out what is done to it, and the report on it."""

import math
import time
from array import array
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from loadtests.report import ChargerReport, Deed, Sign, SquadReport, StormReport, Watch
from loadtests.verdict import named

LOOK_S: Final = 0.05  # between two looks at what is waited for


class Lost(Exception):
    """Chargers are gone together with the laboratory's process in which they lived."""


class Hands(Protocol):
    """Who has the chargers: the squad of this process, or a crew of others. Each wait raises Lost."""

    def gather(self) -> None:
        """Wait until all chargers are made."""

    def do(self, deed: Deed) -> None:
        """To all, or to some."""

    def watch(self, watch: Watch | None) -> None:
        """What `missing` is about from now on."""

    def missing(self) -> Sequence[str]:
        """Those that do not have the sign that is waited for."""
        ...

    def rest(self, seconds: float) -> None:
        """Wait."""

    def reports(self) -> Sequence[SquadReport]:
        """What all saw so far."""
        ...


class Fleet:
    """See `scenario.Fleet`. `late`: sentences about what did not happen in time."""

    def __init__(self, chargers: Sequence[str], hands: Hands) -> None:
        self.chargers = chargers
        self.late: list[str] = []
        self.cut_at: float | None = None
        self._hands = hands

    def cut(self, some: Sequence[str] | None = None) -> None:
        if some is None:
            self.cut_at = time.time()
        self._do(Deed("cut"), some)

    def show_token(self, some: Sequence[str] | None = None) -> None:
        self._do(Deed("show-token"), some)

    def stop_reading(self, some: Sequence[str] | None = None) -> None:
        self._do(Deed("stop-reading"), some)

    def say_rubbish(self, number: int, some: Sequence[str] | None = None) -> None:
        self._do(Deed("say-rubbish", number=number), some)

    def until(self, sign: Sign, seconds: float, otherwise: str, some: Sequence[str] | None = None) -> None:
        deadline = time.monotonic() + seconds
        self._hands.watch(Watch(sign, None if some is None else tuple(some)))
        while missing := self._hands.missing():
            if time.monotonic() > deadline:
                self.late.append(named(otherwise, missing))
                break
            time.sleep(LOOK_S)
        self._hands.watch(None)

    def rest(self, seconds: float) -> None:
        self._hands.rest(seconds)

    def _do(self, deed: Deed, some: Sequence[str] | None) -> None:
        self._hands.do(deed if some is None else replace(deed, some=tuple(some)))


def merged(reports: Sequence[SquadReport], fleet: Fleet, seconds: float, began_at: float, crashed: Sequence[str]) -> StormReport:
    """One report on the whole fleet, its chargers in order, over all answers of all processes; whoever was lost was not admitted."""
    latencies = array("d")
    for report in reports:
        latencies.frombytes(report.latencies_ms)
    ordered = sorted(latencies)
    reported = {charger.identity: charger for report in reports for charger in report.chargers}
    silent = [identity for identity in fleet.chargers if identity not in reported]
    unreported = [named("whose process of the laboratory said nothing in the end", silent)] if silent else []
    return StormReport(
        seconds=seconds,
        began_at=began_at,
        cut_at=fleet.cut_at,
        chargers=tuple(reported.get(identity) or ChargerReport(identity, admitted=False) for identity in fleet.chargers),
        answers=len(ordered),
        p50_ms=percentile(ordered, 0.50),
        p99_ms=percentile(ordered, 0.99),
        slowest_ms=percentile(ordered, 1.0),
        lag_ms=round(max((report.lag_ms for report in reports), default=0.0), 1),
        late=(*fleet.late, *unreported, *crashed),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank of an ordered list, to a tenth; 0 when it is empty."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1) if ordered else 0.0
