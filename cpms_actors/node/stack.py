"""A whole system on one machine: what `cpms up` runs.

    stack ─┬─ nats          an embedded server, unless CPMS_NATS_URL names one
           ├─ postgres      the same, unless CPMS_POSTGRES_DSN does
           ├─ migrations    once, as the owner
           ├─ pools ── session, tariff, operations
           ├─ workers ── worker-1, …          the chargers' connections, on one port
           └─ crew                            replaces the workers by new processes, when that is asked for

Read top to bottom: children in start order, each line started when the one above is of use, and all of a line together; they stop in
reverse. Whatever ends is started again, ever more slowly. A process of ours that ends too often ends the stack with its reason; a
server that has been of use once does not. No child restarts another: all of them bear that a server is gone for a while, and that is
what they are for.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import anyio
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.base.errors import CpmsError, OperatorError
from cpms_actors.base.settings import Nats, Postgres, Settings, to_environment
from cpms_actors.node import broker, database, ready
from cpms_actors.node.crew import Crew, Member
from cpms_actors.node.data_dir import Connection, DataDir, is_external, is_free
from cpms_actors.node.orphans import stop_backends
from cpms_actors.node.servers import (
    READY_S_MAX,
    STOP_S_MAX,
    broker_ails,
    broker_ready,
    database_ready,
    keep_running,
    postgres_gives_way,
)
from cpms_actors.observe import logs
from cpms_actors.pools import NICE
from cpms_actors.store.migrate import migrate
from supervisors.child import ChildSpec, Started
from supervisors.policy import Restart
from supervisors.processes import LineSink, ProcessSpec, ProcessSupervisor
from supervisors.reports import Happening, Report
from supervisors.supervisor import Supervisor, SupervisorError

POOLS: Final = ("session", "tariff", "operations")
SHUTDOWN_S: Final = 15.0  # a pool ends its transaction
WORKER_SHUTDOWN_S: Final = 40.0  # a worker gives its chargers to others first
MARGIN_S: Final = 5.0  # what a supervisor allows a child above the child's own deadlines

log = logs.get("node")

_Run: TypeAlias = Callable[[Started], Coroutine[Any, Any, None]]


class Plan(Struct, frozen=True):
    """The embedded servers: their ports (0: the last ones, or free ones), and how they flush to disk; how many workers there are."""

    nats_port: int = 0
    postgres_port: int = 0
    sync_interval: str = broker.SYNC_ALWAYS
    durable: bool = True
    workers: int = 1


class Prepared(NamedTuple):
    """Settings with every server filled in, the supervisor's children for the embedded servers, and how to connect."""

    settings: Settings
    servers: list[ChildSpec]
    connection: Connection


async def run(
    settings: Settings, plan: Plan, *, environment: Mapping[str, str], on_line: LineSink, started: Callable[[Connection], None]
) -> None:
    """Run the stack until cancelled; `started` is called when all of it is of use, `on_line` with what its processes print.

    `environment` tells which settings were made, be it to their defaults. Raises OperatorError when it cannot start or go on.
    """
    data = DataDir(Path(settings.data))
    with data.owned():
        prepared = await anyio.to_thread.run_sync(prepare, settings, plan, environment, data)

        def announce() -> None:
            data.announce(prepared.connection)
            started(prepared.connection)

        fatal: list[SupervisorError] = []
        with anyio.CancelScope() as scope:

            def give_up(error: SupervisorError) -> None:
                fatal.append(error)
                scope.cancel()

            supervisor = Supervisor("stack", _children(prepared, plan.workers, on_line, give_up), report=_report)
            try:
                await supervisor.run(announce)
            except SupervisorError as error:
                fatal.append(error)
        if fatal:
            raise _reason(fatal[0]) from fatal[0]


def prepare(settings: Settings, plan: Plan, environment: Mapping[str, str], data: DataDir) -> Prepared:
    """Everything that is done before anything runs. Blocks: the first time it makes a database cluster.

    Raises OperatorError, also when the gateway's port is taken.
    """
    secrets = data.secrets()
    settings = replace(settings, data=str(data.path), credential_key=settings.credential_key or secrets.credential_key)
    settings = replace(settings, gateway=replace(settings.gateway, port=_gateway_port(settings, data)))
    servers: list[ChildSpec] = []
    if not is_external(settings.nats.url, Nats().url, environment, "CPMS_NATS_URL"):
        nats = broker.prepare(
            data.nats,
            data.port("nats", plan.nats_port),
            secrets,
            output=data.logs / "nats.out",
            operator=settings.nats.operator,
            sync_interval=plan.sync_interval,
        )
        settings = replace(settings, nats=replace(settings.nats, url=nats.system_url, operator_url=nats.operator_url))
        is_ready, ails = partial(broker_ready, nats), partial(broker_ails, nats)
        servers.append(_server("nats", nats.argv, signal.SIGTERM, is_ready, data.nats / "nats.log", ails=ails))
    if not is_external(settings.postgres.dsn, Postgres().dsn, environment, "CPMS_POSTGRES_DSN"):
        port = data.port("postgres", plan.postgres_port)
        postgres = database.prepare(data.postgres, port, secrets, output=data.logs / "postgres.out", durable=plan.durable)
        settings = replace(settings, postgres=replace(settings.postgres, dsn=postgres.dsn, owner_dsn=postgres.owner_dsn))
        is_ready = partial(database_ready, postgres, secrets)
        # SIGINT is Postgres's fast shutdown: it does not wait for people to close their psql.
        clear = partial(stop_backends, data.postgres)
        nice = partial(postgres_gives_way, data.postgres, NICE)
        servers.append(_server("postgres", postgres.argv, signal.SIGINT, is_ready, data.postgres / "log", clear, nice))
    return Prepared(settings, servers, _connection(settings))


def _children(prepared: Prepared, workers: int, on_line: LineSink, give_up: Callable[[SupervisorError], None]) -> list[ChildSpec]:
    settings = prepared.settings
    # What a process does not need it is not given: only migrations act as the owner, only operators as an operator.
    postgres, nats = replace(settings.postgres, owner_dsn=""), replace(settings.nats, operator_url="")
    # The settings are complete: the file they came from is not read again.
    env = to_environment(replace(settings, postgres=postgres, nats=nats)) | {"CPMS_CONFIG": ""}
    processes = [_process(pool, ("pool", pool), env) for pool in POOLS]

    def worker(name: str) -> ProcessSpec:
        # By name a worker that starts again takes over at once what it held before.
        return _process(name, ("worker", "--name", name), env, WORKER_SHUTDOWN_S)

    def supervised(process: ProcessSpec) -> ProcessSupervisor:
        """A process under a supervisor of its own: what ends too often is this one, however often the others do."""
        return ProcessSupervisor(process.name, [process], on_line=on_line, report=_report)

    members = [Member(name, supervised(worker(name))) for name in (f"worker-{number + 1}" for number in range(workers))]
    crew = Crew(settings, worker, members)
    return [
        *prepared.servers,
        ChildSpec("migrations", partial(_migrate, settings.postgres.owner_dsn), Restart.transient),
        _together("pools", [_kept(supervised(process), give_up) for process in processes]),
        _together("workers", [_kept(member.supervisor, give_up) for member in members]),
        ChildSpec("crew", crew.serve),
    ]


def _kept(supervisor: ProcessSupervisor, give_up: Callable[[SupervisorError], None]) -> _Run:
    async def keep(started: Started) -> None:
        try:
            await supervisor.run(started)
        except SupervisorError as error:  # it was restarted often enough: doing it all again would be no better
            give_up(error)

    return keep


def _together(name: str, runs: Sequence[_Run]) -> ChildSpec:
    """Children that do not wait for each other: each takes a second of a core to start."""

    async def run(started: Started) -> None:
        waiting = len(runs)

        def one_started() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                started()

        async with anyio.create_task_group() as group:
            for each in runs:
                group.start_soon(each, one_started)

    # Their processes have deadlines of their own for stopping.
    return ChildSpec(name, run, Restart.transient, shutdown_s=inf, start_s=READY_S_MAX + MARGIN_S)


def _server(
    name: str,
    argv: tuple[str, ...],
    how: signal.Signals,
    is_ready: Callable[[], Awaitable[bool]],
    log_file: Path,
    clear: Callable[[], None] = lambda: None,
    ails: Callable[[], Awaitable[None]] = anyio.sleep_forever,
) -> ChildSpec:
    keep = partial(keep_running, argv, how, is_ready, name, log_file, clear, ails)
    return ChildSpec(name, keep, shutdown_s=STOP_S_MAX + MARGIN_S, start_s=READY_S_MAX + MARGIN_S)


def _process(name: str, arguments: tuple[str, ...], env: Mapping[str, str], shutdown_s: float = SHUTDOWN_S) -> ProcessSpec:
    argv = (sys.executable, "-m", "cpms_actors.cli.main", *arguments)
    return ProcessSpec(name, argv, env, ready=ready.LINE, shutdown_s=shutdown_s, start_s=READY_S_MAX, on_parent_death=signal.SIGTERM)


async def _migrate(owner_dsn: str, started: Started) -> None:
    if not owner_dsn:
        log.warning("migrations_skipped", reason="CPMS_POSTGRES_OWNER_DSN is not set: whoever deploys runs `cpms migrate`")
    else:
        applied = await migrate(owner_dsn)
        log.info("migrated", applied=applied)
    started()


def _gateway_port(settings: Settings, data: DataDir) -> int:
    port = data.port("gateway", settings.gateway.port)
    if not is_free(port, settings.gateway.host):
        text = f"port {port} on {settings.gateway.host} is taken; name another with --port, or 0 for a free one"
        raise OperatorError("port", text)
    return port


def _connection(settings: Settings) -> Connection:
    host = "127.0.0.1" if settings.gateway.host in ("0.0.0.0", "::", "") else settings.gateway.host
    return Connection(
        pid=os.getpid(),
        websocket_url=f"ws://{host}:{settings.gateway.port}/ocpp",
        operator=settings.nats.operator,
        nats_operator_url=settings.nats.operator_url or settings.nats.url,
        nats_url=settings.nats.url,
        postgres_dsn=settings.postgres.dsn,
        postgres_owner_dsn=settings.postgres.owner_dsn,
        credential_key=settings.credential_key,
    )


def _report(report: Report) -> None:
    """What happens to a child, as a line of the log."""
    error = None if report.error is None else f"{type(report.error).__name__}: {report.error}"
    if report.happening in (Happening.started, Happening.finished):
        log.debug(f"child_{report.happening.value}", supervisor=report.supervisor, child=report.child)
    else:
        log.warning(f"child_{report.happening.value}", supervisor=report.supervisor, child=report.child, error=error)


def _reason(error: BaseException) -> CpmsError:
    """Why the stack gave up: the first error of ours in the chain of causes, else the last word of the child."""
    cause: BaseException | None = error
    last = error
    while cause is not None:
        if isinstance(cause, CpmsError):
            return cause
        last, cause = cause, cause.__cause__
    return OperatorError("stack", f"the stack cannot go on: {last}; what it said stands above")
