"""An engine is chosen by a setting and runs where its `loop` says, the trio engine also as a guest of asyncio."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import trio
from websockets.asyncio.client import connect

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.engine import Admitted, Connection, Head
from cpms_actors.gateway.engines.choice import engine_of
from cpms_actors.gateway.listening import endpoint, listen
from cpms_actors.observe.counters import Counters


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


def test_the_trio_engine_runs_as_a_guest() -> None:
    async def host() -> str | bytes:
        loop = asyncio.get_running_loop()
        port: asyncio.Future[int] = loop.create_future()
        ended = loop.create_future()
        stop = trio.Event()

        async def guest() -> None:
            async with trio.open_nursery() as nursery:
                engine = engine_of(Gateway(engine="trio-websocket", port=0), enter, Counters(), nursery)
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
        answer = await asyncio.wait_for(echoed(await port), 5)
        stop.set()
        (await ended).unwrap()
        return answer

    assert asyncio.run(host()) == "hello"


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
