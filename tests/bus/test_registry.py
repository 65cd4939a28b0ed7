"""The registry's mirror on a real nats-server: complete at start, followed afterwards, and right again after an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NoKeysError
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
    heard: list[tuple[str, object]] = []

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


async def mirror(client: Client, bucket: KeyValue, registry: Registry) -> "asyncio.Task[None]":
    running = asyncio.create_task(registry.run())
    await registry.complete(10)
    return running


def with_bucket(url: str, use: Callable[[Client, KeyValue], Awaitable[None]]) -> None:
    async def main() -> None:
        client = await connect(Nats(url=url), "test")
        try:
            bucket = await open_bucket(client.jetstream(), subjects.REGISTRY_BUCKET, 1)
            for name in [name async for name in names(bucket)]:
                await bucket.purge(name)
            await use(client, bucket)
        finally:
            await client.close()

    asyncio.run(main())


async def names(bucket: KeyValue) -> AsyncIterator[str]:
    with suppress(NoKeysError):
        for name in await bucket.keys():
            yield name


def test_every_change_of_a_tenant_is_heard_after_the_first_reading(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        heard: list[tuple[str, object]] = []
        await bucket.put("tenant.old", msgspec.msgpack.encode(Tenant("old")))
        registry = Registry(client, bucket, lambda *_: None, lambda name, tenant: heard.append((name, tenant and tenant.profile0)))
        running = await mirror(client, bucket, registry)
        assert heard == []
        await bucket.put("tenant.old", msgspec.msgpack.encode(Tenant("old", profile0=True)))
        await bucket.put("tenant.old", msgspec.msgpack.encode(Tenant("old", profile0=True)))
        await bucket.put("tenant.new", msgspec.msgpack.encode(Tenant("new")))
        await bucket.delete("tenant.old")
        await until(lambda: "old" not in registry.tenants)
        assert heard == [("old", True), ("new", False), ("old", None)], "what is put as it was is no change"
        running.cancel()

    with_bucket(nats_url, use)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (key("CP1"), msgspec.msgpack.encode({"tenant": "default", "identity": "CP1", "boot": "Accepted-With-Conditions"})),
        (key("CP1"), b"\xc1"),
        ("tenant.default", msgspec.msgpack.encode({"id": "default", "strictness": "a word of a newer release"})),
        ("tenant.=FF", msgspec.msgpack.encode(Tenant("x"))),
        ("charger", b"x"),
        ("charger.1", b"x"),
    ],
    ids=["newer word", "no msgpack", "newer tenant", "unreadable name", "no charger", "no identity"],
)
def test_what_cannot_be_read_leaves_what_was_before_and_everything_else_in_force(nats_url: str, name: str, value: bytes) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        await bucket.put("tenant.default", msgspec.msgpack.encode(Tenant("default", profile0=True)))
        await put(bucket, "CP1", security_profile=2)
        registry = Registry(client, bucket, lambda *_: None)
        running = await mirror(client, bucket, registry)
        await bucket.put(name, value)
        await put(bucket, "CP2")
        await until(lambda: ("default", "CP2") in registry.chargers)
        assert registry.chargers["default", "CP1"].security_profile == 2
        assert registry.tenants["default"].profile0
        running.cancel()

        again = Registry(client, bucket, lambda *_: None)
        running = await mirror(client, bucket, again)
        assert ("default", "CP2") in again.chargers, "a mirror that starts with it there is complete all the same"
        registry._on_read({"tenant.default", key("CP1"), name})
        assert set(registry.chargers) == {("default", "CP1")}, "a key that is there is not gone, readable or not"
        assert "default" in registry.tenants
        running.cancel()

    with_bucket(nats_url, use)


def test_one_can_wait_until_a_revision_is_known_readable_or_not(nats_url: str) -> None:
    async def use(client: Client, bucket: KeyValue) -> None:
        registry = Registry(client, bucket, lambda *_: None)
        running = await mirror(client, bucket, registry)
        for identity in ("CP1", "CP2", "CP3"):
            revision = await bucket.put(key(identity), msgspec.msgpack.encode(ChargerRecord("default", identity)))
            await asyncio.wait_for(registry.reached(revision), 10)
            assert ("default", identity) in registry.chargers
        await asyncio.wait_for(registry.reached(await bucket.put(key("CP1"), b"\xc1")), 10)
        last = await bucket.put(key("CP4"), msgspec.msgpack.encode(ChargerRecord("default", "CP4")))
        await asyncio.wait_for(registry.reached(last - 1), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(registry.reached(last + 1), 0.05)
        running.cancel()

    with_bucket(nats_url, use)


def test_a_listener_that_raises_does_not_end_the_mirror(nats_url: str) -> None:
    def bad(*_: object) -> None:
        raise RuntimeError("a fault of the listener's")

    async def use(client: Client, bucket: KeyValue) -> None:
        registry = Registry(client, bucket, bad, bad)
        running = await mirror(client, bucket, registry)
        await put(bucket, "CP1")
        await put(bucket, "CP2")
        await bucket.put("tenant.default", msgspec.msgpack.encode(Tenant("default")))
        await until(lambda: "default" in registry.tenants)
        registry._on_read(set())
        assert (registry.chargers, registry.tenants) == ({}, {}), "each of what is gone is gone"
        assert not running.done()
        running.cancel()

    with_bucket(nats_url, use)
