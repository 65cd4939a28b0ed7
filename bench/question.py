"""What a question of the bench is: a function from options to an outcome that reads as a table and as JSON."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct


class Options(Struct, frozen=True):
    """What the command line says. `seconds` 0: the question's own default.

    `connections` is of the closed loop, `rounds` how often every server is measured, `idle` how many idle chargers weigh a server.
    `servers` are more servers to measure, as peers.py has it.
    """

    seconds: float = 0.0
    connections: int = 400
    rounds: int = 3
    idle: int = 5000
    servers: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None  # told a sentence at each step


class Outcome(Struct, frozen=True):
    """The answer: `figures` for programs, `text` for people (a Markdown table and what belongs to it)."""

    figures: Mapping[str, Any]
    text: str


Question: TypeAlias = Callable[[Options], Outcome]
