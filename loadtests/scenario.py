"""What a scenario is: how its chargers behave, what is done to them, and what must hold after it. No Locust, no loop, no I/O."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, Protocol

from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import Options, Quirks
from cpms_actors.simulator.session import SessionPlan
from loadtests.report import StormReport, Truth
from loadtests.verdict import ANSWER_S_MAX

NAMES: Final = ("power-outage", "meter-flood")  # each a module here, with dashes for underscores

RECONNECT_S: Final = 0.1  # between failed attempts: no back-off, but no busy loop either
ATTEMPTS_MAX: Final = 100_000  # nobody gives up: the scenario ends first

# A charger without manners: the same short wait after each failure, unless the server names one; boots on each connection.
RUDE: Final = Options(
    call_timeout_s=ANSWER_S_MAX,
    reconnect_min_s=RECONNECT_S,
    reconnect_random_s=0.0,
    reconnect_doublings=0,
    connect_attempts_max=ATTEMPTS_MAX,
    quirks=Quirks(boots_on_reconnect=True),
)


class Victim(Protocol):
    """One charger, as a scenario sees it. `admitted`: connected and booted since the last cut."""

    @property
    def point(self) -> ChargePoint: ...

    @property
    def admitted(self) -> bool: ...

    def show_token(self) -> None:
        """The driver shows the token at connector 1, at the charger's next turn: that ends what it began."""


class Fleet(Protocol):
    """All chargers of a storm."""

    @property
    def chargers(self) -> Sequence[Victim]: ...

    def cut(self) -> None:
        """Every socket fails at this moment."""

    def until(self, true: Callable[[Victim], bool], seconds: float, otherwise: str) -> None:
        """Wait until it is true of all chargers; after `seconds` go on, and those of which it is not are a reason to fail."""

    def rest(self, seconds: float) -> None:
        """Let the chargers live."""


class Scenario(ABC):
    """One storm. `seconds` is the default of --seconds, and `seconds_help` says what it means."""

    seconds: float
    seconds_help: str

    @abstractmethod
    def options(self) -> Options:
        """How a charger behaves."""

    @abstractmethod
    def plans(self, token: str) -> tuple[SessionPlan, ...]:
        """What its drivers do."""

    @abstractmethod
    def run(self, fleet: Fleet, seconds: float) -> None:
        """The storm itself, bounded in time. The chargers are being started when it begins."""

    @abstractmethod
    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        """Reasons to fail, beyond those of every scenario."""

    def longest_s(self, seconds: float) -> float:
        """After which `run` has surely ended."""
        return 3 * seconds + 4 * ANSWER_S_MAX


def load(name: str) -> Scenario:
    """The scenario of a name in `NAMES`."""
    scenario: Scenario = import_module(f"loadtests.{name.replace('-', '_')}").SCENARIO
    return scenario
