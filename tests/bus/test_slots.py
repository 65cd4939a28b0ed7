"""Ownership of slots on a real nats-server: the newest claim wins, and whoever held the slot before hears of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from cpms_actors.base.settings import Nats
from cpms_actors.bus import slots, subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import open_bucket


def with_bucket(url: str, use: Callable[[Client, KeyValue], Awaitable[None]]) -> None:
    async def main() -> None:
        client = await connect(Nats(url=url, ping_interval_s=0.5), "test")
        try:
            await use(client, await open_bucket(client.jetstream(), subjects.SLOTS_BUCKET, 1))
        finally:
            await client.close()

    asyncio.run(main())


async def until(true: Callable[[], bool], deadline_s: float = 15) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.01)


def test_every_claim_of_a_slot_has_a_larger_epoch(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        first = await slots.claim(bucket, range(8), "a", 1)
        second = await slots.claim(bucket, range(8), "b", 2)
        assert sorted(first) == list(range(8))
        assert all(second[slot] > first[slot] for slot in first)

    with_bucket(nats_url, use)


def test_the_owner_before_hears_of_exactly_the_slots_that_were_claimed_after_it(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        lost_by_a: list[int] = []
        lost_by_b: list[int] = []
        a = await slots.claim(bucket, range(4), "a", 1)
        watching = [asyncio.create_task(slots.watch(client, bucket, a, lost_by_a.append))]
        b = await slots.claim(bucket, [1, 3], "b", 2)
        watching.append(asyncio.create_task(slots.watch(client, bucket, b, lost_by_b.append)))
        await until(lambda: len(lost_by_a) == 2)
        await slots.claim(bucket, [3], "c", 3)
        await until(lambda: lost_by_b == [3])
        assert sorted(lost_by_a) == [1, 3], "a slot is lost once"
        for task in watching:
            task.cancel()

    with_bucket(nats_url, use)


def test_a_claim_from_before_the_watch_is_heard_of_and_a_deleted_key_is_no_claim(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        lost: list[int] = []
        mine = await slots.claim(bucket, [1, 2, 3], "a", 1)
        await slots.claim(bucket, [2], "b", 2)
        await bucket.delete("1")
        await bucket.put("no-slot", b"")
        watching = asyncio.create_task(slots.watch(client, bucket, mine, lost.append))
        await until(lambda: lost == [2])
        await slots.claim(bucket, [3], "b", 2)
        await until(lambda: lost == [2, 3])
        watching.cancel()

    with_bucket(nats_url, use)


def test_a_listener_that_raises_hears_of_the_other_slots_all_the_same(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        lost: list[int] = []

        def bad(slot: int) -> None:
            lost.append(slot)
            raise RuntimeError("a fault of the listener's")

        mine = await slots.claim(bucket, [1, 2], "a", 1)
        watching = asyncio.create_task(slots.watch(client, bucket, mine, bad))
        await slots.claim(bucket, [1, 2], "b", 2)
        await until(lambda: sorted(lost) == [1, 2])
        assert not watching.done()
        watching.cancel()

    with_bucket(nats_url, use)


def test_a_claim_is_heard_of_after_an_outage(nats_server: Any) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        lost: list[int] = []
        mine = await slots.claim(bucket, [5, 6], "a", 1)
        watching = asyncio.create_task(slots.watch(client, bucket, mine, lost.append))
        await slots.claim(bucket, [6], "b", 2)
        await until(lambda: lost == [6])
        nats_server.stop()
        nats_server.start()  # in this thread: the server dies with the thread that starts it
        await until(lambda: client.is_connected)
        async with asyncio.timeout(15):
            while not lost[1:]:
                with suppress(NatsError, TimeoutError):
                    await slots.claim(bucket, [5], "b", 2)
                await asyncio.sleep(0.1)
        assert lost == [6, 5], "what was told is not told again"
        watching.cancel()

    with_bucket(nats_server.url, use)


def test_a_watch_ends_when_it_is_cancelled_even_if_its_client_is_closed(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        lost: list[int] = []
        mine = await slots.claim(bucket, [1], "a", 1)
        watching = asyncio.create_task(slots.watch(client, bucket, mine, lost.append))
        await slots.claim(bucket, [1], "b", 2)
        await until(lambda: lost == [1])
        await client.close()
        watching.cancel()
        await asyncio.wait([watching], timeout=5)
        assert watching.cancelled()

    with_bucket(nats_url, use)
