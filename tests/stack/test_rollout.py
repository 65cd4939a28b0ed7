"""`cpms rollout` under traffic: every worker is a new process afterwards, and no charger has seen anything of it."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from running import RunningCpms, shared_out, two_workers
from station import BOOT, Session16, Session201, Station, station

from cpms_actors.bus.verbs_ledger import CdrView

CHARGERS = [f"ROLL-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def two() -> Iterator[RunningCpms]:
    with two_workers("cpms-roll-", CHARGERS, "T-ROLL") as running:
        yield running


def billed(cpms: RunningCpms, charger: str, count: int) -> list[CdrView]:
    return cpms.until(lambda: cpms.cdrs(charger), lambda cdrs: len(cdrs) == count)


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_rollout_replaces_every_worker_and_disconnects_nobody(two: RunningCpms, time: str) -> None:
    before = shared_out(two)  # who connects while slots change hands may be told to return
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
    after = two.workers()
    assert len(after) == 2
    assert not {worker["pid"] for worker in after.values()} & {worker["pid"] for worker in before.values()}
    assert sum(worker["slots"] for worker in after.values()) == 64
    counters = [worker["counters"] for worker in after.values()]
    assert sum(each["moved_in"] for each in counters) >= len(CHARGERS)
    assert sum(each["moves_unclaimed"] + each["moves_failed"] + each["moves_parked"] for each in counters) == 0
    for charger in CHARGERS:
        ended = billed(two, charger, 1 if time == "first" else 2)
        assert {cdr.energy_wh for cdr in ended} == {89_000}


@pytest.mark.parametrize("victim", ["successor", "predecessor"])
def test_whichever_worker_dies_half_way_its_chargers_connect_again_and_sessions_go_on(two: RunningCpms, victim: str) -> None:
    before = shared_out(two)
    name = min(before)
    successor = f"{name.partition('~')[0]}~{int(name.partition('~')[2] or 1) + 1}"
    sessions = {charger: Session16(charger, "T-ROLL") for charger in CHARGERS}
    known = {charger: len(two.cdrs(charger)) for charger in CHARGERS}
    first_wh = 3000 if victim == "successor" else 4000

    async def charge(charger: str, session: Session16, begun: asyncio.Barrier, over: asyncio.Event) -> None:
        async with station(two.ws_url, charger, patience_s=20) as s:
            await s.call("BootNotification", BOOT["1.6"])
            await session.begin(s, first_wh)
            await begun.wait()
            await asyncio.wait(
                (asyncio.create_task(over.wait()), asyncio.create_task(s.socket.wait_closed())), return_when="FIRST_COMPLETED"
            )
            if s.socket.close_code is None:  # it was not in the dying hands
                await session.end(s, 30, first_wh + 7000)
                return
        async with station(two.ws_url, charger, patience_s=20) as s:
            await session.end(s, 30, first_wh + 7000)

    def strike() -> None:
        """The successor has some of the slots and stands still: what it is passed now it has, and has not taken up."""
        said = f"{successor:<10} |"
        two.until(two.log, lambda log: any("moved_here" in line for line in log if line.startswith(said)), 30, every_s=0.01)
        two.signal(signal.SIGSTOP, successor)
        two.kill(successor if victim == "successor" else name)
        if victim == "predecessor":
            two.signal(signal.SIGCONT, successor)

    async def script() -> None:
        begun, over = asyncio.Barrier(len(sessions) + 1), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for charger, session in sessions.items():
                group.create_task(charge(charger, session, begun, over))
            await begun.wait()
            rolling = group.create_task(asyncio.to_thread(two.cli, "rollout", "--json"))
            await asyncio.to_thread(strike)
            await rolling
            over.set()

    asyncio.run(script())
    for charger in CHARGERS:
        ended = billed(two, charger, known[charger] + 1)
        assert ended[0].energy_wh == 7000
    two.until(two.workers, lambda said: len(said) == 2 and sum(worker["slots"] for worker in said.values()) == 64)
