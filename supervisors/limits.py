"""How many files and sockets a process may open: what a shell allows is often 1,024, and each charger needs one."""

import resource


def raise_files() -> int:
    """Raise the limit of open files to what this process may have (inherited by its children); returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
