"""How a child process of the stack says that it is of use: one line on stdout, that its supervisor waits for."""

import sys
from typing import Final

LINE: Final = "cpms: ready"


def announce() -> None:
    """Say it. A stdout that nobody reads any more is no reason to fail: then nobody waits either."""
    try:
        sys.stdout.write(LINE + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
