"""How what several processes saw becomes one report: pure."""

from array import array

from loadtests.fleet import Fleet, merged
from loadtests.report import ChargerReport, Deed, SquadReport, Watch


class Idle:
    """Hands that do nothing."""

    def gather(self) -> None: ...

    def do(self, deed: Deed) -> None: ...

    def watch(self, watch: Watch | None) -> None: ...

    def missing(self) -> tuple[str, ...]:
        return ()

    def rest(self, seconds: float) -> None: ...

    def reports(self) -> tuple[SquadReport, ...]:
        return ()


def squad(*names: str, latencies_ms: list[float], lag_ms: float) -> SquadReport:
    return SquadReport(tuple(ChargerReport(name, admitted=True) for name in names), array("d", latencies_ms).tobytes(), lag_ms)


def test_percentiles_are_over_the_answers_of_all_processes_and_chargers_are_in_order() -> None:
    slow, fast = squad("A", "C", latencies_ms=[900.0], lag_ms=7.0), squad("B", latencies_ms=[float(n) for n in range(99)], lag_ms=3.0)
    report = merged([slow, fast], Fleet(["A", "B", "C"], Idle()), 10.0, 1.0, [])
    assert [charger.identity for charger in report.chargers] == ["A", "B", "C"]
    assert (report.answers, report.p50_ms, report.p99_ms, report.slowest_ms, report.lag_ms) == (100, 49.0, 98.0, 900.0, 7.0)
    assert report.late == ()


def test_who_is_in_no_report_was_not_admitted_and_is_named() -> None:
    report = merged([squad("A", "C", latencies_ms=[1.0], lag_ms=0.0)], Fleet(["A", "B", "C"], Idle()), 10.0, 1.0, ["it crashed"])
    assert [charger.admitted for charger in report.chargers] == [True, False, True]
    assert report.late == ("1 charger whose process of the laboratory said nothing in the end: B", "it crashed")
