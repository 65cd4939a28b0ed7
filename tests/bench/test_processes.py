"""What a family of processes uses is read from outside, of those that have ended too."""

import asyncio
import os
import sys

from bench.processes import command, cpu_s, family_cpu_s, family_private_bytes

CORES = sorted(os.sched_getaffinity(0))
BURNT_S = 0.2
BURN = f"import time\nwhile time.process_time() < {BURNT_S}: pass\n"
KIB = 1024
HELD = 32 * KIB * KIB


def parent_of(child: str) -> tuple[str, ...]:
    """A program that runs the child until it prints a line or ends, and then waits for its own end."""
    text = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "said = child.stdout.readline()\n"
        "said or child.wait()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "child.kill()\n"
    )
    return (sys.executable, "-c", text)


def test_who_has_ended_is_in_the_account() -> None:
    async def used() -> tuple[float, float]:
        async with command("a parent", parent_of(BURN), cores=CORES, ready="ready") as (parent, _):
            return sum(family_cpu_s(parent.pid).values()), cpu_s(parent.pid)

    family, alone = asyncio.run(used())
    assert family >= alone + 0.9 * BURNT_S


def test_who_lives_is_in_the_account() -> None:
    child = f"import sys\nheld = bytearray({HELD})\n{BURN}\nprint('there', flush=True)\nsys.stdin.read()\n"

    async def used() -> tuple[float, float, int]:
        async with command("a parent", parent_of(child), cores=CORES, ready="ready") as (parent, _):
            return sum(family_cpu_s(parent.pid).values()), cpu_s(parent.pid), family_private_bytes(parent.pid)

    family, alone, held = asyncio.run(used())
    assert family >= alone + 0.9 * BURNT_S
    assert held >= HELD
