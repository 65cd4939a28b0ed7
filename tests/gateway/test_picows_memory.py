"""What a connection of the default engine leaves in memory while it is idle and after it has gone."""

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from picows import WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # as in the engine
from websockets.asyncio.client import connect

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.arrivals import _Peeked
from cpms_actors.gateway.engine import Admitted, Connection, Head, Limits, Refused
from cpms_actors.gateway.engines.picows import READ_BUFFER_BYTES, PicowsEngine
from cpms_actors.gateway.engines.picows_connection import Connection as PicowsConnection
from cpms_actors.gateway.flapping import Watch
from cpms_actors.observe.counters import Counters


class Echo:
    """Keeps its connection, as an actor does."""

    last: "Echo | None" = None

    def on_open(self, connection: Connection) -> None:
        self.connection = connection
        Echo.last = self

    def on_text(self, text: bytes) -> None:
        self.connection.send(text)

    def on_closed(self, code: int, reason: str) -> None: ...


def enter(head: Head) -> Admitted | Refused:
    return Refused(404, "no such charger") if head.path == b"/nobody" else Admitted(Echo(), "ocpp1.6")


class Ours:
    """A routing by which everything is ours."""

    node = ""
    inner = None

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "siblings")

    def heirs(self) -> list[str]:
        return []

    def alone(self) -> bool:
        return False

    def whose(self, path: bytes) -> str:
        return ""

    def moved(self, packet: bytes, passed: socket.socket) -> None:
        raise AssertionError("nobody passes an open connection here")


def serving(use: Callable[[PicowsEngine, int], Awaitable[None]], routing: Ours | None = None) -> None:
    async def main() -> None:
        engine = PicowsEngine(enter, Limits.of(Gateway()), Counters(), "127.0.0.1", 0, routing)
        await use(engine, await engine.start())
        await engine.stop()

    uvloop.run(main())


def client(port: int, path: str = "/ocpp/CP1") -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", subprotocols=["ocpp1.6"], proxy=None)  # type: ignore[list-item]


def alive() -> Counter[str]:
    """How many objects there are of what a connection is made of."""
    kinds = (PicowsConnection, WSProtocol, WSTransport, Echo, _Peeked)
    return Counter(type(found).__name__ for found in gc.get_objects() if issubclass(type(found), kinds))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("routed", [False, True])
def test_a_connection_that_has_gone_leaves_nothing_for_the_collector(routed: bool, tmp_path: Path) -> None:
    """Closed by either side, broken, refused, or never a handshake: all is freed by counting references, with the collector off."""

    async def use(engine: PicowsEngine, port: int) -> None:
        for _ in range(3):
            async with client(port) as closing:
                await closing.send("hello")
                assert await closing.recv() == "hello"
                assert alive() == {"Connection": 1, "_Socket": 1, "WSTransport": 1, "Echo": 1}
            async with client(port) as closed:
                assert Echo.last is not None
                Echo.last.connection.close(4000, "bye")
                await closed.wait_closed()
            broken = await client(port)
            broken.transport.abort()
            for head in (b"GET /nobody HTTP/1.1\r\n\r\n", b"GET ", b"\r\n\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head)
                await asyncio.sleep(0.01)
                writer.transport.abort()
        Echo.last = None
        await until(lambda: engine.open_count == 0 and not engine._openings)
        await until(lambda: not alive())

    gc.collect()
    gc.disable()
    try:
        serving(use, Ours(tmp_path) if routed else None)
    finally:
        gc.enable()


def test_the_head_of_the_request_is_forgotten() -> None:
    async def use(engine: PicowsEngine, port: int) -> None:
        async with client(port):
            request = next(iter(engine.connections))._transport.request
            assert (len(request.headers), request.path) == (0, b"")

    serving(use)


def test_the_watch_for_flapping_is_gone_with_the_first_text() -> None:
    async def use(engine: PicowsEngine, port: int) -> None:
        async with client(port) as speaking:
            watched = next(iter(engine.connections))
            assert isinstance(watched.receiver, Watch)
            await speaking.send("hello")
            assert await speaking.recv() == "hello"
            assert isinstance(watched.receiver, Echo)

    serving(use)


def test_connections_with_the_same_answer_share_one_response() -> None:
    async def use(engine: PicowsEngine, port: int) -> None:
        async with client(port), client(port):
            responses = {id(connection._transport.response) for connection in engine.connections}
            assert len(responses) == 1

    serving(use)


def test_a_burst_does_not_make_the_read_buffer_grow() -> None:
    """picows alone would double it with every read that fills it, and keep it."""

    async def use(engine: PicowsEngine, port: int) -> None:
        async with client(port) as bursting:
            texts = [f"{number}".ljust(400, "x") for number in range(500)]

            async def speak() -> None:
                for text in texts:
                    await bursting.send(text)

            _, *answers = await asyncio.gather(speak(), *(bursting.recv() for _ in range(1)))
            answers += [await bursting.recv() for _ in texts[1:]]
            assert answers == texts
            protocol: Any = next(iter(engine.connections))._transport.underlying_transport.get_protocol()
            assert len(WSProtocol.get_buffer(protocol, -1)) <= 2 * READ_BUFFER_BYTES

    serving(use)
