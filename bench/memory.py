"""What does an idle charger weigh?

The whole system runs as `cpms up --workers 2` makes it. Chargers are registered, connect, boot, and then say nothing: a worker has
the connection, the actor with its live state, and what must be known of a registered charger. A few come before the first measurement,
which so has all that is loaded but once; then the fleet grows to `--idle`, measured at three sizes.

Memory is the proportional set size (PSS): pages that processes share count once. The workers' is what the chargers weigh; that of all
processes is the workers, the pools, nats-server, Postgres and what supervises them.

A process may open some 20,000 files, and an address has some 28,000 ports: the load is as many processes as that takes, each with a
loopback address of its own.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench.load import Connect
from bench.machine import describe, sentence
from bench.processes import Child, scratch, until_stopped
from bench.question import Options, Outcome
from bench.system import System, drivers, system
from bench.table import at_most, verdict
from bench.words import PASSWORD
from supervisors.limits import raise_files

CHARGERS: Final = 30_000
CHARGERS_MAX: Final = 1_000_000  # of one driver
WORKERS: Final = 2
DRIVERS: Final = 2
FIRST_SHARE: Final = 300  # of all
SIZES: Final = (30, 3, 1)  # a thirtieth, a third, all
REST_S: Final = 8.0
KIB: Final = 1024
WORKERS_KIB_MAX: Final = 14.0
ALL_KIB_MAX: Final = 18.0


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    raise_files()
    options = options.or_else(seconds=REST_S, idle=CHARGERS)
    with scratch() as folder:
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_measure(options, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _measure(options: Options, folder: Path) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        cpms = await stack.enter_async_context(system(folder / "system", workers=WORKERS))
        fleet = Fleet(cpms, await stack.enter_async_context(drivers(cpms.url, DRIVERS)))
        first = -(-options.idle // FIRST_SHARE)
        await fleet.grow(first)
        await asyncio.sleep(options.seconds)
        before = cpms.memory_bytes()
        sizes = {}
        for share in SIZES:
            size = max(first + 1, options.idle // share)
            options.say(f"{size} chargers")
            await fleet.grow(size)
            await asyncio.sleep(options.seconds)
            sizes[size] = _per_charger(cpms.memory_bytes(), before, size - first)
    return _figures(sizes)


class Fleet:
    """Idle chargers, evenly over the drivers."""

    def __init__(self, cpms: System, processes: list[Child]) -> None:
        self._cpms = cpms
        self._drivers = processes
        self._each = 0

    async def grow(self, size: int) -> None:
        """Register, connect and boot as many as are missing."""
        each = -(-size // len(self._drivers))
        begins = [number * CHARGERS_MAX for number in range(len(self._drivers))]
        await self._cpms.register(begin + charger for begin in begins for charger in range(self._each, each))
        orders = [
            Connect(each - self._each, charging=False, password=PASSWORD, begin=begin, spread=True)
            for number, begin in enumerate(begins)
        ]
        await asyncio.gather(*(driver.ask(msgspec.json.encode(order)) for driver, order in zip(self._drivers, orders, strict=True)))
        self._each = each


def _per_charger(now: dict[str, int], before: dict[str, int], chargers: int) -> dict[str, float]:
    grown = {part: (each - before.get(part, 0)) / chargers / KIB for part, each in now.items()}
    return {part: round(each, 2) for part, each in grown.items()} | {"all": round(sum(grown.values()), 2)}


def _figures(sizes: dict[int, dict[str, float]]) -> dict[str, Any]:
    most = sizes[max(sizes)]
    return {
        "chargers": max(sizes),
        "kib_workers": most["workers"],
        "kib_all": most["all"],
        "sizes": sizes,
        "workers": WORKERS,
        "targets": {"kib_workers": at_most(most["workers"], WORKERS_KIB_MAX), "kib_all": at_most(most["all"], ALL_KIB_MAX)},
    }


def _text(figures: dict[str, Any]) -> str:
    sizes: dict[int, dict[str, float]] = figures["sizes"]
    parts = [part for part in sizes[max(sizes)] if part not in ("workers", "all")]
    names = ["workers", *parts, "all"]
    head = f"| chargers | {' | '.join(names)} |\n|{'--:|' * (len(names) + 1)}\n"
    rows = "".join(f"| {size} | {' | '.join(str(each.get(name, 0.0)) for name in names)} |\n" for size, each in sizes.items())
    return (
        f"{sentence(figures['conditions'])} KiB per idle charger, {figures['workers']} workers.\n\n{head}{rows}\n"
        f"Targets: at most {WORKERS_KIB_MAX:g} KiB in the workers: {verdict(figures, 'kib_workers')};"
        f" at most {ALL_KIB_MAX:g} in all processes: {verdict(figures, 'kib_all')}.\n"
    )
