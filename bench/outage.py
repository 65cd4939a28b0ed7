"""What happens when a whole region's power comes back at once?

The whole system runs as `cpms up --workers 2` makes it, gates and all. `--idle` chargers of the fast fleet (bench/fleet.py) are
connected and booted; then all their connections are reset in one moment, and all of them dial as fast as the fleet's processes can
(each at most 8,000 a second), without a back-off but for a Retry-After, and boot. That is done STORMS times. Meanwhile `--connections`
chargers that kept their connections are in a transaction and send MeterValues, PER_S a second together.

    back_s         the storm's length: until the last charger is connected and accepted again, of each storm
    slowest_s      the longest that any charger waited for the answer to a handshake or a CALL
    timeouts       answers that did not come within the 30 s that a charger waits
    stayed_*_ms    the answers to those who stayed: before the storms, `--seconds` before each, and in the storms
    grown          what the workers' memory grew by from the end of the first storm to that of the last

The load has the machine's cores together with the system. The fleet, which would be on 20,000 other machines, gives way (nice) and
leaves the first core to the others; the load of those who stayed, which measures, does neither.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from bench import fleet
from bench.fleet import Back, Cut, Power
from bench.load import Connect, Pace, Paced
from bench.machine import describe, sentence
from bench.processes import Child, scratch, share_cores, until_stopped
from bench.question import Options, Outcome
from bench.system import drivers, system
from bench.table import at_most, quantile_ms, table, verdict
from bench.words import PASSWORD
from cpms_actors.base.errors import OperatorError
from supervisors.limits import raise_files

CHARGERS: Final = 20_000
STAYED: Final = 500
WORKERS: Final = 2
DRIVERS: Final = 2
STORMS: Final = 3
PER_S: Final = 200.0
WINDOW_S: Final = 1.0
BEFORE_S: Final = 10.0
REST_S: Final = 5.0
BACK_S_MAX: Final = 60.0
WAIT_S_MAX: Final = 30.0
RATIO_MAX: Final = 2.0
GROWN_MAX: Final = 0.05
ORDER_S_MAX: Final = 180.0

_BACK: Final = msgspec.json.Decoder(Back)
_PACED: Final = msgspec.json.Decoder(Paced)


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    raise_files()
    options = options.or_else(seconds=BEFORE_S, connections=STAYED, idle=CHARGERS)
    with scratch() as folder:
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_measure(options, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _measure(options: Options, folder: Path) -> dict[str, Any]:
    cores = sorted(share_cores().others)
    async with AsyncExitStack() as stack:
        cpms = await stack.enter_async_context(system(folder / "system", workers=WORKERS, gates=True))
        options.say(f"registering {options.idle + options.connections} chargers")
        await cpms.register(range(options.idle + options.connections))
        (stayed,) = await stack.enter_async_context(drivers(cpms.url))
        order = Connect(options.connections, charging=True, password=PASSWORD, begin=options.idle)
        await stayed.ask(msgspec.json.encode(order))
        starting = drivers(cpms.url, DRIVERS, module="bench.fleet", ready=fleet.READY, cores=cores)
        cut_off = await stack.enter_async_context(starting)
        options.say("connecting")
        each = options.idle // DRIVERS
        powers = [Power(each, number * each, PASSWORD, ORDER_S_MAX) for number in range(DRIVERS)]
        first = _together(await asyncio.gather(*(_ask(driver, power) for driver, power in zip(cut_off, powers, strict=True))))
        _check(first, each * DRIVERS)
        await asyncio.sleep(REST_S)
        storms, before, meanwhile, memory = [], [], [], []
        for number in range(STORMS):
            options.say(f"traffic before storm {number + 1} of {STORMS}")  # before each: minutes later it may be another machine
            before += await _while(stayed, asyncio.sleep(options.seconds))
            options.say(f"storm {number + 1}")
            cuts = asyncio.gather(*(_ask(driver, Cut(ORDER_S_MAX)) for driver in cut_off))
            meanwhile += await _while(stayed, cuts)
            storms.append(_together(cuts.result()))
            _check(storms[-1], each * DRIVERS)
            await asyncio.sleep(REST_S)
            memory.append(cpms.memory_bytes()["workers"])
        return _figures(each * DRIVERS, storms, before, meanwhile, memory)


async def _ask(driver: Child, order: Power | Cut) -> Back:
    return _BACK.decode(await driver.ask(msgspec.json.encode(order)))


def _together(some: list[Back]) -> Back:
    """What several processes saw of one storm."""
    return Back(
        admitted=sum(each.admitted for each in some),
        seconds=max(each.seconds for each in some),
        refused=sum(each.refused for each in some),
        timeouts=sum(each.timeouts for each in some),
        slowest_s=max(each.slowest_s for each in some),
        failures=[failure for each in some for failure in each.failures],
    )


def _check(back: Back, chargers: int) -> None:
    if back.failures or back.admitted < chargers:
        why = f"; {back.failures[0]}" if back.failures else ""
        raise OperatorError("bench", f"{back.admitted} of {chargers} chargers were in after {back.seconds:.0f} s{why}")


async def _while(stayed: Child, work: Awaitable[Any]) -> list[float]:
    """The latencies of those who stay, while something else happens."""
    found: list[float] = []
    task = asyncio.ensure_future(work)
    while not task.done():
        found += _PACED.decode(await stayed.ask(msgspec.json.encode(Pace(PER_S, WINDOW_S, sample_every=1)))).samples_s
    return found


def _figures(chargers: int, storms: list[Back], before: list[float], meanwhile: list[float], memory: list[int]) -> dict[str, Any]:
    before.sort()
    meanwhile.sort()
    back_s = max(storm.seconds for storm in storms)
    slowest_s = max(storm.slowest_s for storm in storms)
    ratio = quantile_ms(meanwhile, 0.99) / quantile_ms(before, 0.99)
    grown = memory[-1] / memory[0] - 1
    bounds = {
        "back_s": (round(back_s, 1), BACK_S_MAX),
        "slowest_s": (round(slowest_s, 2), WAIT_S_MAX),
        "stayed_p99_ratio": (round(ratio, 2), RATIO_MAX),
        "grown": (round(grown, 3), GROWN_MAX),
    }
    return {
        "chargers": chargers,
        "back_s": round(back_s, 1),
        "slowest_s": round(slowest_s, 2),
        "timeouts": sum(storm.timeouts for storm in storms),
        "refused": [storm.refused for storm in storms],
        "storms_s": [round(storm.seconds, 1) for storm in storms],
        "stayed_before_p99_ms": quantile_ms(before, 0.99),
        "stayed_p50_ms": quantile_ms(meanwhile, 0.5),
        "stayed_p99_ms": quantile_ms(meanwhile, 0.99),
        "stayed_p99_ratio": round(ratio, 2),
        "workers_mib": [round(each / 2**20, 1) for each in memory],
        "grown": round(grown, 3),
        "targets": {name: at_most(found, bound) for name, (found, bound) in bounds.items()},
    }


def _text(figures: dict[str, Any]) -> str:
    names = ("chargers", "back_s", "slowest_s", "timeouts", "stayed_before_p99_ms", "stayed_p99_ms", "stayed_p99_ratio", "grown")
    verdicts = "; ".join(
        f"{name.replace('_', ' ')} at most {target['at_most']:g}: {verdict(figures, name)}"
        for name, target in figures["targets"].items()
    )
    storms = ", ".join(f"{seconds} s" for seconds in figures["storms_s"])
    refused = ", ".join(map(str, figures["refused"]))
    return (
        f"{sentence(figures['conditions'])}\n\n{table(figures, names)}\n\n"
        f"The storms took {storms}; told to come later were {refused}; the workers' memory after each: "
        f"{', '.join(map(str, figures['workers_mib']))} MiB.\n\nTargets: {verdicts}.\n"
    )
