"""What does a MeterValues of a running transaction cost, from the frame to the row in Postgres?

The whole system runs as `cpms up` makes it, flushing to disk, and the load beside it on the same cores. `--connections` chargers are in
a transaction each and send MeterValues (three readings, so three rows) at a steady rate, whatever is answered. The CPU time is that of
all processes of the system together, until the last row is stored.

The rate goes up in steps until the system falls behind: a step is borne when all that was to be sent was (but for a hundredth, when
every charger still waits), and the last row is in Postgres within BEHIND_S of the last answer. `cpu_us` is the cost at the highest step
that was borne, measured for `--seconds`.

At half of that rate, `row_*_ms` is from the moment a charger sends a frame to the moment when another client of Postgres sees that its
rows are stored, looked up every LOOK_S; `answer_p99_ms` is what the charger sees.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, time
from typing import Any, Final

import asyncpg
import msgspec
import uvloop
from nats.js.errors import NotFoundError

from bench.journal import last_seq, pages
from bench.load import Connect, Pace, Paced
from bench.machine import describe, sentence
from bench.processes import Child, scratch, until_stopped
from bench.question import Options, Outcome
from bench.system import System, drivers, system
from bench.table import at_most, quantile_ms, verdict
from bench.words import PASSWORD
from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import LANES
from cpms_actors.bus import subjects
from cpms_actors.domain.events import TransactionUpdated

CHARGERS: Final = 2000
FIRST_PER_S: Final = 2000.0
STEP: Final = 1.25
STEP_S: Final = 4.0
SECONDS: Final = 10.0
LEAST_PER_S: Final = 50.0
BEHIND_S: Final = 1.0
UNSENT_MAX: Final = 0.01
LOOK_S: Final = 0.02
STORED_S_MAX: Final = 60.0
CPU_US_MAX: Final = 100.0
ROW_MS_MAX: Final = 1000.0

_PACED: Final = msgspec.json.Decoder(Paced)


class Measured(msgspec.Struct, frozen=True):
    """A time at one rate: what was sent, when all of it was stored, and what that took of each part of the system."""

    sent: Paced
    behind_s: float
    seconds: float
    cpu_us: Counter[str]

    @property
    def borne(self) -> bool:
        """Whether the system could go on like this."""
        return self.sent.unsent <= UNSENT_MAX * self.sent.messages and self.behind_s <= BEHIND_S


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    options = options.or_else(seconds=SECONDS, connections=CHARGERS)
    with scratch() as folder:
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_measure(options, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _measure(options: Options, folder: Path) -> dict[str, Any]:
    seconds, chargers = options.seconds, options.connections
    async with system(folder / "system") as cpms:
        options.say(f"registering {chargers} chargers")
        await cpms.register(range(chargers))
        async with drivers(cpms.url) as (talkers,):
            await talkers.ask(msgspec.json.encode(Connect(chargers, charging=True, password=PASSWORD)))
            per_s, steps = FIRST_PER_S, {}
            while True:
                options.say(f"{per_s:.0f} a second")
                steps[round(per_s)] = step = await _at(cpms, talkers, per_s, min(STEP_S, seconds))
                if not step.borne:
                    break
                per_s *= STEP
            most = await _most(options, cpms, talkers, per_s / STEP, seconds)
            half = most.sent.messages / most.seconds / 2
            options.say(f"half of it, {half:.0f} a second: from frame to row")
            first = await last_seq(cpms.client) + 1
            async with _watch(cpms) as watched:
                calm = await _at(cpms, talkers, half, seconds)
                last = await last_seq(cpms.client)
                await _stored(cpms)
                while any(watched[lane][0][-1] < offset for lane, offset in (await _offsets(cpms.database)).items()):
                    pass  # asking takes its time
            rows = await _to_row(cpms, first, last, watched)
    if len(rows) != calm.sent.messages:
        raise OperatorError("bench", f"{calm.sent.messages} messages were answered and {len(rows)} are in the journal")
    return _figures(most, calm, rows, steps)


async def _most(options: Options, cpms: System, talkers: Child, per_s: float, seconds: float) -> Measured:
    """The highest rate that is borne for so long."""
    while per_s > LEAST_PER_S:
        options.say(f"the cost at {per_s:.0f} a second")
        measured = await _at(cpms, talkers, per_s, seconds)
        if measured.borne:
            return measured
        per_s /= STEP
    raise OperatorError("bench", f"not even {LEAST_PER_S:g} messages a second are borne")


async def _at(cpms: System, talkers: Child, per_s: float, seconds: float) -> Measured:
    """A time at one rate."""
    before, began = cpms.cpu_s(), perf_counter()
    sent = _PACED.decode(await talkers.ask(msgspec.json.encode(Pace(per_s, seconds))))
    answered = perf_counter()
    await _stored(cpms)
    stored = perf_counter()
    used = cpms.cpu_s()
    used.subtract(before)
    cost = Counter({part: each / sent.messages * 1e6 for part, each in used.items()})  # µs
    return Measured(sent, stored - answered, answered - began, cost)


async def _stored(cpms: System) -> None:
    """Wait until the journal as it is now has been folded. Raises OperatorError when that takes too long."""
    try:
        async with asyncio.timeout(STORED_S_MAX):
            for lane in range(LANES):
                try:
                    last = (await cpms.client.jetstream().get_last_msg(subjects.JOURNAL_STREAM, subjects.journal(lane))).seq or 0
                except NotFoundError:  # no charger of this lane has spoken
                    continue
                while (await _offsets(cpms.database)).get(lane, 0) < last:  # noqa: ASYNC110  # another process does it
                    await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise OperatorError("bench", f"the pools were still behind after {STORED_S_MAX:g} s") from None


async def _offsets(database: "asyncpg.Connection[asyncpg.Record]") -> dict[int, int]:
    return {row["lane"]: row["stream_seq"] for row in await database.fetch("SELECT lane, stream_seq FROM lanes")}


@asynccontextmanager
async def _watch(cpms: System) -> AsyncIterator[dict[int, tuple[list[int], list[float]]]]:
    """By lane how far it was folded, and when that was first seen, while the block runs."""
    seen: dict[int, tuple[list[int], list[float]]] = {lane: ([0], [0.0]) for lane in range(LANES)}

    async def look(database: "asyncpg.Connection[asyncpg.Record]") -> None:
        while True:
            offsets = await _offsets(database)
            now = time()
            for lane, sequence in offsets.items():
                sequences, moments = seen[lane]
                if sequence > sequences[-1]:
                    sequences.append(sequence)
                    moments.append(now)
            await asyncio.sleep(LOOK_S)

    database = await asyncpg.connect(cpms.dsn)
    try:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(look(database))
            yield seen
            looking.cancel()
    finally:
        await database.close()


async def _to_row(cpms: System, first: int, last: int, seen: dict[int, tuple[list[int], list[float]]]) -> list[float]:
    """Of each frame in these pages of the journal the seconds from its sending to its rows, in ascending order."""
    found: list[float] = []
    async for sequence, lane, page in pages(cpms.client, first, last):
        sequences, moments = seen[lane]
        stored = moments[bisect_left(sequences, sequence)]
        found += [stored - int(event.message_id) / 1e6 for event in page.events if isinstance(event.body, TransactionUpdated)]
    return sorted(found)


def _figures(most: Measured, calm: Measured, rows: list[float], steps: dict[int, Measured]) -> dict[str, Any]:
    cost = round(sum(most.cpu_us.values()), 1)
    row_p99_ms = quantile_ms(rows, 0.99)
    return {
        "cpu_us": cost,
        "cpu_us_parts": {part: round(each, 1) for part, each in most.cpu_us.most_common()},
        "messages_per_s": round(most.sent.messages / most.seconds),
        "rows_per_s": round(3 * most.sent.messages / most.seconds),
        "behind_s": round(most.behind_s, 2),
        "answer_p99_ms": round(most.sent.p99_ms, 1),
        "half": {
            "messages_per_s": round(calm.sent.messages / calm.seconds),
            "cpu_us": round(sum(calm.cpu_us.values()), 1),
            "row_p50_ms": quantile_ms(rows, 0.5),
            "row_p99_ms": row_p99_ms,
            "row_max_ms": quantile_ms(rows, 1.0),
            "answer_p99_ms": round(calm.sent.p99_ms, 1),
        },
        "steps": {per_s: round(sum(step.cpu_us.values()), 1) for per_s, step in steps.items()},
        "targets": {
            "cpu_us": at_most(cost, CPU_US_MAX),
            "row_p99_ms": at_most(row_p99_ms, ROW_MS_MAX),
        },
    }


def _text(figures: dict[str, Any]) -> str:
    half = figures["half"]
    parts = ", ".join(f"{part} {cost}" for part, cost in figures["cpu_us_parts"].items() if cost >= 0.1)
    return (
        f"{sentence(figures['conditions'])}\n\n"
        "| | messages/s | CPU µs per message | answer p99 ms | row p50 ms | row p99 ms | row max ms |\n|---|--:|--:|--:|--:|--:|--:|\n"
        f"| most | {figures['messages_per_s']} | {figures['cpu_us']} | {figures['answer_p99_ms']} | | | |\n"
        f"| half | {half['messages_per_s']} | {half['cpu_us']} | {half['answer_p99_ms']} | {half['row_p50_ms']} | {half['row_p99_ms']}"
        f" | {half['row_max_ms']} |\n\n"
        f"Of the cost at the most: {parts}. A message is three rows.\n\n"
        f"Target: at most {CPU_US_MAX:g} µs: {verdict(figures, 'cpu_us')}. At half of it a row within {ROW_MS_MAX:g} ms (p99):"
        f" {verdict(figures, 'row_p99_ms')}.\n"
    )
