"""The entry point of `cpms`: what people and programs see when something cannot be done. `cpms_actors.cli.main`, `.stack`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpms_actors.base.errors import CpmsError, OperatorError, Unavailable
from cpms_actors.bus.verbs import VerbFailed
from cpms_actors.cli import stack
from cpms_actors.cli.main import expected, explain

ROOT = Path(__file__).parents[2]


def _cpms(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
    return subprocess.run(
        [sys.executable, "-m", "cpms_actors.cli.main", *arguments],
        cwd=cwd,
        env=kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_the_commands_at_once(tmp_path: Path) -> None:
    _cpms("--help", cwd=tmp_path)  # compiles
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = _cpms("--help", cwd=tmp_path)
        took.append(time.monotonic() - began)
    assert done.returncode == 0
    for command in ("up", "demo", "worker", "pool", "migrate", "rebuild", "simulate"):
        assert f"  {command}" in done.stdout
    assert min(took) < 1.0  # about 0.2 s on an idle machine


def test_no_command_loads_a_loop_or_a_driver_to_say_what_it_does() -> None:
    heavy = ("trio", "anyio", "asyncpg", "uvloop", "picows", "psutil")
    code = f"import sys; import cpms_actors.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=30)
    assert done.stdout.strip() == "[]"


WRONG = [
    # arguments, environment, exit code, what stderr says
    (["pool", "nope"], {}, 2, "'nope'"),
    (["demo", "--chargers", "4"], {}, 2, "a multiple of 3"),
    (["worker"], {"CPMS_NOPE": "1"}, 2, "unknown variable CPMS_NOPE"),
    (["worker"], {"CPMS_GATEWAY_PORT": "many"}, 2, "gateway.port"),
    (["worker"], {}, 2, "set CPMS_CREDENTIAL_KEY"),
    (["pool", "operations"], {}, 2, "set CPMS_CREDENTIAL_KEY"),
    (["--config", "none.toml", "worker"], {}, 2, "none.toml"),
    (["migrate"], {}, 2, "CPMS_POSTGRES_OWNER_DSN"),
    (["migrate"], {"CPMS_POSTGRES_OWNER_DSN": "postgresql://o:secret@127.0.0.1:1/d"}, 3, "no Postgres to migrate"),
    (["rebuild"], {}, 2, "CPMS_POSTGRES_OWNER_DSN"),
    (
        ["rebuild"],
        {"CPMS_POSTGRES_OWNER_DSN": "postgresql://o:secret@127.0.0.1:1/d", "CPMS_NATS_URL": "nats://127.0.0.1:1"},
        3,
        "NATS does not answer",
    ),
    (["up", "--data", "file"], {}, 2, "--data"),
    (["--nope"], {}, 2, "--nope"),
]


@pytest.mark.parametrize(("arguments", "environment", "code", "said"), WRONG)
def test_what_cannot_be_done_is_said_in_a_sentence(
    arguments: list[str], environment: dict[str, str], code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = _cpms(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


ERRORS = [
    # what was raised, exit code, what is said
    (OperatorError("x", "no such charger"), 2, "cpms: no such charger\n"),
    (Unavailable("NATS does not answer"), 3, "cpms: NATS does not answer\n"),
    (VerbFailed("call-error", "the charger said no", 4), 4, "cpms: the charger said no\n"),
    (ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [OperatorError("x", "deep")])]), 2, "cpms: deep\n"),
]


@pytest.mark.parametrize(("error", "code", "said"), ERRORS)
def test_an_error_of_ours_becomes_its_sentence_and_its_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error) == code
    assert capsys.readouterr().err == said
    assert isinstance(expected(error), CpmsError)


def test_a_bug_is_written_to_a_file_and_not_to_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError) as caught:
        {}["missing"]
    assert explain(caught.value) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    file = Path(said.rsplit(" ", 1)[1].strip())
    assert "KeyError: 'missing'" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    file.unlink()


URLS = [
    ("nats://system:secret@127.0.0.1:4222", "nats://system@127.0.0.1:4222"),
    ("nats://a:b@h1:1,nats://a:b@h2:2", "nats://a@h1:1"),
    ("postgresql://cpms_app:secret@127.0.0.1:5432/cpms", "postgresql://cpms_app@127.0.0.1:5432/cpms"),
    ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert stack._without_password(url) == shown
