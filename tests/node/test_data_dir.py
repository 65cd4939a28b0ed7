"""The data directory of a development stack: `cpms_actors.node.data_dir`."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.node.data_dir import HOST, Connection, DataDir, attach


def _connection(pid: int = 0) -> Connection:
    return Connection(
        pid=pid or os.getpid(),
        websocket_url="ws://127.0.0.1:9000/ocpp",
        operator="local",
        nats_operator_url="nats://operator:o@127.0.0.1:1",
        nats_url="nats://system:s@127.0.0.1:1",
        postgres_dsn="postgresql://app@127.0.0.1:2/cpms",
        postgres_owner_dsn="postgresql://owner@127.0.0.1:2/cpms",
        credential_key="k",
    )


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "deep" / ".cpms")
    found.make()
    return found


def test_secrets_are_made_once_and_differ(data: DataDir) -> None:
    secrets = data.secrets()
    assert data.secrets() == secrets
    values = [getattr(secrets, name) for name in secrets.__struct_fields__]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 43  # 32 bytes in URL-safe Base64


def test_only_the_owner_reads_what_holds_a_secret(data: DataDir) -> None:
    data.secrets()
    data.announce(_connection())
    for name in ("secrets.json", "connection.json"):
        assert (data.path / name).stat().st_mode & 0o777 == 0o600
    assert data.path.stat().st_mode & 0o666 == 0o600  # others may walk through at most


def test_a_port_is_kept_while_it_is_free(data: DataDir) -> None:
    port = data.port("nats")
    assert data.port("nats") == port
    assert data.port("postgres") != port
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        other = data.port("nats")
    assert other != port
    assert data.port("nats") == other


def test_the_port_that_was_asked_for_is_the_port(data: DataDir) -> None:
    assert data.port("nats", 4222) == 4222


def test_two_stacks_cannot_own_one_directory(data: DataDir) -> None:
    with data.owned(), pytest.raises(OperatorError, match="already runs") as caught, DataDir(data.path).owned():
        pass
    assert caught.value.code == "running"
    with data.owned():  # free again
        pass


def test_a_stack_that_was_killed_leaves_the_directory_free(data: DataDir) -> None:
    program = f"""
import os, signal
from pathlib import Path
from cpms_actors.node.data_dir import DataDir
with DataDir(Path({str(data.path)!r})).owned():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode == -9
    with data.owned():
        pass


def test_nobody_connects_to_a_stack_that_is_gone(data: DataDir) -> None:
    with data.owned():
        data.announce(_connection())
        assert data.connection() == _connection()
    assert data.connection() is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    data.announce(_connection(ended.pid))  # one that was killed could not withdraw
    assert data.connection() is None


def test_settings_are_completed_from_the_stack_that_runs_here(data: DataDir) -> None:
    data.announce(_connection())
    settings = Settings(data=str(data.path))
    found = attach(settings, {})
    assert found.nats.url == "nats://system:s@127.0.0.1:1"
    assert found.nats.operator_url == "nats://operator:o@127.0.0.1:1"
    assert found.postgres.dsn == "postgresql://app@127.0.0.1:2/cpms"
    assert found.credential_key == "k"


def test_servers_that_were_named_are_used_as_they_were_named(data: DataDir) -> None:
    data.announce(_connection())
    named = Settings(data=str(data.path), nats=Nats(url="nats://elsewhere"), postgres=Postgres(dsn="postgresql://elsewhere/d"))
    found = attach(named, {})
    assert (found.nats, found.postgres) == (named.nats, named.postgres)
    default = Settings(data=str(data.path))
    assert attach(default, {"CPMS_NATS_URL": default.nats.url}).nats == default.nats


def test_without_a_stack_settings_stay_as_they_are(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "none"))
    assert attach(settings, {}) == settings
    assert not (tmp_path / "none").exists()


def test_a_damaged_file_is_an_error_that_says_what_to_do(data: DataDir) -> None:
    (data.path / "secrets.json").write_text("{")
    with pytest.raises(OperatorError, match=r"secrets\.json is damaged .* remove it"):
        data.secrets()


def test_a_place_that_cannot_be_a_directory_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="--data"):
        DataDir(tmp_path / "file" / ".cpms").make()
