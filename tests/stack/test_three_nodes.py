"""Three nodes on loopback addresses, one worker each, on one NATS and one Postgres."""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from balancer import needs_haproxy, trusting
from running import RunningCpms, die_with_parent
from station import BOOT, Session16, Station, station
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from cpms_actors.base.ids import SLOTS
from cpms_actors.bus.ownership import owner_of
from cpms_actors.gateway.routing import NODE_HEADER
from cpms_actors.node import ready
from cpms_actors.node.data_dir import Connection
from loadtests.terminator import CONFIG, Terminator, terminator

CHARGERS = [f"NODE-{number}" for number in range(12)]
ROLLED = [f"ROLLED-{number}" for number in range(24)]
DRAINED = [f"DRAINED-{number}" for number in range(24)]
SECURE = [f"TLS-{number}" for number in range(12)]
PASSWORD = "0123456789abcdef0123"


class Nodes:
    """The stack of `cpms up`, which is the first node, and a `cpms worker` for each of two more."""

    def __init__(self) -> None:
        self.cpms = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-nodes-")), CPMS_NODE="n1")
        self.urls = [self.cpms.ws_url.replace("127.0.0.1", f"127.0.0.{number}") for number in (1, 2, 3)]
        self.addresses = [url.split("/")[2] for url in self.urls]
        self.workers = [self._worker(number) for number in (2, 3)]

    def _worker(self, number: int, name: str = "worker-1") -> subprocess.Popen[str]:
        connection = msgspec.json.decode((self.cpms.directory / ".cpms" / "connection.json").read_bytes(), type=Connection)
        host, _, port = self.addresses[number - 1].partition(":")
        settings = {
            "CPMS_CONFIG": str(CONFIG.with_name("production.toml")),
            "CPMS_NATS_REPLICAS": "1",
            "CPMS_NODE": f"n{number}",
            "CPMS_NATS_URL": connection.nats_url,
            "CPMS_POSTGRES_DSN": connection.postgres_dsn,
            "CPMS_CREDENTIAL_KEY": connection.credential_key,
            "CPMS_GATEWAY_HOST": host,
            "CPMS_GATEWAY_INNER_HOST": host,
            "CPMS_GATEWAY_PORT": port,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
        worker = subprocess.Popen(
            [sys.executable, "-m", "cpms_actors.cli.main", "worker", "--name", name],
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
        return worker

    def replace(self, number: int) -> None:
        """What a rollout does where no `cpms up` runs: its successor is started, and then it is stopped."""
        before, self.workers[number - 2] = self.workers[number - 2], self._worker(number, "worker-1~2")
        before.send_signal(signal.SIGTERM)
        assert before.wait(40) == 0

    def start_what_was_killed(self) -> None:
        for worker in self.workers:
            if worker.poll() is not None:
                worker.stdout.close()  # type: ignore[union-attr]  # a pipe
        self.workers = [worker if worker.poll() is None else self._worker(number) for number, worker in enumerate(self.workers, 2)]

    def slots(self) -> dict[str, int]:
        said = json.loads(self.cpms.cli("status", "--json").stdout)["workers"]
        return {worker["name"]: worker["slots"] for worker in said}

    def counted(self, name: str, node: str = "") -> int:
        """A counter of all nodes together, or of one."""
        return self.counted_at_once(name, node=node)[0]

    def counted_at_once(self, *names: str, node: str = "") -> list[int]:
        """Several counters by one look, as each look is a process of its own."""
        said = json.loads(self.cpms.cli("status", "--json").stdout)["workers"]
        counters = [worker["counters"] for worker in said if worker["name"].endswith(f"@{node}" if node else "")]
        return [sum(each[name] for each in counters) for name in names]

    def close(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(20)
            worker.stdout.close()  # type: ignore[union-attr]  # a pipe
        self.cpms.close()
        shutil.rmtree(self.cpms.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    running = Nodes()
    try:
        for charger in CHARGERS + ROLLED + DRAINED:
            running.cpms.add_charger(charger)
        for charger in SECURE:
            running.cpms.add_charger(charger, PASSWORD, profile=2)
        running.cpms.add_token("T-NODES")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def balancer(nodes: Nodes) -> Iterator[Terminator]:
    with terminator(nodes.addresses) as balancer:
        yield balancer


def secure_station(balancer: Terminator, charger: str, path: str = "/ocpp/default") -> AbstractAsyncContextManager[Station]:
    """A charger with TLS and Basic authentication (security profile 2)."""
    return station(f"wss://{charger}:{PASSWORD}@{balancer.host}{path}", charger, patience_s=20, tls=trusting(balancer))


def all_served(nodes: Nodes, count: int) -> None:
    """So many workers are there, and each has the slots that are to be its own: none moves any more."""
    nodes.cpms.until(
        nodes.slots, lambda slots: len(slots) == count and slots == Counter(owner_of(slot, slots) for slot in range(SLOTS))
    )


def test_a_charger_at_any_node_is_served_and_a_command_from_any_node_reaches_it(nodes: Nodes) -> None:
    all_served(nodes, 3)

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations, told = [], set()
            for number, charger in enumerate(CHARGERS):
                one = await stack.enter_async_context(station(nodes.urls[number % 3], charger, patience_s=10))
                assert (await one.call("BootNotification", BOOT["1.6"]))["status"] == "Accepted"
                assert one.socket.response is not None
                told.add(one.socket.response.headers[NODE_HEADER])
                one.answers["ClearCache"] = {"status": "Accepted"}
                stations.append(one)
            assert told == {"n1", "n2", "n3"}
            assert await asyncio.to_thread(nodes.counted, "gateway.relayed") > 0
            for charger in CHARGERS[:4]:
                said = await asyncio.to_thread(nodes.cpms.cli, "call", charger, "ClearCache", "--json")
                assert json.loads(said.stdout).get("answer") == {"status": "Accepted"}, said

    asyncio.run(script())


@needs_haproxy
def test_behind_haproxy_a_charger_with_tls_and_a_password_reaches_the_node_that_serves_it(nodes: Nodes, balancer: Terminator) -> None:
    all_served(nodes, 3)

    async def come(stack: AsyncExitStack, charger: str, path: str) -> Station:
        one = await stack.enter_async_context(secure_station(balancer, charger, path))
        assert one.socket.subprotocol == "ocpp1.6"
        assert one.socket.response is not None
        names = {name for name, _ in one.socket.response.headers.raw_items()}
        assert {"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"} <= names
        assert NODE_HEADER.lower() not in names
        assert [extension.name for extension in one.socket.protocol.extensions] == ["permessage-deflate"]
        assert (await one.call("BootNotification", BOOT["1.6"]))["status"] == "Accepted"
        return one

    async def script() -> None:
        async with AsyncExitStack() as stack:
            for charger in SECURE:
                await come(stack, charger, "/ocpp/default")
        astray = await asyncio.to_thread(nodes.counted, "gateway.relayed_on")
        async with AsyncExitStack() as stack:
            stations = [await come(stack, charger, "/ocpp") for charger in SECURE]
            for name in ("n1", "n2", "n3"):
                assert await asyncio.to_thread(nodes.counted, "gateway.open", name) > 0, name
            assert await asyncio.to_thread(nodes.counted, "gateway.relayed_on") == astray
            said = {"vendorId": "v", "data": "long enough to be compressed " * 50}
            stations[0].answers["DataTransfer"] = {"status": "Accepted"}
            asked = await asyncio.to_thread(nodes.cpms.cli, "call", SECURE[0], "DataTransfer", json.dumps(said), "--json")
            assert json.loads(asked.stdout)["answer"] == {"status": "Accepted"}, asked
            assert [call[3] for call in stations[0].calls] == [said]

    asyncio.run(script())


@needs_haproxy
def test_haproxy_lets_nobody_in_whom_the_nodes_would_not(nodes: Nodes, balancer: Terminator) -> None:
    async def status(url: str) -> int:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, subprotocols=[Subprotocol("ocpp1.6")], ssl=trusting(balancer))
        return refused.value.response.status_code

    async def script() -> None:
        assert await status(f"wss://{SECURE[0]}:wrong-{PASSWORD}@{balancer.host}/ocpp/default/{SECURE[0]}") == 401
        assert await status(f"wss://{balancer.host}/ocpp/default/{SECURE[0]}") == 401
        assert await status(f"wss://{balancer.host}/elsewhere/{SECURE[0]}") == 404
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(f"wss://{balancer.host}/ocpp/default/{SECURE[0]}")

    asyncio.run(script())


def test_a_charger_at_the_wrong_node_sees_nothing_of_a_rollout_of_that_node_nor_of_its_own(nodes: Nodes) -> None:
    """They charge at n1 and n2, which carry what is not theirs to each other and to n3, while the workers of both are replaced."""
    nodes.start_what_was_killed()
    all_served(nodes, 3)
    over = asyncio.Event()

    async def charge(s: Station, session: Session16) -> int:
        """Meter readings one after the other, each answered once."""
        await session.begin(s, 1000)
        readings = 0
        while not over.is_set():
            readings += 1
            await session.meter(s, min(59, readings // 100 + 1), 1000 + readings)
            await asyncio.sleep(0.01)
        await session.end(s, 59, 8000)
        assert s.socket.close_code is None
        return readings

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations = [
                await stack.enter_async_context(station(nodes.urls[number % 2], charger, patience_s=10))
                for number, charger in enumerate(ROLLED)
            ]
            carried = await asyncio.to_thread(nodes.counted, "gateway.relayed")
            assert carried >= len(ROLLED) // 4
            async with asyncio.TaskGroup() as group:
                charging = [group.create_task(charge(s, Session16(c, "T-NODES"))) for s, c in zip(stations, ROLLED, strict=True)]
                try:
                    said = await asyncio.to_thread(nodes.cpms.cli, "rollout", "n1", "--json")
                    assert json.loads(said.stdout)["replaced"], said
                    await asyncio.to_thread(nodes.replace, 2)
                finally:
                    over.set()
            assert min(task.result() for task in charging) > 10
            names = ("gateway.relayed", "gateway.relays_moved_in", "moves_failed")
            assert await asyncio.to_thread(nodes.counted_at_once, *names) == [carried, carried, 0]

    asyncio.run(script())
    each_has_one_bill(nodes, ROLLED)


def test_the_chargers_of_a_node_that_is_drained_are_sent_away_one_by_one_and_charge_on_elsewhere(nodes: Nodes) -> None:
    nodes.start_what_was_killed()
    all_served(nodes, 3)
    spread_s = 2.0
    ended: list[float] = []

    async def charge(charger: str, begun: asyncio.Barrier, over: asyncio.Event) -> None:
        session = Session16(charger, "T-NODES")
        async with station(nodes.urls[2], charger, patience_s=10) as s:
            await session.begin(s, 1000)
            await begun.wait()
            ends = asyncio.create_task(s.socket.wait_closed())
            drained = asyncio.create_task(over.wait())
            await asyncio.wait((ends, drained), return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
            if not ends.done():  # n3 only carried it, and carries it still
                ends.cancel()
                await session.end(s, 30, 8000)
                return
            assert s.socket.close_code == 1012
            ended.append(asyncio.get_running_loop().time())
        async with station(nodes.urls[0], charger, patience_s=20) as s:
            await session.end(s, 30, 8000)

    async def script() -> None:
        begun, over = asyncio.Barrier(len(DRAINED) + 1), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for charger in DRAINED:
                group.create_task(charge(charger, begun, over))
            await begun.wait()
            at_n3 = await asyncio.to_thread(nodes.counted, "gateway.open", "n3")
            assert 0 < at_n3 < len(DRAINED)
            began = asyncio.get_running_loop().time()
            said = await asyncio.to_thread(nodes.cpms.cli, "drain", "n3", "--spread", str(spread_s), "--json")
            assert said.returncode == 0, said
            await asyncio.to_thread(nodes.cpms.until, nodes.slots, lambda slots: slots["worker-1@n3"] == 0)
            over.set()
        assert len(ended) == at_n3
        assert 0.2 * spread_s < max(ended) - min(ended) < spread_s
        assert max(ended) - began < spread_s + 3  # and what the command took
        assert await asyncio.to_thread(nodes.counted, "sent_away", "n3") > 0

    asyncio.run(script())
    assert nodes.cpms.cli("drain", "n3", "--back").returncode == 0
    all_served(nodes, 3)
    each_has_one_bill(nodes, DRAINED)


def test_when_a_node_is_killed_its_chargers_are_served_by_the_others(nodes: Nodes) -> None:
    nodes.start_what_was_killed()
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
    each_has_one_bill(nodes, CHARGERS)


@needs_haproxy
def test_behind_haproxy_a_killed_node_s_chargers_come_back_to_the_others_and_nobody_else_notices(
    nodes: Nodes, balancer: Terminator
) -> None:
    nodes.start_what_was_killed()
    all_served(nodes, 3)
    sessions = {charger: Session16(charger, "T-NODES") for charger in SECURE}

    async def script() -> None:
        async with AsyncExitStack() as stack:
            for charger in SECURE:  # haproxy learns where they belong
                async with secure_station(balancer, charger) as s:
                    await s.call("Heartbeat", {})
            stations = {charger: await stack.enter_async_context(secure_station(balancer, charger)) for charger in SECURE}
            for charger, session in sessions.items():
                await session.begin(stations[charger], 1000)
            doomed = await asyncio.to_thread(nodes.counted, "gateway.open", "n3")
            assert 0 < doomed < len(SECURE)
            nodes.workers[1].kill()
            ends = {asyncio.create_task(s.socket.wait_closed(), name=charger) for charger, s in stations.items()}
            back: list[str] = []
            async with asyncio.timeout(20):
                while len(back) < doomed:
                    ended, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    back += [task.get_name() for task in ended]
            for charger in back:
                stations[charger] = await stack.enter_async_context(secure_station(balancer, charger))
            for charger, session in sessions.items():
                await session.meter(stations[charger], 20, 6000)
                await session.end(stations[charger], 30, 8000)
            assert len(back) == doomed
            assert not any(task.done() for task in ends)

    asyncio.run(script())
    each_has_one_bill(nodes, SECURE)


def each_has_one_bill(nodes: Nodes, chargers: list[str]) -> None:
    for charger in chargers:
        (cdr,) = nodes.cpms.until(lambda charger=charger: nodes.cpms.cdrs(charger), lambda cdrs: len(cdrs) > 0)  # type: ignore[misc]
        (session,) = nodes.cpms.sessions(charger)
        assert (session.status, session.energy_wh, cdr.energy_wh) == ("Ended", 7000, 7000)
