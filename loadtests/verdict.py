"""The verdict: a pure rule over what the chargers saw and what the system says.

Every scenario asks that all chargers are let in and that each answer comes within the 30 s that a charger waits for it; what else must
hold is the scenario's own (`Scenario.judge`).
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Struct

from loadtests.dialects import Ocpp
from loadtests.report import StormReport, Truth

ANSWER_S_MAX: Final = 30.0  # how long a charger waits for an answer
NAMES_MAX: Final = 5  # of chargers, in one reason

Rule = Callable[[StormReport, Truth], list[str]]


class Verdict(Struct, frozen=True):
    """What is printed. `seconds` is the whole run; the latencies are of answers; `back_s` is when the last charger was back.

    `lag_ms`: how late the laboratory itself was, at most; what is no greater says little about the system. `ocpp`: as ordered.
    """

    verdict: Literal["pass", "fail"]
    reasons: list[str]
    scenario: str
    chargers: int
    admitted: int
    timeouts: int
    seconds: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    answers: int
    back_s: float | None
    lag_ms: float
    ocpp: Ocpp


def judge(
    scenario: str, report: StormReport, truth: Truth, rule: Rule, seconds: float, *, may_park: bool = False, ocpp: Ocpp = "1.6"
) -> Verdict:
    """Pass when there is no reason to fail. A charger counts as admitted only if both sides say so.

    Unless it `may_park`, a message that the system could not use is a reason.
    """
    everyone = {charger.identity for charger in report.chargers}
    own_view = {charger.identity for charger in report.chargers if charger.admitted}
    admitted = own_view & truth.connected & truth.booted
    misheard = {charger.identity for charger in report.chargers if truth.ocpp.get(charger.identity) != charger.version}
    reasons = [
        *_named("never connected and booted, by their own account", everyone - own_view),
        *_named("not connected, by the system's account", own_view - truth.connected),
        *_named("not booted since, by the system's account", own_view - truth.booted),
        *_named("of another version of OCPP, by the system's account", misheard & admitted),
        *_answers(report),
        *_named("with messages that the system could not use", set() if may_park else set(truth.parked)),
        *report.late,
        *rule(report, truth),
    ]
    back = [charger.back_s for charger in report.chargers if charger.back_s is not None]
    return Verdict(
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        scenario=scenario,
        chargers=len(report.chargers),
        admitted=len(admitted),
        timeouts=sum(charger.timeouts for charger in report.chargers),
        seconds=round(seconds, 1),
        p50_ms=report.p50_ms,
        p99_ms=report.p99_ms,
        slowest_ms=report.slowest_ms,
        answers=report.answers,
        back_s=max(back, default=None),
        lag_ms=report.lag_ms,
        ocpp=ocpp,
    )


def named(what: str, identities: Iterable[str]) -> str:
    """A reason with some of the chargers it is about; how many there are in all comes first."""
    names = sorted(identities)
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return f"{len(names)} charger{'s' if len(names) != 1 else ''} {what}: {', '.join(names[:NAMES_MAX])}{more}"


def _named(what: str, identities: set[str]) -> list[str]:
    return [named(what, identities)] if identities else []


def _answers(report: StormReport) -> list[str]:
    reasons = _named("waited in vain for an answer", {c.identity for c in report.chargers if c.timeouts})
    reasons += _named("answered with an error", {c.identity for c in report.chargers if c.errors})
    if report.slowest_ms > ANSWER_S_MAX * 1000:
        reasons.append(f"the slowest answer took {report.slowest_ms / 1000:.1f} s, more than {ANSWER_S_MAX:g}")
    if not report.answers:
        reasons.append("no charger got any answer")
    failures = [failure for charger in report.chargers for failure in charger.failures]
    if failures:
        reasons.append(f"{len(failures)} failures, the first: {failures[0]}")
    return reasons
