"""One WebSocket on picows: the least that a connection can cost.

No task, no timer, no buffer beyond picows's own: one slotted object that gets callbacks. What passes through here per message is one
flag, a handful of tests, one copy of the payload.

    on_ws_frame ──▶ a whole uncompressed text, nothing pending ──▶ Books.texts ──▶ receiver.on_text      every healthy message
               └──▶ _unusual: control frames, fragments, compression, violations

The texts of one round of the loop are heard together at its end: first the sockets are read, one after the other, then the actors
turn, one after the other. Each half finds its own code in the processor's caches, which makes a message about a tenth cheaper.
"""

import asyncio
import os
from codecs import getincrementaldecoder
from typing import Final

from multidict import CIMultiDict
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from cpms_actors.gateway import engine
from cpms_actors.gateway.connections import Connections
from cpms_actors.gateway.deflate import DEFLATE_BYTES_MIN, BadMessage, Deflate
from cpms_actors.gateway.endings import Endings
from cpms_actors.gateway.engine import Door, Limits, Receiver
from cpms_actors.gateway.gates import Charging
from cpms_actors.observe.counters import Counters

_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG
_CLOSE: Final = WSMsgType.CLOSE

# The state of a connection, an int because it is tested for every message. A table of what each may become:
_OPEN: Final = 0  # ─▶ any
_SLOW: Final = 1  # the write buffer is over its high water mark: not read from until it drains ─▶ any
_CLOSING: Final = 2  # our close frame is sent or theirs is answered; further frames are dropped ─▶ gone
_SILENT: Final = 3  # cut: nothing heard within the pong deadline
_FULL: Final = 4  # cut: the outbound buffer went over its limit
_MOVED: Final = 5  # another process has taken it up
_REASONS: Final = ("", "the peer does not read", "", "nothing heard within the pong deadline", "the outbound buffer is full")

_PROBE_HEAD: Final = b"\x8a\x90\0\0\0\0"  # a pong of 16 bytes, masked with zeros

NO_TEXT: Final = "a text message is UTF-8"
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()


class _Partial:
    """A fragmented message on its way in."""

    __slots__ = ("_utf8", "compressed", "payload")

    def __init__(self, compressed: bool) -> None:
        self.compressed = compressed
        self.payload = bytearray()
        self._utf8 = getincrementaldecoder("utf-8")()

    def add(self, fragment: bytes) -> bool:
        """Whether it can still become text: what is not UTF-8 so far will not be in the end (RFC 6455, 8.1)."""
        self.payload += fragment
        if not self.compressed:
            try:
                self._utf8.decode(fragment)
            except UnicodeDecodeError:
                return False
        return True


class Books(Connections["Connection"]):
    """The books of the engine, and the texts of this round: what the loop read in one go, a buffer per socket at most."""

    def __init__(self, door: Door, limits: Limits, counters: Counters, charging: Charging) -> None:
        super().__init__(door, limits, counters, charging=charging)
        self.texts: list[tuple[Connection, bytes]] = []
        self.endings = Endings(limits.connections, counters, self.fault)
        self.pong = b""  # the payload of a pong that `Connection.movable` gives its own parser

    def begin(self) -> None:
        """The first text of a round has come: they are heard at its end, or before anything else happens to one's connection."""
        asyncio.get_running_loop().call_soon(self.hear)

    def hear(self) -> None:
        """Let the receivers hear what has come so far, in order. Who has begun to close meanwhile drops what still arrives."""
        texts, self.texts = self.texts, []
        for connection, text in texts:
            if connection.state >= _CLOSING:
                continue
            connection.budget -= 1
            if not connection.budget:
                self.spent(connection)
            try:
                connection.receiver.on_text(text)  # type: ignore[union-attr]  # without a receiver it was never open
            except Exception:  # the boundary: one receiver's bug costs its own connection
                connection.fault("on_text")


class Connection(WSListener):
    """One open WebSocket. See engine.Connection and pings.Pinged for what is public."""

    __slots__ = (
        "_books", "_deflate", "_partial", "_transport", "budget", "heard", "paid_until", "receiver", "silent", "spoke", "state",
    )  # fmt: skip

    def __init__(self, books: Books, receiver: Receiver | None, codec: Deflate | None) -> None:
        self._books = books
        self.receiver = receiver  # None: no subprotocol in common, nobody to feed
        self._deflate = codec
        self._partial: _Partial | None = None
        self.state = _OPEN
        self._transport: WSTransport = None  # type: ignore[assignment]  # set before anything else is called
        self.heard = True
        self.silent = 0
        self.spoke = 0
        self.budget = books.limits.messages_per_s
        self.paid_until = 0.0

    # What the receiver calls

    def send(self, text: bytes) -> bool:
        """See engine.Connection."""
        if self.state and not self._has_room(len(text)):
            return False
        if self._deflate is not None and len(text) >= DEFLATE_BYTES_MIN:
            self._transport.send(_TEXT, self._deflate.compress(text), True, True)
        else:
            self._transport.send(_TEXT, text)
        return True

    def close(self, code: int, reason: str = "") -> None:
        """See engine.Connection."""
        if self.state >= _CLOSING:
            return
        self.state = _CLOSING
        self._partial = None
        self._books.let_go(self)
        self._transport.send_close(code, engine.close_reason(reason))  # type: ignore[arg-type]  # any int will do
        self._transport.underlying_transport.resume_reading()  # a slow peer's close frame is what we wait for now
        self._books.rounds.doom(self, self._books.limits.close_s)

    # What moves it to another process

    @property
    def agreement(self) -> str:
        """What was agreed of compression, as the header says it; "" for none."""
        return self._deflate.agreement if self._deflate is not None else ""

    def movable(self) -> bool:
        """Whether it can be taken up elsewhere at this moment: open, all of ours sent, between two frames and two messages.

        A parser that turns out to be within a frame, against all appearance, is lost with the question, and so is the connection.
        """
        self._books.hear()
        underlying = self._transport.underlying_transport
        if self.state or self._partial is not None or underlying.get_write_buffer_size():
            return False
        protocol = underlying.get_protocol()
        if not protocol.seems_between_frames():  # type: ignore[attr-defined]  # a _Socket of engines/picows.py
            return False
        self._books.pong = probe = os.urandom(16)
        protocol.feed(_PROBE_HEAD + probe)  # type: ignore[attr-defined]
        if self._books.pong:
            self._books.pong = b""
            self.close(engine.SERVICE_RESTART, "connect again")
            return False
        return True

    def descriptor(self) -> int:
        """See connections.Peer."""
        return int(self._transport.underlying_transport.get_extra_info("socket").fileno())

    def leave(self) -> None:
        """Somebody else has the socket: let go of it without a word. The receiver hears nothing of it."""
        self.state = _MOVED
        self._transport.disconnect(False)

    # What the gates call

    def hand_over(self, receiver: Receiver) -> None:
        """Feed this receiver from now on."""
        if self.receiver is not None:  # else the connection has gone
            self.receiver = receiver

    def hold(self) -> None:
        """See connections.Peer and engine.Movable."""
        if self.state == _OPEN and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.pause_reading()

    def release(self) -> None:
        """See connections.Peer."""
        if self.state == _OPEN and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()

    # What the wheel calls

    def ping(self) -> None:
        """See pings.Pinged."""
        if self.state < _CLOSING:
            self._transport.send_ping()

    def drop(self) -> None:
        """See pings.Pinged."""
        if self.state < _CLOSING:
            self.state = _SILENT
            self._books.dropped_silent.value += 1
        self._transport.disconnect(False)

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        _forget_head(transport)
        self._books.opened(self)
        receiver = self.receiver
        if receiver is None:
            self.close(engine.PROTOCOL_ERROR, "no subprotocol in common")
            return
        transport.underlying_transport.set_write_buffer_limits(high=max(1, self._books.limits.outbound_bytes // 4))
        try:
            receiver.on_open(self)
        except Exception:  # the boundary: one receiver's bug costs its own connection
            self.fault("on_open")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard = True
        if frame.tail_size:  # more has come with it
            transport.underlying_transport.get_protocol().sip(transport.underlying_transport)  # type: ignore[attr-defined]
        if (
            frame.msg_type is _TEXT
            and frame.fin
            and not (self.state or frame.rsv1 or frame.rsv2 or frame.rsv3 or transport.is_close_frame_sent)
            and self._partial is None
        ):
            text = frame.get_payload_as_bytes()
            if text.isascii() or _is_utf8(text):
                texts = self._books.texts
                if not texts:
                    self._books.begin()
                texts.append((self, text))
            else:
                self._books.hear()
                self.close(engine.INVALID_DATA, NO_TEXT)
        else:
            self._books.hear()
            self._unusual(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._books.hear()
        if self.state == _MOVED:
            self._books.moved(self)
            self.receiver = None
            return
        code, reason = _ending(transport, self.state)
        self.state = max(self.state, _CLOSING)
        self._books.closed(self, code)
        receiver, self.receiver, self._partial = self.receiver, None, None  # the receiver holds us: leave no cycle
        if receiver is not None:
            self._books.endings.add(receiver, code, reason)

    def pause_writing(self) -> None:
        if self.state == _OPEN:
            self.state = _SLOW
            self._transport.underlying_transport.pause_reading()
            self._books.rounds.doom(self, self._books.limits.pong_deadline_s)

    def resume_writing(self) -> None:
        if self.state == _SLOW:
            self.state = _OPEN
            self.heard = True  # it reads: that is life
            if not self._books.held(self):
                self._transport.underlying_transport.resume_reading()

    # The rest

    def _unusual(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self.state >= _CLOSING or transport.is_close_frame_sent:  # by picows, after a violation that its parser found
            self.heard = False  # the closing deadline stands, whatever else arrives
            if kind is _CLOSE:
                transport.disconnect()
        elif frame.rsv2 or frame.rsv3 or (frame.rsv1 and (self._deflate is None or kind not in (_TEXT, _BINARY))):
            self.close(engine.PROTOCOL_ERROR, "a reserved bit is set")
        elif kind is _PING:
            payload = frame.get_payload_as_bytes()
            if not self.state or self._has_room(len(payload)):
                transport.send_pong(payload)
        elif kind is _CLOSE:
            self._answer_close(transport, frame)
        elif kind is not _PONG:
            self._data(frame)
        elif self._books.pong and frame.get_payload_as_bytes() == self._books.pong:
            self._books.pong = b""  # found

    def _data(self, frame: WSFrame) -> None:
        kind, partial = frame.msg_type, self._partial
        if (kind is _CONTINUATION) is (partial is None):
            self.close(engine.PROTOCOL_ERROR, "nothing to continue" if partial is None else "the message before is unfinished")
            return
        if kind is _BINARY:
            self.close(engine.UNSUPPORTED_DATA, "OCPP-J is text")
            return
        if partial is None:
            partial = self._partial = _Partial(bool(frame.rsv1))
        # Empty fragments cost nothing, so their number needs no bound: one buffer, not a list of parts.
        if not partial.add(frame.get_payload_as_bytes()):
            self.close(engine.INVALID_DATA, NO_TEXT)
        elif len(partial.payload) > self._books.limits.message_bytes:
            self.close(engine.TOO_BIG, f"a message has at most {self._books.limits.message_bytes} bytes")
        elif frame.fin:
            self._partial = None
            self._finish(bytes(partial.payload), partial.compressed)

    def _finish(self, message: bytes, compressed: bool) -> None:
        if compressed and self._deflate is not None:
            try:
                message = self._deflate.inflate(message, self._books.limits.message_bytes)
            except BadMessage as bad:
                self.close(bad.code, str(bad))
                return
        if message.isascii() or _is_utf8(message):
            self._books.texts.append((self, message))
            self._books.hear()
        else:
            self.close(engine.INVALID_DATA, NO_TEXT)

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        """Echo the code and end the TCP connection, which is the server's to end (RFC 6455, 5.5.1 and 7.1.1)."""
        code = frame.get_close_code().value
        if frame.payload_size and (code < engine.NORMAL or code in (engine.NO_STATUS, engine.ABNORMAL) or code > 4999):
            code = engine.PROTOCOL_ERROR
        self.state = _CLOSING
        self._partial = None
        transport.send_close(code or engine.NORMAL)  # type: ignore[arg-type]  # as above
        transport.disconnect()
        self._books.rounds.doom(self, self._books.limits.close_s)  # if it does not read what waits for it

    def _has_room(self, size: int) -> bool:
        """Whether a connection that is not plainly open can take `size` bytes more; one that reads nothing and is full is cut."""
        if self.state >= _CLOSING:
            return False
        waiting = self._transport.underlying_transport.get_write_buffer_size()
        if waiting + size <= self._books.limits.outbound_bytes:
            return True
        self.state = _FULL
        self._books.dropped_slow.value += 1
        self._transport.disconnect(False)
        return False

    def fault(self, where: str) -> None:
        self._books.fault(where)
        self.close(engine.INTERNAL_ERROR, "internal error")


def _forget_head(transport: WSTransport) -> None:
    """Drop what the handshake left behind: it is only memory from now on."""
    transport.underlying_transport.get_protocol().settle()  # type: ignore[attr-defined]  # a _Socket of engines/picows.py
    request = transport.request
    request.headers, request.path, request.method, request.version = _NO_HEADERS, b"", b"", b""


def _ending(transport: WSTransport, state: int) -> tuple[int, str]:
    """Code and reason for `on_closed`, from what picows remembers of the closing handshake."""
    closing = transport.close_handshake
    if closing is None or state > _CLOSING:
        return engine.ABNORMAL, _REASONS[state]
    sent, received = closing.sent, closing.recv
    if received is not None and closing.recv_then_sent and not (sent and sent.code.value == engine.PROTOCOL_ERROR):
        return received.code.value or engine.NO_STATUS, received.reason or ""
    return (sent.code.value, sent.reason or "") if sent else (engine.ABNORMAL, "")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
