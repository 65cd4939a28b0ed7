"""Three nodes on loopback addresses, one worker each, on one NATS and one Postgres."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from running import RunningCpms, die_with_parent
from station import BOOT, Session16, station

from cpms_actors.base.ids import SLOTS
from cpms_actors.node import ready
from cpms_actors.node.data_dir import Connection

CHARGERS = [f"NODE-{number}" for number in range(12)]


class Nodes:
    """The stack of `cpms up`, which is the first node, and a `cpms worker` for each of two more."""

    def __init__(self) -> None:
        self.cpms = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-nodes-")), CPMS_NODE="n1")
        self.urls = [self.cpms.ws_url]
        self.workers = [self._worker(number) for number in (2, 3)]

    def _worker(self, number: int) -> subprocess.Popen[str]:
        connection = msgspec.json.decode((self.cpms.directory / ".cpms" / "connection.json").read_bytes(), type=Connection)
        host, port = f"127.0.0.{number}", self.cpms.ws_url.rpartition("/")[0].rpartition(":")[2]
        settings = {
            "CPMS_NODE": f"n{number}",
            "CPMS_NATS_URL": connection.nats_url,
            "CPMS_POSTGRES_DSN": connection.postgres_dsn,
            "CPMS_CREDENTIAL_KEY": connection.credential_key,
            "CPMS_GATEWAY_HOST": host,
            "CPMS_GATEWAY_PORT": port,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
        worker = subprocess.Popen(
            [sys.executable, "-m", "cpms_actors.cli.main", "worker", "--name", "worker-1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.cpms.directory / f"n{number}.log").open("wb"),
            cwd=self.cpms.directory,
            env=environment | settings,
            preexec_fn=die_with_parent,
            text=True,
        )
        assert worker.stdout is not None
        while (said := worker.stdout.readline()) and ready.LINE not in said:
            pass
        assert said, (self.cpms.directory / f"n{number}.log").read_text()
        self.urls.append(self.cpms.ws_url.replace("127.0.0.1", host))
        return worker

    def slots(self) -> dict[str, int]:
        said = json.loads(self.cpms.cli("status", "--json").stdout)["workers"]
        return {worker["name"]: worker["slots"] for worker in said}

    def counted(self, name: str) -> int:
        said = json.loads(self.cpms.cli("status", "--json").stdout)["workers"]
        return sum(worker["counters"][name] for worker in said)

    def close(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(20)
        self.cpms.close()
        shutil.rmtree(self.cpms.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    running = Nodes()
    try:
        for charger in CHARGERS:
            running.cpms.add_charger(charger)
        running.cpms.add_token("T-NODES")
        yield running
    finally:
        running.close()


def all_served(nodes: Nodes, count: int) -> None:
    nodes.cpms.until(nodes.slots, lambda slots: len(slots) == count and sum(slots.values()) == SLOTS and 0 not in slots.values())


def test_a_charger_at_any_node_is_served_and_a_command_from_any_node_reaches_it(nodes: Nodes) -> None:
    all_served(nodes, 3)

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations = []
            for number, charger in enumerate(CHARGERS):
                one = await stack.enter_async_context(station(nodes.urls[number % 3], charger, patience_s=10))
                assert (await one.call("BootNotification", BOOT["1.6"]))["status"] == "Accepted"
                one.answers["ClearCache"] = {"status": "Accepted"}
                stations.append(one)
            assert await asyncio.to_thread(nodes.counted, "gateway.relayed") > 0
            for charger in CHARGERS[:4]:
                said = await asyncio.to_thread(nodes.cpms.cli, "call", charger, "ClearCache", "--json")
                assert json.loads(said.stdout)["answer"] == {"status": "Accepted"}, said

    asyncio.run(script())


def test_when_a_node_is_killed_its_chargers_are_served_by_the_others(nodes: Nodes) -> None:
    all_served(nodes, 3)
    sessions = {charger: Session16(charger, "T-NODES") for charger in CHARGERS}

    async def script(number: int, charger: str, session: Any, begun: asyncio.Barrier, killed: asyncio.Event) -> None:
        async with station(nodes.urls[number % 3], charger, patience_s=10) as s:
            await session.begin(s, 1000)
            if await begun.wait() == 0:
                nodes.workers[1].kill()
                killed.set()
            await killed.wait()
        async with station(nodes.urls[number % 2], charger, patience_s=20) as s:
            await session.meter(s, 20, 6000)
            await session.end(s, 30, 8000)

    async def all_of_them() -> None:
        begun, killed = asyncio.Barrier(len(sessions)), asyncio.Event()
        await asyncio.gather(*(script(number, *each, begun, killed) for number, each in enumerate(sessions.items())))

    asyncio.run(all_of_them())
    all_served(nodes, 2)
    for charger in sessions:
        (cdr,) = nodes.cpms.until(lambda charger=charger: nodes.cpms.cdrs(charger), lambda cdrs: len(cdrs) > 0)  # type: ignore[misc]
        (session,) = nodes.cpms.sessions(charger)
        assert (session.status, session.energy_wh, cdr.energy_wh) == ("Ended", 7000, 7000)
