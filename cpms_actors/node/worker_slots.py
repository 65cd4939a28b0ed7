"""The slots of a worker: what is done when they come and go. `bus.slots.Leases` says when.

Everything here runs on the host loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from cpms_actors.base.ids import SLOTS, from_subject_token, lane_of
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.live import LiveStore, open_bucket
from cpms_actors.bus.slots import Duties, Leases, Presence
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.office import Slot
from cpms_actors.gateway.engine import SERVICE_RESTART
from cpms_actors.node.siblings import Siblings
from cpms_actors.observe import logs

log = logs.get("worker")

SETTLE_S: Final = 1.0


class WorkerSlots:
    """The slots that a worker serves, by number, and the chargers that it knows on them, by tenant and identity."""

    def __init__(
        self, jetstream: JetStreamContext, journal: Journal, siblings: Siblings, changed: Callable[[], Awaitable[None]]
    ) -> None:
        """`changed` is awaited whenever other slots are served than before."""
        self.served: dict[int, Slot] = {}
        self.chargers: dict[tuple[str, str], Charger] = {}
        self.live = LiveStore(jetstream, self._fenced)
        self.leases: Leases | None = None
        self._journal = journal
        self._siblings = siblings
        self._changed = changed
        self._bucket: KeyValue | None = None

    async def open(self, client: Client, jetstream: JetStreamContext, name: str, replicas: int) -> None:
        """Appear among the workers and claim what can be had. Raises NatsError and the like."""
        self._bucket = await open_bucket(jetstream, subjects.LIVE_BUCKET, replicas)
        owners = await open_bucket(jetstream, subjects.SLOTS_BUCKET, replicas)
        siblings = self._siblings
        presence = Presence(name, uuid4().hex, siblings.node, siblings.address, inner=siblings.inner_address)
        duties = Duties(self._claimed, self._renewed, self._lost, self._settled, self._evict)
        self.leases = siblings.leases = Leases(client, owners, presence, range(SLOTS), duties)
        await self.leases.begin()

    @property
    def open_to_newcomers(self) -> bool:
        """Whether chargers may be let in: not while somebody might take this worker for dead."""
        return self.leases is not None and not self.leases.suspended

    def counters(self) -> dict[str, int]:
        """How slots came and went."""
        leases = self.leases
        if leases is None:
            return {}
        return {"slots_claimed": leases.claims, "slots_left": leases.losses, "suspensions": leases.suspensions}

    async def _claimed(self, epochs: Mapping[int, int]) -> None:
        """They are ours: read what their chargers left behind, and serve them."""
        assert self._bucket is not None  # opened before
        found = await self.live.load(self._bucket, epochs)
        lanes = self._journal.lanes
        self.served |= {slot: Slot(slot, lane_of(slot), epoch, lanes[lane_of(slot)]) for slot, epoch in epochs.items()}
        log.info("slots_served", slots=len(self.served), gained=len(epochs), checkpoints=found)
        await self._changed()

    def _renewed(self, epochs: Mapping[int, int]) -> None:
        """They are still ours, and nobody else had them: their chargers go on under the new epoch."""
        for slot, epoch in epochs.items():
            self.served[slot].epoch = epoch

    async def _lost(self, slots: Sequence[int]) -> None:
        """They are not ours any more: their chargers are sent away, and nobody new is let in."""
        for slot in slots:
            self.served.pop(slot, None)
        lost = set(slots)
        for key in [key for key, charger in self.chargers.items() if charger.slot.number in lost]:
            # Should it come back here, it starts from its checkpoint.
            _send_away((self.chargers.pop(key),), "this charger is served elsewhere now")
        await self._changed()

    async def _settled(self) -> None:
        """What was said for slots that we give back is stored, or has had its time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while self.live.waiting or any(lane.statistics.waiting for lane in self._journal.lanes):  # noqa: ASYNC110  # two things
                    await asyncio.sleep(SETTLE_S / 100)

    def _evict(self) -> None:
        """We have had no contact with the broker for long, and others can serve our chargers."""
        _send_away(self.chargers.values(), "this worker has lost touch; connect again")

    def _fenced(self, key: str) -> None:
        """Another worker owns this charger's slot: what we would answer is not ours to say."""
        _, tenant, identity = key.split(".")
        charger = self.chargers.get((from_subject_token(tenant), from_subject_token(identity)))
        if charger is not None:
            _send_away((charger,), "this charger is served elsewhere now")


def _send_away(chargers: Iterable[Charger], reason: str) -> None:
    for charger in chargers:
        if charger.line is not None:
            charger.line.close(SERVICE_RESTART, reason)
