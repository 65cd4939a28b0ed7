"""The connection to NATS, when the server goes first, is frozen, or comes late: `cpms_actors.bus.client`."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop
from nats.aio.client import Client

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Nats
from cpms_actors.bus import client as bus
from cpms_actors.node.data_dir import free_port

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def server(nats_server: Any) -> Iterator[Any]:
    yield nats_server
    nats_server.signal(signal.SIGCONT)
    nats_server.stop()
    nats_server.start()


def run(loop: str, main: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """Run it on such a loop; what the loop was told of that nobody else has caught."""
    complaints: list[dict[str, Any]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main()
        for _ in range(3):
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario())
    return complaints


def is_gone(client: Client) -> bool:
    """Closed, with what belongs to it: its subscriptions and its socket."""
    transport = client._transport._io_writer.transport  # type: ignore[union-attr]
    return client.is_closed and not client._subs and transport.is_closing()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "when it has noticed"])
def test_a_connection_ends_quietly_and_completely_when_the_server_went_first(server: Any, loop: str, waits: bool) -> None:
    async def main() -> None:
        client = await bus.connect(Nats(url=server.url), "test")
        messages = await client.subscribe("a")
        reading = asyncio.create_task(messages.next_msg(timeout=None))
        await bus.subscribed(client)
        server.stop(signal.SIGKILL)
        await client.publish("a", bytes(100_000))
        if waits:
            while client.is_connected:
                await asyncio.sleep(0.01)
            await client.publish("a", bytes(100_000))
        else:
            client._transport.close()  # type: ignore[union-attr]  # as it does itself when it notices in the middle of the ending
            client._pending.append(bytes(10))
            client._pending_data_size += 10
        await bus.close(client)
        assert is_gone(client)
        (ended,) = await asyncio.gather(reading, return_exceptions=True)
        assert isinstance(ended, BaseException)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in tasks if "nats" in repr(task.get_coro())]

    assert run(loop, main) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_to_a_frozen_server_ends_in_time_though_much_waits_to_be_sent(server: Any, loop: str) -> None:
    async def main() -> None:
        client = await bus.connect(Nats(url=server.url), "test")
        server.signal(signal.SIGSTOP)
        sending = [asyncio.create_task(client.publish("a", bytes(1_000_000))) for _ in range(30)]
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await bus.close(client)
        assert time.monotonic() - began < 2 * bus.CLOSE_S
        assert is_gone(client)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    assert run(loop, main) == []


def _setter(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def happened() -> None:
        event.set()

    return happened


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("waiting_bytes", [0, 30_000_000], ids=["idle", "busy"])
def test_a_frozen_server_is_noticed_within_five_seconds_however_much_waits_for_it(server: Any, loop: str, waiting_bytes: int) -> None:
    """What it has not taken is dropped with the connection; nats-py alone would wait until it has."""

    async def main() -> None:
        client = await bus.connect(Nats(url=server.url), "test")
        lost = asyncio.Event()
        client._disconnected_cb = _setter(lost)
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        sending = [asyncio.create_task(client.publish("a", bytes(1_000_000))) for _ in range(waiting_bytes // 1_000_000)]
        await lost.wait()
        assert time.monotonic() - began < 5
        server.signal(signal.SIGCONT)
        async with asyncio.timeout(10):
            while not client.is_connected:
                await asyncio.sleep(0.01)
        await bus.subscribed(client)
        await asyncio.gather(*sending, return_exceptions=True)
        await bus.close(client)

    assert run(loop, main) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_command_is_told_within_five_seconds_that_a_frozen_server_does_not_answer(server: Any, loop: str) -> None:
    async def main() -> None:
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="NATS does not answer: TimeoutError"):
            await bus.connect(Nats(url=server.url), "test", patient=False)
        assert time.monotonic() - began < 5

    assert run(loop, main) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_command_is_told_at_once_that_nobody_listens(loop: str) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable, match="NATS does not answer"):
            await bus.connect(Nats(url=f"nats://127.0.0.1:{free_port()}"), "test", patient=False)

    assert run(loop, main) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_publishes_before_the_client_has_noticed_that_its_socket_is_closed_sees_nothing_of_it(server: Any, loop: str) -> None:
    """It has lost its flusher and still calls itself connected: the loop refuses to write, which is no fault of who publishes."""

    async def main() -> None:
        client = await bus.connect(Nats(url=server.url), "test")
        messages = await client.subscribe("a")
        await bus.subscribed(client)
        client._flusher_task.cancel()  # type: ignore[union-attr]
        client._reading_task.cancel()  # type: ignore[union-attr]
        client._transport._io_writer.transport.abort()  # type: ignore[union-attr]
        await asyncio.sleep(0.05)
        assert client.is_connected
        await client.publish("a", b"first")
        async with asyncio.timeout(10):
            await bus.listening(client)
            await client.publish("a", b"later")
            while (await messages.next_msg()).data != b"later":
                pass
        await bus.close(client)

    assert run(loop, main) == []
