"""`cpms rollout` under traffic: every worker is a new process afterwards, and no charger has seen anything of it."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from running import RunningCpms
from station import BOOT, Session16, Session201, Station, station

CHARGERS = [f"ROLL-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def two() -> Iterator[RunningCpms]:
    running = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-roll-")), workers=2)
    try:
        for charger in CHARGERS:
            running.add_charger(charger)
        running.add_token("T-ROLL")
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)


def workers(cpms: RunningCpms) -> dict[str, Any]:
    said = json.loads(cpms.cli("status", "--json").stdout)["workers"]
    return {worker["name"].partition("@")[0]: worker for worker in said}


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_rollout_replaces_every_worker_and_disconnects_nobody(two: RunningCpms, time: str) -> None:
    before = two.until(lambda: workers(two), lambda said: len(said) == 2 and all(worker["slots"] for worker in said.values()))
    sessions: dict[str, Any] = {
        charger: (Session16 if number % 2 else Session201)(f"{charger}-{time}", "T-ROLL") for number, charger in enumerate(CHARGERS)
    }
    first_wh = 1000 if time == "first" else 2000  # the very same start would be the same transaction
    over = asyncio.Event()

    async def charge(s: Station, session: Any, number: int) -> int:
        """Meter readings one after the other, each answered, as long as the rollout lasts."""
        assert (await s.call("BootNotification", BOOT[session.version]))["status"] == "Accepted"
        await session.begin(s, first_wh)
        readings = 0
        while not over.is_set() or readings < 3:
            readings += 1
            await session.meter(s, min(59, readings // 10 + 1), first_wh + readings)
            await asyncio.sleep(0.005 * (number % 5))
        await session.end(s, 59, first_wh + 89_000)
        assert s.socket.close_code is None
        return readings

    async def command(s: Station, charger: str, kind: str) -> None:
        """Calls one after the other, each answered by the charger once, and told to whom asked."""
        s.answers["ClearCache"] = {"status": "Accepted"}
        asked = 0
        while not over.is_set() or asked < 2:
            asked += 1
            answered = await asyncio.to_thread(two.cli, "call", charger, "ClearCache", "--json")
            assert json.loads(answered.stdout)["answer"] == {"status": "Accepted"}, answered
        assert len(s.calls) == asked, kind

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations = [
                await stack.enter_async_context(station(two.ws_url, charger, session.version, patience_s=10))
                for charger, session in sessions.items()
            ]
            async with asyncio.TaskGroup() as group:
                for number, (s, session) in enumerate(zip(stations, sessions.values(), strict=True)):
                    group.create_task(charge(s, session, number))
                for s, (charger, session) in list(zip(stations, sessions.items(), strict=True))[:2]:
                    group.create_task(command(s, charger, session.version))
                try:
                    said = await asyncio.to_thread(two.cli, "rollout", "--json")
                finally:
                    over.set()
            replaced = json.loads(said.stdout)["replaced"]
            assert [each["before"] for each in replaced] == sorted(before)

    asyncio.run(script())
    after = workers(two)
    assert len(after) == 2
    assert not {worker["pid"] for worker in after.values()} & {worker["pid"] for worker in before.values()}
    assert sum(worker["slots"] for worker in after.values()) == 64
    counters = [worker["counters"] for worker in after.values()]
    assert sum(each["moved_in"] for each in counters) >= len(CHARGERS)
    assert sum(each["moves_unclaimed"] + each["moves_failed"] + each["moves_parked"] for each in counters) == 0
    for charger in CHARGERS:
        ended = two.until(lambda charger=charger: two.cdrs(charger), lambda cdrs: len(cdrs) == (1 if time == "first" else 2))  # type: ignore[misc]
        assert {cdr.energy_wh for cdr in ended} == {89_000}
