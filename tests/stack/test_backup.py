"""A backup of a system in use, and what becomes of it on an empty machine: nothing is missing and nothing is there twice."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from running import RunningCpms
from station import BOOT, Session16, Session201, station

from cpms_actors.base.settings import Settings
from cpms_actors.node.data_dir import DataDir, attach
from cpms_actors.pools.backing_up import backup
from cpms_actors.pools.backup_files import Manifest

PASSWORD = "0123456789abcdefghij"
CHARGERS = ("BEFORE", "ACROSS", "BEHIND", "GOES-ON")
TOKEN = "T-BACKUP"


class Copied:
    """What the first system said of itself last, and the folder of its backup. `goes_on`: a session that nobody has ended yet."""

    def __init__(self, folder: Path, manifest: Manifest, goes_on: Session16, tables: dict[str, Any], ids: int) -> None:
        self.folder, self.manifest, self.goes_on, self.tables, self.ids = folder, manifest, goes_on, tables, ids


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cpms-backup-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def copied(scratch: Path) -> Copied:
    """Sessions end before the backup, across the moment of its tables, and behind that; one does not end."""
    machine = scratch / "first"
    machine.mkdir()
    cpms = RunningCpms(machine)
    try:
        for charger in CHARGERS:
            cpms.add_charger(charger)
        cpms.add_charger("KNOWN", PASSWORD)
        cpms.add_token(TOKEN)
        manifest, goes_on = asyncio.run(back_up(cpms, scratch / "backup"))
        for charger in ("BEFORE", "ACROSS", "BEHIND"):
            cpms.until(lambda charger=charger: cpms.cdrs(charger), lambda cdrs: len(cdrs) == 1)  # type: ignore[misc]
        ids = asyncio.run(last_block(machine))
        return Copied(scratch / "backup", manifest, goes_on, tables_of(cpms), ids)
    finally:
        cpms.close()


async def back_up(cpms: RunningCpms, folder: Path) -> tuple[Manifest, Session16]:
    before, across = Session16("BEFORE", TOKEN), Session16("ACROSS", TOKEN)
    behind, goes_on = Session201("BEHIND", TOKEN), Session16("GOES-ON", TOKEN)
    async with station(cpms.ws_url, "BEFORE", patience_s=20) as s:
        await s.call("BootNotification", BOOT["1.6"])
        await before.begin(s, 0)
        await before.end(s, 10, 1000)
    await asyncio.to_thread(cpms.until, lambda: cpms.cdrs("BEFORE"), lambda cdrs: len(cdrs) == 1)

    async with station(cpms.ws_url, "ACROSS") as one, station(cpms.ws_url, "BEHIND", "2.0.1") as other:
        await across.begin(one, 500)
        await across.meter(one, 5, 1500)
        await asyncio.to_thread(cpms.until, lambda: cpms.sessions("ACROSS"), lambda found: found and found[0].energy_wh == 1000)

        async def dumped() -> None:
            """The tables are written, the journal is not yet."""
            await across.end(one, 20, 2500)
            await other.call("BootNotification", BOOT["2.0.1"])
            await behind.begin(other, 0)
            await behind.meter(other, 10, 2000)
            await behind.end(other, 20, 3000)
            async with station(cpms.ws_url, "GOES-ON") as s:
                await goes_on.begin(s, 0)
                await goes_on.meter(s, 5, 700)
            await one.socket.close()
            await other.socket.close()
            await asyncio.to_thread(cpms.until, lambda: connected(cpms), lambda names: names == [])

        return await backup(attached(cpms.directory), folder, say=print, dumped=dumped), goes_on


def attached(machine: Path) -> Settings:
    return attach(replace(Settings(), data=str(machine / ".cpms")), {})


def connected(cpms: RunningCpms) -> list[str]:
    said = json.loads(cpms.cli("charger", "list", "--json").stdout)
    return [charger["charger"] for charger in said["chargers"] if charger["connected"]]


async def last_block(machine: Path) -> int:
    connection = await asyncpg.connect(attached(machine).postgres.owner_dsn)
    try:
        return int(await connection.fetchval("SELECT last_value FROM transaction_id_blocks"))
    finally:
        await connection.close()


def tables_of(cpms: RunningCpms) -> dict[str, Any]:
    """The checksums of what the journal makes; asserts that it is what the database has."""
    said = json.loads(cpms.cli("rebuild", "--json").stdout)
    assert (said["identical"], said["since"]) == (True, None), said
    return {table["table"]: table["stored"] for table in said["tables"]}


def restored(machine: Path, folder: Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`cpms restore`, in a directory of its own."""
    machine.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
    command = [sys.executable, "-m", "cpms_actors.cli.main", "restore", str(folder), *options]
    return subprocess.run(command, cwd=machine, env=environment | variables, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_said_behind_the_tables_is_in_the_journal_only(copied: Copied) -> None:
    rows = {table.table: table.rows for table in copied.manifest.tables}
    assert (rows["sessions"], rows["cdrs"]) == (2, 1)
    assert any(lane.last > lane.folded for lane in copied.manifest.lanes)
    assert (copied.tables["sessions"]["rows"], copied.tables["cdrs"]["rows"]) == (4, 3)


def test_an_empty_machine_goes_on_where_the_backup_ends(copied: Copied, scratch: Path) -> None:
    """Everything that was answered before the journal's end is there, once, and the session that was charging goes on."""
    machine = scratch / "second"
    done = restored(machine, copied.folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"]["sessions"] == 2
    cpms = RunningCpms(machine)
    try:
        for charger in ("BEFORE", "ACROSS", "BEHIND"):
            (cdr,) = cpms.until(lambda charger=charger: cpms.cdrs(charger), lambda cdrs: len(cdrs) == 1)  # type: ignore[misc]
            assert cdr.energy_wh == {"BEFORE": 1000, "ACROSS": 2000, "BEHIND": 3000}[charger]
        tables = tables_of(cpms)
        priced_anew = {"cdrs"}  # those of the replay are drawn up by the tariff as it is by now
        assert {name: sums for name, sums in tables.items() if name not in priced_anew} == {
            name: sums for name, sums in copied.tables.items() if name not in priced_anew
        }
        assert tables["cdrs"]["rows"] == 3
        assert cpms.parked("BEHIND") == []
        asyncio.run(go_on(cpms, copied.goes_on))
        cdrs = cpms.until(lambda: cpms.cdrs("GOES-ON"), lambda cdrs: len(cdrs) == 2)
        assert sorted(cdr.energy_wh for cdr in cdrs) == [0, 1200]
        found = json.loads(cpms.cli("reconcile", "--json").stdout)
        assert [rule for rule in found["rules"] if rule["found"]] == []
        assert "outdated_owner_writes" not in "".join(cpms.log())
        refused_while_it_runs(machine, copied.folder)
    finally:
        cpms.close()


def refused_while_it_runs(machine: Path, folder: Path) -> None:
    """Whether restore is to use the directory of the stack, or is told of its servers."""
    assert "a stack already runs in" in restored(machine, folder).stderr
    to = attached(machine)
    servers = {"CPMS_NATS_URL": to.nats.url, "CPMS_POSTGRES_DSN": to.postgres.dsn, "CPMS_POSTGRES_OWNER_DSN": to.postgres.owner_dsn}
    assert "stop them, restore, and start them again" in restored(machine, folder, **servers).stderr


async def go_on(cpms: RunningCpms, session: Session16) -> None:
    old = session.transaction
    async with station(cpms.ws_url, "GOES-ON", patience_s=20) as s:
        await asyncio.to_thread(cpms.until, lambda: connected(cpms), lambda names: names == ["GOES-ON"])
        await session.meter(s, 10, 900)
        await session.end(s, 20, 1200)
        later = Session16("GOES-ON", TOKEN)
        answer = await s.call("StartTransaction", later.begin_payload(1200) | {"timestamp": "2026-11-23T09:00:00Z"})
        assert answer["transactionId"] > old + 100_000  # none that may have been given out after the backup
        await s.call(
            "StopTransaction", {"transactionId": answer["transactionId"], "meterStop": 1200, "timestamp": "2026-11-23T09:00:09Z"}
        )


def test_a_machine_that_is_not_empty_is_left_alone(copied: Copied, scratch: Path) -> None:
    again = restored(scratch / "second", copied.folder, "--json")
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"]["code"] == "restore-not-empty"


def test_chargers_are_known_by_their_passwords(copied: Copied, scratch: Path) -> None:
    key = DataDir(scratch / "second" / ".cpms").secrets().credential_key
    assert key == DataDir(scratch / "first" / ".cpms").secrets().credential_key


def test_a_damaged_file_is_refused_before_anything_is_made(copied: Copied, scratch: Path) -> None:
    damaged = scratch / "damaged"
    shutil.copytree(copied.folder, damaged)
    file = damaged / "table.sessions.copy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    done = restored(scratch / "third", damaged)
    assert done.returncode == 2
    assert "table.sessions.copy is not what was written" in done.stderr
    assert not (scratch / "third" / ".cpms").exists()
