"""Carrying connections to another node: bytes in, bytes out, nothing read.

    charger ══▶ accepted socket ──▶ here ──▶ the owner's inner port

On three nodes a load balancer that only hashes the path lands two thirds of the chargers on a wrong one; one that learns from
routing.NODE_HEADER nearly none. This is for those, and for while a slot moves. Each costs a second connection and a copy of every
byte, so their number is bounded.
"""

import asyncio
import contextlib
import socket
from typing import Final, cast

from cpms_actors.observe import logs
from cpms_actors.observe.counters import Counters

RELAYED_MAX: Final = 2_000
CONNECT_S: Final = 3.0
BUFFER_BYTES: Final = 65_536  # what waits for one end before the other is not read from

log = logs.get("gateway.relay")


class _End(asyncio.Protocol):
    """One end of a relayed connection: what comes is written to the other end, and reading waits while that one does not take it."""

    __slots__ = ("_early", "_ended", "_other", "_transport", "gone")

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._early: list[bytes] = []  # at most one read: reading pauses until there is another end
        self._ended = False

    def join(self, other: "_End") -> None:
        """The other end is there."""
        self._other = other
        for data in self._early:
            other.write(data)
        self._early.clear()
        if self._ended:
            other.finish()
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """The far side has said all."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)
            return
        self._early.append(data)
        if self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        other = self._other
        if other is not None:
            other.finish()
            if other._ended:  # both have said all: nothing else would end the two connections
                self.close()
                other.close()
        return True  # the other direction may go on

    def pause_writing(self) -> None:
        other = self._other
        if other is not None and other._transport is not None:
            other._transport.pause_reading()

    def resume_writing(self) -> None:
        other = self._other
        if other is not None and other._transport is not None and not other._ended:
            other._transport.resume_reading()

    def connection_lost(self, exception: Exception | None) -> None:
        self._transport = None
        if not self.gone.done():
            self.gone.set_result(None)


class Relay:
    """The relayed connections of one worker. Lives on the loop."""

    def __init__(self, counters: Counters) -> None:
        self._relayed = counters.gauge("gateway.relayed", bound=RELAYED_MAX)
        self._failed = counters.counter("gateway.relay_failed")
        self._tasks: set[asyncio.Task[None]] = set()

    def carry(self, accepted: socket.socket, address: str) -> bool:
        """Carry the connection to "host:port" from now on. False: there are too many, and the socket is still the caller's."""
        if len(self._tasks) >= RELAYED_MAX:
            self._relayed.refuse()
            return False
        task = asyncio.get_running_loop().create_task(self._carry(accepted, address))
        self._tasks.add(task)
        self._relayed.set(len(self._tasks))
        task.add_done_callback(self._done)
        return True

    async def stop(self) -> None:
        """Cut them all."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._relayed.set(len(self._tasks))

    async def _carry(self, accepted: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = address.rpartition(":")
        near, far = _End(), _End()
        try:
            try:
                await loop.connect_accepted_socket(lambda: near, accepted)
            except BaseException:
                accepted.close()
                raise
            async with asyncio.timeout(CONNECT_S):
                await loop.create_connection(lambda: far, host.strip("[]"), int(port))
            near.join(far)
            far.join(near)
            await asyncio.wait((near.gone, far.gone), return_when=asyncio.FIRST_COMPLETED)
            # What is buffered for the other end is still delivered; it has as long as a handshake.
            near.close()
            far.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.wait((near.gone, far.gone))
        except (OSError, TimeoutError) as error:
            self._failed.value += 1
            log.warning("relay_failed", address=address, error=repr(error))
        finally:
            near.cut()
            far.cut()
