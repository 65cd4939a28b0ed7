"""Whether a system is flat: a pure rule over what its processes held, once in each cycle, always at the same phase of it.

**What is compared.** The samples of a soak in three parts of equal length. The first is the warm-up: caches fill, the allocator finds
its size, windows in which messages are remembered become as long as they will be. A process is measured by the medians of the second
part and of the last; one sample that meets a garbage collection, a checkpoint or an autovacuum changes no median.

**Memory** has grown when both are true:

- the median of the last part is above that of the second by more than MEMORY_MIB (of nats-server, more: SLACK) and by more than
  MEMORY_SHARE of it;
- the parts lie apart: the lower quartile of the last is above the upper quartile of the second. What grows evenly by g in each part has
  its quartiles g / 2 apart. What goes up and down, as the heap of a garbage collector does, overlaps.

So a leak is found that makes up the bound within a third of the soak, if that is also some times what the process goes up and down; the
longer the soak, the smaller the leak. What goes up and down more slowly than within a third needs a longer soak.

What is counted is the anonymous part of the proportional set size (pages that processes share are shared out among them), and what is
swapped out. Left out are two things that grow without a leak. Of files that are mapped a process's share grows when another program
that maps them ends, any other Python on the machine. Postgres's shared memory has the size that it got at its start, but a page of it
counts from when it is first touched.

**Files and threads** are as many as before, for as many connections: the median may have grown by the process's slack in SLACK and no
more. That is 2 where none is named, for what is open just now. Of Postgres the files of its data are not counted: each of its processes
keeps those open that it has touched, each once, up to max_files_per_process, and its first checkpoint, five minutes after the start,
touches hundreds. Its sockets and pipes are counted, so a connection that nobody gives back shows, and so does its process.

**A process** that was replaced meanwhile is a reason by itself: something crashed, and its memory says nothing about growth.

Where a part has fewer than PART_LEAST samples a median and quartiles mean nothing. Then growth is not judged, and the verdict says so
(`judged`).
"""

from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Final, Literal

from msgspec import Struct

MEMORY_MIB: Final = 3.0
MEMORY_SHARE: Final = 0.03
PART_LEAST: Final = 5
SLACK_USUAL: Final = 2


class Slack(Struct, frozen=True):
    """By how many files and threads a process may differ, and by how much memory."""

    memory_mib: float = MEMORY_MIB
    files: int = SLACK_USUAL
    threads: int = SLACK_USUAL


SLACK: Final = {
    # Files of streams that are closed when idle; Go's threads, one for each slow write. Memory: the block of a stream that is written
    # lies in a buffer that doubles as it fills, from 4 to 8 MiB at last, and when that is depends on the traffic. Of a heap of 24 MiB
    # such buffers were 19 when it was profiled; Go lets the heap become twice what is in use before it collects.
    "nats-server": Slack(memory_mib=16.0, files=8, threads=8),
    "postgres": Slack(files=16, threads=4),  # all its processes together: workers of autovacuum and of io come and go
}


class Held(Struct, frozen=True):
    """What a process held at a moment; of Postgres, all of its processes. `pid` is the first one's."""

    pid: int
    memory_mib: float
    files: int
    threads: int


class Sample(Struct, frozen=True):
    """What each process held in a cycle."""

    cycle: int
    held: dict[str, Held]


class Growth(Struct, frozen=True):
    """A process: the medians of the second part and of the last. `rss` is memory as the module counts it."""

    rss_mib_first: float
    rss_mib_last: float
    fds_first: float
    fds_last: float
    threads_first: float
    threads_last: float


class SoakVerdict(Struct, frozen=True):
    """What is printed. `judged`: whether there were samples enough to judge growth. `seconds` is the whole run."""

    verdict: Literal["pass", "fail"]
    reasons: list[str]
    minutes: float
    cycles: int
    chargers: int
    connections: int
    messages: int
    sessions: int
    cdrs: int
    judged: bool
    samples: int
    processes: dict[str, Growth]
    seconds: float


def parts(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The second part and the last, equally long."""
    length = max(1, len(samples) // 3)
    return samples[-2 * length : -length] or samples, samples[-length:]


def are_enough(samples: Sequence[Sample]) -> bool:
    """Whether growth can be judged."""
    return len(samples) // 3 >= PART_LEAST


def growth(samples: Sequence[Sample]) -> dict[str, Growth]:
    """Of each process that is in every sample."""
    if not samples:
        return {}
    names = [name for name in samples[-1].held if all(name in sample.held for sample in samples)]
    return {name: _growth(name, *parts(samples)) for name in names}


def not_flat(samples: Sequence[Sample]) -> list[str]:
    """The reasons why the system is not flat; none where there are too few samples, but for processes that were replaced."""
    replaced = _replaced(samples)
    if not are_enough(samples):
        return replaced
    second, last = parts(samples)
    reasons = []
    for name, grown in growth(samples).items():
        slack = SLACK.get(name, Slack())
        reasons += _memory(name, _memories(second, name), _memories(last, name), slack.memory_mib)
        reasons += _number(name, "files", grown.fds_first, grown.fds_last, slack.files)
        reasons += _number(name, "threads", grown.threads_first, grown.threads_last, slack.threads)
    return [*replaced, *reasons]


def _replaced(samples: Sequence[Sample]) -> list[str]:
    names = {name for sample in samples for name in sample.held}
    pids = {name: {sample.held[name].pid if name in sample.held else None for sample in samples} for name in names}
    return [f"{name} did not stay the same process all the time" for name in sorted(names) if len(pids[name]) > 1]


def _memory(name: str, second: Sequence[float], last: Sequence[float], slack_mib: float) -> list[str]:
    before, after = median(second), median(last)
    if after - before <= max(slack_mib, MEMORY_SHARE * before) or quantiles(last, n=4)[0] <= quantiles(second, n=4)[2]:
        return []
    return [f"{name} grew by {after - before:.1f} MiB ({(after - before) / before:.1%}), from {before:.1f} to {after:.1f}"]


def _number(name: str, what: str, before: float, after: float, slack: int) -> list[str]:
    return [f"{name} has {after:g} {what} and had {before:g}; {slack} more are allowed"] if after - before > slack else []


def _growth(name: str, second: Sequence[Sample], last: Sequence[Sample]) -> Growth:
    def middle(of: Sequence[Sample], what: Callable[[Held], float]) -> float:
        return round(median(what(sample.held[name]) for sample in of), 2)

    return Growth(
        rss_mib_first=middle(second, lambda held: held.memory_mib),
        rss_mib_last=middle(last, lambda held: held.memory_mib),
        fds_first=middle(second, lambda held: held.files),
        fds_last=middle(last, lambda held: held.files),
        threads_first=middle(second, lambda held: held.threads),
        threads_last=middle(last, lambda held: held.threads),
    )


def _memories(samples: Sequence[Sample], name: str) -> list[float]:
    return [sample.held[name].memory_mib for sample in samples]
