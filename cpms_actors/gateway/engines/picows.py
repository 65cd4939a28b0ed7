"""The default engine: picows on the host loop (uvloop or asyncio).

    accept ──▶ _Socket ── request head ──▶ _Opening ──▶ PicowsEngine.answer ──▶ door ──▶ Connection (picows_connection.py)

The loop accepts or, when siblings share the port, `arrivals.py` does and hands over what is ours.

Traps of the library that these two files step around:

- It answers pings itself, so that they would never count as life, and without asking how much already waits for the peer: off.
- It keeps request and response as long as the connection: the request's headers are emptied, and the response is one shared object per
  answer, which works because picows sets its accept header, serialises it and is done with it in one go.
- It compares the Connection header with "upgrade" as a whole, although it is a list: normalised first.
- It logs four lines per connection, and what peers do wrong as errors: its logger is replaced.
- After a violation that its parser finds, it sends a close frame and goes on parsing, even the frame that was too big.
- A closing transport waits for its write buffer, for ever if the peer does not read: the wheel drops it.
- Its read buffer doubles whenever a read fills it, up to what the kernel holds, and never shrinks: after the first burst it is offered
  in small pieces, so that only a large frame makes it grow, to twice its size. `frame_bytes` is therefore also a bound on memory.
"""

import asyncio
import socket
from ctypes import addressof, c_char
from typing import Any, Final, Literal

from picows import WSAutoPingStrategy, WSUpgradeRequest, WSUpgradeResponse
from picows import WSUpgradeResponseWithListener as Answer
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # left out of its stub; picows.api builds servers with it

from cpms_actors.gateway import deflate, engine, handshake
from cpms_actors.gateway.accepting import reset
from cpms_actors.gateway.arrivals import Arrivals
from cpms_actors.gateway.deflate import Deflate
from cpms_actors.gateway.engine import Admitted, Door, Head, Limits, Movable, Receiver, Refused
from cpms_actors.gateway.engines.picows_connection import Books, Connection
from cpms_actors.gateway.engines.picows_log import LIBRARY_LOG
from cpms_actors.gateway.gates import WINDOW_S, Charging, nobody
from cpms_actors.gateway.listening import BACKLOG, endpoint, listen
from cpms_actors.gateway.routing import NODE_HEADER, Routing
from cpms_actors.observe.counters import Counters

READ_BUFFER_BYTES: Final = 2049  # one more than the least, see `seems_between_frames`; a request head and common frames fit
READ_BYTES_MAX: Final = 2048  # of one read: a burst takes several
_BUFFER_SIZES: Final = frozenset((READ_BUFFER_BYTES - 256) << doubled for doubled in range(24))  # that the library's buffer may have
_ALIGNMENT: Final = 16  # where malloc may begin

_HEAD_AGAIN: Final = (
    b"GET / HTTP/1.1\r\nHost: moved\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Opening:
    """One accepted socket until its request head is answered: what picows asks for a listener."""

    __slots__ = ("answered", "engine", "remote")

    def __init__(self, owner: "PicowsEngine") -> None:
        self.engine = owner
        self.remote = ""
        self.answered = False

    def __call__(self, request: WSUpgradeRequest) -> Answer:
        self.answered = True
        return self.engine.answer(request, self.remote)


class _Resumption(_Opening):
    """A socket whose handshake was another process's: it is gone through once more, with nobody at the other end."""

    __slots__ = ("answer",)

    def __init__(self, owner: "PicowsEngine", answer: Answer) -> None:
        super().__init__(owner)
        self.answer = answer

    def __call__(self, request: WSUpgradeRequest) -> Answer:
        self.answered = True
        return self.answer


class _Mute:
    """The transport of a resumed socket: it does not say the first thing it is told, the answer to the upgrade."""

    __slots__ = ("_said", "_transport", "get_write_buffer_size")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._said = False
        self.get_write_buffer_size = transport.get_write_buffer_size  # asked for every message

    def write(self, data: bytes) -> None:
        if self._said:
            self._transport.write(data)
        self._said = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Socket(WSProtocol):  # type: ignore[misc]  # Any, see the import
    """picows's protocol, which also counts handshakes that never finish."""

    __slots__ = ("_opening",)

    def __init__(self, owner: "PicowsEngine", opening: _Opening | None = None) -> None:
        opening = opening or _Opening(owner)
        self._opening: _Opening | None = opening
        limits = owner.limits
        # In order: host, path, client side, listener factory, logger, disconnect on exception, handshake timeout, automatic pings (off)
        # with three parameters, automatic pongs (off), frame size, extra headers, read buffer.
        super().__init__(
            None, None, False, opening, LIBRARY_LOG, True, limits.handshake_s, False, 20, 20,
            WSAutoPingStrategy.PING_WHEN_IDLE, False, limits.frame_bytes, None, READ_BUFFER_BYTES,
        )  # fmt: skip

    def connection_made(self, transport: asyncio.Transport) -> None:
        opening = self._opening
        resumed = isinstance(opening, _Resumption)
        super().connection_made(_Mute(transport) if resumed else transport)
        if opening is not None and opening.engine.arrived(self):
            opening.remote = endpoint(transport.get_extra_info("peername"))
            if resumed:
                self.feed(_HEAD_AGAIN)
        else:
            self._opening = None
            transport.abort()

    def sip(self, transport: asyncio.Transport) -> None:
        """A burst has come: from now on read in small pieces. The loop took this object's methods once and must take them again."""
        self.__class__ = _Sipping
        transport.set_protocol(self)

    def feed(self, data: bytes) -> None:
        """What did not come through the socket, as if it had."""
        WSProtocol.get_buffer(self, -1)[: len(data)] = data  # the library keeps more than 256 bytes free
        self.buffer_updated(len(data))

    def seems_between_frames(self) -> bool:
        """Whether the parser has nothing of a frame. It tells how much of its buffer is free, but not how large that is.

        If nothing is in it, then what is free is one of the sizes that it may have, and begins where malloc began. A buffer that has
        doubled with a part of a frame may have as much free; that begins elsewhere: its first size is odd, and a part that leaves one
        of the first four sizes no multiple of 16. Only what leaves 28 KiB or more is not told apart.
        """
        free = WSProtocol.get_buffer(self, -1)
        return len(free) in _BUFFER_SIZES and addressof(c_char.from_buffer(free)) % _ALIGNMENT == 0

    def connection_lost(self, exception: Exception | None) -> None:
        super().connection_lost(exception)
        self.settle()

    def settle(self) -> None:
        """The handshake is over; drop what it needed."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.engine.left(self, opening.answered)


class _Sipping(_Socket):
    """A socket whose peer sends in bursts: its buffer is offered in small pieces, so that no read can fill it.

    Only such sockets pay for it: a call of Python per read makes every message a twentieth dearer.
    """

    __slots__ = ()

    def get_buffer(self, size_hint: int) -> memoryview:
        view: memoryview = super().get_buffer(size_hint)
        return view if len(view) <= READ_BYTES_MAX else view[:READ_BYTES_MAX]

    def sip(self, transport: asyncio.Transport) -> None:
        """It does."""


class PicowsEngine:
    """engine.Engine on asyncio. Construct it anywhere, start and stop it on the loop.

    With a routing, connections of chargers that a sibling owns are passed on to it; without one the loop accepts by itself.
    """

    loop: Literal["asyncio", "trio"] = "asyncio"

    def __init__(
        self,
        door: Door,
        limits: Limits,
        counters: Counters,
        host: str,
        port: int,
        routing: Routing | None = None,
        charging: Charging = nobody,
    ) -> None:
        self.limits = limits
        self.connections = Books(door, limits, counters, charging)
        self._address = (host, port)
        self._told = {NODE_HEADER: routing.node} if routing is not None and routing.node else {}
        self._openings: set[_Socket] = set()
        self._responses: dict[tuple[str | None, Deflate | None], WSUpgradeResponse] = {}  # 4 subprotocols × 9 codecs at most
        self._server: asyncio.Server | None = None
        self._arrivals = Arrivals(routing, self.connections, counters, self._adopt) if routing is not None else None
        self._ticking: asyncio.TimerHandle | None = None
        self._probing: asyncio.TimerHandle | None = None

    @property
    def open_count(self) -> int:
        """See engine.Engine."""
        return len(self.connections) + len(self.connections.endings)

    def boot_wait_s(self) -> float:
        """See engine.Engine."""
        return self.connections.gates.boot_wait_s()

    async def start(self) -> int:
        """See engine.Engine."""
        loop = asyncio.get_running_loop()
        listening = listen(*self._address)
        port = int(listening.getsockname()[1])
        # The loop's own transports, not aiofastnet's: lighter by more than a KiB per connection and as fast.
        if self._arrivals is None:
            self._server = await loop.create_server(lambda: _Socket(self), sock=listening, backlog=BACKLOG)
        else:
            self._arrivals.start(listening)
        self._tick(loop)
        self._probe(loop)
        return port

    async def stop(self, code: int = engine.GOING_AWAY, reason: str = "", deadline_s: float = 5.0) -> None:
        """See engine.Engine."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._arrivals is not None:
            await self._arrivals.stop()
        for opening in tuple(self._openings):
            opening.transport.disconnect(False)
        for connection in self.connections:
            connection.close(code, reason)
        try:
            async with asyncio.timeout(deadline_s):
                await self._emptied()
        except TimeoutError:
            for connection in self.connections:
                connection.drop()
            await self._emptied()
        self.connections.endings.tell_all()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    def answer(self, request: WSUpgradeRequest, remote: str) -> Answer:
        """The HTTP answer to a request head and, if it is 101, the connection to be."""
        headers = request.headers
        refused = handshake.upgrade_fault(headers)
        if refused is not None:
            return _refusal(self.connections.refuse(refused))
        extensions = ",".join(headers.getall("sec-websocket-extensions", ()))
        answer = self.connections.answer(_head(request, extensions, remote))
        if isinstance(answer, Refused):
            return _refusal(answer)
        headers["connection"] = "upgrade"
        codec = deflate.negotiate(extensions)
        receiver = answer.receiver if answer.subprotocol is not None else None
        return Answer(self._response(answer, codec), Connection(self.connections, receiver, codec))

    def arrived(self, opening: _Socket) -> bool:
        """A socket was accepted. False: there are too many handshakes, reset it."""
        if opening not in self._openings:  # an adopted one was counted when it was accepted
            if not self.connections.arrive():
                return False
            self._openings.add(opening)
        return True

    def left(self, opening: _Socket, answered: bool) -> None:
        """A handshake that had arrived is over."""
        self._openings.remove(opening)
        self.connections.depart(answered=answered)

    def pass_on(self, address: str, connection: Movable, packet: bytes) -> bool:
        """See engine.Mover."""
        assert isinstance(connection, Connection)  # one of ours
        if self._arrivals is None or not self._arrivals.pass_on(address, connection.descriptor(), packet):
            return False
        connection.leave()
        return True

    def resume(self, moved: socket.socket, receiver: Receiver, subprotocol: str, agreement: str) -> None:
        """See engine.Mover."""
        connections = self.connections
        if self._arrivals is None or len(connections) >= connections.limits.connections or not connections.arrive():
            reset(moved)
            return
        codec = deflate.negotiate(agreement)
        answer = Answer(self._response(Admitted(receiver, subprotocol), codec), Connection(connections, receiver, codec))
        self._arrivals.keep(self._adopt(moved, _Resumption(self, answer)))

    async def _adopt(self, accepted: socket.socket, how: _Opening | None = None) -> None:
        """Begin the handshake of a socket that was accepted, and counted, by somebody else."""
        opening = _Socket(self, how)
        self._openings.add(opening)
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: opening, accepted)
        except Exception:  # the boundary: one bad socket must not reach the accept stage
            self.connections.fault("adopt")
            opening.settle()
            accepted.close()
            return
        if opening.transport is None:  # connection_made has raised, and the loop has logged it
            opening.settle()
            transport.set_protocol(asyncio.Protocol())  # the library's connection_lost reaches through null without a transport
            transport.abort()

    def _response(self, answer: Admitted, codec: Deflate | None) -> WSUpgradeResponse:
        response = self._responses.get((answer.subprotocol, codec))
        if response is None:
            headers = dict(self._told)
            if answer.subprotocol is not None:
                headers["Sec-WebSocket-Protocol"] = answer.subprotocol
            if codec is not None:
                headers["Sec-WebSocket-Extensions"] = codec.agreement
            response = WSUpgradeResponse.create_101_response(headers)
            self._responses[answer.subprotocol, codec] = response
        return response

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = loop.call_later(self.connections.rounds.tick_s, self._tick, loop)
        self.connections.turn()

    def _probe(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections.probe()
        self._probing = loop.call_later(WINDOW_S, self._probe, loop)

    async def _emptied(self) -> None:
        if len(self.connections):
            gone = asyncio.Event()
            self.connections.emptied = gone.set
            await gone.wait()


def _head(request: WSUpgradeRequest, extensions: str, remote: str) -> Head:
    headers = request.headers
    authorization = headers.getall("authorization", None)
    return Head(
        path=request.path,
        authorization=", ".join(authorization) if authorization else None,
        subprotocols=handshake.split_list(",".join(headers.getall("sec-websocket-protocol", ()))),
        extensions=extensions or None,
        remote=remote,
    )


def _refusal(refused: Refused) -> Answer:
    return Answer(WSUpgradeResponse.create_error_response(refused.status, f"{refused.text}\n".encode(), refused.headers), None)
