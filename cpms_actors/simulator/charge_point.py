"""A virtual charge point: a pure machine that any event loop can drive.

    connected · received · disconnected · tick  ──▶  ChargePoint  ──▶  [Connect | Send | Close, …]   and `next_wakeup`

No I/O, no clock, no chance of its own: the shell tells what happened and when (`now`, real ms), does what the outputs say, and
calls `tick` at `next_wakeup` at the latest. The same machine runs under trio, asyncio and gevent, and in tests without any loop.

Inside, three parts share the work: `Connectors` (cars, drivers, meters, in station time), `Outbox` (what to say, one CALL at a
time, the offline queue), and this file: the link, the boot, and the answers. What a version of OCPP says is in `Words`.

A connection that comes back needs no BootNotification (OCPP-J 1.6 section 5.4); a power cycle and a reset do.
"""

from collections.abc import Callable, Sequence
from random import Random

import msgspec
from msgspec import Raw, Struct

from cpms_actors.ocpp.catalogue import actions
from cpms_actors.simulator.answers import Answers
from cpms_actors.simulator.clock import StationClock
from cpms_actors.simulator.connectors import Connectors
from cpms_actors.simulator.desk import Desk, Present
from cpms_actors.simulator.firmware import Firmware
from cpms_actors.simulator.link import Link, LinkState
from cpms_actors.simulator.options import SUBPROTOCOLS, Close, Connect, Options, Output, Send, Version
from cpms_actors.simulator.outbox import Call, Outbox, Purpose
from cpms_actors.simulator.queue import Kind, TransactionMessage
from cpms_actors.simulator.registration import Registration, RegistrationStatus
from cpms_actors.simulator.session import Sample, Session, SessionFacts, SessionPlan
from cpms_actors.simulator.v2 import Words2
from cpms_actors.simulator.v16 import Words16
from cpms_actors.simulator.words import REBOOTS, Setting, Words

FAILURES_MAX = 100
REMOTE_PLAN = SessionPlan("", charging_s=None, parking_s=None, authorize_after_s=None)
_FRAME = msgspec.json.Decoder(list[Raw])
_TEXT = msgspec.json.Decoder(str)
_ENCODE = msgspec.json.Encoder().encode


class Counts(Struct):
    """What a charge point saw. `stray` are answers to nothing; `failures_unkept` are those beyond the list's bound."""

    connections: int = 0
    connections_failed: int = 0
    sent: int = 0
    received: int = 0
    commands: int = 0
    errors: int = 0
    timeouts: int = 0
    stray: int = 0
    failures_unkept: int = 0


class ChargePoint:
    """One charge point and its drivers. `facts` grows by one per finished session; a shell that runs for days may empty it.

    `on_acknowledged` is called with each transaction message that the server has answered, when its session knows the answer.
    """

    def __init__(
        self,
        identity: str,
        version: Version,
        plans: Sequence[SessionPlan] = (),
        options: Options = Options(),  # noqa: B008 a frozen struct
        random: Random | None = None,
        remote_plan: SessionPlan = REMOTE_PLAN,
        on_acknowledged: Callable[[TransactionMessage], None] = lambda _: None,
    ) -> None:
        self.identity, self.version, self.options = identity, version, options
        self.words: Words = Words16(identity, options) if version == "1.6" else Words2(version, identity, options)
        self.facts: list[SessionFacts] = []
        self.failures: list[str] = []
        self.counts = Counts()
        self.next_wakeup: int | None = None
        chance = random or Random(identity)
        self._present = Present()
        self._prefix = ""
        self._link = Link(options, chance)
        self._registration = Registration(options, chance)
        self._outbox = Outbox(options, self.words)
        self._connectors = Connectors(self, options.evses, plans, remote_plan, options.keep_register, chance.randrange(5_000_000))
        self._firmware = Firmware(options, self._outbox)
        parts = (options, self.words, self._present, self._connectors, self._outbox, self._registration, self._firmware)
        self._desk = Desk(*parts)
        self._answers = Answers(*parts, self._accepted, on_acknowledged, self._fail)
        self._opened = False
        self._reported: dict[int, str] = {}
        self._outputs: list[Output] = []

    # -- what the shell calls ---------------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Output]:
        """Power on. `now` also makes message and transaction ids unique across runs."""
        o = self.options
        starts_at = now if o.starts_at_ms is None else o.starts_at_ms
        self._present.clock = StationClock(now, starts_at, o.speed, round(o.skew_s * 1000))
        self._prefix = self._outbox.prefix = f"{now:x}"
        self._link.power_on(now)
        return self._turn(now)

    def connected(self, now: int) -> list[Output]:
        """The WebSocket is open, with the subprotocol that was asked for."""
        self._arrive(now)
        self._link.opened()
        self.counts.connections += 1
        if self.options.quirks.boots_on_reconnect:
            self._registration.power_cycle("PowerUp")
        self._registration.reconnected(now)
        self._report_all()
        return self._turn(now)

    def disconnected(self, now: int, reason: str = "", retry_after_s: float | None = None) -> list[Output]:
        """The connection is gone, or could not be made; `retry_after_s` is what an HTTP 503 asked for."""
        self._arrive(now)
        if self._link.state is LinkState.CONNECTING:
            self.counts.connections_failed += 1
        reboot = self._registration.status is None and self._registration.reason in REBOOTS
        if self._link.lost(now, reboot, retry_after_s):
            self._fail(f"gave up connecting: {reason}")
        for call in self._outbox.connection_lost():
            self._answers.abandoned(call)
            if call.evse is not None:
                self._reported.pop(call.evse, None)  # a status that may not have arrived
        return self._turn(now)

    def received(self, text: str | bytes, now: int) -> list[Output]:
        """A text message arrived."""
        if self._link.state is LinkState.UP:
            self._arrive(now)
            self.counts.received += 1
            self._frame(text)
        return self._turn(now)

    def tick(self, now: int) -> list[Output]:
        """Time has passed; harmless when nothing is due."""
        return self._turn(now)

    @property
    def clock(self) -> StationClock:
        """The station's own clock."""
        return self._present.clock

    @property
    def online(self) -> bool:
        """Whether the link is up and the boot accepted."""
        return self._link.state is LinkState.UP and self._registration.accepted

    @property
    def registration(self) -> RegistrationStatus | None:
        """What the last BootNotification was answered."""
        return self._registration.status

    @property
    def sessions(self) -> dict[int, Session]:
        """The sessions at the connectors now, by number of the connector."""
        return self._connectors.sessions

    @property
    def settings(self) -> dict[str, Setting]:
        """The configuration, by key (1.6) or Component.Variable (2.x)."""
        return self._desk.settings

    @property
    def queue_length(self) -> int:
        """Transaction messages that are not yet acknowledged."""
        return len(self._outbox.queue)

    @property
    def finished(self) -> bool:
        """Whether every plan was carried out and told, or the charge point gave up."""
        idle = self._outbox.idle and not self._desk.resetting and not self._firmware.updating
        return (self._opened and self._connectors.finished and idle) or self._link.gave_up

    @property
    def updated(self) -> bool:
        """Whether another firmware was installed, and the server told."""
        return self._firmware.installed > 0 and not self._firmware.updating

    # -- what a driver does, beside the plans -----------------------------------------------------------------------------------

    def plug_in(self, plan: SessionPlan, now: int) -> list[Output]:
        """A car is plugged in at a free connector (ValueError when it is not free); the plan says what follows."""
        self._arrive(now)
        self._connectors.plug_in(plan, self._present.at)
        return self._turn(now)

    def present_token(self, evse: int, token: str, now: int) -> list[Output]:
        """A token is shown at a connector: begins, or stops what it began."""
        self._arrive(now)
        if evse in self.sessions:
            self._connectors.present(self.sessions[evse], token, self._present.at)
        return self._turn(now)

    def unplug(self, evse: int, now: int) -> list[Output]:
        """The cable is pulled."""
        self._arrive(now)
        if evse in self.sessions:
            self._connectors.unplug(self.sessions[evse], self._present.at)
        return self._turn(now)

    def dismiss_drivers(self) -> None:
        """No further plan is carried out: when the sessions at the connectors are over and told, the charge point has finished."""
        self._connectors.dismiss()

    # -- what the connectors report (Reporter) ----------------------------------------------------------------------------------

    def status(self, evse: int, at: int) -> None:
        word = self._connectors.word(evse)
        if self.online and self._reported.get(evse) != self.words.coarse(word):
            self._reported[evse] = self.words.coarse(word)
            self._outbox.call(Call(Purpose.STATUS, self.words.status(evse, word, at), evse=evse))
        if evse and self.words.status_of_charger and self._connectors.word(0) != self._reported.get(0, "Available"):
            self.status(0, at)

    def authorize(self, session: Session, at: int) -> None:
        if self.online:
            request = self.words.authorize(session.token, session.plan.token_kind)
            self._outbox.call(Call(Purpose.AUTHORIZE, request, session))
        else:
            self._answers.authorize_offline(session, at)

    def transaction(self, kind: Kind, session: Session, sample: Sample, trigger: str, charging_state: str) -> None:
        offline = self._link.state is not LinkState.UP
        message = TransactionMessage(kind, session, sample, session.seq, offline, trigger, charging_state)
        if session.seq in self.options.quirks.holds_back:
            self._outbox.queue.hold(message)
        else:
            self._outbox.queue.add(message)
        session.seq += 1

    def name_transaction(self, session: Session) -> str | None:
        return f"{self._prefix}-{session.plan.evse}-{session.number}" if self.words.names_transactions else None

    # -- one turn ---------------------------------------------------------------------------------------------------------------

    def _arrive(self, now: int) -> None:
        """What fell due at the connectors before `now` happens before what happens now."""
        self._present.now = now
        if self._opened:
            self._connectors.advance(self._present.at)

    def _turn(self, now: int) -> list[Output]:
        self._arrive(now)
        self._tend_link(now)
        if self._link.state is LinkState.UP:
            self._tend_calls(now)
            while (text := self._outbox.next(now, self._registration.accepted)) is not None:
                self.counts.sent += 1
                self._outputs.append(Send(text))
        for session in self._connectors.settle():
            self.facts.append(session.facts(self.identity, self.version))
        self.next_wakeup = self._wakeup()
        outputs, self._outputs = self._outputs, []
        return outputs

    def _tend_link(self, now: int) -> None:
        if self._link.state is LinkState.UP:
            if self._link.is_cut(now):
                self._close(Close(reason="the network fails", abort=True))
            elif self._desk.reset_due(now):
                self._desk.reset_done()
                self._registration.power_cycle("FirmwareUpdate" if self._firmware.rebooted() else "RemoteReset")
                self._reported.clear()
                self._close(Close(reason="reboot"))
        elif self._link.should_connect(now):
            self._outputs.append(Connect(SUBPROTOCOLS[self.version]))

    def _close(self, output: Close) -> None:
        self._link.state = LinkState.CLOSING
        self._outputs.append(output)

    def _tend_calls(self, now: int) -> None:
        late = self._outbox.expired(now)
        if late is not None:
            self.counts.timeouts += 1
            self._answers.failed(late, "no answer in time")
        if self._firmware.downloaded(now):
            self._desk.reset(False)
        if self._registration.boot_is_due(now):
            self._outbox.call(Call(Purpose.BOOT, self.words.boot(self._registration.reason, self._firmware.version), always=True))
        elif self._registration.heartbeat_is_due(now):
            self._outbox.call(Call(Purpose.HEARTBEAT, self.words.heartbeat()))

    def _wakeup(self) -> int | None:
        due = self._link.next_due()
        if self._link.state is LinkState.UP:
            due = _earlier(due, self._outbox.next_due(self._registration.accepted))
            due = _earlier(due, self._registration.next_due())
            due = _earlier(due, self._desk.next_due())
            due = _earlier(due, self._firmware.next_due())
        planned = self._connectors.next_due() if self._opened else None
        return due if planned is None else _earlier(due, self.clock.real(planned))

    # -- frames -----------------------------------------------------------------------------------------------------------------

    def _frame(self, text: str | bytes) -> None:
        try:
            frame = _FRAME.decode(text)
            kind, message_id, third = bytes(frame[0]), _TEXT.decode(frame[1]), frame[2]
            word = "" if kind == b"3" else _TEXT.decode(third)  # an action, or the code of an error
            payload = frame[3] if kind == b"2" else third
        except (msgspec.DecodeError, IndexError) as error:
            return self._fail(f"unreadable frame {text[:200]!r}: {error}")
        if kind == b"2":
            self._command(message_id, word, payload)
        elif kind == b"3":
            self._answer(message_id, payload, None)
        elif kind == b"4":
            self._answer(message_id, payload, word)
        elif kind == b"5":  # 2.1 CALLRESULTERROR: an answer of ours was not understood
            self.counts.errors += 1
            self._fail(f"our answer {message_id} was refused: {word}")
        return None

    def _command(self, message_id: str, action: str, payload: Raw) -> None:
        self.counts.commands += 1
        known = self.words.commands.get(action)
        if known is None:
            code = "NotSupported" if action in actions(self.version) else "NotImplemented"
            return self._send([4, message_id, code, f"{action[:50]} is beyond a virtual charge point", {}])
        try:
            request = known.decode(payload)
        except msgspec.DecodeError as error:
            return self._send([4, message_id, self.words.format_violation, str(error)[:255], {}])
        # The answer is decided now and sent before anything the command sets going: those wait in the outbox for the turn.
        return self._send([3, message_id, known.handle(self._desk, request)])

    def _send(self, frame: list[object]) -> None:
        self.counts.sent += 1
        self._outputs.append(Send(_ENCODE(frame).decode()))

    def _answer(self, message_id: str, payload: Raw, error: str | None) -> None:
        call = self._outbox.outstanding
        if call is not None and call.message_id == message_id and self._answers.is_unheard(call):
            return
        call = self._outbox.take(message_id)
        if call is None:
            self.counts.stray += 1
            return
        if error is not None:
            self.counts.errors += 1
            self._answers.failed(call, f"answered {error}")
            return
        try:
            self._answers.answered(call, payload)
        except msgspec.DecodeError as fault:
            self._answers.failed(call, f"unreadable answer {bytes(payload)[:200]!r}: {fault}")

    def _accepted(self) -> None:
        """A boot was accepted: tell every state, and the first time let the drivers come."""
        self._reported.clear()
        self._report_all()
        self._firmware.accepted()
        if not self._opened:
            self._opened = True
            self._connectors.open(self._present.at)

    def _report_all(self) -> None:
        for evse in ([0] if self.words.status_of_charger else []) + list(self._connectors.evses):
            self.status(evse, self._present.at)

    def _fail(self, text: str) -> None:
        if len(self.failures) < FAILURES_MAX:
            self.failures.append(f"{self.identity}: {text}")
        else:
            self.counts.failures_unkept += 1


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or (other is not None and other < one):
        return other
    return one
