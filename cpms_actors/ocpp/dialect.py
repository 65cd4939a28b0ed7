"""What a dialect is: the words of one OCPP version translated to and from the words of the domain.

The rules of charging are written once (`domain/`, `charger/`); a dialect only says which action is which kind of message, what a
request means as a fact of the journal, and how an answer is spelled. Everything here is pure; `now` is an argument.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from cpms_actors.base.time import parse_rfc3339
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import (
    Booted,
    IdToken,
    Metered,
    Sample,
    StatusChanged,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.ocpp.catalogue import Action, Decode


class Kind(StrEnum):  # of strings, because they hash as such: a plain Enum hashes in Python
    """What a charger's message is about, whatever its version calls it."""

    BOOT = "boot"
    HEARTBEAT = "heartbeat"
    AUTHORIZE = "authorize"
    START = "start"  # 1.6 StartTransaction
    STOP = "stop"  # 1.6 StopTransaction
    EVENT = "event"  # 2.x TransactionEvent
    METER = "meter"
    STATUS = "status"
    REPORT = "report"  # anything else: answered from a table and stored as it came


class Rule(Struct, frozen=True):
    """One action a charger may send. `answer` is set for kind REPORT: request and now to the typed response."""

    action: Action
    kind: Kind
    answer: Callable[[Any, int], Any] | None
    decode: Decode
    send: bool

    @classmethod
    def of(cls, action: Action, kind: Kind, answer: Callable[[Any, int], Any] | None) -> "Rule":
        """What every message needs of the action lies beside it: two steps less on the way."""
        return cls(action, kind, answer, action.decode_request, action.send)


class Start(Struct, frozen=True):
    """A 1.6 StartTransaction, before it has an id. `key` tells a retry by content."""

    key: str
    evse: int
    token: IdToken
    at: int
    meter_wh: int
    reservation: int | None


class Doubts(Struct):
    """What was odd in a message that was used all the same; a message with doubts is also parked."""

    reasons: tuple[str, ...] = ()

    def add(self, reason: str) -> None:
        """Note one."""
        self.reasons += (reason,)


TransactionFact = TransactionStarted | TransactionUpdated | TransactionEnded


class Dialect(ABC):
    """One version of OCPP. Requests and responses are its typed messages; everything else is the domain's."""

    version: str
    rules: Mapping[str, Rule]
    known: Mapping[str, Action]
    meter_answer: Any
    status_answer: Any

    @abstractmethod
    def boot(self, request: Any, status: str) -> Booted: ...

    @abstractmethod
    def boot_answer(self, status: str, interval_s: int, now: int) -> Any: ...

    @abstractmethod
    def heartbeat_answer(self, now: int) -> Any: ...

    @abstractmethod
    def token(self, request: Any) -> IdToken | None:
        """The token that a request shows, when it shows one."""

    @abstractmethod
    def authorize_answer(self, verdict: Verdict) -> Any: ...

    @abstractmethod
    def status(self, request: Any, now: int, doubts: Doubts) -> StatusChanged: ...

    @abstractmethod
    def meter(self, request: Any, now: int, doubts: Doubts) -> Metered | TransactionUpdated: ...

    @abstractmethod
    def start(self, request: Any, now: int, doubts: Doubts) -> Start: ...

    @abstractmethod
    def start_answer(self, transaction: int, verdict: Verdict) -> Any: ...

    @abstractmethod
    def stop(self, request: Any, now: int, doubts: Doubts) -> TransactionEnded: ...

    @abstractmethod
    def event(self, request: Any, now: int, doubts: Doubts) -> TransactionFact: ...

    @abstractmethod
    def transaction_answer(self, verdict: Verdict | None) -> Any:
        """The answer to a STOP or an EVENT."""


# Factor to the base unit, and the unit's own name. Wh is the default of energy measurands in every version.
UNITS: Final[Mapping[str, tuple[float, str]]] = {
    "Wh": (1.0, "Wh"),
    "kWh": (1000.0, "Wh"),
    "varh": (1.0, "varh"),
    "kvarh": (1000.0, "varh"),
    "VAh": (1.0, "VAh"),
    "kVAh": (1000.0, "VAh"),
    "W": (1.0, "W"),
    "kW": (1000.0, "W"),
    "VA": (1.0, "VA"),
    "kVA": (1000.0, "VA"),
    "var": (1.0, "var"),
    "kvar": (1000.0, "var"),
    "A": (1.0, "A"),
    "V": (1.0, "V"),
    "Celsius": (1.0, "Celsius"),
    "Celcius": (1.0, "Celsius"),  # the misspelling of the 1.6 schemas; errata sheet v4
    "K": (1.0, "K"),
    "Fahrenheit": (1.0, "Fahrenheit"),
    "Percent": (1.0, "Percent"),
    "Hertz": (1.0, "Hz"),
    "Hz": (1.0, "Hz"),
}
BASE_UNITS: Final = frozenset(unit for unit, known in UNITS.items() if known == (1.0, unit))
# What a sampled value may be: beyond it no measurement lies, and the journal's integers end.
VALUE_MAX: Final = 9.0e18
ENERGY: Final = "Energy.Active.Import.Register"
PERIODIC: Final = "Sample.Periodic"


# The default measurand is the energy register (1.6 7.46, 2.0.1 SampledValueType), but a sample that says another unit is none:
# an Alfen charger sends amperes without a measurand, and they must not be billed.
_MEASURANDS: Final[Mapping[str, str]] = {
    "A": "Current.Import",
    "V": "Voltage",
    "W": "Power.Active.Import",
    "kW": "Power.Active.Import",
    "Percent": "SoC",
    "Hz": "Frequency",
    "Hertz": "Frequency",
    "Celsius": "Temperature",
    "Celcius": "Temperature",
    "K": "Temperature",
    "Fahrenheit": "Temperature",
}


def measurand_of(unit: str | None) -> str:
    """What a sample without a measurand measures, by its unit; "Unknown" when the unit is no unit of active energy."""
    return ENERGY if unit is None or unit in ("Wh", "kWh") else _MEASURANDS.get(unit, "Unknown")


def moment(text: str | None, now: int, doubts: Doubts) -> int:
    """The charger's own time of a fact; its arrival when it says none or one that cannot be read (then with a doubt)."""
    if text is None:
        return now
    at = parse_rfc3339(text)
    if at is None:
        doubts.add(f"timestamp {text[:40]!r} is not RFC 3339; the time of arrival is used")
        return now
    return at


def energy_register(samples: tuple[Sample, ...], context: str) -> int | None:
    """The energy register at the outlet among samples of this context, in Wh: what the car was given is what is billed."""
    for sample in samples:
        if (
            sample.context == context
            and sample.measurand == ENERGY
            and sample.phase is None
            and sample.signed is None
            and sample.location in (None, "Outlet")
        ):
            return round(sample.value)
    return None
