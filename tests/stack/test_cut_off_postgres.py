"""A Postgres that is cut off without a word: whoever asks for a driver at a reader is told in time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from nats.aio.client import Client
from partition import way_to

from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import questions, subjects
from cpms_actors.domain.events import IdToken
from cpms_actors.pools import session
from tests.pools.running_pool import running

TOLD_S_MAX = 5.0


@asynccontextmanager
async def pool(settings: Settings) -> AsyncIterator[Client]:
    """A session pool, and a connection to ask it by."""
    async with running(session.run, settings):
        client = await bus.connect(settings.nats, "test")
        try:
            yield client
        finally:
            await bus.close(client)


def test_a_question_about_a_token_is_answered_within_five_seconds_and_the_next_finds_postgres_again(
    nats_server: Any, postgres_server: Any, postgres: Postgres
) -> None:
    question = questions.ENCODE(questions.AuthorizeQuestion("default", "CP", IdToken("T", "ISO14443")))

    async def ask(client: Client) -> bytes:
        return (await client.request(subjects.session(0, questions.AUTHORIZE), question, timeout=30)).data

    async def main() -> None:
        with way_to("127.0.0.1", postgres_server.port) as way:
            reached = replace(postgres, dsn=postgres.dsn.replace(f":{postgres_server.port}/", f":{way.port}/"))
            async with pool(Settings(nats=Nats(url=nats_server.url), postgres=reached)) as client:
                assert await ask(client) != questions.NO_ANSWER
                way.interrupt()
                began = time.monotonic()
                try:
                    assert await ask(client) == questions.NO_ANSWER
                    assert time.monotonic() - began < TOLD_S_MAX
                finally:
                    way.restore()
                async with asyncio.timeout(20):
                    while await ask(client) == questions.NO_ANSWER:
                        await asyncio.sleep(0.1)

    asyncio.run(main())
