"""A disk is really full: it is a small file system of its own, and something else takes all that is left of it.

A stream whose write has failed takes nothing more until nats-server is started again, whatever room there is by then. A Postgres that
ends cannot start again before there is some.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from running import RunningCpms
from station import Session16, station

DISK_MIB = 256
CHARGERS = [f"DISK-{number}" for number in range(4)]
TOKEN = "T-DISK"
SESSION_WH = 1000


@contextmanager
def disk_at(folder: Path) -> Iterator[None]:
    """A small file system there while the block runs."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system of its own cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def system_in(directory: Path) -> Iterator[RunningCpms]:
    running = RunningCpms(directory, CPMS_CHARGING_VERDICT_TTL_S="60")
    try:
        for charger in CHARGERS:
            running.add_charger(charger)
        running.add_token(TOKEN)
        yield running
    finally:
        running.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cpms-disk-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def journal_disk(directory: Path) -> Iterator[RunningCpms]:
    """A system whose nats-server has a disk of its own."""
    store = directory / ".cpms" / "nats"
    store.mkdir(parents=True)
    with disk_at(store), system_in(directory) as system:
        yield system


@pytest.fixture
def postgres_disk(directory: Path) -> Iterator[RunningCpms]:
    """A system of which all but nats-server's store is on a disk of its own."""
    (directory / ".cpms").mkdir()
    (directory / "nats").mkdir()
    with disk_at(directory / ".cpms"):
        (directory / ".cpms" / "nats").symlink_to(directory / "nats")
        with system_in(directory) as system:
            yield system


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


def test_a_full_disk_under_the_journal_is_told_of_and_loses_nothing_when_there_is_room_again(journal_disk: RunningCpms) -> None:
    system = journal_disk
    ballast = system.directory / ".cpms" / "nats" / "ballast"
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


def test_chargers_are_served_while_postgres_cannot_start_for_want_of_room_and_all_is_billed_when_there_is_some(
    postgres_disk: RunningCpms,
) -> None:
    system = postgres_disk
    (charger, *_) = CHARGERS
    cluster, ballast = system.directory / ".cpms" / "postgres", system.directory / ".cpms" / "ballast"

    def tries() -> list[str]:
        return [line for line in system.log() if "server_ended" in line and "server=postgres" in line]

    async def script() -> None:
        session = Session16(charger, TOKEN)
        async with station(system.ws_url, charger, patience_s=20) as s:
            await session.begin(s, 0)
            await asyncio.to_thread(system.until, lambda: system.sessions(charger), bool)
            await asyncio.to_thread(fill, ballast)
            os.kill(int((cluster / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            async with asyncio.timeout(60):
                minute = 0
                while len(tries()) < 8:  # more often than a supervisor restarts anybody
                    minute += 1
                    await session.meter(s, minute, 10 * minute)
                    await asyncio.sleep(0.5)
            assert "make room on the disk" in tries()[-1]
            await session.end(s, minute + 1, SESSION_WH)
            ballast.unlink()
            await asyncio.to_thread(system.until, lambda: system.cdrs(charger), bool, 60)
            assert (await s.call("Heartbeat", {}))["currentTime"]
            assert s.socket.close_code is None

    asyncio.run(script())
    assert [(each.status, each.energy_wh) for each in system.sessions(charger)] == [("Ended", SESSION_WH)]
    assert [cdr.energy_wh for cdr in system.cdrs(charger)] == [SESSION_WH]
