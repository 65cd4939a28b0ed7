"""A replay storm: after hours without a network all chargers come back at once, and tell all that happened meanwhile.

It models a failed mobile network. Each charger is in, then offline for four hours of its own time (a few seconds of ours: its clock
runs fast, and has begun so much earlier), in which its drivers charge SESSIONS times. Then it is back, boots and sends its queue,
StartTransaction to StopTransaction, with the moments at which they happened.

What must hold:

- every queued message is answered without an error, none later than 30 s after it was sent;
- each session is one ended session and one charge detail record, both with the car's own energy; nothing is doubled, nothing parked.
"""

import time

from msgspec.structs import replace

from cpms_actors.simulator.options import Options, Outage
from cpms_actors.simulator.session import SessionPlan
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import RUDE, Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX

SPEED = 1200.0  # seconds of a charger in one of ours
ONLINE_S = 3600.0  # of the charger's time, before the network fails
OFFLINE_S = 4 * 3600.0
SESSIONS = 3


class ReplayStorm(Scenario):
    """See the module."""

    seconds = 60.0
    seconds_help = "in which all that was queued must be told"
    past_s = ONLINE_S + OFFLINE_S + 60.0

    def options(self) -> Options:
        began_ms = round((time.time() - ONLINE_S - OFFLINE_S) * 1000)
        outages = (Outage(ONLINE_S, OFFLINE_S),)
        return replace(RUDE, speed=SPEED, starts_at_ms=began_ms, outages=outages)

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        first = SessionPlan(token, after_s=ONLINE_S + 600.0, charging_s=2400.0, parking_s=600.0, meter_interval_s=300.0)
        return (first, *(replace(first, after_s=600.0) for _ in range(SESSIONS - 1)))

    def run(self, fleet: Fleet, seconds: float) -> None:
        offline_s = (ONLINE_S + OFFLINE_S) / SPEED
        longest_s = offline_s + seconds + ANSWER_S_MAX
        fleet.until("finished", longest_s, f"not done {seconds:g} s after their return")

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, SESSIONS)


SCENARIO = ReplayStorm()
