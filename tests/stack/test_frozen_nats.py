"""Processes whose NATS is frozen or cut off, without a word: from the start, in the middle of it, and later."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from partition import way_to
from running import die_with_parent

from cpms_actors.base.settings import Postgres
from cpms_actors.node import ready

WORKER = ("worker", "--name", "w")
POOLS = [("pool", name) for name in ("session", "tariff", "operations")]
SESSION, TARIFF, OPERATIONS = POOLS
# Who starts at one time, each on a way of its own, and what it says first of all that NATS does not answer.
STARTING = [
    {WORKER: b"CONNECT {", SESSION: b"CONNECT {", TARIFF: b"CONNECT {"},
    {WORKER: b"$JS.API.STREAM.INFO.CPMS_JOURNAL", SESSION: b"$JS.API.STREAM.INFO.CPMS_JOURNAL", OPERATIONS: b"KV_CPMS_REGISTRY"},
    {WORKER: b"KV_CPMS_LIVE", SESSION: b"SUB cpms.session", OPERATIONS: b"SUB cpms.admin"},
    {WORKER: b"member."},
]
NOTICED_S_MAX = 5.0


class Process:
    """A process of ours on a NATS at this port, and what it has said so far."""

    def __init__(self, command: tuple[str, ...], port: int, postgres: Postgres, folder: Path) -> None:
        folder.mkdir()
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


@pytest.mark.parametrize("starting", STARTING, ids=("connecting", "opening", "subscribing", "joining"))
def test_who_starts_while_nats_is_frozen_waits_and_says_so(
    nats_server: Any, postgres: Postgres, tmp_path: Path, starting: dict[tuple[str, ...], bytes]
) -> None:
    with ExitStack() as stack:
        ways = [stack.enter_context(way_to("127.0.0.1", nats_server.port, word)) for word in starting.values()]
        processes = [
            stack.enter_context(running(command, way.port, postgres, tmp_path / command[1]))
            for command, way in zip(starting, ways, strict=True)
        ]
        try:
            assert all(way.interrupted.wait(30) for way in ways)
            for process in processes:
                process.until("warning")
            time.sleep(6)  # longer than any answer is waited for
            for process in processes:
                assert process.process.poll() is None, process.said()
                assert ready.LINE not in process.said()
        finally:
            for way in ways:
                way.restore()
        for process in processes:
            process.until(ready.LINE)
            assert "Traceback" not in process.said()
            assert "child_restarting" not in process.said()


def test_whoever_is_cut_off_from_nats_notices_within_five_seconds_and_goes_on_afterwards(
    nats_server: Any, postgres: Postgres, tmp_path: Path
) -> None:
    with way_to("127.0.0.1", nats_server.port) as way, ExitStack() as stack:
        commands = [WORKER, *POOLS]
        processes = [stack.enter_context(running(command, way.port, postgres, tmp_path / command[1])) for command in commands]
        for process in processes:
            process.until(ready.LINE)
        way.interrupt()
        began = time.monotonic()
        try:
            for process in processes:
                process.until("nats_disconnected")
            assert time.monotonic() - began < NOTICED_S_MAX
        finally:
            way.restore()
        for process in processes:
            process.until("nats_reconnected")
            assert process.process.poll() is None
            assert "Traceback" not in process.said()
