"""Open connections on their way from one worker to another, and back: the peer sees nothing of it."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from websockets.exceptions import ConnectionClosedError

from cpms_actors.gateway.engines.picows import READ_BUFFER_BYTES
from tests.gateway.conftest import ENOUGH, HEADERS, Site, Worker, echoed, until

SIZE = READ_BUFFER_BYTES - 256  # what picows uses of a buffer of that


def only(worker: Worker) -> Any:
    """The one connection that it has."""
    (connection,) = worker.engine.connections
    return connection


def move(here: Worker, there: Worker) -> bool:
    """Whether the one connection of a worker is on its way to another."""
    connection = only(here)
    return connection.movable() and here.engine.pass_on(there.address, connection, connection.agreement.encode() or b" ")


async def moved(here: Worker, there: Worker) -> None:
    await until(lambda: move(here, there))
    await until(lambda: there.engine.open_count == 1 and here.engine.open_count == 0)


def home(site: Site) -> tuple[Worker, Worker]:
    """Who has the connection, and who has not."""
    return (site.a, site.b) if site.a.engine.open_count else (site.b, site.a)


def masked(payload: bytes, opcode: int = 1) -> bytes:
    length = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_conversation_goes_on_while_the_connection_moves(site: Callable[..., None], compression: str | None) -> None:
    """Nothing is lost, doubled or reordered, however often it moves under traffic."""

    async def use(site: Site) -> None:
        texts = [f"{number} {'x' * (number * 37 % 3000)}" for number in range(600)]
        async with site.client("A/1", compression) as charger:
            answers: list[str | bytes] = []

            async def listen() -> None:
                while len(answers) < len(texts):
                    answers.append(await charger.recv())

            async def speak() -> None:
                for text in texts:
                    await charger.send(text)
                    await asyncio.sleep(0)

            async def drive() -> int:
                moves = 0
                while len(answers) < len(texts):
                    await asyncio.sleep(0.001)
                    with contextlib.suppress(ValueError):  # it is between the two
                        moves += move(*home(site))
                return moves

            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                group.create_task(listen())
                group.create_task(speak())
                driving = group.create_task(drive())
            assert answers == texts
            assert driving.result() > 3
            await until(lambda: site.count("gateway.moved_on") == driving.result())
            await until(lambda: site.a.engine.open_count + site.b.engine.open_count == 1)
            await echoed(charger)
            assert site.count("gateway.closed.1006") == 0

    site(use)


def test_pings_and_the_closing_handshake_are_the_new_workers(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        async with site.client("A/1") as charger:
            here, there = home(site)
            await moved(here, there)
            await (await charger.ping())
            only(there).close(1012, "moved and done")
            with pytest.raises(ConnectionClosedError, match="1012"):
                await charger.recv()
        await until(lambda: there.engine.open_count == 0)
        assert there.count("gateway.closed.1012") == 1

    site(use)


@pytest.mark.parametrize("cut", [1, 5, 7, 60])
def test_within_a_frame_it_stays_until_the_frame_is_whole(site: Callable[..., None], cut: int) -> None:
    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/A/1 HTTP/1.1\r\n" + HEADERS)
        await reader.readuntil(b"\r\n\r\n")
        here, there = home(site)
        frame = masked(b"y" * 100)
        writer.write(frame[:cut])
        await until(lambda: len(only(here)._transport.underlying_transport.get_protocol().get_buffer(-1)) == SIZE - cut)
        assert not move(here, there)
        writer.write(frame[cut:])
        await until(lambda: move(here, there))
        assert await reader.readexactly(102) == b"\x81\x64" + b"y" * 100
        await until(lambda: there.engine.open_count == 1)
        writer.write(masked(b"z"))
        assert await reader.readexactly(3) == b"\x81\x01z"
        writer.close()

    site(use)


def test_a_fragmented_message_is_finished_first(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/A/1 HTTP/1.1\r\n" + HEADERS)
        await reader.readuntil(b"\r\n\r\n")
        here, there = home(site)
        writer.write(b"\x01\x81\0\0\0\0a")
        await until(lambda: only(here)._partial is not None)
        assert not move(here, there)
        writer.write(b"\x80\x81\0\0\0\0b")
        assert await reader.readexactly(4) == b"\x81\x02ab"
        await until(lambda: move(here, there))
        writer.close()

    site(use)


@pytest.mark.parametrize("doubled", range(4))
def test_what_has_filled_half_of_a_buffer_that_grew_is_not_taken_for_an_empty_one(site: Callable[..., None], doubled: int) -> None:
    """What is free of it is as much as an empty one has that did not grow: a read that fills a buffer does that."""

    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/A/1 HTTP/1.1\r\n" + HEADERS)
        await reader.readuntil(b"\r\n\r\n")
        here, there = home(site)
        half = SIZE << doubled
        protocol = only(here)._transport.underlying_transport.get_protocol()
        if doubled:  # grow to that half first
            writer.write(masked(b"l" * (half // 2 - 100)))
            await reader.readexactly(4 + half // 2 - 100)
            assert len(protocol.get_buffer(-1)) == half
        frame = masked(b"m" * (half + 500))
        writer.write(frame[:half])
        await until(lambda: len(protocol.get_buffer(-1)) == half and protocol.seems_between_frames() is False)
        assert not move(here, there)
        writer.write(frame[half:])
        await until(lambda: move(here, there))
        assert await reader.readexactly(4 + half + 500) == b"\x81\x7e" + (half + 500).to_bytes(2, "big") + b"m" * (half + 500)
        await until(lambda: there.engine.open_count == 1)
        writer.close()

    site(use)


def test_a_parser_that_only_seems_between_frames_costs_this_connection_and_no_frame_is_made_up(site: Callable[..., None]) -> None:
    """It is told by the first byte of its next frame, which is a question of ours."""

    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/A/1 HTTP/1.1\r\n" + HEADERS)
        await reader.readuntil(b"\r\n\r\n")
        here, there = home(site)
        protocol = only(here)._transport.underlying_transport.get_protocol()
        writer.write(masked(b"m" * 2500)[:1000])
        await until(lambda: len(protocol.get_buffer(-1)) == SIZE - 1000)
        with mock.patch.object(type(protocol), "seems_between_frames", return_value=True):
            assert not move(here, there)
        closing = await asyncio.wait_for(reader.readexactly(4), 5)
        assert closing[:1] + closing[2:] == b"\x88" + (1012).to_bytes(2, "big")
        writer.close()
        await until(lambda: here.engine.open_count == 0)
        assert there.engine.open_count == site.count("gateway.moved_on") == 0

    site(use)


def test_what_it_does_not_read_keeps_it_here(site: Callable[..., None]) -> None:
    """Answers that still wait in this process are this process's to send."""

    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/A/1 HTTP/1.1\r\n" + HEADERS)
        await reader.readuntil(b"\r\n\r\n")
        here, there = home(site)
        connection = only(here)
        while not connection._transport.underlying_transport.get_write_buffer_size():
            connection.send(b"w" * 60_000)
        assert not move(here, there)
        await until(lambda: len(reader._buffer) > 0)  # type: ignore[attr-defined]
        writer.transport.abort()
        await until(lambda: here.engine.open_count == 0)

    site(use)


def test_there_is_no_room_for_it(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        clients = [site.client("A/1"), site.client("B/1")]
        async with clients[0], clients[1]:
            here, there = site.a, site.b
            assert move(here, there)
            await until(lambda: there.resumed == 1)
            await until(lambda: here.engine.open_count == 0)
            assert there.engine.open_count == 1

    site(use, connections=1)


def test_a_worker_that_does_not_take_it_loses_nobody(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        async with site.client("A/1") as charger:
            here, _ = home(site)
            connection = only(here)
            assert connection.movable()
            assert not here.engine.pass_on("/nowhere", connection, b" ")
            for _ in range(ENOUGH):
                await echoed(charger)

    site(use)
