"""What a process asks of its system (more open files, memory taken back, others first) and of Python's collector."""

import ctypes
import gc
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

NICEST: Final = 19
GC_THRESHOLDS: Final = (5_000, 1_000_000, 100)  # the second in looks at the young: once a day, for it walks all that came since


def raise_files() -> int:
    """Raise the limit of open files to what this process may have (inherited by its children); returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def give_back_memory() -> None:
    """Return to the kernel what malloc holds and nobody uses; well below a millisecond when there is little.

    After thousands of connections have come and gone much of it lies in holes between what is in use, and glibc gives back by itself
    only what lies at the end. Another C library is left to its own ways.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def calm_the_collector() -> None:
    """Take what start-up made out of the cyclic collector's sight, and let it look more rarely.

    What a worker or a pool holds is acyclic and mostly untracked, but there is much of it: with the default thresholds the collector
    would walk all of it again and again for the little that is new, and its pauses would be everybody's p99.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def look_at_the_young() -> None:
    """Have the cyclic collector look at what was made since its last look; microseconds when that is little.

    By itself it looks when more was made than was freed. Where chargers come back as old connections go the two are the same for
    seconds, and then it has 50,000 objects to look at, in a pause of 20 to 80 ms. So whoever must not pause asks for many short looks.
    """
    gc.collect(0)


def give_way(nice: int, pid: int = 0) -> None:
    """Make a process (0: this one) nicer by so much: with 5 it has a third of what another has when both want a core.

    Where Linux has autogroups it weighs whole sessions first and the processes of each by their nice. So a process that leads a session
    makes that nice too. Raises OSError when there is no such process, or it is another user's.
    """
    os.setpriority(os.PRIO_PROCESS, pid, min(NICEST, os.getpriority(os.PRIO_PROCESS, pid) + nice))
    if os.getsid(pid) == (pid or os.getpid()):
        with suppress(OSError):  # another system, or groups of its own
            Path(f"/proc/{pid or 'self'}/autogroup").write_text(str(min(NICEST, nice)))
