"""A roaming peak: the customers of a partner, none of them ever seen here before, all charge in the same minutes.

It models a big event. Each charger has SESSIONS sessions one after the other, each with a token of its own, so that no verdict can
come from a cache; within --seconds all have begun. The tokens of one charger in ten are unknown. Until roaming exists the partner's
tokens are in the system's own registry; what is measured is the way to a verdict that no worker has yet, by way of the session pool
to Postgres.

What must hold:

- every Authorize and every start is answered, none later than 30 s; unknown tokens begin nothing;
- each session with a known token is one ended session and one charge detail record, both with the car's own energy.
"""

from msgspec.structs import replace

from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import until_stopped
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX, named

SESSIONS = 3
KNOWN = 0.9  # of the fleet


class RoamingPeak(Scenario):
    """See the module."""

    seconds = 20.0
    seconds_help = "in which the first sessions begin"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        first = replace(until_stopped(token), after_s=place * seconds, charging_s=2.0, parking_s=0.0)
        return tuple(
            replace(first, token=f"GUEST-{place:.6f}-{number}", after_s=0.5 if number else first.after_s) for number in range(SESSIONS)
        )

    def tokens(self, token: str, chargers: int) -> list[str]:
        return [
            plan.token for number in range(chargers) if number / chargers < KNOWN for plan in self.plans(token, number / chargers, 0)
        ]

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("finished", seconds + 2 * ANSWER_S_MAX, "not done after the peak")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        known = [charger for number, charger in enumerate(report.chargers) if number / len(report.chargers) < KNOWN]
        strangers = {charger.identity for charger in report.chargers[len(known) :]}
        reasons = billed(replace(report, chargers=tuple(known)), truth, SESSIONS)
        charged = {one.charger for one in (*truth.ended, *truth.active)} & strangers
        return [*reasons, named("charged with tokens that nobody knows", charged)] if charged else reasons


SCENARIO = RoamingPeak()
