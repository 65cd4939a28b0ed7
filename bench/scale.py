"""Does a message cost more when there are many connections, or two workers?

Chargers in a transaction send MeterValues at a steady rate, whatever is answered, all of them in turns: at 30,000 connections each
speaks 30 times less often than at 1,000, and what a worker knows of it is no longer in the processor's caches. Pings go out as they
are due, one per charger and minute; they are part of the cost, as they are in a deployment.

The workers are `cpms worker` as it is deployed, and share a core; broker and load share the others. First two workers have a share of
`--idle` chargers each, at three sizes; then one has the first two sizes alone. The CPU time is the workers'.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import uvloop

from bench.load import Connect, Pace, Paced
from bench.machine import describe, sentence
from bench.processes import Child, Cores, cpu_s, kept_to, scratch, share_cores, until_stopped
from bench.question import Options, Outcome
from bench.system import drivers
from bench.table import at_most, verdict
from bench.workers import Cpms, worker
from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import SLOTS
from supervisors.limits import raise_files

CHARGERS: Final = 30_000
SIZES: Final = (30, 3, 1)  # a thirtieth, a third, all
ALONE_MAX: Final = 15_000  # in one process
DRIVERS: Final = 2
EACH_PER_S: Final = 3.0  # of the fewest
SECONDS: Final = 5.0
SHARED_S_MAX: Final = 20.0
RATIO_MAX: Final = 1.3

_PACED: Final = msgspec.json.Decoder(Paced)


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    raise_files()
    options = options.or_else(seconds=SECONDS, idle=CHARGERS)
    cores = share_cores()
    with scratch() as folder, kept_to(cores.others):
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_measure(options, cores, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _measure(options: Options, cores: Cores, folder: Path) -> dict[str, Any]:
    sizes = [options.idle // share for share in SIZES]
    alone = [size for size in sizes if size <= ALONE_MAX]
    two = await _sizes(options, cores, folder / "two", sizes, workers=2)
    one = await _sizes(options, cores, folder / "one", alone, workers=1)
    ratio = two[sizes[-1]] / two[sizes[0]]
    return {
        "cpu_us": {"one_worker": _rounded(one), "two_workers": _rounded(two)},
        "messages_per_s": sizes[0] * EACH_PER_S,
        "last_to_first": round(ratio, 2),
        "two_workers_to_one": {size: round(two[size] / one[size], 2) for size in alone},
        "targets": {"last_to_first": at_most(round(ratio, 2), RATIO_MAX)},
    }


def _rounded(costs: dict[int, float]) -> dict[int, float]:
    return {size: round(cost, 1) for size, cost in costs.items()}


async def _sizes(options: Options, cores: Cores, folder: Path, sizes: list[int], workers: int) -> dict[int, float]:
    """The cost of a message at each size, in µs of CPU."""
    async with _workers(folder, cores, sizes[-1], workers) as (cpms, pids, fleet):
        found, before = {}, 0
        for size in sizes:
            options.say(f"{size} chargers, {'two workers' if workers == 2 else 'one worker'}")
            await _grow(fleet, before, size, sizes[-1])
            before = size
            per_s = sizes[0] * EACH_PER_S
            await _cost(fleet, pids, per_s, options.seconds / 2)  # to warm up
            found[size] = median([await _cost(fleet, pids, per_s, options.seconds) for _ in range(options.rounds)])
        if len(await cpms.workers()) != workers:
            raise OperatorError("bench", "a worker has gone")
    return found


@asynccontextmanager
async def _workers(folder: Path, cores: Cores, chargers: int, workers: int) -> AsyncIterator[tuple[Cpms, list[int], list[Child]]]:
    async with AsyncExitStack() as stack:
        cpms = await stack.enter_async_context(worker(folder, cores, chargers, name="bench-1"))
        pids = [cpms.pid]
        for number in range(1, workers):
            process, _ = await stack.enter_async_context(cpms.start(f"bench-{number + 1}"))
            pids.append(process.pid)
        async with asyncio.timeout(SHARED_S_MAX):
            while sorted(each.slots for each in await cpms.workers())[0] < SLOTS // workers // 2:
                pass  # asking takes its time
        yield cpms, pids, await stack.enter_async_context(drivers(cpms.url, DRIVERS, cores=sorted(cores.others)))


async def _grow(fleet: list[Child], before: int, size: int, most: int) -> None:
    """Connect the chargers that are missing, evenly over the drivers."""
    share = len(fleet)
    orders = [
        Connect(size // share - before // share, charging=True, begin=number * (most // share), spread=True) for number in range(share)
    ]
    await asyncio.gather(*(driver.ask(msgspec.json.encode(order)) for driver, order in zip(fleet, orders, strict=True)))


async def _cost(fleet: list[Child], pids: list[int], per_s: float, seconds: float) -> float:
    """CPU µs of the workers per message at a steady rate."""
    order = msgspec.json.encode(Pace(per_s / len(fleet), seconds))
    before = sum(map(cpu_s, pids))
    answers = [_PACED.decode(answer) for answer in await asyncio.gather(*(driver.ask(order) for driver in fleet))]
    used = sum(map(cpu_s, pids)) - before
    if unsent := sum(answer.unsent for answer in answers):
        raise OperatorError("bench", f"{unsent} messages could not be sent, because all chargers waited for answers")
    if not (messages := sum(answer.messages for answer in answers)):
        raise OperatorError("bench", f"{seconds:g} s are too short for a message; measure for longer, or with more chargers")
    return used / messages * 1e6


def _text(figures: dict[str, Any]) -> str:
    costs = figures["cpu_us"]
    sizes = list(costs["two_workers"])
    head = f"| chargers | {' | '.join(map(str, sizes))} |\n|---|{'--:|' * len(sizes)}\n"
    rows = "".join(
        f"| {name.replace('_', ' ')} | {' | '.join(str(costs[name].get(size, '')) for size in sizes)} |\n"
        for name in ("one_worker", "two_workers")
    )
    return (
        f"{sentence(figures['conditions'])} CPU µs of the workers per MeterValues, {figures['messages_per_s']:g} a second.\n\n"
        f"{head}{rows}\n"
        f"With two workers from first to last: {figures['last_to_first']}. Target: at most {RATIO_MAX:g}:"
        f" {verdict(figures, 'last_to_first')}.\n"
    )
