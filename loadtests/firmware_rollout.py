"""A firmware rollout: the fleet restarts wave by wave, while the others charge.

It models an update in the maintenance window. Half of the chargers are in a transaction and send MeterValues every second; the others
restart in WAVES waves, spread evenly over --seconds: each wave's sockets fail in one moment, and it connects and boots again.

What must hold:

- every charger is admitted again;
- no answer is later than 30 s, and none is an error;
- each charger that was charging has one ended session and one charge detail record, both with the car's own energy.
"""

from msgspec.structs import replace

from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import until_stopped
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX, named

WAVES = 5


class FirmwareRollout(Scenario):
    """See the module."""

    seconds = 15.0
    seconds_help = "over which the waves are spread"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (until_stopped(token),) if place < 0.5 else ()

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("admitted", ANSWER_S_MAX, "not in before the rollout")
        half = (len(fleet.chargers) + 1) // 2
        charges, restarts = fleet.chargers[:half], fleet.chargers[half:]
        fleet.until("charging", ANSWER_S_MAX, "in no transaction before the rollout", charges)
        for wave in range(WAVES):
            fleet.cut(restarts[wave::WAVES])
            fleet.rest(seconds / WAVES)
        fleet.until("admitted", ANSWER_S_MAX, "not back 30 s after the last wave")
        fleet.show_token(charges)
        fleet.until("done", ANSWER_S_MAX, "not done 30 s after the last wave")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        half = (len(report.chargers) + 1) // 2
        left_out = {charger.identity for charger in report.chargers[half:] if charger.back_s is None}
        reasons = [named("left out after their restart", left_out)] if left_out else []
        return [*reasons, *billed(replace(report, chargers=report.chargers[:half]), truth, 1)]


SCENARIO = FirmwareRollout()
