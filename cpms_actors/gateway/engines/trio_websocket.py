"""The reference engine: trio-websocket on trio, plain or as a guest. Slow, and independent of the default engine to the last byte.

    accept ──▶ handshake, with a deadline ──▶ door ──▶ Connection (trio_websocket_connection.py), all in one nursery per socket

What cannot be had from the library is in the table DIFFERENCES of tests/conformance/conftest.py.
"""

from typing import Literal

import trio
from trio_websocket import WebSocketRequest
from wsproto.extensions import Extension

from cpms_actors.gateway import deflate, engine, handshake
from cpms_actors.gateway.connections import Connections
from cpms_actors.gateway.engine import Admitted, Door, Head, Limits, Refused
from cpms_actors.gateway.engines.trio_websocket_connection import AgreedDeflate, Connection, Watch, WebSocket
from cpms_actors.gateway.gates import WINDOW_S, Charging, nobody
from cpms_actors.gateway.listening import endpoint, listen
from cpms_actors.observe.counters import Counters


class TrioWebsocketEngine:
    """engine.Engine on trio. `nursery` owns its tasks: cancel it and every connection is cut, and every receiver told.

    It knows no `routing.Routing`: a charger that a sibling owns is refused with 503 by the door, as long as the kernel sends it here.
    """

    loop: Literal["asyncio", "trio"] = "trio"

    def __init__(
        self,
        door: Door,
        limits: Limits,
        counters: Counters,
        host: str,
        port: int,
        nursery: trio.Nursery,
        charging: Charging = nobody,
    ) -> None:
        self.limits = limits
        self.connections: Connections[Connection] = Connections(door, limits, counters, charging=charging)
        self._address = (host, port)
        self._nursery = nursery
        self._openings: set[trio.CancelScope] = set()
        self._serving = trio.CancelScope()
        self._ticking = trio.CancelScope()
        self._probing = trio.CancelScope()

    @property
    def open_count(self) -> int:
        """See engine.Engine."""
        return len(self.connections)

    def boot_wait_s(self) -> float:
        """See engine.Engine."""
        return self.connections.gates.boot_wait_s()

    async def start(self) -> int:
        """See engine.Engine."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen(*self._address)))
        port = int(listener.socket.getsockname()[1])
        self._nursery.start_soon(self._tick)
        self._nursery.start_soon(self._probe)
        self._nursery.start_soon(self._listen, listener)
        return port

    async def stop(self, code: int = engine.GOING_AWAY, reason: str = "", deadline_s: float = 5.0) -> None:
        """See engine.Engine."""
        self._serving.cancel()
        for opening in tuple(self._openings):
            opening.cancel()
        for connection in self.connections:
            connection.close(code, reason)
        with trio.move_on_after(deadline_s) as closing:
            await self._emptied()
        if closing.cancelled_caught:
            for connection in self.connections:
                connection.drop()
            await self._emptied()
        self._ticking.cancel()
        self._probing.cancel()

    async def _listen(self, listener: trio.SocketListener) -> None:
        with self._serving:
            async with listener:
                await trio.serve_listeners(self._serve, [listener], handler_nursery=self._nursery)

    async def _tick(self) -> None:
        with self._ticking:
            while True:
                await trio.sleep(self.connections.rounds.tick_s)
                self.connections.turn()

    async def _probe(self) -> None:
        with self._probing:
            while True:
                self.connections.probe()
                await trio.sleep(WINDOW_S)

    async def _emptied(self) -> None:
        if len(self.connections):
            gone = trio.Event()
            self.connections.emptied = gone.set
            await gone.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One accepted socket from first to last byte."""
        try:
            if self.connections.arrive():
                await self._handshake(stream)
        except Exception:  # the boundary: one connection's fault must not reach the nursery of all
            self.connections.fault("connection")
        finally:
            await trio.aclose_forcefully(stream)

    async def _handshake(self, stream: trio.SocketStream) -> None:
        ws = WebSocket(stream, self.limits.message_bytes)
        request = None
        async with trio.open_nursery() as nursery:
            opening = trio.move_on_after(self.limits.handshake_s)
            nursery.start_soon(_read, ws, opening)
            self._openings.add(opening)
            try:
                with opening:
                    request = await ws.request()
            finally:
                self._openings.remove(opening)
                self.connections.depart(answered=request is not None)
            if request is not None:
                await self._answer(ws, request, stream, nursery)
            nursery.cancel_scope.cancel()

    async def _answer(self, ws: WebSocket, request: WebSocketRequest, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        fault = handshake.upgrade_fault({name.decode(): value.decode("latin-1") for name, value in request.headers})
        if fault is not None:
            answer: Admitted | Refused = self.connections.refuse(fault)
        else:
            answer = self.connections.answer(_head(ws, request, stream))
        if isinstance(answer, Refused):
            headers = (("Connection", "close"), ("Content-Type", "text/plain"), *answer.headers)
            await request.reject(
                answer.status,
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
                body=f"{answer.text}\n".encode(),
            )
            return
        connection = Connection(self.connections, ws, nursery.cancel_scope)
        extensions: list[Extension] = [Watch(self.limits.frame_bytes, connection.hear)]
        response: list[tuple[bytes, bytes]] = []
        codec = deflate.negotiate(ws.extensions_offered)
        if codec is not None:
            extensions.append(AgreedDeflate(codec.agreement))
            response.append((b"Sec-WebSocket-Extensions", codec.agreement.encode()))
        await ws.accept(answer.subprotocol, extensions, response)
        self.connections.opened(connection)
        try:
            await self._converse(connection, answer, nursery)
        finally:
            self._end(connection, answer)

    async def _converse(self, connection: Connection, answer: Admitted, nursery: trio.Nursery) -> None:
        nursery.start_soon(connection.write)
        if answer.subprotocol is None:
            connection.close(engine.PROTOCOL_ERROR, "no subprotocol in common")
        else:
            try:
                answer.receiver.on_open(connection)
            except Exception:  # the boundary, as for on_text
                self.connections.fault("on_open")
                connection.close(engine.INTERNAL_ERROR, "internal error")
            await connection.feed(answer.receiver)
        await trio.sleep_forever()  # the writer or the wheel ends it

    def _end(self, connection: Connection, answer: Admitted) -> None:
        code, reason = connection.ending
        connection.finish()
        self.connections.closed(connection, code)
        if answer.subprotocol is not None:
            try:
                answer.receiver.on_closed(code, reason)
            except Exception:  # the boundary, as above
                self.connections.fault("on_closed")


async def _read(ws: WebSocket, opening: trio.CancelScope) -> None:
    await ws.read()
    opening.cancel()  # nothing more will come; without effect once the handshake is over


def _head(ws: WebSocket, request: WebSocketRequest, stream: trio.SocketStream) -> Head:
    authorization = [value.decode("latin-1") for name, value in request.headers if name == b"authorization"]
    return Head(
        path=request.path.encode(),
        authorization=", ".join(authorization) if authorization else None,
        subprotocols=tuple(request.proposed_subprotocols),
        extensions=ws.extensions_offered or None,
        remote=endpoint(_peer_address(stream)),
    )


def _peer_address(stream: trio.SocketStream) -> object:
    try:
        return stream.socket.getpeername()
    except OSError:
        return None
