"""A remote command storm: an operator starts every charger, and stops every charger, as fast as the system takes the calls.

It models an app after a price change, and an operator's script. A car stands at each charger; a remote start goes to all of
them, many at once; they charge for --seconds, with a reading every second; then a remote stop goes to all.

What must hold:

- every call is answered, and no charger refuses one;
- no answer to a charger is later than 30 s, and none is an error;
- each charger has one ended session and one charge detail record, both with the car's own energy.
"""

from msgspec.structs import replace

from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import until_stopped
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import Desk, Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX, named


class RemoteCommandStorm(Scenario):
    """See the module."""

    seconds = 10.0
    seconds_help = "how long the chargers charge"

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (replace(until_stopped(token), authorize_after_s=None),)  # nobody but the operator begins it

    def run(self, fleet: Fleet, seconds: float) -> None:
        fleet.until("charging", 3 * ANSWER_S_MAX, "were never started")
        fleet.until("done", seconds + 3 * ANSWER_S_MAX, "were never stopped")

    async def operate(self, desk: Desk, seconds: float) -> list[str]:
        if not await desk.until(desk.connected, 2 * ANSWER_S_MAX):
            return ["the chargers were not all connected when the operator began"]
        started = await desk.call_all(lambda dialect, charger: dialect.start(desk.token))
        reasons = [named("would not be started", started)] if started else []
        if not await desk.until(desk.charging, ANSWER_S_MAX):
            return [*reasons, "the chargers were not all charging when the operator would have stopped them"]
        await desk.rest(seconds)
        transactions = await desk.transactions()
        stopped = await desk.call_all(lambda dialect, charger: dialect.stop(transactions.get(charger, "-1")))
        return [*reasons, named("would not be stopped", stopped)] if stopped else reasons

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        return billed(report, truth, 1)


SCENARIO = RemoteCommandStorm()
