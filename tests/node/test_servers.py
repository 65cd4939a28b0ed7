"""The embedded servers, really started: `cpms_actors.node.servers`, `.broker`, `.database`, `.orphans`."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import asyncpg
import nats
import pytest
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Gateway, Nats, Settings
from cpms_actors.bus.client import subscribed
from cpms_actors.node import broker, database, stack
from cpms_actors.node.data_dir import DataDir
from cpms_actors.node.servers import nats_server, postgres_server
from supervisors.supervisor import Supervisor


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a long name: longer than a Unix socket's path may be."""
    made = Path(tempfile.mkdtemp(prefix="cpms-servers-" + "x" * 60 + "-"))
    yield made / ("y" * 60)
    shutil.rmtree(made, ignore_errors=True)


def test_the_broker_keeps_its_store_and_its_port(folder: Path) -> None:
    async def scenario() -> None:
        for expected in (1, 2):
            async with nats_server(folder) as running:
                ports.append(running.port)
                client = await nats.connect(running.system_url)
                stream = client.jetstream()
                if expected == 1:
                    await stream.add_stream(name="S", subjects=["s"])
                assert (await stream.publish("s", b"kept")).seq == expected
                await client.close()

    ports: list[int] = []
    asyncio.run(scenario())
    assert ports[0] == ports[1]


def test_the_broker_confines_an_operator_to_its_own_subjects(folder: Path) -> None:
    """The token in cpms.admin.<operator>.<verb> cannot be forged, and nothing else can be said or heard."""

    async def scenario() -> None:
        async with nats_server(folder) as running:
            refused: list[str] = []

            async def on_error(error: Exception) -> None:
                refused.append(str(error).lower())

            system = await nats.connect(running.system_url)
            operator = await nats.connect(running.operator_url, inbox_prefix="_INBOX_local", error_cb=on_error)

            async def answer(message: nats.aio.msg.Msg) -> None:
                await message.respond(b"ok")

            await system.subscribe("cpms.admin.*.>", cb=answer)
            await subscribed(system)
            assert (await operator.request("cpms.admin.local.status", b"{}", timeout=5)).data == b"ok"
            for subject in ("cpms.admin.other.status", "cpms.charger.1.acme.CP-1.call", "cpms.journal.0", "$JS.API.INFO"):
                await operator.publish(subject, b"{}")
                await operator.flush()
            for subject in ("cpms.journal.>", "_INBOX.>"):  # the second: answers to everybody else
                await operator.subscribe(subject)
                await subscribed(operator)
            async with asyncio.timeout(5):  # the refusals come by themselves, after the answers to the flushes
                while len([text for text in refused if "permissions violation" in text]) < 6:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len([text for text in refused if "permissions violation" in text]) == 6, "and none for what it may do"
            await operator.close()
            await system.close()

    asyncio.run(scenario())


def test_the_broker_lets_nobody_in_without_a_password(folder: Path) -> None:
    async def scenario() -> None:
        async with nats_server(folder) as running:
            for url in (f"nats://127.0.0.1:{running.port}", f"nats://system:wrong@127.0.0.1:{running.port}"):
                with pytest.raises((NatsError, NoServersError)):
                    await nats.connect(url, max_reconnect_attempts=0, allow_reconnect=False, error_cb=_quiet)

    asyncio.run(scenario())


async def _quiet(_error: Exception) -> None:
    """The test looks at what `connect` raises."""


def test_the_configuration_is_valid_and_secret(folder: Path) -> None:
    data = DataDir(folder)
    data.make()
    prepared = broker.prepare(data.nats, 4222, data.secrets(), output=data.logs / "nats.out", operator='we"ird')
    file = data.nats / "nats.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    checked = subprocess.run([str(broker.program()), "-t", "-c", str(file)], capture_output=True, text=True, check=False, timeout=20)
    assert "is valid" in checked.stdout + checked.stderr
    assert "invalid use" not in checked.stdout + checked.stderr
    assert 'sync_interval: "always"' in file.read_text()
    assert not any(data.secrets().nats_system in word for word in prepared.argv)  # command lines are public


def test_the_database_has_its_roles_and_keeps_what_it_was_given(folder: Path) -> None:
    async def scenario() -> None:
        async with postgres_server(folder) as running:
            owner = await asyncpg.connect(running.owner_dsn)
            await owner.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (7)")
            bypass = await owner.fetch("SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND rolname LIKE 'cpms%'")
            assert bypass == []
            await owner.close()
            app = await asyncpg.connect(running.dsn)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute("CREATE TABLE u (x int)")
            await app.close()
        async with postgres_server(folder) as running:
            owner = await asyncpg.connect(running.owner_dsn)
            assert await owner.fetchval("SELECT x FROM t") == 7
            await owner.close()

    asyncio.run(scenario())


def test_the_database_lets_nobody_in_without_a_password(folder: Path) -> None:
    async def scenario() -> None:
        async with postgres_server(folder) as running:
            for role in (database.SUPERUSER, database.OWNER, database.APP):
                with pytest.raises(asyncpg.InvalidPasswordError):
                    await asyncpg.connect(f"postgresql://{role}:wrong@127.0.0.1:{running.port}/postgres")

    asyncio.run(scenario())


def test_what_a_killed_stack_left_running_is_stopped_by_the_next(folder: Path) -> None:
    """Also a postmaster.pid and a nats.pid whose processes are gone, or are somebody else's, do not keep the servers down."""
    program = f"""
import asyncio, os, signal, sys
from pathlib import Path
from cpms_actors.node import exec_child
exec_child.command = lambda argv, **_: tuple(argv)
from cpms_actors.node.servers import nats_server
async def main():
    async with nats_server(Path({str(folder)!r})):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == -signal.SIGKILL
    left = int((folder / "nats" / "nats.pid").read_text())
    os.kill(left, 0)  # it runs

    async def scenario() -> None:
        (folder / "postgres.draft").mkdir()  # of an initdb that was interrupted
        async with nats_server(folder) as running:
            client = await nats.connect(running.system_url)
            await client.close()
        async with postgres_server(folder):
            pass
        (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}\n")  # this process is no Postgres
        async with postgres_server(folder):
            pass

    asyncio.run(scenario())
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


def test_a_postmaster_that_is_killed_while_a_query_computes_is_back_at_the_first_try(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its backend, which notices nothing for many seconds, would keep the next one out."""
    settings = Settings(nats=Nats(url="nats://elsewhere:4222"), gateway=Gateway(port=0))
    data = DataDir(folder)
    data.make()
    prepared = stack.prepare(settings, stack.Plan(), {}, data)

    async def scenario() -> None:
        supervisor = Supervisor("servers", prepared.servers)
        async with anyio.create_task_group() as group:
            await group.start(supervisor.run)
            busy = await asyncpg.connect(prepared.settings.postgres.dsn)
            computing = asyncio.create_task(busy.fetchval("SELECT count(*) FROM generate_series(1, 2000000000)"))
            await asyncio.sleep(0.5)
            os.kill(int((data.postgres / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGKILL)
            with pytest.raises((asyncpg.PostgresError, OSError)):
                await computing
            async with asyncio.timeout(30):
                while True:
                    try:
                        again = await asyncpg.connect(prepared.settings.postgres.dsn)
                    except (OSError, asyncpg.PostgresError):
                        await asyncio.sleep(0.1)
                    else:
                        break
            await again.close()
            assert supervisor.statistics().restarts == 0  # the child starts its server again itself
            group.cancel_scope.cancel()

    asyncio.run(scenario())
    assert capfd.readouterr().err.count("server_ended") == 1


def test_a_cluster_of_another_version_is_refused(folder: Path) -> None:
    data = DataDir(folder)
    data.make()
    data.postgres.mkdir()
    (data.postgres / "PG_VERSION").write_text("13\n")
    with pytest.raises(OperatorError, match="Postgres 13") as caught:
        database.prepare(data.postgres, 1, data.secrets(), output=data.logs / "postgres.out")
    assert caught.value.code == "postgres_version"


def test_a_server_that_does_not_come_up_says_where_to_look(folder: Path) -> None:
    async def scenario() -> None:
        async with nats_server(folder) as running, nats_server(folder.with_name("other"), port=running.port):
            pass

    with pytest.raises(OperatorError, match=r"nats_server ended with status 1; its log is in .*nats\.log"):
        asyncio.run(scenario())
