"""The bench, really run for as short as it goes: its figures mean nothing here, but they are all there and hang together."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import with_section

ROOT = Path(__file__).parents[2]
RUN_S = 90
NO_PROGRAMS = "/nowhere"  # a PATH
LINES = {
    "raw_echo",
    "raw_echo_heartbeat",
    "heartbeat",
    "durable_meter_values",
    "durable_meter_values_fsync",
    "trio_websocket",
    "mobilityhouse",
}
JOURNALLED = {"durable_meter_values", "durable_meter_values_fsync", "trio_websocket"}
TARGETS = {
    "heartbeat_to_raw_echo": ("at_most", 1.5),
    "durable_meter_values_to_raw_echo": ("at_most", 2.0),
    "mobilityhouse_to_durable_meter_values": ("at_least", 12.0),
    "kib_per_idle_charger": ("at_most", 14.0),
}

needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="server and load are pinned to a core each")


def bench(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "bench", *arguments]
    env = os.environ | environment
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=RUN_S, check=False)


@cache
def gateway() -> Any:
    """The answer of one run, all of stdout being one JSON object."""
    run = bench("gateway", "--json", "--seconds", "0.15", "--connections", "6", "--rounds", "1", "--idle", "20")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@needs_two_cores
def test_every_server_has_its_line() -> None:
    answer = gateway()
    assert answer.keys() >= LINES
    for key in LINES:
        assert answer[key]["cpu_us"] > 0, key
        assert answer[key]["msgs_per_s"] > 0, key
        assert len(answer[key]["cpu_us_rounds"]) == 1, key
    assert answer["kib_per_idle_charger"] >= 0
    assert answer["kib_bare_connection"] >= 0


@needs_two_cores
def test_no_server_uses_more_than_its_core() -> None:
    """CPU per message times messages per second is the share of one core, so the two measure the same messages."""
    shares = {key: gateway()[key]["cpu_us"] * gateway()[key]["msgs_per_s"] / 1e6 for key in LINES}
    assert all(share <= 1.1 for share in shares.values()), shares


@needs_two_cores
def test_what_is_called_durable_was_in_pages_of_the_journal() -> None:
    assert {key for key in LINES if gateway()[key].get("events_per_page", 0) >= 1} == JOURNALLED


@needs_two_cores
def test_verdicts_follow_from_the_figures() -> None:
    answer = gateway()
    assert answer["ratios"].keys() == LINES
    assert answer["ratios"]["raw_echo"] == 1
    assert answer["targets"].keys() == TARGETS.keys()
    for name, (kind, bound) in TARGETS.items():
        verdict = answer["targets"][name]
        of, to, over = name.partition("_to_")
        found = answer[of]["cpu_us"] / answer[over]["cpu_us"] if to else answer[name]
        assert verdict["found"] == pytest.approx(found)
        assert verdict[kind] == bound
        assert verdict["met"] is (found <= bound if kind == "at_most" else found >= bound)


@needs_two_cores
def test_admissions_are_counted_and_the_worker_uses_no_more_than_its_core() -> None:
    run = bench("admission", "--json", "--idle", "50", "--rounds", "2")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["admissions_per_s"] > 0
    assert answer["admissions_per_s"] * answer["cpu_us_per_admission"] / 1e6 <= 1.1
    assert answer["per_core"] == pytest.approx(1e6 / answer["cpu_us_per_admission"], rel=0.01)
    assert len(answer["rates"]) == len(answer["cpu_us_rounds"]) == 2
    target = answer["targets"]["admissions_per_s"]
    assert target == {"found": answer["admissions_per_s"], "at_least": 1500, "met": answer["admissions_per_s"] >= 1500}


@needs_two_cores
def test_a_successor_goes_on_with_every_connection() -> None:
    run = bench("handover", "--json", "--idle", "60", "--seconds", "1.5")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    faults = {name: answer[name] for name in ("disconnects", "lost", "doubled", "reordered")}
    assert (answer["moved"], faults) == (60, dict.fromkeys(faults, 0))
    assert 0 < answer["pause_p50_ms"] <= answer["pause_p99_ms"] <= answer["pause_max_ms"]
    assert answer["messages"] > 60
    assert answer["calls"] > 0


@needs_two_cores
def test_a_message_is_followed_through_every_process_into_its_row() -> None:
    run = bench("pipeline", "--json", "--seconds", "0.5", "--connections", "200")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["cpu_us"] == pytest.approx(sum(answer["cpu_us_parts"].values()), abs=0.5)
    assert all(answer["cpu_us_parts"][part] > 0 for part in ("workers", "nats-server", "session pool", "postgres"))
    assert answer["half"]["messages_per_s"] == pytest.approx(answer["messages_per_s"] / 2, rel=0.2)
    assert 0 < answer["half"]["row_p50_ms"] <= answer["half"]["row_p99_ms"] <= answer["half"]["row_max_ms"]
    for name, found, bound in (("cpu_us", answer["cpu_us"], 100), ("row_p99_ms", answer["half"]["row_p99_ms"], 1000)):
        assert answer["targets"][name] == {"found": found, "at_most": bound, "met": found <= bound}


@needs_two_cores
def test_every_session_that_is_counted_has_its_record() -> None:
    run = bench("sessions", "--json", "--seconds", "0.5", "--connections", "20")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["sessions"] >= 20
    assert answer["sessions_per_s"] > 0
    assert answer["cores"][answer["bounded_by"]] == max(answer["cores"].values())
    target = answer["targets"]["sessions_per_s"]
    assert target == {"found": answer["sessions_per_s"], "at_least": 300, "met": answer["sessions_per_s"] >= 300}


@needs_two_cores
def test_idle_chargers_are_weighed_at_three_sizes() -> None:
    run = bench("memory", "--json", "--idle", "600", "--seconds", "0.2")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert list(answer["sizes"]) == ["20", "200", "600"]
    assert answer["kib_workers"] == answer["sizes"]["600"]["workers"] > 0
    assert answer["kib_all"] == pytest.approx(sum(each for part, each in answer["sizes"]["600"].items() if part != "all"), abs=0.1)


@needs_two_cores
def test_the_cost_of_a_message_is_compared_over_sizes_and_workers() -> None:
    run = bench("scale", "--json", "--idle", "900", "--seconds", "0.2", "--rounds", "1")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    costs = answer["cpu_us"]
    assert list(costs["two_workers"]) == list(costs["one_worker"]) == ["30", "300", "900"]
    assert all(cost > 0 for sizes in costs.values() for cost in sizes.values())
    assert answer["last_to_first"] == pytest.approx(costs["two_workers"]["900"] / costs["two_workers"]["30"], abs=0.02)
    assert answer["targets"]["last_to_first"]["met"] is (answer["last_to_first"] <= 1.3)


@cache
def peers() -> Any:
    """The answer of one run: ours, a peer that lies here, one that cannot be installed without node, and one of the command line."""
    short = ("--seconds", "0.25", "--connections", "6", "--rounds", "1", "--idle", "20")
    run = bench(
        "peers", "--json", *short, "--server", f"another={sys.executable} -m bench.servers mobilityhouse {{port}}", PATH=NO_PROGRAMS
    )
    assert run.returncode == 0, run.stderr
    assert "ocpp-rpc is left out: node is not installed" in run.stderr
    return json.loads(run.stdout)


@needs_two_cores
def test_ours_and_its_peers_live_the_same_day() -> None:
    answer = peers()
    assert answer.keys() == {"servers", "ratios", "left_out", "conditions"}
    assert {name: server["stored"] for name, server in answer["servers"].items()} == {
        "cpms": "everything",
        "mobilityhouse": "nothing",
        "another": "unknown",
    }
    assert answer["left_out"] == {"ocpp-rpc": "node is not installed"}
    for name, server in answer["servers"].items():
        assert server["cpu_us"] > 0, name
        assert 0 < server["p50_ms"] <= server["p99_ms"], name
        assert len(server["cpu_us_rounds"]) == 1, name
        assert isinstance(server["kib_per_connection"], float), name
        assert answer["ratios"][name] == pytest.approx(server["cpu_us"] / answer["servers"]["cpms"]["cpu_us"])


@needs_two_cores
def test_a_system_of_many_processes_uses_no_more_than_its_core() -> None:
    shares = {name: server["cpu_us"] * server["msgs_per_s"] / 1e6 for name, server in peers()["servers"].items()}
    assert all(0 < share <= 1.1 for share in shares.values()), shares


@needs_two_cores
def test_only_ours_is_waited_for_until_it_has_stored() -> None:
    waited = {name: server["stored_after_ms"] for name, server in peers()["servers"].items() if "stored_after_ms" in server}
    assert waited.keys() == {"cpms"}
    assert waited["cpms"] > 0


@needs_two_cores
def test_ours_is_all_its_processes() -> None:
    ours = peers()["servers"]["cpms"]
    parts = ours["cpu_us_parts"]
    assert parts.keys() == {"up", "worker", "pool session", "pool tariff", "pool operations", "nats-server", "postgres"}
    assert all(parts[part] > 0 for part in ("worker", "pool session", "pool tariff", "nats-server", "postgres"))
    assert sum(parts.values()) == pytest.approx(ours["cpu_us"])


@needs_two_cores
@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("another", "write it as 'NAME=COMMAND … {port}'"),
        ("another=serve 9000", "write it as 'NAME=COMMAND … {port}'"),
        ("another='serve {port}", "No closing quotation"),
        ("cpms=serve {port}", "must be different names"),
        ("another=/no/such/server {port}", "another cannot be started: there is no program /no/such/server"),
        (f"another={sys.executable} -c 'raise SystemExit(3)' {{port}}", "another ended with status 3"),
    ],
)
def test_a_server_that_does_not_start_is_refused_with_a_sentence(server: str, why: str) -> None:
    run = bench("peers", "--json", "--server", server, PATH=NO_PROGRAMS)
    assert run.returncode == 2
    assert why in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_an_answer_takes_the_place_of_the_one_before_and_leaves_the_others() -> None:
    results = "# Figures\n"
    for number in (1, 2):
        results = with_section(results, "One", "one", f"first {number}\n")
        results = with_section(results, "Two", "two", "second")
    sections = results.split("\n## ")
    assert (sections[0].strip(), len(sections)) == ("# Figures", 3)
    assert "first 2" in sections[1]
    assert "first 1" not in results
    assert "second" in sections[2]


def test_a_turn_is_measured_in_every_version() -> None:
    run = bench("turn", "--json", "--seconds", "0.01")
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert {version: set(found) for version, found in figures.items()} == {
        "1.6": {"heartbeat_us", "meter_values_us"},
        "2.0.1": {"heartbeat_us", "meter_values_us", "transaction_event_us"},
        "2.1": {"heartbeat_us", "meter_values_us", "transaction_event_us"},
    }
    assert all(us > 0 for found in figures.values() for us in found.values())


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("turn", "--write"), "--write keeps the answers of gateway, admission, pipeline, "),
        (("turn", "--server", "another=serve {port}"), "--server adds a server to peers"),
        (("gateway", "--seconds", "0"), "--seconds"),
        (("nothing",), "choose from"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(arguments: tuple[str, ...], remedy: str) -> None:
    run = bench(*arguments)
    assert run.returncode == 2
    assert remedy in run.stderr
    assert run.stdout == ""
