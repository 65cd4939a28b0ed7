"""What the stack decides before anything runs: `cpms_actors.node.stack`."""

import socket
from pathlib import Path

import pytest

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Gateway, Nats, Postgres, Settings
from cpms_actors.node import stack
from cpms_actors.node.data_dir import DataDir
from supervisors.supervisor import IntensityExceeded

EXTERNAL = Settings(
    nats=Nats(
        url="nats://system:s@nats-1:4222,nats://system:s@nats-2:4222", operator_url="nats://alice:a@nats-1:4222", operator="alice"
    ),
    postgres=Postgres(dsn="postgresql://cpms_app:p@db/cpms", owner_dsn="postgresql://owner:o@db/cpms"),
    gateway=Gateway(port=0),
)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / ".cpms")
    found.make()
    return found


def test_servers_that_are_named_are_not_started(data: DataDir) -> None:
    prepared = stack.prepare(EXTERNAL, stack.Plan(), {}, data)
    assert prepared.servers == []
    assert prepared.settings.nats == EXTERNAL.nats
    assert prepared.settings.postgres == EXTERNAL.postgres
    assert prepared.connection.nats_operator_url == "nats://alice:a@nats-1:4222"
    assert prepared.connection.operator == "alice"
    assert not data.postgres.exists()


def test_a_server_that_is_named_by_its_default_is_named(data: DataDir) -> None:
    environment = {"CPMS_NATS_URL": Nats().url, "CPMS_POSTGRES_DSN": Postgres().dsn}
    prepared = stack.prepare(Settings(gateway=Gateway(port=0)), stack.Plan(), environment, data)
    assert prepared.servers == []
    assert prepared.settings.nats.url == Nats().url


def test_each_embedded_server_is_started_unless_it_is_named(data: DataDir) -> None:
    settings = Settings(postgres=EXTERNAL.postgres, gateway=Gateway(port=0))
    prepared = stack.prepare(settings, stack.Plan(), {}, data)
    assert [server.name for server in prepared.servers] == ["nats"]
    assert prepared.settings.nats.url.startswith("nats://system:")
    assert prepared.connection.nats_operator_url.startswith("nats://operator:")


def test_the_credential_key_is_made_once_unless_it_is_set(data: DataDir) -> None:
    first = stack.prepare(EXTERNAL, stack.Plan(), {}, data).settings.credential_key
    assert len(first) >= 43
    assert stack.prepare(EXTERNAL, stack.Plan(), {}, data).settings.credential_key == first


def test_a_port_that_is_taken_is_an_error_with_the_remedy(data: DataDir) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(nats=EXTERNAL.nats, postgres=EXTERNAL.postgres, gateway=Gateway(port=port))
        with pytest.raises(OperatorError, match=f"port {port} on 127.0.0.1 is taken; name another with --port") as caught:
            stack.prepare(settings, stack.Plan(), {}, data)
    assert caught.value.code == "port"


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REASONS = [
    # why the supervisor gave up, what is said
    (_caused(IntensityExceeded("stack: nats ended"), OperatorError("nats", "nats ended with status 1")), "nats ended with status 1"),
    (_caused(IntensityExceeded("a"), _caused(IntensityExceeded("b"), Unavailable("no Postgres"))), "no Postgres"),
    (_caused(IntensityExceeded("a"), RuntimeError("session exited with 1")), "the stack cannot go on: session exited with 1"),
]


@pytest.mark.parametrize(("error", "said"), REASONS)
def test_the_reason_of_the_end_is_the_first_cause_that_is_ours(error: Exception, said: str) -> None:
    assert str(stack._reason(error)).startswith(said)
