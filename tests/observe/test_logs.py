"""Logs: `cpms_actors.observe.logs`."""

import io
import json
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.settings import Logs
from cpms_actors.observe import logs

SECRET = "s3cr3t-and-long"
log = logs.get("test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    logs.configure(Logs())


@pytest.fixture
def json_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The JSON lines so far, of level debug and above."""
    logs.configure(Logs(level="debug", format="json"))
    return lambda: capsys.readouterr().err.splitlines()


def _only(lines: Callable[[], list[str]]) -> dict[str, object]:
    (line,) = lines()
    event: dict[str, object] = json.loads(line)
    return event


def test_an_event_is_one_json_object_on_stderr(json_lines: Callable[[], list[str]]) -> None:
    log.info("connected", tenant="acme", charger="CP-1", message_id="7")
    event = _only(json_lines)
    moment = event.pop("timestamp")
    assert event == {"event": "connected", "level": "info", "part": "test", "tenant": "acme", "charger": "CP-1", "message_id": "7"}
    assert isinstance(moment, str)
    assert moment.endswith("Z")


def test_people_get_a_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure(Logs(format="console"))
    log.info("connected", charger="CP-1")
    assert "connected" in stderr.getvalue()
    assert "charger=CP-1" in stderr.getvalue()


LEVELS = [
    # configured level, which methods print, debug_on
    ("debug", ["debug", "info", "warning", "error"], True),
    ("info", ["info", "warning", "error"], False),
    ("warning", ["warning", "error"], False),
    ("error", ["error"], False),
]


@pytest.mark.parametrize(("level", "printed", "debug_on"), LEVELS)
def test_below_the_level_nothing_is_printed(level: str, printed: list[str], debug_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure(Logs(level=level, format="json"))  # type: ignore[arg-type]
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("words")
    assert [json.loads(line)["level"] for line in stderr.getvalue().splitlines()] == printed
    assert logs.debug_on is debug_on


def test_below_the_level_no_value_is_looked_at() -> None:
    """Work per message that nobody reads is none."""

    class Expensive:
        def __repr__(self) -> str:
            raise AssertionError("rendered although debug is off")

    before = logs.dropped()
    logs.configure(Logs(level="info"))
    log.debug("handled", value=Expensive())
    assert logs.dropped() == before


SECRETS = [
    # what is logged; in each the secret must not appear
    {"password": SECRET},
    {"credential": SECRET.encode()},
    {"credential_key": SECRET},
    {"AuthorizationKey": SECRET},
    {"basic_auth_password": SECRET},
    {"authorization": f"Basic {SECRET}"},
    {"head": f"GET /ocpp/CP-1 HTTP/1.1\r\nAuthorization: Basic {SECRET}\r\n"},
    {"headers": {"Authorization": f"Basic {SECRET}"}},
    {"headers": [("a", {"secret": SECRET})]},
    {"url": f"nats://system:{SECRET}@127.0.0.1:4222"},
    {"urls": (f"postgresql://cpms_app:{SECRET}@h/d", f"nats://u:{SECRET}@h")},
    {"error": OSError(f"cannot connect to nats://u:{SECRET}@h")},
    {"payload": {"key": "AuthorizationKey", "value": SECRET}},
    {"payload": {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]}},
    {"frame": f'[2,"1","ChangeConfiguration",{{"key":"AuthorizationKey","value":"{SECRET}"}}]'},
    {"frame": f'[2,"1","ChangeConfiguration",{{"value":"{SECRET}","key":"authorizationkey"}}]'.encode()},
    {"frame": f'{{"setVariableData":[{{"attributeValue":"{SECRET}","variable":{{"name":"BasicAuthPassword"}}}}]}}'},
    {"frame": f'[2,"1","SetNetworkProfile",{{"connectionData":{{"basicAuthPassword":"{SECRET}"}}}}]'},
    {"frame": f'[2,"1","ChangeConfiguration",{{"key":"AuthorizationKey","value":"{SECRET}'},  # cut short
    {"deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"plain": SECRET}}}}}}}}},  # too deep to be walked
]


@pytest.mark.parametrize("words", SECRETS)
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_secret_is_never_printed(words: dict[str, object], style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure(Logs(format=style))  # type: ignore[arg-type]
    log.info("said", **words)
    assert "said" in stderr.getvalue()
    assert SECRET not in stderr.getvalue()


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_neither_secrets_nor_local_variables(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure(Logs(format=style))  # type: ignore[arg-type]

    def fails(password: str) -> None:
        raise ValueError(f"postgresql://cpms_app:{password}@h/d refused")

    try:
        fails(SECRET)
    except ValueError:
        log.exception("failed")
    assert "ValueError" in stderr.getvalue()
    assert SECRET not in stderr.getvalue()


PLAIN = [
    {"token": "04AB12"},  # an RFID tag is what operators search for
    {"frame": '[2,"1","Heartbeat",{}]'},
    {"payload": {"key": "HeartbeatInterval", "value": "300"}},
    {"url": "ws://127.0.0.1:9000/ocpp/CP-1"},
    {"missing_password": None},
    {"has_password": True},
    {"count": 7, "share": 0.5},
]


@pytest.mark.parametrize("words", PLAIN)
def test_what_is_no_secret_is_printed_as_it_is(words: dict[str, object], json_lines: Callable[[], list[str]]) -> None:
    log.info("said", **words)
    event = _only(json_lines)
    assert {key: event[key] for key in words} == words


def test_an_error_whose_text_cannot_be_made_is_told_by_its_name(json_lines: Callable[[], list[str]]) -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.info("said", error=BrokenError())
    assert json.loads(json_lines()[0])["error"] == "BrokenError (its text cannot be made: RuntimeError)"


def test_a_value_that_cannot_be_printed_costs_its_details_only(json_lines: Callable[[], list[str]]) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    before = logs.dropped()
    log.info("said", broken=Broken())
    assert json_lines()[0].startswith("info said")
    assert logs.dropped() == before + 1


def test_a_stderr_that_is_gone_costs_the_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for gone in (closed, None):
        monkeypatch.setattr(sys, "stderr", gone)
        before = logs.dropped()
        logs.get("test").info("said")
        assert logs.dropped() == before + 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_no_value_makes_logging_raise(value: object) -> None:
    stderr, kept = io.StringIO(), sys.stderr
    sys.stderr = stderr
    try:
        logs.configure(Logs(format="json"))
        log.info("said", value=value)
    finally:
        sys.stderr = kept
    assert "said" in stderr.getvalue()
