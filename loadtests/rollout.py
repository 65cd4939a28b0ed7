"""A rollout: new code comes while everybody charges, and nobody is disconnected.

All chargers are in a transaction and send MeterValues every second. Meanwhile an operator has every worker of the machine replaced by a
new process (`cpms rollout`), again and again for --seconds.

What must hold:

- at least one rollout is finished, and none fails;
- no charger sees its connection end: each has connected once;
- to their own messages all chargers get their answers, none of them an error, none later than 30 s;
- each charger has one ended session and one charge detail record, both with the car's own energy.
"""

import time

from loadtests.all_charging import AllCharging
from loadtests.report import StormReport, Truth
from loadtests.scenario import Desk, Fleet
from loadtests.verdict import ANSWER_S_MAX, named

ROLLOUT_S = 5.0  # of one, about


class Rollout(AllCharging):
    """See the module."""

    seconds = 20.0
    seconds_help = "how long rollouts are begun; the last is waited for"

    def trouble(self, fleet: Fleet, seconds: float) -> None:
        # Until the operator is done, and what was said meanwhile is answered.
        fleet.rest(seconds + ROLLOUT_S)

    async def operate(self, desk: Desk, seconds: float) -> list[str]:
        if not await desk.until(desk.charging, ANSWER_S_MAX):
            return ["not everybody was charging, so nothing was rolled out"]
        until = time.monotonic() + seconds
        while True:
            await desk.rollout()
            if time.monotonic() > until:
                return []

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        again = {charger.identity for charger in report.chargers if charger.connections > 1}
        return [*super().judge(report, truth), *([named("disconnected", again)] if again else [])]


SCENARIO = Rollout()
