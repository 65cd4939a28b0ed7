"""The slots of a worker: what is done when they come and go. `bus.slots.Leases` says when.

A slot that goes to a sibling takes its open connections along: each is passed on in a moment when nothing of it is under way here, and
waits there, unread, until the slot has been claimed.

    here:  ... ─▶ at rest ─▶ passed on ─┐                          ─▶ all passed, all durable ─▶ release
    there:                              └▶ parked ─────────────────────────────────────────────────────▶ claimed ─▶ resumed

What goes to another node is sent away, in a drain one charger after the other, while the slot is served and nobody is let in on it.

Whoever dies half way costs the charger a reconnection: the kernel closes what a dead process held, and what is parked for too long, or
for a slot that had another owner in between, is closed.

Everything here runs on the host loop.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final, cast
from uuid import uuid4

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from cpms_actors.base.ids import SLOTS, from_subject_token, lane_of, slot_of
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import Journal, Lane
from cpms_actors.bus.live import LiveStore, open_bucket
from cpms_actors.bus.slots import Duties, Leases, Presence
from cpms_actors.bus.waves import Window
from cpms_actors.charger import moving
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.moving import Moved
from cpms_actors.charger.office import Slot
from cpms_actors.gateway.engine import SERVICE_RESTART, Movable, Mover
from cpms_actors.node.siblings import Siblings
from cpms_actors.observe import logs

log = logs.get("worker")

SETTLE_S: Final = 1.0
MOVE_S: Final = 2.0  # a connection that has not come to rest by then is closed
MOVE_LOOK_S: Final = 0.002
PARKED_S: Final = 10.0
PARKED_MAX: Final = 20_000
_ELSEWHERE: Final = "this charger is served elsewhere now"


class WorkerSlots:
    """The slots that a worker serves, by number, and the chargers that it knows on them, by tenant and identity."""

    def __init__(
        self,
        jetstream: JetStreamContext,
        journal: Journal,
        siblings: Siblings,
        follow: Callable[[Iterable[int]], Awaitable[None]],
        resume: Callable[[Moved, socket.socket], None],
        chance: Callable[[], float] | None = None,
    ) -> None:
        """`follow` listens to what is asked of slots, `resume` goes on with a connection of one that is served, `chance` draws from
        0 … 1."""
        self.served: dict[int, Slot] = {}
        self.chargers: dict[tuple[str, str], Charger] = {}
        self.live = LiveStore(jetstream, self._fenced)
        self.leases: Leases | None = None
        self._journal = journal
        self._siblings = siblings
        self._follow = follow
        self._resume = resume
        self.mover: Mover | None = None  # the engine, if it is one
        self._parked: dict[int, list[tuple[Moved, socket.socket]]] = {}
        self._parked_now = self._parked_peak = self._moved_on = self._moved_in = self._unmoved = self._unclaimed = 0
        self._chance = chance or Random().random
        self._ends: dict[int, list[asyncio.TimerHandle]] = {}  # of slots in their windows, or before: what is still to happen there
        self._closed: set[int] = set()  # to newcomers
        self._sent_away = 0
        siblings.on_moved = self._arrived
        self._bucket: KeyValue | None = None

    async def open(self, client: Client, jetstream: JetStreamContext, name: str, replicas: int) -> None:
        """Appear among the workers and claim what can be had. Raises NatsError and the like."""
        self._bucket = await open_bucket(jetstream, subjects.LIVE_BUCKET, replicas)
        owners = await open_bucket(jetstream, subjects.SLOTS_BUCKET, replicas)
        siblings = self._siblings
        presence = Presence(name, uuid4().hex, siblings.node, siblings.address, inner=siblings.inner_address)
        duties = Duties(
            self._follow,
            self._claimed,
            self._renewed,
            self._lost,
            self._settled,
            self._moved,
            self._evict,
            self._send_away,
            self._away,
            self._keep,
        )
        self.leases = siblings.leases = Leases(client, owners, presence, range(SLOTS), duties)
        await self.leases.begin(ready=False)

    def open_to_newcomers(self, slot: int) -> bool:
        """Whether chargers of a slot may be let in: one that is served, and whose chargers are not being sent away; and none while
        somebody might take this worker for dead."""
        return slot in self.served and slot not in self._closed and self.leases is not None and not self.leases.suspended

    def counters(self) -> dict[str, int]:
        """How slots came and went."""
        leases = self.leases
        if leases is None:
            return {}
        return {
            "slots_claimed": leases.claims,
            "slots_left": leases.losses,
            "slots_moved": leases.moves,
            "suspensions": leases.suspensions,
            "moved_on": self._moved_on,
            "moved_in": self._moved_in,
            "moves_failed": self._unmoved,
            "moves_parked": self._parked_now,
            "moves_parked_peak": self._parked_peak,
            "moves_unclaimed": self._unclaimed,
            "sent_away": self._sent_away,
        }

    async def _claimed(self, epochs: Mapping[int, int]) -> None:
        """They are ours: read what their chargers left behind, and serve them."""
        assert self._bucket is not None  # opened before
        found = await self.live.load(self._bucket, epochs)
        lanes = self._journal.lanes
        self.served |= {slot: Slot(slot, lane_of(slot), epoch, lanes[lane_of(slot)]) for slot, epoch in epochs.items()}
        for slot in epochs:
            for moved, passed in self._unpark(slot):
                self._take_in(slot, moved, passed)
        log.info("slots_served", slots=len(self.served), gained=len(epochs), checkpoints=found)

    def _renewed(self, epochs: Mapping[int, int]) -> None:
        """They are still ours, and nobody else had them: their chargers go on under the new epoch."""
        for slot, epoch in epochs.items():
            self.served[slot].epoch = epoch

    async def _lost(self, slots: Sequence[int]) -> None:
        """They are not ours any more: their chargers are sent away, and nobody new is let in."""
        for slot in slots:
            self.served.pop(slot, None)
            self._forget_window(slot)
        lost = set(slots)
        for key in [key for key, charger in self.chargers.items() if charger.slot.number in lost]:
            # Should it come back here, it starts from its checkpoint.
            self.chargers.pop(key).lose(SERVICE_RESTART, _ELSEWHERE)

    async def _settled(self) -> None:
        """What was said for slots that we give back is stored, or has had its time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                for lane in self._journal.lanes:
                    await _durable(lane)
                while self.live.waiting:  # noqa: ASYNC110  # nobody else has to know
                    await asyncio.sleep(SETTLE_S / 100)

    # -- a drain

    def _send_away(self, windows: Mapping[int, Window]) -> None:
        """These slots are to be given back: when its window begins a slot is closed to newcomers, and until it ends its chargers are
        sent away, each at a moment of its own. What is left is sent away when the slot is lost."""
        loop = asyncio.get_running_loop()
        for slot, window in windows.items():
            self._ends[slot] = [loop.call_later(window.begins, self._begin_window, slot, window.since(window.begins))]

    def _begin_window(self, slot: int, window: Window) -> None:
        loop = asyncio.get_running_loop()
        self._closed.add(slot)
        chargers = [charger for charger in self.chargers.values() if charger.slot.number == slot]
        self._ends[slot] = [loop.call_later(window.moment(self._chance()), self._send_one_away, charger) for charger in chargers]

    def _send_one_away(self, charger: Charger) -> None:
        if charger.line is not None:
            self._sent_away += 1
            _send_away((charger,), _ELSEWHERE)

    def _away(self, slot: int) -> bool:
        """Whether nobody is left on a slot whose window has begun."""
        return slot in self._closed and all(charger.idle for charger in self.chargers.values() if charger.slot.number == slot)

    def _keep(self) -> None:
        """We serve on: who has not been sent away yet stays, and newcomers are let in."""
        for slot in tuple(self._ends):
            self._forget_window(slot)

    def _forget_window(self, slot: int) -> None:
        for end in self._ends.pop(slot, ()):
            end.cancel()
        self._closed.discard(slot)

    # -- connections that go along

    async def _moved(self, slot: int, epoch: int, heir: Presence) -> None:
        """A slot goes to a sibling: pass on what is connected, each when it is at rest; send away what does not come to rest."""
        self.served.pop(slot, None)
        self._forget_window(slot)
        ours = {key: charger for key, charger in self.chargers.items() if charger.slot.number == slot}
        waiting = list(ours.values())
        loop = asyncio.get_running_loop()
        until = loop.time() + MOVE_S
        while (waiting := [charger for charger in waiting if not self._pass_on(charger, epoch, heir)]) and loop.time() < until:
            for charger in waiting:
                charger.line.connection.hold()  # type: ignore[union-attr]  # it has a line, of a Mover; again, as a gate may let go
            await asyncio.sleep(MOVE_LOOK_S)  # a turn ends, a page becomes durable, a sibling takes what it was passed
        self._unmoved += len(waiting)
        for key in ours:
            left = self.chargers.pop(key, None)
            if left is not None:  # housekeeping may have forgotten it, once its line had gone
                left.lose(SERVICE_RESTART, _ELSEWHERE)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await _durable(self._journal.lanes[lane_of(slot)])
        log.info("slot_moved", slot=slot, to=heir.name, chargers=len(ours), closed=len(waiting))

    def _pass_on(self, charger: Charger, epoch: int, heir: Presence) -> bool:
        """Whether a charger has no connection here, or has none any more."""
        line = charger.line
        if line is None:
            return True
        connection = cast(Movable, line.connection)
        if self.mover is None or not connection.movable():
            return charger.line is None
        moved = charger.moving(epoch, connection.agreement)
        if moved is None or not self.mover.pass_on(heir.address, connection, moving.encode(moved)):
            return False
        charger.parted()
        self._moved_on += 1
        return True

    def _arrived(self, packet: bytes, passed: socket.socket) -> None:
        """A sibling has passed a connection: keep it until its slot is ours."""
        try:
            moved = moving.decode(packet)
        except msgspec.DecodeError as error:  # of a release that does not know ours
            log.warning("moved_unreadable", error=str(error))
            self._unclaimed += 1
            passed.close()
            return
        slot = slot_of(moved.tenant, moved.identity)
        if slot in self.served:
            self._take_in(slot, moved, passed)
        elif self._parked_now >= PARKED_MAX:
            self._unclaimed += 1
            passed.close()
        else:
            parked = self._parked.get(slot)
            if parked is None:
                parked = self._parked[slot] = []
                asyncio.get_running_loop().call_later(PARKED_S, self._expire, slot, parked)
            parked.append((moved, passed))
            self._parked_now += 1
            self._parked_peak = max(self._parked_peak, self._parked_now)

    def _take_in(self, slot: int, moved: Moved, passed: socket.socket) -> None:
        """Go on with it, if its slot came to us from whoever passed it, and from nobody since."""
        if self.leases is not None and self.leases.followed.get(slot) == moved.epoch:
            self._moved_in += 1
            self._resume(moved, passed)
        else:
            self._unclaimed += 1
            passed.close()

    def _unpark(self, slot: int) -> list[tuple[Moved, socket.socket]]:
        parked = self._parked.pop(slot, [])
        self._parked_now -= len(parked)
        return parked

    def _expire(self, slot: int, parked: list[tuple[Moved, socket.socket]]) -> None:
        """The slot did not become ours."""
        if self._parked.get(slot) is parked:
            for _, passed in self._unpark(slot):
                self._unclaimed += 1
                passed.close()

    def stop(self) -> None:
        """Close what waits, and send nobody away any more."""
        self._keep()
        for slot, parked in tuple(self._parked.items()):
            self._expire(slot, parked)

    def _evict(self) -> None:
        """We have had no contact with the broker for long, and others can serve our chargers."""
        _send_away(self.chargers.values(), "this worker has lost touch; connect again")

    def _fenced(self, key: str) -> None:
        """Another worker owns this charger's slot: what we would answer is not ours to say."""
        _, tenant, identity = key.split(".")
        charger = self.chargers.get((from_subject_token(tenant), from_subject_token(identity)))
        if charger is not None:
            _send_away((charger,), _ELSEWHERE)


async def _durable(lane: Lane) -> None:
    """Everything that was appended so far is, or nobody waits for it any more."""
    done = asyncio.Event()
    lane.settled(done.set)
    await done.wait()


def _send_away(chargers: Iterable[Charger], reason: str) -> None:
    for charger in chargers:
        if charger.line is not None:
            charger.line.close(SERVICE_RESTART, reason)
