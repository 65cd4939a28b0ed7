"""A rush hour: drivers come home, and within --seconds every charger begins a session: a few at first, then the crowd, then the last.

It models the evening, and wall boxes that sleep until a car is there: each driver plugs in, the charger connects and boots, the driver
shows the token, charges for a few seconds that stand for hours, and stops. SHAPE is the load's: of --seconds the first 30 % bring a
tenth of the fleet, the next 40 % four fifths, and the last 30 % the rest.

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
from loadtests.shape import Stage
from loadtests.verdict import ANSWER_S_MAX

CHARGING_S = 5.0
SHAPE = (Stage(0.3, 0.1), Stage(0.7, 0.9), Stage(1.0, 1.0))  # in parts of --seconds


class RushHour(Scenario):
    """See the module."""

    seconds = 20.0
    seconds_help = "in which all sessions begin"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (replace(until_stopped(token), charging_s=CHARGING_S, parking_s=0.0),)

    def shape(self, seconds: float) -> tuple[Stage, ...]:
        return tuple(Stage(stage.at_s * seconds, stage.share) for stage in SHAPE)

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("finished", seconds + CHARGING_S + 2 * ANSWER_S_MAX, "not done after the rush")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, 1)


SCENARIO = RushHour()
