"""Where and when it was measured: a figure without this is worth nothing."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.processes import ROOT


def describe(folder: Path) -> dict[str, Any]:
    """Machine, commit and date; `disk` is what holds `folder`, `load_average` what else the machine was doing before we began."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "disk": _disk(folder),
        "load_average": round(os.getloadavg()[0], 2),
    }


def sentence(conditions: Mapping[str, Any]) -> str:
    """What `describe` found, for people."""
    names = ("date", "commit", "machine", "system", "disk", "load_average")
    date, commit, machine, system, disk, load = (conditions[name] for name in names)
    return f"{date}, commit {commit}. {machine}; {system}; {disk}; load average before {load}."


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _commit() -> str:
    """The commit of the working tree, with a mark when what was measured is not what was committed."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ("git", "--no-optional-locks", "-C", str(ROOT), *arguments), capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "cpms_actors", "supervisors", "bench", ":!bench/RESULTS.md")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _disk(folder: Path) -> str:
    """The kind of the file system: what an fsync costs depends on it."""
    within = [disk for disk in psutil.disk_partitions(all=True) if folder.is_relative_to(disk.mountpoint)]
    return max(within, key=lambda disk: len(disk.mountpoint)).fstype if within else "unknown"
