"""A meter flood: every charger is in a running transaction and sends MeterValues every second.

It models a fleet that was configured far too eagerly (MeterValueSampleInterval 1), all of it in the same rhythm, since all began
together. The flood lasts --seconds from the moment every charger has its transaction id; then every driver stops.

What must hold:

- every message about a transaction is answered, none of them with an error, none later than 30 s after it was sent;
- the chargers keep up: after the flood the last of their messages is answered within 30 s;
- each charger sent one MeterValues per second of the flood, but for the one that may be under way;
- after StopTransaction each charger has one ended session and one charge detail record, both with the car's own energy.
"""

from cpms_actors.simulator.curve import ChargeCurve
from cpms_actors.simulator.options import Options
from cpms_actors.simulator.session import SessionPlan
from loadtests.billing import billed, charging, done
from loadtests.report import StormReport, Truth
from loadtests.scenario import RUDE, Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX, named

METER_INTERVAL_S = 1.0
CAR = ChargeCurve(150_000.0, 77_000.0, 0.2)  # strong enough to move the register at each reading


class MeterFlood(Scenario):
    """See the module."""

    seconds = 20.0
    seconds_help = "how long the flood lasts"

    def options(self) -> Options:
        return RUDE

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        # No end by plan: the drivers stop when the flood is over.
        plan = SessionPlan(
            token,
            after_s=0.0,
            authorize_after_s=0.0,
            charging_s=None,
            parking_s=None,
            unplug_after_s=0.0,
            meter_interval_s=METER_INTERVAL_S,
            curve=CAR,
        )
        return (plan,)

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until(charging, ANSWER_S_MAX, "in no transaction when the flood should have begun")
        fleet.rest(seconds)
        for charger in fleet.chargers:
            charger.show_token()
        fleet.until(done, ANSWER_S_MAX, "not done 30 s after the flood")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        # Start and stop, and the readings in between; the flood's last second may be under way.
        least = 2 + int(report.seconds / METER_INTERVAL_S) - 1
        slow = {c.identity for c in report.chargers if any(s.told < least for s in c.sessions)}
        few = [named(f"sent fewer than {least} messages about their sessions", slow)] if slow else []
        return [*billed(report, truth, 1), *few]


SCENARIO = MeterFlood()
