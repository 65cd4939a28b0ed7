"""One suite for every engine: a server in a thread, a raw client that may misbehave, and a bystander who must not notice.

`server` is each engine in turn, behind the real rules of the handshake; its receivers echo, and do what a few words tell them to.
`serve` starts another one with limits of its own. While a module's tests attack `server`, a well-behaved charger (the `websockets`
library, an implementation that neither engine shares) talks to it in the background; every test ends by asking whether it still does.

Where an engine's library cannot give what the suite asks for, DIFFERENCES says so and why.
"""

import asyncio
import base64
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import msgspec
import pytest
import trio
import uvloop
from websockets.sync.client import ClientConnection, connect

from cpms_actors.base.settings import Gateway
from cpms_actors.domain.access import ChargerRecord, Tenant, credential_digest
from cpms_actors.gateway.engine import Connection, Engine, Limits
from cpms_actors.gateway.engines.choice import engine_of
from cpms_actors.gateway.engines.picows import PicowsEngine
from cpms_actors.gateway.engines.trio_websocket import TrioWebsocketEngine
from cpms_actors.gateway.handshake import Admission, Lookups, door
from cpms_actors.observe.counters import Counters

ENGINES = ("picows", "trio-websocket")
SERVED = (*ENGINES, "picows routed")  # the last looks at every request line before the engine reads it, as with siblings on its port

DIFFERENCES = {
    ("picows", "head of 40 KiB"): "picows cuts the connection without an answer; h11 answers 400",
    ("trio-websocket", "a bare line feed"): "h11 takes it for the end of a line, and upgrades",
    ("trio-websocket", "frames before the upgrade"): "wsproto drops them; RFC 6455, 4.1 forbids a client to send them",
    ("trio-websocket", "HTTP/1.0"): "wsproto does not look at the version of HTTP, and upgrades",
    ("trio-websocket", "request with a body"): "wsproto ignores a body, and upgrades",
}

LIMITS = Limits(
    frame_bytes=4096,
    message_bytes=8192,
    outbound_bytes=65_536,
    connections=64,
    handshake_s=0.5,
    ping_interval_s=30.0,
    pong_deadline_s=4.0,
    openings=32,
    close_s=0.3,
)
KEY = b"conformance"
PASSWORD = "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF"  # the white paper's example
TIMEOUT_S = 5.0

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


class Echo:
    """A receiver that sends texts back and keeps a diary. "raise", "close 4001" and "flood" are done instead."""

    def __init__(self, diary: "Diary", identity: str) -> None:
        self.diary = diary
        self.identity = identity

    def on_open(self, connection: Connection) -> None:
        self.connection = connection
        self.diary.write(self.identity, "open", None)

    def on_text(self, text: bytes) -> None:
        assert isinstance(text, bytes)
        self.diary.write(self.identity, "text", text)
        if text == b"raise":
            raise RuntimeError("as told")
        if text.startswith(b"close "):
            self.connection.close(int(text[6:]), "as told")
        elif text == b"flood":
            sent = sum(self.connection.send(b"x" * 4000) for _ in range(5000))
            self.diary.write(self.identity, "flooded", sent)
        else:
            self.connection.send(text)

    def on_closed(self, code: int, reason: str) -> None:
        self.diary.write(self.identity, "closed", (code, reason))
        self.diary.write(self.identity, "sent after closing", self.connection.send(b"late"))


class Diary:
    """What receivers heard, in order; written by the engine's thread, read by the test's."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str, Any]] = []
        self._changed = threading.Condition()

    def write(self, identity: str, what: str, about: Any) -> None:
        with self._changed:
            self._entries.append((identity, what, about))
            self._changed.notify_all()

    def of(self, identity: str, what: str) -> list[Any]:
        """What was written about an identity under a word."""
        with self._changed:
            return [about for who, word, about in self._entries if (who, word) == (identity, what)]

    def wait(self, identity: str, what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The first entry of that word; waits for it."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(entry[:2] == (identity, what) for entry in self._entries), timeout_s), what
        return self.of(identity, what)[0]


def known_tenant(name: str) -> Tenant | None:
    return {"default": Tenant("default"), "open": Tenant("open", profile0=True)}.get(name)


def known_charger(tenant: str, identity: str) -> ChargerRecord | None:
    """Every CP… exists with the same password; a few others have their story in their name."""
    record = ChargerRecord(tenant, identity, credential=credential_digest(KEY, PASSWORD))
    if identity.startswith("CP"):
        return record
    changes: dict[str, dict[str, Any]] = {
        "DISABLED": {"enabled": False},
        "PROFILE0": {"security_profile": 0, "credential": None},
        "PROFILE2": {"security_profile": 2},
        "PROFILE3": {"security_profile": 3},
        "KEYLESS": {"credential": None},
    }
    return msgspec.structs.replace(record, **changes[identity]) if identity in changes else None


class Ours:
    """A routing by which every charger is ours, as far as siblings are concerned."""

    def __init__(self, folder: str) -> None:
        self.node = ""
        self.address = f"@{os.getpid()}-{Path(folder).name}"
        self.inner = None

    def heirs(self) -> list[str]:
        return []

    def alone(self) -> bool:
        return False

    def whose(self, path: bytes) -> str:
        return ""

    def moved(self, packet: bytes, passed: socket.socket) -> None:
        raise AssertionError("nobody passes an open connection here")


class Server:
    """An engine on its own loop in a thread."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, _, routed = name.partition(" ")
        self.routed = bool(routed)
        self.diary = Diary()
        self.counters = Counters()
        self.stopped_in_s = 0.0
        self._folder = TemporaryDirectory(prefix="cpms-")
        self._limits = limits
        self._door = door(Lookups(known_tenant, known_charger, KEY), self._receiver)
        self._started = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._numbers = iter(range(1, 100_000))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop()
        self._thread.join(2 * TIMEOUT_S)
        assert not self._thread.is_alive()
        self._folder.cleanup()

    def identity(self) -> str:
        """A charger that nobody else has been."""
        return f"CP-N{next(self._numbers)}"

    def dial(self, head: bytes | None = None, **options: Any) -> "Wire":
        """A TCP connection; with a head, or with the parts of one, it has been sent."""
        wire = Wire(self.port)
        if head is not None:
            wire.send(head)
        elif options:
            wire.send(request(**options))
        return wire

    def open(self, identity: str, **options: Any) -> "Wire":
        """A raw WebSocket connection of a charger, upgraded."""
        wire = self.dial(path=f"/ocpp/{identity}", **{"user": identity, **options})
        assert wire.response().status == 101
        return wire

    def client(self, identity: str, **options: Any) -> ClientConnection:
        """A connection by the `websockets` library."""
        headers = {"Authorization": basic(identity)}
        url = f"ws://127.0.0.1:{self.port}/ocpp/{identity}"
        client: ClientConnection = connect(
            url, **{"legacy": True, "subprotocols": ["ocpp1.6"], "additional_headers": headers, "proxy": None, **options}
        )
        return client

    def count(self, name: str) -> int:
        """A counter's value."""
        return self.counters.snapshot()[name]

    def wait_for(self, name: str, counted: Callable[[int], object] = bool) -> None:
        """Until a counter has counted something, or so much."""
        deadline = time.monotonic() + TIMEOUT_S
        while not counted(self.count(name)):
            assert time.monotonic() < deadline, name
            time.sleep(0.005)  # the server counts in a thread of its own, and tells nobody

    def differs(self, case: str) -> bool:
        """Whether this engine is known to differ in a case."""
        return (self.name, case) in DIFFERENCES

    def _receiver(self, admission: Admission) -> Echo:
        return Echo(self.diary, admission.identity)

    def _run(self) -> None:
        if self.name == "picows":
            uvloop.run(self._on_asyncio())
        else:
            trio.run(self._on_trio)

    def _engine(self, nursery: Any) -> Engine:
        # The product's own choice, with this suite's limits.
        engine = engine_of(Gateway(engine=self.name, port=0), self._door, self.counters, nursery)  # type: ignore[arg-type]
        if isinstance(engine, PicowsEngine):
            routing = Ours(self._folder.name) if self.routed else None
            return PicowsEngine(self._door, self._limits, self.counters, "127.0.0.1", 0, routing)
        return TrioWebsocketEngine(self._door, self._limits, self.counters, "127.0.0.1", 0, nursery)

    async def _on_asyncio(self) -> None:
        engine, loop, done = self._engine(None), asyncio.get_running_loop(), asyncio.Event()
        self.port = await engine.start()
        self._stop = partial(_call_soon, loop, done.set)
        self._started.set()
        await done.wait()
        began = time.monotonic()
        await engine.stop(reason="as told", deadline_s=1.0)
        self.stopped_in_s = time.monotonic() - began
        assert engine.open_count == 0

    async def _on_trio(self) -> None:
        async with trio.open_nursery() as nursery:
            engine, token, done = self._engine(nursery), trio.lowlevel.current_trio_token(), trio.Event()
            self.port = await engine.start()
            self._stop = lambda: token.run_sync_soon(done.set)
            self._started.set()
            await done.wait()
            began = time.monotonic()
            await engine.stop(reason="as told", deadline_s=1.0)
            self.stopped_in_s = time.monotonic() - began
            assert engine.open_count == 0
            # No cancel: the nursery ends by itself when the engine has left nothing behind.


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(call)


def basic(user: str, password: str | bytes = PASSWORD) -> str:
    """The value of an Authorization header."""
    raw = password if isinstance(password, bytes) else password.encode()
    return "Basic " + base64.b64encode(user.encode() + b":" + raw).decode()


def request(
    path: str | bytes = "/ocpp/CP-1",
    *,
    user: str | None = None,
    authorization: str | None = None,
    subprotocols: str | None = "ocpp1.6",
    extensions: str | None = None,
    line: bytes | None = None,
    **changes: str | None,
) -> bytes:
    """The head of an upgrade request. `changes` replace headers by name, with _ for -; None leaves one out."""
    headers: dict[str, str | None] = {
        "host": "localhost",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": subprotocols,
        "sec-websocket-extensions": extensions,
        "authorization": authorization or (basic(user) if user else None),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    target = path if isinstance(path, bytes) else path.encode()
    lines = [line or b"GET %b HTTP/1.1" % target]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items() if value is not None]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True, length: int | None = None) -> bytes:
    """One frame as a client sends it; `rsv` is three bits, `length` a length that is a lie."""
    size = len(payload) if length is None else length
    marks = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([marks | size])
    elif size < 65536:
        head += bytes([marks | 126]) + struct.pack("!H", size)
    else:
        head += bytes([marks | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = b"\x37\xfa\x21\x3d"
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def closing(code: int | None = None, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class Response(msgspec.Struct):
    """The head and body of an HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A TCP connection that says what it is told to and reads frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._buffer = b""
        self.refused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        """Write; that the server has gone meanwhile is no error here."""
        try:
            self.socket.sendall(b"".join(data))
        except (ConnectionResetError, BrokenPipeError):
            self.refused = True

    def response(self) -> Response:
        """The answer to the upgrade request. A status of 0: the connection ended without one."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return Response(0, {}, self._buffer)
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        size = int(headers.get("content-length", "0"))
        return Response(int(first.split()[1]), headers, self._take(size) or b"")

    def frame(self) -> tuple[int, bytes, int] | None:
        """Opcode, payload and reserved bits of the next frame; None when the connection has ended."""
        head = self._take(2)
        if head is None:
            return None
        assert head[0] & 0x80, "neither engine fragments"
        size = head[1]
        assert size < 128, "a server does not mask"
        if size >= 126:
            more = self._take(2 if size == 126 else 8)
            assert more is not None
            size = int.from_bytes(more, "big")
        payload = self._take(size)
        return None if payload is None else (head[0] & 15, payload, head[0] >> 4 & 7)

    def text(self) -> bytes:
        """The next frame's payload, which must be a plain text."""
        found = self.frame()
        assert found is not None, "the connection has ended"
        opcode, payload, reserved = found
        assert (opcode, reserved) == (TEXT, 0), found
        return payload

    def ends(self) -> tuple[list[bytes], int]:
        """Texts until the end, and the close code; 1006 without a close frame. Answers the close frame as a client should."""
        texts = []
        while (found := self.frame()) is not None:
            opcode, payload, _ = found
            if opcode == TEXT:
                texts.append(payload)
            elif opcode == CLOSE:
                self.send(frame(CLOSE, payload[:2]))
                assert self._take(1) is None, "the server says more after its close frame"
                return texts, int.from_bytes(payload[:2], "big") if payload else 1005
        return texts, 1006

    def at_end(self) -> bool:
        """Whether the server ends the connection without saying more."""
        return self._take(1) is None

    def reset(self) -> None:
        """Vanish as a crashed modem does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _take(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not self._more():
                return None
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)  # what came before a reset can still be read
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)


class Bystander:
    """A charger that asks for nothing but its echo, all the time."""

    def __init__(self, server: Server) -> None:
        self._client = server.client("CP-BYSTANDER")
        self._echoes = 0
        self._slowest_s = 0.0
        self._changed = threading.Condition()
        self._going = True
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Two more echoes, the second of which was asked for after this call."""
        with self._changed:
            wanted = self._echoes + 2
            assert self._changed.wait_for(lambda: self._echoes >= wanted or not self._going, TIMEOUT_S), "the bystander is stuck"
            assert self._going, "the bystander was disconnected"
            assert self._slowest_s < 1.0

    def leave(self) -> None:
        self._going = False
        self._thread.join(TIMEOUT_S)
        self._client.close()

    def _talk(self) -> None:
        try:
            while self._going:
                asked, text = time.monotonic(), f"echo {self._echoes}"
                self._client.send(text)
                assert self._client.recv(TIMEOUT_S) == text
                with self._changed:
                    self._echoes += 1
                    self._slowest_s = max(self._slowest_s, time.monotonic() - asked)
                    self._changed.notify_all()
                time.sleep(0.002)
        finally:
            with self._changed:
                self._going = False
                self._changed.notify_all()


@pytest.fixture(scope="module", params=SERVED)
def shared_server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Bystander]]:
    with Server(request.param, LIMITS) as server:
        bystander = Bystander(server)
        yield server, bystander
        bystander.leave()


@pytest.fixture
def server(shared_server: tuple[Server, Bystander]) -> Iterator[Server]:
    server, bystander = shared_server
    yield server
    bystander.check()


@pytest.fixture(params=SERVED)
def serve(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[Server]]:
    """Starts a server of each engine with changed limits."""

    @contextmanager
    def start(**limits: Any) -> Iterator[Server]:
        with Server(request.param, msgspec.structs.replace(LIMITS, **limits)) as server:
            yield server

    return start
