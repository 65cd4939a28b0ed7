"""Truths of supervised processes, with real processes, on both backends and in real time."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisors.policy import NO_BACKOFF, Intensity, Restart
from supervisors.processes import LINE_BYTES_MAX, ProcessFailed, ProcessSpec, ProcessSupervisor, _Lines
from supervisors.reports import Happening, Report
from supervisors.supervisor import IntensityExceeded, NotStarted

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["trio", "asyncio", "asyncio on uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Real time on each, for processes keep no virtual one."""
    return ("trio", {}) if request.param == "trio" else ("asyncio", {"use_uvloop": request.param != "asyncio"})


class House:
    """Lines and reports of one supervisor."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.reports: list[Report] = []

    def supervisor(self, *specs: ProcessSpec, intensity: Intensity = Intensity(3, 60.0)) -> ProcessSupervisor:  # noqa: B008 - immutable
        return ProcessSupervisor(
            "house",
            specs,
            on_line=lambda name, line: self.lines.append((name, line)),
            intensity=intensity,
            backoff=NO_BACKOFF,
            report=self.reports.append,
        )

    def said(self, name: str) -> list[str]:
        return [line for who, line in self.lines if who == name]


def shell(name: str, script: str, **rest: Any) -> ProcessSpec:
    return ProcessSpec(name, ["/bin/sh", "-c", script], **rest)


WAITS = "echo ready; exec sleep 1000"


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Any, limit_s: float = 10.0) -> None:
    with anyio.fail_after(limit_s):
        while not condition():  # in other processes: no event tells
            await anyio.sleep(0.005)


async def test_processes_start_in_order_each_when_the_one_before_is_ready_and_stop_in_reverse() -> None:
    house = House()
    script = "trap 'echo bye; exit 0' TERM; sleep 0.1; echo now ready; while :; do sleep 0.01; done"
    top = house.supervisor(*(shell(name, script, ready="ready") for name in "ab"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert house.lines == [("a", "now ready"), ("b", "now ready")]
        pids = top.pids()
        assert all(is_alive(pid) for pid in pids.values())
        house.lines.clear()
        group.cancel_scope.cancel()
    assert house.lines == [("b", "bye"), ("a", "bye")]
    assert top.pids() == {}
    assert not any(is_alive(pid) for pid in pids.values())
    assert [r for r in house.reports if r.happening is not Happening.started] == []


async def test_a_killed_process_is_restarted_with_a_new_id_and_its_sibling_is_left_alone() -> None:
    house = House()
    top = house.supervisor(shell("a", WAITS, ready="ready"), shell("b", WAITS, ready="ready"))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        first = top.pids()
        os.kill(first["a"], signal.SIGKILL)
        await until(lambda: house.said("a") == ["ready", "ready"])
        second = top.pids()
        assert second["a"] != first["a"]
        assert second["b"] == first["b"]
        assert top.statistics().restarts == 1
        group.cancel_scope.cancel()
    errors = [str(r.error) for r in house.reports if r.happening is Happening.restarting]
    assert errors == ["a was killed by SIGKILL"]


async def test_a_process_that_ignores_sigterm_is_killed_at_its_deadline() -> None:
    house = House()
    top = house.supervisor(shell("a", "trap '' TERM; echo ready; while :; do sleep 0.01; done", ready="ready", shutdown_s=0.1))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        pid = top.pids()["a"]
        before = time.monotonic()
        group.cancel_scope.cancel()
    assert 0.1 <= time.monotonic() - before < 1.5
    assert not is_alive(pid)


async def test_a_process_that_keeps_failing_is_given_up_with_its_exit_code() -> None:
    house = House()
    top = house.supervisor(shell("a", "echo no good; exit 3"), intensity=Intensity(2, 60.0))
    with pytest.raises(IntensityExceeded) as caught:
        await top.run()
    assert isinstance(caught.value.__cause__, ProcessFailed)
    assert caught.value.__cause__.code == 3
    assert house.said("a") == ["no good"] * 3


@pytest.mark.parametrize(("code", "restarts"), [(0, 0), (1, 1)])
async def test_a_transient_process_is_restarted_only_when_it_fails(code: int, restarts: int, tmp_path: Path) -> None:
    """The second run, which finds the file of the first, exits with 0."""
    house = House()
    script = f"test -e {tmp_path}/ran && exit 0; touch {tmp_path}/ran; exit {code}"
    top = house.supervisor(shell("a", script, restart=Restart.transient))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await until(lambda: any(r.happening is Happening.finished for r in house.reports))
        assert top.statistics().restarts == restarts
        group.cancel_scope.cancel()


async def test_a_program_that_does_not_exist_fails_and_says_why() -> None:
    house = House()
    top = house.supervisor()
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        with pytest.raises(NotStarted) as caught:
            await top.start_process(ProcessSpec("a", ["/no/such/program"], ready="ready"))
        assert isinstance(caught.value.__cause__, ProcessFailed)
        assert caught.value.__cause__.code == 127
        assert house.said("a") == ["cannot run /no/such/program: No such file or directory"]
        group.cancel_scope.cancel()


async def test_a_process_can_be_added_and_stopped_for_good() -> None:
    house = House()
    top = house.supervisor()
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await top.start_process(shell("a", WAITS, ready="ready"))
        pid = top.pids()["a"]
        await top.stop_process("a")
        assert not is_alive(pid)
        assert top.pids() == {}
        group.cancel_scope.cancel()


async def test_output_is_passed_on_line_by_line_to_the_last_byte() -> None:
    """stderr too, a line too long in pieces, a last line without its end, and much more than a pipe holds."""
    house = House()
    script = textwrap.dedent("""
        import sys
        print("\\u00e9t\\u00e9")
        sys.stderr.write("error\\n")
        sys.stderr.flush()
        print("x" * 100_000)
        for n in range(20_000):
            print(n)
        print("end", end="")
    """)
    environment = {"PYTHONUNBUFFERED": "", "PYTHONIOENCODING": "utf-8"}
    top = house.supervisor(ProcessSpec("a", [sys.executable, "-c", script], env=environment, restart=Restart.temporary))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await until(lambda: any(r.happening is Happening.finished for r in house.reports))
        group.cancel_scope.cancel()
    said = house.said("a")
    said.remove("error")  # its place among buffered lines is the process's affair
    assert said[0] == "été"
    assert [len(line) for line in said[1:3]] == [LINE_BYTES_MAX, 100_000 - LINE_BYTES_MAX]
    assert said[3:] == [*map(str, range(20_000)), "end"]


async def test_what_a_process_leaves_behind_in_its_group_is_killed() -> None:
    house = House()
    top = house.supervisor(shell("a", "sleep 1000 & echo $!; exit 0", restart=Restart.temporary))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await until(lambda: any(r.happening is Happening.finished for r in house.reports))
        grandchild = int(house.said("a")[0])
        await until(lambda: not is_alive(grandchild))
        group.cancel_scope.cancel()


async def test_no_descriptor_is_left_open() -> None:
    house = House()
    top = house.supervisor()
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        await top.start_process(shell("first", WAITS, ready="ready"))
        await top.stop_process("first")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await top.start_process(shell("a", WAITS, ready="ready"))
            await top.stop_process("a")
        assert len(os.listdir("/proc/self/fd")) == before
        group.cancel_scope.cancel()


@pytest.mark.parametrize("chunk", [13, 4096, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 10**6])
def test_the_cut_of_the_output_into_lines_does_not_depend_on_how_it_arrives(chunk: int) -> None:
    lines: list[str] = []
    started: list[int] = []
    spec = shell("a", "", ready="ready")
    cutter = _Lines(spec, lambda: started.append(len(lines)), lambda name, line: lines.append(line))
    text = b"a\r\n\nit is ready\nready\n" + b"x" * LINE_BYTES_MAX + b"\n" + b"y" * (2 * LINE_BYTES_MAX + 1) + b"\nend"
    for at in range(0, len(text), chunk):
        cutter.feed(text[at : at + chunk])
    cutter.end(b"!")
    assert lines[:4] == ["a", "", "it is ready", "ready"]
    assert [len(line) for line in lines[4:]] == [LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX, 1, 4]
    assert started == [3]  # once


PARENT = """
    import sys
    import anyio
    import trio
    from supervisors.processes import ProcessSpec, ProcessSupervisor

    trio._core._thread_cache.IDLE_TIMEOUT = 0.05  # 10 s by default: too long for a test

    async def main() -> None:
        spec = ProcessSpec("a", ["/bin/sh", "-c", "echo $$; exec sleep 1000"], ready="")
        await ProcessSupervisor("p", [spec], on_line=lambda name, line: print(line, flush=True)).run()

    anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_children_die_with_a_parent_that_is_killed_and_not_before(backend: str) -> None:
    """The kernel counts the thread that spawned as the parent: idle worker threads that end must not matter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), backend], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_alive(child)
        parent.kill()
        parent.wait(10)
        deadline = time.monotonic() + 10
        while is_alive(child):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.communicate()
