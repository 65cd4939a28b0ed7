"""One charger in a storm: the simulator's pure charge point, driven over a `Wire` by one greenlet.

What the charge point decides is its own; here its outputs are carried out, its answers are timed, and it can be cut off. The code
blocks as if it had a thread: under gevent that is a greenlet.
"""

import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import SUBPROTOCOLS, Close, Connect, Output, Send
from loadtests.dialects import TABLE
from loadtests.report import ChargerReport, SessionReport, Sign
from loadtests.verdict import ANSWER_S_MAX
from loadtests.wire import Refused, Wire

LOOK_S_MAX: Final = 60.0  # between two turns when nothing is due
FAILURES_MAX: Final = 3  # told per charger
HEARTBEAT: Final = '[2,"deaf","Heartbeat",{}]'
SAYINGS_MAX: Final = 100  # that wait to be said

# (kind of request, its name, ms it took, bytes of the answer, what went wrong)
Record = Callable[[str, str, float, int, Exception | None], None]

_FRAME = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


class NoAnswer(Exception):
    """A CALL was not answered in time, or with a CALLERROR."""


class Server(Struct, frozen=True):
    """Where chargers dial: `path` is before the identity, `tls` for what is wss."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None


class Charger:
    """One of them. It dials from `source`, or from any address."""

    def __init__(self, point: ChargePoint, server: Server, source: str | None, password: str, token: str, record: Record) -> None:
        self.point = point
        self._server, self._source = server, source
        self._password, self._token, self._record = password, token, record
        self._wire: Wire | None = None
        self._admitted_at: float | None = None
        self._cut_at: float | None = None
        self._was_cut = False
        self._token_waits = False
        self._deaf = False
        self._sayings: deque[str] = deque(maxlen=SAYINGS_MAX)
        self._handshakes_late = 0
        self._asked: tuple[str, str, float] | None = None  # the CALL that is out: id, action, when

    def has(self, sign: Sign) -> bool:
        """See `report.Sign`. One that never had a session is done: it is judged, not waited for."""
        point = self.point
        if sign == "admitted":
            return self._admitted_at is not None and point.online
        if sign == "charging":
            return any(session.running and session.acknowledged for session in point.sessions.values())
        if sign == "done":
            return not point.sessions and not point.queue_length
        if sign == "finished":
            return point.finished
        if sign == "updated":
            return point.updated
        return not self._deaf

    def show_token(self) -> None:
        """See `scenario.Fleet`."""
        self._token_waits = True

    def stop_reading(self) -> None:
        """See `scenario.Fleet`."""
        self._deaf = True

    def say_rubbish(self, number: int) -> None:
        """See `scenario.Fleet`."""
        rubbish = TABLE[self.point.version].rubbish
        self._sayings.append(rubbish[number % len(rubbish)])

    def cut(self) -> None:
        """The network fails now, whatever the charger is doing."""
        self._cut_at, self._admitted_at, self._was_cut = time.monotonic(), None, True
        if self._wire is not None:
            self._wire.abort()

    def live(self) -> None:
        """Drive it for ever."""
        outputs = self.point.start(_now())
        while True:
            if any(isinstance(output, Connect) for output in outputs):
                outputs = self._connect()
            else:
                time.sleep(self._idle_s())
                outputs = self.point.tick(_now())

    def report(self) -> ChargerReport:
        """What it saw so far."""
        counts = self.point.counts
        running = [session.facts(self.point.identity, self.point.version) for session in self.point.sessions.values()]
        back_s = None if self._cut_at is None or self._admitted_at is None else self._admitted_at - self._cut_at
        return ChargerReport(
            identity=self.point.identity,
            admitted=self.has("admitted"),
            back_s=None if back_s is None else round(back_s, 3),
            timeouts=counts.timeouts + self._handshakes_late,
            errors=counts.errors,
            connections=counts.connections,
            version=self.point.version,
            failures=tuple(self.point.failures[:FAILURES_MAX]),
            sessions=tuple(
                SessionReport(facts.energy_wh, len(facts.register), facts.acknowledged, facts.outcome == "completed")
                for facts in (*self.point.facts, *running)
            ),
        )

    def _connect(self) -> list[Output]:
        """One connection, from the handshake to its end; returns what the charge point wants after it."""
        self._was_cut = False
        wire = self._wire = Wire()
        retry_after_s: float | None = None
        try:
            self._open(wire)
            reason = self._converse(wire)
        except Refused as refused:
            reason, retry_after_s = str(refused), refused.retry_after_s
        except OSError as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, ConnectionError):
                self._deaf = False  # cut off by the server, which is what was waited for
        finally:
            wire.abort()
        self._wire = self._asked = None
        if self._was_cut:
            retry_after_s = 0.0  # the power is back: no wait at all
        return self.point.disconnected(_now(), reason, retry_after_s)

    def _open(self, wire: Wire) -> None:
        began = time.monotonic()
        fault: Exception | None = None
        try:
            wire.open(
                self._server.host,
                self._server.port,
                f"{self._server.path}/{self.point.identity}",
                subprotocol=SUBPROTOCOLS[self.point.version],
                identity=self.point.identity,
                password=self._password,
                timeout_s=ANSWER_S_MAX,
                source=self._source,
                tls=self._server.tls,
            )
        except (Refused, OSError) as error:
            self._handshakes_late += isinstance(error, TimeoutError)
            fault = error
            raise
        finally:
            self._record("WS", "handshake", (time.monotonic() - began) * 1000, 0, fault)

    def _converse(self, wire: Wire) -> str:
        outputs = self.point.connected(_now())
        timeouts = self.point.counts.timeouts
        while True:
            if self.point.counts.timeouts > timeouts:
                timeouts = self.point.counts.timeouts
                self._answered(NoAnswer("no answer in time"))
            for output in outputs:
                if isinstance(output, Send):
                    self._time_call(output.text)
                    wire.send(output.text)
                elif isinstance(output, Close):
                    return output.reason
            while self._deaf:
                wire.send(HEARTBEAT)
                time.sleep(0)  # the other chargers of this process live on
            while self._sayings:
                wire.send(self._sayings.popleft())
            if self._token_waits:
                self._token_waits = False
                outputs = self.point.present_token(1, self._token, _now())
                continue
            text = wire.receive(self._idle_s())
            if text is None:
                outputs = self.point.tick(_now())
            else:
                self._time_answer(text)
                outputs = self.point.received(text, _now())
            if self._admitted_at is None and self.point.online:
                self._admitted_at = time.monotonic()

    def _time_call(self, text: str) -> None:
        frame = _FRAME.decode(text)
        if bytes(frame[0]) == b"2":
            self._asked = (_TEXT.decode(frame[1]), _TEXT.decode(frame[2]), time.monotonic())

    def _time_answer(self, text: str) -> None:
        try:
            frame = _FRAME.decode(text)
            kind, message_id = bytes(frame[0]), _TEXT.decode(frame[1])
        except (msgspec.DecodeError, IndexError):
            return  # no frame of OCPP: the charge point says so itself
        if kind in (b"3", b"4") and self._asked is not None and self._asked[0] == message_id:
            self._answered(NoAnswer(f"answered {text[:200]}") if kind == b"4" else None, len(text))

    def _answered(self, fault: Exception | None, length: int = 0) -> None:
        if self._asked is not None:
            _, action, began = self._asked
            self._asked = None
            self._record("OCPP", action, (time.monotonic() - began) * 1000, length, fault)

    def _idle_s(self) -> float:
        wakeup = self.point.next_wakeup
        return LOOK_S_MAX if wakeup is None else min(LOOK_S_MAX, max(0.0, (wakeup - _now()) / 1000))


def _now() -> int:
    """Real ms."""
    return int(time.time() * 1000)
