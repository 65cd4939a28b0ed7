"""Others who have every connection that Postgres has to give."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from cpms_actors.base.settings import Postgres


@asynccontextmanager
async def no_connection_left(postgres: Postgres) -> AsyncIterator[None]:
    """While the block runs nobody gets one, and what users of this database had was taken from them."""
    superuser = await asyncpg.connect(postgres.owner_dsn)
    async with AsyncExitStack() as others:
        others.push_async_callback(superuser.close)
        ended = True
        while ended:  # whoever was quicker is asked to leave again
            while (other := await _one(postgres)) is not None:
                others.push_async_callback(other.close)
            ended = bool(
                await superuser.fetch(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE usename = 'cpms_app' AND datname = current_database() AND application_name <> 'others'"
                )
            )
        yield


async def _one(postgres: Postgres) -> "asyncpg.Connection[asyncpg.Record] | None":
    try:
        return await asyncpg.connect(postgres.dsn, server_settings={"application_name": "others"})
    except asyncpg.TooManyConnectionsError:
        return None
