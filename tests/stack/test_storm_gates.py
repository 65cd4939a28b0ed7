"""The storm gates of a running worker: one charger a second, and many more who want in."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import RunningCpms
from station import BOOT, Session16, station
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

REFUSED = 60  # so many make a queue of two minutes at one a second


@pytest.fixture
def narrow() -> Iterator[RunningCpms]:
    running = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-gates-")), CPMS_GATEWAY_ADMISSIONS_PER_S="1")
    try:
        running.add_token("T-GATES")
        for charger in ("CHARGING", "STARTING"):
            running.add_charger(charger)
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)


async def crowd(running: RunningCpms, refused: int) -> list[int]:
    """Knock, as somebody whom nobody knows, until so many were told to return later: when."""
    told: list[int] = []
    while len(told) < refused:
        with pytest.raises(InvalidStatus) as answer:
            await connect(f"{running.ws_url}/NOBODY", subprotocols=[Subprotocol("ocpp1.6")])
        if answer.value.response.status_code == 503:
            told.append(int(answer.value.response.headers["Retry-After"]))
    return told


def counters(running: RunningCpms) -> dict[str, int]:
    """Of the one worker."""
    (worker,) = json.loads(running.cli("status", "--json").stdout)["workers"]
    assert worker["health"] in ("ok", "late")
    assert worker["loop_lag_ms"] == max(worker["host_lag_ms"], worker["guest_lag_ms"])
    found: dict[str, int] = worker["counters"]
    return found


def test_who_is_charging_comes_in_first_and_who_starts_while_there_is_a_queue_is_pending_once(narrow: RunningCpms) -> None:
    session = Session16("CHARGING", "T-GATES")

    async def begin() -> None:
        async with station(narrow.ws_url, "CHARGING", patience_s=20) as s:
            await s.call("BootNotification", BOOT["1.6"])
            await session.begin(s, 1000)

    async def return_to_it() -> None:
        await crowd(narrow, 3)
        async with station(narrow.ws_url, "CHARGING") as s:  # at the first attempt
            await session.meter(s, 10, 2000)

    async def start() -> tuple[str, int, str, str]:
        assert min(await crowd(narrow, REFUSED)) >= 5
        async with station(narrow.ws_url, "STARTING", patience_s=20) as s:
            first = await s.call("BootNotification", BOOT["1.6"])
            refused = await s.frame("Heartbeat", {})
            again = await s.call("BootNotification", BOOT["1.6"])
            await s.call("Heartbeat", {})
            return first["status"], first["interval"], refused[2], again["status"]

    asyncio.run(begin())
    for _ in range(20):  # a slow machine has a token for everybody by the time that the charger is there
        asyncio.run(return_to_it())
        if counters(narrow)["gateway.first"]:
            break
    status, interval, refused, again = asyncio.run(start())
    assert (status, refused, again) == ("Pending", "SecurityError", "Accepted")
    assert 5 <= interval <= 125
    found = counters(narrow)
    assert found["gateway.first"] >= 1
    assert found["gateway.gate.boot"] == 1
    assert found["gateway.gate.rate"] >= REFUSED
    assert f"{found['gateway.gate.boot']} boots put off" in narrow.cli("status").stdout
