"""Whoever accepts a connection, its owner serves it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway import arrivals
from cpms_actors.gateway.engines.choice import engine_of
from cpms_actors.gateway.routing import request_path
from cpms_actors.observe.counters import Counters
from tests.gateway.conftest import ENOUGH, HEADERS, MANY, Site, Worker, answer, echoed, is_taken, started, until


def test_every_connection_ends_at_its_owner_whoever_accepts_it(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        async with AsyncExitStack() as stack:
            clients = {
                f"{name}{number}": await stack.enter_async_context(site.client(f"{name}{number}"))
                for number in range(MANY)
                for name in ("A", "B")
            }
            await asyncio.gather(*map(echoed, clients.values()))
            assert (site.a.engine.open_count, site.b.engine.open_count) == (MANY, MANY)
            for worker in (site.a, site.b):
                remotes = {head.path.decode(): head.remote for head in worker.heads}
                assert remotes == {
                    f"/ocpp/{name}": "{}:{}".format(*client.local_address) for name, client in clients.items() if name[0] == worker.name
                }
                assert worker.count("gateway.opening") == 0
                assert 0 < worker.count("gateway.passed_on") < MANY
            assert site.a.count("gateway.passed_on") == site.b.count("gateway.passed_in")
            assert site.b.count("gateway.passed_on") == site.a.count("gateway.passed_in")
            assert site.count("gateway.pass_failed") == site.count("gateway.unanswered") == 0

    site(use)


def test_many_at_once_end_at_their_owners(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        async def talk(name: str) -> None:
            async with site.client(name) as client:
                await echoed(client)

        await asyncio.gather(*(talk(f"{name}{number}") for number in range(100) for name in ("A", "B")))
        assert (len(site.a.heads), len(site.b.heads)) == (100, 100)
        assert site.count("gateway.passed_on") == site.count("gateway.passed_in") > 0

    site(use)


def test_a_path_that_comes_byte_by_byte_is_routed_and_looked_at_once_per_byte(
    site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bytes] = []

    def look(head: bytes) -> Any:
        looks.append(head)
        return request_path(head)

    monkeypatch.setattr(arrivals, "request_path", look)

    async def use(site: Site) -> None:
        for _ in range(ENOUGH):
            if site.a.count("gateway.passed_in") and site.a.count("gateway.passed_in") < len(site.a.heads):
                break  # one was passed on and one was not
            looks.clear()
            reader, writer = await site.dial()
            line = b"GET /ocpp/A1 HTTP/1.1\r\n"
            for size in range(1, len(line) + 1):
                writer.write(line[size - 1 : size])
                await until(lambda wanted=line[:size]: looks[-1:] == [wanted])
                for _ in range(20):  # rounds of the loop in which nothing comes
                    await asyncio.sleep(0)
            assert looks == [line[:size] for size in range(1, len(line) + 1)]
            writer.write(HEADERS)
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 101 ")
            writer.write(b"\x81\x85\0\0\0\0hello")
            assert await asyncio.wait_for(reader.readexactly(7), 5) == b"\x81\x05hello"
            writer.close()
        assert len(site.a.heads) > site.a.count("gateway.passed_in") == site.b.count("gateway.passed_on") > 0

    site(use)


def test_what_was_sent_with_the_head_is_not_lost(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        for number in range(ENOUGH):
            if site.a.count("gateway.passed_on"):
                break
            reader, writer = await site.dial(b"GET /ocpp/B%d HTTP/1.1\r\n" % number + HEADERS + b"\x81\x85\0\0\0\0hello")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert await asyncio.wait_for(reader.readexactly(7), 5) == b"\x81\x05hello"
            writer.close()
        assert site.a.count("gateway.passed_on") > 0

    site(use)


@pytest.mark.parametrize("head", [b"hello\r\n\r\n", b"\r\n\r\n", b"POST /ocpp/A1 HTTP/1.1\r\n\r\n", b"GET /raise HTTP/1.1 x\r\n\r\n"])
def test_what_is_no_request_is_answered_by_the_engine(site: Callable[..., None], head: bytes) -> None:
    async def use(site: Site) -> None:
        reader, writer = await site.dial(head)
        assert (await answer(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()
        assert site.count("gateway.passed_on") == 0

    site(use)


def test_what_is_nobody_s_is_answered_by_the_door(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        reader, writer = await site.dial(b"GET /ocpp/C1 HTTP/1.1\r\n" + HEADERS)
        assert (await answer(reader)).startswith(b"HTTP/1.1 404 ")
        writer.close()
        assert site.count("gateway.refused.404") == 1

    site(use)


def test_an_owner_that_is_none_does_not_pass_it_back(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        site.a.others["C"], site.b.others["C"] = site.b.address, site.a.address
        reader, writer = await site.dial(b"GET /ocpp/C1 HTTP/1.1\r\n" + HEADERS)
        assert (await answer(reader)).startswith(b"HTTP/1.1 404 ")
        writer.close()
        assert site.count("gateway.passed_on") == site.count("gateway.passed_in") == 1

    site(use)


def test_who_names_itself_keeps_it(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        site.a.others["A"], site.b.others["B"] = site.a.address, site.b.address
        for _ in range(MANY):
            async with site.client("A1") as client:
                await echoed(client)
        assert site.a.count("gateway.passed_on") == 0

    site(use)


def test_a_routing_that_raises_keeps_it(tmp_path: Path) -> None:
    async def main() -> None:
        worker = Worker(tmp_path, "A")
        async with started(worker) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /raise HTTP/1.1\r\n" + HEADERS)
            assert (await answer(reader)).startswith(b"HTTP/1.1 404 ")
            writer.close()
        assert worker.count("gateway.faults") == 1

    asyncio.run(main())


def test_a_sibling_that_is_gone_is_a_503_with_a_time_to_come_back(site: Callable[..., None]) -> None:
    async def use(site: Site) -> None:
        async with site.client("B1") as client:  # a cached connection to it does not matter
            await echoed(client)
        await site.b.engine.stop()
        for number in range(4):
            reader, writer = await site.dial(b"GET /ocpp/B%d HTTP/1.1\r\n" % number + HEADERS)
            said = await asyncio.wait_for(reader.read(), 5)
            assert writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, "a reset came after it"
            assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            head, body = said.split(b"\r\n\r\n")
            headers = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])
            assert 5 <= int(headers[b"Retry-After"]) < 30
            assert int(headers[b"Content-Length"]) == len(body) > 0
            writer.close()
            async with site.client(f"A{number}") as client:
                await echoed(client)
        assert (site.a.count("gateway.pass_failed"), site.a.count("gateway.refused.503")) == (4, 4)

    site(use)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_who_is_alone_looks_at_nothing(run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "request_path", None)

    async def main() -> None:
        worker = Worker(tmp_path, "A", lonely=True)
        async with started(worker) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: worker.count("gateway.opening") == 1)
            async with connect(f"ws://127.0.0.1:{port}/ocpp/A1", subprotocols=["ocpp1.6"], proxy=None) as client:  # type: ignore[list-item]
                await echoed(client)
            assert worker.count("gateway.opening.peak") == 2
            assert worker.count("gateway.peeking.peak") == 0
            writer.close()
        assert worker.count("gateway.faults") == 0

    run(main())


def test_the_setting_s_engine_gets_the_routing(tmp_path: Path) -> None:
    async def main() -> None:
        worker = Worker(tmp_path, "A")
        engine = engine_of(Gateway(port=0), worker.enter, Counters(), None, worker)  # type: ignore[arg-type]  # it has no tasks
        await engine.start()
        assert is_taken(tmp_path)
        await engine.stop()
        assert not is_taken(tmp_path)

    asyncio.run(main())
