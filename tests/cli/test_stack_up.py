"""`cpms up` and `cpms demo`, really run: servers, pools, worker."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import psutil
import pytest

from cpms_actors.bus import subjects, verbs
from cpms_actors.bus.verbs_registry import TenantList
from cpms_actors.node.data_dir import Connection, DataDir
from cpms_actors.pools import NICE

ROOT = Path(__file__).parents[2]
START_S = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cpms-up-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", dict[str, object]]]:
    """A stack, from its word that it is ready to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")} | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "cpms_actors.cli.main", "up", "--port", "0", "--json"]
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        watch = signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.setitimer(signal.ITIMER_REAL, START_S)
        line = process.stdout.readline()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, watch)
        try:
            assert line, (folder / "stderr").read_text()
            yield process, json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _ask_for_tenants(connection: Connection) -> list[str]:
    async def ask() -> list[str]:
        client = await nats.connect(connection.nats_operator_url, inbox_prefix="_INBOX_local")
        try:
            subject = subjects.admin(connection.operator, verbs.TENANT_LIST.name)
            reply = await client.request(subject, verbs.encode_request(TenantList()), timeout=10)
            return [tenant.id for tenant in verbs.TENANT_LIST.decode_reply(reply.data).tenants]
        finally:
            await client.close()

    return asyncio.run(ask())


def _until(true: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, (folder / "stderr").read_text()
        time.sleep(0.1)


def _serves(connection: Connection) -> bool:
    with contextlib.suppress(Exception):
        return _ask_for_tenants(connection) == ["default"]
    return False


def _nice_of_postgres(stack: int) -> set[int]:
    """Of the processes that serve connections, and of those that write for them."""
    postmaster = next(child for child in psutil.Process(stack).children() if "postgres -D" in " ".join(child.cmdline()))
    return {child.nice() for child in postmaster.children()}


def _connection(folder: Path) -> Connection:
    found = DataDir(folder / ".cpms").connection()
    assert found is not None
    return found


def test_a_stack_comes_up_serves_heals_and_stops_without_a_trace(folder: Path) -> None:
    with _up(folder) as (process, said):
        connection = _connection(folder)
        assert said["pid"] == connection.pid == process.pid
        assert said["websocket_url"] == connection.websocket_url
        assert "secret" not in json.dumps(said)
        assert connection.credential_key not in json.dumps(said)
        assert _ask_for_tenants(connection) == ["default"]

        children = psutil.Process(process.pid).children(recursive=True)
        names = [" ".join(child.cmdline()) for child in children]
        for part in ("nats-server -c", "postgres -D", "pool session", "pool tariff", "pool operations", "worker"):
            assert any(part in name for name in names), part
        ours = psutil.Process(process.pid).nice()
        niceness = {name.rpartition("cli.main ")[2]: child.nice() - ours for name, child in zip(names, children, strict=True)}
        assert {name: nice for name, nice in niceness.items() if name.startswith("pool")} == {
            "pool session": NICE, "pool tariff": NICE, "pool operations": NICE
        }  # fmt: skip
        assert next(nice for name, nice in niceness.items() if name.startswith("worker")) == 0
        for child, name in zip(children, names, strict=True):  # where sessions are weighed, a worker is no part of the others' weight
            if "cli.main " in name:
                assert os.getsid(child.pid) == child.pid, name
        _until(lambda: _nice_of_postgres(process.pid) == {ours + NICE}, folder)
        assert not any(connection.nats_url in name or connection.postgres_dsn in name for name in names)  # command lines are public

        refused = subprocess.run(
            [sys.executable, "-m", "cpms_actors.cli.main", "up"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert refused.returncode == 2
        assert "already runs" in refused.stderr

        broker = next(child for child in children if "nats-server -c" in " ".join(child.cmdline()))
        broker.kill()
        _until(lambda: _serves(connection), folder)  # it is started again on its port, and those who use it find it
        children = psutil.Process(process.pid).children(recursive=True)

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "stderr").read_text()
        assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
        assert DataDir(folder / ".cpms").connection() is None
        assert not (folder / ".cpms" / "connection.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_stack_that_is_killed_takes_its_children_along_and_comes_up_again(folder: Path) -> None:
    with _up(folder) as (process, _):
        key = _connection(folder).credential_key
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        gone, alive = psutil.wait_procs(children, timeout=20)
        assert gone
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    with _up(folder):
        assert _connection(folder).credential_key == key
        assert _ask_for_tenants(_connection(folder)) == ["default"]


def test_the_demo_finds_what_was_charged_and_what_was_billed_equal(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cpms_actors.cli.main", "demo", "--chargers", "3", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["chargers"], outcome["sessions"], outcome["cdrs"]) == (3, 3, 3)
    assert outcome["energy_wh"]["simulated"] == outcome["energy_wh"]["billed"] > 0
    assert outcome["cost_minor"]["simulated"] == outcome["cost_minor"]["billed"] > 0
    assert [row["version"] for row in outcome["versions"]] == ["1.6", "2.0.1", "2.1"]
    assert list(folder.glob("cpms-demo-*")) == []
