"""One NATS connection of one process: reconnects for ever, finds a dead peer in seconds, and says so in the log."""

from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Nats
from cpms_actors.observe import logs

log = logs.get("bus")


async def connect(settings: Nats, name: str, *, url: str = "", patient: bool = True) -> Client:
    """Connect as `name`.

    A patient client waits for the first connection as long as it takes (processes start in any order); an impatient one, such as
    a command line, raises Unavailable at once. Once connected both reconnect for ever.
    """

    async def on_error(error: Exception) -> None:
        log.warning("nats_error", error=repr(error), client=name)

    async def on_lost() -> None:
        log.warning("nats_disconnected", client=name)

    async def on_back() -> None:
        log.info("nats_reconnected", client=name)

    options: dict[str, Any] = {
        "servers": [server.strip() for server in (url or settings.url).split(",")],
        "name": name,
        "ping_interval": settings.ping_interval_s,
        "max_outstanding_pings": 2,
        "reconnect_time_wait": 0.25,
        "max_reconnect_attempts": -1,
        "connect_timeout": 2,
        "allow_reconnect": True,
        "error_cb": on_error,
        "disconnected_cb": on_lost,
        "reconnected_cb": on_back,
        "drain_timeout": 5,
    }
    if not patient:
        options |= {"max_reconnect_attempts": 1, "error_cb": _quiet}
    try:
        return await nats.connect(**options)
    except (NoServersError, NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"NATS does not answer: {error}") from error


async def _quiet(error: Exception) -> None:
    """An impatient client raises its one failure; reporting it twice helps nobody."""
