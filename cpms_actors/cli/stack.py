"""The commands that run the system: `up` and `demo` for one machine, `worker`, `pool` and `migrate` for real deployments.

Each runs until SIGTERM, SIGINT or SIGHUP and then stops in order; the same signal once more ends it at once, and the kernel ends its
children. What a command says for people or programs goes to stdout, logs go to stderr.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Settings, load

if TYPE_CHECKING:
    from cpms_actors.node.data_dir import Connection

Pool = Literal["session", "tariff", "operations"]
DataOption = Annotated[Path | None, typer.Option(help="Where data lies. [default: .cpms]", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object on stdout and nothing else.")]
PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Port for chargers; 0: a free one. [default: 9000]")]

_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, demo, worker, pool, migrate):
        app.command()(command)


def up(
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address for chargers. [default: 127.0.0.1]")] = None,
    port: PortOption = None,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the embedded NATS; 0: its last, or a free one.")] = 0,
    postgres_port: Annotated[int, typer.Option(min=0, max=65535, help="The same for the embedded Postgres.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many charger workers share the port; about one a core.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine: servers, pools, worker. Data stays, for the next time.

    CPMS_NATS_URL and CPMS_POSTGRES_DSN name servers of your own in place of the embedded ones.
    """
    from cpms_actors.node import stack
    from cpms_actors.node.data_dir import Connection

    settings = _settings(data, host, port)

    def say(connection: Connection) -> None:
        sys.stdout.write(_as_json(settings, connection) if as_json else _ready(settings, connection))
        sys.stdout.flush()

    if not as_json:
        sys.stdout.write(f"cpms: starting; data lies in {Path(settings.data).absolute()}\n")
        sys.stdout.flush()
    plan = stack.Plan(nats_port=nats_port, postgres_port=postgres_port, workers=workers)
    _run(partial(stack.run, settings, plan, environment=dict(os.environ), on_line=_pass_on, started=say))
    if not as_json:
        sys.stdout.write("cpms: stopped\n")


def demo(
    chargers: Annotated[int, typer.Option(min=3, max=600, help="How many simulated chargers; a third of each OCPP version.")] = 18,
    as_json: JsonOption = False,
) -> None:
    """Run everything with simulated chargers; check the bills.

    It all lies in a scratch directory, which is removed. Exit code 0 when each session has one charge detail record, with the
    simulator's own energy and the tariff's own cost.
    """
    from cpms_actors.base.settings import Logs
    from cpms_actors.node import demo as demonstration
    from cpms_actors.node import demo_verdict as verdict
    from cpms_actors.observe import logs

    if chargers % 3:
        raise OperatorError("chargers", f"{chargers} chargers cannot be shared out among three versions of OCPP; give a multiple of 3")
    logs.configure(Logs(level="warning"))
    outcome: list[verdict.Outcome] = []

    async def run() -> None:
        outcome.append(await demonstration.run(chargers, say=None if as_json else _say))

    _run(run)
    if not outcome:
        raise OperatorError("interrupted", "the demo was stopped before it had a verdict; run it again")
    sys.stdout.write(verdict.as_json(outcome[0]) if as_json else verdict.as_table(outcome[0]))
    if not outcome[0].equal:
        raise typer.Exit(1)


def worker(
    name: Annotated[
        str,
        typer.Option(help="Its name on this machine; one that starts again under its name takes over at once. [default: worker-<pid>]"),
    ] = "",
) -> None:
    """Run one charger worker: it holds the chargers' connections."""
    from cpms_actors.node import ready
    from cpms_actors.node import worker as workers

    settings = _deployed()
    with _logged("worker"):
        code = workers.run(settings, name=name, ready=ready.announce)
    raise typer.Exit(code)


def pool(name: Annotated[Pool, typer.Argument(help="Which pool.")]) -> None:
    """Run one process of a pool; several of a kind share its work."""
    from importlib import import_module

    from cpms_actors.node import ready
    from cpms_actors.pools import NICE
    from supervisors.limits import calm_the_collector, give_way

    settings = _deployed()
    give_way(NICE)
    with _logged(name):
        module: Any = import_module(f"cpms_actors.pools.{name}")
        calm_the_collector()
        _run(partial(module.run, settings, started=ready.announce))


def migrate() -> None:
    """Bring the database up to this release, as its owner.

    CPMS_POSTGRES_OWNER_DSN names both. Any number of processes may run this at once.
    """
    from cpms_actors.store import migrate as migrations
    from cpms_actors.store.owning import owner_dsn

    dsn = owner_dsn(attached().postgres)

    async def run() -> None:
        applied = await migrations.migrate(dsn)
        sys.stdout.write(f"cpms: applied {', '.join(applied)}\n" if applied else "cpms: the database is up to date\n")

    _run(run)


def _settings(data: Path | None, host: str | None, port: int | None) -> Settings:
    """The settings, with the options on top; logs are configured by them."""
    from msgspec.structs import replace

    from cpms_actors.observe import logs

    settings = load(os.environ)
    gateway = settings.gateway
    gateway = replace(gateway, host=gateway.host if host is None else host, port=gateway.port if port is None else port)
    settings = replace(settings, gateway=gateway, data=settings.data if data is None else str(data))
    logs.configure(settings.logs)
    return settings


def with_data(data: Path | None) -> Settings:
    """The settings of a system that does not run yet, whose data lie in this directory."""
    return _settings(data, None, None)


def attached() -> Settings:
    """The settings of a process that joins a stack: where they name no servers, those of the stack that runs here."""
    from cpms_actors.node.data_dir import attach

    return attach(_settings(None, None, None), os.environ)


def _deployed() -> Settings:
    """The settings of a process that must agree with the others. Raises OperatorError when they cannot."""
    settings = attached()
    if not settings.credential_key:
        text = "set CPMS_CREDENTIAL_KEY, the same in every process: it keys the digests of chargers' passwords"
        raise OperatorError("credential_key", text)
    return settings


@contextmanager
def _logged(process: str) -> Iterator[None]:
    """What a process dies of goes to its log, with the traceback: nobody sits in front of it."""
    from cpms_actors.base.errors import CpmsError
    from cpms_actors.observe import logs

    try:
        yield
    except CpmsError as error:
        logs.get("node").error("process_failed", process=process, error=str(error))
        raise typer.Exit(1) from None
    except Exception:
        logs.get("node").exception("process_crashed", process=process)
        raise typer.Exit(1) from None


def _run(work: Callable[[], Awaitable[None]]) -> None:
    """Run it on uvloop until it ends or a signal stops it."""
    import anyio

    async def stop_on_signal(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(*_STOP) as signals:
            async for _ in signals:
                scope.cancel()
                return

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stop_on_signal, group.cancel_scope)
            await work()
            group.cancel_scope.cancel()

    anyio.run(main, backend_options={"use_uvloop": True})


def _pass_on(name: str, line: str) -> None:
    """What a process of the stack printed, under its name; its word for being ready is not for people."""
    from cpms_actors.node import ready

    if line != ready.LINE:
        sys.stderr.write(f"{name:<10} | {line}\n")


def _say(line: str) -> None:
    sys.stdout.write(f"cpms: {line}\n")
    sys.stdout.flush()


def _ready(settings: Settings, connection: "Connection") -> str:
    return f"""cpms: ready
  chargers dial   {connection.websocket_url}/<charger>   (tenants: {connection.websocket_url}/<tenant>/<charger>)
  operators       cpms --help, in this directory; `cpms charger add` lets a charger in
  NATS            {_without_password(connection.nats_url)}
  Postgres        {_without_password(connection.postgres_dsn)}
  data            {Path(settings.data).absolute()}; passwords: secrets.json there
  stop            Ctrl-C, or kill {connection.pid}
"""


def _as_json(settings: Settings, connection: "Connection") -> str:
    import msgspec

    said = {
        "pid": connection.pid,
        "websocket_url": connection.websocket_url,
        "nats_url": _without_password(connection.nats_url),
        "postgres_dsn": _without_password(connection.postgres_dsn),
        "data": str(Path(settings.data).absolute()),
    }
    return msgspec.json.encode(said).decode() + "\n"


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url.split(",", 1)[0])
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"
