"""One NATS connection of one process: reconnects for ever, finds a dead peer in seconds, and says so in the log."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import subject_token
from cpms_actors.base.settings import Nats
from cpms_actors.observe import logs

log = logs.get("bus")

CLOSE_S: Final = 2
IMPATIENT_S: Final = 3.0  # for a first connection, to whichever of the servers
RETRY_S: Final = 0.25
PINGS_MAX: Final = 2  # that are unanswered at the next one: the peer is dead, after three intervals at most


class _Client(Client):
    """Drops what a dead peer has not taken, before nats-py waits until it has; and notices a socket that is closed when it writes."""

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        try:
            return await super()._flush_pending(force_flush)
        except (OSError, RuntimeError) as error:  # the latter is uvloop's word for a socket that is closed
            await self._process_op_err(ConnectionResetError(str(error)))
            flushed = asyncio.get_running_loop().create_future()
            flushed.set_result(None)  # as while it is disconnected: what waits is sent when it is back
            return flushed

    async def _process_op_err(self, e: Exception) -> None:
        if not (self.is_closed or self.is_reconnecting):
            _abort(self)
        await super()._process_op_err(e)


async def connect(settings: Nats, name: str, *, url: str = "", inbox: str = "_INBOX", patient: bool = True) -> Client:
    """Connect as `name`; answers come to `inbox`, which the broker may pin a user to.

    A patient client waits for the first connection as long as it takes (processes start in any order); an impatient one, such as
    a command line, raises Unavailable at once, or within `IMPATIENT_S`. Once connected both reconnect for ever.
    """
    client = _Client()
    awaited = False

    async def on_error(error: Exception) -> None:
        nonlocal awaited
        if not patient:
            return  # an impatient client raises its one failure; reporting it twice helps nobody
        if client.is_connected:
            log.warning("nats_error", error=repr(error), client=name)
        elif not awaited:  # said once, however often it is tried
            awaited = True
            log.warning("nats_awaited", error=repr(error), client=name)

    async def on_lost() -> None:
        if not client.is_closed:
            log.warning("nats_disconnected", client=name)

    async def on_back() -> None:
        nonlocal awaited
        awaited = False
        log.info("nats_reconnected", client=name)

    try:
        async with asyncio.timeout(None if patient else IMPATIENT_S):
            await client.connect(
                servers=[server.strip() for server in (url or settings.url).split(",")],
                name=name,
                inbox_prefix=inbox,
                ping_interval=settings.ping_interval_s,  # type: ignore[arg-type]  # seconds; its own sleep takes fractions
                max_outstanding_pings=PINGS_MAX,
                reconnect_time_wait=RETRY_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1 if patient else 1,
                connect_timeout=2,
                drain_timeout=5,
                error_cb=on_error,
                disconnected_cb=on_lost,
                reconnected_cb=on_back,
            )
    except (NatsError, OSError, TimeoutError) as error:
        _abort(client)
        raise Unavailable(f"NATS does not answer: {str(error) or type(error).__name__}") from error
    awaited = False
    return client


async def close(client: Client) -> None:
    """End the connection for good, whatever has become of the server, within some `CLOSE_S`. Whoever may be cancelled shields this.

    nats-py's own `close` writes what waits. When the server went first that is refused (uvloop: RuntimeError) and the rest of its
    ending is left out; a server that is frozen never takes it. So it finds nothing that waits.
    """
    try:
        if client.is_connected:
            await client.flush(CLOSE_S)
    except (NatsError, OSError, RuntimeError) as error:
        log.debug("nats_closed_unsent", error=repr(error))
        _abort(client)
    client._pending, client._pending_data_size = [], 0  # private, and pinned
    await client.close()


def _abort(client: Client) -> None:
    """Drop the connection and what waits to be written to it: nats-py would wait until a dead peer has taken that."""
    if client._transport:  # it has a socket
        client._transport._io_writer.transport.abort()  # type: ignore[attr-defined]  # private, and pinned


async def subscribed(client: Client) -> None:
    """Return when the server knows of every subscription made so far; raises as `flush` does.

    nats-py writes the PING of a flush ahead of the commands that still wait for its flusher: they go out while the first flush waits,
    and the answer to the second comes after them.
    """
    for _ in range(2):
        await client.flush()


async def listening(client: Client) -> None:
    """The same for a process that starts: it waits as long as it takes. Raises NatsError only when the client is closed."""
    while True:
        try:
            await subscribed(client)
        except (NatsError, OSError, RuntimeError) as error:
            if client.is_closed:
                raise
            log.debug("nats_not_listening_yet", error=repr(error))
        else:
            if client.is_connected:  # else nobody was asked
                return
        await asyncio.sleep(RETRY_S)


async def unsubscribed(client: Client, subscriptions: Iterable[Subscription]) -> None:
    """End subscriptions, and return when all that the server had sent for them has been handled.

    nats-py's `unsubscribe` forgets what waits to be handled; its `drain` flushes once, which is no barrier either (see above).
    """
    ended = list(subscriptions)
    if not client.is_connected:
        return  # the connection has taken them along
    for subscription in ended:
        await client._send_unsubscribe(subscription._id)  # private, and pinned
    with suppress(NatsError):  # it was lost on the way
        await subscribed(client)
        for subscription in ended:
            await subscription._pending_queue.join()
    for subscription in ended:
        with suppress(NatsError):
            await subscription.unsubscribe()


def operator_inbox(operator: str) -> str:
    """Where an operator's answers go: the broker lets nobody else listen there."""
    return f"_INBOX_{subject_token(operator)}"
