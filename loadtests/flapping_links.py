"""Flapping links: while cars charge, the connections of a few chargers fail, and of a few others a moment later, on and on.

It models a bad mobile cell. Every charger is in a transaction and sends MeterValues every second; every half second a random twentieth
of the fleet is cut off (reset) and connects again at once, with a BootNotification, and its transaction goes on.

What must hold:

- nobody is left out: after --seconds all are connected and booted;
- no answer is later than 30 s, and none is an error;
- each charger has one ended session and one charge detail record, both with the car's own energy, however often it was cut off.
"""

from random import Random

from loadtests.all_charging import AllCharging
from loadtests.scenario import Fleet
from loadtests.verdict import ANSWER_S_MAX

CUT_EVERY_S = 0.5
SHARE = 20  # one in so many is cut each time


class FlappingLinks(AllCharging):
    """See the module."""

    seconds = 20.0
    seconds_help = "how long the links flap"

    def trouble(self, fleet: Fleet, seconds: float) -> None:
        chance = Random(0)
        for _ in range(round(seconds / CUT_EVERY_S)):
            fleet.cut(chance.sample(fleet.chargers, max(1, len(fleet.chargers) // SHARE)))
            fleet.rest(CUT_EVERY_S)
        fleet.until("admitted", ANSWER_S_MAX, "not back 30 s after the links were sound again")


SCENARIO = FlappingLinks()
