"""The NATS side of a worker: the connection and what rests on it. Host loop."""

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Settings


class Bus:
    """One connection, with the settings that say how to use it."""

    def __init__(self, client: Client, jetstream: JetStreamContext, settings: Settings) -> None:
        self.client = client
        self.jetstream = jetstream
        self.settings = settings

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask; raises Unavailable when nobody answers in time."""
        try:
            return (await self.client.request(subject, data, timeout=timeout_s)).data
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"{subject}: {error!r}") from error
