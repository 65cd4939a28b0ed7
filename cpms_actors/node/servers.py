"""The embedded servers, running: for as long as a block of code, or as children of a supervisor.

    async with nats_server(folder) as broker, postgres_server(folder) as database:
        ...  broker.system_url, database.dsn

is all a test or a benchmark needs; everything of a server lies in its folder and it ends with the block. `cpms up` prepares
the same commands (`broker.prepare`, `database.prepare`) and gives them to its supervisor, with `broker_ready` and `database_ready`.
"""

import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg
import msgspec
from anyio.abc import Process
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Nats
from cpms_actors.bus import client as bus
from cpms_actors.node import broker as brokers
from cpms_actors.node import database as databases
from cpms_actors.node.broker import Broker
from cpms_actors.node.data_dir import DataDir, Secrets
from cpms_actors.node.database import APP, OWNER, Database
from cpms_actors.observe import logs
from supervisors.limits import give_way
from supervisors.policy import Backoff

log = logs.get("node")

READY_S_MAX: Final = 30.0  # recovery of a large JetStream store or of Postgres after a crash
STOP_S_MAX: Final = 10.0
POLL_S: Final = 0.05
REFUSED_S: Final = 1.0
HEALTH_S: Final = 2.0  # between two looks at whether the broker can write
HEALTH_ANSWER_S: Final = 2.0
ROOM_BYTES_MIN: Final = 64 * 1024 * 1024  # some blocks of every stream
_ROOM: Final = f"{ROOM_BYTES_MIN >> 20} MiB"
NEWCOMERS_S: Final = 1.0  # between two looks at the processes of Postgres; each serves a connection that is kept for minutes
AGAIN: Final = Backoff(max_s=10.0)  # until a server that has ended is started again
LASTED_S: Final = 30.0  # who has run so long did not end for being started
AGAIN_S_MIN: Final = 10.0  # a disk that fails with room on it is tried no more often


@asynccontextmanager
async def nats_server(folder: Path, *, port: int = 0, sync_interval: str = brokers.SYNC_DEFAULT) -> AsyncIterator[Broker]:
    """A broker that runs while the block does, on a free port unless one is named; its store stays in `folder`.

    Raises OperatorError("nats_server") when it does not come up.
    """
    data = DataDir(folder)
    data.make()
    prepared = brokers.prepare(
        data.nats, data.port("nats", port), data.secrets(), sync_interval=sync_interval, output=data.logs / "nats.out"
    )
    async with _running(prepared.argv, signal.SIGTERM) as process:
        await _until_ready(process, lambda: broker_ready(prepared), "nats_server", data.nats / "nats.log")
        yield prepared


@asynccontextmanager
async def postgres_server(folder: Path, *, port: int = 0, durable: bool = False) -> AsyncIterator[Database]:
    """A database with its roles, empty the first time, that runs while the block does; asyncio only, as its driver is.

    Raises OperatorError("postgres") when it does not come up.
    """
    data = DataDir(folder)
    data.make()
    secrets, chosen, output = data.secrets(), data.port("postgres", port), data.logs / "postgres.out"
    prepare = partial(databases.prepare, data.postgres, chosen, secrets, durable=durable, output=output)
    prepared = await anyio.to_thread.run_sync(prepare)
    async with _running(prepared.argv, signal.SIGINT) as process:
        await _until_ready(process, lambda: database_ready(prepared, secrets), "postgres", data.postgres / "log")
        yield prepared


async def broker_ready(broker: Broker) -> bool:
    """Whether this broker, and no other on its port, greets a client; it does so once JetStream has recovered its streams."""
    try:
        async with await anyio.connect_tcp(broker.host, broker.port) as stream:
            return f'"server_name":"{broker.name}"'.encode() in await stream.receive(4096)
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False


async def database_ready(database: Database, secrets: Secrets) -> bool:
    """Whether the database takes connections; the roles and the database `cpms` exist once it says yes."""
    try:
        connection = await asyncpg.connect(database.superuser_dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        text = f"the database refuses the password in secrets.json ({error}); put back the file it was made with, or start anew"
        raise OperatorError("postgres", text) from None
    try:
        await _make_roles(connection, secrets)
    finally:
        await connection.close()
    return True


async def _make_roles(connection: "asyncpg.Connection[asyncpg.Record]", secrets: Secrets) -> None:
    """Idempotent. The passwords are URL-safe Base64 (`data_dir.Secrets`): they hold no quote."""
    may_make = {OWNER: "CREATEDB", APP: "NOCREATEDB"}  # `cpms rebuild` makes a database, and drops it
    for role, password in ((OWNER, secrets.postgres_owner), (APP, secrets.postgres_app)):
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
            await connection.execute(f"CREATE ROLE {role}")
        await connection.execute(
            f"ALTER ROLE {role} LOGIN NOSUPERUSER {may_make[role]} NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{password}'"
        )
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", databases.DATABASE):
        await connection.execute(f"CREATE DATABASE {databases.DATABASE} OWNER {OWNER}")
        await connection.execute(f"REVOKE ALL ON DATABASE {databases.DATABASE} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {databases.DATABASE} TO {APP}")


async def broker_ails(broker: Broker) -> None:
    """Return when this broker is to be started again: a stream of it cannot write, and there is room on its disk.

    A stream whose write has failed takes nothing more, and answers nothing, until the server is started again. It says so only to
    those who ask the server itself how it is.
    """
    began, told = anyio.current_time(), False
    while True:
        await anyio.sleep(HEALTH_S)
        error = await _write_error(broker)
        if not error:
            continue
        free = (await anyio.to_thread.run_sync(shutil.disk_usage, broker.store)).free
        if not told:
            told = True
            remedy = f"make room on the disk of {broker.store}, {_ROOM} at least; nats-server is then started again"
            log.error("nats_cannot_write", error=error, free_mib=free >> 20, remedy=remedy)
        if free >= ROOM_BYTES_MIN and anyio.current_time() - began >= AGAIN_S_MIN:
            log.warning("nats_started_again", free_mib=free >> 20)
            return


async def _write_error(broker: Broker) -> str:
    """Why a stream of this broker cannot write; "" when each can, or when it does not say."""
    try:
        client = await bus.connect(Nats(), "health", url=broker.health_url, patient=False)
    except Unavailable:
        return ""
    try:
        asked = await client.request("$SYS.REQ.SERVER.PING.HEALTHZ", b'{"details":true}', timeout=HEALTH_ANSWER_S)
        said = msgspec.json.decode(asked.data, type=dict[str, Any]).get("data") or {}
    except (NatsError, TimeoutError, OSError):
        return ""
    finally:
        with anyio.CancelScope(shield=True):
            await bus.close(client)
    errors = (str(each.get("error")) for each in said.get("errors") or ())
    return next((error for error in errors if "write error" in error), "")


async def postgres_gives_way(cluster: Path, nice: int) -> None:
    """Let the processes of this server have cores when others leave them, those that are there and those to come; never returns.

    One by one: each of them begins a session, and Linux weighs sessions, so the postmaster cannot be nice for them.
    """
    told: set[int] = set()
    while True:
        now = _children(cluster)
        for pid in now - told:
            with suppress(OSError):  # it has ended
                give_way(nice, pid)
        told = now
        await anyio.sleep(NEWCOMERS_S)


def _children(cluster: Path) -> set[int]:
    """The processes of the server in a cluster; none when it has just ended, and where a system does not say."""
    try:
        postmaster = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        return set(map(int, Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()))
    except (OSError, ValueError):
        return set()


async def keep_running(
    argv: tuple[str, ...],
    how: signal.Signals,
    ready: Callable[[], Awaitable[bool]],
    code: str,
    log_file: Path,
    clear: Callable[[], None],
    ails: Callable[[], Awaitable[None]],
    started: Callable[[], None],
) -> None:
    """A supervised child: the server, from its start until this is cancelled; `started` is called once it answers.

    What was left of the one before is in its way: `clear`, which blocks, removes it. When `ails` returns it is started again: that
    cures it. Once it has answered it is started again whenever it ends, ever more slowly and for ever: chargers are served without
    Postgres, and hear that they must wait without a broker; to give up would help nobody.

    Raises OperatorError(code), which names the log, when it does not come up the first time.
    """
    ends = 0  # in a row
    has_answered = False
    while True:
        await anyio.to_thread.run_sync(clear)
        began = anyio.current_time()
        try:
            async with _running(argv, how) as process:
                await _until_ready(process, ready, code, log_file)
                has_answered = True
                started()
                async with anyio.create_task_group() as group:
                    group.start_soon(_then_cancel, ails, group.cancel_scope)
                    await process.wait()
                    group.cancel_scope.cancel()
                if process.returncode is None:
                    continue
                raise OperatorError(code, f"{code} ended with status {process.returncode}; its log is in {log_file}")
        except OperatorError as error:
            if not has_answered:
                raise
            ends = 1 if anyio.current_time() - began > LASTED_S else ends + 1
            delay_s = AGAIN.delay(ends, random.random())
            free = (await anyio.to_thread.run_sync(shutil.disk_usage, log_file.parent)).free
            remedy = "its log says why" if free >= ROOM_BYTES_MIN else f"make room on the disk of {log_file.parent}, {_ROOM} at least"
            log.error("server_ended", server=code, error=str(error), again_in_s=round(delay_s, 1), free_mib=free >> 20, remedy=remedy)
        await anyio.sleep(delay_s)


async def _then_cancel(wait: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
    await wait()
    scope.cancel()


@asynccontextmanager
async def _running(argv: tuple[str, ...], how: signal.Signals) -> AsyncIterator[Process]:
    """The process, alone in its session so that a Ctrl-C at the terminal leaves the order of stopping to us."""
    process = await anyio.open_process(argv, stdin=None, stdout=None, stderr=None, start_new_session=True, cwd="/")
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.send_signal(how)
            with anyio.move_on_after(STOP_S_MAX):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _until_ready(process: Process, ready: Callable[[], Awaitable[bool]], code: str, log: Path) -> None:
    with anyio.move_on_after(READY_S_MAX):
        while process.returncode is None:
            try:
                if await ready():
                    return
            except OperatorError:  # it is another server that answers there, if ours is about to end for want of the port
                await anyio.sleep(REFUSED_S)
                if process.returncode is None:
                    raise
            await anyio.sleep(POLL_S)
    ended = "did not come up in time" if process.returncode is None else f"ended with status {process.returncode}"
    raise OperatorError(code, f"{code} {ended}; its log is in {log}")
