"""How many chargers can one worker let in per second?

A whole admission, as it is after a power cut: TCP, the upgrade with HTTP Basic authentication (security profile 1), the actor made, and
BootNotification answered. The worker is `cpms worker` with the gates open that bound a rate, for they would let in 200 a second; it
has a core to itself, broker and load share the others.
`admissions_per_s` is what was reached together with that load, `per_core` what the worker's own CPU time would allow; the p99 is from
dialling to the answer to BootNotification, with `together` chargers at it at any moment.

Every round admits `--idle` chargers more to those that are connected already, or as many as leave room for all rounds in one
process. The first round is not counted: it warms the worker.
"""

import asyncio
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import uvloop
from msgspec.structs import replace

from bench import load
from bench.load import Admit, Admitted
from bench.machine import describe, sentence
from bench.processes import Cores, kept_to, running, scratch, share_cores, until_stopped
from bench.question import Options, Outcome
from bench.table import at_least, table, verdict
from bench.words import PASSWORD
from bench.workers import worker

CHARGERS: Final = 5000
TOGETHER: Final = 128
TARGET: Final = 1500
CONNECTED_MAX: Final = 16_000  # a worker takes 18,000

_ADMITTED: Final = msgspec.json.Decoder(Admitted)


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    options = options.or_else(idle=CHARGERS)
    cores = share_cores()
    with scratch() as folder, kept_to(cores.others):
        options = replace(options, idle=min(options.idle, CONNECTED_MAX // (options.rounds + 1)))
        conditions = describe(folder)
        rounds = uvloop.run(until_stopped(_rounds(options, cores, folder)))
    figures = _figures(options, rounds) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _rounds(options: Options, cores: Cores, folder: Path) -> list[Admitted]:
    each, number = options.idle, options.rounds + 1
    options.say(f"registering {each * number} chargers")
    async with worker(folder / "worker", cores, each * number, password=PASSWORD) as cpms:
        starting = running("the load", "bench.load", cpms.url, cores=sorted(cores.others), ready=load.READY)
        async with starting as (talkers, _):
            admitted = []
            for count in range(number):
                options.say(f"round {count} of {options.rounds}" if count else "warming up")
                order = Admit(each, min(TOGETHER, each), PASSWORD, cpms.pid)
                admitted.append(_ADMITTED.decode(await talkers.ask(msgspec.json.encode(order))))
                await asyncio.sleep(0.5)  # what was journalled beside is stored
    return admitted[1:]


def _figures(options: Options, rounds: list[Admitted]) -> dict[str, Any]:
    cpu_us = [each.cpu_s / options.idle * 1e6 for each in rounds]
    rates = [options.idle / each.seconds for each in rounds]
    rate = median(rates)
    return {
        "admissions_per_s": round(rate),
        "cpu_us_per_admission": round(median(cpu_us), 1),
        "per_core": round(1e6 / median(cpu_us)),
        "p50_ms": round(median(each.p50_ms for each in rounds), 1),
        "p99_ms": round(median(each.p99_ms for each in rounds), 1),
        "together": min(TOGETHER, options.idle),
        "chargers_per_round": options.idle,
        "rates": [round(each) for each in rates],
        "cpu_us_rounds": [round(each, 1) for each in cpu_us],
        "targets": {"admissions_per_s": at_least(round(rate), TARGET)},
    }


def _text(figures: dict[str, Any]) -> str:
    names = ("admissions_per_s", "per_core", "cpu_us_per_admission", "p50_ms", "p99_ms", "together", "chargers_per_round")
    target = f"Target: at least {TARGET} a second: {verdict(figures, 'admissions_per_s')}."
    return f"{sentence(figures['conditions'])}\n\n{table(figures, names)}\n\n{target}\n"
