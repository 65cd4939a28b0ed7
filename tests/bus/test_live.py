"""Checkpoints on a real nats-server: they survive the worker, and an older owner cannot overwrite a newer one's."""

import asyncio
from collections.abc import Awaitable, Callable

from nats.aio.client import Client

from cpms_actors.base.settings import Nats
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import LiveStore, open_bucket


def with_client(url: str, use: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        client = await connect(Nats(url=url), "test")
        try:
            await use(client)
        finally:
            await client.close()

    asyncio.run(main())


async def save(store: LiveStore, key: str, epoch: int, live: bytes) -> bool:
    told = asyncio.get_running_loop().create_future()
    assert store.save(key, epoch, live, told.set_result)
    async with asyncio.timeout(10):
        stored: bool = await told
    return stored


async def open_store(client: Client, fenced: list[str]) -> tuple[LiveStore, asyncio.Task[None]]:
    store = LiveStore(client.jetstream(), fenced.append)
    await store.load(await open_bucket(client.jetstream(), subjects.LIVE_BUCKET, 1), range(64))
    return store, asyncio.create_task(store.run())


def test_the_next_owner_takes_what_the_last_saved(nats_url: str) -> None:
    async def use(client: Client) -> None:
        first, running = await open_store(client, [])
        assert await save(first, "5.t.a", 1, b"one")
        assert await save(first, "5.t.a", 1, b"two")
        assert await save(first, "5.t.b", 1, b"other")
        running.cancel()
        second, running = await open_store(client, [])
        assert second.take("5.t.a") == b"two"
        assert second.take("5.t.a") is None
        assert await save(second, "5.t.a", 2, b"three")
        running.cancel()

    with_client(nats_url, use)


def test_an_older_owner_is_fenced_and_told(nats_url: str) -> None:
    async def use(client: Client) -> None:
        fenced: list[str] = []
        old, running_old = await open_store(client, fenced)
        assert await save(old, "6.t.a", 1, b"one")
        new, running_new = await open_store(client, [])
        assert await save(new, "6.t.a", 2, b"two")
        assert not await save(old, "6.t.a", 1, b"late")
        assert fenced == ["6.t.a"]
        assert await save(new, "6.t.a", 2, b"three")
        running_old.cancel()
        running_new.cancel()

    with_client(nats_url, use)


def test_a_save_of_ours_that_was_thought_lost_does_not_fence_us(nats_url: str) -> None:
    """The answer to a save may time out although it was stored: the next save finds our own epoch in the way and goes on."""

    async def use(client: Client) -> None:
        fenced: list[str] = []
        store, running = await open_store(client, fenced)
        assert await save(store, "7.t.a", 3, b"one")
        other = LiveStore(client.jetstream(), fenced.append)
        running_other = asyncio.create_task(other.run())
        assert await save(other, "7.t.a", 3, b"two")  # knows no revision, as after a lost answer
        assert fenced == []
        running.cancel()
        running_other.cancel()

    with_client(nats_url, use)


def test_a_checkpoint_that_cannot_be_read_costs_only_its_charger(nats_url: str) -> None:
    async def use(client: Client) -> None:
        bucket = await open_bucket(client.jetstream(), subjects.LIVE_BUCKET, 1)
        await bucket.put("8.t.bad", b"\xc1")
        first, running = await open_store(client, [])
        assert await save(first, "8.t.good", 1, b"one")
        running.cancel()
        second, running = await open_store(client, [])
        assert (second.take("8.t.good"), second.take("8.t.bad")) == (b"one", None)
        assert await save(second, "8.t.bad", 1, b"anew")
        running.cancel()

    with_client(nats_url, use)
