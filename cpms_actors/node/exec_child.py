"""Becomes a child process that cannot outlive its parent, as another user if asked.

    python -I exec_child.py PARENT_PID USER OUTPUT PROGRAM ARGUMENT…

A supervisor stops its children in order, but one that is killed cannot. The kernel can: a child asks for a signal at its parent's
death (`prctl(2)`, PR_SET_PDEATHSIG; Linux only, elsewhere the next start clears up). A change of user forgets the request, so the
user comes first; `exec` keeps it. Postgres refuses to run as root, hence the user; what a server prints goes to the file OUTPUT, made
anew at each start. "-" keeps the present user or output.

Run by path with the standard library alone: it starts in milliseconds, before each child.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

KEEP = "-"
_PR_SET_PDEATHSIG = 1


def command(argv: Sequence[str], *, user: str = KEEP, output: Path | None = None) -> tuple[str, ...]:
    """The command line that runs `argv` as a child of this process, as `user`, its stdout and stderr in `output`."""
    return (sys.executable, "-I", __file__, str(os.getpid()), user, str(output or KEEP), *argv)


def main(argv: Sequence[str]) -> NoReturn:
    """Drop to the user, bind the life to the parent's, and become the program."""
    parent, user, output, program = int(argv[1]), argv[2], argv[3], argv[4]
    if output != KEEP:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
    if user != KEEP:
        become(user)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the request
            sys.exit(f"{program}: the parent is gone")
    os.execv(program, list(argv[4:]))


def become(user: str) -> None:
    """Give up this process's user, groups and home for the user's own, for good."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir
    os.environ["USER"] = os.environ["LOGNAME"] = user


if __name__ == "__main__":
    main(sys.argv)
