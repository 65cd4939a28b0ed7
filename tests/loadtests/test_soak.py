"""Soaks: the rule of what is flat, pure; and one short soak end to end, against the real stack."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from socket import socket
from tempfile import TemporaryDirectory

import psutil
import pytest
from msgspec.structs import replace
from running import die_with_parent

from cpms_actors.simulator.plans import duration_s
from loadtests.report import Billed, ChargerReport, SessionReport, StormReport, Truth
from loadtests.soak import as_text, of_cycles, verdict_of
from loadtests.soak_cycles import CYCLE_S, SCENARIO, cycles, sessions_each
from loadtests.soak_rule import MEMORY_MIB, PART_LEAST, Held, Sample, are_enough, growth, not_flat
from loadtests.soak_sampler import files, held, memory_mib, name_of

COUNT = 32  # eight minutes
PART = COUNT // 3


def series(
    memory: Callable[[int], float] = lambda _: 50.0,
    *,
    name: str = "worker-1",
    files: Callable[[int], int] = lambda _: 60,
    threads: Callable[[int], int] = lambda _: 2,
    pid: Callable[[int], int] = lambda _: 7,
    count: int = COUNT,
) -> list[Sample]:
    """One process through a soak."""
    return [Sample(cycle, {name: Held(pid(cycle), memory(cycle), files(cycle), threads(cycle))}) for cycle in range(count)]


def noisy(memory: Callable[[int], float], seed: int, mib: float) -> Callable[[int], float]:
    chance = Random(seed)
    return lambda cycle: memory(cycle) + chance.uniform(-mib, mib)


@pytest.mark.parametrize("seed", range(50))
def test_a_leak_that_makes_up_the_bound_in_a_third_is_found_through_noise_and_noise_is_no_leak(seed: int) -> None:
    each = 1.5 * MEMORY_MIB / PART  # in a cycle
    leak = not_flat(series(noisy(lambda cycle: 50.0 + each * cycle, seed, 0.5)))
    assert len(leak) == 1
    assert leak[0].startswith("worker-1 grew by ")
    assert not_flat(series(noisy(lambda _: 50.0, seed, 8.0))) == []


@pytest.mark.parametrize(
    ("name", "base", "part_mib", "found"),
    [
        ("worker-1", 50.0, 2.9, False),
        ("worker-1", 50.0, 3.1, True),  # 3 MiB
        ("worker-1", 200.0, 5.9, False),
        ("worker-1", 200.0, 6.5, True),  # 3 % of what the second part held, which was more than at first
        ("worker-1", 50.0, -20.0, False),
        ("nats-server", 50.0, 15.9, False),
        ("nats-server", 50.0, 16.1, True),  # its buffers
    ],
)
def test_how_much_memory_is_growth(name: str, base: float, part_mib: float, found: bool) -> None:
    assert bool(not_flat(series(lambda cycle: base + part_mib * cycle / PART, name=name))) == found


def test_warming_up_is_no_growth_and_nor_is_a_moment() -> None:
    assert not_flat(series(lambda cycle: min(50.0, 20.0 + 3 * cycle))) == []
    assert not_flat(series(lambda cycle: 500.0 if cycle in (15, 25, 28) else 50.0, files=lambda cycle: 60 + 100 * (cycle == 30))) == []


@pytest.mark.parametrize("period", range(2, PART // 2 + 1))
def test_a_heap_that_fills_and_is_collected_is_flat_and_one_that_also_grows_is_not(period: int) -> None:
    def heap(cycle: int) -> float:
        return 20.0 + 10.0 * (cycle % period) / period

    for name, growth_mib in (("worker-1", 1), ("nats-server", 2)):  # in a cycle
        assert not_flat(series(heap, name=name)) == []
        assert not_flat(series(lambda cycle, each=growth_mib: heap(cycle) + each * cycle, name=name)) != []  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "files", "threads", "reason"),
    [
        ("worker-1", lambda cycle: 60 + cycle // 3, lambda _: 2, "worker-1 has 68.5 files and had 65; 2 more are allowed"),
        ("worker-1", lambda cycle: 60 + 2 * (cycle > 20), lambda _: 2, None),
        ("worker-1", lambda cycle: 60 + 3 * (cycle > 20), lambda _: 2, "worker-1 has 63 files and had 60; 2 more are allowed"),
        ("worker-1", lambda cycle: 60 - cycle, lambda _: 2, None),
        ("postgres", lambda cycle: 200 + cycle, lambda _: 20, None),
        ("postgres", lambda cycle: 200, lambda cycle: 20 + cycle, "postgres has 46.5 threads and had 36.5; 4 more are allowed"),
        ("session pool", lambda _: 60, lambda cycle: cycle, "session pool has 26.5 threads and had 16.5; 2 more are allowed"),
    ],
)
def test_files_and_threads_stay_as_many_but_for_a_named_slack(
    name: str, files: Callable[[int], int], threads: Callable[[int], int], reason: str | None
) -> None:
    assert not_flat(series(name=name, files=files, threads=threads)) == ([] if reason is None else [reason])


def test_a_process_that_was_replaced_or_came_later_is_a_reason() -> None:
    reason = ["worker-1 did not stay the same process all the time"]
    assert not_flat(series(pid=lambda cycle: 7 + (cycle > 5))) == reason
    assert not_flat([Sample(-1, {}), *series()]) == reason
    assert not_flat(series(pid=lambda cycle: cycle, count=3)) == reason, "for that few samples are enough"


def test_of_few_samples_nothing_is_said_about_growth_and_the_verdict_says_so() -> None:
    few = series(lambda cycle: 50.0 * (cycle + 1), count=3 * PART_LEAST - 1)
    assert not are_enough(few)
    assert not_flat(few) == []
    assert not_flat(series(lambda cycle: 50.0 * (cycle + 1), count=3 * PART_LEAST)) != []
    assert growth([]) == {}
    assert growth(few[:1])["worker-1"].rss_mib_last == 50.0


REPORT = StormReport(
    COUNT * CYCLE_S,
    began_at=0.0,
    cut_at=(100 + COUNT) * CYCLE_S + 0.3,
    chargers=(ChargerReport("A", admitted=True, sessions=(SessionReport(700, 0, 9, True),) * sessions_each(480), connections=33),),
    answers=8,
    p50_ms=1.0,
    p99_ms=2.0,
    slowest_ms=3.0,
)
BILLED = tuple(Billed("A", number, 700) for number in range(sessions_each(480)))
TRUTH = Truth(connected=frozenset("A"), booted=frozenset("A"), ended=BILLED, cdrs=BILLED, ocpp={"A": "1.6"})


def test_a_soak_passes_when_the_system_is_flat_and_kept_its_word() -> None:
    verdict = verdict_of(REPORT, TRUTH, tuple(series()), [], 8.0, 500.0)
    assert (verdict.verdict, verdict.reasons, verdict.judged) == ("pass", [], True)
    assert (verdict.cycles, verdict.connections, verdict.messages, verdict.sessions, verdict.cdrs) == (32, 33, 8, 16, 16)
    assert "worker-1" in as_text(verdict)
    assert "not judged" not in as_text(verdict)
    assert "not judged" in as_text(replace(verdict, judged=False))


@pytest.mark.parametrize(
    ("truth", "samples", "differences", "reason"),
    [
        (replace(TRUTH, cdrs=BILLED[1:]), series(), [], "charge detail records"),
        (replace(TRUTH, parked=("A",)), series(), [], "with messages that the system could not use"),
        (TRUTH, series(), ["cpms reconcile: unpriced"], "cpms reconcile: unpriced"),
        (TRUTH, series(count=28), [], "only 28 of 32 cycles were looked at"),
        (TRUTH, series(lambda cycle: 50.0 + cycle), [], "worker-1 grew by"),
    ],
)
def test_each_fault_fails_a_soak(truth: Truth, samples: list[Sample], differences: list[str], reason: str) -> None:
    verdict = verdict_of(REPORT, truth, tuple(samples), differences, 8.0, 500.0)
    assert verdict.verdict == "fail"
    assert reason in " ".join(verdict.reasons)


def test_only_what_was_seen_in_a_cycle_counts() -> None:
    samples = tuple(Sample(cycle, {}) for cycle in range(90, 140))
    assert [sample.cycle for sample in of_cycles(samples, REPORT, COUNT)] == list(range(101, 133))
    assert of_cycles(samples, replace(REPORT, cut_at=None), COUNT) == ()


@pytest.mark.parametrize("minutes", [1, 8, 30, 720])
def test_cars_charge_until_the_cycles_are_over(minutes: int) -> None:
    seconds = 60.0 * minutes
    assert duration_s(SCENARIO.plans("T", 0.0, seconds)) == pytest.approx(cycles(seconds) * CYCLE_S)
    assert len(SCENARIO.plans("T", 0.5, seconds)) == sessions_each(seconds) <= 60


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (["/bin/python", "-m", "cpms_actors.cli.main", "up", "--workers", "2"], "supervisor"),
        (["/bin/python", "-m", "cpms_actors.cli.main", "worker", "--name", "worker-1"], "worker-1"),
        (["/bin/python", "-m", "cpms_actors.cli.main", "pool", "session"], "session pool"),
        (["/bin/nats-server", "-c", "nats.conf"], "nats-server"),
        (["/pg/bin/postgres", "-D", "data"], "postgres"),
        (["postgres: io worker 0", "", ""], "postgres"),
        ([], "supervisor"),
    ],
)
def test_processes_are_known_by_their_command_lines(line: list[str], name: str) -> None:
    assert name_of(line) == name


def test_memory_and_files_are_what_the_kernel_says() -> None:
    before = held(os.getpid())["supervisor"]
    block = b"x" * (32 << 20)
    with open(os.devnull) as one, open(os.devnull) as another:
        after = held(os.getpid())["supervisor"]
        assert one.fileno() != another.fileno()
    assert after.files == before.files + 2
    assert 24 < after.memory_mib - before.memory_mib < 40
    assert len(block) == 32 << 20
    assert 24 < memory_mib(os.getpid()) < psutil.Process().memory_full_info().pss / 2**20


def test_files_of_postgres_are_a_cache_and_its_sockets_are_not(tmp_path: Path) -> None:
    before = files(os.getpid(), "postgres"), files(os.getpid(), "worker-1")
    with (tmp_path / "16384").open("w"), socket() as link:
        assert link.fileno() >= 0
        assert (files(os.getpid(), "postgres"), files(os.getpid(), "worker-1")) == (before[0] + 1, before[1] + 2)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory through which Postgres, which may run as another user, can walk."""
    with TemporaryDirectory(prefix="cpms-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def soak(scratch: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "loadtests.soak", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=die_with_parent,
    )


def test_a_short_soak_keeps_its_word_and_says_that_it_cannot_judge_growth(scratch: Path) -> None:
    process = soak(scratch, "--minutes", "1", "--chargers", "30", "--json")
    try:
        stdout, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert stdout, stderr
    verdict = json.loads(stdout)
    assert (process.returncode, verdict["verdict"], verdict["reasons"], verdict["judged"]) == (0, "pass", [], False)
    assert (verdict["minutes"], verdict["cycles"], verdict["chargers"]) == (1, 4, 30)
    assert verdict["connections"] >= 30 * 3  # at first, two cuts of all and two of half of them
    assert verdict["messages"] > 30 * 12
    assert verdict["sessions"] == verdict["cdrs"] == 30 * 2
    assert verdict["seconds"] > 60
    pools = {"session pool", "tariff pool", "operations pool"}
    assert verdict["processes"].keys() == {"supervisor", "nats-server", "postgres", "worker-1", "worker-2"} | pools
    for figures in verdict["processes"].values():
        fields = {f"{what}_{when}" for what in ("rss_mib", "fds", "threads") for when in ("first", "last")}
        assert figures.keys() == fields
        assert all(value > 0 for value in figures.values())
    assert "sample 1: " in stderr
    assert list(scratch.iterdir()) == []


def test_nothing_stays_of_a_soak_that_is_interrupted(scratch: Path) -> None:
    process = soak(scratch, "--minutes", "1", "--chargers", "5")
    try:
        assert process.stderr is not None
        while "chargers on ws" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert list(scratch.iterdir()) == []
