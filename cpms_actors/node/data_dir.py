"""The data directory of a development stack: what lies where, which secrets it has, and who is using it.

    .cpms/                   0700; as root 0711, since Postgres runs as another user and has to walk through
      secrets.json           0600  passwords and keys, made once
      ports.json             0600  the ports the embedded servers had last, kept while they are free
      connection.json        0600  how to connect to the stack that runs now; gone when it stops
      lock                         held by the `cpms up` that runs; the kernel lets go of it however that ends
      nats/  postgres/  logs/

`connection.json` is how a command in the same directory finds the stack: `attach` completes its settings from it.
"""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Nats, Postgres, Settings

HOST: Final = "127.0.0.1"

_Kept = TypeVar("_Kept", bound=Struct)


class Secrets(Struct, frozen=True, kw_only=True):
    """Generated once per data directory: 32 random bytes each, URL-safe, so that they need no quoting in a DSN or a shell."""

    nats_system: str
    nats_operator: str
    postgres_superuser: str
    postgres_owner: str
    postgres_app: str
    credential_key: str


class Ports(Struct, frozen=True):
    """TCP ports of the embedded servers on the loopback interface, by server."""

    last: dict[str, int] = {}


class Connection(Struct, frozen=True, kw_only=True):
    """How to connect to the stack that runs in this directory. The URLs carry passwords."""

    pid: int
    websocket_url: str  # append /<charger>, or /<tenant>/<charger>
    operator: str
    nats_operator_url: str
    nats_url: str
    postgres_dsn: str
    postgres_owner_dsn: str
    credential_key: str


class DataDir:
    """One data directory. Made on demand, by root or by anyone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def nats(self) -> Path:
        """The broker's configuration and its JetStream store."""
        return self.path / "nats"

    @property
    def postgres(self) -> Path:
        """The cluster of the database."""
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        """What the embedded servers and the processes of the stack wrote."""
        return self.path / "logs"

    def make(self) -> None:
        """Create what is missing. Raises OperatorError("data_dir") when that cannot be done."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.nats, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            text = f"cannot use {self.path} for data: {error.strerror}; name a directory you may write to with --data"
            raise OperatorError("data_dir", text) from None

    def secrets(self) -> Secrets:
        """The secrets of this directory, made the first time."""
        kept = self._read("secrets.json", Secrets)
        if kept is None:
            kept = Secrets(**{name: secrets.token_urlsafe(32) for name in Secrets.__struct_fields__})
            self._write("secrets.json", kept)
        return kept

    def adopt(self, credential_key: str) -> None:
        """Take over the key of another deployment, by which its chargers' passwords are known."""
        self._write("secrets.json", replace(self.secrets(), credential_key=credential_key))

    def port(self, server: str, asked: int = 0) -> int:
        """A port for a server: the one asked for, else the one it had last if that is free, else a free one."""
        last = (self._read("ports.json", Ports) or Ports()).last
        chosen = asked or _reusable(last.get(server, 0))
        if chosen != last.get(server):
            self._write("ports.json", Ports(last | {server: chosen}))
        return chosen

    def announce(self, connection: Connection) -> None:
        """Tell commands in this directory how to connect."""
        self._write("connection.json", connection)

    def withdraw(self) -> None:
        """The stack stopped: nobody can connect any more."""
        (self.path / "connection.json").unlink(missing_ok=True)

    def connection(self) -> Connection | None:
        """How to connect to the stack of this directory; None when none runs."""
        found = self._read("connection.json", Connection)
        return found if found is not None and _is_alive(found.pid) else None

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the directory while the block runs. Raises OperatorError("running") when another process does."""
        self.make()
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = f"a stack already runs in {self.path}; stop it first, or name another directory with --data"
                raise OperatorError("running", text) from None
            self.withdraw()  # of a stack that was killed
            try:
                yield
            finally:
                self.withdraw()

    def _read(self, name: str, kind: type[_Kept]) -> _Kept | None:
        file = self.path / name
        try:
            return msgspec.json.decode(file.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            text = f"cannot read {file}: {error.strerror}; run as the user who started the stack"
            raise OperatorError("data_dir", text) from None
        except msgspec.DecodeError as error:
            raise OperatorError("data_dir", f"{file} is damaged ({error}); remove it, or the whole directory to start anew") from None

    def _write(self, name: str, kept: Struct) -> None:
        draft = self.path / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
        draft.replace(self.path / name)


def attach(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """The settings, completed from the stack that runs in `settings.data` where they name no servers of their own."""
    connection = DataDir(Path(settings.data)).connection() if Path(settings.data).is_dir() else None
    if connection is None:
        return settings
    nats, postgres = settings.nats, settings.postgres
    if not is_external(nats.url, Nats().url, environment, "CPMS_NATS_URL"):
        nats = replace(nats, url=connection.nats_url, operator_url=nats.operator_url or connection.nats_operator_url)
    if not is_external(postgres.dsn, Postgres().dsn, environment, "CPMS_POSTGRES_DSN"):
        postgres = replace(postgres, dsn=connection.postgres_dsn, owner_dsn=postgres.owner_dsn or connection.postgres_owner_dsn)
    key = settings.credential_key or connection.credential_key
    return replace(settings, nats=nats, postgres=postgres, credential_key=key)


def is_external(value: str, default: str, environment: Mapping[str, str], variable: str) -> bool:
    """Whether a setting names a server that somebody else runs: it was set, be it to its default."""
    return value != default or bool(environment.get(variable))


def _reusable(port: int) -> int:
    return port if port and is_free(port) else free_port()


def free_port() -> int:
    """A port on which nobody listens now."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a port in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's: alive
    return True
