"""An engine is chosen by a setting and runs where its `loop` says, the trio engine also as a guest of asyncio."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest
import trio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.engine import Admitted, Connection, Head
from cpms_actors.gateway.engines.choice import engine_of
from cpms_actors.gateway.listening import endpoint, listen
from cpms_actors.observe.counters import Counters

T = TypeVar("T")


class Echo:
    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_text(self, text: bytes) -> None:
        self.connection.send(text)

    def on_closed(self, code: int, reason: str) -> None: ...


def enter(head: Head) -> Admitted:
    return Admitted(Echo(), "ocpp1.6")


async def echoed(port: int) -> str | bytes:
    """An echo from the port, by a client on asyncio."""
    async with connect(f"ws://127.0.0.1:{port}/ocpp/CP1", subprotocols=["ocpp1.6"], proxy=None) as client:  # type: ignore[list-item]
        await client.send("hello")
        return await client.recv()


def as_guest(use: Callable[[int], Coroutine[None, None, T]], settings: Gateway) -> T:
    """What `use` returns, given the port of a trio engine that is a guest of asyncio."""

    async def host() -> T:
        loop = asyncio.get_running_loop()
        port: asyncio.Future[int] = loop.create_future()
        ended = loop.create_future()
        stop = trio.Event()

        async def guest() -> None:
            async with trio.open_nursery() as nursery:
                engine = engine_of(settings, enter, Counters(), nursery)
                assert engine.loop == "trio"
                port.set_result(await engine.start())
                await stop.wait()
                await engine.stop()

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        try:
            return await asyncio.wait_for(use(await port), 5)
        finally:
            stop.set()
            (await ended).unwrap()

    return asyncio.run(host())


def on_asyncio(use: Callable[[int], Coroutine[None, None, T]], settings: Gateway) -> T:
    """The same of a picows engine."""

    async def main() -> T:
        engine = engine_of(settings, enter, Counters(), None)  # type: ignore[arg-type]  # it has no tasks
        port = await engine.start()
        try:
            return await asyncio.wait_for(use(port), 5)
        finally:
            await engine.stop()

    return asyncio.run(main())


def test_the_trio_engine_runs_as_a_guest() -> None:
    assert as_guest(echoed, Gateway(engine="trio-websocket", port=0)) == "hello"


async def flapped(port: int) -> str:
    """The status and the Retry-After that a charger is told when it comes again after two connections on which it has not spoken."""
    url = f"ws://127.0.0.1:{port}/ocpp/CP1"
    for _ in range(4):
        assert await echoed(port) == "hello"  # who speaks may come as often as it likes
    while True:  # the server sees the end of a connection somewhat later than its client; whoever runs this does not wait for ever
        try:
            async with connect(url, subprotocols=["ocpp1.6"], proxy=None):  # type: ignore[list-item]
                pass
        except InvalidStatus as refused:
            return f"{refused.response.status_code}, {refused.response.headers['Retry-After']}"


@pytest.mark.parametrize(("run", "engine"), [(on_asyncio, "picows"), (as_guest, "trio-websocket")])
def test_both_engines_hold_off_a_charger_that_connects_and_goes(run: Callable[..., str], engine: str) -> None:
    assert run(flapped, Gateway(engine=engine, port=0, flaps_max=2)) == "503, 2"  # type: ignore[arg-type]


def test_cancelling_the_nursery_cuts_the_trio_engine_s_connections_and_tells_their_receivers() -> None:
    told: list[tuple[int, str]] = []

    class Listening(Echo):
        def on_closed(self, code: int, reason: str) -> None:
            told.append((code, reason))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            settings = Gateway(engine="trio-websocket", port=0)
            engine = engine_of(settings, lambda head: Admitted(Listening(), "ocpp1.6"), Counters(), nursery)
            stream = await trio.open_tcp_stream("127.0.0.1", await engine.start())
            await stream.send_all(
                b"GET /ocpp/CP1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
            )
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
            with trio.fail_after(5):
                while engine.open_count != 1:  # the answer is on its way before the engine counts the connection
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert told == [(1006, "")]


def run_picows(use: Callable[[int], None]) -> str | bytes:
    async def main() -> str | bytes:
        engine = engine_of(Gateway(port=0), enter, Counters(), None)  # type: ignore[arg-type]  # it has no tasks
        assert engine.loop == "asyncio"
        port = await engine.start()
        use(port)
        answer = await asyncio.wait_for(echoed(port), 5)
        await engine.stop()
        assert engine.open_count == 0
        return answer

    return asyncio.run(main())


def test_picows_runs_on_plain_asyncio() -> None:
    assert run_picows(lambda port: None) == "hello"


def busy(late_s: float) -> None:
    """Keep the loop from everything else, as a round with too much in it does."""
    until = time.monotonic() + late_s
    while time.monotonic() < until:
        pass


def test_both_engines_measure_how_late_their_loop_is() -> None:
    late_s, seen = 0.35, []

    async def picows() -> None:
        counters = Counters()
        engine = engine_of(Gateway(port=0), enter, counters, None)  # type: ignore[arg-type]  # it has no tasks
        await engine.start()
        busy(late_s)
        async with asyncio.timeout(5):
            while not counters.snapshot()["gateway.lag_ms.peak"]:
                await asyncio.sleep(0.005)
        await engine.stop()
        seen.append(counters.snapshot()["gateway.lag_ms.peak"])

    async def trio_websocket() -> None:
        counters = Counters()
        async with trio.open_nursery() as nursery:
            engine = engine_of(Gateway(engine="trio-websocket", port=0), enter, counters, nursery)
            await engine.start()
            await trio.sleep(0.005)  # its tasks have begun
            busy(late_s)
            with trio.fail_after(5):
                while not counters.snapshot()["gateway.lag_ms.peak"]:
                    await trio.sleep(0.005)
            await engine.stop()  # and nothing is left that would keep the nursery open
        seen.append(counters.snapshot()["gateway.lag_ms.peak"])

    asyncio.run(picows())
    trio.run(trio_websocket)
    assert all(lag_ms > 200 for lag_ms in seen), seen


def test_two_engines_may_share_a_port() -> None:
    def share(port: int) -> None:
        listen("127.0.0.1", port).close()

    assert run_picows(share) == "hello"


def test_a_port_that_another_program_holds_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "text"), [(("10.0.0.1", 80), "10.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80"), (None, ""), ("/tmp/socket", "")]
)
def test_an_address_as_text(address: object, text: str) -> None:
    assert endpoint(address) == text


def test_an_empty_host_is_every_interface() -> None:
    listening = listen("", 0)
    try:
        socket.create_connection(("127.0.0.1", listening.getsockname()[1]), 1).close()
    finally:
        listening.close()
