"""Carrying connections to another node: bytes in, bytes out, nothing read.

    charger ══▶ accepted socket ──▶ here ──▶ the owner's inner port

On three nodes a load balancer that only hashes the path lands two thirds of the chargers on a wrong one; one that learns from
routing.NODE_HEADER nearly none. This is for those, and for while a slot moves. Each costs a second connection and a copy of every
byte, so their number is bounded.

A worker that ends gives both sockets of a pair to a sibling, which goes on: neither side sees anything of it. They go when nothing
of theirs is in this process: not read from any more, and all that was read is the kernel's again. What a side has ended needs no word,
since the kernel tells it to whoever reads next.
"""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, cast

from cpms_actors.observe import logs
from cpms_actors.observe.counters import Counters

RELAYED_MAX: Final = 2_000
CONNECT_S: Final = 3.0
BUFFER_BYTES: Final = 65_536  # what waits for one end before the other is not read from
MOVE_S: Final = 2.0  # a pair whose bytes have not left by then is cut
MOVE_LOOK_S: Final = 0.002

log = logs.get("gateway.relay")


PassOn = Callable[[str, int, int], bool]
"""Gives the two sockets of a pair to the sibling at an address; False: it does not take them now."""


class _End(asyncio.Protocol):
    """One end of a relayed connection: what comes is written to the other end, and reading waits while that one does not take it."""

    __slots__ = ("_early", "_held", "_other", "_transport", "ended", "gone")

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self.ended = False  # the peer has said all
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._early: list[bytes] = []  # at most one read: reading pauses until there is another end
        self._held = False

    def join(self, other: "_End") -> None:
        """The other end is there."""
        self._other = other
        for data in self._early:
            other.write(data)
        self._early.clear()
        if self.ended:
            other.finish()
        else:
            self._read()

    def hold(self) -> None:
        """Read nothing more, for good."""
        self._held = True
        self._read_not()

    def at_rest(self) -> bool:
        """Whether nothing of it is in this process: held, joined, open, all written."""
        transport = self._transport
        return (
            self._held
            and self._other is not None
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def descriptor(self) -> int:
        """Of the socket of an end that is at rest."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("socket").fileno())

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """The far side has said all."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # this side has just gone; that is told by itself
                self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Let go of the socket at once, without a word: it ends, unless another process has it too."""
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
        self._read_not()

    def eof_received(self) -> bool:
        self.ended = True
        other = self._other
        if other is not None:
            other.finish()
            if other.ended:  # both have said all: nothing else would end the two connections
                self.close()
                other.close()
        return True  # the other direction may go on

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other._read_not()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other._read()

    def connection_lost(self, exception: Exception | None) -> None:
        self._transport = None
        if not self.gone.done():
            self.gone.set_result(None)

    def _read(self) -> None:
        if self._transport is not None and not (self._held or self.ended or self._transport.is_closing()):
            self._transport.resume_reading()

    def _read_not(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()


class _Pair:
    """Both ends of a relayed connection."""

    __slots__ = ("far", "moved", "near")

    def __init__(self) -> None:
        self.near, self.far = _End(), _End()
        self.moved = False  # a sibling goes on with it

    async def converse(self) -> None:
        """Both ends are there: carry until they have gone. What is buffered for one is still delivered when the other has gone; it
        has as long as a handshake."""
        near, far = self.near, self.far
        near.join(far)
        far.join(near)
        if not (near.ended and far.ended):
            await asyncio.wait((near.gone, far.gone), return_when=asyncio.FIRST_COMPLETED)
        near.close()
        far.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await asyncio.wait((near.gone, far.gone))

    def come_to_rest(self) -> bool:
        """Read nothing more, for good; whether nothing of it is in this process."""
        self.near.hold()
        self.far.hold()
        return self.near.at_rest() and self.far.at_rest()

    def cut(self) -> None:
        self.near.cut()
        self.far.cut()


class Relay:
    """The relayed connections of one worker. Lives on the loop.

    `gateway.relays_moved_on` and `gateway.relays_moved_in` count those that went to a sibling and came from one, `gateway.relays_cut`
    those that ended with this worker.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._relayed = counters.gauge("gateway.relayed", bound=RELAYED_MAX)
        self._failed = counters.counter("gateway.relay_failed")
        self._moved_on = counters.counter("gateway.relays_moved_on")
        self._moved_in = counters.counter("gateway.relays_moved_in")
        self._cut = counters.counter("gateway.relays_cut")
        self._pairs: dict[asyncio.Task[None], _Pair] = {}
        self._clock = clock
        self._leaving = False
        self._stopped = False

    def carry(self, accepted: socket.socket, address: str) -> bool:
        """Carry the connection to "host:port" from now on. False: there are too many, or it has stopped, and the socket is still the
        caller's."""
        return self._begin(partial(self._carry, accepted, address))

    def take_over(self, near: socket.socket, far: socket.socket) -> None:
        """Go on with what a sibling has carried until now; the sockets are ours. There may be too many: then it ends."""
        if not self._leaving and self._begin(partial(self._go_on, near, far)):
            self._moved_in.value += 1
        else:
            near.close()
            far.close()

    async def leave(self, heirs: Sequence[str], pass_on: PassOn) -> None:
        """Give the pairs to the siblings at these addresses, in turn, each when it is at rest.

        `stop` cuts what has not come to rest within MOVE_S, and what nobody takes. From now on nothing is taken over.
        """
        self._leaving = True
        addresses = deque(heirs)
        until = self._clock() + MOVE_S
        while addresses and self._clock() < until and (waiting := [pair for pair in self._pairs.values() if not pair.moved]):
            for pair in waiting:
                if pair.come_to_rest() and self._move(pair, addresses, pass_on):
                    pair.moved = True
                    pair.cut()  # no word of it leaves: the sibling has the sockets too
            await asyncio.sleep(MOVE_LOOK_S)  # an end takes what was written, a sibling what it was passed

    async def stop(self) -> None:
        """Cut them all. From now on nothing is carried."""
        self._stopped = True
        if self._pairs:
            await asyncio.sleep(0)  # a task that has not begun when it is cancelled would not close its sockets
        self._cut.value += (cut := sum(not pair.moved for pair in self._pairs.values()))
        if self._pairs:
            log.info("relays_left", moved=self._moved_on.value, cut=cut)
        for task in self._pairs:
            task.cancel()
        if self._pairs:
            await asyncio.wait(self._pairs)

    def _move(self, pair: _Pair, addresses: deque[str], pass_on: PassOn) -> bool:
        for address in tuple(addresses):
            addresses.rotate(-1)
            if pass_on(address, pair.near.descriptor(), pair.far.descriptor()):
                self._moved_on.value += 1
                return True
        return False

    def _begin(self, work: Callable[[_Pair], Coroutine[Any, Any, None]]) -> bool:
        if self._stopped or len(self._pairs) >= RELAYED_MAX:
            self._relayed.refuse()
            return False
        pair = _Pair()
        task = asyncio.get_running_loop().create_task(work(pair))
        self._pairs[task] = pair
        self._relayed.set(len(self._pairs))
        task.add_done_callback(self._done)
        return True

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self._pairs[task]
        self._relayed.set(len(self._pairs))

    async def _carry(self, accepted: socket.socket, address: str, pair: _Pair) -> None:
        host, _, port = address.rpartition(":")
        try:
            await _attach(pair.near, accepted)
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: pair.far, host.strip("[]"), int(port))
            await pair.converse()
        except (OSError, TimeoutError) as error:
            self._failed.value += 1
            log.warning("relay_failed", address=address, error=repr(error))
        finally:
            pair.cut()

    async def _go_on(self, near: socket.socket, far: socket.socket, pair: _Pair) -> None:
        try:
            try:
                await _attach(pair.near, near)
            except BaseException:
                far.close()
                raise
            await _attach(pair.far, far)
            await pair.converse()
        except OSError as error:  # gone while it was on its way
            self._failed.value += 1
            log.warning("relay_failed", address="", error=repr(error))
        finally:
            pair.cut()


async def _attach(end: _End, connected: socket.socket) -> None:
    """Feed the end from a socket, which is the loop's from now on. Raises OSError."""
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: end, connected)
    except BaseException:
        connected.close()
        raise
