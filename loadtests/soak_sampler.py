"""What the processes of a system hold, looked at once in each cycle by a thread that ends with its block."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Final

import psutil

from loadtests.soak_cycles import CYCLE_S, SAMPLE_AT_S
from loadtests.soak_rule import Held, Sample

KIB: Final = 1024  # in a MiB
CACHES_FILES: Final = "postgres"
JOIN_S_MAX: Final = 10.0
_COUNTED: Final = frozenset(("Pss_Anon:", "SwapPss:"))


@contextmanager
def sampling(pid: int, samples_max: int, tell: Callable[[int, Sample], None]) -> Iterator["deque[Sample]"]:
    """Samples of a process and all below it, one for each cycle while the block runs, the last `samples_max` of them.

    `tell` is called by the thread with each, and how many they are by now.
    """
    samples: deque[Sample] = deque(maxlen=samples_max)
    over = Event()

    def look() -> None:
        cycle, number = int(time.time() / CYCLE_S), 0
        while not over.wait(max(0.0, cycle * CYCLE_S + SAMPLE_AT_S - time.time())):
            sample = Sample(cycle, held(pid))
            samples.append(sample)
            number += 1
            tell(number, sample)
            cycle = max(cycle, int(time.time() / CYCLE_S)) + 1

    # A daemon: where the block is interrupted in the middle of a look nobody waits longer than JOIN_S_MAX.
    thread = Thread(target=look, name="soak-sampler", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join(JOIN_S_MAX)


def held(pid: int) -> dict[str, Held]:
    """What each process holds, by name; those of Postgres together. One that just ends is left out."""
    found: dict[str, Held] = {}
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in processes:
        try:
            name = name_of(process.cmdline())
            one = Held(process.pid, memory_mib(process.pid), files(process.pid, name), process.num_threads())
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
        known = found.get(name)
        found[name] = (
            one
            if known is None
            else Held(known.pid, known.memory_mib + one.memory_mib, known.files + one.files, known.threads + one.threads)
        )
    return found


def name_of(line: list[str]) -> str:
    """A process by its command line: those of Postgres are one, and what is nothing else is the supervisor or about to be something."""
    program = os.path.basename(line[0]) if line else ""
    if program.startswith(("nats-server", "postgres")) or (line and line[0].startswith("postgres:")):
        return "nats-server" if program.startswith("nats-server") else "postgres"
    for word, following in pairwise(line):
        if word == "--name":
            return following
        if word == "pool":
            return f"{following} pool"
    return "supervisor"


def files(pid: int, name: str) -> int:
    """How many descriptors are open; of Postgres those that are no files of its data."""
    opened = os.listdir(f"/proc/{pid}/fd")
    return len(opened) if name != CACHES_FILES else sum(not _is_file(f"/proc/{pid}/fd/{number}") for number in opened)


def _is_file(link: str) -> bool:
    try:
        target = os.readlink(link)
    except FileNotFoundError:
        return True  # closed just now
    return target.startswith("/") and not target.startswith("/dev/")


def memory_mib(pid: int) -> float:
    """The anonymous part of the proportional set size, and what of it is swapped out."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] in _COUNTED) / KIB
