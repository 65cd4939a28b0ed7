"""What the commands of the laboratory share: how they end, and an argument that is a whole number within bounds."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn

import msgspec

from cpms_actors.base.errors import CpmsError

INTERRUPTED: Final = 130


def run(name: str, work: Callable[[], Any], as_text: Callable[[Any], str] | None) -> int:
    """Do the work and print its verdict, as JSON without `as_text`; the exit code.

    0 when the verdict is pass, 1 when it is fail, 2 when there is none, INTERRUPTED when it was interrupted, by SIGTERM too: what the
    work has begun is ended in order.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        verdict = work()
    except (CpmsError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n" if as_text is None else as_text(verdict))
    return 0 if verdict.verdict == "pass" else 1


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Whole:
    """For `type` of an argument: from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(f"{value} is not between {self._least} and {self._most}")
        return value
