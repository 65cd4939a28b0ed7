"""A connection as the role that owns the database, whom row level security does not bind: for a command, never for a pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Postgres

Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CONNECT_S: Final = 10.0


def owner_dsn(postgres: Postgres) -> str:
    """The database as its owner. Raises OperatorError when nobody has said who that is."""
    if not postgres.owner_dsn:
        raise OperatorError("owner_dsn", "set CPMS_POSTGRES_OWNER_DSN to the database, as the role that owns it")
    return postgres.owner_dsn


@asynccontextmanager
async def as_owner(dsn: str) -> AsyncIterator[Owner]:
    """Connected while the block runs. Raises OperatorError when the server refuses the owner, Unavailable when there is none."""
    try:
        connection: Owner = await asyncpg.connect(dsn, timeout=_CONNECT_S, server_settings={"timezone": "UTC"})
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise OperatorError("postgres-owner", f"Postgres refuses the owner: {error}; correct CPMS_POSTGRES_OWNER_DSN") from None
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable(f"no Postgres: {error}") from error
    try:
        yield connection
    finally:
        await connection.close()
