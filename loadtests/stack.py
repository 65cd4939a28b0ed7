"""A system of the laboratory's own: `cpms up` in a scratch directory, stopped and removed whatever happens."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import Unavailable
from loadtests.children import child, killed_after

START_S_MAX: Final = 60.0
WORDS_MAX: Final = 2000  # of what a stack said that did not start or stop as it should


class Stack(Struct, frozen=True):
    """A running system: where chargers dial (without tenant and identity), its data directory, and the process that supervises it."""

    url: str
    data: Path
    pid: int


@contextmanager
def scratch_stack(workers: int = 1) -> Iterator[Stack]:
    """A system of its own while the block runs, with so many workers. Raises Unavailable when it does not start.

    One that does not stop in order is told of on stderr, with the end of its log: soon nothing is left of it.
    """
    # No settings of the environment: a storm must not touch servers that somebody means for something else.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
    folder = Path(tempfile.mkdtemp(prefix="cpms-storm-"))
    try:
        folder.chmod(0o711)  # Postgres, which may run as another user, walks through
        command = [
            sys.executable,
            "-m",
            "cpms_actors.cli.main",
            "up",
            "--port",
            "0",
            "--workers",
            str(workers),
            "--json",
            "--data",
            str(folder / "data"),
        ]
        with (folder / "log").open("wb") as log, child(command, environment, log) as process:
            yield Stack(_announced(process, folder / "log"), folder / "data", process.pid)
        if process.returncode != 0:
            print(f"the scratch stack ended with status {process.returncode}: {_words(folder / 'log')}", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _announced(process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout is not None  # a pipe was asked for
    with killed_after(process, START_S_MAX):
        said = process.stdout.readline()
    if not said:
        raise Unavailable(f"the scratch stack did not start: {_words(log)}")
    url: str = json.loads(said)["websocket_url"]
    return url


def _words(log: Path) -> str:
    return log.read_text(errors="replace")[-WORDS_MAX:].strip() or "it said nothing"
