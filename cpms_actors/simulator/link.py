"""The network between a charge point and its server, as the charge point sees it: when to connect, and when it fails by plan.

    DOWN ──due──▶ CONNECTING ──▶ UP ──▶ CLOSING ──▶ DOWN          real ms throughout

The wait before a reconnection doubles, with a random part: WaitMinimum, RandomRange and RepeatTimes of OCPP 2.1 part 4 section
5.4. OCPP 1.6 defines none; the virtual charge point is as polite in every version.
"""

from enum import Enum
from random import Random

from cpms_actors.simulator.options import Options


class LinkState(Enum):
    """Where the connection is."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    CLOSING = "closing"


class Link:
    """The connection of one charge point. `gave_up`: it failed too often in a row and is not tried again."""

    def __init__(self, options: Options, random: Random) -> None:
        self._options, self._random = options, random
        self._outages: list[tuple[int, int]] = []
        self._attempts = 0
        self._connect_at: int | None = None
        self.state = LinkState.DOWN
        self.gave_up = False

    def power_on(self, now: int) -> None:
        """The first connection is due, and the planned outages count from here."""
        o = self._options
        begins = [now + round(outage.after_s * 1000 / o.speed) for outage in o.outages]
        self._outages = [(begin, begin + round(outage.for_s * 1000 / o.speed)) for begin, outage in zip(begins, o.outages, strict=True)]
        self._connect_at = now

    def opened(self) -> None:
        """The connection is up."""
        self.state, self._attempts = LinkState.UP, 0

    def lost(self, now: int, reboot: bool, retry_after_s: float | None) -> bool:
        """The connection is gone, or was refused. Returns whether that was the last attempt."""
        if self.state is LinkState.CONNECTING and self._attempts >= self._options.connect_attempts_max:
            self.gave_up = True
        self.state = LinkState.DOWN
        self._connect_at = None if self.gave_up else now + self._wait_ms(reboot, retry_after_s)
        return self.gave_up

    def is_cut(self, now: int) -> bool:
        """Whether a planned outage is on."""
        while self._outages and self._outages[0][1] <= now:
            self._outages.pop(0)
        return bool(self._outages) and self._outages[0][0] <= now

    def should_connect(self, now: int) -> bool:
        """Whether to connect now; then the link is CONNECTING."""
        if self.state is not LinkState.DOWN or self._connect_at is None or now < self._connect_at:
            return False
        if self.is_cut(now):
            self._connect_at = self._outages[0][1]
            return False
        self.state, self._connect_at = LinkState.CONNECTING, None
        self._attempts += 1
        return True

    def next_due(self) -> int | None:
        """When the link itself has something to do: connect, or fail by plan."""
        if self.state is LinkState.DOWN:
            return self._connect_at
        return self._outages[0][0] if self._outages and self.state is LinkState.UP else None

    def _wait_ms(self, reboot: bool, retry_after_s: float | None) -> int:
        o, chance_s = self._options, self._random.random() * self._options.reconnect_random_s
        if retry_after_s is not None:
            return round((retry_after_s + chance_s) * 1000)
        if reboot:
            return round(o.reboot_s * 1000)
        doublings = min(max(self._attempts - 1, 0), o.reconnect_doublings)
        return round((o.reconnect_min_s * float(2**doublings) + chance_s) * 1000)
