"""A bucket is read whole, although the client may say too early that it is (real nats-server)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.js.client import JetStreamContext
from nats.js.kv import KeyValue

from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.watching import Watch, entries

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    yield client
    await client.close()


@pytest.fixture
async def bucket(client: Client) -> AsyncIterator[KeyValue]:
    yield await open_bucket(client.jetstream(), "TEST", 1)
    await client.jetstream().delete_key_value("TEST")


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's answer that nothing is left to be sent overtakes what it has sent: as far as the client knows, nothing has come."""
    told = JetStreamContext.PushSubscription.consumer_info

    async def late(self: Any) -> Any:
        await asyncio.sleep(0.2)  # all of it is sent
        return await told(self)

    monkeypatch.setattr(JetStreamContext.PushSubscription, "consumer_info", late)
    monkeypatch.setattr(Subscription, "delivered", 0)
    monkeypatch.setattr(JetStreamContext.PushSubscription, "delivered", 0)


async def test_all_of_a_bucket_is_read_although_the_client_says_first_that_it_is_over(bucket: KeyValue, overtaken: None) -> None:
    for number in range(20):
        await bucket.put(f"{number % 2}.{number}", b"v")
    await bucket.delete("1.19")
    whole = [entry async for entry in entries(bucket)]
    assert len(whole) == 20
    assert [value for key, value, _ in whole if key == "1.19"] == [None]
    assert len([entry async for entry in entries(bucket, "0.>")]) == 10
    assert [entry async for entry in entries(bucket, "2.>")] == []


async def test_an_empty_bucket_is_read_at_once(bucket: KeyValue) -> None:
    assert [entry async for entry in entries(bucket)] == []


async def test_whoever_follows_is_not_told_that_everything_has_gone(client: Client, bucket: KeyValue, overtaken: None) -> None:
    await bucket.put("a", b"1")
    await bucket.put("b", b"2")
    heard: list[tuple[str, bytes | None, int]] = []
    read: list[set[str]] = []
    watch = Watch(client, bucket, "test", lambda *entry: heard.append(entry), lambda seen: read.append(set(seen)))
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(10):
            while not read:
                await asyncio.sleep(0.01)
            await bucket.put("c", b"3")
            while len(heard) < 3:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert read == [{"a", "b"}]
    assert [key for key, _, _ in heard] == ["a", "b", "c"]
