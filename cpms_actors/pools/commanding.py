"""Commands that work on a whole system as its owner: what they need of it, and what they say when a server is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Settings
from cpms_actors.bus.client import close, connect
from cpms_actors.store.owning import owner_dsn


@asynccontextmanager
async def as_command(settings: Settings, name: str) -> AsyncIterator[Client]:
    """A connection to NATS while the block runs. Raises OperatorError when the owner of the database is not named, Unavailable for
    whatever the block raises because NATS or Postgres is not there."""
    owner_dsn(settings.postgres)
    client = await connect(settings.nats, name, patient=False)
    try:
        yield client
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable(f"a server does not answer: {error!r}") from error
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
        raise Unavailable(f"Postgres is not available: {error}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await close(client)
