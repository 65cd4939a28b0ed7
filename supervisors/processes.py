"""A supervisor of operating-system processes, with the policies of the supervisor of tasks. Linux only.

A process is a child whose run starts it, passes its output on line by line, and waits for its end. It has started when it prints the
line its specification names, or at once. Stopping it is SIGTERM, and SIGKILL after `shutdown_s`. An exit code other than 0 is a
failure.

Four decisions that are not obvious:

- It is spawned by the loop's own thread (`subprocess`, a few milliseconds) and not by a worker thread as trio does it: the signal
  for a dead parent is sent when the *thread* that spawned the child ends, and worker threads end when idle.
- Its end is awaited on a pidfd, its output on the pipe, both with `anyio.wait_readable`: the same on trio, asyncio and uvloop.
- It leads a process group of its own. Ctrl-C in a terminal reaches the supervisor only, which then stops all in order.
- When it has ended, what is left of its group is killed, so that a grandchild does not keep a port or a lock from its successor. A
  grandchild that has left the group is its own master. Should this process die, the kernel kills the child (but no grandchild).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskStatus

from supervisors.child import ChildSpec, Started
from supervisors.policy import Backoff, Intensity, Restart, Strategy
from supervisors.reports import Reporter, log_report
from supervisors.supervisor import BACKOFF, RESTARTS_MAX, Supervisor, SupervisorStatistics

LineSink: TypeAlias = Callable[[str, str], None]  # (name of the process, line without its end); must not raise

LINE_BYTES_MAX: Final = 65_536  # a longer line is passed on in pieces
_READ_BYTES: Final = 65_536
_KILL_S: Final = 2.0  # from SIGKILL to the end: the kernel's time, allowed on top of shutdown_s
_WRAPPER: Final = Path(__file__).with_name("die_with_parent.py")


class ProcessFailed(Exception):
    """A process ended with `code`: its exit code, or minus the number of the signal that killed it."""

    def __init__(self, name: str, code: int) -> None:
        how = f"exited with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        super().__init__(f"{name} {how}")
        self.code = code


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process: what to execute, how it says that it is ready, and how long its start and its stop may take, in seconds.

    `env` is set on top of the inherited environment. `ready` is text that a line of its stdout or stderr contains when it is of
    use; None: it is so at once. `on_parent_death` is the signal it gets should this process die without stopping it.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: str | None = None
    restart: Restart = Restart.permanent
    shutdown_s: float = 5.0
    start_s: float = 30.0
    on_parent_death: signal.Signals = signal.SIGKILL


class ProcessSupervisor:
    """Supervises processes; `on_line` gets every line they print. The policies are those of Supervisor."""

    def __init__(
        self,
        name: str,
        specs: Sequence[ProcessSpec] = (),
        *,
        on_line: LineSink,
        strategy: Strategy = Strategy.one_for_one,
        intensity: Intensity = RESTARTS_MAX,
        backoff: Backoff = BACKOFF,
        report: Reporter = log_report,
    ) -> None:
        """ValueError when a name occurs twice."""
        self._on_line = on_line
        self._pids: dict[str, int] = {}
        children = [self._child(spec) for spec in specs]
        self._supervisor = Supervisor(name, children, strategy=strategy, intensity=intensity, backoff=backoff, report=report)

    async def run(self, started: Started | None = None, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Start the processes in order, keep them running until cancelled, stop them in reverse. As Supervisor.run."""
        await self._supervisor.run(started, task_status=task_status)

    async def start_process(self, spec: ProcessSpec) -> None:
        """Add a process and wait until it is ready. Raises as Supervisor.start_child."""
        await self._supervisor.start_child(self._child(spec))

    async def stop_process(self, name: str) -> None:
        """Stop a process for good. KeyError if there is none of this name."""
        await self._supervisor.stop_child(name)

    def pids(self) -> dict[str, int]:
        """The process ids of those that run, by name."""
        return dict(self._pids)

    def statistics(self) -> SupervisorStatistics:
        """A snapshot for metrics."""
        return self._supervisor.statistics()

    def _child(self, spec: ProcessSpec) -> ChildSpec:
        async def run(started: Started) -> None:
            with _spawned(spec) as process:
                self._pids[spec.name] = process.pid
                try:
                    await _accompany(process, spec, started, self._on_line)
                finally:
                    self._pids.pop(spec.name, None)

        return ChildSpec(spec.name, run, spec.restart, spec.shutdown_s + _KILL_S, spec.start_s)


class _Process:
    """A process that was spawned: its id, a pidfd for its end, and the reading end of its output."""

    __slots__ = ("_popen", "output", "pid", "pidfd")

    def __init__(self, spec: ProcessSpec) -> None:
        self.output, writing = os.pipe()
        os.set_blocking(self.output, False)
        wrapped = [sys.executable, "-I", "-S", str(_WRAPPER), str(int(spec.on_parent_death)), str(os.getpid()), *spec.argv]
        try:
            self._popen = subprocess.Popen(
                wrapped,
                env={**os.environ, **spec.env},
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,  # a group that can be killed whole, and a weight of its own where Linux weighs sessions
            )
        except OSError:
            os.close(self.output)
            raise
        finally:
            os.close(writing)
        self.pid = self._popen.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:  # no descriptor left: nobody could wait for it
            self._popen.kill()
            self._popen.wait()
            os.close(self.output)
            raise

    async def ended(self) -> None:
        await anyio.wait_readable(self.pidfd)

    def terminate(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    def kill_group(self) -> None:
        """Only before `reap`: until then the kernel keeps the id for us."""
        os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Its code, as of ProcessFailed. Does not block after `ended` or `kill_group`."""
        return self._popen.wait()

    def close(self) -> None:
        """Leave nothing behind, in whatever state it is."""
        if self._popen.returncode is None:
            self.kill_group()
            self.reap()
        os.close(self.pidfd)
        os.close(self.output)


@contextmanager
def _spawned(spec: ProcessSpec) -> Iterator[_Process]:
    """The process, spawned; in the end nothing is left of it, whatever happened."""
    process = _Process(spec)
    try:
        yield process
    finally:
        process.close()


async def _accompany(process: _Process, spec: ProcessSpec, started: Started, on_line: LineSink) -> None:
    """Pass the output on until the process has ended, by itself or because this was cancelled. Raises ProcessFailed."""
    if spec.ready is None:
        started()
    lines = _Lines(spec, started, on_line)
    try:
        async with anyio.create_task_group() as group:
            reading = anyio.CancelScope(shield=True)  # also while it stops: it may have much to say
            group.start_soon(_read, process, lines, reading)
            try:
                await process.ended()
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop(process, spec)
                reading.cancel()
    finally:
        lines.end(_rest_of(process.output))
    code = process.reap()
    if code != 0:
        raise ProcessFailed(spec.name, code)


async def _stop(process: _Process, spec: ProcessSpec) -> None:
    """SIGTERM, and SIGKILL after the deadline; neither matters to a process that has ended."""
    process.terminate()
    with anyio.move_on_after(spec.shutdown_s):
        await process.ended()
    process.kill_group()
    await process.ended()


async def _read(process: _Process, lines: "_Lines", reading: anyio.CancelScope) -> None:
    with reading:
        while True:
            await anyio.wait_readable(process.output)
            try:
                data = os.read(process.output, _READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                return
            lines.feed(data)


def _rest_of(output: int) -> bytes:
    """What lies in the pipe now. Not until its end: whoever inherited it may hold it open."""
    try:
        return os.read(output, 1 << 20)  # the largest pipe
    except BlockingIOError:
        return b""


class _Lines:
    """Cuts output into lines, and watches for the one that says ready."""

    __slots__ = ("_on_line", "_part", "_spec", "_started", "_waiting")

    def __init__(self, spec: ProcessSpec, started: Callable[[], None], on_line: LineSink) -> None:
        self._spec = spec
        self._started = started
        self._on_line = on_line
        self._waiting = spec.ready is not None
        self._part = b""

    def feed(self, data: bytes) -> None:
        """Bytes as they came."""
        *whole, part = (self._part + data).split(b"\n")
        for line in whole:
            self._pass_on(self._cut(line))
        self._part = self._cut(part)

    def _cut(self, line: bytes) -> bytes:
        """Pass on the pieces of a line that is too long; returns what is left of it. The same pieces however the bytes came."""
        while len(line) > LINE_BYTES_MAX:
            self._pass_on(line[:LINE_BYTES_MAX])
            line = line[LINE_BYTES_MAX:]
        return line

    def end(self, data: bytes) -> None:
        """The last bytes: the last line may lack its end."""
        self.feed(data)
        if self._part:
            self._pass_on(self._part)
            self._part = b""

    def _pass_on(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._on_line(self._spec.name, text)
        if self._waiting and self._spec.ready is not None and self._spec.ready in text:
            self._waiting = False
            self._started()
