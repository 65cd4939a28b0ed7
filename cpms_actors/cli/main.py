"""The command `cpms`: every command of the project hangs from here.

A command that cannot be done says why and what would work, in one sentence on stderr, and ends with the error's exit code. Nobody is
ever shown a traceback: that of a bug is written to a file which the sentence names.

    0  done
    1  interrupted, or a bug
    2  it cannot be done so: wrong arguments, settings, or an order that the rules refuse (OperatorError)
    3  a server did not answer: try again (Unavailable)
    4  the charger refused

Modules behind commands are imported when the command runs, so that help and completion answer at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from cpms_actors.base.errors import CpmsError, OperatorError
from cpms_actors.cli import backup, operators, rebuild, simulate, stack

BUG: Final = 1
UNAVAILABLE: Final = 3

app = typer.Typer(
    name="cpms",
    help="An actor-based Charge Point Management System: OCPP 1.6J, 2.0.1 and 2.1 over WebSocket, on NATS and Postgres.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
stack.mount(app)
operators.mount(app)
rebuild.mount(app)
backup.mount(app)
simulate.mount(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cpms {version('cpms-actors')}")
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML); CPMS_CONFIG names one too.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What every command takes, before its name."""
    if config is not None:
        os.environ["CPMS_CONFIG"] = str(config.absolute())  # the children of `cpms up` read the same file


def main() -> NoReturn:
    """The entry point: run the command line and end the process with its exit code."""
    try:
        typer.main.get_command(app)(prog_name="cpms")
    except Exception as error:  # the last line of defence: whatever it is becomes a sentence
        sys.exit(explain(error))
    sys.exit(0)


def explain(error: BaseException) -> int:
    """Say what went wrong on stderr; the exit code that belongs to it."""
    known = expected(error)
    if known is None:
        return _explain_bug(error)
    sys.stderr.write(f"cpms: {known}\n")
    if isinstance(known, OperatorError):
        return known.exit_code
    from cpms_actors.bus.verbs import VerbFailed

    return known.exit if isinstance(known, VerbFailed) else UNAVAILABLE


def expected(error: BaseException) -> CpmsError | None:
    """The error of ours behind an error: itself, or the first one in a group that the task groups of anyio and trio raise."""
    if isinstance(error, CpmsError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := expected(inner)) is not None), None)
    return None


def _explain_bug(error: BaseException) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="cpms-bug-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    sys.stderr.write(f"cpms: this is a bug ({type(error).__name__}: {error}); please report it with {file.name}\n")
    return BUG


if __name__ == "__main__":
    main()
