"""The disk of nats-server is really full: it has a small file system of its own, and something else takes all that is left of it.

A stream whose write has failed takes nothing more until nats-server is started again, whatever room there is by then.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from running import RunningCpms
from station import Session16, station

DISK_MIB = 256
CHARGERS = [f"DISK-{number}" for number in range(4)]
TOKEN = "T-DISK"
SESSION_WH = 1000


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """The directory of a system whose nats-server has a disk of its own."""
    directory = Path(tempfile.mkdtemp(prefix="cpms-disk-"))
    store = directory / ".cpms" / "nats"
    store.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(store)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        shutil.rmtree(directory)
        pytest.skip(f"a file system of its own cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(store)], check=True)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def system(disk: Path) -> Iterator[RunningCpms]:
    running = RunningCpms(disk, CPMS_CHARGING_VERDICT_TTL_S="60")
    try:
        for charger in CHARGERS:
            running.add_charger(charger)
        running.add_token(TOKEN)
        yield running
    finally:
        running.close()


def fill(ballast: Path) -> None:
    """Take every block that is left."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(os.statvfs(ballast).f_bsize))


async def insist(step: Callable[..., Awaitable[None]], *args: Any) -> None:
    """A charger repeats what was not answered."""
    async with asyncio.timeout(60):
        while True:
            with suppress(TimeoutError):
                return await step(*args)


def test_a_full_disk_under_the_journal_is_told_of_and_loses_nothing_when_there_is_room_again(disk: Path, system: RunningCpms) -> None:
    ballast = disk / ".cpms" / "nats" / "ballast"
    answered = 0

    async def charge(charger: str, full: asyncio.Event, room: asyncio.Event) -> None:
        nonlocal answered
        session = Session16(charger, TOKEN)
        async with station(system.ws_url, charger, patience_s=20) as s:
            await session.begin(s, 0)
            await full.wait()
            refused = False
            for minute in range(1, 20):  # what is left of a block of the disk takes some
                try:
                    await session.meter(s, minute, 10 * minute)
                    answered += 1
                except TimeoutError:
                    refused = True
                    break
            assert refused
            assert (await s.call("Heartbeat", {}))["currentTime"]
            with pytest.raises(TimeoutError):
                await session.end(s, 30, SESSION_WH)
            refusing.release()
            await room.wait()
            for again in range(minute, 20):
                await insist(session.meter, s, again, 10 * again)
            await insist(session.end, s, 30, SESSION_WH)
            assert s.socket.close_code is None

    refusing = asyncio.Semaphore(0)

    async def script() -> None:
        full, room = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for charger in CHARGERS:
                group.create_task(charge(charger, full, room))
            await asyncio.sleep(2)
            await asyncio.to_thread(fill, ballast)
            full.set()
            for _ in CHARGERS:
                await refusing.acquire()
            said = (await asyncio.to_thread(system.cli, "status")).stdout
            assert "the journal of worker-1" in said
            assert "has its disk room?" in said
            told = [line for line in system.log() if "nats_cannot_write" in line]
            assert len(told) == 1
            assert "no space left on device" in told[0]
            ballast.unlink()
            room.set()

    asyncio.run(script())
    for charger in CHARGERS:
        cdrs = system.until(lambda charger=charger: system.cdrs(charger), lambda cdrs: len(cdrs) >= 1, 40)  # type: ignore[misc]
        assert [(each.status, each.energy_wh) for each in system.sessions(charger)] == [("Ended", SESSION_WH)]
        assert [cdr.energy_wh for cdr in cdrs] == [SESSION_WH]
    log = system.log()
    assert len([line for line in log if "nats_started_again" in line]) == 1
    assert not [line for line in log if "child_failed" in line or "child_exited" in line], "nobody else had to be started again"
    assert "the journal of" not in system.cli("status").stdout
    assert json.loads(system.cli("rebuild", "--json").stdout)["identical"] is True
