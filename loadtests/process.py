"""Locust's process, seen from the laboratory's: started with an order, asked for a report, ended whatever happens."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from loadtests.children import ask, child
from loadtests.report import Order, StormReport

START_S_MAX: Final = 90.0  # to import, to gather its processes, and to make the chargers
LET_GO_S_MAX: Final = 10.0


@contextmanager
def storm_process(order: Order, longest_s: float) -> Iterator[StormReport]:
    """The report, once the scenario has run; while the block runs the chargers stay connected.

    Raises Unavailable when there is none after `longest_s` or the process failed; its stderr is passed on.
    """
    with child([sys.executable, "-m", "loadtests.storm"]) as process:
        yield ask(process, msgspec.json.encode(order), StormReport, START_S_MAX + longest_s)
        if order.joining:
            _let_go(process)


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    """It is to tell the processes on other machines that it is over: nobody else can."""
    assert process.stdin is not None  # a pipe was asked for
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LET_GO_S_MAX)
