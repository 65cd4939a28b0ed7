"""What storms share in which every charger is in a transaction and sends MeterValues every second, until its driver stops."""

from abc import abstractmethod
from typing import Final

from cpms_actors.simulator.curve import ChargeCurve
from cpms_actors.simulator.session import SessionPlan
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX

METER_INTERVAL_S: Final = 1.0
CAR: Final = ChargeCurve(150_000.0, 77_000.0, 0.2)  # strong enough to move the register at each reading


def until_stopped(token: str) -> SessionPlan:
    """A driver who begins at once, and ends nothing by plan."""
    return SessionPlan(
        token,
        after_s=0.0,
        authorize_after_s=0.0,
        charging_s=None,
        parking_s=None,
        unplug_after_s=0.0,
        meter_interval_s=METER_INTERVAL_S,
        curve=CAR,
    )


class AllCharging(Scenario):
    """Everybody charges, then comes the trouble, then everybody stops; each has one session and one bill, with the car's energy."""

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (until_stopped(token),)

    @abstractmethod
    def trouble(self, fleet: Fleet, seconds: float) -> None:
        """What is done to them meanwhile."""

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("charging", ANSWER_S_MAX, "in no transaction when the trouble should have begun")
        self.trouble(fleet, seconds)
        fleet.show_token()
        fleet.until("done", ANSWER_S_MAX, "not done 30 s after the end of the trouble")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, 1)
