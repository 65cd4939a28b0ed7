"""The verdict of `cpms demo`: what was billed, held against what the simulators know they charged. Pure.

Per charger, not in sum: two errors that cancel are two errors.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from cpms_actors.base.money import from_minor
from cpms_actors.bus.verbs_ledger import CdrView
from cpms_actors.domain.metering import Period
from cpms_actors.domain.tariff import Tariff, price
from cpms_actors.simulator.fleet import FleetResult
from cpms_actors.simulator.session import SessionFacts


class Pair(Struct, frozen=True):
    """One figure from both sides."""

    simulated: int
    billed: int


class Row(Struct, frozen=True):
    """One version of OCPP."""

    version: str
    chargers: int
    sessions: int
    cdrs: int
    energy_wh: Pair
    cost_minor: Pair


class Outcome(Struct, frozen=True):
    """What came of it. `equal`: each session has one CDR, with the simulated energy and cost; `failures` tell what differs."""

    chargers: int
    sessions: int
    cdrs: int
    energy_wh: Pair
    cost_minor: Pair
    currency: str
    seconds: float
    equal: bool
    versions: list[Row]
    failures: list[str]


class Bill(Struct, frozen=True):
    """What one charger's sessions came to."""

    count: int = 0
    energy_wh: int = 0
    cost_minor: int = 0

    def plus(self, energy_wh: int, cost_minor: int) -> "Bill":
        """With one more."""
        return Bill(self.count + 1, self.energy_wh + energy_wh, self.cost_minor + cost_minor)


def judge(chargers: int, result: FleetResult, cdrs: Iterable[CdrView], tariff: Tariff) -> Outcome:
    """Hold what was billed against what the simulators know; pure."""
    simulated: defaultdict[str, Bill] = defaultdict(Bill)
    billed: defaultdict[str, Bill] = defaultdict(Bill)
    versions: dict[str, str] = {}
    for facts in result.facts:
        versions[facts.identity] = facts.version
        simulated[facts.identity] = simulated[facts.identity].plus(facts.energy_wh, cost_of(facts, tariff))
    for cdr in cdrs:
        billed[cdr.charger] = billed[cdr.charger].plus(cdr.energy_wh, cdr.total_incl_minor)
    failures = list(result.failures)
    failures += [
        f"{identity} ({versions.get(identity, '?')}): {_difference(simulated[identity], billed[identity])}"
        for identity in sorted(simulated.keys() | billed.keys())
        if simulated[identity] != billed[identity]
    ]
    if len(versions) != chargers:
        failures.append(f"{len(versions)} of {chargers} chargers had a session")
    rows = [
        _row(version, [who for who in versions if versions[who] == version], simulated, billed)
        for version in sorted(set(versions.values()))
    ]
    whole = _row("all", list(simulated.keys() | billed.keys()), simulated, billed)
    return Outcome(
        chargers=chargers,
        sessions=whole.sessions,
        cdrs=whole.cdrs,
        energy_wh=whole.energy_wh,
        cost_minor=whole.cost_minor,
        currency=tariff.currency,
        seconds=result.seconds,
        equal=not failures and result.complete,
        versions=rows,
        failures=failures,
    )


def cost_of(facts: SessionFacts, tariff: Tariff) -> int:
    """What the session costs incl. tax, in minor units, by what the virtual car really did."""
    periods = [Period(p.start, p.end, p.energy_wh, "charging" if p.charging else "parking") for p in facts.periods]
    return price(tariff, periods).total_incl_minor


def as_json(outcome: Outcome) -> str:
    """One line."""
    return msgspec.json.encode(outcome).decode() + "\n"


def as_table(outcome: Outcome) -> str:
    """For people: a row per version, a verdict, and what is wrong, if anything is."""
    head = ("OCPP", "chargers", "sessions", "CDRs", "kWh simulated", "kWh billed", "EUR simulated", "EUR billed")
    total = Row("all", outcome.chargers, outcome.sessions, outcome.cdrs, outcome.energy_wh, outcome.cost_minor)
    lines = ["  ".join(f"{word:>13}" if index else f"{word:<5}" for index, word in enumerate(head))]
    for row in (*outcome.versions, total):
        energy = (f"{wh / 1000:.3f}" for wh in (row.energy_wh.simulated, row.energy_wh.billed))
        cost = (f"{from_minor(minor, outcome.currency)}" for minor in (row.cost_minor.simulated, row.cost_minor.billed))
        words = (str(row.chargers), str(row.sessions), str(row.cdrs), *energy, *cost)
        lines.append("  ".join([f"{row.version:<5}", *(f"{word:>13}" for word in words)]))
    verdict = "equal: each session has one CDR, with its own energy and cost" if outcome.equal else "NOT equal"
    lines += ["", f"{verdict} ({outcome.seconds:.1f} s)", *(f"  {failure}" for failure in outcome.failures[:20])]
    return "\n".join(lines) + "\n"


def _row(version: str, who: list[str], simulated: dict[str, Bill], billed: dict[str, Bill]) -> Row:
    ours, theirs = _sum(billed[identity] for identity in who), _sum(simulated[identity] for identity in who)
    energy, cost = Pair(theirs.energy_wh, ours.energy_wh), Pair(theirs.cost_minor, ours.cost_minor)
    return Row(version, len(who), theirs.count, ours.count, energy, cost)


def _sum(bills: Iterable[Bill]) -> Bill:
    kept = list(bills)
    return Bill(sum(b.count for b in kept), sum(b.energy_wh for b in kept), sum(b.cost_minor for b in kept))


def _difference(simulated: Bill, billed: Bill) -> str:
    pairs = ((name, value, getattr(billed, name)) for name, value in asdict(simulated).items())
    return ", ".join(f"{name} {one} simulated, {other} billed" for name, one, other in pairs if one != other)
