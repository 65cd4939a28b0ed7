"""Leases of slots in a KV bucket: `bus.ownership` decides, this carries it out.

    member.<name>    the presence of a worker, renewed every `renew_s`
    <slot>           who owns the slot; the revision is its epoch

Every claim and every release is a compare-and-set on the revision last seen. A slot is served from when its claim is stored and its
checkpoints are read until it is lost or given back, and it is given back only once it is not served any more.

A slot that is to be a sibling's, on the same node, is given back by itself, and its open connections go on there: they are passed
before the release and wait there for the claim. Each says with which epoch it was parted from, and whoever claims sees in the record
that it replaces whether that was the last.

Slots that go elsewhere in a drain are given back one after the other: each when its chargers have been sent away, one by one, or when
its time is up (`bus.waves`). Until then it is served, but nobody is let in on it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError
from nats.js.kv import KeyValue

from cpms_actors.base.ids import from_subject_token, subject_token
from cpms_actors.bus.ownership import Holding, Member, Terms, View, decide, owner_of, suspended
from cpms_actors.bus.watching import Watch
from cpms_actors.bus.waves import Window, windows
from cpms_actors.observe import logs

log = logs.get("slots")

TERMS: Final = Terms()
LEAVE_S: Final = 2.0
BEATS_MAX: Final = 16  # that are waited for
FORGET_S: Final = 60.0  # a member that is dead for so long is dropped from the bucket
_MEMBER: Final = "member."
_FAULTS: Final = (NatsError, APIError, TimeoutError, OSError)


class Owner(Struct, frozen=True):
    """Who holds a slot; "" when it was given back, by whom held it with the epoch `released`."""

    worker: str
    claimed_at: int
    released: int = 0


class Presence(Struct, frozen=True):
    """A worker, as it tells the others.

    `address` is where its siblings on the same `node` pass it sockets, `inner` is "host:port" where other nodes carry connections to
    it; "" when they cannot.
    """

    name: str
    instance: str
    node: str = ""
    address: str = ""
    leaving: bool = False
    beat: int = 0
    inner: str = ""


class Duties(Struct, frozen=True):
    """What the worker does about its slots.

    `claiming` hears of slots that are about to be claimed and returns when what is asked of them is heard here too: so there is never
    nobody who hears it. `claimed` hears slot to epoch and returns when they can be served. `renewed` hears new epochs of slots that
    it serves and that nobody else had meanwhile. `lost` hears of slots that are not ours any more: what it does before it first waits
    is done at once. `settled` returns when what was said for them is stored, or soon. `moved` passes the connections of a slot, with
    the epoch, to a sibling, and returns when nothing of it is left here. `evict`: send all chargers away.

    `send_away` hears of slots that are to be given back, and the window of each, in seconds from now: when it begins nobody is let in
    any more, and the chargers are sent away one by one until it ends. `away`: whether that has begun and nobody is left. `keep`: it is
    all undone, as far as the slots have not been lost.
    """

    claiming: Callable[[Iterable[int]], Awaitable[None]]
    claimed: Callable[[Mapping[int, int]], Awaitable[None]]
    renewed: Callable[[Mapping[int, int]], None]
    lost: Callable[[Sequence[int]], Awaitable[None]]
    settled: Callable[[], Awaitable[None]]
    moved: Callable[[int, int, Presence], Awaitable[None]]
    evict: Callable[[], None]
    send_away: Callable[[Mapping[int, Window]], None]
    away: Callable[[int], bool]
    keep: Callable[[], None]


_read_owner: Final = msgspec.msgpack.Decoder(Owner).decode
_read_presence: Final = msgspec.msgpack.Decoder(Presence).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Leases:
    """The slots of one worker. Lives on the host loop. `serving` is slot to epoch."""

    def __init__(
        self,
        client: Client,
        bucket: KeyValue,
        presence: Presence,
        slots: Iterable[int],
        duties: Duties,
        terms: Terms = TERMS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.presence = presence
        self.serving: dict[int, int] = {}
        self.followed: dict[int, int] = {}  # slot to the epoch of who had it before us, of those that we claimed
        self.members: dict[str, Presence] = {}  # the others, living or not
        self.claims = 0
        self.losses = 0
        self.moves = 0
        self.suspensions = 0
        self._slots = tuple(slots)
        self._bucket = bucket
        self._duties = duties
        self._terms = terms
        self._clock = clock
        self._key = _MEMBER + subject_token(presence.name)
        self._seen: dict[str, Member] = {}
        self._records: dict[str, int] = {}  # of the others: the revision of their presence
        self._holdings: dict[int, Holding] = {}
        self._sent: dict[int, float] = {}  # beats that have not come back yet, and when they were sent
        self._renewed_at = clock() - terms.suspend_s
        self._doubtful: dict[int, int] = {}  # served until we were suspended
        self._suspended = False
        self._superseded = False
        self._begun = False
        self._until = -inf  # when what we leave is to be given back, and what goes elsewhere is spread until then
        self._windows: dict[int, Window] = {}
        self._drained = asyncio.Event()
        self._returned = asyncio.Event()
        self._claimed = asyncio.Event()  # some slot, by anybody
        self._awake = asyncio.Event()
        self._client = client
        self._reconnects = client.stats["reconnects"]
        self._watch = Watch(client, bucket, "slots", self._on_entry, lambda _keys: self._amnesty())

    @property
    def suspended(self) -> bool:
        """Whether somebody might take this worker for dead: it lets nobody new in."""
        return self._superseded or suspended(self._clock(), self._renewed_at, self._terms)

    def living(self) -> list[Presence]:
        """The other members that are alive, as far as we know."""
        now = self._clock()
        return [other for name, other in self.members.items() if now - self._seen[name].seen_at < self._terms.lease_s]

    def owner(self, slot: int) -> str:
        """The name of whoever holds the slot; "" for nobody."""
        holding = self._holdings.get(slot)
        return holding.owner if holding is not None else ""

    async def begin(self, *, ready: bool = True) -> None:
        """Read the bucket, appear in it, claim what is to be ours and can be had. Raises NatsError and the like.

        Who is not `ready` and not alone gets nothing before it says `join`: until then the others serve, and no slot is without a
        worker.
        """
        await self._watch.read()
        if not ready and self._seen:  # whoever owns a slot, too: the presence of one that renews it just now may come later
            self.presence = msgspec.structs.replace(self.presence, leaving=True)
        sent = self._clock()
        await self._renew()
        self._renewed_at = sent  # all there is has just been read: no need to wait for it to come back
        self._begun = True
        await self._step()

    async def join(self) -> None:
        """Be one of those who serve, from now on or again."""
        self._plan_until(-inf)
        await self._be(leaving=False)

    async def leave(self, spread_s: float = 0.0) -> None:
        """Give everything back, to siblings or, spread over so many seconds, to workers elsewhere; return when that is done.
        Called again, what is left is spread anew.

        Nothing is given back to nobody: without another worker that could serve it returns at once.
        """
        await self._catch_up()
        if self._superseded or not any(not other.leaving for other in self.living()):
            return
        self._plan_until(self._clock() + spread_s)
        had = tuple(self.serving)
        await self._be(leaving=True)
        while self.serving and self.presence.leaving:
            self._drained.clear()
            await self._drained.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._terms.renew_s):
                for slot in had:
                    await self._until_claimed(slot)

    def _plan_until(self, until: float) -> None:
        self._until = until
        self._windows.clear()
        self._duties.keep()

    async def _catch_up(self) -> None:
        """Hear what has been said until now, above all by a successor that has just joined: one's own renewal comes back after it."""
        sent = self._clock()
        with suppress(*_FAULTS):
            await self._renew()
            async with asyncio.timeout(self._terms.suspend_s):
                while self._renewed_at < sent:
                    self._returned.clear()
                    await self._returned.wait()

    async def _be(self, *, leaving: bool) -> None:
        self.presence = msgspec.structs.replace(self.presence, leaving=leaving)
        self._awake.set()
        with suppress(*_FAULTS):  # else the next renewal says it
            await self._renew()

    async def run(self) -> None:
        """Renew, watch, claim and give back until cancelled; then give everything back, as long as that takes no time."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch.run())
                group.create_task(self._keep_renewing())
                group.create_task(self._keep_deciding())
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def _keep_renewing(self) -> None:
        while _goes_on():
            try:
                await self._renew()
                await self._forget_dead()
            except _FAULTS as error:
                log.debug("lease_not_renewed", error=repr(error))
            await asyncio.sleep(self._terms.renew_s)

    async def _keep_deciding(self) -> None:
        while _goes_on():
            self._awake.clear()
            try:
                await self._step()
            except _FAULTS as error:
                log.warning("slots_step_failed", error=repr(error))
            self._drained.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_s()):
                    await self._awake.wait()

    def _rest_s(self) -> float:
        """Until the next look: also when the window of a slot begins or ends."""
        now = self._clock()
        edges = [edge - now for window in self._windows.values() for edge in (window.begins, window.ends) if edge > now]
        return min((self._terms.renew_s / 2, *edges))

    async def _renew(self) -> None:
        if self._superseded:
            return
        presence = self.presence = msgspec.structs.replace(self.presence, beat=self.presence.beat + 1)
        self._sent = {beat: sent for beat, sent in self._sent.items() if presence.beat - beat < BEATS_MAX}
        self._sent[presence.beat] = self._clock()
        async with asyncio.timeout(self._terms.suspend_s / 2):
            await self._bucket.put(self._key, _encode(presence))

    async def _forget_dead(self) -> None:
        """Take those who have been dead for long out of the bucket, if nothing has been heard of them since, and out of our sight."""
        now = self._clock()
        for name in [name for name, member in self._seen.items() if now - member.seen_at > FORGET_S]:
            if name in self._records:
                await self._bucket.delete(_MEMBER + subject_token(name), last=self._records[name])
            self._forget(name)

    def _forget(self, name: str) -> None:
        for known in (self.members, self._seen, self._records):
            known.pop(name, None)

    async def _step(self) -> None:
        """Decide and do. Claims that another was quicker with are no fault: the next step knows better."""
        if self._superseded:  # what is in our name is our namesake's, and not ours to claim or to give back
            await self._drop((*self.serving, *self._doubtful))
            return
        if self._client.stats["reconnects"] != self._reconnects:
            self._reconnects = self._client.stats["reconnects"]
            self._amnesty()
        plan = decide(self._view(), self._terms, self._slots)
        await self._drop(plan.lost)
        if plan.suspended:
            self._suspend()
            if plan.evict:
                self._duties.evict()
            return
        if self._suspended:
            self._suspended = False
            log.warning("lease_resumed", slots=len(self._doubtful))
        claim = dict(plan.claim)
        # What we served until the suspension goes on when it can be claimed anew and nobody else had it.
        await self._lose([slot for slot, epoch in self._doubtful.items() if claim.get(slot) != epoch])
        if plan.release:
            await self._give_back(plan.release)
        if claim:
            await self._claim(claim)

    def _view(self) -> View:
        me, leaving = self.presence.name, self.presence.leaving
        return View(me, self._clock(), self._renewed_at, leaving, self._seen, self._holdings, self.serving)

    def _suspend(self) -> None:
        if not self._suspended:
            self._suspended = True
            self.suspensions += 1
            log.warning("lease_suspended", slots=len(self.serving))
            self._windows.clear()
            self._duties.keep()  # who is sent away now would find nobody
        self._doubtful |= self.serving
        self.serving.clear()

    async def _drop(self, slots: Iterable[int]) -> None:
        """These are served no more."""
        await self._lose([slot for slot in slots if self.serving.pop(slot, None) is not None or slot in self._doubtful])

    async def _lose(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._doubtful.pop(slot, None)
            self._windows.pop(slot, None)
        if slots:
            self.losses += len(slots)
            log.info("slots_left", slots=len(slots), left=len(self.serving))
            await self._duties.lost(slots)

    async def _give_back(self, slots: Sequence[int]) -> None:
        heirs = {slot: heir for slot in slots if slot in self.serving and (heir := self._heir(slot)) is not None}
        for slot, heir in heirs.items():
            now = self._heir(slot)
            if self.suspended or now is None or now.instance != heir.instance:
                return  # the heir leaves, or is dead: the next step knows who is to have the rest
            await self._move(slot, now)
        rest = self._due([slot for slot in slots if slot not in heirs])
        if not rest:
            return
        epochs = {slot: self.serving.get(slot, self._holdings[slot].revision) for slot in rest}
        await self._drop(rest)
        await self._duties.settled()
        await asyncio.gather(*(self._release(slot, epoch) for slot, epoch in epochs.items()))

    def _due(self, slots: Sequence[int]) -> list[int]:
        """Those of the slots whose time to be given back has come."""
        now = self._clock()
        fresh = [slot for slot in slots if slot in self.serving and slot not in self._windows]
        if fresh and self._until > now:
            planned = windows(fresh, now, self._until)
            self._windows |= planned
            self._duties.send_away({slot: window.since(now) for slot, window in planned.items()})
        return [slot for slot in slots if slot not in self.serving or self._is_over(slot, now)]

    def _is_over(self, slot: int, now: float) -> bool:
        window = self._windows.get(slot)
        return window is None or now >= window.ends or self._duties.away(slot)

    def _heir(self, slot: int) -> Presence | None:
        """The sibling whose slot it is to be; None when that is none of ours, or connections cannot be passed there."""
        if not self.presence.address:
            return None
        candidates = {other.name: other for other in self.living() if not other.leaving}
        heir = candidates[owner_of(slot, candidates)] if candidates else None
        return heir if heir is not None and heir.node == self.presence.node and heir.address else None

    async def _move(self, slot: int, heir: Presence) -> None:
        epoch = self.serving.pop(slot)
        self._windows.pop(slot, None)
        self.losses += 1
        self.moves += 1
        await self._duties.moved(slot, epoch, heir)
        await self._release(slot, epoch)
        await self._until_claimed(slot)  # whoever is connected waits for it: one slot after the other, so that none waits for long

    async def _until_claimed(self, slot: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._terms.renew_s):
                while not self.owner(slot):
                    self._claimed.clear()
                    await self._claimed.wait()

    async def _release(self, slot: int, epoch: int) -> None:
        await self._set(slot, _encode(Owner("", 0, epoch)), "", epoch)

    async def _claim(self, claim: Mapping[int, int]) -> None:
        value = _encode(Owner(self.presence.name, time.time_ns() // 1_000_000))
        await self._duties.claiming(claim)
        followed = {slot: self._holdings[slot].epoch for slot in claim if slot in self._holdings}
        claims = await asyncio.gather(*(self._set(slot, value, self.presence.name, revision) for slot, revision in claim.items()))
        gained = {slot: epoch for slot, epoch in zip(claim, claims, strict=True) if epoch is not None}
        renewed = {slot: epoch for slot, epoch in gained.items() if slot in self._doubtful}
        await self._lose([slot for slot in self._doubtful if slot not in renewed])
        self._doubtful.clear()
        fresh = {slot: epoch for slot, epoch in gained.items() if slot not in renewed}
        self.followed |= {slot: followed.get(slot, 0) for slot in fresh}
        if renewed:
            self._duties.renewed(renewed)
            self.serving |= renewed
        if fresh:
            await self._duties.claimed(fresh)
            self.serving |= fresh
        if self.suspended:  # it took so long that somebody may have claimed them since
            self._suspend()
        self.claims += len(gained)
        if gained:
            log.info("slots_claimed", slots=len(gained), serving=len(self.serving))

    async def _set(self, slot: int, value: bytes, owner: str, revision: int) -> int | None:
        """Compare and set; the new revision, or None when somebody else has written meanwhile or the broker does not answer."""
        try:
            epoch = await self._bucket.update(str(slot), value, last=revision)
        except _FAULTS as error:
            log.debug("slot_not_set", slot=slot, error=repr(error))
            return None
        self._hold(slot, owner, epoch, 0 if owner else revision)
        return epoch

    async def _leave(self) -> None:
        """Say so, give back what we have, and only then take our name away."""
        self.presence = msgspec.structs.replace(self.presence, leaving=True)
        with suppress(*_FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await self._renew()
                await self._step()
                if not self._superseded:
                    await self._bucket.delete(self._key)
        await self._drop(tuple(self.serving))

    # -- what the bucket says

    def _on_entry(self, key: str, value: bytes | None, revision: int) -> None:
        if key.startswith(_MEMBER):
            self._on_member(key, _read_presence(value) if value is not None else None, revision)
        else:
            owner = _read_owner(value) if value is not None else Owner("", 0)
            self._hold(int(key), owner.worker, revision, owner.released)
            epoch = self.serving.get(int(key))
            if not owner.worker or (epoch is not None and revision > epoch):
                self._awake.set()

    def _hold(self, slot: int, owner: str, revision: int, released: int) -> None:
        known = self._holdings.get(slot)
        if known is not None and revision <= known.revision:
            return
        self._holdings[slot] = Holding(owner, revision, released)
        if owner:
            self._claimed.set()
        if owner and owner != self.presence.name:  # a sign of life
            self._seen[owner] = Member(self._clock(), owner in self._seen and self._seen[owner].leaving)

    def _on_member(self, key: str, presence: Presence | None, revision: int) -> None:
        if key == self._key:
            if presence is not None:
                self._on_own(presence)
            return
        if presence is None:
            self._forget(from_subject_token(key.removeprefix(_MEMBER)))
            self._awake.set()
            return
        known = self.members.get(presence.name)
        if known == presence:
            return  # a reading after a reconnection brings what is known: that is no sign of life
        self.members[presence.name] = presence
        self._records[presence.name] = revision
        self._seen[presence.name] = Member(self._clock(), presence.leaving)
        if known is None or known.leaving != presence.leaving:
            self._awake.set()

    def _on_own(self, presence: Presence) -> None:
        if presence.instance == self.presence.instance:
            self._renewed_at = max(self._renewed_at, self._sent.pop(presence.beat, self._renewed_at))
            self._returned.set()
        elif self._begun and not self._superseded:
            self._superseded = True  # a namesake has begun: the newer one goes on
            log.error("worker_superseded", name=self.presence.name)
            self._awake.set()

    def _amnesty(self) -> None:
        """What was missed may have been signs of life."""
        now = self._clock()
        self._seen = {name: Member(now, member.leaving) for name, member in self._seen.items()}


def _goes_on() -> bool:
    """True; raises CancelledError when this task was cancelled and nobody told it: nats-py asks by `wait_for`, and that of Python 3.11
    returns an answer that came together with a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return True
