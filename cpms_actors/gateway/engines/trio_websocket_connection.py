"""One WebSocket on trio-websocket: three tasks in one nursery, so that whatever ends one ends all.

    reader   trio-websocket's: bytes ─▶ wsproto ─▶ events ─▶ a channel of one message
    feeder   channel ─▶ receiver.on_text; waits while the outbound queue is long
    writer   outbound queue ─▶ wsproto ─▶ bytes; at last the closing handshake

`send` and `close` do not wait: they append to the queue and wake the writer. `WebSocket` corrects the library where it would not
behave like an engine; each override says what for.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason as FrameFault
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, RsvBits

from cpms_actors.gateway import engine
from cpms_actors.gateway.connections import Connections
from cpms_actors.gateway.engine import Receiver

RECEIVE_BYTES: Final = 4096  # also bounds what one read can inflate to: 4 MiB


class Watch(Extension):
    """Sees every frame's header, control frames included: a sign of life, and the place to bound frames. Negotiates nothing."""

    name = ""

    def __init__(self, frame_bytes: int, heard: Callable[[], None]) -> None:
        self._frame_bytes = frame_bytes
        self._heard = heard

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> FrameFault | RsvBits:
        self._heard()
        return FrameFault.MESSAGE_TOO_BIG if payload_length > self._frame_bytes else RsvBits(False, False, False)


class AgreedDeflate(PerMessageDeflate):
    """wsproto's compression, negotiated by us: its own reading of an offer raises on what peers may send."""

    name = ""

    def __init__(self, agreement: str) -> None:
        super().__init__()
        self.finalize(agreement)

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> FrameFault | RsvBits:
        # A control frame between two fragments: wsproto would forget that the message is compressed, here and below.
        compressed = self._inbound_compressed
        allowed = super().frame_inbound_header(proto, opcode, rsv, payload_length)
        if opcode.iscontrol():
            self._inbound_compressed = compressed
        return allowed

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | FrameFault | None:
        return super().frame_inbound_complete(proto, fin) if self._inbound_is_compressible else None


class WebSocket(WebSocketConnection):
    """trio-websocket's connection with the corrections that the conformance suite asks for."""

    def __init__(self, stream: trio.SocketStream, message_bytes: int) -> None:
        super().__init__(stream, WSConnection(ConnectionType.SERVER), max_message_size=message_bytes, receive_buffer_size=RECEIVE_BYTES)
        self.descriptor = stream.socket.fileno()

    async def request(self) -> WebSocketRequest:
        """The upgrade request; waits for ever when the reader ends without one."""
        return await self._get_request()

    @property
    def extensions_offered(self) -> str:
        """The peer's Sec-WebSocket-Extensions, which the library keeps to itself."""
        request = self._wsproto.handshake._initiating_request
        return ",".join(map(str, request.extensions)) if request is not None else ""

    async def accept(self, subprotocol: str | None, extensions: list[Extension], headers: list[tuple[bytes, bytes]]) -> None:
        """Complete the handshake: as `WebSocketRequest.accept`, which cannot pass extensions on."""
        self._subprotocol = subprotocol
        await self._send(AcceptConnection(subprotocol=subprotocol, extensions=extensions, extra_headers=headers))
        self._open_handshake.set()

    async def read(self) -> None:
        """The reader task. wsproto decodes some headers as ASCII and lets the error out: that is a bad request."""
        try:
            await self._reader_task()
        except UnicodeError:
            if self._wsproto.state is not ConnectionState.CONNECTING:
                raise
            await self._send(RejectConnection(status_code=400))

    async def ping_now(self) -> None:
        """Send a ping without a task that waits for its pong: any frame will do as an answer."""
        if self._wsproto.state is ConnectionState.OPEN:
            await self._send(Ping())

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        """Binary is refused where it is read, as the library refuses what is too long: the reader may be a message ahead."""
        if isinstance(event, TextMessage):
            await super()._handle_message_event(event)
            return
        self._close_reason = CloseReason(engine.UNSUPPORTED_DATA, "OCPP-J is text")
        await self._send(CloseConnection(code=engine.UNSUPPORTED_DATA, reason=self._close_reason.reason))
        await self._recv_channel.aclose()
        self._reader_running = False

    async def _handle_ping_event(self, event: Ping) -> None:
        """A ping while we are closing is no reason to fail: the library would raise."""
        if self._wsproto.state is ConnectionState.OPEN:
            await super()._handle_ping_event(event)

    async def _handle_close_connection_event(self, event: CloseConnection) -> None:
        """Two corrections before the library ends the connection.

        wsproto reports a violation as a close event while the state is open: the peer must be told. And when the peer's close frame
        crosses ours, ours may still be on its way out: whoever holds the lock is writing.
        """
        if self._wsproto.state is ConnectionState.OPEN:
            self._close_reason = CloseReason(event.code, event.reason)
            await self._send(CloseConnection(code=event.code, reason=event.reason))
        elif self._wsproto.state is ConnectionState.CLOSED:
            async with self._stream_lock:
                pass
        await super()._handle_close_connection_event(event)


class Connection:
    """One open WebSocket. See engine.Connection and pings.Pinged for what is public."""

    __slots__ = (
        "_books", "_code", "_drained", "_handshaking", "_outbound", "_reason", "_released", "_scope", "_waiting_bytes", "_wake", "_ws",
        "budget", "heard", "paid_until", "silent", "spoke",
    )  # fmt: skip

    def __init__(self, books: "Connections[Connection]", ws: WebSocket, scope: trio.CancelScope) -> None:
        self._books = books
        self._ws = ws
        self._scope = scope
        self._outbound: deque[bytes | None] = deque()  # None: a ping
        self._waiting_bytes = 0  # of what is queued or being written
        self._wake = trio.Event()
        self._drained = trio.Event()
        self._code: int | None = None  # ours, once we have decided to close or cut
        self._reason = ""
        self._handshaking = False  # our close frame is going out: the writer ends the connection, not the feeder
        self.heard = True
        self.silent = 0
        self.spoke = 0
        self.budget = books.limits.messages_per_s
        self.paid_until = 0.0
        self._released: trio.Event | None = None  # while it is held

    def hear(self) -> None:
        """A frame arrived; while closing it changes nothing."""
        self.heard = self._code is None

    def send(self, text: bytes) -> bool:
        """See engine.Connection."""
        if self._code is not None or self._ws.closed:
            return False
        if self._waiting_bytes + len(text) > self._books.limits.outbound_bytes:
            self._books.dropped_slow.value += 1
            self._cut("the outbound buffer is full")
            return False
        self._waiting_bytes += len(text)
        self._outbound.append(text)
        self._wake.set()
        return True

    def close(self, code: int, reason: str = "") -> None:
        """See engine.Connection."""
        if self._code is None and not self._ws.closed:
            self._code, self._reason = code, engine.close_reason(reason)
            self._wake.set()
            self._drained.set()
            self._books.let_go(self)
            self.release()
            self._books.rounds.doom(self, self._books.limits.close_s)

    def hold(self) -> None:
        """See connections.Peer."""
        if self._released is None:
            self._released = trio.Event()

    def descriptor(self) -> int:
        """See connections.Peer."""
        return self._ws.descriptor

    def release(self) -> None:
        """See connections.Peer."""
        released, self._released = self._released, None
        if released is not None:
            released.set()

    def ping(self) -> None:
        """See pings.Pinged."""
        self._outbound.append(None)
        self._wake.set()

    def drop(self) -> None:
        """See pings.Pinged."""
        if self._code is None:
            self._books.dropped_silent.value += 1
            self._cut("nothing heard within the pong deadline")
        self._scope.cancel()

    @property
    def ending(self) -> tuple[int, str]:
        """Code and reason for `on_closed`."""
        return (engine.ABNORMAL, "") if self._code is None else (self._code, self._reason)

    def finish(self) -> None:
        """The connection is gone: nothing can be sent from now on."""
        self._code, _ = self.ending

    async def feed(self, receiver: Receiver) -> None:
        """Hand messages to the receiver until the connection is closed."""
        try:
            while True:
                await self._room_to_answer()
                if self._released is not None:
                    await self._released.wait()
                message = await self._ws.get_message()
                if self._code is None:
                    self._deliver(message, receiver)
        except ConnectionClosed as closed:
            if self._code is None and closed.reason is not None:  # the peer's doing, or the library's for what the peer sent
                self._code, self._reason = int(closed.reason.code), closed.reason.reason or ""
        if not self._handshaking:
            self._scope.cancel()

    async def write(self) -> None:
        """The writer task: what is queued, then the closing handshake, which ends the connection."""
        try:
            while self._code is None or self._outbound:
                await self._wake.wait()
                self._wake = trio.Event()
                await self._write_queued()
        except ConnectionClosed:
            self._drained.set()  # let the feeder hear the same; it says why
            return
        if not self._ws.closed:  # else the peer's close came first, and its answer is on the way
            self._handshaking = True
            await self._ws.aclose(self._code, self._reason)
            self._scope.cancel()

    async def _write_queued(self) -> None:
        while self._outbound:
            text = self._outbound.popleft()
            if text is None:
                await self._ws.ping_now()
                continue
            await self._ws.send_message(text.decode())
            self._waiting_bytes -= len(text)
            if self._waiting_bytes <= self._books.limits.outbound_bytes // 4:
                self._drained.set()

    async def _room_to_answer(self) -> None:
        """A peer that does not read is not read from."""
        if self._waiting_bytes > self._books.limits.outbound_bytes // 4 and self._code is None:
            self._drained = trio.Event()
            self._books.rounds.doom(self, self._books.limits.pong_deadline_s)
            await self._drained.wait()
            self.hear()

    def _deliver(self, message: str | bytes, receiver: Receiver) -> None:
        text = message.encode() if isinstance(message, str) else message
        if len(text) > self._books.limits.message_bytes:  # the library has counted characters
            self.close(engine.TOO_BIG, f"a message has at most {self._books.limits.message_bytes} bytes")
            return
        self.budget -= 1
        if not self.budget:
            self._books.spent(self)
        try:
            receiver.on_text(text)
        except Exception:  # the boundary: one receiver's bug costs its own connection
            self._books.fault("on_text")
            self.close(engine.INTERNAL_ERROR, "internal error")

    def _cut(self, reason: str) -> None:
        self._code, self._reason = engine.ABNORMAL, reason
        self._scope.cancel()
