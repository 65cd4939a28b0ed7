"""What does a charger see when its worker is replaced by a new process?

`--idle` chargers are in a transaction and send MeterValues, each EVERY_S after the answer to the last; operators' calls go to them
meanwhile. Then a successor of the worker starts, takes every open connection over, and the old process ends, as `cpms rollout` does it.
Both workers share one core; broker and load share the others.

    moved          connections that the successor went on with
    disconnects    connections that ended
    lost           messages that were not answered, or not journalled; calls that did not reach the charger or whose answer was lost
    doubled        messages that were answered or journalled twice; calls that reached the charger twice
    reordered      messages that were journalled before an earlier one of the same charger
    pause_*_ms     of each charger the longest wait for an answer while the connections moved; before_p99_ms: of any before that
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
import uvloop
from nats.errors import Error as NatsError
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.journal import last_seq, pages
from bench.machine import describe, sentence
from bench.processes import Cores, cpu_s, kept_to, scratch, share_cores, until_stopped
from bench.question import Options, Outcome
from bench.table import quantile_ms, table
from bench.words import TOKEN, call, meter_values
from bench.workers import Cpms, worker
from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import DEFAULT_TENANT, slot_of
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.commands import CallQuestion, WorkerStatus
from cpms_actors.domain.events import TransactionUpdated

CHARGERS: Final = 5000
EVERY_S: Final = 1.0
CALL_EVERY_S: Final = 0.01
BEFORE_S: Final = 5.0
AFTER_S: Final = 3.0
TOGETHER: Final = 64
ANSWER_S_MAX: Final = 30.0
PAUSE_MS_MAX: Final = 250.0
_QUESTION: Final = msgspec.msgpack.encode(CallQuestion("ClearCache", b"{}", ANSWER_S_MAX))


class Charger(WSListener):
    """One charger, and what it has seen."""

    def __init__(self, number: int) -> None:
        self.identity = f"CP{number}"
        self.transaction = 0
        self.sent = 0
        self.answered = 0
        self.strange = 0  # answers to nothing that is open
        self.calls: list[str] = []
        self.closed = False
        self.longest_s = 0.0
        self._sent_at = 0.0
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._body = b""
        self._talking: asyncio.TimerHandle | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            return
        said = msgspec.json.decode(frame.get_payload_as_bytes())
        if said[0] == 2:
            self.calls.append(said[1])
            transport.send(WSMsgType.TEXT, msgspec.json.encode([3, said[1], {"status": "Accepted"}]))
        elif said[0] != 3 or said[1] != str(self.sent) or self.answered == self.sent:
            self.strange += 1
        else:
            self.answered = self.sent
            self.longest_s = max(self.longest_s, perf_counter() - self._sent_at)
            if self._waiting is not None:
                self._waiting.set_result(said)
                self._waiting = None
            elif self._talking is not None:
                self._talking = asyncio.get_running_loop().call_later(EVERY_S, self._say)

    async def ask(self, body: bytes) -> Any:
        """The payload of the answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._send(body)
        async with asyncio.timeout(ANSWER_S_MAX):
            return (await self._waiting)[2]

    def talk(self, after_s: float) -> None:
        """Send meter values from now on."""
        self._body = meter_values(self.transaction)
        self._talking = asyncio.get_running_loop().call_later(after_s, self._say)

    def hush(self) -> None:
        """Send no more; what is open may still be answered."""
        if self._talking is not None:
            self._talking.cancel()
            self._talking = None

    def leave(self) -> None:
        """Disconnect."""
        self._transport.disconnect()

    @property
    def waits_s(self) -> float:
        """How long it has been waiting for an answer."""
        return perf_counter() - self._sent_at if self.answered != self.sent else 0.0

    def _say(self) -> None:
        self._send(self._body)

    def _send(self, body: bytes) -> None:
        self.sent += 1
        self._sent_at = perf_counter()
        self._transport.send(WSMsgType.TEXT, b'[2,"%d"' % self.sent + body)


def run(options: Options) -> Outcome:
    """Measure it. Raises OperatorError."""
    options = options.or_else(seconds=BEFORE_S, idle=CHARGERS)
    cores = share_cores()
    with scratch() as folder, kept_to(cores.others):
        conditions = describe(folder)
        figures = uvloop.run(until_stopped(_hand_over(options, cores, folder))) | {"conditions": conditions}
    return Outcome(figures, _text(figures))


async def _hand_over(options: Options, cores: Cores, folder: Path) -> dict[str, Any]:
    async with worker(folder / "worker", cores, options.idle, name="bench") as cpms:
        options.say(f"connecting {options.idle} chargers")
        chargers = await _connected(cpms.url, options.idle)
        for number, charger in enumerate(chargers):
            charger.talk(EVERY_S * number / len(chargers))
        async with _calls(cpms, chargers) as called:
            options.say("traffic before")
            await asyncio.sleep(options.seconds)
            before = sorted(charger.longest_s for charger in chargers)
            for charger in chargers:
                charger.longest_s = 0.0
            options.say("the successor starts")
            began, cpu = perf_counter(), cpu_s(cpms.pid)
            async with cpms.start("bench~2") as (successor, _):
                joined = perf_counter()
                await _until(cpms, lambda workers: not any(each.slots for each in workers if each.pid == cpms.pid))
                moved_s, cpu = perf_counter() - joined, cpu_s(cpms.pid) - cpu
                await asyncio.sleep(AFTER_S)  # what was sent to the last of them is answered
                pauses = sorted(max(charger.longest_s, charger.waits_s) for charger in chargers)
                cpms.process.terminate()
                await _until(cpms, lambda workers: len(workers) == 1)
                figures = await _verdict(cpms, chargers, called, successor.pid)
                for charger in chargers:
                    charger.leave()
    return figures | {
        "seconds": round(moved_s, 2),
        "start_s": round(joined - began, 2),
        "pause_p50_ms": quantile_ms(pauses, 0.5),
        "pause_p99_ms": quantile_ms(pauses, 0.99),
        "pause_max_ms": quantile_ms(pauses, 1.0),
        "before_p99_ms": quantile_ms(before, 0.99),
        "chargers": len(chargers),
        "cpu_us_per_connection": round(cpu / len(chargers) * 1e6),
    }


async def _connected(url: str, count: int) -> list[Charger]:
    """Chargers, booted and in a transaction."""
    chargers = [Charger(number) for number in range(count)]

    async def join(some: list[Charger]) -> None:
        for charger in some:
            await ws_connect(partial(_same, charger), f"{url}/{charger.identity}", extra_headers={"Sec-WebSocket-Protocol": "ocpp1.6"})
            await charger.ask(call("BootNotification", {"chargePointVendor": "Bench", "chargePointModel": "Handover"}))
            start = {"connectorId": 1, "idTag": TOKEN, "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
            charger.transaction = (await charger.ask(call("StartTransaction", start)))["transactionId"]

    await asyncio.gather(*(join(chargers[begin::TOGETHER]) for begin in range(TOGETHER)))
    return chargers


def _same(charger: Charger) -> Charger:
    return charger


class _Called:
    """Operators' calls: how many, and how many were not answered as they should."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0


@asynccontextmanager
async def _calls(cpms: Cpms, chargers: list[Charger]) -> AsyncIterator[_Called]:
    """Calls to one charger after the other while the block runs; after it all of them have an answer or none."""
    called = _Called()
    over = asyncio.Event()

    async def ask(charger: Charger) -> None:
        called.count += 1
        subject = subjects.charger_command(
            slot_of(DEFAULT_TENANT, charger.identity), DEFAULT_TENANT, charger.identity, commands.CALL_VERB
        )
        try:
            answer = commands.ANSWER_DECODER.decode((await cpms.client.request(subject, _QUESTION, timeout=ANSWER_S_MAX)).data)
            called.failed += answer.kind != "result"
        except NatsError:
            called.failed += 1

    async def ask_on() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1_000_000):
                if over.is_set():
                    return
                group.create_task(ask(chargers[number * 7 % len(chargers)]))
                await asyncio.sleep(CALL_EVERY_S)

    asking = asyncio.create_task(ask_on())
    try:
        yield called
    finally:
        over.set()
        await asking


async def _until(cpms: Cpms, true: Callable[[list[WorkerStatus]], bool]) -> None:
    """Ask the workers until it is so."""
    async with asyncio.timeout(ANSWER_S_MAX):
        while not true(await cpms.workers()):
            pass  # asking takes its time


async def _verdict(cpms: Cpms, chargers: list[Charger], called: _Called, successor: int) -> dict[str, Any]:
    for charger in chargers:
        charger.hush()
    await asyncio.sleep(AFTER_S)  # what is not answered then is lost
    (after,) = await cpms.workers()
    if after.pid != successor:
        raise OperatorError("bench", "the successor is not who serves")
    kept = await _journalled(cpms)
    lost = sum(charger.sent - charger.answered for charger in chargers) + called.failed
    doubled = sum(charger.strange for charger in chargers)
    reordered = 0
    for charger in chargers:
        numbers = kept[charger.identity]
        expected = list(range(3, charger.answered + 1))  # the first two are its boot and its start
        lost += len(set(expected) - set(numbers))
        doubled += len(numbers) - len(set(numbers)) + len(charger.calls) - len(set(charger.calls))
        reordered += sum(later < earlier for earlier, later in pairwise(numbers))
    return {
        "moved": after.counters["moved_in"],
        "disconnects": sum(charger.closed for charger in chargers),
        "lost": lost,
        "doubled": doubled,
        "reordered": reordered,
        "messages": sum(charger.answered for charger in chargers),
        "calls": called.count,
    }


async def _journalled(cpms: Cpms) -> dict[str, list[int]]:
    """The message ids of every charger's meter values, in the order of the journal; a page that is there twice counts once."""
    kept: dict[str, list[int]] = defaultdict(list)
    async for _, _, page in pages(cpms.client, 1, await last_seq(cpms.client)):
        for event in page.events:
            if isinstance(event.body, TransactionUpdated):
                kept[event.charger].append(int(event.message_id))
    return kept


def _text(figures: dict[str, Any]) -> str:
    faults = ("disconnects", "lost", "doubled", "reordered")
    pauses = ("pause_p50_ms", "pause_p99_ms", "pause_max_ms", "before_p99_ms")
    names = ("moved", *faults, *pauses, "seconds", "messages", "calls")
    clean = figures["moved"] == figures["chargers"] and not any(figures[name] for name in faults)
    met = "met" if clean and figures["pause_p99_ms"] <= PAUSE_MS_MAX else "missed"
    target = f"Target: all moved, nothing disconnected, lost, doubled or reordered, and a pause of at most {PAUSE_MS_MAX:g} ms: {met}."
    return f"{sentence(figures['conditions'])}\n\n{table(figures, names)}\n\n{target}\n"
