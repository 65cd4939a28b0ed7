"""Slow readers: one charger in twenty stops reading its socket, and asks on and on.

It models a hung modem, and somebody who wants to fill the server's memory. All chargers are in a transaction and send MeterValues
every second; those that do not read, at least one, send Heartbeats as fast as the server takes them, over a socket with a small
receive buffer. The server stops reading them, and cuts them off when they have not read within its pong deadline; then they are good
again.

What must hold:

- each that does not read is cut off within --seconds, and admitted when it comes again;
- to their own messages all chargers get their answers, none of them an error, none later than 30 s;
- each charger has one ended session and one charge detail record, both with the car's own energy.
"""

from loadtests.all_charging import AllCharging
from loadtests.scenario import Fleet
from loadtests.verdict import ANSWER_S_MAX

ONE_IN = 20


class SlowReaders(AllCharging):
    """See the module."""

    seconds = 60.0
    seconds_help = "in which whoever does not read must be cut off"

    def trouble(self, fleet: Fleet, seconds: float) -> None:
        fleet.stop_reading(fleet.chargers[::ONE_IN])
        fleet.until("reading", seconds, "read nothing and were never cut off")
        fleet.until("admitted", ANSWER_S_MAX, "not back 30 s after they were cut off")


SCENARIO = SlowReaders()
