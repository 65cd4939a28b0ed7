"""What a question of the bench is: a function from options to an outcome that reads as a table and as JSON."""

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

from msgspec import Struct
from msgspec.structs import replace


class Options(Struct, frozen=True):
    """What the command line says. `seconds`, `connections` or `idle` 0: the question's own default.

    `connections` is how many chargers talk, `rounds` how often every server is measured, `idle` how many are connected.
    `servers` are more servers to measure, as peers.py has it.
    """

    seconds: float = 0.0
    connections: int = 0
    rounds: int = 3
    idle: int = 0
    servers: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None  # told a sentence at each step

    def or_else(self, *, seconds: float = 0.0, connections: int = 0, idle: int = 0) -> Self:
        """The same with these where the command line says nothing."""
        return replace(self, seconds=self.seconds or seconds, connections=self.connections or connections, idle=self.idle or idle)


class Outcome(Struct, frozen=True):
    """The answer: `figures` for programs, `text` for people (a Markdown table and what belongs to it)."""

    figures: Mapping[str, Any]
    text: str


Question: TypeAlias = Callable[[Options], Outcome]
