"""What does a charger's day cost our whole system, and servers of OCPP 1.6 that the registries give?

Every charger lives the same day against every server (day.py): it boots, reports its status, and lets one car after the other charge,
in a closed loop. A car that has come charges to its end, and all of it counts. Every system under test has the same core to itself,
however many processes it is made of; this process and the load share the others. All stay up throughout and are measured in turns.

    cpms            ours, as `cpms up` runs it: worker, three pools, nats-server and Postgres; everything is stored
    mobilityhouse   the Python package `ocpp` on `websockets`, every message validated (servers.py); nothing is stored
    ocpp-rpc        the npm package in strict mode, every message validated (ocpp_rpc/); nothing is stored

`--server "NAME=COMMAND … {port}"` adds another, which keeps to what adapters.py says.

    cpu_us               CPU time of all processes of the system per message, of those too that ended meanwhile
    msgs_per_s           messages by the time until the last was answered and, with ours, stored: a CDR per car, and what came after it
    cpu_us_parts         the same by process, of ours
    stored_after_ms      how long after the last answer all of it was stored, with ours
    p50_ms, p99_ms       from question to answer
    kib_per_connection   by how much the private memory of all its processes grows per booted, silent charger, as `gateway` weighs it:
                         of `--idle`

A figure is the median of its rounds. A CALLERROR, a refusal or a closed connection is no figure but the end of the measurement; so is
a row that is missing in our Postgres after a round. Our gates that bound a rate are open: the others have none.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec
import uvloop
from msgspec import Struct

from bench import adapters
from bench.adapters import PORT, Peer
from bench.day import MESSAGES, SAMPLES
from bench.load import Connect, Connected, Play, Played, first
from bench.machine import describe, sentence
from bench.processes import (
    Child,
    Cores,
    command,
    family_cpu_s,
    family_private_bytes,
    kept_to,
    scratch,
    share_cores,
    until_stopped,
)
from bench.question import Options, Outcome
from bench.report import Figure, middle
from bench.system import drivers, system
from bench.words import METER_VALUES_BYTES, PASSWORD
from cpms_actors.base.errors import OperatorError
from cpms_actors.node.data_dir import HOST, free_port

OURS: Final = "cpms"
CPMS: Final = "cpms_actors.cli.main"
EVERYTHING: Final = "everything"
SECONDS: Final = 3.0
WARM_S_MAX: Final = 1.0
REST_S_MAX: Final = 3.0
CHARGERS: Final = 400
IDLE: Final = 2000  # that a run over all servers stays below two minutes
STORED_S_MAX: Final = 60.0
LOOK_S: Final = 0.05
KIB: Final = 1024

_PLAYED: Final = msgspec.json.Decoder(Played)
_CONNECTED: Final = msgspec.json.Decoder(Connected)
_Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Ledger:
    """What our system has stored."""

    def __init__(self, postgres: _Postgres) -> None:
        self._postgres = postgres
        self._cars = 0

    async def stored(self, cars: int, chargers: int) -> None:
        """Wait until so many cars more have their CDR, and the last word of every charger is there. Raises OperatorError."""
        self._cars += cars
        last_words = "SELECT (SELECT count(*) FROM cdrs), (SELECT count(*) FROM connectors WHERE status = 'Finishing')"
        deadline = perf_counter() + STORED_S_MAX
        while (found := tuple(await self._row(last_words))) != (self._cars, chargers):
            if perf_counter() > deadline:
                text = f"{self._cars} cars of {chargers} chargers were answered, and {STORED_S_MAX:g} s later Postgres has {found}"
                raise OperatorError("bench", text)
            await asyncio.sleep(LOOK_S)

    async def check(self) -> None:
        """Everything is there, once. Raises OperatorError."""
        found = await self._row(
            "SELECT (SELECT count(*) FROM sessions WHERE status = 'Ended') AS ended, (SELECT count(*) FROM sessions) AS sessions, "
            "(SELECT count(*) FROM meter_values WHERE session_id IS NOT NULL) AS samples, "
            "(SELECT count(*) FROM parked_messages) AS parked"
        )
        expected = {"ended": self._cars, "sessions": self._cars, "samples": self._cars * SAMPLES, "parked": 0}
        if dict(found) != expected:
            raise OperatorError("bench", f"{expected} should be stored, and Postgres has {dict(found)}")

    async def _row(self, query: str) -> asyncpg.Record:
        row = await self._postgres.fetchrow(query)
        assert row is not None  # counts
        return row


class Round(Struct, frozen=True):
    """What one round found. `parts`: CPU µs per message by process, a child of the first one with all that is below it."""

    figure: Figure
    parts: Mapping[str, float]
    stored_after_ms: float


class System:
    """A system under test that runs."""

    def __init__(self, pid: int, url: str, about: str, stored: str, ledger: Ledger | None, cores: Cores) -> None:
        self.about = about
        self.stored = stored
        self._pid = pid
        self._url = url
        self._ledger = ledger
        self._cores = cores
        self._chargers = 0

    async def kib_per_connection(self, count: int, rest_s: float) -> float:
        """How much it grows per booted charger that then is silent."""
        async with self._load() as talkers:
            await _connect(talkers, first(count))
            await asyncio.sleep(rest_s)
            before = family_private_bytes(self._pid)
            await _connect(talkers, count)
            await asyncio.sleep(rest_s)
            return (family_private_bytes(self._pid) - before) / count / KIB

    @asynccontextmanager
    async def connected(self, count: int) -> AsyncIterator[None]:
        """So many chargers are connected while the block runs."""
        async with self._load() as self._talkers:
            await _connect(self._talkers, count)
            self._chargers = count
            yield

    async def play(self, seconds: float) -> Round:
        """Days of all chargers, until all that was answered is stored."""
        before, began = family_cpu_s(self._pid), perf_counter()
        played = _PLAYED.decode(await self._talkers.ask(msgspec.json.encode(Play(seconds))))
        answered = perf_counter()
        if self._ledger is not None:
            await self._ledger.stored(played.cars, self._chargers)
        stored, after = perf_counter(), family_cpu_s(self._pid)
        if self._ledger is not None:
            await self._ledger.check()
        figure = Figure(
            cpu_us=(sum(after.values()) - sum(before.values())) / played.messages * 1e6,
            msgs_per_s=played.messages / (stored - began),
            p50_ms=played.p50_ms,
            p99_ms=played.p99_ms,
        )
        parts = {_part(line): (used - before.get(line, 0.0)) / played.messages * 1e6 for line, used in after.items()}
        return Round(figure, parts, (stored - answered) * 1000)

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[Child]:
        async with drivers(self._url, cores=sorted(self._cores.others)) as (talkers,):
            yield talkers


def _part(line: str) -> str:
    """What a process is called for short: its program, or the command of `cpms` that it runs."""
    program, ours, words = line.partition(f" {CPMS} ")
    return words.partition(" --")[0] if ours else Path(program.split()[0]).name


async def _connect(talkers: Child, count: int) -> None:
    order = Connect(count, charging=False, password=PASSWORD)
    _CONNECTED.decode(await talkers.ask(msgspec.json.encode(order)))


def run(options: Options) -> Outcome:
    """Measure it all. Raises OperatorError."""
    options = options.or_else(seconds=SECONDS, connections=CHARGERS, idle=IDLE)
    added = [adapters.added(text) for text in options.servers]
    names = [OURS, *adapters.BUILT_IN, *(peer.name for peer in added)]
    if len(set(names)) != len(names):
        raise OperatorError("server", f"{', '.join(names)} must be different names; call the server of --server something else")
    cores = share_cores()
    with scratch() as folder, kept_to(cores.others):
        folder.chmod(0o711)  # Postgres, which may run as another user, walks through
        peers, left_out = adapters.built_in(folder, options.say)
        figures = uvloop.run(until_stopped(_figures(options, cores, folder, added + peers)))
        figures |= {"left_out": left_out}
    return Outcome(figures, _text(figures))


async def _figures(options: Options, cores: Cores, folder: Path, peers: Sequence[Peer]) -> dict[str, Any]:
    seconds = options.seconds
    idle = options.idle
    conditions = describe(folder) | {
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": seconds,
        "message_bytes": METER_VALUES_BYTES,
        "messages_per_car": MESSAGES,
        "idle_chargers": idle,
    }
    kib: dict[str, float] = {}
    rounds: dict[str, list[Round]] = {}
    async with AsyncExitStack() as stack:
        options.say(f"starting {', '.join((*(peer.name for peer in peers), OURS))}")
        systems = {peer.name: await stack.enter_async_context(_running_peer(peer, cores)) for peer in peers}
        chargers = max(options.connections, idle + first(idle))
        systems = {OURS: await stack.enter_async_context(_running_cpms(folder / "data", cores, chargers))} | systems
        for name, each in systems.items():
            options.say(f"weighing {idle} idle chargers of {name}")
            kib[name] = await each.kib_per_connection(idle, min(REST_S_MAX, 2 * seconds))
        for name, each in systems.items():
            options.say(f"warming {name}")
            await stack.enter_async_context(each.connected(options.connections))
            await each.play(min(WARM_S_MAX, seconds / 2))
            rounds[name] = []
        for number in range(options.rounds):
            options.say(f"round {number + 1} of {options.rounds}")
            for name, each in systems.items():
                rounds[name].append(await each.play(seconds))
    servers = {name: _server(each, rounds[name], kib[name]) for name, each in systems.items()}
    ratios = {name: server["cpu_us"] / servers[OURS]["cpu_us"] for name, server in servers.items()}
    return {"servers": servers, "ratios": ratios, "conditions": conditions}


def _server(system: System, rounds: Sequence[Round], kib: float) -> dict[str, Any]:
    figure: dict[str, Any] = msgspec.to_builtins(middle([each.figure for each in rounds]))
    figure |= {"about": system.about, "kib_per_connection": kib, "stored": system.stored}
    if system.stored == EVERYTHING:
        figure["stored_after_ms"] = median(each.stored_after_ms for each in rounds)
        figure["cpu_us_parts"] = {part: median(each.parts.get(part, 0.0) for each in rounds) for part in rounds[0].parts}
    return figure


@asynccontextmanager
async def _running_peer(peer: Peer, cores: Cores) -> AsyncIterator[System]:
    port = free_port()
    argv = [word.replace(PORT, str(port)) for word in peer.argv]
    async with command(peer.name, argv, cores=[cores.server]) as (child, line):
        unread = asyncio.create_task(_read_away(child))
        try:
            yield System(child.pid, f"ws://{HOST}:{port}/ocpp", peer.about or line, peer.stored, None, cores)
        finally:
            unread.cancel()
            await asyncio.wait((unread,))


async def _read_away(child: Child) -> None:
    """A server that talks a lot must not have to wait for a reader."""
    with suppress(OperatorError):  # it has ended: the load will see that
        while True:
            await child.line()


@asynccontextmanager
async def _running_cpms(data: Path, cores: Cores, chargers: int) -> AsyncIterator[System]:
    """Our system, which knows that many chargers and one token."""
    async with system(data, cores=[cores.server]) as ours:
        await ours.register(range(chargers))
        about = f"cpms-actors {version('cpms-actors')} as `cpms up` runs it"
        yield System(ours.pid, ours.url, about, EVERYTHING, Ledger(ours.database), cores)


def _text(figures: Mapping[str, Any]) -> str:
    c, servers = figures["conditions"], figures["servers"]
    lines = [
        sentence(c),
        f"{c['connections']} chargers in a closed loop, {c['messages_per_car']} messages per car, "
        f"{c['message_bytes']}-byte MeterValues, a core per system; medians of {c['rounds']} rounds of {c['seconds']:g} s; "
        f"{c['idle_chargers']:,} idle chargers.",
        "",
        "| | CPU µs / message | × ours | messages / s | p50 ms | p99 ms | KiB / connection | stored | rounds, CPU µs |",
        "|---|--:|--:|--:|--:|--:|--:|---|---|",
    ]
    for name, server in servers.items():
        rounds = " · ".join(f"{cpu_us:.1f}" for cpu_us in server["cpu_us_rounds"])
        lines.append(
            f"| {server['about']} | {server['cpu_us']:.1f} | {figures['ratios'][name]:.2f} | {server['msgs_per_s']:,.0f} "
            f"| {server['p50_ms']:.1f} | {server['p99_ms']:.1f} | {server['kib_per_connection']:.1f} | {server['stored']} | {rounds} |"
        )
    ours = servers[OURS]
    parts = sorted(ours["cpu_us_parts"].items(), key=itemgetter(1), reverse=True)
    lines += [
        "",
        f"Ours by process, CPU µs per message: {', '.join(f'{part} {cpu_us:.1f}' for part, cpu_us in parts)}. All was stored "
        f"{ours['stored_after_ms']:.0f} ms after the last answer.",
    ]
    lines += [f"{name} is left out: {why}." for name, why in figures["left_out"].items()]
    return "\n".join(lines) + "\n"
