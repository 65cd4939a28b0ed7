"""Chaos: whom it hits, what its verdict finds, and a short run against the real stack."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil
import pytest
from msgspec.structs import replace
from running import die_with_parent

from loadtests.chaos_blows import FREEZE_S, IN_A_ROW, PER_WINDOW, SETTLED_S, WINDOW_S, Chooser
from loadtests.chaos_verdict import Acknowledged, Ledger, Memory, Remembered, Stored, Told, judge

EVERYBODY = ("nats-server", "operations pool", "postgres", "session pool", "tariff pool", "worker-1", "worker-2")

READING = Acknowledged("update", "7", 1_500, 1_040, "Sample.Periodic")
HEARD = [
    Acknowledged("start", "7", 1_000, 1_000, "Transaction.Begin"),
    READING,
    Acknowledged("end", "7", 2_000, 1_100, "Transaction.End"),
]
CAR = Told("7", 1_000, 2_000, 1_000, 1_100)
CHARGER = Remembered("A", "1.6", True, 0, HEARD, [CAR], {}, 1, 0, 0, [])
MEMORY = Memory([CHARGER], [])
SESSION = Stored(1, "A", "Ended", 1_000, 2_000, 1_000, 1_100, 100)
KEPT = (1, 1_500, 1_040, "Sample.Periodic")
LEDGER = Ledger([SESSION], {("A", "7"): 1}, [(1, "A", 100)], {KEPT: 1}, [], [])


def test_what_is_remembered_and_stored_alike_is_no_finding() -> None:
    assert judge(MEMORY, LEDGER).reasons() == []


@pytest.mark.parametrize(
    ("ledger", "lost", "doubled", "wrong"),
    [
        (Ledger([], {}, [], {}, [], []), 4, 0, 1),  # three messages and their session
        (replace(LEDGER, sessions=[replace(SESSION, status="Active", ended_at=None, meter_stop_wh=None)]), 1, 0, 1),
        (replace(LEDGER, sessions=[replace(SESSION, meter_stop_wh=1_040)]), 1, 0, 0),
        (replace(LEDGER, sessions=[replace(SESSION, meter_start_wh=1_001)]), 2, 1, 0),
        (replace(LEDGER, readings={}), 1, 0, 0),
        (replace(LEDGER, readings={(1, 1_500, 1_041, "Sample.Periodic"): 1}), 1, 0, 0),
        (replace(LEDGER, cdrs=[]), 1, 0, 1),
        (replace(LEDGER, cdrs=[(1, "A", 100), (1, "A", 100)]), 0, 1, 1),
        (replace(LEDGER, cdrs=[(1, "A", 99)]), 0, 0, 1),
        (replace(LEDGER, sessions=[SESSION, replace(SESSION, id=2)], cdrs=[*LEDGER.cdrs, (2, "A", 100)]), 0, 1, 1),
        (replace(LEDGER, parked=["StopTransaction of A"]), 0, 0, 1),
        (replace(LEDGER, differences=["nameless: session 1 of A"]), 0, 0, 1),
        (replace(LEDGER, readings={KEPT: 2}), 0, 0, 0),  # nothing in a reading of 1.6 says that it is a repetition
    ],
)
def test_each_fault_of_a_ledger_is_found(ledger: Ledger, lost: int, doubled: int, wrong: int) -> None:
    finding = judge(MEMORY, ledger)
    assert (len(finding.lost), len(finding.doubled), len(finding.wrong)) == (lost, doubled, wrong), finding


def test_a_reading_with_a_number_of_its_own_is_stored_once() -> None:
    memory = Memory([replace(CHARGER, version="2.0.1")], [])
    assert len(judge(memory, replace(LEDGER, readings={KEPT: 2})).doubled) == 1


def test_whoever_has_not_told_everything_is_a_reason() -> None:
    memory = Memory([replace(CHARGER, finished=False, waiting=3)], ["a charger crashed"])
    assert judge(memory, LEDGER).reasons() == ["a charger crashed", "1 not finished in time: A with 3 messages to tell"]


@pytest.mark.parametrize("seed", range(20))
def test_no_supervisor_is_driven_to_give_up_and_everybody_is_hit(seed: int) -> None:
    """In ten minutes in which everything is back at once."""
    chooser, now = Chooser(Random(seed), 6.0), 0.0
    born_at = dict.fromkeys(EVERYBODY, 0.0)
    kills: dict[str, list[float]] = {name: [] for name in EVERYBODY}
    frozen: Counter[str] = Counter()
    while now < 600:
        now += chooser.pause_s()
        blow = chooser.draw(now, born_at)
        if blow is None:
            continue
        if blow.seconds is None:
            kills[blow.victim].append(now)
            born_at[blow.victim] = now
        else:
            assert FREEZE_S[0] <= blow.seconds <= FREEZE_S[1]
            frozen[blow.victim] += 1
    servers = sorted(kills["nats-server"] + kills["postgres"])
    for moments in (*kills.values(), servers):
        for number in range(len(moments) - PER_WINDOW):
            assert moments[number + PER_WINDOW] - moments[number] >= WINDOW_S
    for moments in kills.values():
        assert len(moments) > 10
        for number in range(len(moments) - IN_A_ROW):
            pauses = [b - a for a, b in zip(moments[number:], moments[number + 1 : number + IN_A_ROW + 1], strict=False)]
            assert max(pauses) >= SETTLED_S
    assert set(frozen) == set(EVERYBODY)


def test_the_same_seed_draws_the_same_blows_and_nobody_there_is_nobody_hit() -> None:
    def blows() -> list[object]:
        chooser = Chooser(Random(4), 6.0)
        return [chooser.draw(float(now), dict.fromkeys(EVERYBODY, 0.0)) for now in range(30)]

    assert blows() == blows()
    assert Chooser(Random(4), 6.0).draw(0.0, {}) is None


def chaos(*arguments: str, scratch: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "loadtests.chaos", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=die_with_parent,
    )


def test_nothing_that_was_acknowledged_is_lost_or_doubled_while_everything_is_killed_and_frozen() -> None:
    with TemporaryDirectory(prefix="cpms-chaos-") as name:
        Path(name).chmod(0o711)  # Postgres, which may run as another user, walks through
        process = chaos("--kills", "20", "--chargers", "60", "--seed", "20", "--json", scratch=Path(name))
        try:
            stdout, stderr = process.communicate(timeout=240)
        finally:
            process.kill()
        assert list(Path(name).iterdir()) == []
    assert stdout, stderr
    outcome = json.loads(stdout)
    assert (process.returncode, outcome["verdict"], outcome["reasons"]) == (0, "pass", []), stderr
    assert (outcome["lost"], outcome["doubled"], outcome["kills"], outcome["seed"]) == (0, 0, 20, 20)
    assert sum(hit["kills"] for hit in outcome["by_process"].values()) == 20
    assert outcome["sessions"] == outcome["cdrs"] == outcome["starts"] == outcome["stops"] > 60
    assert outcome["acked"] > 4 * outcome["sessions"]


def test_nothing_stays_of_chaos_that_is_interrupted() -> None:
    with TemporaryDirectory(prefix="cpms-chaos-") as name:
        Path(name).chmod(0o711)
        process = chaos("--kills", "50", "--chargers", "5", "--seed", "1", scratch=Path(name))
        try:
            assert process.stderr is not None
            while "killing" not in (line := process.stderr.readline()):
                assert line, "it ended by itself"
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
        assert (process.returncode, stdout) == (130, "")
        assert "Traceback" not in stderr
        assert psutil.wait_procs(children, timeout=5)[1] == []
        assert list(Path(name).iterdir()) == []


def test_chaos_without_a_kill_is_refused(tmp_path: Path) -> None:
    process = chaos("--kills", "0", scratch=tmp_path)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (2, "")
    assert "0 is not between 1 and" in stderr
