"""Two workers on one port, `cpms up --workers 2`: either accepts, the owner serves, and if one dies or stands still the other does."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from running import RunningCpms, shared_out, two_workers
from station import BOOT, Session16, Session201, station

CHARGERS = [f"TWO-{number}" for number in range(24)]


@pytest.fixture(scope="module")
def two() -> Iterator[RunningCpms]:
    with two_workers("cpms-two-", CHARGERS, "T-TWO") as running:
        yield running


def billed_once(cpms: RunningCpms, charger: str, energy_wh: int) -> None:
    (cdr,) = cpms.until(lambda: cpms.cdrs(charger), lambda cdrs: len(cdrs) > 0)
    (session,) = cpms.sessions(charger)
    assert (session.status, session.energy_wh, cdr.energy_wh) == ("Ended", energy_wh, energy_wh)


def test_every_charger_is_served_by_the_owner_of_its_slot_whoever_accepts_and_commands_find_it(two: RunningCpms) -> None:
    shared_out(two)

    async def script() -> None:
        async with AsyncExitStack() as stack:
            stations = [await stack.enter_async_context(station(two.ws_url, charger, patience_s=10)) for charger in CHARGERS]
            for each in stations:
                assert (await each.call("BootNotification", BOOT["1.6"]))["status"] == "Accepted"
            said = await asyncio.to_thread(two.workers)
            assert sum(worker["connections"] for worker in said.values()) == len(CHARGERS)
            assert all(worker["connections"] > 0 for worker in said.values())
            counters = [worker["counters"] for worker in said.values()]
            passed_on = sum(each["gateway.passed_on"] for each in counters)
            assert 0 < passed_on == sum(each["gateway.passed_in"] for each in counters)
            for charger, each in zip(CHARGERS[:6], stations, strict=False):
                each.answers["ClearCache"] = {"status": "Accepted"}
                answered = await asyncio.to_thread(two.cli, "call", charger, "ClearCache", "--json")
                assert json.loads(answered.stdout)["answer"] == {"status": "Accepted"}, answered

    asyncio.run(script())


@pytest.mark.parametrize("kind", [Session16, Session201], ids=lambda kind: kind.version)
def test_a_worker_that_is_killed_comes_back_to_its_slots_and_sessions_go_on(two: RunningCpms, kind: Any) -> None:
    shared_out(two)
    sessions = {charger: kind(charger, "T-TWO") for charger in CHARGERS[: 8 if kind is Session16 else 16][-8:]}

    async def script(charger: str, session: Any, begun: asyncio.Barrier, killed: asyncio.Event) -> None:
        async with station(two.ws_url, charger, kind.version, patience_s=20) as s:
            await s.call("BootNotification", BOOT[kind.version])
            await session.begin(s, 1000)
            if await begun.wait() == 0:
                two.kill("worker-1")
                killed.set()
            await killed.wait()
        async with station(two.ws_url, charger, kind.version, patience_s=20) as s:
            await session.meter(s, 20, 6000)
            await session.end(s, 30, 8000)

    async def all_of_them() -> None:
        begun, killed = asyncio.Barrier(len(sessions)), asyncio.Event()
        await asyncio.gather(*(script(charger, session, begun, killed) for charger, session in sessions.items()))

    asyncio.run(all_of_them())
    for charger in sessions:
        billed_once(two, charger, 7000)


def test_the_slots_of_one_that_stands_still_are_served_by_the_other_within_five_seconds_and_go_back_after(two: RunningCpms) -> None:
    before = shared_out(two)
    two.signal(signal.SIGSTOP, "worker-2")
    try:
        stopped = time.monotonic()
        two.until(two.workers, lambda said: said.get("worker-1", {}).get("slots") == 64, 10)
        assert time.monotonic() - stopped < 5 + 2.5, "five seconds, and what two commands of the CLI take"
    finally:
        two.signal(signal.SIGCONT, "worker-2")
    after = shared_out(two)
    assert {name: worker["slots"] for name, worker in after.items()} == {name: worker["slots"] for name, worker in before.items()}
    assert after["worker-2"]["pid"] == before["worker-2"]["pid"]
