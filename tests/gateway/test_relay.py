"""Connections carried between nodes: two engines on ports of their own, each with an inner one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from cpms_actors.gateway import relay
from cpms_actors.gateway.listening import endpoint, listen
from tests.gateway.conftest import Worker

RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@asynccontextmanager
async def two_nodes(folder: Path) -> AsyncIterator[tuple[Worker, Worker, str]]:
    """Workers A and B of two nodes, and the URL of A."""
    a, b = Worker(folder, "A"), Worker(folder, "B")
    for worker in (a, b):
        worker.inner = listen("127.0.0.1", 0)
    try:
        assert a.inner is not None
        assert b.inner is not None
        a.others, b.others = {"B": endpoint(b.inner.getsockname())}, {"A": endpoint(a.inner.getsockname())}
        port = await a.engine.start()
        await b.engine.start()
        yield a, b, f"ws://127.0.0.1:{port}/ocpp"
    finally:
        await a.engine.stop()
        await b.engine.stop()
        for worker in (a, b):
            if worker.inner is not None:
                worker.inner.close()


def dial(url: str) -> connect:
    return connect(url, subprotocols=["ocpp1.6"], proxy=None, max_size=None)  # type: ignore[list-item]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


@RUNS
def test_a_charger_at_the_wrong_node_is_served_by_the_right_one(run: Callable[[Any], None], tmp_path: Path) -> None:
    async def main() -> None:
        async with two_nodes(tmp_path) as (a, b, url):
            async with dial(f"{url}/B1") as far, dial(f"{url}/A1") as near:
                for text in ("hello", "x" * 200_000, "ende"):
                    for socket in (far, near):
                        await socket.send(text)
                        assert await socket.recv() == text
                assert [head.path for head in b.heads] == [b"/ocpp/B1"]
                assert (a.count("gateway.relayed_on"), b.count("gateway.relayed_in"), a.count("gateway.relayed")) == (1, 1, 1)
            assert far.close_code == 1000
            await until(lambda: a.count("gateway.relayed") == 0)
            await until(lambda: b.engine.open_count == 0)

    run(main())


@RUNS
def test_what_the_owner_says_last_arrives_and_its_end_is_the_chargers(run: Callable[[Any], None], tmp_path: Path) -> None:
    async def main() -> None:
        async with two_nodes(tmp_path) as (_, b, url), dial(f"{url}/B1") as socket:
            await b.engine.stop(1001, "leaving")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (1001, "leaving")

    run(main())


@RUNS
def test_an_owner_that_cannot_be_reached_costs_this_connection_only(run: Callable[[Any], None], tmp_path: Path) -> None:
    async def main() -> None:
        async with two_nodes(tmp_path) as (a, b, url):
            assert b.inner is not None
            await b.engine.stop()
            b.inner.close()
            with pytest.raises((InvalidMessage, ConnectionError)):
                await dial(f"{url}/B1")
            await until(lambda: a.count("gateway.relay_failed") == 1)
            async with dial(f"{url}/A1") as socket:
                await socket.send("still here")
                assert await socket.recv() == "still here"

    run(main())


@RUNS
def test_the_relayed_are_bounded_and_one_too_many_is_told_to_come_back(
    run: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RELAYED_MAX", 1)

    async def main() -> None:
        async with two_nodes(tmp_path) as (_, _, url), dial(f"{url}/B1"):
            with pytest.raises(InvalidStatus) as refused:
                await dial(f"{url}/B2")
            assert refused.value.response.status_code == 503
            assert "Retry-After" in refused.value.response.headers

    run(main())


@RUNS
def test_a_reader_that_does_not_read_holds_the_writer_up_and_nothing_is_lost(run: Callable[[Any], None], tmp_path: Path) -> None:
    """The echo goes the whole way back through the relay; what is not read there must not pile up here, and comes in the end."""

    async def main() -> None:
        async with two_nodes(tmp_path) as (_, _, url):
            socket = await dial(f"{url}/B1")
            texts = [str(number) * 20_000 for number in range(10)]
            socket.transport.pause_reading()
            for text in texts:
                await socket.send(text)
            await asyncio.sleep(0.1)
            socket.transport.resume_reading()
            assert [await socket.recv() for _ in texts] == texts
            await socket.close()

    run(main())
