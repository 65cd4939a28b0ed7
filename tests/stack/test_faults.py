"""What fails while many chargers charge: Postgres, its connections, the room of the journal, the network between a worker and NATS.

Chargers see what ARCHITECTURE.md says they see, and afterwards everything is in Postgres once and billed once.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from crowd import no_connection_left
from partition import Way, way_to
from running import RunningCpms, die_with_parent
from station import Session16, Station, station
from websockets.exceptions import ConnectionClosed

from cpms_actors.base.ids import SLOTS, slot_of
from cpms_actors.base.settings import Nats, Postgres
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.ownership import owner_of
from cpms_actors.bus.slots import Owner
from cpms_actors.node.data_dir import Connection

OUTAGE_S = 15.0
LOADED = [f"LOADED-{number}" for number in range(10)]
CROWDED = [f"CROWDED-{number}" for number in range(4)]
NODES = ("worker-1@n1", "worker-1@n2")
OF_N2 = [each for each in (f"CUT-{number}" for number in range(60)) if owner_of(slot_of("default", each), NODES) == NODES[1]]
PAUSED, CUT = OF_N2[:6], OF_N2[6:12]
TOKEN = "T-FAULTS"
SESSION_WH = 1000


@pytest.fixture(scope="module")
def system(postgres: Postgres) -> Iterator[RunningCpms]:
    """A system on a Postgres that is the test's to stop. Verdicts are known for as long as they are in production."""
    settings = {"CPMS_POSTGRES_DSN": postgres.dsn, "CPMS_POSTGRES_OWNER_DSN": postgres.owner_dsn}
    running = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-faults-")), CPMS_NODE="n1", CPMS_CHARGING_VERDICT_TTL_S="60", **settings)
    try:
        for charger in (*LOADED, *CROWDED, *PAUSED, *CUT, "FULL"):
            running.add_charger(charger)
        running.add_token(TOKEN)
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)


def connection_of(system: RunningCpms) -> Connection:
    return msgspec.json.decode((system.directory / ".cpms" / "connection.json").read_bytes(), type=Connection)


async def charge(s: Station, charger: str, hour: int) -> None:
    """A session from its start to its end: two readings, 1 kWh. Every frame is answered, and the start is accepted."""
    session = Session16(charger, TOKEN, hour=hour)
    begins_wh = hour * SESSION_WH
    await session.begin(s, begins_wh)
    for minute, wh in ((10, 300), (20, 700)):
        await session.meter(s, minute, begins_wh + wh)
        await asyncio.sleep(0.3)
    await session.end(s, 30, begins_wh + SESSION_WH)


class Load:
    """Chargers that have one session after the other until `over`; `sessions` says how many each has had."""

    def __init__(self, ws_url: str, chargers: list[str]) -> None:
        self.sessions = dict.fromkeys(chargers, 0)
        self.over = asyncio.Event()
        self._ws_url = ws_url
        self._had = asyncio.Condition()

    async def run(self, charger: str) -> None:
        async with station(self._ws_url, charger, patience_s=20) as s:
            while not self.over.is_set():
                await charge(s, charger, self.sessions[charger])
                self.sessions[charger] += 1
                async with self._had:
                    self._had.notify_all()
            assert s.socket.close_code is None
            assert (await s.call("Heartbeat", {}))["currentTime"]

    async def more(self, count: int) -> None:
        """Wait until each charger has had so many more sessions."""
        wanted = {charger: had + count for charger, had in self.sessions.items()}
        async with asyncio.timeout(60), self._had:
            await self._had.wait_for(lambda: all(self.sessions[charger] >= had for charger, had in wanted.items()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for charger in self.sessions:
                group.create_task(self.run(charger))
            try:
                yield
            finally:
                self.over.set()


def each_is_billed_once(system: RunningCpms, sessions: dict[str, int]) -> None:
    for charger, count in sessions.items():
        cdrs = system.until(lambda charger=charger: system.cdrs(charger), lambda cdrs, count=count: len(cdrs) >= count, 40)  # type: ignore[misc]
        found = system.sessions(charger)
        assert [(each.status, each.energy_wh) for each in found] == [("Ended", SESSION_WH)] * count
        assert sorted(cdr.session for cdr in cdrs) == sorted(each.id for each in found)
        assert {cdr.energy_wh for cdr in cdrs} == {SESSION_WH}


def nothing_is_amiss(system: RunningCpms) -> None:
    """`cpms reconcile` finds nothing, by any of its rules."""

    def found() -> list[Any]:
        said = json.loads(system.cli("reconcile", "--json").stdout)
        assert said["sessions"] > 0
        return [rule for rule in said["rules"] if rule["found"]]

    system.until(found, lambda rules: rules == [])


def test_while_postgres_is_away_many_chargers_see_nothing_and_every_session_is_billed_once(
    system: RunningCpms, postgres_server: Any
) -> None:
    load = Load(system.ws_url, LOADED)

    async def script() -> None:
        async with load.running():
            await load.more(1)
            postgres_server.stop()  # in this thread: the server dies with the thread that starts it
            before = dict(load.sessions)
            try:
                await asyncio.sleep(OUTAGE_S)
                assert all(load.sessions[charger] >= had + 2 for charger, had in before.items())
            finally:
                postgres_server.start()
            await load.more(1)

    asyncio.run(script())
    each_is_billed_once(system, load.sessions)
    nothing_is_amiss(system)


def test_while_others_have_all_connections_of_postgres_chargers_see_nothing_and_are_billed_afterwards(
    system: RunningCpms, postgres: Postgres
) -> None:
    load = Load(system.ws_url, CROWDED)

    async def script() -> None:
        async with load.running():
            await load.more(1)
            async with no_connection_left(postgres):
                before = dict(load.sessions)
                await load.more(2)
                said = await asyncio.to_thread(system.cli, "session", "list", "--charger", CROWDED[0], "--json")
                assert said.returncode != 0, f"the pools have found a connection: {said.stdout}"
                assert min(before.values()) >= 1

    asyncio.run(script())
    each_is_billed_once(system, load.sessions)
    nothing_is_amiss(system)


def test_a_journal_without_room_leaves_money_unanswered_and_heartbeats_answered_until_there_is_room(system: RunningCpms) -> None:
    connection = connection_of(system)

    async def room(extra: int) -> int:
        """Bound the journal to what it holds and so much more; the bound that it had."""
        client = await connect(Nats(url=connection.nats_url), "test")
        try:
            info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
            had = info.config.max_bytes
            info.config.max_bytes = extra or info.state.bytes
            await client.jetstream().update_stream(info.config)
        finally:
            await client.close()
        assert had is not None
        return had

    async def insist(step: Callable[..., Awaitable[None]], *args: Any) -> None:
        """A charger repeats what was not answered."""
        async with asyncio.timeout(30):
            while True:
                with suppress(TimeoutError):
                    return await step(*args)

    async def script() -> None:
        running, waiting = Session16("FULL", TOKEN), Session16("FULL", TOKEN, hour=9)
        async with station(system.ws_url, "FULL", patience_s=20) as s:
            await running.begin(s, 0)
            had = await room(0)
            try:
                starts = s.call("StartTransaction", waiting.begin_payload(SESSION_WH))
                money = asyncio.gather(running.meter(s, 10, 500), running.end(s, 20, SESSION_WH), starts, return_exceptions=True)
                while not money.done():
                    assert (await s.call("Heartbeat", {}))["currentTime"]
                    await asyncio.wait([money], timeout=0.5)
                assert [type(said) for said in await money] == [TimeoutError] * 3
            finally:
                await room(had)
            await insist(running.meter, s, 10, 500)
            await insist(running.end, s, 20, SESSION_WH)
            await insist(waiting.begin, s, SESSION_WH)
            await waiting.end(s, 30, 2 * SESSION_WH)
            assert s.socket.close_code is None

    asyncio.run(script())
    each_is_billed_once(system, {"FULL": 2})
    nothing_is_amiss(system)


class CutOff:
    """A second node: one worker on 127.0.0.2 that reaches NATS by a way which the test can interrupt."""

    def __init__(self, system: RunningCpms, way: Way, connection: Connection) -> None:
        host, _, port = system.ws_url.split("/")[2].replace("127.0.0.1", "127.0.0.2").partition(":")
        self.ws_url = system.ws_url.replace("127.0.0.1", host)
        self.way = way
        self._log = system.directory / "n2.log"
        settings = {
            "CPMS_NODE": "n2",
            "CPMS_NATS_URL": connection.nats_url.rpartition(":")[0] + f":{way.port}",
            "CPMS_NATS_PING_INTERVAL_S": "1",
            "CPMS_POSTGRES_DSN": connection.postgres_dsn,
            "CPMS_CREDENTIAL_KEY": connection.credential_key,
            "CPMS_GATEWAY_HOST": host,
            "CPMS_GATEWAY_INNER_HOST": host,
            "CPMS_GATEWAY_PORT": port,
            "CPMS_CHARGING_VERDICT_TTL_S": "60",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cpms_actors.cli.main", "worker", "--name", "worker-1"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=system.directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("CPMS_")} | settings,
                preexec_fn=die_with_parent,
            )

    def said(self, word: str) -> int:
        """How often its log has this word."""
        return self._log.read_text(errors="replace").count(word)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def slots(system: RunningCpms) -> dict[str, int]:
    said = json.loads(system.cli("status", "--json").stdout)["workers"]
    return {worker["name"]: worker["slots"] for worker in said}


async def all_claimed_by(system: RunningCpms, worker: str) -> None:
    """Return when every slot is this worker's, by what the broker has."""
    client = await connect(Nats(url=connection_of(system).nats_url), "test")
    bucket = await client.jetstream().key_value(subjects.SLOTS_BUCKET)
    try:
        async with asyncio.timeout(20):
            for slot in range(SLOTS):
                while msgspec.msgpack.decode((await bucket.get(str(slot))).value or b"", type=Owner).worker != worker:
                    await asyncio.sleep(0.05)
    finally:
        await client.close()


def its_own(system: RunningCpms) -> None:
    """Both nodes are there, and each has the slots that are to be its own."""
    system.until(lambda: slots(system), lambda said: said == Counter(owner_of(slot, NODES) for slot in range(SLOTS)))


@pytest.fixture(scope="module")
def cut_off(system: RunningCpms) -> Iterator[CutOff]:
    connection = connection_of(system)
    host, _, port = connection.nats_url.rpartition("@")[2].removeprefix("nats://").partition(":")
    with way_to(host, int(port)) as way:
        worker = CutOff(system, way, connection)
        try:
            yield worker
        finally:
            way.restore()
            worker.close()


def test_a_second_without_a_network_between_a_worker_and_nats_is_a_pause_that_loses_nothing(
    system: RunningCpms, cut_off: CutOff
) -> None:
    its_own(system)
    load = Load(cut_off.ws_url, PAUSED)

    async def script() -> None:
        async with load.running():
            await load.more(1)
            cut_off.way.interrupt()
            await asyncio.sleep(1)
            cut_off.way.restore()
            await load.more(2)

    asyncio.run(script())
    each_is_billed_once(system, load.sessions)


def test_a_worker_that_nats_cannot_be_reached_from_is_noticed_within_seconds_and_its_chargers_are_served_elsewhere(
    system: RunningCpms, cut_off: CutOff
) -> None:
    """Some come to the other node at once, the others wait where they are until they are closed."""
    its_own(system)
    sessions = {charger: Session16(charger, TOKEN) for charger in CUT}

    async def come_again(url: str, charger: str) -> None:
        """Connect and repeat what was not answered, until all is."""
        for step, minute, wh in ((sessions[charger].meter, 10, 500), (sessions[charger].end, 20, SESSION_WH)):
            async with asyncio.timeout(40):
                while True:
                    with suppress(TimeoutError, ConnectionClosed):
                        async with station(url, charger, patience_s=20) as s:
                            await step(s, minute, wh)
                            break

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations = {charger: await stack.enter_async_context(station(cut_off.ws_url, charger, patience_s=10)) for charger in CUT}
            for charger, session in sessions.items():
                await session.begin(stations[charger], 0)
            lost = cut_off.said("nats_disconnected")
            cut_off.way.interrupt()
            began = time.monotonic()
            money = [sessions[charger].meter(s, 10, 500) for charger, s in stations.items()]
            told = asyncio.gather(*money, return_exceptions=True)
            await all_claimed_by(system, NODES[0])
            assert time.monotonic() - began < 5 + 2.5, "five seconds, and what reading all claims takes"
            await asyncio.to_thread(system.until, lambda: cut_off.said("nats_disconnected"), lambda said: said > lost)
            assert [type(said) for said in await told] == [TimeoutError] * len(CUT)
            for charger in CUT[::2]:
                assert (await stations[charger].call("Heartbeat", {}))["currentTime"]
                await come_again(system.ws_url, charger)
            cut_off.way.restore()
            for charger in CUT[1::2]:
                await stations[charger].socket.wait_closed()
                await come_again(cut_off.ws_url, charger)

    asyncio.run(script())
    its_own(system)
    each_is_billed_once(system, dict.fromkeys(CUT, 1))
    nothing_is_amiss(system)


def test_after_all_of_it_the_journal_makes_the_same_database(system: RunningCpms) -> None:
    said = json.loads(system.cli("rebuild", "--json").stdout)
    assert [table for table in said["tables"] if not table["identical"]] == []
    assert said["identical"] is True
