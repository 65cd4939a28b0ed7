"""The registry's mirror on a real nats-server: complete at start, followed afterwards, and right again after an outage."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import slot_of
from cpms_actors.base.settings import Nats
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.registry import Registry
from cpms_actors.domain.access import ChargerRecord, Tenant


def key(identity: str) -> str:
    return f"charger.{subjects.charger_key(slot_of('default', identity), 'default', identity)}"


async def put(bucket: KeyValue, identity: str, **record: Any) -> None:
    await bucket.put(key(identity), msgspec.msgpack.encode(ChargerRecord("default", identity, **record)))


async def until(true: Any, deadline_s: float = 15) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.01)


async def insist(work: Callable[[], Awaitable[None]]) -> None:
    """JetStream answers a little later than the server it lives in."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await work()
            except (NatsError, TimeoutError):
                await asyncio.sleep(0.05)


def test_what_is_there_is_read_and_changes_are_heard(nats_server: Any) -> None:
    heard: list[tuple[str, bool | None]] = []

    async def main() -> None:
        client = await connect(Nats(url=nats_server.url, ping_interval_s=0.5), "test")
        bucket = await open_bucket(client.jetstream(), subjects.REGISTRY_BUCKET, 1)
        registry = Registry(client, bucket, lambda tenant, identity, record: heard.append((identity, record and record.enabled)))
        await bucket.put("tenant.default", msgspec.msgpack.encode(Tenant("default", profile0=True)))
        await put(bucket, "CP.1+x")
        await put(bucket, "CP2")
        running = asyncio.create_task(registry.run())
        await registry.complete(10)
        assert registry.tenants["default"].profile0
        assert set(registry.chargers) == {("default", "CP.1+x"), ("default", "CP2")}
        assert heard == []

        await put(bucket, "CP2", enabled=False)
        await bucket.delete(key("CP.1+x"))
        await until(lambda: len(heard) == 2)
        assert heard == [("CP2", False), ("CP.1+x", None)]

        nats_server.stop()
        nats_server.start()  # in this thread: the server dies with the thread that starts it
        await until(lambda: client.is_connected)
        await insist(lambda: put(bucket, "CP3"))
        await until(lambda: ("default", "CP3") in registry.chargers)
        await bucket.delete(key("CP2"))
        await until(lambda: ("default", "CP2") not in registry.chargers)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()

    asyncio.run(main())


def test_a_registry_that_cannot_be_read_is_unavailable(nats_url: str) -> None:
    async def main() -> None:
        client = await connect(Nats(url=nats_url), "test")
        bucket = await open_bucket(client.jetstream(), subjects.REGISTRY_BUCKET, 1)
        registry = Registry(client, bucket, lambda *_: None)
        with pytest.raises(Unavailable, match="registry"):
            await registry.complete(0.05)
        await client.close()

    asyncio.run(main())
