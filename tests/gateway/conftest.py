"""Two engines on one port, each with chargers of its own."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.engine import Admitted, Connection, Head, Limits, Refused
from cpms_actors.gateway.engines.picows import PicowsEngine
from cpms_actors.observe.counters import Counters

LIMITS = msgspec.structs.replace(Limits.of(Gateway()), handshake_s=30.0)
HEADERS = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)
MANY = 24  # that one worker accepts them all will not be seen
ENOUGH = 64


class Echo:
    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_text(self, text: bytes) -> None:
        self.connection.send(text)

    def on_closed(self, code: int, reason: str) -> None: ...


def named(folder: Path, name: str) -> str:
    """A name for the Unix socket of a worker: of this test alone, as its folder is."""
    return f"@{os.getpid()}-{folder.name}-{name}"


def is_taken(folder: Path) -> bool:
    """Whether a socket of this test is still there."""
    return f"@{os.getpid()}-{folder.name}-" in Path("/proc/net/unix").read_text()


class Worker:
    """An engine, its routing and its door: it owns every path that begins with its name."""

    def __init__(self, folder: Path, name: str, port: int = 0, lonely: bool = False, **limits: Any) -> None:
        self.name = name
        self.node = ""
        self.address = named(folder, name)
        self.lonely = lonely
        self.inner: socket.socket | None = None
        self.others: dict[str, str] = {}  # name ─▶ address
        self.successors: list[str] = []  # addresses
        self.heads: list[Head] = []
        self.resumed = 0
        self.counters = Counters()
        bounds = msgspec.structs.replace(LIMITS, **limits)
        self.engine = PicowsEngine(self.enter, bounds, self.counters, "127.0.0.1", port, self)

    def heirs(self) -> list[str]:
        return self.successors

    def alone(self) -> bool:
        return self.lonely

    def whose(self, path: bytes) -> str:
        if path == b"/raise":
            raise RuntimeError("as told")
        return next((address for name, address in self.others.items() if path.startswith(f"/ocpp/{name}".encode())), "")

    def moved(self, packet: bytes, passed: socket.socket) -> None:
        """An echo needs no more than what was agreed of compression."""
        self.resumed += 1
        self.engine.resume(passed, Echo(), "ocpp1.6", packet.decode().strip())

    def enter(self, head: Head) -> Admitted | Refused:
        self.heads.append(head)
        return Admitted(Echo(), "ocpp1.6") if head.path.startswith(f"/ocpp/{self.name}".encode()) else Refused(404, "not mine")

    def count(self, name: str) -> int:
        return self.counters.snapshot()[name]


class Site:
    """Workers A and B on one port, as the kernel spreads connections over them."""

    def __init__(self, a: Worker, b: Worker, port: int) -> None:
        self.a, self.b, self.port = a, b, port

    def count(self, name: str) -> int:
        return self.a.count(name) + self.b.count(name)

    def client(self, path: str, compression: str | None = "deflate") -> connect:
        url = f"ws://127.0.0.1:{self.port}/ocpp/{path}"
        return connect(url, subprotocols=["ocpp1.6"], proxy=None, compression=compression)  # type: ignore[list-item]

    async def dial(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        if sent:
            writer.write(sent)
        return reader, writer

    def burst(self, count: int, sent: bytes = b"") -> list[socket.socket]:
        """Connections that the kernel has completed before a worker can see the first."""
        clients = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(count)]
        for client in clients:
            client.sendall(sent)
        return clients


@asynccontextmanager
async def started(a: Worker, b: Worker | None = None) -> AsyncIterator[int]:
    """The port on which they listen: B on the one that A has found free."""
    port = await a.engine.start()
    if b is not None:
        b.engine._address = ("127.0.0.1", port)
        await b.engine.start()
        a.others, b.others = {b.name: b.address}, {a.name: a.address}
    try:
        yield port
    finally:
        await a.engine.stop()
        if b is not None:
            await b.engine.stop()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Runs a test with a site. Nothing may be left of it: no task, no descriptor, no name, no opening."""

    def run(use: Callable[[Site], Awaitable[None]], **limits: Any) -> None:
        async def main() -> None:
            before = sockets()
            a, b = Worker(tmp_path, "A", **limits), Worker(tmp_path, "B", **limits)
            async with started(a, b) as port:
                await use(Site(a, b, port))
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
            assert not is_taken(tmp_path)
            for worker in (a, b):
                assert worker.count("gateway.peeking") == worker.count("gateway.siblings") == worker.engine.open_count == 0
                assert worker.count("gateway.faults") == 0
                # The loop closes its transports in the next round.
                await until(lambda worker=worker: worker.count("gateway.opening") == 0)  # type: ignore[misc]
            await until(lambda: sockets() <= before)

        request.param(main())

    return run


def sockets() -> set[str]:
    """Those that this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {link for link in found if link.startswith("socket:")}


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def echoed(client: ClientConnection) -> None:
    await client.send("hello")
    assert await asyncio.wait_for(client.recv(), 5) == "hello"


async def answer(reader: asyncio.StreamReader) -> bytes:
    """All that a server says until it ends the connection."""
    said = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), 5):
            said += part
    except ConnectionResetError:
        pass
    return said
