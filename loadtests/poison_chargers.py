"""Poison chargers: one in a hundred sends rubbish between its messages, once a second; the others are good.

It models broken firmware and idle curiosity. All chargers are in a transaction and send MeterValues every second; the poisonous
ones, at least one, also send the rubbish of their dialect: no JSON, frames that are none, unknown actions, payloads of the wrong
shape, endless ids.

What must hold:

- to its own messages every charger gets its answers, none of them an error, none later than 30 s: the poisonous ones, too;
- each charger has one ended session and one charge detail record, both with the car's own energy;
- what the system could not use lies parked, where somebody can look at it, and it is of the poisonous chargers alone.
"""

from collections.abc import Sequence
from typing import TypeVar

from loadtests.all_charging import AllCharging
from loadtests.dialects import TABLE, UNUSABLE
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet
from loadtests.verdict import named

T = TypeVar("T")

ONE_IN = 100
RUBBISH_EACH = len(TABLE["1.6"].rubbish)


class PoisonChargers(AllCharging):
    """See the module."""

    seconds = 15.0
    seconds_help = "how long the rubbish comes"
    may_park = True

    def trouble(self, fleet: Fleet, seconds: float) -> None:
        for number in range(round(seconds)):
            fleet.say_rubbish(number, poisonous(fleet.chargers))
            fleet.rest(1.0)

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        bad = {charger.identity for charger in poisonous(report.chargers)}
        reasons = super().judge(report, truth)
        good = set(truth.parked) - bad
        if good:
            reasons.append(named("that sent no rubbish have messages parked", good))
        if report.seconds >= RUBBISH_EACH:
            unseen = {identity for identity in bad if truth.parked.count(identity) < UNUSABLE}
            if unseen:
                reasons.append(named("whose rubbish is nowhere to be seen", unseen))
        return reasons


def poisonous(fleet: Sequence[T]) -> Sequence[T]:
    """Those that send rubbish."""
    return fleet[::ONE_IN]


SCENARIO = PoisonChargers()
