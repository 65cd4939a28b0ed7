"""The load: OCPP 1.6 chargers in a closed loop, each asking again as soon as it is answered.

    python -m bench.load ws://127.0.0.1:9000/ocpp          orders on stdin, one JSON object a line; an answer to each on stdout

`Connect` opens WebSockets (picows on uvloop), boots the chargers and, if asked to, starts a transaction on each: what they measure from
then on belongs to it. `Admit` connects and boots many at once and measures that. `Window` lets all of them talk, waits until the server
is warm, and counts for some seconds: messages answered, and the CPU time of the server over exactly those. `Play` has each of them live
its day (day.py) for some seconds and until its last car has gone. Every answer must be the CALLRESULT of its question; anything else
ends the load with a sentence, so that no figure is ever one of errors.
"""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
import uvloop
from msgspec import Struct
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.day import Day, Refused, day
from bench.processes import LINE_BYTES_MAX, cpu_s
from bench.words import BOOT, HEARTBEAT, START, call, meter_values

T = TypeVar("T")
Action: TypeAlias = Literal["Heartbeat", "MeterValues"]

READY: Final = "load: ready"
TOGETHER_MAX: Final = 64  # handshakes under way
ANSWER_S_MAX: Final = 30.0
LAST_CARS_S_MAX: Final = 120.0  # a slow server takes its time with a whole day of every charger
FIRST_SHARE: Final = 5  # one in so many chargers more connects before the memory is read the first time
SAMPLE_EVERY: Final = 32  # answers per latency that is kept


class Connect(Struct, frozen=True, tag="connect"):
    """Open `count` more connections, booted; with `charging` also in a transaction, with a password by HTTP Basic authentication."""

    count: int
    charging: bool
    password: str = ""


class Admit(Struct, frozen=True, tag="admit"):
    """Connect and boot `count` chargers, `together` of them at any moment, with HTTP Basic authentication; `pid` is the server's."""

    count: int
    together: int
    password: str
    pid: int


class Window(Struct, frozen=True, tag="window"):
    """Let every charger send this action for `warm_s`, then measure for `seconds`; `pid` is the server's."""

    action: Action
    warm_s: float
    seconds: float
    pid: int


class Play(Struct, frozen=True, tag="play"):
    """Let every charger live its day: after `seconds` no more cars come, and those that are there charge to their end."""

    seconds: float


class Connected(Struct, frozen=True):
    """The answer to Connect: how many there are now."""

    connections: int


class Admitted(Struct, frozen=True):
    """The answer to Admit. Latencies are from dialling to the answer to BootNotification."""

    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float


class Measured(Struct, frozen=True):
    """The answer to Window. Latencies are what a charger of the full closed loop sees."""

    messages: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float


class Played(Struct, frozen=True):
    """The answer to Play, from the first question to the last answer. Latencies are those of the first `seconds`."""

    messages: int
    cars: int
    p50_ms: float
    p99_ms: float


_ORDER: Final[msgspec.json.Decoder[Connect | Admit | Window | Play]] = msgspec.json.Decoder(Connect | Admit | Window | Play)


class LoadFailed(Exception):
    """The server closed a connection, answered wrongly or not at all."""


class _Charger(WSListener):
    """One charger: has at most one question open."""

    __slots__ = ("_asked_at", "_body", "_day", "_expected", "_fleet", "_number", "_transport", "_waiting", "cars", "transaction")

    def __init__(self, fleet: "_Fleet") -> None:
        self._fleet = fleet
        self._number = 0
        self._asked_at = 0.0
        self._expected = b""
        self._body = HEARTBEAT
        self._waiting: asyncio.Future[bytes] | None = None
        self._day: Day | None = None
        self.cars = 0
        self.transaction = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._fleet.fail("the server closed a connection")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            return
        answer = frame.get_payload_as_bytes()
        if not answer.startswith(self._expected) and not _answers(answer, self._number):
            self._fleet.fail(f"expected {self._expected.decode()}…, got {answer[:200].decode(errors='replace')}")
            return
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            waiting.set_result(answer)
            return
        fleet = self._fleet
        fleet.answered += 1
        if fleet.answered % SAMPLE_EVERY == 0:
            fleet.latencies.append(perf_counter() - self._asked_at)
        if self._day is not None:
            self._live(self._day, answer)
        elif fleet.talking:
            self._ask()
        else:
            fleet.finished()

    def talk(self, action: Action) -> None:
        """Ask, and ask again whenever there is an answer, while the fleet talks."""
        self._body = HEARTBEAT if action == "Heartbeat" else meter_values(self.transaction)
        self._ask()

    def play(self) -> None:
        """Live its day, from the car that comes next, until the fleet falls silent and the last one has gone."""
        self._day = day(self.cars, lambda: self._fleet.talking)
        self._body = next(self._day)
        self._ask()

    def _live(self, day: Day, answer: bytes) -> None:
        try:
            self._body = day.send(answer)
        except StopIteration as end:
            self._day = None
            self.cars = end.value
            self._fleet.finished()
        except Refused as refused:
            self._fleet.fail(str(refused))
        else:
            self._ask()

    def _ask(self) -> None:
        number = self._number = self._number + 1
        self._expected = b'[3,"%d",' % number
        self._asked_at = perf_counter()
        self._transport.send(WSMsgType.TEXT, b'[2,"%d"' % number + self._body)

    async def question(self, body: bytes) -> Any:
        """Ask once and return the payload of the answer."""
        waiting = self._waiting = asyncio.get_running_loop().create_future()
        self._body = body
        self._ask()
        return msgspec.json.decode(await waiting)[2]


def first(count: int) -> int:
    """How many chargers connect before `count` others are weighed."""
    return -(-count // FIRST_SHARE)


def _answers(frame: bytes, number: int) -> bool:
    """Whether it is the CALLRESULT, however its JSON is written."""
    try:
        return bool(msgspec.json.decode(frame)[:2] == [3, str(number)])
    except (msgspec.DecodeError, TypeError):
        return False


class _Fleet:
    """All the chargers of this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._chargers: list[_Charger] = []
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._silent = asyncio.Event()
        self._open = 0
        self.talking = False
        self.answered = 0
        self.latencies: list[float] = []

    def fail(self, why: str) -> None:
        """There will be no figure."""
        if not self._broken.done():
            self._broken.set_exception(LoadFailed(why))

    def finished(self) -> None:
        """A charger has its last answer of the window."""
        self._open -= 1
        if not self._open:
            self._silent.set()

    async def connect(self, order: Connect) -> Connected:
        """Connect, some at a time. Raises LoadFailed."""
        for begin in range(0, order.count, TOGETHER_MAX):
            size = min(TOGETHER_MAX, order.count - begin)
            first = len(self._chargers)
            self._chargers += await self._unless_broken(self._join_some(range(first, first + size), order))
        return Connected(len(self._chargers))

    async def _join_some(self, numbers: range, order: Connect) -> list[_Charger]:
        return await asyncio.gather(*(self._join(number, order.charging, order.password) for number in numbers))

    async def admit(self, order: Admit) -> Admitted:
        """Connect and boot. Raises LoadFailed."""
        first = len(self._chargers)
        waiting = iter(range(first, first + order.count))
        latencies: list[float] = []

        async def join_one_after_the_other() -> None:
            for number in waiting:
                began = perf_counter()
                self._chargers.append(await self._join(number, charging=False, password=order.password))
                latencies.append(perf_counter() - began)

        async def join_all() -> None:
            await asyncio.gather(*(join_one_after_the_other() for _ in range(order.together)))

        cpu, began = cpu_s(order.pid), perf_counter()
        await self._unless_broken(join_all())
        elapsed, cpu = perf_counter() - began, cpu_s(order.pid) - cpu
        latencies.sort()
        return Admitted(elapsed, cpu, _quantile_ms(latencies, 0.5), _quantile_ms(latencies, 0.99))

    async def _join(self, number: int, charging: bool, password: str = "") -> _Charger:
        headers = {"Sec-WebSocket-Protocol": "ocpp1.6"}
        if password:
            headers["Authorization"] = f"Basic {b64encode(f'CP{number}:{password}'.encode()).decode()}"
        try:
            _, charger = await ws_connect(lambda: _Charger(self), f"{self._url}/CP{number}", extra_headers=headers)
        except (OSError, WSError) as error:
            raise LoadFailed(f"no connection: {error}") from None
        assert isinstance(charger, _Charger)
        status = (await charger.question(call("BootNotification", BOOT)))["status"]
        if status != "Accepted":
            raise LoadFailed(f"BootNotification was answered {status}")
        if charging:
            started = await charger.question(call("StartTransaction", START))
            if started["idTagInfo"]["status"] != "Accepted":
                raise LoadFailed(f"StartTransaction was answered {started}")
            charger.transaction = started["transactionId"]
        return charger

    async def measure(self, order: Window) -> Measured:
        """One window. Raises LoadFailed."""
        self._begin()
        for charger in self._chargers:
            charger.talk(order.action)
        await self._unless_broken(asyncio.sleep(order.warm_s), order.warm_s + ANSWER_S_MAX)
        self.latencies.clear()
        cpu, answered, began = cpu_s(order.pid), self.answered, perf_counter()
        await self._unless_broken(asyncio.sleep(order.seconds), order.seconds + ANSWER_S_MAX)
        cpu, answered, elapsed = cpu_s(order.pid) - cpu, self.answered - answered, perf_counter() - began
        self.talking = False
        latencies = sorted(self.latencies)
        await self._unless_broken(self._silent.wait())
        return Measured(answered, elapsed, cpu, _quantile_ms(latencies, 0.5), _quantile_ms(latencies, 0.99))

    async def play(self, order: Play) -> Played:
        """Days of all chargers. Raises LoadFailed."""
        self._begin()
        answered, cars = self.answered, self._cars()
        for charger in self._chargers:
            charger.play()
        await self._unless_broken(asyncio.sleep(order.seconds), order.seconds + ANSWER_S_MAX)
        self.talking = False
        latencies = sorted(self.latencies)
        await self._unless_broken(self._silent.wait(), LAST_CARS_S_MAX)
        return Played(self.answered - answered, self._cars() - cars, _quantile_ms(latencies, 0.5), _quantile_ms(latencies, 0.99))

    def _cars(self) -> int:
        return sum(charger.cars for charger in self._chargers)

    def _begin(self) -> None:
        self._silent.clear()
        self._open = len(self._chargers)
        self.latencies.clear()
        self.talking = True

    async def _unless_broken(self, work: Coroutine[Any, Any, T], seconds: float = ANSWER_S_MAX) -> T:
        """The result of the work, or LoadFailed as soon as the fleet is broken or the work takes far too long."""
        task = asyncio.create_task(work)
        await asyncio.wait((task, self._broken), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not self._broken.done():
            return task.result()
        task.cancel()
        await asyncio.wait((task,))
        if self._broken.done():
            self._broken.result()
        raise LoadFailed(f"the server leaves questions open for {seconds:g} s")


def _quantile_ms(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)] * 1000 if ordered else 0.0


async def _obey(url: str) -> None:
    orders = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    fleet = _Fleet(url)
    _say(READY.encode())
    while line := await orders.readline():
        order = _ORDER.decode(line)
        match order:
            case Connect():
                _say(msgspec.json.encode(await fleet.connect(order)))
            case Admit():
                _say(msgspec.json.encode(await fleet.admit(order)))
            case Play():
                _say(msgspec.json.encode(await fleet.play(order)))
            case Window():
                _say(msgspec.json.encode(await fleet.measure(order)))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        uvloop.run(_obey(sys.argv[1]))
    except LoadFailed as failed:
        sys.exit(f"load: {failed}")
