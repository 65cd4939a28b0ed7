"""How many sockets a process may open."""

import resource


def raise_files() -> int:
    """Raise the limit of open files to what this process may have (inherited by its children); returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
