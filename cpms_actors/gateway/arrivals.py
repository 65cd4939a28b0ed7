"""The accept stage of an engine whose port is shared with siblings: every socket is looked at before it is read.

    accept ──▶ peek ──▶ a path of ours, or no request line at all ──▶ keep ─────────────────────┐
                 │  ├─▶ a sibling's path ──▶ pass on; if that cannot be done: 503               ├──▶ in turn ──▶ the engine's
                 │  ├─▶ another node's ──▶ carry the bytes there                                │                handshake
                 │                what a sibling passed in or another node carried here ────────┘
                 └────▶ incomplete ──▶ wait for more, until the deadline

The turn is that of the gates' pace, and whoever is charging has it first. Who would wait for it too long is told to return.

What waits costs one entry and no timer. It is counted with the unfinished handshakes (`gateway.opening`) and bounded with them.
What came from another worker is never passed on, so nothing goes round in circles: if it is not ours either, the door says so.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from math import inf
from typing import Any, Final

from cpms_actors.gateway.accepting import Acceptor, reset
from cpms_actors.gateway.connections import Connections
from cpms_actors.gateway.engine import Refused
from cpms_actors.gateway.gates import TICK_S, TURNED_AWAY, Pace
from cpms_actors.gateway.passage import Passage
from cpms_actors.gateway.relay import Relay
from cpms_actors.gateway.routing import REQUEST_LINE_BYTES_MAX, Routing, request_path
from cpms_actors.observe.counters import Counters

SWEEPS_PER_DEADLINE: Final = 8  # an overdue socket is found so much later at most
SWEEP_S_MIN: Final = 0.02
UNREAD_BYTES: Final = 65_536


class _Peeked:
    """A socket whose request line is not complete."""

    __slots__ = ("accepted", "deadline", "seen")

    def __init__(self, accepted: socket.socket, deadline: float) -> None:
        self.accepted = accepted
        self.deadline = deadline  # on the loop's clock
        self.seen = 0  # bytes that were there at the last look


class Arrivals:
    """Accepts, peeks, passes on, and hands to `keep` what is this engine's. Start and stop it on the loop.

    `connections.arrive` has let in what is kept, and the engine tells its departure. `keep` runs as a task of ours and must come to an
    end by itself.
    """

    def __init__(
        self,
        routing: Routing,
        connections: Connections[Any],
        counters: Counters,
        keep: Callable[[socket.socket], Coroutine[Any, Any, None]],
    ) -> None:
        self._routing = routing
        self._connections = connections
        self._keep = keep
        self._relay = Relay(counters)
        self._passage = Passage(routing.address, self._take_in, routing.moved, self._relay.take_over, counters)
        self._acceptors: list[Acceptor] = []
        self._waiting: dict[_Peeked, None] = {}  # in the order of their deadlines
        self._sweeping: asyncio.TimerHandle | None = None
        pace = connections.gates.pace
        self._turns = max(1, int(pace.allowed)) if pace is not None else inf  # left of this tick
        self._first: deque[socket.socket] = deque()  # they wait for their turn, whoever is charging
        self._others: deque[socket.socket] = deque()  # and the others, at most Pace.room
        self._ticking: asyncio.TimerHandle | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._peeking = counters.gauge("gateway.peeking", bound=connections.limits.openings)
        self._in_line = counters.gauge("gateway.in_line", bound=connections.limits.openings)
        self._passed_on = counters.counter("gateway.passed_on")
        self._passed_in = counters.counter("gateway.passed_in")
        self._relayed_in = counters.counter("gateway.relayed_in")
        self._relayed_on = counters.counter("gateway.relayed_on")
        self._pass_failed = counters.counter("gateway.pass_failed")
        self._timeouts = counters.counter("gateway.peek_timeouts")
        self._paused = counters.counter("gateway.accept_paused")

    def start(self, listening: socket.socket) -> None:
        """Accept from a listening socket, which is ours from now on, from siblings and from other nodes.

        Raises OSError when siblings cannot reach us.
        """
        try:
            self._passage.start()
        except BaseException:
            listening.close()
            raise
        pace = self._connections.gates.pace
        per_s = pace.accepts_per_s if pace is not None else None
        self._acceptors = [Acceptor(listening, self._arrive, self._paused, per_s)]
        if self._routing.inner is not None:
            self._acceptors.append(Acceptor(self._routing.inner.dup(), self._carried_here, self._paused, per_s))
        for acceptor in self._acceptors:
            acceptor.start()

    def pass_on(self, address: str, descriptor: int, packet: bytes) -> bool:
        """Give the socket of an open connection, with what is known of it, to the sibling at an address; the caller closes its own."""
        return self._passage.send(address, descriptor, packet)

    async def stop(self) -> None:
        """Accept no more, give what is carried to other nodes to siblings, and reset what waits. When it returns, everything kept is in
        the engine's hands. Idempotent."""
        while self._acceptors:
            self._acceptors.pop().stop()
        await self._relay.leave(self._routing.heirs(), self._passage.send_pair)
        self._passage.stop()
        await self._relay.stop()
        for peeked in tuple(self._waiting):
            self._give_up(peeked)
        for accepted in (*self._first, *self._others):
            self._connections.depart(answered=False)
            reset(accepted)
        self._first.clear()
        self._others.clear()
        for timer in (self._sweeping, self._ticking):
            if timer is not None:
                timer.cancel()
        self._sweeping = self._ticking = None
        if self._keeping:
            await asyncio.wait(self._keeping)  # not cancelled: they wait for the loop's next round and for nobody else

    def _arrive(self, accepted: socket.socket) -> None:
        if not self._connections.arrive():
            reset(accepted)
        elif self._routing.alone() and self._turns:
            self._take(accepted)
        else:
            self._look(_Peeked(accepted, asyncio.get_running_loop().time() + self._connections.limits.handshake_s))

    def _take_in(self, passed: socket.socket) -> None:
        self._passed_in.value += 1
        self._let_in(passed)

    def _carried_here(self, carried: socket.socket) -> None:
        self._relayed_in.value += 1
        self._let_in(carried)

    def _let_in(self, accepted: socket.socket) -> None:
        """From another worker: nobody looks at it again."""
        if self._connections.arrive():
            self._take(accepted)
        else:
            reset(accepted)

    def _take(self, accepted: socket.socket) -> None:
        """It is ours: as soon as it is its turn."""
        pace = self._connections.gates.pace
        if self._turns:
            self._turns -= 1
            self.keep(self._keep(accepted))
        elif pace is not None:
            self._line_up(accepted, pace)
        if self._ticking is None and pace is not None:
            self._tick_later()

    def _line_up(self, accepted: socket.socket, pace: Pace) -> None:
        if self._is_charging(accepted):
            self._first.append(accepted)
        elif len(self._others) < pace.room:
            self._others.append(accepted)
        else:
            self._turn_away(accepted)
        self._in_line.set(len(self._first) + len(self._others))

    def _turn_away(self, accepted: socket.socket) -> None:
        self._connections.depart(answered=True)
        _answer(accepted, self._connections.too_many())

    def _is_charging(self, accepted: socket.socket) -> bool:
        try:
            path = request_path(accepted.recv(REQUEST_LINE_BYTES_MAX, socket.MSG_PEEK))
        except OSError:  # it has said nothing yet, or has gone: that will be seen in its turn
            return False
        return isinstance(path, bytes) and self._connections.gates.charging(path)

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticking = loop.call_later(TICK_S, self._tick, loop.time() + TICK_S)

    def _tick(self, due: float) -> None:
        """The next turns; without anybody who used one there are no more ticks until somebody does."""
        pace = self._connections.gates.pace
        assert pace is not None  # else there are no ticks
        self._ticking = None
        late_s = asyncio.get_running_loop().time() - due
        self._turns = granted = pace.tick(late_s, wanted=bool(self._first or self._others), held=self._connections.most)
        for line in (self._first, self._others):
            while line and self._turns:
                self._turns -= 1
                self.keep(self._keep(line.popleft()))
        for _ in range(min(TURNED_AWAY, len(self._others) - pace.room)):  # it has slowed down: who came last would wait too long
            self._turn_away(self._others.pop())
        self._in_line.set(len(self._first) + len(self._others))
        if self._turns < max(1, granted):
            self._tick_later()

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what ends by itself, in a task of ours."""
        task = asyncio.get_running_loop().create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _look(self, peeked: _Peeked) -> None:
        try:
            head = peeked.accepted.recv(REQUEST_LINE_BYTES_MAX, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._wait(peeked)
            return
        except OSError:
            self._give_up(peeked)
            return
        path = request_path(head)
        if path != "incomplete":
            self._decide(peeked, path)
        elif len(head) > peeked.seen:
            peeked.seen = len(head)
            # The loop would find it readable in every round. From now on it is readable when there is more, or when there will not be.
            peeked.accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, peeked.seen + 1)
            self._wait(peeked)
        else:
            self._give_up(peeked)  # woken without a byte more: the peer has ended

    def _decide(self, peeked: _Peeked, path: bytes | None) -> None:
        self._forget(peeked)
        accepted = peeked.accepted
        if peeked.seen:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        owner = self._owner(path) if path is not None else ""
        if owner in ("", self._routing.address):
            self._take(accepted)
            return
        self._connections.depart(answered=True)
        if not owner.startswith("@"):
            self._carry(accepted, owner)
        elif self._passage.send(owner, accepted.fileno()):
            self._passed_on.value += 1
            accepted.close()
        else:
            self._pass_failed.value += 1
            _answer(accepted, self._connections.overloaded())

    def _carry(self, accepted: socket.socket, address: str) -> None:
        if self._relay.carry(accepted, address):
            self._relayed_on.value += 1
        else:
            _answer(accepted, self._connections.overloaded())

    def _owner(self, path: bytes) -> str:
        try:
            return self._routing.whose(path)
        except Exception:  # the boundary, as for a door
            self._connections.fault("routing")
            return ""

    def _wait(self, peeked: _Peeked) -> None:
        if peeked not in self._waiting:
            self._waiting[peeked] = None
            self._peeking.set(len(self._waiting))
            asyncio.get_running_loop().add_reader(peeked.accepted, self._look, peeked)
            if self._sweeping is None:
                self._sweep_later()

    def _forget(self, peeked: _Peeked) -> None:
        if peeked in self._waiting:
            del self._waiting[peeked]
            self._peeking.set(len(self._waiting))
            asyncio.get_running_loop().remove_reader(peeked.accepted)

    def _give_up(self, peeked: _Peeked) -> None:
        self._forget(peeked)
        self._connections.depart(answered=False)
        reset(peeked.accepted)

    def _sweep_later(self) -> None:
        every_s = max(SWEEP_S_MIN, self._connections.limits.handshake_s / SWEEPS_PER_DEADLINE)
        self._sweeping = asyncio.get_running_loop().call_later(every_s, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for peeked in tuple(self._waiting):
            if peeked.deadline > now:
                break
            self._timeouts.value += 1
            self._give_up(peeked)
        self._sweeping = None
        if self._waiting:
            self._sweep_later()


def _answer(accepted: socket.socket, refused: Refused) -> None:
    """Refuse before the handshake, as far as it can be said without waiting, and close."""
    body = f"{refused.text}\n".encode()
    headers = (("Connection", "close"), ("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *refused.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}\r\n{lines}\r\n".encode()
    with contextlib.suppress(OSError):  # the peer has gone, or does not read
        accepted.recv(UNREAD_BYTES)  # what is unread when we close would turn the answer into a reset
        accepted.send(head + body)
        accepted.shutdown(socket.SHUT_WR)
    accepted.close()
