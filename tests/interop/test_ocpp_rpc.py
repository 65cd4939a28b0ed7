"""The npm package `ocpp-rpc` in strict mode is content: it validates every answer of ours against the schemas it ships.

`ocpp_rpc/session.js` runs a whole charging session in each version, then every other action a charge point can send. The package
is installed once into pytest's cache; without Node the tests are skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cpms_actors.ocpp.catalogue import actions

HERE = Path(__file__).parent / "ocpp_rpc"
PASSWORD = "0123456789abcdefghij"
INSTALL_S, RUN_S = 180, 90
NOT_OFFERED = ("NotSupported", "NotImplemented")  # what may be answered to an action outside a session


@pytest.fixture(scope="session")
def package(pytestconfig: pytest.Config) -> Path:
    """A folder with session.js and an installed ocpp-rpc."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("needs Node: no node and npm on the PATH")
    cache = pytestconfig.cache
    assert cache is not None
    folder = cache.mkdir("ocpp-rpc")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["ocpp-rpc"]
    for name in ("package.json", "session.js"):
        shutil.copy(HERE / name, folder)
    installed = folder / "node_modules" / "ocpp-rpc" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund"]
        outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        assert outcome.returncode == 0, outcome.stderr
    return folder


def run_session(folder: Path, running_cpms: Any, version: str, identity: str) -> dict[str, Any]:
    running_cpms.add_charger(identity, PASSWORD)
    running_cpms.add_token(f"T-{identity}")
    options = {
        "url": running_cpms.ws_url,
        "identity": identity,
        "password": PASSWORD,
        "version": version,
        "token": f"T-{identity}",
        "actions": [name for name, action in actions(version).items() if action.from_charger],
    }
    command = ["node", "session.js", json.dumps(options)]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert outcome.returncode == 0, outcome.stderr
    verdict: dict[str, Any] = json.loads(outcome.stdout)
    return verdict


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_a_strict_client_finds_no_fault_in_our_answers(package: Path, running_cpms: Any, version: str) -> None:
    verdict = run_session(package, running_cpms, version, f"RPC-{version}")
    assert verdict["protocol"] == f"ocpp{version}"
    assert verdict["strict"] == []
    assert verdict["bad"] == []
    session_ends = next(i for i, call in enumerate(verdict["calls"]) if call["action"] == "Heartbeat")
    session, rest = verdict["calls"][: session_ends + 1], verdict["calls"][session_ends + 1 :]
    assert [call for call in session if not call["ok"]] == []
    assert [call for call in rest if not call["ok"] and call["code"] not in NOT_OFFERED] == []
    answers = {call["action"]: call["result"] for call in session}
    assert answers["BootNotification"]["status"] == "Accepted"
    info = answers["Authorize"]
    assert (info.get("idTagInfo") or info["idTokenInfo"])["status"] == "Accepted"


def test_the_session_covers_every_action_a_charge_point_can_send(package: Path, running_cpms: Any) -> None:
    """All but the SEND messages of 2.1, which ocpp-rpc does not know."""
    sent = {call["action"] for call in run_session(package, running_cpms, "2.1", "RPC-ALL")["calls"]}
    missing = {name for name, action in actions("2.1").items() if action.from_charger} - sent
    assert missing <= {"NotifyPeriodicEventStream"}
