"""A running operations pool for the tests of its verbs, and a world for those of the sweeper."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.pools import operations
from tests.pools.running_pool import running
from tests.pools.sweeping import World, worlds


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def operations_settings(nats_url: str, postgres: Postgres) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=postgres, credential_key="a secret of every process")


@pytest.fixture
async def client(operations_settings: Settings) -> AsyncIterator[Client]:
    client = await bus.connect(operations_settings.nats, "test")
    yield client
    await client.close()


@pytest.fixture
async def ask(operations_settings: Settings, client: Client) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """A running operations pool, and a function that asks it: the response's fields, or the error's."""

    async def asked(verb: str, body: Mapping[str, Any] | bytes = b"", **fields: Any) -> Any:
        data = body if isinstance(body, bytes) and body else msgspec.json.encode(fields)
        message = await client.request(subjects.admin("tester", verb), data, timeout=10)
        reply = msgspec.json.decode(message.data)
        return reply["ok"] if "ok" in reply else reply["error"]

    async with running(operations.run, operations_settings):
        yield asked


@pytest.fixture
def settings(nats_url: str, fresh_postgres: Callable[[], Postgres]) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=fresh_postgres())


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    client = await bus.connect(settings.nats, "test")
    await ensure_stream(client.jetstream(), settings)
    async with worlds(client, settings) as world:
        yield world
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()
