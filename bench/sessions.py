"""How many full sessions a second, from the token to the charge detail record in Postgres?

The whole system runs as `cpms up` makes it, flushing to disk, and the load beside it on the same cores. Each of the `--connections`
chargers goes through one session after the other: Authorize, StartTransaction, READINGS MeterValues, StopTransaction, each asked when
the one before is answered. The clock stops when the last session has its charge detail record; together these must say what the
chargers delivered. The token is known to the worker after its first Authorize, as a driver's is who charges every day.

`bounded_by` is the part of the system that used the largest share of a core.
"""

import asyncio
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
import uvloop

from bench.load import Charge, Charged, Connect
from bench.machine import describe, sentence
from bench.processes import scratch, until_stopped
from bench.question import Options, Outcome
from bench.system import System, drivers, system
from bench.table import at_least, table, verdict
from bench.words import PASSWORD
from cpms_actors.base.errors import OperatorError

CHARGERS: Final = 400
READINGS: Final = 3
SECONDS: Final = 10.0
LOOK_S: Final = 0.05
STORED_S_MAX: Final = 120.0
TARGET: Final = 300

_CHARGED: Final = msgspec.json.Decoder(Charged)


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    options = options.or_else(seconds=SECONDS, connections=CHARGERS)
    with scratch() as folder:
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_measure(options, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _measure(options: Options, folder: Path) -> dict[str, Any]:
    async with system(folder / "system") as cpms:
        options.say(f"registering {options.connections} chargers")
        await cpms.register(range(options.connections))
        async with drivers(cpms.url) as (talkers,):
            await talkers.ask(msgspec.json.encode(Connect(options.connections, charging=False, password=PASSWORD)))
            options.say("charging")
            before, began = cpms.cpu_s(), perf_counter()
            charged = _CHARGED.decode(await talkers.ask(msgspec.json.encode(Charge(options.seconds, READINGS))))
            await _billed(cpms, charged)
            seconds, used = perf_counter() - began, cpms.cpu_s()
    used.subtract(before)
    return _figures(charged, seconds, used)


async def _billed(cpms: System, charged: Charged) -> None:
    """Wait until each session has its record. Raises OperatorError when that takes too long, or one of them is wrong."""
    query = "SELECT count(*), count(DISTINCT session_id), coalesce(sum(energy_wh), 0)::bigint FROM cdrs"
    wanted = (charged.sessions, charged.sessions, charged.energy_wh)
    found: tuple[int, ...] = ()
    try:
        async with asyncio.timeout(STORED_S_MAX):
            while (found := tuple((await cpms.database.fetch(query))[0]))[0] < charged.sessions:  # noqa: ASYNC110  # another process makes them
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise OperatorError("bench", f"after {STORED_S_MAX:g} s there were records for {found} of {wanted} sessions") from None
    if found != wanted:
        raise OperatorError("bench", f"records, sessions and Wh are {found}, the chargers say {wanted}")


def _figures(charged: Charged, seconds: float, used: Counter[str]) -> dict[str, Any]:
    rate = charged.sessions / seconds
    shares = Counter({part: each / seconds for part, each in used.items()})  # of a core
    (busiest, _), *_ = shares.most_common(1)
    return {
        "sessions_per_s": round(rate),
        "sessions": charged.sessions,
        "cpu_us_per_session": round(sum(used.values()) / charged.sessions * 1e6),
        "cpu_us_parts": {part: round(each / charged.sessions * 1e6) for part, each in used.most_common()},
        "cores": {part: round(each, 2) for part, each in shares.most_common()},
        "bounded_by": busiest,
        "messages_per_s": round(charged.messages / charged.seconds),
        "answer_p50_ms": round(charged.p50_ms, 1),
        "answer_p99_ms": round(charged.p99_ms, 1),
        "billed_after_s": round(seconds - charged.seconds, 2),
        "targets": {"sessions_per_s": at_least(round(rate), TARGET)},
    }


def _text(figures: dict[str, Any]) -> str:
    names = ("sessions_per_s", "cpu_us_per_session", "messages_per_s", "answer_p50_ms", "answer_p99_ms", "billed_after_s")
    cores = ", ".join(f"{part} {share}" for part, share in figures["cores"].items() if share >= 0.01)
    target = f"Target: at least {TARGET} a second: {verdict(figures, 'sessions_per_s')}."
    bounded = f"Cores in use: {cores}; bounded by: {figures['bounded_by']}."
    return f"{sentence(figures['conditions'])}\n\n{table(figures, names)}\n\n{bounded}\n\n{target}\n"
