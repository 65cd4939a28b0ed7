"""`cpms simulate` from the outside: its output for people and programs, and its exit code."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner
from websockets.sync.server import Server, ServerConnection, serve

from cpms_actors.cli.simulate import INCOMPLETE, mount

NOW = "2026-01-01T00:00:00Z"
RUN = ["simulate", "--chargers", "3", "--speed", "3000", "--charging", "10", "--parking", "5"]


def answer(action: str, payload: dict[str, Any], transaction: int) -> dict[str, Any]:
    accepted = {"status": "Accepted"}
    answers: dict[str, dict[str, Any]] = {
        "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
        "Heartbeat": {"currentTime": NOW},
        "Authorize": {"idTagInfo": accepted} if "idTag" in payload else {"idTokenInfo": accepted},
        "StartTransaction": {"transactionId": transaction, "idTagInfo": accepted},
    }
    return answers.get(action, {})


class Csms:
    def __init__(self) -> None:
        self.authorizations: list[str | None] = []
        self.tokens: set[str] = set()
        self.timestamps: list[str] = []
        self.broken = ""

    def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.authorizations.append(connection.request.headers.get("Authorization"))
        for number, text in enumerate(connection):
            _, message_id, action, payload = json.loads(text)
            if action == "Authorize":
                self.tokens.add(payload.get("idTag") or payload["idToken"]["idToken"])
            if "timestamp" in payload:
                self.timestamps.append(payload["timestamp"])
            if action == self.broken:
                connection.send(json.dumps([4, message_id, "InternalError", "", {}]))
            else:
                connection.send(json.dumps([3, message_id, answer(action, payload, number)]))


@pytest.fixture
def csms() -> Csms:
    return Csms()


@pytest.fixture
def url(csms: Csms) -> Iterator[str]:
    server: Server = serve(csms, "127.0.0.1", 0, subprotocols=["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])  # type: ignore[list-item]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ocpp"
    server.shutdown()
    thread.join()


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    mount(app)
    return CliRunner().invoke(app, [*RUN, *arguments])


def test_json_is_one_object_with_the_truth_about_every_session(url: str) -> None:
    outcome = run("--url", url, "--json", "--token", "T1", "--sessions", "2")
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert (result["chargers"], result["sessions"], result["failures"], result["complete"]) == (3, 6, [], True)
    assert result["energy_wh"] == sum(facts["energy_wh"] for facts in result["facts"]) > 0
    assert {facts["version"] for facts in result["facts"]} == {"1.6", "2.0.1", "2.1"}
    assert all(facts["charging_s"] > 0 and facts["parking_s"] > 0 for facts in result["facts"])


def test_people_see_a_table_and_a_sum(url: str) -> None:
    outcome = run("--url", url, "--version", "1.6")
    assert outcome.exit_code == 0, outcome.output
    assert "SIM-0003" in outcome.stdout
    assert "3 of 3 sessions completed on 3 chargers" in " ".join(outcome.stdout.split())


def test_the_same_seed_draws_the_same_sessions(url: str) -> None:
    def energies(seed: str) -> list[int]:
        outcome = run("--url", url, "--json", "--version", "1.6", "--seed", seed)
        return sorted(facts["energy_wh"] for facts in json.loads(outcome.stdout)["facts"])

    assert energies("7") == energies("7") != energies("8")


def test_a_session_that_is_not_completed_is_an_exit_code(url: str, csms: Csms) -> None:
    csms.broken = "Authorize"
    outcome = run("--url", url, "--json", "--version", "1.6")
    assert outcome.exit_code == INCOMPLETE
    result = json.loads(outcome.stdout)
    assert (result["sessions"], result["complete"]) == (0, False)
    assert "Authorize: answered" in result["failures"][0]


def test_passwords_come_from_an_option_or_by_identity_from_a_file(url: str, csms: Csms, tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    file.write_text('{"SIM-0002": "two"}')
    run("--url", url, "--json", "--password", "all", "--passwords", str(file), "--sessions", "0")
    expected = ["Basic U0lNLTAwMDE6YWxs", "Basic U0lNLTAwMDI6dHdv", "Basic U0lNLTAwMDM6YWxs"]
    assert sorted(str(one) for one in csms.authorizations) == expected


def test_drivers_show_the_tokens_that_are_named(url: str, csms: Csms) -> None:
    run("--url", url, "--json", "--token", "A1", "--token", "B2", "--sessions", "4")
    assert csms.tokens == {"A1", "B2"}


def test_backdated_sessions_lie_in_the_past(url: str, csms: Csms) -> None:
    from datetime import UTC, datetime, timedelta

    run("--url", url, "--json", "--backdate", "--speed", "100")  # so that the machine may be late by more than half a second
    assert max(csms.timestamps) <= (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    assert min(csms.timestamps) < (datetime.now(UTC) - timedelta(minutes=8)).isoformat()


@pytest.mark.parametrize("text", ["[]", "not json", '{"a": 1}'])
def test_a_file_that_holds_no_passwords_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "passwords.json"
    file.write_text(text)
    outcome = run("--passwords", str(file))
    assert "passwords.json" in str(outcome.exception)
