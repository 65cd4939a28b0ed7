"""A charger's WebSocket: wsproto over a plain blocking socket, so that it is gevent's wherever gevent has patched the library.

TLS, where it is wanted, is between the two and knows no socket either: who waits and who cuts is the same with and without it.

One greenlet reads and writes; `abort` may come from another, and makes the first fail with OSError.
"""

import socket
import ssl
import struct
from base64 import b64encode
from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

READ_BYTES: Final = 16_384
RECEIVE_BYTES: Final = 16_384  # as a charger has, not as a server: whoever does not read is found out soon
_IP_BIND_ADDRESS_NO_PORT: Final = 24  # of Linux; the library names it from 3.12 on
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # close resets the connection


class Refused(Exception):
    """The handshake was answered with another status than 101; `retry_after_s` is what a 503 asked for, in seconds."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"refused with HTTP {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class Broken(OSError):
    """The connection ended, or the peer talks something else."""


def trust(ca: str | None) -> ssl.SSLContext:
    """TLS of a charger that believes only who shows a certificate for its host, from an authority of this PEM; None: of the machine's.

    Raises ValueError for what is no PEM.
    """
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=ca)
    except ssl.SSLError as error:
        raise ValueError(f"no certificate in PEM: {error}") from error


class Wire:
    """One connection, from the first packet on."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._tls: _Tls | None = None
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._texts: list[str] = []
        self._part: list[str] = []

    def open(
        self,
        host: str,
        port: int,
        path: str,
        *,
        subprotocol: str,
        identity: str,
        password: str,
        timeout_s: float,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect, from an address of this machine if one is given, and shake hands; with TLS first, if it is given.

        Raises Refused, TimeoutError when nothing comes in time, other OSErrors for what a network does.
        """
        self._socket = socket.create_connection((host, port), timeout_s) if source is None else _dial(source, host, port, timeout_s)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._tls = _Tls(tls, host)
            self._tls.shake_hands(self._socket)
        credentials = b64encode(f"{identity}:{password}".encode())
        request = Request(
            host=f"{host}:{port}",
            target=path,
            subprotocols=[subprotocol],
            extra_headers=[(b"Authorization", b"Basic " + credentials)],
        )
        self._put(self._websocket.send(request))
        while True:
            self._feed(timeout_s)
            for event in self._websocket.events():
                if isinstance(event, RejectConnection):
                    raise Refused(event.status_code, _retry_after_s(event))
                if isinstance(event, AcceptConnection):
                    if event.subprotocol != subprotocol:
                        raise Broken(f"the server offers no {subprotocol}")
                    self._take_events()  # what came in the same packet
                    return

    def send(self, text: str) -> None:
        """Send a text message; raises OSError when the connection is gone."""
        self._put(self._websocket.send(Message(data=text)))

    def receive(self, timeout_s: float) -> str | None:
        """The next text message; None when none came in time. Raises OSError when the connection is gone."""
        if not self._texts:
            try:
                self._feed(timeout_s)
            except TimeoutError:
                return None
            self._take_events()
        return self._texts.pop(0) if self._texts else None

    def abort(self) -> None:
        """The network fails: a reset, without any farewell. Harmless when nothing is open."""
        taken, self._socket = self._socket, None
        if taken is not None:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            taken.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise Broken("the connection is cut")
        return self._socket

    def _put(self, data: bytes) -> None:
        connected = self._connected()
        connected.sendall(data if self._tls is None else self._tls.encrypt(data))

    def _feed(self, timeout_s: float) -> None:
        connected = self._connected()
        connected.settimeout(max(timeout_s, 0.001))  # 0 would mean: do not wait at all, and raise something else
        try:
            data = _received(connected)
        finally:
            connected.settimeout(None)  # sending waits as long as TCP makes it wait
        if self._tls is not None:
            data = self._tls.decrypt(data)
            if not data:
                return  # half a record, or what TLS says for itself: b"" would be the end to wsproto
        try:
            self._websocket.receive_data(data)
        except ProtocolError as error:
            raise Broken(f"the server broke the protocol: {error}") from error

    def _take_events(self) -> None:
        for event in self._websocket.events():
            if isinstance(event, TextMessage):
                self._part.append(event.data)
                if event.message_finished:
                    self._texts.append("".join(self._part))
                    self._part.clear()
            elif isinstance(event, Ping):
                self._put(self._websocket.send(event.response()))
            elif isinstance(event, CloseConnection):
                raise Broken(f"closed by the server: {event.code} {event.reason or ''}".rstrip())


class _Tls:
    """One TLS connection, from bytes to bytes. What arrived is decrypted at once: nothing waits where no socket tells of it."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)

    def shake_hands(self, connected: socket.socket) -> None:
        """With the timeout that the socket has; raises OSError, of which one is ssl.SSLCertVerificationError."""
        done = False
        while not done:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass  # that is what the loop is for
            connected.sendall(self._leaving.read())
            if not done:
                self._arrived.write(_received(connected))

    def encrypt(self, data: bytes) -> bytes:
        """What is to be sent for it; also what TLS itself had to say."""
        self._tls.write(data)
        return self._leaving.read()

    def decrypt(self, data: bytes) -> bytes:
        """What is in it, with what came before; may be nothing yet."""
        self._arrived.write(data)
        parts: list[bytes] = []
        try:
            while part := self._tls.read(READ_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass  # the rest is still to come
        return b"".join(parts)


def _received(connected: socket.socket) -> bytes:
    data = connected.recv(READ_BYTES)
    if not data:
        raise Broken("the server hung up")
    return data


def _dial(source: str, host: str, port: int, timeout_s: float) -> socket.socket:
    dialling = socket.socket()
    try:
        dialling.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)  # else a port is taken for all destinations at once
        dialling.bind((source, 0))
        dialling.settimeout(timeout_s)
        dialling.connect((host, port))
    except BaseException:
        dialling.close()
        raise
    return dialling


def _retry_after_s(event: RejectConnection) -> float | None:
    headers = {bytes(name).lower(): bytes(value) for name, value in event.headers}
    asked = headers.get(b"retry-after", b"").decode("latin-1")
    return float(asked) if event.status_code == 503 and asked.isdecimal() else None
