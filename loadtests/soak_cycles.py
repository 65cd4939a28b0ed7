"""What the chargers of a soak do: one session after the other, and again and again their connections fail.

Sessions are spread evenly over their length, so that at every moment about as many cars charge as at any other. Cycles follow the
machine's clock: they begin at each multiple of CYCLE_S of the epoch, with a cut, now of all chargers and now of a random half, the last
time of all. Whoever looks at SAMPLE_AT_S of a cycle finds everybody connected for some seconds, and needs not be told when that is.

What must hold:

- after each cut all are connected and booted again before the moment at which somebody looks;
- each charger has as many ended sessions and charge detail records as its cars had, with their energy.
"""

import time
from random import Random
from typing import Final

from msgspec.structs import replace

from cpms_actors.simulator.options import Options
from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import CAR
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import RUDE, Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX

NAME: Final = "soak-cycles"
CYCLE_S: Final = 15.0
BACK_S_MAX: Final = 9.0
SAMPLE_AT_S: Final = 12.0
SESSION_S_LEAST: Final = 30.0
SESSIONS_MAX: Final = 60  # of a charger: the longer the soak, the longer they are, and the laboratory's memory stays bounded
METER_INTERVAL_S: Final = 5.0
_AFTER_S, _AUTHORIZE_S, _PARKING_S, _UNPLUG_S = 2.0, 1.0, 3.0, 2.0


def cycles(seconds: float) -> int:
    """How many fit in."""
    return int(seconds / CYCLE_S)


def sessions_each(seconds: float) -> int:
    """How many sessions a charger has."""
    return max(1, min(SESSIONS_MAX, int(seconds / SESSION_S_LEAST)))


class SoakCycles(Scenario):
    """See the module."""

    seconds = 60.0
    seconds_help = "how long the cycles go on"

    def options(self) -> Options:
        return replace(RUDE, keep_register=False)  # what is unacknowledged shows in a session that is not completed

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        number = sessions_each(seconds)
        length_s = max(SESSION_S_LEAST, seconds / number)
        plan = SessionPlan(
            token,
            after_s=_AFTER_S,
            authorize_after_s=_AUTHORIZE_S,
            charging_s=length_s - _AFTER_S - _AUTHORIZE_S - _PARKING_S - _UNPLUG_S,
            parking_s=_PARKING_S,
            unplug_after_s=_UNPLUG_S,
            meter_interval_s=METER_INTERVAL_S,
            curve=CAR,
        )
        return (replace(plan, after_s=_AFTER_S + place * length_s), *(plan for _ in range(number - 1)))

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("admitted", ANSWER_S_MAX, "not in before the first cycle")
        chance = Random(0)
        first, count = int(time.time() / CYCLE_S) + 1, cycles(seconds)
        for cycle in range(count):
            fleet.rest(max(0.0, (first + cycle) * CYCLE_S - time.time()))
            everybody = (count - cycle) % 2 == 1
            fleet.cut(None if everybody else chance.sample(fleet.chargers, len(fleet.chargers) // 2))
            fleet.until("admitted", BACK_S_MAX, f"not back {BACK_S_MAX:g} s after the cut of cycle {cycle + 1}")
        fleet.rest(max(0.0, (first + count) * CYCLE_S - time.time()))
        length_s = max(SESSION_S_LEAST, seconds / sessions_each(seconds))
        fleet.until("finished", length_s + ANSWER_S_MAX, "with sessions or messages left when all should have been told")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, sessions_each(report.seconds))

    def longest_s(self, seconds: float) -> float:
        return 1.2 * seconds + 8 * ANSWER_S_MAX


SCENARIO = SoakCycles()
