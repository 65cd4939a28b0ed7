"""Processes whose NATS is frozen or cut off, without a word: from the start, in the middle of it, and later."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from partition import way_to
from running import die_with_parent

from cpms_actors.base.settings import Postgres
from cpms_actors.node import ready

WORKER = ("worker", "--name", "w")
POOLS = [("pool", name) for name in ("session", "tariff", "operations")]
STARTING = [
    # what starts, and what it says first of all that NATS does not answer
    (WORKER, b"CONNECT {"),
    (WORKER, b"$JS.API.STREAM.INFO.CPMS_JOURNAL"),
    (WORKER, b"KV_CPMS_LIVE"),
    (WORKER, b"member."),
    (POOLS[0], b"CONNECT {"),
    (POOLS[0], b"$JS.API.STREAM.INFO.CPMS_JOURNAL"),
    (POOLS[0], b"SUB cpms.session"),
    (POOLS[1], b"CONNECT {"),
    (POOLS[2], b"KV_CPMS_REGISTRY"),
    (POOLS[2], b"SUB cpms.admin"),
]
NOTICED_S_MAX = 5.0


class Process:
    """A process of ours on a NATS at this port, and what it has said so far."""

    def __init__(self, command: tuple[str, ...], port: int, postgres: Postgres, folder: Path) -> None:
        self._log = folder / "log"
        settings = {
            "CPMS_NATS_URL": f"nats://127.0.0.1:{port}",
            "CPMS_POSTGRES_DSN": postgres.dsn,
            "CPMS_CREDENTIAL_KEY": "k" * 43,
            "CPMS_GATEWAY_PORT": "0",
        }
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cpms_actors.cli.main", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("CPMS_")} | settings,
                preexec_fn=die_with_parent,
            )

    def said(self) -> str:
        return self._log.read_text()

    def until(self, word: str, deadline_s: float = 30) -> None:
        """Return when it has said this word."""
        _until(lambda: word in self.said(), deadline_s)


def _until(true: Callable[[], bool], deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(command: tuple[str, ...], port: int, postgres: Postgres, folder: Path) -> Iterator[Process]:
    """The process, while the block runs; then it ends in order."""
    begun = Process(command, port, postgres, folder)
    try:
        yield begun
    finally:
        begun.process.terminate()
        begun.process.wait(20)


def named(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else " ".join(value[:2])


@pytest.mark.parametrize(("command", "word"), STARTING, ids=named)
def test_who_starts_while_nats_is_frozen_waits_and_says_so(
    nats_server: Any, postgres: Postgres, tmp_path: Path, command: tuple[str, ...], word: bytes
) -> None:
    with way_to("127.0.0.1", nats_server.port, word) as way, running(command, way.port, postgres, tmp_path) as begun:
        try:
            assert way.interrupted.wait(30)
            begun.until("warning")
            time.sleep(6)  # longer than any answer is waited for
            assert begun.process.poll() is None, begun.said()
            assert ready.LINE not in begun.said()
        finally:
            way.restore()
        begun.until(ready.LINE)
        assert "Traceback" not in begun.said()
        assert "child_restarting" not in begun.said()


@pytest.mark.parametrize("command", [WORKER, *POOLS], ids=named)
def test_whoever_is_cut_off_from_nats_notices_within_five_seconds_and_goes_on_afterwards(
    nats_server: Any, postgres: Postgres, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with way_to("127.0.0.1", nats_server.port) as way, running(command, way.port, postgres, tmp_path) as begun:
        begun.until(ready.LINE)
        way.interrupt()
        began = time.monotonic()
        try:
            begun.until("nats_disconnected")
            assert time.monotonic() - began < NOTICED_S_MAX
        finally:
            way.restore()
        begun.until("nats_reconnected")
        assert begun.process.poll() is None
        assert "Traceback" not in begun.said()
