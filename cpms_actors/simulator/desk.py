"""Where commands of the server are carried out: the implementation of `Station`, in words that no version of OCPP owns.

What a command sets going waits in the outbox until the turn ends, so the answer to the command is always on the wire first.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.simulator.clock import StationClock
from cpms_actors.simulator.connectors import Connectors
from cpms_actors.simulator.firmware import Firmware
from cpms_actors.simulator.options import Options
from cpms_actors.simulator.outbox import Call, Outbox, Purpose
from cpms_actors.simulator.registration import Registration
from cpms_actors.simulator.session import Session, StopReason
from cpms_actors.simulator.words import ConfigureStatus, FirmwareWord, Request, Setting, Trigger, Words


class Present(Struct):
    """Now, for the length of one turn: `now` in real ms, `at` the same moment on the station's clock."""

    clock: StationClock = StationClock(0, 0)
    now: int = 0

    @property
    def at(self) -> int:
        """Station time."""
        return self.clock.at(self.now)


class Desk:
    """One charge point's commands. `settings` are its configuration; a reset is carried out by the charge point, see `reset_due`."""

    def __init__(
        self,
        options: Options,
        words: Words,
        present: Present,
        connectors: Connectors,
        outbox: Outbox,
        registration: Registration,
        firmware: Firmware,
    ) -> None:
        self._options, self._words, self._present = options, words, present
        self._connectors, self._outbox, self._registration, self._firmware = connectors, outbox, registration, firmware
        self._reset: Literal["now", "idle"] | None = None
        self._reset_by = 0
        self.settings: dict[str, Setting] = words.settings()

    @property
    def resetting(self) -> bool:
        """Whether a reset was promised and has not happened."""
        return self._reset is not None

    def reset_due(self, now: int) -> bool:
        """Whether to reboot now: nothing runs, and everything is told (or, at once, the time for telling is over)."""
        if self._reset is None or self._running():
            return False
        return self._outbox.idle or (self._reset == "now" and now >= self._reset_by)

    def next_due(self) -> int | None:
        """When a reset stops waiting for the queue to empty."""
        return self._reset_by if self._reset == "now" else None

    def reset_done(self) -> None:
        """The reboot happens."""
        self._reset = None

    def remote_start(self, token: str, kind: str, evse: int | None, remote_start_id: int | None) -> bool:
        if not self._registration.accepted or self.resetting:
            return False
        return self._connectors.remote_start(token, kind, evse, remote_start_id, self._present.at, self._options.remote_authorize)

    def remote_stop(self, transaction: str) -> bool:
        session = self._connectors.find(transaction)
        if session is None or not session.running:
            return False
        self._connectors.end(session, self._present.at, StopReason.REMOTE)
        return True

    def reset(self, immediate: bool) -> bool:
        running = self._running()
        self._reset = "now" if immediate else "idle"
        self._reset_by = self._present.now + round(self._options.call_timeout_s * 1000)
        for session in running if immediate else ():
            self._connectors.end(session, self._present.at, StopReason.SOFT_RESET)
        return immediate or not running

    def change_availability(self, evse: int, operative: bool) -> Literal["Accepted", "Scheduled", "Rejected"]:
        return self._connectors.change_availability(evse, operative, self._present.at)

    def trigger(self, what: Trigger, evse: int | None) -> bool:
        evses = [evse] if evse else list(self._connectors.evses)
        if any(one not in self._connectors.evses for one in evses):
            return False
        if what == "BootNotification":
            if self._registration.accepted and not self._words.boots_when_accepted:
                return False
            self._call(Purpose.BOOT, self._words.boot("Triggered", self._firmware.version))
        elif what == "Heartbeat":
            self._call(Purpose.HEARTBEAT, self._words.heartbeat())
        elif what == "StatusNotification":
            for one in evses:
                self._call(Purpose.STATUS, self._words.status(one, self._connectors.word(one), self._present.at), one)
        else:
            return self._trigger_readings(what, evses)
        return True

    def update_firmware(self, location: str, say: Callable[[FirmwareWord], Request]) -> bool:
        return self._firmware.begin(location, say, self._present.now)

    def unlock(self, evse: int) -> bool | None:
        if evse not in self._connectors.evses:
            return None
        session = self._connectors.sessions.get(evse)
        if session is not None and session.running:
            self._connectors.end(session, self._present.at, StopReason.UNLOCK)
        return True

    def is_occupied(self, evse: int) -> bool:
        session = self._connectors.sessions.get(evse)
        return session is not None and session.running

    def configure(self, name: str, value: str) -> ConfigureStatus:
        setting = self.settings.get(name)
        if setting is None:
            return "NotSupported"
        if setting.readonly or (setting.integer and not value.isdecimal()):
            return "Rejected"
        self.settings[name] = replace(setting, value=value)
        meaning = self._words.meaning(name)
        if meaning == "heartbeat" and int(value) > 0:
            self._registration.beat_every(int(value), self._present.now)
        elif meaning == "meter" and int(value) > 0:
            self._connectors.meter_interval_s = float(value)
        return "Accepted"

    def is_running(self, transaction: str) -> bool | None:
        session = self._connectors.find(transaction)
        return None if session is None else session.running

    def has_queued(self, transaction: str | None) -> bool:
        if transaction is None:
            return len(self._outbox.queue) > 0
        session = self._connectors.find(transaction)
        return session is not None and session.pending > 0

    def release(self) -> None:
        self._outbox.queue.release()

    def _running(self) -> list[Session]:
        return [session for session in self._connectors.sessions.values() if session.running]

    def _trigger_readings(self, what: Trigger, evses: list[int]) -> bool:
        told = False
        for evse in evses:
            session = self._connectors.sessions.get(evse)
            if session is not None and session.running and (what == "TransactionEvent" or self._words.meters_in_transactions):
                self._connectors.trigger(session, self._present.at)
                told = True
            elif what == "MeterValues":
                self._call(Purpose.METER, self._words.meter(evse, self._connectors.read(evse, self._present.at)))
                told = True
        return told

    def _call(self, purpose: Purpose, request: Request, evse: int | None = None) -> None:
        """Queue what the server asked for: it may be sent even before the boot is accepted."""
        self._outbox.call(Call(purpose, request, evse=evse, always=True))
