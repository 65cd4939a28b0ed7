"""A fast fleet: the simulator's own charge points over picows, thousands in a process.

    python -m bench.fleet ws://127.0.0.1:9000/ocpp          orders on stdin, one JSON object a line; an answer to each on stdout

It is for storms that Locust cannot raise on two cores, and drives the same virtual charge point with the same bad manners
(`loadtests.scenario.RUDE`): no back-off but for a Retry-After, a BootNotification on every connection. `Power` turns chargers on, `Cut`
resets all their connections in one moment; both answer when everybody is connected and accepted, or when the time is up.
"""

import asyncio
import gc
import socket
import struct
import sys
from base64 import b64encode
from collections import deque
from time import perf_counter, time
from typing import Final

import msgspec
import uvloop
from msgspec import Struct
from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from bench.processes import obey
from bench.words import source
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import SUBPROTOCOLS, Close, Connect, Output, Send
from loadtests.scenario import RUDE
from supervisors.limits import NICEST, give_way, raise_files

READY: Final = "fleet: ready"
LOOK_S: Final = 0.02
DIALS: Final = 40  # attempts that begin in one go: whoever is connected sends its request at once then, as 10,000 machines would
DIAL_S: Final = 0.005  # until the next
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class Power(Struct, frozen=True, tag="power"):
    """Turn `count` chargers on, the first of them CP`begin`; they connect with HTTP Basic authentication."""

    count: int
    begin: int
    password: str
    seconds: float


class Cut(Struct, frozen=True, tag="cut"):
    """Reset every connection; the network is back at once."""

    seconds: float


class Back(Struct, frozen=True):
    """The answer to both: who is connected and accepted, and how long that took for all of them.

    `refused` counts answers of 503. Of what the chargers waited for, handshakes and answers to CALLs, `timeouts` never came, and
    `slowest_s` is the longest wait that was ended.
    """

    admitted: int
    seconds: float
    refused: int
    timeouts: int
    slowest_s: float
    failures: list[str]


class _Charger(WSListener):
    """One charge point and its connection. What the network does is told to the machine, and what that wants is done."""

    def __init__(self, fleet: "_Fleet", order: Power, number: int) -> None:
        self._fleet = fleet
        self.point = ChargePoint(f"CP{number}", "1.6", (), RUDE)
        self._source = (source(number), 0)
        credentials = b64encode(f"{self.point.identity}:{order.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}", "Sec-WebSocket-Protocol": SUBPROTOCOLS["1.6"]}
        self._transport: WSTransport | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._asked_at = 0.0
        self._met = False  # whether the attempt that is under way came through
        self._admitted = False  # connected and accepted since the last cut

    def start(self) -> None:
        """Power on."""
        self._do(self.point.start(_now()))

    def cut(self) -> None:
        """The network fails."""
        self._count(False)
        if self._transport is not None:
            self._transport.disconnect(False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        connection: socket.socket = transport.underlying_transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport, self._met = transport, True
        self._do(self.point.connected(_now()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport, self._asked_at = None, 0.0
        self._do(self.point.disconnected(_now(), "the connection ended"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            text = frame.get_payload_as_bytes()
            if self._asked_at and text[:2] != b"[2":
                self._fleet.waited(self._asked_at)
                self._asked_at = 0.0
            self._do(self.point.received(text, _now()))
            self._count(self.point.online)

    def _count(self, admitted: bool) -> None:
        self._fleet.admitted += admitted - self._admitted
        self._admitted = admitted

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Send(text):
                    if self._transport is not None:
                        if text.startswith("[2"):
                            self._asked_at = perf_counter()
                        self._transport.send(WSMsgType.TEXT, text.encode())
                case Connect():
                    self._fleet.connect(self)
                case Close():
                    self.cut()  # it waits for the end of the connection
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        wakeup = self.point.next_wakeup
        if wakeup is not None:
            self._tick = asyncio.get_running_loop().call_later(max(0.0, (wakeup - _now()) / 1000), self._wake)

    def _wake(self) -> None:
        self._tick = None
        self._do(self.point.tick(_now()))

    async def connect(self, url: str) -> None:
        """One attempt."""
        began = perf_counter()
        self._met = False
        try:
            await ws_connect(
                lambda: self,
                f"{url}/{self.point.identity}",
                extra_headers=self._headers,
                websocket_handshake_timeout=RUDE.call_timeout_s,
                use_aiofastnet=False,  # its transports poll, and a poll of a socket that was reset has cost a whole storm (SIGABRT)
                local_addr=self._source,
            )
        except WSHandshakeError as error:
            response = error.response
            self._fleet.refused += response is not None
            self._fleet.timeouts += response is None
            retry = response.headers.get("Retry-After") if response is not None else None
            self._do(self.point.disconnected(_now(), str(error), float(retry) if retry else None))
        except (OSError, WSError) as error:
            self._do(self.point.disconnected(_now(), str(error)))
        else:
            self._fleet.waited(began)
            if not self._met:  # reset by the server in the middle, which the library takes for a success
                self._do(self.point.disconnected(_now(), "reset"))


class _Fleet:
    """All the chargers of this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._dialling: deque[_Charger] = deque()  # each of the chargers once at most
        self._next: asyncio.Handle | None = None
        self._chargers: list[_Charger] = []
        self._attempts: set[asyncio.Task[None]] = set()
        self._slowest_s = 0.0
        self.admitted = 0  # counted as it changes: to look at 10,000 chargers fifty times a second costs more than they do
        self.refused = 0
        self.timeouts = 0

    def connect(self, charger: _Charger) -> None:
        """Begin an attempt, in its turn."""
        self._dialling.append(charger)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._dial)

    def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(DIALS, len(self._dialling))):
            attempt = loop.create_task(self._dialling.popleft().connect(self._url))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
        self._next = loop.call_later(DIAL_S, self._dial) if self._dialling else None

    def waited(self, since: float) -> None:
        """Something that a charger waited for has come."""
        self._slowest_s = max(self._slowest_s, perf_counter() - since)

    async def power(self, order: Power) -> Back:
        """Turn some on."""
        new = [_Charger(self, order, order.begin + number) for number in range(order.count)]
        self._chargers += new
        for charger in new:
            charger.start()
        return await self._back(order.seconds)

    async def cut(self, order: Cut) -> Back:
        """Cut all off."""
        for charger in self._chargers:
            charger.cut()
        return await self._back(order.seconds)

    async def _back(self, seconds: float) -> Back:
        self.refused = self.timeouts = 0
        self._slowest_s = 0.0
        before = self._call_timeouts()
        began = perf_counter()
        while self.admitted < len(self._chargers):
            if perf_counter() - began > seconds:
                break
            await asyncio.sleep(LOOK_S)
        took_s = perf_counter() - began
        gc.collect()
        gc.freeze()  # they stay
        failures = [failure for charger in self._chargers for failure in charger.point.failures][:10]
        timeouts = self.timeouts + self._call_timeouts() - before
        return Back(self.admitted, took_s, self.refused, timeouts, self._slowest_s, failures)

    def _call_timeouts(self) -> int:
        return sum(charger.point.counts.timeouts for charger in self._chargers)


def _now() -> int:
    """Real ms."""
    return int(time() * 1000)


_ORDER: Final[msgspec.json.Decoder[Power | Cut]] = msgspec.json.Decoder(Power | Cut)


async def _main(url: str) -> None:
    raise_files()
    gc.disable()  # looking at 10,000 chargers again and again was half of what a storm cost here
    fleet = _Fleet(url)

    async def do(line: bytes) -> Struct:
        match _ORDER.decode(line):
            case Power() as power:
                return await fleet.power(power)
            case cut:
                return await fleet.cut(cut)

    await obey(READY, do)


if __name__ == "__main__":
    give_way(NICEST)  # a load as eager as thousands of machines must not take the cores of what it loads
    uvloop.run(_main(sys.argv[1]))
