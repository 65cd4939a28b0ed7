"""A power outage: a whole region's chargers lose the network in one moment and are all back in the next.

It models the end of a blackout, or a mobile operator's fault, with the worst firmware there is: all chargers are connected and booted;
all sockets are cut at once (reset, so the server learns it too); each charger connects again at once and boots. A failed attempt is
repeated after 0.1 s whatever happened, without any back-off, but a 503 with Retry-After is honoured.

What must hold:

- every charger is admitted and booted again within --seconds, and the system itself says so: connected, booted after the cut;
- none waits beyond its 30 s for an answer, be it to a handshake or to a CALL;
- no charger is left out, before the cut or after it.
"""

from cpms_actors.simulator.session import SessionPlan
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet, Scenario
from loadtests.verdict import named


class PowerOutage(Scenario):
    """See the module."""

    seconds = 60.0
    seconds_help = "in which all chargers must be in, and again after the cut"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return ()

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("admitted", seconds, "not in before the cut")
        fleet.cut()
        fleet.until("admitted", seconds, f"not back {seconds:g} s after the cut")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        if report.cut_at is None:
            return ["the sockets were never cut"]
        left_out = {charger.identity for charger in report.chargers if charger.back_s is None}
        return [named("left out after the cut", left_out)] if left_out else []


SCENARIO = PowerOutage()
