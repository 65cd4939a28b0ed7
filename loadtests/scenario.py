"""What a scenario is: how its chargers behave, what is done to them, and what must hold after it. No Locust, no loop, no I/O."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol

from cpms_actors.simulator.options import Options, Quirks
from cpms_actors.simulator.session import SessionPlan
from loadtests.dialects import Command, Dialect
from loadtests.report import Sign, StormReport, Truth
from loadtests.shape import Stage
from loadtests.verdict import ANSWER_S_MAX

NAMES: Final = (  # each a module here, with dashes for underscores
    "power-outage",
    "meter-flood",
    "rush-hour",
    "replay-storm",
    "flapping-links",
    "firmware-rollout",
    "poison-chargers",
    "slow-readers",
    "remote-command-storm",
    "roaming-peak",
    "rollout",
)

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


class Fleet(Protocol):
    """All chargers of a storm, by name: they may live in several processes. What is done is done to all, or to some."""

    @property
    def chargers(self) -> Sequence[str]: ...

    def cut(self, some: Sequence[str] | None = None) -> None:
        """The sockets fail at this moment."""

    def show_token(self, some: Sequence[str] | None = None) -> None:
        """The drivers show the token at connector 1, at their charger's next turn: that ends what it began."""

    def stop_reading(self, some: Sequence[str] | None = None) -> None:
        """From its next turn on a charger reads nothing, and sends Heartbeats as fast as they are taken, until it is cut off."""

    def say_rubbish(self, number: int, some: Sequence[str] | None = None) -> None:
        """At its next turn a charger also sends this one of its dialect's rubbish; after the last comes the first again."""

    def until(self, sign: Sign, seconds: float, otherwise: str, some: Sequence[str] | None = None) -> None:
        """Wait until all have the sign; after `seconds` go on, and those that do not have it are a reason to fail."""

    def rest(self, seconds: float) -> None:
        """Let the chargers live."""


class Desk(Protocol):
    """An operator at work while a storm is on, with the chargers that the system was told of."""

    token: str
    chargers: Sequence[str]

    async def until(self, true: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Ask again and again; whether it became true in time."""
        ...

    async def rest(self, seconds: float) -> None:
        """Do nothing."""

    async def connected(self) -> bool:
        """Whether all chargers of the storm are connected and booted."""
        ...

    async def charging(self, some: Sequence[str] | None = None) -> bool:
        """Whether all, or some, are in a transaction."""
        ...

    async def transactions(self) -> Mapping[str, str]:
        """The transaction of each that is in one, as its charger knows it."""
        ...

    async def rollout(self) -> None:
        """Have every worker replaced by a new process. What does not go well is a reason to fail."""

    async def call_all(self, command: Callable[[Dialect, str], Command], some: Sequence[str] | None = None) -> set[str]:
        """Send a command to each charger, or to some, many at once, in its dialect; those that refused it or did not answer."""
        ...


class Scenario(ABC):
    """One storm. `seconds` is the default of --seconds, and `seconds_help` says what it means."""

    seconds: float
    seconds_help: str
    past_s = 0.0  # how long before the storm its sessions may have begun
    may_park = False  # whether it sends what the system cannot use

    def options(self) -> Options:
        """How a charger behaves."""
        return RUDE

    @abstractmethod
    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        """What its drivers do. `place` is the charger's in the fleet, from 0 up to 1; `seconds` as ordered."""

    def shape(self, seconds: float) -> tuple[Stage, ...]:
        """When the chargers come, the first of the fleet first; without stages all at once."""
        return ()

    @abstractmethod
    def run(self, fleet: Fleet, seconds: float) -> None:
        """The storm itself, bounded in time. The chargers are being started when it begins."""

    def tokens(self, token: str, chargers: int) -> list[str]:
        """The tokens that the system is told of."""
        return [token]

    async def operate(self, desk: Desk, seconds: float) -> list[str]:
        """What an operator does meanwhile, and the reasons to fail that come of it. Runs outside the chargers' process."""
        return []

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
