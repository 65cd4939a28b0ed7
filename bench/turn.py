"""What does one turn of a charger's actor cost, without sockets and NATS?

A text message goes in at the line and its answer comes out: frame and payload decoded, the decision, the domain event made, the answer
encoded. The journal is a list that is durable at once: pages, their encoding and the broker are not in these figures, nor is the
WebSocket. What `gateway` finds beyond them is the price of those. Chargers take turns, as they do there: one alone would find all that
it needs in the processor's caches.

µs per message by version of OCPP, the median of repetitions: Heartbeat; MeterValues, which in 1.6 belong to a transaction and wait for
the journal and in 2.x do not; and TransactionEvent (Updated) of 2.x, which does.
"""

from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter, time
from typing import Any, Final

from bench.question import Options, Outcome
from bench.words import call, meter_values
from cpms_actors.base.settings import Charging
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.line import Line
from cpms_actors.charger.office import Office, Slot, Then
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import Event, IdToken
from cpms_actors.ocpp.dialect2 import dialect21, dialect201
from cpms_actors.ocpp.dialect16 import Dialect16

SECONDS: Final = 0.5  # per figure
CHARGERS: Final = 400
MESSAGES: Final = 2000  # per repetition
REPETITIONS_MIN: Final = 3

_AT: Final = "2026-01-01T00:00:00Z"
_BOOTS: Final = {
    "1.6": {"chargePointVendor": "Bench", "chargePointModel": "Turn"},
    "2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Bench", "model": "Turn"}},
    "2.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Bench", "model": "Turn"}},
}
_METER_VALUE: Final = {
    "timestamp": _AT,
    "sampledValue": [
        {
            "value": 1234567.25,
            "context": "Sample.Periodic",
            "measurand": "Energy.Active.Import.Register",
            "unitOfMeasure": {"unit": "Wh"},
        },
        {"value": 16.0, "measurand": "Current.Import", "phase": "L1-N", "unitOfMeasure": {"unit": "A"}},
        {"value": 230.125, "measurand": "Voltage", "phase": "L1-N", "unitOfMeasure": {"unit": "V"}},
    ],
}
_EVENT: Final = {
    "eventType": "Updated",
    "timestamp": _AT,
    "triggerReason": "MeterValuePeriodic",
    "seqNo": 7,
    "transactionInfo": {"transactionId": "bench-1", "chargingState": "Charging"},
    "evse": {"id": 1, "connectorId": 1},
    "meterValue": [_METER_VALUE],
}
_BODIES_2: Final = {
    "heartbeat": call("Heartbeat", {}),
    "meter_values": call("MeterValues", {"evseId": 1, "meterValue": [_METER_VALUE]}),
    "transaction_event": call("TransactionEvent", _EVENT),
}
BODIES: Final = {
    "1.6": {"heartbeat": call("Heartbeat", {}), "meter_values": meter_values(1234)},
    "2.0.1": _BODIES_2,
    "2.1": _BODIES_2,
}


class _Ports:
    """Journal, checkpoints, tasks and socket in one: everything is done at once and little is kept."""

    def __init__(self) -> None:
        self.events = 0
        self.answer = b""

    def append(self, event: Event, then: Then | None = None) -> bool:
        self.events += 1
        if then is not None:
            then(True)
        return True

    def take(self, key: str) -> bytes | None:
        return None

    def peek(self, key: str) -> bytes | None:
        return None

    def put(self, key: str, live: bytes) -> None:
        raise AssertionError("a charger left")

    def save(self, key: str, epoch: int, live: bytes, then: Then) -> bool:
        then(True)
        return True

    def start(self, work: Callable[..., Awaitable[Any]], *args: Any) -> bool:
        return False

    async def verdict(self, tenant: str, charger: str, token: IdToken, lane: int) -> Verdict:
        raise AssertionError("no message here carries a token")

    def send(self, text: bytes) -> bool:
        self.answer = text
        return True

    def close(self, code: int, reason: str = "") -> None:
        raise AssertionError(f"closed with {code}: {reason}")


def run(options: Options) -> Outcome:
    """Measure every version."""
    options = options.or_else(seconds=SECONDS, connections=CHARGERS)
    figures: dict[str, dict[str, float]] = {}
    for version, bodies in BODIES.items():
        options.say(f"OCPP {version}")
        figures[version] = {
            f"{name}_us": _turn_us(version, body, options.seconds, options.connections) for name, body in bodies.items()
        }
    return Outcome(figures, _text(figures))


def _turn_us(version: str, body: bytes, seconds: float, chargers: int) -> float:
    ports = _Ports()
    hears = [line.on_text for line in _lines(version, ports, chargers)]
    repetitions: list[float] = []
    number = 0
    while len(repetitions) < REPETITIONS_MIN or sum(repetitions) * MESSAGES < seconds * 1e6:
        turns = [(hears[i % chargers], b'[2,"%d"' % (number + i) + body) for i in range(MESSAGES)]
        number += MESSAGES
        began = perf_counter()
        for hear, message in turns:
            hear(message)
        repetitions.append((perf_counter() - began) / MESSAGES * 1e6)
        if not ports.answer.startswith(b'[3,"%d",' % (number - 1)):
            raise AssertionError(f"message {number - 1} was answered {ports.answer!r}")
    return median(repetitions)


def _lines(version: str, ports: _Ports, count: int) -> list[Line]:
    """The open lines of so many booted chargers."""
    tenant = Tenant("default")
    office = Office(
        Charging(), live=ports, tasks=ports.start, ask_verdict=ports.verdict, clock=lambda: int(time() * 1000), new_id=lambda: "unused"
    )
    behaviour = Behaviour({"1.6": Dialect16(), "2.0.1": dialect201(), "2.1": dialect21()}, tenant)
    slot = Slot(1, 1, 1, ports)
    lines = []
    for number in range(count):
        line = Line(Charger(office, slot, ChargerRecord("default", f"CP{number}"), behaviour), version, "bench")
        line.on_open(ports)
        line.on_text(b'[2,"boot"' + call("BootNotification", _BOOTS[version]))
        assert b'"Accepted"' in ports.answer, ports.answer
        lines.append(line)
    return lines


def _text(figures: dict[str, dict[str, float]]) -> str:
    names = list(_BODIES_2)
    lines = [f"| µs per turn | {' | '.join(name.replace('_', ' ') for name in names)} |", f"|---|{'--:|' * len(names)}"]
    for version, found in figures.items():
        cells = (f"{found[f'{name}_us']:.1f}" if f"{name}_us" in found else "" for name in names)
        lines.append(f"| OCPP {version} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
