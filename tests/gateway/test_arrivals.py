"""What an engine whose port is shared does with those who never finish arriving."""

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cpms_actors.gateway.engines.picows import _Socket
from cpms_actors.gateway.gates import Pace
from tests.gateway.conftest import HEADERS, Site, Worker, answer, echoed, sockets, until


def test_who_says_nothing_is_reset_at_the_deadline_and_others_are_served_meanwhile(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        silent = [await site.dial(sent) for sent in [b"", b"G", b"GET /ocpp/A1 HTTP/1.1\r"] * 10]
        await until(lambda: site.count("gateway.peeking") == 30)
        assert site.count("gateway.opening") == 30
        async with site.client("A1") as a, site.client("B1") as b:
            while site.count("gateway.peek_timeouts") < 30:
                await echoed(a)
                await echoed(b)
                async with site.client("A2") as another:
                    await echoed(another)
                assert loop.time() - began < 5
        assert loop.time() - began >= 0.5
        assert [await answer(reader) for reader, _ in silent] == [b""] * 30
        assert site.count("gateway.unanswered") == 30
        assert site.count("gateway.peeking") == site.count("gateway.opening") == 0
        for _, writer in silent:
            writer.close()

    site(use, handshake_s=0.5)


def test_unfinished_openings_are_bounded_together_wherever_they_wait(site: Callable[..., None]) -> None:
    """Half of them wait for their request line, half in the handshake, each counted once; the rest is reset."""

    async def use(site: Site) -> None:
        await site.b.engine.stop()
        a = site.a
        async with site.client("A0") as before:
            half = site.burst(4, b"GET /ocpp/A1 HTTP/1.1\r\n")
            await until(lambda: (a.count("gateway.opening"), a.count("gateway.peeking")) == (4, 0))
            silent = site.burst(20)
            await until(lambda: a.count("gateway.opening.refused") == 16)
            assert (a.count("gateway.opening"), a.count("gateway.peeking")) == (8, 4)
            await echoed(before)
            for client in half + silent:
                client.close()
            await until(lambda: a.count("gateway.opening") == 0)
            assert a.count("gateway.opening.peak") == 8
            async with site.client("A2") as after:
                await echoed(after)

    site(use, openings=8)


def test_what_is_passed_in_counts_as_an_opening_and_is_bounded(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        clients = site.burst(20, b"GET /ocpp/B1 HTTP/1.1\r\n")
        await until(lambda: site.b.count("gateway.opening") + site.count("gateway.opening.refused") == 20)
        assert site.b.count("gateway.opening") == site.b.count("gateway.opening.peak") == 4
        assert site.a.count("gateway.opening") == 0
        assert site.b.count("gateway.passed_in") == site.a.count("gateway.passed_on") > 0
        for client in clients:
            client.close()

    site(use, openings=4)


@pytest.mark.parametrize("sent", [b"", b"GET /ocpp"])
@pytest.mark.parametrize("how", ["end", "reset", "half"])
def test_who_leaves_before_the_line_is_complete_is_forgotten_at_once(site: Callable[..., None], sent: bytes, how: str) -> None:
    async def use(site: Site) -> None:
        reader, writer = await site.dial(sent)
        await until(lambda: site.count("gateway.peeking") == 1)
        if how == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif how == "half":
            writer.write_eof()
            assert await answer(reader) == b""
        else:
            writer.close()
        await until(lambda: site.count("gateway.opening") == site.count("gateway.peeking") == 0)
        assert (site.count("gateway.unanswered"), site.count("gateway.peek_timeouts")) == (1, 0)
        writer.close()

    site(use)


def test_stop_resets_who_is_still_arriving(site: Callable[..., None]) -> None:
    """The fixture looks at what is left."""

    async def use(site: Site) -> None:
        dialled = [await site.dial(sent) for sent in (b"", b"GET /oc", b"GET /ocpp/A1 HTTP/1.1\r\n", b"GET /ocpp/B1 HTTP/1.1\r\n") * 5]
        await until(lambda: site.count("gateway.opening") == 20)
        await asyncio.gather(site.a.engine.stop(), site.b.engine.stop())
        assert [await answer(reader) for reader, _ in dialled] == [b""] * 20
        for _, writer in dialled:
            writer.close()

    site(use)


def test_stop_waits_for_what_is_just_being_kept(site: Callable[..., None]) -> None:
    """Accepted, and stopped in the same round of the loop: the socket is neither lost nor left open."""

    async def use(site: Site) -> None:
        await site.b.engine.stop()
        reader, writer = await site.dial(b"GET /ocpp/A1 HTTP/1.1\r\n")
        stage: Any = site.a.engine._arrivals
        async with asyncio.timeout(5):
            while not stage._keeping:
                await asyncio.sleep(0)
        await site.a.engine.stop()
        assert not stage._keeping
        assert await answer(reader) == b""
        writer.close()

    site(use)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_an_engine_that_cannot_be_reached_does_not_listen(run: Callable[..., None], tmp_path: Path) -> None:
    async def main() -> None:
        worker = Worker(tmp_path, "A" * 120)
        before = sockets()
        with pytest.raises(OSError, match="too long"):
            await worker.engine.start()
        assert sockets() == before
        await worker.engine.stop()

    run(main())


def test_an_opening_that_the_library_fails_to_take_is_closed_and_counted_out(
    site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("as told")

    async def use(site: Site) -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        monkeypatch.setattr(_Socket, "connection_made", fail)
        reader, writer = await site.dial(b"GET /ocpp/A1 HTTP/1.1\r\n")
        assert await answer(reader) == b""
        writer.close()
        assert [str(fault) for fault in faults] == ["as told"]
        assert (site.count("gateway.opening"), site.a.count("gateway.opening.peak")) == (0, 1)

    site(use)


def test_handshakes_have_turns_who_is_charging_first_and_who_would_wait_too_long_returns(
    site: Callable[..., None],
) -> None:
    async def use(site: Site) -> None:
        await site.b.engine.stop()
        a = site.a
        slow, slower = Pace(4, 4096), Pace(1, 4096)
        a.engine.connections.gates.pace = slow
        a.engine._arrivals._turns = 1  # type: ignore[union-attr]  # it has a routing
        a.engine.connections.gates.charging = lambda path: path == b"/ocpp/A9"
        async with site.client("A0") as before:  # has the turn that is left
            clients = site.burst(slow.room + 4, b"GET /ocpp/A1 HTTP/1.1\r\n" + HEADERS)
            await until(lambda: a.count("gateway.gate.pace") == 4)
            assert a.count("gateway.in_line") == a.count("gateway.opening") == slow.room
            refused = [client for client in clients if readable(client)]
            assert [client.recv(100)[:12] for client in refused] == [b"HTTP/1.1 503"] * 4
            clients += site.burst(1, b"GET /ocpp/A9 HTTP/1.1\r\n" + HEADERS)
            await until(lambda: len(a.heads) > 2)
            assert [head.path for head in a.heads[:3]] == [b"/ocpp/A0", b"/ocpp/A9", b"/ocpp/A1"]
            await echoed(before)
            turned_away = a.count("gateway.in_line") - slower.room
            a.engine.connections.gates.pace = slower  # it has slowed down
            await until(lambda: a.count("gateway.in_line") == slower.room)
            assert a.count("gateway.gate.pace") - 4 in (turned_away, turned_away - 1)  # one may have had its turn meanwhile
        for client in clients:
            client.close()

    site(use)


def readable(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0])
