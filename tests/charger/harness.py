"""One charger on models of its ports: a journal that is durable when told, checkpoints in a dict, a clock that is set.

The models keep to the ports' terms (`charger.office`): `then` is called once; a port that has no room says False and never calls.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.base.settings import Charging
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.line import Line
from cpms_actors.charger.office import Office, Slot, Then
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import Event, Fact, IdToken
from cpms_actors.ocpp.dialect2 import dialect21, dialect201
from cpms_actors.ocpp.dialect16 import Dialect16

DIALECTS = {"1.6": Dialect16(), "2.0.1": dialect201(), "2.1": dialect21()}
NOW = 1_795_000_000_000


class ModelJournal:
    """Durable at once, unless `held`; then when `settle` is called."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.held = False
        self.full = False
        self._waiting: list[Then] = []

    def append(self, event: Event, then: Then | None = None) -> bool:
        if self.full:
            return False
        self.events.append(event)
        if then is not None:
            if self.held:
                self._waiting.append(then)
            else:
                then(True)
        return True

    def settle(self, durable: bool = True) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(durable)

    def facts(self, *kinds: type) -> list[Fact]:
        return [event.body for event in self.events if not kinds or isinstance(event.body, kinds)]


class ModelLive:
    def __init__(self) -> None:
        self.saved: dict[str, bytes] = {}
        self.durable = True

    def take(self, key: str) -> bytes | None:
        return self.saved.pop(key, None)

    def peek(self, key: str) -> bytes | None:
        return self.saved.get(key)

    def put(self, key: str, live: bytes) -> None:
        self.saved[key] = live

    def save(self, key: str, epoch: int, live: bytes, then: Then) -> bool:
        self.saved[key] = live
        then(self.durable)
        return True


class Wire:
    """The far end of one WebSocket: what the charger was sent."""

    def __init__(self, charger: Charger, version: str) -> None:
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.line = Line(charger, version, "test")
        self.line.on_open(self)

    def send(self, text: bytes) -> bool:
        if self.closed is not None:
            return False
        self.sent.append(json.loads(text))
        return True

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def hang_up(self, code: int = 1006) -> None:
        """The socket ends, as an engine reports it."""
        self.closed = self.closed or (code, "")
        self.line.on_closed(code, "")

    def say(self, *parts: Any) -> Any:
        """Send a frame; the last thing that came back since, or None."""
        before = len(self.sent)
        self.line.on_text(json.dumps(parts).encode())
        return self.sent[-1] if len(self.sent) > before else None

    def call(self, action: str, payload: Any, id_: str = "") -> Any:
        """Send a CALL with a new id; its answer, or None."""
        return self.say(2, id_ or f"c{len(self.sent)}-{action}", action, payload)


class Bench:
    """A worker's office with one charger."""

    def __init__(self, *, tenant: Tenant | None = None, record: ChargerRecord | None = None, **charging: Any) -> None:
        self.now = NOW
        self.journal = ModelJournal()
        self.live = ModelLive()
        self.boot_wait_s = 0.0
        self.verdict: Verdict | None = Verdict("Accepted")
        self.started: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]] = []
        self.tenant = tenant or Tenant("default")
        self.record = record or ChargerRecord("default", "CP1")
        self._charging = Charging(**charging)
        self.office = self._office()
        self.charger = self._charger()

    def _office(self) -> Office:
        office = Office(
            self._charging,
            live=self.live,
            tasks=self._task,
            ask_verdict=self._ask,
            clock=lambda: self.now,
            new_id=iter(f"ours{n}" for n in range(10_000)).__next__,
        )
        office.ids.add(1, 1000)
        return office

    def _charger(self) -> Charger:
        number = slot_of(self.record.tenant, self.record.identity)
        slot = Slot(number, lane_of(number), 1, self.journal)
        behaviour = Behaviour(DIALECTS, self.tenant, planted_bug=self._charging.planted_bug, boot_wait_s=lambda: self.boot_wait_s)
        return Charger(self.office, slot, self.record, behaviour)

    def _task(self, work: Callable[..., Awaitable[Any]], *args: Any) -> bool:
        self.started.append((work, args))
        return True

    async def _ask(self, tenant: str, charger: str, token: IdToken, lane: int) -> Verdict:
        if self.verdict is None:
            raise Unavailable("the pool is away")
        return self.verdict

    def run_tasks(self) -> None:
        """Do what waits in tasks. The model of the pool answers at once, so a coroutine runs to its end in one go."""
        started, self.started = self.started, []
        for work, args in started:
            coroutine = work(*args)
            try:
                coroutine.send(None)  # type: ignore[attr-defined]
            except StopIteration:
                continue
            raise AssertionError("the task waits for something that the model does not have")

    def connect(self, version: str = "1.6") -> Wire:
        return Wire(self.charger, version)

    def ask(self, wire: Wire, action: str, payload: Any, id_: str = "") -> Any:
        """A CALL whose turn asks the pool: its answer once the task has run."""
        before = len(wire.sent)
        wire.call(action, payload, id_)
        self.run_tasks()
        return wire.sent[-1] if len(wire.sent) > before else None

    def restart_worker(self) -> None:
        """The worker dies; another starts with what was checkpointed."""
        self.office = self._office()
        self.office.ids.add(5001, 6000)
        self.charger = self._charger()


def boot(version: str) -> dict[str, Any]:
    """A BootNotification of this version."""
    if version == "1.6":
        return {"chargePointVendor": "v", "chargePointModel": "m"}
    return {"reason": "PowerUp", "chargingStation": {"vendorName": "v", "model": "m"}}
