"""The open connections of one engine: how many there are and were, how they ended, and the wheel that keeps them alive.

Both engines keep their books here, so that both count the same things under the same names (`gateway.*`, see the constructor) and
refuse at the same bounds. Nothing here knows a socket or a loop.
"""

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, Generic, Protocol, TypeVar

from cpms_actors.gateway.engine import Admitted, Door, Head, Limits, Refused
from cpms_actors.gateway.gates import MESSAGES_BURST_S, Charging, Gates, nobody
from cpms_actors.gateway.handshake import overloaded
from cpms_actors.gateway.listening import untaken
from cpms_actors.gateway.pings import Pinged, Rounds, Wheel
from cpms_actors.observe import logs
from cpms_actors.observe.counters import Counter, Counters

RETRY_AFTER_S: Final = (5, 30)  # told to whom there is no room for, drawn evenly so that they do not return together

_STATUSES: Final = (400, 401, 404, 426, 500, 503)
_DOOMED: Final = -1.0  # a moment that is past
_CODES: Final = (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013)

log = logs.get("gateway")


class Peer(Pinged, Protocol):
    """What the books need of a connection."""

    budget: int  # messages until `Connections.spent` is to be called; counted down with each, and never 0 without a limit
    paid_until: float  # of the books' clock: when what it has sent so far is no more than the limit

    def hold(self) -> None:
        """Do not read from the peer until `release`. May be called more than once."""
        ...

    def release(self) -> None:
        """Read again, unless there is another reason not to."""
        ...

    def descriptor(self) -> int:
        """Of its socket."""
        ...


_Peer = TypeVar("_Peer", bound=Peer)


class Connections(Generic[_Peer]):
    """The books of one engine. `emptied` is called whenever the last open connection has gone.

    `chance` draws from 0 … 1, `clock` tells seconds. The engine calls `probe` every `gates.WINDOW_S`.
    """

    def __init__(
        self,
        door: Door,
        limits: Limits,
        counters: Counters,
        chance: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        charging: Charging = nobody,
    ) -> None:
        self.limits = limits
        self.rounds = Rounds.of(limits.ping_interval_s, limits.pong_deadline_s)
        self.emptied: Callable[[], None] = _nothing
        self._door = door
        self._chance = chance or Random().random
        self._clock = clock
        self.gates = Gates(limits, counters, self._chance, clock, charging)
        self._wheel: Wheel[_Peer] = Wheel(self.rounds.spokes)
        self._held: dict[_Peer, float] = {}  # and until when
        self._open = counters.gauge("gateway.open", bound=limits.connections)
        self._opening = counters.gauge("gateway.opening", bound=limits.openings)
        self._refused = _table(counters, "gateway.refused", _STATUSES)
        self._closed = _table(counters, "gateway.closed", _CODES)
        self._moved = counters.counter("gateway.moved_on")
        self.dropped_silent = counters.counter("gateway.dropped.silent")
        self.dropped_slow = counters.counter("gateway.dropped.slow")
        self._unanswered = counters.counter("gateway.unanswered")
        self._holding = counters.gauge("gateway.held", bound=limits.connections)
        self._by_messages = counters.counter("gateway.gate.messages")
        self._faults = counters.counter("gateway.faults")

    def __len__(self) -> int:
        return len(self._wheel)

    @property
    def most(self) -> int:
        """How many were ever open at once."""
        return self._open.peak

    def __iter__(self) -> Iterator[_Peer]:
        return iter(self._wheel)

    def arrive(self) -> bool:
        """A TCP connection was accepted. False: too many handshakes are unfinished, reset it."""
        if self._opening.value >= self.limits.openings:
            self._opening.refuse()
            return False
        self._opening.set(self._opening.value + 1)
        return True

    def depart(self, *, answered: bool) -> None:
        """A handshake that `arrive` let in is over; not answered when there was no well-formed request in time."""
        self._opening.set(self._opening.value - 1)
        if not answered:
            self._unanswered.value += 1

    def answer(self, head: Head) -> Admitted | Refused:
        """Ask the door, if there is room and the gates let pass. A door that raises refuses with 500."""
        if len(self._wheel) >= self.limits.connections:
            self._open.refuse()
            return self.overloaded(head)
        held = self.gates.refusal(head.path)
        if held is not None:
            return self.refuse(held, head)
        try:
            answer = self._door(head)
        except Exception:  # the boundary: whatever is wrong with one head must not reach the listening socket
            self.fault("door", head.remote)
            answer = Refused(500, "internal error")
        return self.refuse(answer, head) if isinstance(answer, Refused) else self.gates.watched(answer, head.path)

    def too_many(self) -> Refused:
        """Refuse whoever would wait for too long, before its request is read; there is no reason to ask the door."""
        return self.refuse(self.gates.too_many())

    def overloaded(self, head: Head | None = None) -> Refused:
        """Refuse for want of room, with a time to come back that is drawn for this peer."""
        shortest, longest = RETRY_AFTER_S
        return self.refuse(overloaded(shortest + int(self._chance() * (longest - shortest))), head)

    def refuse(self, refused: Refused, head: Head | None = None) -> Refused:
        """Count a refusal."""
        _at(self._refused, refused.status).value += 1
        if logs.debug_on and head is not None:
            log.debug("refused", status=refused.status, why=refused.text, path=head.path.decode(errors="replace"), remote=head.remote)
        return refused

    def opened(self, peer: _Peer) -> None:
        """A handshake is complete. The wheel may ping and drop the connection from now on."""
        self._wheel.add(peer)
        self._open.set(len(self._wheel))

    def closed(self, peer: _Peer, code: int) -> None:
        """A connection that was opened is gone."""
        self._wheel.remove(peer)
        self._open.set(len(self._wheel))
        self.let_go(peer)
        _at(self._closed, code).value += 1
        if not len(self._wheel):
            self.emptied()

    def moved(self, peer: _Peer) -> None:
        """A connection that was opened has gone on to another process."""
        self._wheel.remove(peer)
        self._open.set(len(self._wheel))
        self.let_go(peer)
        self._moved.value += 1
        if not len(self._wheel):
            self.emptied()

    def turn(self) -> None:
        """Visit the next spoke; to be called every `rounds.tick_s`."""
        visit, chance = self.rounds.visit, self._chance
        for peer in self._wheel.turn():
            visit(peer, chance)

    def spent(self, peer: _Peer) -> None:
        """A connection has used up its budget of messages, a second's worth: it gets another, and is held if it is ahead of its time.

        Nothing is refused and nothing is lost: what it sends meanwhile waits in its own buffers, as TCP does it.
        """
        now = self._clock()
        peer.budget = self.limits.messages_per_s
        peer.paid_until = max(peer.paid_until, now - MESSAGES_BURST_S) + 1.0
        if peer.paid_until <= now:
            return
        if peer not in self._held:
            self._by_messages.value += 1
        self._held[peer] = peer.paid_until
        self._holding.set(len(self._held))
        peer.hold()

    def held(self, peer: _Peer) -> bool:
        """Whether a connection is held for its messages."""
        return peer in self._held

    def let_go(self, peer: _Peer) -> None:
        """A connection is closing or gone: there is nothing to hold it for."""
        if self._held.pop(peer, None) is not None:
            self._holding.set(len(self._held))

    def probe(self) -> None:
        """Measure the loop's lag, and read again from those who have been held for long enough."""
        self.gates.probe()
        if self._held:
            now = self._clock()
            for peer, until in list(self._held.items()):
                if untaken(peer.descriptor()):  # it is asked for no more before it has taken the answers, and has a time for that
                    if until != _DOOMED:
                        self._held[peer] = _DOOMED
                        self.rounds.doom(peer, self.limits.pong_deadline_s)
                    continue
                peer.heard = True  # that we do not listen is no silence of theirs
                if until <= now:
                    self.let_go(peer)
                    peer.release()

    def fault(self, where: str, remote: str = "") -> None:
        """An exception of ours is being handled: log it with its traceback and count it."""
        self._faults.value += 1
        log.exception("fault", where=where, remote=remote)


def _table(counters: Counters, name: str, keys: tuple[int, ...]) -> dict[int, Counter]:
    """One counter per key and one, under 0, for all others: a peer chooses its close code, so the names must not follow it."""
    return {key: counters.counter(f"{name}.{key}") for key in keys} | {0: counters.counter(f"{name}.other")}


def _at(table: dict[int, Counter], key: int) -> Counter:
    return table.get(key) or table[0]


def _nothing() -> None:
    pass
