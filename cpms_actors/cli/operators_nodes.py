"""cpms rollout, cpms drain: new processes for a machine, and the machine taken away."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_fleet as fleet
from cpms_actors.cli.output import JsonOption, answer, print_line, print_table

NodeArgument = Annotated[str | None, typer.Argument(help="The machine; not needed when there is one.", show_default=False)]


def rollout(
    node: NodeArgument = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=fleet.ROLLOUT_TIMEOUT_S_MAX, help="Seconds to wait for the last worker.")
    ] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Replace the workers of a machine by new processes; no charger is disconnected.

    After an upgrade of the package this is how it comes into force. One worker after the other is replaced: its successor starts,
    takes its open connections over between two messages, and only then does it end. The `cpms up` of that machine does it.

    \b
    Examples:
      cpms rollout
      cpms rollout node-2 --json
    """

    def request() -> fleet.NodeRollout:
        return fleet.NodeRollout(node=node, timeout_s=timeout)

    with _waiting("replacing the workers", as_json):
        answer(as_json, verbs.NODE_ROLLOUT, request, _show_rollout, patience_s=timeout)


def drain(
    node: NodeArgument = None,
    spread: Annotated[float, typer.Option(min=0, max=3600, help="Seconds over which connections are closed.")] = 30.0,
    back: Annotated[bool, typer.Option("--back", help="Serve chargers there again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the chargers of a machine served by the others, before it is taken away; --back undoes it.

    A connection cannot move to another machine: the chargers are disconnected, one by one spread over --spread seconds, and find the
    others. What was drained goes on running without chargers of its own; `cpms status` shows when its slots are gone.

    \b
    Examples:
      cpms drain node-2 --spread 300
      cpms drain node-2 --back
    """
    answer(as_json, verbs.NODE_DRAIN, lambda: fleet.NodeDrain(node=node, spread_s=spread, back=back), _show_drain)


def _show_rollout(answered: fleet.NodeRolledOut) -> None:
    rows = [(each.before, each.after, each.seconds) for each in answered.replaced]
    print_table(["worker", "replaced by", ">seconds"], rows, title=answered.node)


def _show_drain(answered: fleet.NodeDrained) -> None:
    for each in answered.workers:
        print_line(f"{each.worker} was told; it has {each.slots} slots")


@contextmanager
def _waiting(what: str, as_json: bool) -> Iterator[None]:
    """For people at a terminal, a sign that something goes on."""
    if as_json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
