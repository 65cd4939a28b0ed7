"""Storms end to end: the runner as a person runs it, against the real stack."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from csv import DictReader
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from balancer import is_installed, needs_haproxy
from running import RunningCpms, die_with_parent

from cpms_actors.base.settings import Gateway
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.node.data_dir import DataDir, free_port
from loadtests.stack import scratch_stack
from loadtests.terminator import NODES, terminator
from loadtests.wire import Refused, Wire, trust

ROOM = 8  # for connections, in the stack that is too small
PASSWORD = "a-password-of-twenty"


def storm(*arguments: str, scratch: Path | None = None) -> "subprocess.Popen[str]":
    """The runner; its scratch directories lie in `scratch`."""
    command = [sys.executable, "-m", "loadtests", *arguments]
    environment = os.environ | ({} if scratch is None else {"TMPDIR": str(scratch)})
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=die_with_parent
    )


def run(*arguments: str, scratch: Path | None = None) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr."""
    process = storm(*arguments, scratch=scratch)
    try:
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


def verdict_of(*arguments: str, scratch: Path | None = None) -> tuple[int, dict[str, Any]]:
    code, stdout, stderr = run(*arguments, "--json", scratch=scratch)
    assert stdout, stderr
    return code, json.loads(stdout)


def on(running: RunningCpms) -> list[str]:
    """Where it runs."""
    return ["--url", running.ws_url, "--data", str(running.directory / ".cpms")]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory through which Postgres, which may run as another user, can walk."""
    with TemporaryDirectory(prefix="cpms-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def small_cpms() -> Iterator[RunningCpms]:
    with TemporaryDirectory(prefix="cpms-small-") as name:
        Path(name).chmod(0o711)
        running = RunningCpms(Path(name), CPMS_GATEWAY_CONNECTIONS_MAX=str(ROOM))
        try:
            yield running
        finally:
            running.close()


def left_of(folder: Path) -> list[object]:
    """Files in it, and processes that know of it."""
    processes = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])]
    return [*folder.iterdir(), *processes]


def opened(running: RunningCpms, identity: str) -> Wire:
    wire = Wire()
    host, port = running.ws_url.split("/")[2].split(":")
    path = f"/ocpp/{identity}"
    wire.open(host, int(port), path, subprotocol="ocpp1.6", identity=identity, password=PASSWORD, timeout_s=10)
    return wire


def test_all_chargers_are_back_after_a_power_outage(tmp_path: Path) -> None:
    code, verdict = verdict_of("power-outage", "--chargers", "60", "--report", str(tmp_path))
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])
    assert (verdict["chargers"], verdict["admitted"], verdict["timeouts"]) == (60, 60, 0)
    assert verdict["back_s"] > 0
    assert 0 < verdict["p50_ms"] <= verdict["p99_ms"] <= verdict["slowest_ms"] < 30_000
    requests = {row["Name"]: row for row in DictReader((tmp_path / "requests.csv").open())}
    assert int(requests["BootNotification"]["Request Count"]) >= 120  # each charger twice
    assert "BootNotification" in (tmp_path / "report.html").read_text()


def test_a_meter_flood_is_answered_and_billed() -> None:
    code, verdict = verdict_of("meter-flood", "--chargers", "60", "--seconds", "6")
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])
    assert (verdict["chargers"], verdict["admitted"], verdict["timeouts"]) == (60, 60, 0)
    assert verdict["answers"] >= 60 * (6 - 1)


@pytest.mark.parametrize(
    ("name", "seconds", "ocpp"),
    [
        ("flapping-links", 4, "1.6"),
        ("firmware-rollout", 5, "mixed"),
        ("poison-chargers", 11, "1.6"),
        ("slow-readers", 60, "1.6"),
        ("remote-command-storm", 3, "mixed"),
        ("roaming-peak", 3, "1.6"),
        ("power-outage", 10, "2.0.1"),
        ("remote-command-storm", 1, "2.1"),
    ],
)
def test_a_storm_is_borne(running_cpms: RunningCpms, name: str, seconds: int, ocpp: str) -> None:
    code, verdict = verdict_of(name, "--chargers", "40", "--seconds", str(seconds), "--ocpp", ocpp, *on(running_cpms))
    assert (code, verdict["verdict"], verdict["reasons"], verdict["ocpp"]) == (0, "pass", [], ocpp)
    assert (verdict["chargers"], verdict["admitted"], verdict["timeouts"]) == (40, 40, 0)
    if name == "slow-readers":
        assert verdict["seconds"] > Gateway().pong_deadline_s, "it was the server that lost patience"


def test_a_rush_hour_begins_with_few_then_comes_the_crowd(running_cpms: RunningCpms) -> None:
    began = datetime.now(UTC)
    code, verdict = verdict_of("rush-hour", "--chargers", "40", "--seconds", "6", *on(running_cpms))
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])
    listed = running_cpms.ask(verbs.SESSION_LIST, ledger.SessionList(limit=1000)).sessions
    starts = sorted(session.started_at for session in listed if session.started_at >= began)
    third = (starts[-1] - starts[0]) / 3
    middle = [start for start in starts if starts[0] + third <= start <= starts[-1] - third]
    assert len(starts) == 40
    assert 3 * third > timedelta(seconds=4)
    assert len(middle) > 18, "at an even pace it would be a third"


def page(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of Locust's web page, as soon as it is there."""
    deadline = time.monotonic() + 20
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        finally:
            connection.close()


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_storm_can_be_watched_and_not_stopped_from_its_page(running_cpms: RunningCpms) -> None:
    port = free_port()
    process = storm("meter-flood", "--chargers", "20", "--seconds", "2", "--json", "--web", str(port), *on(running_cpms))
    try:
        assert page(port, "/")[0] == 200
        assert page(port, "/stop", "POST")[0] == page(port, "/stats/reset", "POST")[0] == 403
        deadline = time.monotonic() + 20
        while "MeterValues" not in {row["name"] for row in json.loads(page(port, "/stats/requests")[1])["stats"]}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = run("meter-flood", "--web", str(port), *on(running_cpms))
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, json.loads(stdout)["verdict"]) == (0, "pass")
    assert stderr == ""
    assert is_refused(port), "the page ends with the storm"
    assert second[0] == 2
    assert f"cannot be at port {port}" in second[2]


def test_nobody_is_disconnected_by_a_rollout_under_a_meter_flood() -> None:
    code, verdict = verdict_of("rollout", "--chargers", "40", "--seconds", "1")
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])


def test_what_was_queued_for_hours_is_told_and_billed_once() -> None:
    code, verdict = verdict_of("replay-storm", "--chargers", "40", "--seconds", "40", "--ocpp", "mixed")
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])
    assert verdict["answers"] > 40 * 3 * 10


def test_a_charger_that_is_not_registered_is_a_reason_to_fail_and_nothing_stays(scratch: Path) -> None:
    arguments = ["power-outage", "--chargers", "5", "--seconds", "2", "--unregistered", "1", "--json"]
    code, stdout, stderr = run(*arguments, scratch=scratch)
    verdict = json.loads(stdout)
    assert (code, verdict["verdict"], verdict["admitted"]) == (1, "fail", 4)
    assert "the scratch stack ended" not in stderr
    assert "1 charger left out after the cut: STORM-00005" in verdict["reasons"]
    assert left_of(scratch) == []


def test_a_stack_that_does_not_stop_in_order_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    with scratch_stack() as stack:
        connection = DataDir(stack.data).connection()
        assert connection is not None
        os.kill(connection.pid, signal.SIGKILL)
    assert "the scratch stack ended with status -9: " in capfd.readouterr().err


def test_a_charger_of_201_that_is_not_registered_is_a_reason_to_fail(running_cpms: RunningCpms) -> None:
    arguments = ["--chargers", "50", "--seconds", "1", "--unregistered", "1", "--ocpp", "2.0.1"]  # no other storm here has so many
    code, verdict = verdict_of("power-outage", *arguments, *on(running_cpms))
    assert (code, verdict["verdict"], verdict["admitted"]) == (1, "fail", 49)
    assert "1 charger left out after the cut: STORM-00050" in verdict["reasons"]


@needs_haproxy
def test_a_storm_goes_through_tls_in_front_of_a_stack_of_its_own() -> None:
    code, verdict = verdict_of("power-outage", "--chargers", "40", "--seconds", "10", "--ocpp", "mixed", "--tls")
    assert (code, verdict["verdict"], verdict["reasons"]) == (0, "pass", [])
    assert (verdict["chargers"], verdict["admitted"], verdict["timeouts"]) == (40, 40, 0)


@needs_haproxy
def test_chargers_believe_only_a_server_that_proves_who_it_is(running_cpms: RunningCpms, tmp_path: Path) -> None:
    _, _, inner, path = running_cpms.ws_url.split("/")
    data = ["--data", str(running_cpms.directory / ".cpms")]
    storm_of_two = ["power-outage", "--chargers", "2", "--seconds", "5", *data]
    with terminator([inner] * len(NODES)) as tls, terminator([inner] * len(NODES)) as stranger:
        (ca := tmp_path / "ca.pem").write_text(tls.certificate)
        code, verdict = verdict_of(*storm_of_two, "--url", f"wss://{tls.host}/{path}", "--ca", str(ca))
        assert (code, verdict["reasons"], verdict["admitted"]) == (0, [], 2)
        for url in (f"wss://{stranger.host}/{path}", f"wss://{tls.host.replace('127.0.0.1', 'localhost')}/{path}"):
            code, stdout, stderr = run(*storm_of_two, "--url", url, "--ca", str(ca))
            assert (code, stdout) == (2, "")
            assert "proves nothing" in stderr
        host, _, port = stranger.host.partition(":")
        with pytest.raises(ssl.SSLCertVerificationError):  # and so does each charger
            Wire().open(
                host,
                int(port),
                f"/{path}/CP",
                subprotocol="ocpp1.6",
                identity="CP",
                password=PASSWORD,
                timeout_s=10,
                tls=trust(tls.certificate),
            )


@needs_haproxy
def test_the_terminator_dies_with_who_started_it_however_that_ends() -> None:
    code = "from loadtests.terminator import *\nwith terminator(['127.0.0.1:9'] * 3) as t: print(t.host, flush=True); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    try:
        assert owner.stdout is not None
        port = int(owner.stdout.readline().rpartition(":")[2])
        (haproxy,) = psutil.Process(owner.pid).children()
        folder = Path(haproxy.cmdline()[-1]).parent
        assert not is_refused(port)
    finally:
        owner.kill()
        owner.communicate()
    shutil.rmtree(folder)  # nobody could
    assert psutil.wait_procs([haproxy], timeout=5)[1] == []
    assert is_refused(port)


def test_several_processes_share_a_storm_and_one_verdict(running_cpms: RunningCpms, tmp_path: Path) -> None:
    arguments = ["--chargers", "41", "--seconds", "2", "--processes", "2", "--sources", "3", "--json", "--report", str(tmp_path)]
    process = storm("flapping-links", *arguments, *on(running_cpms))
    try:
        shares = talk_of(process, running_cpms, 2, 41)
        assert sorted(map(len, shares.values())) == [20, 21]
        assert Counter(chain(*shares.values())) == {"127.0.0.1": 14, "127.0.0.2": 14, "127.0.0.3": 13}
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    verdict = json.loads(stdout)
    assert (process.returncode, verdict["verdict"], verdict["reasons"], stderr) == (0, "pass", [], "")
    assert (verdict["chargers"], verdict["admitted"], verdict["timeouts"]) == (41, 41, 0)
    rows = [row for row in DictReader((tmp_path / "requests.csv").open()) if row["Type"] == "OCPP"]
    assert verdict["answers"] == sum(int(row["Request Count"]) - int(row["Failure Count"]) for row in rows) > 41 * 5


def test_a_process_of_another_machine_joins_a_storm_and_whoever_is_one_too_many_is_sent_away(running_cpms: RunningCpms) -> None:
    port = str(free_port())

    def member() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "loadtests.member", "127.0.0.1", port], preexec_fn=die_with_parent)

    def charging() -> int:
        sessions = json.loads(running_cpms.cli("session", "list", "--status", "active", "--limit", "1000", "--json").stdout)["sessions"]
        return sum(session["charger"].startswith("STORM-") for session in sessions)

    members = [member(), member()]
    arguments = ["--chargers", "10", "--seconds", "6", "--processes", "1", "--joining", "1", "--bind", f"127.0.0.1:{port}", "--json"]
    process = storm("meter-flood", *arguments, *on(running_cpms))
    try:
        running_cpms.until(charging, lambda found: found == 10)
        members.append(member())
        assert members[2].wait(20) == 0, "the storm is under way"
        stdout, stderr = process.communicate(timeout=60)
        assert {one.wait(20) for one in members} == {0}
    finally:
        process.kill()
        for one in members:
            one.kill()
            one.wait()
    verdict = json.loads(stdout)
    assert (process.returncode, verdict["verdict"], verdict["reasons"], verdict["admitted"]) == (0, "pass", [], 10), stderr


def test_a_process_that_dies_with_its_chargers_is_a_reason_to_fail(running_cpms: RunningCpms) -> None:
    arguments = ["--chargers", "20", "--seconds", "60", "--processes", "2", "--json"]
    process = storm("meter-flood", *arguments, *on(running_cpms))
    try:
        victim, _ = talk_of(process, running_cpms, 2, 20)
        victim.kill()
        stdout, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
    verdict = json.loads(stdout)
    assert (process.returncode, verdict["verdict"], verdict["chargers"]) == (1, "fail", 20)
    assert verdict["admitted"] <= 10
    assert "a process of the laboratory died (-9), and its 10 chargers with it" in verdict["reasons"]
    assert stderr == ""


def links(process: "subprocess.Popen[str]", module: str, port: int | None = None) -> dict[psutil.Process, list[str]]:
    """Whence those of its processes that run a module are connected (to a port)."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if module in child.cmdline():
                established = [link for link in child.net_connections("tcp") if link.status == psutil.CONN_ESTABLISHED]
                found[child] = [link.laddr.ip for link in established if port in (None, link.raddr.port)]
    return found


def talk_of(process: "subprocess.Popen[str]", running: RunningCpms, members: int, chargers: int) -> dict[psutil.Process, list[str]]:
    """Whence the chargers of each member of a storm are connected, as soon as all of them are."""
    port = int(running.ws_url.split("/")[2].split(":")[1])
    deadline = time.monotonic() + 30
    while len(found := links(process, "loadtests.member", port)) < members or len([*chain(*found.values())]) < chargers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("module", "processes", "talk"), [("loadtests.storm", 1, False), ("loadtests.member", 2, True)], ids=["as it begins", "under way"]
)
def test_nothing_stays_of_a_storm_that_is_interrupted(scratch: Path, module: str, processes: int, talk: bool) -> None:
    port = free_port()
    process = storm(
        *("meter-flood", "--chargers", "5", "--seconds", "60", "--web", str(port), "--processes", str(processes)),
        *(["--tls"] if talk and is_installed() else []),
        scratch=scratch,
    )
    try:
        assert process.stderr is not None
        while "chargers on ws" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        assert left_of(scratch) != []
        deadline = time.monotonic() + 30
        while talk and len([*chain(*links(process, module).values())]) < 5 + processes:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        stdout, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert is_refused(port)
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert left_of(scratch) == []


def test_a_refusal_for_want_of_room_says_when_to_come_again(small_cpms: RunningCpms) -> None:
    names = [f"WIRE-{number}" for number in range(ROOM + 1)]
    for name in names:
        small_cpms.add_charger(name, PASSWORD)
    wires = [opened(small_cpms, name) for name in names[:ROOM]]
    with pytest.raises(Refused) as refused:
        opened(small_cpms, names[ROOM])
    assert refused.value.status == 503
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s >= 1
    for wire in wires:
        wire.abort()


def test_who_is_unknown_is_refused_and_who_is_cut_off_hears_nothing(small_cpms: RunningCpms) -> None:
    small_cpms.add_charger("WIRE-CUT", PASSWORD)
    with pytest.raises(Refused) as refused:
        opened(small_cpms, "WIRE-NOBODY")
    assert (refused.value.status, refused.value.retry_after_s) == (404, None)
    wire = opened(small_cpms, "WIRE-CUT")
    wire.send('[2,"1","Nonsense",{}]')
    answer = wire.receive(10)
    assert answer is not None
    assert answer.startswith('[4,"1",')
    assert wire.receive(0.01) is None
    assert wire._socket is not None
    assert wire._socket.gettimeout() is None, "having waited for an answer it still sends for as long as TCP makes it wait"
    wire.abort()
    with pytest.raises(OSError, match="cut"):
        wire.receive(1)


def test_chargers_beyond_the_room_of_a_running_system_are_left_out_and_wait_as_they_are_told(
    small_cpms: RunningCpms, tmp_path: Path
) -> None:
    chargers = ROOM + 4
    code, verdict = verdict_of(
        "power-outage", "--chargers", str(chargers), "--seconds", "3", "--report", str(tmp_path), *on(small_cpms)
    )
    assert (code, verdict["verdict"]) == (1, "fail")
    assert 0 < verdict["admitted"] <= ROOM
    refusals = [row for row in DictReader((tmp_path / "failures.csv").open()) if "503" in row["Error"]]
    # With the 0.1 s of other failures there would be sixty for each of four chargers; Retry-After is of seconds.
    assert 4 <= sum(int(row["Occurrences"]) for row in refusals) <= 5 * chargers


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["power-outage", "--url", "ws://192.0.2.1:9000/ocpp"], "loopback"),
        (["power-outage", "--url", "http://127.0.0.1:9000/ocpp"], "loopback"),
        (["power-outage", "--url", "ws://127.0.0.1:9/ocpp", "--data", "/nonexistent"], "no running stack"),
        (["power-outage", "--report", "/dev/null/report"], "/dev/null"),
        (["power-outage", "--ocpp", "1.5"], "choose from '1.6', '2.0.1', '2.1', 'mixed'"),
        (["power-outage", "--tls", "--url", "ws://127.0.0.1:9000/ocpp"], "--tls is for a scratch stack"),
        (["power-outage", "--ca", "/dev/null"], "--ca is for --url wss://"),
        (["power-outage", "--sources", "2", "--url", "ws://[::1]:9000/ocpp"], "name ::1 as 127.0.0.1"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(arguments: list[str], sentence: str) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert sentence in stderr
    assert "Traceback" not in stderr


def test_without_haproxy_the_remedy_is_said_before_anything_is_started(scratch: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "loadtests", "power-outage", "--tls"],
        env=os.environ | {"PATH": "/nonexistent", "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert "haproxy and openssl cannot be found" in process.stderr
    assert "apt-get install haproxy openssl" in process.stderr
    assert list(scratch.iterdir()) == []
