"""The boot and the heartbeat: whether the server has accepted the charge point, and when to speak up again.

BootNotification is sent after power on and after a reset, not for a mere reconnection (OCPP-J 1.6 section 5.4). While it is
Pending or Rejected nothing else is sent unprompted, and the next attempt waits for the interval the server named (1.6 section
4.2). Once Accepted, heartbeats follow; the first comes after a random part of the interval, so that a fleet does not beat as one.
"""

from random import Random
from typing import Literal

from cpms_actors.simulator.options import Options
from cpms_actors.simulator.words import BootAnswer, BootReason

RegistrationStatus = Literal["Accepted", "Pending", "Rejected"]
HEARTBEAT_S_DEFAULT = 300.0  # when the server leaves the interval to the charge point (interval 0)


class Registration:
    """All moments in real ms. `status` None: not answered since power on."""

    def __init__(self, options: Options, random: Random) -> None:
        self._options, self._random = options, random
        self._boot_at: int | None = 0
        self._heartbeat_at: int | None = None
        self._heartbeat_ms = 0
        self.status: RegistrationStatus | None = None
        self.reason: BootReason = "PowerUp"

    @property
    def accepted(self) -> bool:
        """Whether the charge point may speak freely."""
        return self.status == "Accepted"

    def reconnected(self, now: int) -> None:
        """The connection is back: heartbeats go on, the boot stays what it was."""
        if self.accepted:
            self._first_heartbeat(now)

    def power_cycle(self, reason: BootReason) -> None:
        """Everything begins anew with a BootNotification."""
        self.status, self._boot_at, self.reason = None, 0, reason

    def boot_again_at(self, moment: int) -> None:
        """A BootNotification came to nothing: the next is due at this moment."""
        self._boot_at = moment

    def boot_is_due(self, now: int) -> bool:
        """Whether to send BootNotification now; true once per due moment."""
        if self.accepted or self._boot_at is None or now < self._boot_at:
            return False
        self._boot_at = None
        return True

    def heartbeat_is_due(self, now: int) -> bool:
        """Whether to send a Heartbeat now; true once per due moment."""
        if not self.accepted or self._heartbeat_at is None or now < self._heartbeat_at:
            return False
        self._heartbeat_at = now + self._heartbeat_ms
        return True

    def answered(self, answer: BootAnswer, now: int) -> None:
        """BootNotification was answered."""
        self.status = answer.status
        if self.accepted:
            seconds = self._options.heartbeat_s or answer.interval or HEARTBEAT_S_DEFAULT
            self._heartbeat_ms = round(seconds * 1000)
            self._first_heartbeat(now)
        else:
            self._boot_at = now + round((answer.interval or self._options.boot_retry_s) * 1000)

    def beat_every(self, seconds: int, now: int) -> None:
        """The server changed the interval of heartbeats."""
        self._heartbeat_ms = seconds * 1000
        self._heartbeat_at = now + self._heartbeat_ms

    def next_due(self) -> int | None:
        """The next boot or heartbeat."""
        return self._heartbeat_at if self.accepted else self._boot_at

    def _first_heartbeat(self, now: int) -> None:
        self._heartbeat_at = now + round(self._random.random() * self._heartbeat_ms)
