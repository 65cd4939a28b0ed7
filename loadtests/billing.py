"""What the cars took, held against what the system billed: a pure rule that most storms share."""

from collections import defaultdict

from loadtests.report import Billed, StormReport, Truth
from loadtests.verdict import named


def billed(report: StormReport, truth: Truth, sessions_each: int) -> list[str]:
    """Reasons to fail, unless each charger had that many sessions, all told and acknowledged, and each of them is one ended session and
    one charge detail record with the car's own energy."""
    reasons = []
    unanswered = {c.identity for c in report.chargers if any(s.acknowledged < s.told or not s.completed for s in c.sessions)}
    if unanswered:
        reasons.append(named("with messages that were never acknowledged", unanswered))
    expected = {c.identity: sorted(s.energy_wh for s in c.sessions) for c in report.chargers}
    without = {identity for identity, energies in expected.items() if len(energies) != sessions_each}
    if without:
        reasons.append(named(f"without exactly {'one session' if sessions_each == 1 else f'{sessions_each} sessions'}", without))
    if len(truth.ended) != len(truth.cdrs) or truth.active:
        reasons.append(f"{len(truth.ended)} ended and {len(truth.active)} active sessions, {len(truth.cdrs)} charge detail records")
    for name, of in (("sessions", truth.ended), ("charge detail records", truth.cdrs)):
        found = _energies(of)
        wrong = {identity for identity, energies in expected.items() if energies != sorted(found.get(identity, []))}
        if wrong:
            reasons.append(named(f"with other {name} than their cars had", wrong))
    return reasons


def _energies(of: tuple[Billed, ...]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for one in of:
        found[one.charger].append(one.energy_wh)
    return found
