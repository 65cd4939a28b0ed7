"""What a command prints: tables for people, JSON for programs, one sentence when it cannot be done.

With --json stdout holds exactly one JSON document: the response as `cpms verbs` documents it, or {"error": {...}}; without it stdout
is for people and errors go to stderr. The exit code is the same: 0 done, 2 it cannot be done so, 3 something needed does not answer,
4 the charger refused.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.money import from_minor
from cpms_actors.bus.verbs import EXIT_OPERATOR, EXIT_REFUSED, EXIT_UNAVAILABLE, Failure, Verb, VerbFailed
from cpms_actors.bus.verbs_words import Request, Response

Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)

JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on stdout and nothing else.")]
TenantOption = Annotated[str, typer.Option("--tenant", "-t", help="The tenant.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many rows.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="Go on after this row, as the page before says.", metavar="ROW")]

WIDTH_UNSEEN: Final = 200  # columns when stdout is no terminal: a pipe has no width, and a cut cell is lost

Row = Sequence[object]


def answer(
    as_json: bool,
    verb: Verb[Q, R],
    request: Callable[[], Q],
    show: Callable[[R], None],
    *,
    patience_s: float = 0.0,
    extra: dict[str, Any] | None = None,
) -> R:
    """Ask the verb and print the response: `show` for people, JSON (with the fields of `extra`) for programs.

    `request` builds the request, and may raise OperatorError. Whatever cannot be done is printed and ends the command with its code.
    """
    from cpms_actors.cli.client import ask  # with the drivers behind it, which help does not need

    with explained(as_json):
        response = ask(verb, request(), patience_s=patience_s)
    if as_json:
        print_json({**msgspec.to_builtins(response), **extra} if extra else response)
    else:
        show(response)
    return response


@contextmanager
def explained(as_json: bool) -> Iterator[None]:
    """What the block cannot do is printed, and ends the command with its code."""
    try:
        yield
    except VerbFailed as error:
        raise fail(as_json, Failure(error.code, error.text, error.exit, error.details)) from None
    except OperatorError as error:
        raise fail(as_json, Failure(error.code, error.text, EXIT_OPERATOR)) from None
    except Unavailable as error:
        raise fail(as_json, Failure("unavailable", str(error), EXIT_UNAVAILABLE)) from None


def fail(as_json: bool, failure: Failure) -> typer.Exit:
    """Print why it cannot be done; raise what comes back."""
    if as_json:
        print_json({"error": failure})
    else:
        sys.stderr.write(f"cpms: {failure.text}\n")
        if failure.exit == EXIT_REFUSED and failure.details and failure.details.get("details"):
            sys.stderr.write(f"  details: {msgspec.json.encode(failure.details['details']).decode()}\n")
    return typer.Exit(failure.exit)


def print_json(document: object) -> None:
    """One JSON document, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Row], *, title: str | None = None, empty: str = "nothing") -> None:
    """A table; `>` before a column's name aligns it to the right. `empty` is the sentence for a table without rows."""
    from rich import box
    from rich.table import Table

    cells = [[text(value) for value in row] for row in rows]
    if not cells:
        print_line(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    _print(table)


def print_fields(title: str, fields: Iterable[tuple[str, object]]) -> None:
    """One thing: its name, and a line for each field that is known."""
    from rich.table import Table

    table = Table(box=None, show_header=False, title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in fields:
        if value is not None:
            table.add_row(name, text(value))
    _print(table)


def print_line(line: str) -> None:
    """A sentence."""
    sys.stdout.write(line + "\n")


def print_next(following: str | None, shown: int) -> None:
    """How to see the rest of a list, when there is any."""
    if following is not None:
        print_line(f"{shown} shown; go on with --after {following!r}")


def text(value: object) -> str:
    """A cell, as people read it. Control characters, which a charger may have sent, never reach the terminal."""
    match value:
        case None:
            return "–"
        case True:
            return "yes"
        case False:
            return "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(text(each) for each in value)
    return "".join(character if character.isprintable() else "�" for character in str(value))


def energy(energy_wh: int | None) -> str | None:
    """Wh as kWh."""
    return None if energy_wh is None else f"{energy_wh / 1000:.3f} kWh"


def money(amount_minor: int, currency: str) -> str:
    """Minor units as an amount with its currency."""
    return f"{from_minor(amount_minor, currency)} {currency}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def parse_moment(option: str, given: str | None) -> datetime | None:
    """A moment that an operator typed. Raises OperatorError("moment") with what would be right."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise OperatorError("moment", f"{option} {given!r} is no moment; write 2031-01-31 or 2031-01-31T12:00:00+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def given(**options: object) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def cleared(names: Sequence[str] | None, *known: str, **fields: str) -> dict[str, None]:
    """The fields that `--clear` names, to be null; `fields` maps a word of the command line to its field.

    Raises OperatorError("clear") for a word that is not known.
    """
    unknown = next((name for name in names or () if name not in known), None)
    if unknown is not None:
        raise OperatorError("clear", f"--clear {unknown!r} cannot be; it takes {', '.join(known)}")
    return {fields.get(name, name.replace("-", "_")): None for name in names or ()}


def _print(renderable: Any) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=WIDTH_UNSEEN)
    console.print(renderable)
