"""A rush hour: drivers come home, and within --seconds every charger begins a session, one after the other at an even pace.

It models the evening: each driver plugs in, shows the token, charges for a few seconds that stand for hours, and stops.

What must hold:

- every start is accepted, and every message about a transaction is answered without an error, none later than 30 s;
- each charger has one ended session and one charge detail record, both with the car's own energy.
"""

from msgspec.structs import replace

from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import until_stopped
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX

CHARGING_S = 5.0


class RushHour(Scenario):
    """See the module."""

    seconds = 20.0
    seconds_help = "in which all sessions begin"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (replace(until_stopped(token), after_s=place * seconds, charging_s=CHARGING_S, parking_s=0.0),)

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("finished", seconds + CHARGING_S + 2 * ANSWER_S_MAX, "not done after the rush")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, 1)


SCENARIO = RushHour()
