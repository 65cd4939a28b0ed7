"""What does a message cost the gateway, and what an idle charger?

One run measures, on the same machine and at the same time, our worker (`cpms worker`, as it is deployed) and two servers to compare it
with (servers.py). The measured server has a core to itself; load, brokers and this process share the others. All servers stay up
throughout, each with its own connections, and are measured in turns, round after round: what the machine does meanwhile hits all
of them. A figure is the median of its rounds.

    raw_echo                    picows, typed decode and answer in its callback: MeterValues               the floor, (a)
    raw_echo_heartbeat          the same for Heartbeat
    heartbeat                   our worker: actor, answered at once                                        (b)
    durable_meter_values        our worker: actor, a page of the journal durable before the answer         (c)
    durable_meter_values_fsync  the same, the broker with `sync_interval: always`                          (d)
    trio_websocket              as (c) on the reference engine                                             (e)
    mobilityhouse               the `ocpp` package with schema validation, nothing stored: MeterValues     (f)

MeterValues are 440 bytes of OCPP 1.6 and of a running transaction; 400 chargers each ask again as soon as they are answered. CPU time
is the process's own (processes.py) over exactly the messages that were answered meanwhile. (c), (d) and (e) are believed only if
the journal grew by at least as many events.

Memory: resident bytes of a fresh worker with 5,000 booted, silent chargers, less those before they connected, after a few seconds
of rest. A fifth as many connect before that and are not counted, so that neither what is allocated once nor what start-up left
free falsifies it. `kib_bare_connection` is the same of raw_echo.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from msgspec import Struct

from bench import load, servers
from bench.load import Action, Connect, Connected, Measured, Window, first
from bench.machine import describe
from bench.processes import Child, Cores, kept_to, rss_bytes, running, scratch, share_cores, until_stopped
from bench.question import Options, Outcome
from bench.report import Figure, Memory, Report, middle, ratios, targets, text
from bench.words import METER_VALUES_BYTES
from bench.workers import Cpms, worker
from cpms_actors.base.errors import OperatorError
from cpms_actors.node import broker

SECONDS: Final = 3.0
CHARGERS: Final = 400
IDLE: Final = 5000
WARM_S_MAX: Final = 1.0
REST_S_MAX: Final = 6.0  # longer than the worker's housekeeping
KIB: Final = 1024

_MEASURED: Final = msgspec.json.Decoder(Measured)
_CONNECTED: Final = msgspec.json.Decoder(Connected)


class Row(Struct, frozen=True):
    """One line of the table: which server is sent what."""

    key: str
    server: str
    action: Action
    durable: bool = False


ROWS: Final = (
    Row("raw_echo", "raw_echo", "MeterValues"),
    Row("raw_echo_heartbeat", "raw_echo", "Heartbeat"),
    Row("heartbeat", "worker", "Heartbeat"),
    Row("durable_meter_values", "worker", "MeterValues", durable=True),
    Row("durable_meter_values_fsync", "worker_fsync", "MeterValues", durable=True),
    Row("trio_websocket", "worker_trio", "MeterValues", durable=True),
    Row("mobilityhouse", "mobilityhouse", "MeterValues"),
)


class Server:
    """A server under test, the load that talks to it, and, if it is ours, the way to its journal."""

    def __init__(self, pid: int, talkers: Child, cpms: Cpms | None) -> None:
        self.pid = pid
        self._talkers = talkers
        self._cpms = cpms

    async def connect(self, count: int, *, charging: bool) -> None:
        """More chargers."""
        answer = await self._talkers.ask(msgspec.json.encode(Connect(count, charging)))
        _CONNECTED.decode(answer)

    async def measure(self, row: Row, seconds: float) -> Figure:
        """One window. Raises OperatorError when what should be durable is not in the journal."""
        before = await self._appended()
        window = Window(row.action, min(WARM_S_MAX, seconds / 2), seconds, self.pid)
        measured = _MEASURED.decode(await self._talkers.ask(msgspec.json.encode(window)))
        if not measured.messages:
            raise OperatorError("bench", f"{row.key}: no message was answered within {seconds:g} s; measure for longer")
        pages, events = (now - then for now, then in zip(await self._appended(), before, strict=True))
        if row.durable and events < measured.messages:
            raise OperatorError("bench", f"{row.key}: {measured.messages} messages were answered and {events} events appended")
        return Figure(
            cpu_us=measured.cpu_s / measured.messages * 1e6,
            msgs_per_s=measured.messages / measured.seconds,
            p50_ms=measured.p50_ms,
            p99_ms=measured.p99_ms,
            events_per_page=events / pages if row.durable and pages else None,
        )

    async def _appended(self) -> tuple[int, int]:
        return await self._cpms.appended() if self._cpms is not None else (0, 0)


class Hall:
    """Starts servers, each with its load, until the block ends."""

    def __init__(self, stack: AsyncExitStack, cores: Cores, folder: Path) -> None:
        self._stack = stack
        self._cores = cores
        self._folder = folder

    async def peer(self, name: str) -> Server:
        """A server of servers.py."""
        starting = running(name, "bench.servers", name, cores=[self._cores.server], ready=servers.READY)
        process, port = await self._stack.enter_async_context(starting)
        return await self._server(process.pid, f"ws://{servers.HOST}:{port}/ocpp", None)

    async def worker(self, name: str, chargers: int, **how: Any) -> Server:
        """Our worker on a broker of its own, which knows that many chargers; `how` goes to workers.worker."""
        cpms = await self._stack.enter_async_context(worker(self._folder / name, self._cores, chargers, **how))
        return await self._server(cpms.pid, cpms.url, cpms)

    async def _server(self, pid: int, url: str, cpms: Cpms | None) -> Server:
        starting = running("the load", "bench.load", url, cores=sorted(self._cores.others), ready=load.READY)
        talkers, _ = await self._stack.enter_async_context(starting)
        return Server(pid, talkers, cpms)


def run(options: Options) -> Outcome:
    """Measure it all. Raises OperatorError."""
    options = options.or_else(seconds=SECONDS, connections=CHARGERS, idle=IDLE)
    cores = share_cores()
    with scratch() as folder, kept_to(cores.others):
        report = uvloop.run(until_stopped(_report(options, cores, folder)))
    figures: dict[str, Any] = dict(report.figures)
    figures |= msgspec.to_builtins(report.memory)
    figures["ratios"] = ratios(report)
    figures["targets"] = targets(report)
    figures["conditions"] = report.conditions
    return Outcome(msgspec.to_builtins(figures), text(report))


async def _report(options: Options, cores: Cores, folder: Path) -> Report:
    conditions = describe(folder) | {
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "message_bytes": METER_VALUES_BYTES,
        "idle_chargers": options.idle,
    }
    async with _hall(cores, folder) as hall:
        figures = await _speed(options, hall)
    async with _hall(cores, folder) as hall:
        memory = await _memory(options, hall)
    return Report(figures, memory, conditions)


@asynccontextmanager
async def _hall(cores: Cores, folder: Path) -> AsyncIterator[Hall]:
    async with AsyncExitStack() as stack:
        yield Hall(stack, cores, folder)


async def _speed(options: Options, hall: Hall) -> dict[str, Figure]:
    count = options.connections
    options.say("starting a bare echo, mobilityhouse and three workers, each with its broker")
    under_test = {
        "raw_echo": await hall.peer("raw_echo"),
        "mobilityhouse": await hall.peer("mobilityhouse"),
        "worker": await hall.worker("worker", count),
        "worker_fsync": await hall.worker("worker_fsync", count, sync_interval=broker.SYNC_ALWAYS),
        "worker_trio": await hall.worker("worker_trio", count, engine="trio-websocket"),
    }
    for server in under_test.values():
        await server.connect(count, charging=True)
    rounds: dict[str, list[Figure]] = {row.key: [] for row in ROWS}
    for number in range(options.rounds):
        options.say(f"round {number + 1} of {options.rounds}")
        for row in ROWS:
            rounds[row.key].append(await under_test[row.server].measure(row, options.seconds))
    return {key: middle(figures) for key, figures in rounds.items()}


async def _memory(options: Options, hall: Hall) -> Memory:
    options.say(f"weighing {options.idle} idle chargers")
    rest_s = min(REST_S_MAX, 2 * options.seconds)
    bare = await _grown_kib(await hall.peer("raw_echo"), options.idle, rest_s)
    ours = await _grown_kib(await hall.worker("worker_idle", options.idle + first(options.idle)), options.idle, rest_s)
    return Memory(kib_per_idle_charger=ours, kib_bare_connection=bare)


async def _grown_kib(server: Server, count: int, rest_s: float) -> float:
    """How much the server grows per booted charger that then is silent."""
    await server.connect(first(count), charging=False)
    await asyncio.sleep(rest_s)
    before = rss_bytes(server.pid)
    await server.connect(count, charging=False)
    await asyncio.sleep(rest_s)
    return (rss_bytes(server.pid) - before) / count / KIB
