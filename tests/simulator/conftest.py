"""A charge point on a bench: a scripted CSMS answers it, time is a number, and every frame is kept.

The script is a dict of answers per action; a test replaces what it wants to see answered otherwise.
"""

import heapq
import json
from collections.abc import Callable
from typing import Any

import pytest

from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import Close, Connect, Output, Send

T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z
TIME = "2026-01-01T00:00:00Z"
SILENCE = object()
Answer = Any


class Frame:
    """One CALL of the charge point, when it was sent."""

    def __init__(self, at: int, text: str) -> None:
        self.at, self.text = at, text
        _, self.id, self.action, self.payload = json.loads(text)

    def __repr__(self) -> str:
        return f"{(self.at - T0) / 1000:.1f}s {self.action} {self.payload}"


class Bench:
    """Drives one charge point in virtual time. Latencies in ms."""

    def __init__(self, point: ChargePoint, latency_ms: int = 5) -> None:
        self.point, self.latency_ms = point, latency_ms
        self.now = T0
        self.calls: list[Frame] = []
        self.answers: list[list[Any]] = []
        self.closes: list[Close] = []
        self.connects: list[int] = []
        self.network = True
        self.transactions = 1000
        self._events: list[tuple[int, int, Callable[[], list[Output]]]] = []
        self._number = 0
        self.script: dict[str, Answer] = {
            "BootNotification": {"status": "Accepted", "currentTime": TIME, "interval": 300},
            "Heartbeat": {"currentTime": TIME},
            "StatusNotification": {},
            "Authorize": self._authorize,
            "StartTransaction": self._start,
            "StopTransaction": {},
            "MeterValues": {},
            "TransactionEvent": {},
            "FirmwareStatusNotification": {},
        }
        self._do(point.start(self.now))

    def _authorize(self, payload: dict[str, Any]) -> Answer:
        return {"idTagInfo": {"status": "Accepted"}} if "idTag" in payload else {"idTokenInfo": {"status": "Accepted"}}

    def _start(self, payload: dict[str, Any]) -> Answer:
        self.transactions += 1
        return {"transactionId": self.transactions, "idTagInfo": {"status": "Accepted"}}

    def run(self, until_s: float = 86_400.0, stop: Callable[[], bool] | None = None) -> None:
        """Let time pass until the charge point has finished, `stop` says so, or `until_s` after the beginning."""
        stop = stop or (lambda: self.point.finished)
        for _ in range(100_000):
            if stop():
                return
            moments = [m for m in (self._events[0][0] if self._events else None, self.point.next_wakeup) if m is not None]
            if not moments or min(moments) > T0 + until_s * 1000:
                self.now = max(self.now, T0 + round(until_s * 1000))
                return
            self.now = max(self.now, min(moments))
            if self._events and self._events[0][0] <= self.now:
                self._do(heapq.heappop(self._events)[2]())
            else:
                self._do(self.point.tick(self.now))
        raise AssertionError("the charge point does not come to rest")

    def to(self, seconds: float) -> None:
        """Let time pass until so many seconds after the beginning."""
        self.run(until_s=seconds, stop=lambda: False)

    def server_calls(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> Any:
        """A CALL of the CSMS, and what it is answered: the payload, or the error's code."""
        self._number += 1
        before = len(self.answers)
        self._do(self.point.received(json.dumps([2, message_id or f"csms-{self._number}", action, payload]), self.now))
        assert len(self.answers) == before + 1, "one CALL, one answer"
        return self.answers[-1][2]

    def do(self, outputs: list[Output]) -> None:
        """Carry out what a verb of the charge point returned."""
        self._do(outputs)

    def cut(self) -> None:
        """The connection fails, and frames under way are lost."""
        self._events.clear()
        self._do(self.point.disconnected(self.now, "cut"))

    def actions(self) -> list[str]:
        return [frame.action for frame in self.calls]

    def of(self, *actions: str) -> list[Frame]:
        return [frame for frame in self.calls if frame.action in actions]

    def _later(self, event: Callable[[], list[Output]]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + self.latency_ms, self._number, event))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Connect):
                self.connects.append(self.now)
                up = self.network
                self._later(lambda up=up: self.point.connected(self.now) if up else self.point.disconnected(self.now))  # type: ignore[misc]
            elif isinstance(output, Close):
                self.closes.append(output)
                self._events.clear()
                self._later(lambda: self.point.disconnected(self.now))
            else:
                self._sent(output)

    def _sent(self, send: Send) -> None:
        if json.loads(send.text)[0] != 2:
            self.answers.append(json.loads(send.text))
            return
        frame = Frame(self.now, send.text)
        self.calls.append(frame)
        answer = self.script[frame.action]
        if callable(answer):
            answer = answer(frame.payload)
        if answer is SILENCE:
            return
        wire = [4, frame.id, answer, "", {}] if isinstance(answer, str) else [3, frame.id, answer]
        self._later(lambda: self.point.received(json.dumps(wire), self.now))


@pytest.fixture
def bench() -> type[Bench]:
    return Bench


@pytest.fixture
def silence() -> object:
    """An answer in a script: none."""
    return SILENCE
