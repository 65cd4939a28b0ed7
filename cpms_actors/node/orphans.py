"""Servers that outlived the stack they belonged to.

Whoever holds the lock of a data directory may stop whatever still runs there: no stack does, so it was left by one that was killed.
A pid file alone proves nothing, since the kernel uses numbers again: the process must have the name and mention the directory.
"""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from cpms_actors.observe import logs

PATIENCE_S: Final = 10.0
QUIT_S: Final = 3.0  # a backend that is told to quit does so at once

log = logs.get("node")


def stop_orphan(pid_file: Path, *, name: str, mentions: str, how: signal.Signals) -> None:
    """Stop the server the pid file names, if it is one of that name whose command line mentions the text; then remove the file."""
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        pid = 0
    process = _process(pid, name, mentions)
    if process is not None:
        log.warning("orphan_stopped", server=name, pid=pid)
        process.send_signal(how)
        try:
            process.wait(PATIENCE_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_S)
    pid_file.unlink(missing_ok=True)


def stop_backends(cluster: Path) -> None:
    """Stop what a postmaster that was killed has left behind: as long as one of its backends lives nobody can start in the cluster.

    They end by themselves as soon as they wait for something, but a query that computes does not. They are known by where they are.
    """
    left = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "postgres" and _is_in(process, cluster)]
    if not left:
        return
    log.warning("backends_stopped", server="postgres", processes=len(left))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)  # what a postmaster tells them when one of them has crashed
    for process in psutil.wait_procs(left, timeout=QUIT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=QUIT_S)


def _is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _process(pid: int, name: str, mentions: str) -> psutil.Process | None:
    if pid <= 0:
        return None
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return process if words and Path(words[0]).name == name and any(mentions in word for word in words) else None
