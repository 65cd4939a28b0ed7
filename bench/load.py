"""The load: OCPP 1.6 chargers in a closed loop, each asking again as soon as it is answered.

    python -m bench.load ws://127.0.0.1:9000/ocpp          orders on stdin, one JSON object a line; an answer to each on stdout

`Connect` opens WebSockets (picows on uvloop), boots the chargers and, if asked to, starts a transaction on each: what they measure from
then on belongs to it. `Admit` connects and boots many at once and measures that. `Window` lets all of them talk, waits until the server
is warm, and counts for some seconds: messages answered, and the CPU time of the server over exactly those. `Play` has each of them
live its day (day.py) for some seconds and until its last car has gone; `Charge` has them go through one short session after the other;
`Pace` sends MeterValues at a steady rate, whatever is answered. Every answer must be the CALLRESULT of its question; anything else ends
the load with a sentence, so that no figure is ever one of errors.
"""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Coroutine
from time import perf_counter, time
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
import uvloop
from msgspec import Struct
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.day import Day, Refused, day
from bench.processes import cpu_s, obey
from bench.table import quantile_ms
from bench.words import BOOT, HEARTBEAT, START, TOKEN, call, meter_values, source, stamp
from supervisors.limits import raise_files

T = TypeVar("T")
Action: TypeAlias = Literal["Heartbeat", "MeterValues"]

READY: Final = "load: ready"
TOGETHER_MAX: Final = 64  # handshakes under way
ANSWER_S_MAX: Final = 30.0
LAST_CARS_S_MAX: Final = 120.0  # a slow server takes its time with a whole day of every charger
FIRST_SHARE: Final = 5  # one in so many chargers more connects before the memory is read the first time
SAMPLE_EVERY: Final = 32  # answers per latency that is kept
TICK_S: Final = 0.005  # of a steady rate
SESSION_WH: Final = 1000
_HOLE: Final = "%s"  # for a moment, in a body that is made once


class Connect(Struct, frozen=True, tag="connect"):
    """Open `count` more connections, booted; with `charging` also in a transaction, with a password by HTTP Basic authentication.

    The first ever is called CP`begin`. `spread` over source addresses is what many need.
    """

    count: int
    charging: bool
    password: str = ""
    begin: int = 0
    spread: bool = False


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


class Pace(Struct, frozen=True, tag="pace"):
    """Send `per_s` MeterValues a second for `seconds`, spread over the chargers; the message id is the moment of sending (µs).

    Of `sample_every` latencies one is kept; when that is more often than usual, all that are kept are told.
    """

    per_s: float
    seconds: float
    sample_every: int = SAMPLE_EVERY


class Charge(Struct, frozen=True, tag="charge"):
    """Let every charger go through sessions for `seconds`, and finish the last: Authorize, start, `readings` MeterValues, stop."""

    seconds: float
    readings: int


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


class Paced(Struct, frozen=True):
    """The answer to Pace, once all is answered. `unsent`: how many had to be left out because every charger still waited."""

    messages: int
    unsent: int
    p50_ms: float
    p99_ms: float
    samples_s: list[float] = []


class Charged(Struct, frozen=True):
    """The answer to Charge. `energy_wh` is what the chargers have delivered; latencies are of single messages."""

    sessions: int
    messages: int
    energy_wh: int
    seconds: float
    p50_ms: float
    p99_ms: float


class Played(Struct, frozen=True):
    """The answer to Play, from the first question to the last answer. Latencies are those of the first `seconds`."""

    messages: int
    cars: int
    p50_ms: float
    p99_ms: float


_Order: TypeAlias = Connect | Admit | Window | Play | Pace | Charge
_ORDER: Final[msgspec.json.Decoder[_Order]] = msgspec.json.Decoder(_Order)


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
        asked_at, self._asked_at = self._asked_at, 0.0
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            waiting.set_result(answer)
            return
        fleet = self._fleet
        fleet.answered += 1
        if fleet.answered % fleet.sample_every == 0:
            fleet.latencies.append(perf_counter() - asked_at)
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

    @property
    def waits(self) -> bool:
        """Whether its last question has no answer yet."""
        return self._asked_at != 0.0

    def tell(self, id_: int, body: bytes) -> None:
        """Ask once; nobody waits for the answer but the fleet, which counts it."""
        self._expected = b'[3,"%d",' % id_
        self._asked_at = perf_counter()
        self._transport.send(WSMsgType.TEXT, b'[2,"%d"' % id_ + body)

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
        self.sample_every = SAMPLE_EVERY
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
        return await asyncio.gather(*(self._join(order.begin + number, order) for number in numbers))

    async def admit(self, order: Admit) -> Admitted:
        """Connect and boot. Raises LoadFailed."""
        first = len(self._chargers)
        waiting = iter(range(first, first + order.count))
        latencies: list[float] = []

        async def join_one_after_the_other() -> None:
            for number in waiting:
                began = perf_counter()
                self._chargers.append(await self._join(number, Connect(1, charging=False, password=order.password)))
                latencies.append(perf_counter() - began)

        async def join_all() -> None:
            await asyncio.gather(*(join_one_after_the_other() for _ in range(order.together)))

        cpu, began = cpu_s(order.pid), perf_counter()
        await self._unless_broken(join_all())
        elapsed, cpu = perf_counter() - began, cpu_s(order.pid) - cpu
        latencies.sort()
        return Admitted(elapsed, cpu, quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99))

    async def _join(self, number: int, order: Connect) -> _Charger:
        identity = f"CP{number}"
        headers = {"Sec-WebSocket-Protocol": "ocpp1.6"}
        if order.password:
            headers["Authorization"] = f"Basic {b64encode(f'{identity}:{order.password}'.encode()).decode()}"
        local = (source(number), 0) if order.spread else None
        try:
            _, charger = await ws_connect(lambda: _Charger(self), f"{self._url}/{identity}", extra_headers=headers, local_addr=local)
        except (OSError, WSError) as error:
            raise LoadFailed(f"no connection: {error}") from None
        assert isinstance(charger, _Charger)
        status = (await charger.question(call("BootNotification", BOOT)))["status"]
        if status != "Accepted":
            raise LoadFailed(f"BootNotification was answered {status}")
        if order.charging:
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
        return Measured(answered, elapsed, cpu, quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99))

    async def pace(self, order: Pace) -> Paced:
        """Raises LoadFailed."""
        self.latencies.clear()
        self.sample_every = order.sample_every
        bodies = [meter_values(charger.transaction, _HOLE) for charger in self._chargers]
        sent = unsent = turn = 0
        began = perf_counter()
        while (elapsed := perf_counter() - began) < order.seconds:
            moment = time()
            at, id_ = stamp(moment).encode(), int(moment * 1e6)
            for _ in range(int(order.per_s * elapsed) - sent - unsent):
                turn = (turn + 1) % len(bodies)
                charger = self._chargers[turn]
                if charger.waits:
                    unsent += 1
                    continue
                self._open += 1
                sent += 1
                charger.tell(id_, bodies[turn] % at)
            await self._unless_broken(asyncio.sleep(TICK_S))
        self._silent.clear()
        if self._open:
            await self._unless_broken(self._silent.wait())
        latencies = sorted(self.latencies)
        samples = latencies if order.sample_every < SAMPLE_EVERY else []
        return Paced(sent, unsent, quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99), samples)

    async def charge(self, order: Charge) -> Charged:
        """Raises LoadFailed."""
        latencies: list[float] = []
        sessions = 0
        began = perf_counter()

        async def ask(charger: _Charger, action: str, payload: object) -> Any:
            asked = perf_counter()
            answer = await charger.question(call(action, payload))
            latencies.append(perf_counter() - asked)
            return answer

        async def charge_on(charger: _Charger) -> None:
            nonlocal sessions
            register = 0
            while perf_counter() - began < order.seconds:
                await ask(charger, "Authorize", {"idTag": TOKEN})
                start = {"connectorId": 1, "idTag": TOKEN, "meterStart": register, "timestamp": stamp(time())}
                transaction = (await ask(charger, "StartTransaction", start))["transactionId"]
                body = meter_values(transaction, _HOLE)
                for _ in range(order.readings):
                    asked = perf_counter()
                    await charger.question(body % stamp(time()).encode())
                    latencies.append(perf_counter() - asked)
                register += SESSION_WH
                stop = {"transactionId": transaction, "idTag": TOKEN, "meterStop": register, "timestamp": stamp(time())}
                await ask(charger, "StopTransaction", stop)
                sessions += 1

        async def charge_all() -> None:
            await asyncio.gather(*map(charge_on, self._chargers))

        await self._unless_broken(charge_all(), order.seconds + ANSWER_S_MAX)
        elapsed = perf_counter() - began
        latencies.sort()
        return Charged(
            sessions, len(latencies), sessions * SESSION_WH, elapsed, quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99)
        )

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
        return Played(self.answered - answered, self._cars() - cars, quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99))

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


async def _main(url: str) -> None:
    raise_files()
    fleet = _Fleet(url)

    async def do(line: bytes) -> Struct:
        match _ORDER.decode(line):
            case Connect() as order:
                return await fleet.connect(order)
            case Admit() as order:
                return await fleet.admit(order)
            case Window() as order:
                return await fleet.measure(order)
            case Play() as order:
                return await fleet.play(order)
            case Pace() as order:
                return await fleet.pace(order)
            case Charge() as order:
                return await fleet.charge(order)

    await obey(READY, do)


if __name__ == "__main__":
    try:
        uvloop.run(_main(sys.argv[1]))
    except LoadFailed as failed:
        sys.exit(f"load: {failed}")
