"""What fails while many chargers charge: Postgres, its connections, the room of the journal, the network between a worker and NATS.

Chargers see what ARCHITECTURE.md says they see, and afterwards everything is in Postgres once and billed once.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from running import RunningCpms
from station import Session16, Station, station

from cpms_actors.base.settings import Nats, Postgres
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.node.data_dir import Connection

OUTAGE_S = 15.0
LOADED = [f"LOADED-{number}" for number in range(10)]
CROWDED = [f"CROWDED-{number}" for number in range(4)]
TOKEN = "T-FAULTS"
SESSION_WH = 1000


@pytest.fixture(scope="module")
def system(postgres: Postgres) -> Iterator[RunningCpms]:
    """A system on a Postgres that is the test's to stop. Verdicts are known for as long as they are in production."""
    settings = {"CPMS_POSTGRES_DSN": postgres.dsn, "CPMS_POSTGRES_OWNER_DSN": postgres.owner_dsn}
    running = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-faults-")), CPMS_NODE="n1", CPMS_CHARGING_VERDICT_TTL_S="60", **settings)
    try:
        for charger in (*LOADED, *CROWDED, "FULL"):
            running.add_charger(charger)
        running.add_token(TOKEN)
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)


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


@asynccontextmanager
async def no_connection_left(postgres: Postgres) -> AsyncIterator[None]:
    """Others have every connection that Postgres has to give, also those that the pools had."""
    superuser = await asyncpg.connect(postgres.owner_dsn)
    async with AsyncExitStack() as others:
        others.push_async_callback(superuser.close)
        while True:
            with pytest.raises(asyncpg.TooManyConnectionsError):
                while True:
                    other = await asyncpg.connect(postgres.dsn, server_settings={"application_name": "others"})
                    others.push_async_callback(other.close)
            ended = await superuser.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE usename = 'cpms_app' AND datname = current_database() AND application_name <> 'others'"
            )
            if not ended:
                break
        yield


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
    connection = msgspec.json.decode((system.directory / ".cpms" / "connection.json").read_bytes(), type=Connection)

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


def test_after_all_of_it_the_journal_makes_the_same_database(system: RunningCpms) -> None:
    said = json.loads(system.cli("rebuild", "--json").stdout)
    assert [table for table in said["tables"] if not table["identical"]] == []
    assert said["identical"] is True
