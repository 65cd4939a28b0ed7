"""A meter flood: every charger is in a running transaction and sends MeterValues every second.

It models a fleet that was configured far too eagerly (MeterValueSampleInterval 1), all of it in the same rhythm, since all began
together. The flood lasts --seconds from the moment every charger has its transaction id; then every driver stops.

What must hold:

- every message about a transaction is answered, none of them with an error, none later than 30 s after it was sent;
- the chargers keep up: after the flood the last of their messages is answered within 30 s;
- each charger sent one MeterValues per second of the flood, but for the one that may be under way;
- after StopTransaction each charger has one ended session and one charge detail record, both with the car's own energy.
"""

from loadtests.all_charging import METER_INTERVAL_S, AllCharging
from loadtests.report import StormReport, Truth
from loadtests.scenario import Fleet
from loadtests.verdict import named


class MeterFlood(AllCharging):
    """See the module."""

    seconds = 20.0
    seconds_help = "how long the flood lasts"

    def trouble(self, fleet: Fleet, seconds: float) -> None:
        fleet.rest(seconds)

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        # Start and stop, and the readings in between; the flood's last second may be under way.
        least = 2 + int(report.seconds / METER_INTERVAL_S) - 1
        slow = {c.identity for c in report.chargers if any(s.told < least for s in c.sessions)}
        few = [named(f"sent fewer than {least} messages about their sessions", slow)] if slow else []
        return [*super().judge(report, truth), *few]


SCENARIO = MeterFlood()
