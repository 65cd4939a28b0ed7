"""Life and death of connections: pings, pong deadlines and closing deadlines for all of them, without a timer for any.

Every frame sets a flag on its connection and nothing else. A wheel holds the connections in spokes; each tick visits one spoke, a full
turn is a *round*, and what a visit finds is counted in rounds:

    heard since the last visit ──▶ silent = 0 … jitter        (a frame of any kind is life)
    not heard                  ──▶ silent + 1 ──▶ at ping_after: ping ──▶ at drop_after: drop

So a tick's work is bounded by the spoke, and pings are spread over a round, and over several by the jitter, even when ten thousand
chargers connected in the same second after a power cut. A connection that must be gone soon (it is closing, or it does not read) is
put forward on the same scale by `doom`, and needs no timer either.
"""

from collections.abc import Callable, Iterator
from math import ceil
from typing import Final, Generic, Protocol, Self, TypeVar

from msgspec import Struct

ROUNDS_PER_DEADLINE: Final = 8  # the shorter of ping interval and pong deadline is at least this many rounds
TICK_S_MIN: Final = 0.05
SPOKES_MAX: Final = 64


class Pinged(Protocol):
    """What the wheel needs of a connection."""

    heard: bool  # set by every frame, cleared by a visit
    silent: int  # rounds without a frame
    spoke: int

    def ping(self) -> None:
        """Ask for a sign of life."""
        ...

    def drop(self) -> None:
        """Cut the TCP connection. May be called more than once."""
        ...


_Peer = TypeVar("_Peer", bound=Pinged)


class Rounds(Struct, frozen=True):
    """The deadlines, counted in rounds of `round_s` seconds.

    A ping is sent after at most `ping_interval_s` of silence and, by jitter, up to a third earlier, so that it is also a keep-alive for
    the address translators on the way. The drop follows `pong_deadline_s` to one round later.
    """

    round_s: float
    spokes: int
    ping_after: int
    drop_after: int
    jitter: int

    @classmethod
    def of(cls, ping_interval_s: float, pong_deadline_s: float) -> Self:
        """The rounds for a ping interval and a pong deadline."""
        round_s = min(ping_interval_s, pong_deadline_s) / ROUNDS_PER_DEADLINE
        # A visit sees silence up to one round after it began, hence one round less.
        ping_after = max(1, int(ping_interval_s / round_s) - 1)
        return cls(
            round_s=round_s,
            spokes=max(1, min(SPOKES_MAX, int(round_s / TICK_S_MIN))),
            ping_after=ping_after,
            drop_after=ping_after + ceil(pong_deadline_s / round_s),
            jitter=ping_after // 4,
        )

    @property
    def tick_s(self) -> float:
        """Seconds from one spoke to the next."""
        return self.round_s / self.spokes

    def visit(self, peer: Pinged, chance: Callable[[], float]) -> None:
        """Count one round for a connection and do what is due. `chance` draws from 0 … 1."""
        if peer.heard:
            peer.heard = False
            peer.silent = int(chance() * (self.jitter + 1))
            return
        peer.silent += 1
        if peer.silent >= self.drop_after:
            peer.drop()
        elif peer.silent == self.ping_after:
            peer.ping()

    def doom(self, peer: Pinged, deadline_s: float) -> None:
        """Have the connection dropped unless it is heard before: after `deadline_s` or the pong deadline, whichever is shorter, to two
        rounds later."""
        peer.heard = False
        # No ping on the way: the count starts past it. One visit may come at once, hence one round more.
        peer.silent = max(self.ping_after, self.drop_after - ceil(deadline_s / self.round_s) - 1)


class Wheel(Generic[_Peer]):
    """The open connections in spokes, filled in turn."""

    def __init__(self, spokes: int) -> None:
        self._spokes: tuple[set[_Peer], ...] = tuple(set() for _ in range(spokes))
        self._filling = 0
        self._at = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_Peer]:
        """All of them, as they are now: callers may add and remove meanwhile."""
        return iter([peer for spoke in self._spokes for peer in spoke])

    def add(self, peer: _Peer) -> None:
        """Put a connection on the next spoke."""
        peer.spoke = self._filling
        self._spokes[peer.spoke].add(peer)
        self._filling = (self._filling + 1) % len(self._spokes)
        self._count += 1

    def remove(self, peer: _Peer) -> None:
        """Take a connection off. Raises KeyError when it is not there."""
        self._spokes[peer.spoke].remove(peer)
        self._count -= 1

    def turn(self) -> tuple[_Peer, ...]:
        """Move on by one spoke: the connections to visit now."""
        spoke = tuple(self._spokes[self._at])
        self._at = (self._at + 1) % len(self._spokes)
        return spoke
