"""What a process asks of its system: more open files than a shell allows, and to take memory back."""

import ctypes
import resource
from contextlib import suppress


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
