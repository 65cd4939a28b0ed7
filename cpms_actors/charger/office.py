"""What the chargers of one worker share: the slots it owns, its ports to the journal, the checkpoints and the pools, its counters.

The ports are small protocols, so that the actor is tested with models of them and run with NATS.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from cpms_actors.base.buckets import TokenBucket
from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Charging
from cpms_actors.bus.subjects import charger_key
from cpms_actors.charger.behaviour import GATED
from cpms_actors.charger.live import Asked, Live
from cpms_actors.charger.transaction_ids import TransactionIds
from cpms_actors.charger.verdicts import Verdicts
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import Event, Fact, IdToken

Then = Callable[[bool], None]
_encode_live = msgspec.msgpack.Encoder().encode
_decode_live = msgspec.msgpack.Decoder(Live).decode


class JournalPort(Protocol):
    """The writing end of a lane: `bus.journal.Journal`."""

    def append(self, event: Event, then: Then | None = None) -> bool: ...


class LivePort(Protocol):
    """The checkpoints: `bus.live.LiveStore`."""

    def take(self, key: str) -> bytes | None: ...

    def peek(self, key: str) -> bytes | None: ...

    def put(self, key: str, live: bytes) -> None: ...

    def save(self, key: str, epoch: int, live: bytes, then: Then) -> bool: ...


class Tasks(Protocol):
    """Where turns that must wait go on: a supervisor's bounded tasks. False when there is no room."""

    def __call__(self, work: Callable[..., Awaitable[Any]], *args: Any) -> bool: ...


class AskVerdict(Protocol):
    """Ask the session pool whether a token may charge. Raises Unavailable."""

    async def __call__(self, tenant: str, charger: str, token: IdToken, lane: int) -> Verdict: ...


class Counters(Struct):
    """What the chargers of a worker have done since it started."""

    messages_in: int = 0
    messages_out: int = 0
    turns_crashed: int = 0
    actors_given_up: int = 0
    mailbox_refusals: int = 0
    journal_refusals: int = 0
    unanswered: int = 0
    repeated: int = 0
    ignored: int = 0
    faulty: int = 0
    taken_over: int = 0
    calls: int = 0
    calls_failed: int = 0
    calls_delayed: int = 0
    calls_over_rate: int = 0


class Slot:
    """One slot that this worker owns: its epoch, the numbering of its events, and the journal of its lane."""

    __slots__ = ("_append", "epoch", "lane", "number", "numbered")

    def __init__(self, number: int, lane: int, epoch: int, journal: JournalPort) -> None:
        self.number = number
        self.lane = lane
        self.epoch = epoch
        self.numbered = 0
        self._append = journal.append

    def append(self, record: ChargerRecord, connection: int, message_id: str, now: int, fact: Fact, then: Then | None) -> bool:
        """Give the fact to the journal as the next event of the slot. False: it has no room, and `then` will not be called."""
        self.numbered = number = self.numbered + 1
        event = Event(self.number, self.epoch, number, record.tenant, record.identity, connection, message_id, now, fact)
        if self._append(event, then):
            return True
        self.numbered = number - 1  # `then` was not called, so nobody has taken the next one meanwhile
        return False


class Office:
    """The shared part. `clock` tells milliseconds, `new_id` makes message ids for our calls."""

    def __init__(
        self,
        settings: Charging,
        *,
        live: LivePort,
        tasks: Tasks,
        ask_verdict: AskVerdict,
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        self.tasks = tasks
        self.ids = TransactionIds()
        self.commands = TokenBucket(settings.commands_per_s) if settings.commands_per_s > 0 else None
        self.verdicts = Verdicts(settings.verdict_ttl_s)
        self.counters = Counters()
        self._live = live
        self._ask_verdict = ask_verdict

    def take_live(self, slot: Slot, tenant: str, charger: str) -> Live:
        """The live state a charger starts with: its last checkpoint, or nothing known."""
        saved = self._live.take(charger_key(slot.number, tenant, charger))
        return _decode_live(saved) if saved is not None else Live()

    def was_charging(self, slot: int, tenant: str, charger: str) -> bool:
        """Whether a charger that is not here had a running transaction when it was last saved."""
        saved = self._live.peek(charger_key(slot, tenant, charger))
        try:
            return saved is not None and bool(_decode_live(saved).open)
        except msgspec.DecodeError:  # its door will say so
            return False

    def encode_live(self, live: Live) -> bytes:
        """A live state as a checkpoint holds it."""
        return _encode_live(live)

    def decode_live(self, live: bytes) -> Live:
        """The other way round. Raises msgspec.DecodeError."""
        return _decode_live(live)

    def put_live(self, slot: Slot, tenant: str, charger: str, live: Live) -> None:
        """Keep the live state of a charger that has gone, as long as it says more than nothing."""
        if live.open or live.starts or live.ended or live.boot in GATED:
            self._live.put(charger_key(slot.number, tenant, charger), _encode_live(live))

    def save_live(self, slot: Slot, tenant: str, charger: str, live: bytes, then: Then) -> bool:
        """Checkpoint an encoded live state; False when there is no room."""
        return self._live.save(charger_key(slot.number, tenant, charger), slot.epoch, live, then)

    def known_verdict(self, tenant: str, token: IdToken) -> Verdict | None:
        """The verdict when this worker knows it."""
        return self.verdicts.fresh(tenant, token, self.clock())

    def asked(self, verdict: Verdict, with_id: bool) -> Asked:
        """A verdict, with a transaction id when one is wanted."""
        return Asked(verdict, self.ids.take() if with_id else None)

    async def find_verdict(self, tenant: Tenant, charger: str, token: IdToken, lane: int) -> Verdict:
        """The verdict of the pool, or of the tenant's offline policy when the pool does not answer. Never raises for that."""
        try:
            verdict = await self._ask_verdict(tenant.id, charger, token, lane)
        except Unavailable:
            return self.verdicts.unasked(tenant.id, token, tenant.offline, self.clock())
        self.verdicts.keep(tenant.id, token, verdict, self.clock())
        return verdict
