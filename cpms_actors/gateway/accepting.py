"""Accepting connections of a listening socket by hand, where the loop's own servers would read what they accept."""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from cpms_actors.gateway.gates import TICK_S, TICKS_MOST
from cpms_actors.observe.counters import Counter

BATCH: Final = 8  # accepted per round of the loop: a storm must not starve who is connected
PAUSE_S: Final = 0.1  # without a free descriptor the listening socket stays readable, and the loop would spin

_LINGER_NOT: Final = struct.pack("ii", 1, 0)

# The connection died before it was accepted, or the network told it an error that is not ours (accept(2)): on with the next.
_ITS_OWN: Final = frozenset(
    (
        errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH,
        errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM,
    )
)  # fmt: skip


class Acceptor:
    """Feeds `take` with the connections of a listening socket, which it owns from now on; they do not block. Start and stop it on the
    loop. `paused` counts how often it had to pause, for want of descriptors or memory. `per_s` tells how many it may accept per second
    at present, one per tick at least; the kernel keeps the others."""

    def __init__(
        self,
        listening: socket.socket,
        take: Callable[[socket.socket], None],
        paused: Counter,
        per_s: Callable[[], float] | None = None,
    ) -> None:
        self._listening = listening
        self._take = take
        self._paused = paused
        self._per_s = per_s
        self._tick_ends = 0.0  # on the loop's clock
        self._left = BATCH  # of this tick
        self._resuming: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._resuming = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept no more and close the listening socket. Idempotent."""
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if self._listening.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()

    def _accept(self) -> None:
        for _ in range(self._may_accept()):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _ITS_OWN:
                    continue
                self._pause()
                return
            self._left -= 1
            accepted.setblocking(False)
            self._take(accepted)

    def _may_accept(self) -> int:
        """How many in this round of the loop; 0, and on with the next tick, when none is left of this one."""
        if self._per_s is None:
            return BATCH
        now = asyncio.get_running_loop().time()
        if now >= self._tick_ends:
            # Where some had to wait all the time since counts, as for the pace: a busy loop would keep them waiting longer.
            ticks = 1.0 if self._left else min(1.0 + (now - self._tick_ends) / TICK_S, TICKS_MOST)
            self._tick_ends, self._left = now + TICK_S, max(1, int(self._per_s() * TICK_S * ticks))
        elif not self._left:
            self._rest(self._tick_ends - now)
        return min(BATCH, self._left)

    def _pause(self) -> None:
        self._paused.value += 1
        self._rest(PAUSE_S)

    def _rest(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._resuming = loop.call_later(delay_s, self.start)


def reset(accepted: socket.socket) -> None:
    """Close a TCP connection at once: the peer sees a reset, and the kernel keeps nothing of it."""
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    accepted.close()
