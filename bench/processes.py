"""Processes that are measured: started on their core, waited for, read from outside, and gone with us.

CPU time is the process's own clock of POSIX (`clock_getcpuclockid`): nanoseconds, all its threads, user and system. It is asked for
from outside, so that being measured costs the measured process nothing.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import clock_gettime
from typing import Any, Final, TypeVar

import msgspec
import psutil
from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.node import exec_child

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[1]
START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 10.0
LINE_BYTES_MAX: Final = 1 << 20
_CPUCLOCK_SCHED: Final = 2  # the last bits of a process's clock id: time as the scheduler counts it


class Cores(Struct, frozen=True):
    """Where things run: the server that is measured has `server` to itself, all else shares `others`."""

    server: int
    others: frozenset[int]


def share_cores() -> Cores:
    """The first core this process may use, and the rest. Raises OperatorError when there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise OperatorError("cores", "server and load need a core each and this process may use one; run it where there are two")
    return Cores(first, frozenset(others))


def cpu_s(pid: int) -> float:
    """The CPU time a living process has used so far, in seconds."""
    return clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def family_cpu_s(pid: int) -> dict[str, float]:
    """The CPU time used so far by a process alone, and by each of its children with all below it; keyed by their command lines.

    What has ended and was waited for is in its parent's account.
    """
    used: dict[str, float] = defaultdict(float)
    first, *children = _family(pid, recursive=False)
    for member, below in ((first, [first]), *((child, _family(child.pid)) for child in children)):
        with suppress(psutil.NoSuchProcess):  # it ended just now: it is in its parent's account the next time
            used[" ".join(member.cmdline())] += sum(map(cpu_s_with_ended, below))
    return used


def cpu_s_with_ended(process: psutil.Process) -> float:
    """The CPU time of a process and of those below it that have ended and were waited for; 0 when it is gone itself."""
    with suppress(OSError, psutil.NoSuchProcess):
        times = process.cpu_times()
        return cpu_s(process.pid) + float(times.children_user + times.children_system)
    return 0.0


def family_private_bytes(pid: int) -> int:
    """The resident memory of a process and all below it that is not shared: what several of them map is nobody's."""
    held = 0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            held += memory.rss - memory.shared
    return held


def _family(pid: int, *, recursive: bool = True) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive)]
    except psutil.NoSuchProcess:
        raise OperatorError("bench", "a server ended while it was measured; it said why on stderr") from None


def rss_bytes(pid: int) -> int:
    """The resident memory of a process (VmRSS)."""
    return int(psutil.Process(pid).memory_info().rss)


class Child:
    """A running process and the two pipes to it."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process
        self.pid = process.pid

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    async def line(self) -> str:
        """The next line it prints. Raises OperatorError when it has ended."""
        assert self._process.stdout is not None  # a pipe
        line = await self._process.stdout.readline()
        if not line:
            raise OperatorError("bench", f"{self.name} ended with status {await self._process.wait()}; it said why on stderr")
        return line.decode().rstrip("\n")

    async def ask(self, line: bytes) -> str:
        """Give it a line and return the one it answers. Raises OperatorError when it has ended."""
        assert self._process.stdin is not None  # a pipe
        with suppress(ConnectionError):
            self._process.stdin.write(line + b"\n")
            await self._process.stdin.drain()
        return await self.line()


async def obey(ready: str, do: Callable[[bytes], Awaitable[Struct]]) -> None:
    """The other end of `Child`: say `ready`, then do what each line of stdin says, and answer with what comes of it, as JSON."""

    def say(line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    orders = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say(ready.encode())
    while line := await orders.readline():
        say(msgspec.json.encode(await do(line)))


@asynccontextmanager
async def running(
    name: str, module: str, *arguments: str, cores: Sequence[int], env: Mapping[str, str] | None = None, ready: str
) -> AsyncIterator[tuple[Child, str]]:
    """A Python module as a process, as `command` has it."""
    async with command(name, (sys.executable, "-m", module, *arguments), cores=cores, env=env, ready=ready) as started:
        yield started


@asynccontextmanager
async def command(
    name: str, argv: Sequence[str], *, cores: Sequence[int], env: Mapping[str, str] | None = None, ready: str = ""
) -> AsyncIterator[tuple[Child, str]]:
    """A process on these cores, while the block runs; with it what follows `ready` in the line that begins so.

    It inherits no CPMS_ variables. Raises OperatorError when there is no such program or it does not say that it is ready.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise OperatorError("bench", f"{name} cannot be started: there is no program {argv[0]}")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CPMS_")}
    process = await asyncio.create_subprocess_exec(
        *exec_child.command((program, *argv[1:])),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
        env=inherited | dict(env or {}),
        limit=LINE_BYTES_MAX,
        start_new_session=True,
    )
    try:
        os.sched_setaffinity(process.pid, cores)  # long before the program is up: every thread to come inherits it
        child = Child(name, process)
        yield child, await _ready_line(child, ready)
    finally:
        await _stop(process)


async def _ready_line(child: Child, ready: str) -> str:
    try:
        async with asyncio.timeout(START_S_MAX):
            while not (line := await child.line()).startswith(ready):
                pass
    except TimeoutError:
        raise OperatorError("bench", f"{child.name} did not say within {START_S_MAX:g} s that it is ready") from None
    return line.removeprefix(ready).strip()


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextmanager
def kept_to(cores: frozenset[int]) -> Iterator[None]:
    """This process and the brokers, which inherit it, run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is removed whatever happens; on the disk where this system keeps temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="cpms-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. SIGTERM is like Ctrl-C: what it started is stopped."""
    task = asyncio.current_task()
    assert task is not None  # inside uvloop.run
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work
