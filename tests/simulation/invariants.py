"""What must hold after every step. It is looked at where state changes, costs what has changed, and the first breach ends the seed.

    a text is heard, an answer is sent ─▶ answered when it is durable, in the order of asking; mailboxes and lanes within their bounds
    a page is stored                   ─▶ numbers without holes, events by the owner that their epoch names, on a connection told of
    a checkpoint is stored             ─▶ never over one of a newer owner, never by somebody who owns nothing
    a batch is folded                  ─▶ forward only; a session per transaction and start; no energy that its charger did not measure
    CDRs are written                   ─▶ one of a session stands, a new one only beside the credit of the former

Whoever breaks a rule does so in the real code; what is compared is what chargers, journal and ledger were seen to say.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from simulated_servers import Broker, Ledger, Rows

from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.charger.charger import Charger
from cpms_actors.domain.cdr import Cdr
from cpms_actors.domain.events import NO_OWNER, PAGE_DECODER, Connected, Disconnected, Event
from cpms_actors.pools.fold import StoredPage
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.store.sessions import Key, Stored

MONEY = (b"StartTransaction", b"StopTransaction", b"TransactionEvent")


class Told(NamedTuple):
    """What an owner under an epoch told of its charger's connection, by the page with this sequence."""

    seq: int
    epoch: int
    number: int
    up: bool


class Asked:
    """What a charger has asked on one connection and what it was answered, by message id. It moves with the connection."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[int, bytes] | None] = {}  # its place and its action; None: asked twice, and has no place
        self._answered: set[bytes] = set()
        self._places = 0
        self._last = 0
        self.moving = 0  # the number of the connection when it moved last

    def heard(self, text: bytes) -> None:
        """The worker reads it."""
        _, id_, _, action, _ = text.split(b'"', 4)
        self._places += 1
        self._open[id_] = None if id_ in self._open else (self._places, action)

    def answers(self, id_: bytes, *, again: bool) -> tuple[bytes, bool]:
        """The action that is answered, "" for what was asked twice, and whether it is its turn. `again`: it was answered before, on
        another connection, and what is remembered waits for nobody."""
        asked = self._open.pop(id_, None)
        if asked is None or id_ in self._answered:
            return b"", True
        self._answered.add(id_)
        place, action = asked
        if again:
            return action, True
        in_order, self._last = place > self._last, max(place, self._last)
        return action, in_order


class Watch:
    """All that was seen, as far as the next look needs it. `broken` is done with the first rule that did not hold."""

    def __init__(self, tell: Callable[[str], None], now: Callable[[], int]) -> None:
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.points: dict[str, ChargePoint] = {}
        self.claims: dict[tuple[int, int], str] = {}  # who had a slot under an epoch
        self._tell = tell
        self._now = now
        self._pages: dict[tuple[str, int], tuple[int, bytes]] = {}  # the newest of a writer and lane
        self._numbers: dict[tuple[int, int], int] = {}  # the last event of a slot and epoch
        self._told: set[tuple[str, str]] = set()  # charger and message id of what is in the journal
        self._answered: set[tuple[str, bytes]] = set()  # charger and message id
        self._epochs: dict[int, int] = {}  # the newest owner that has spoken of a slot
        self._connections: dict[str, list[Told]] = {}  # by the newest owners
        self._sessions: dict[str, set[int]] = {}
        self._standing: dict[int, Cdr | None] = {}
        self._billed: dict[int, int] = {}  # the version of a session that its newest CDR is of

    def breach(self, rule: str) -> None:
        """The seed ends here."""
        if not self.broken.done():
            self._tell(f"BROKEN: {rule}")
            self.broken.set_result(rule)

    # -- chargers

    def answered(self, identity: str, asked: Asked, text: bytes) -> None:
        """A worker answers a charger."""
        id_ = text.split(b'"', 2)[1]
        action, in_order = asked.answers(id_, again=(identity, id_) in self._answered)
        self._answered.add((identity, id_))
        if not in_order:
            self.breach(f"{identity}: {action.decode()} {id_.decode()} is answered after what was asked later")
        if action in MONEY and (identity, id_.decode()) not in self._told:
            self.breach(f"{identity}: {action.decode()} {id_.decode()} is answered, and is not in the journal")

    def turned(self, charger: Charger, lanes: Iterable[Any]) -> None:
        """A charger's actor has been told something."""
        mailbox = charger.actor.mailbox
        if len(mailbox) > mailbox.bound:
            self.breach(f"{charger.record.identity}: {len(mailbox)} messages wait where {mailbox.bound} may")
        for lane in lanes:
            if lane.statistics.waiting > lane._waiting_max:
                self.breach(f"lane {lane.number}: {lane.statistics.waiting} events wait")

    def parts(self, charger: Charger, asked: Asked) -> None:
        """A worker passes a charger's connection on: what is left there is lost."""
        if charger.actor.busy or len(charger.actor.mailbox):
            self.breach(f"{charger.record.identity} is passed on in the middle of a turn")
        asked.moving = charger.connection

    def arrives(self, charger: Charger, asked: Asked) -> None:
        """A worker goes on with a connection, under the number that it has."""
        if charger.connection < asked.moving:
            self.breach(f"{charger.record.identity}: connection {asked.moving} has become {charger.connection}")

    # -- the journal and the checkpoints

    def stored(self, lane: int, stored: StoredPage) -> None:
        """The broker has a page, maybe again."""
        page = PAGE_DECODER.decode(stored.data)
        key = (page.writer, lane)
        last, data = self._pages.get(key, (0, b""))
        if page.number == last and data != stored.data:
            self.breach(f"page {last} of {page.writer} is stored with two contents")
        if page.number > last + 1:
            self.breach(f"page {page.number} of {page.writer} follows on {last}")
        if page.number <= last:
            return
        self._pages[key] = (page.number, stored.data)
        for event in page.events:
            if event.epoch != NO_OWNER:
                self._event(event, page.writer, lane, stored.stream_seq)

    def _event(self, event: Event, writer: str, lane: int, seq: int) -> None:
        slot, epoch = event.slot, event.epoch
        if self.claims.get((slot, epoch)) != writer or lane_of(slot) != lane:
            self.breach(f"{writer} speaks for slot {slot} under epoch {epoch} in lane {lane}")
        last = self._numbers.get((slot, epoch), 0)
        if event.number != last + 1:
            self.breach(f"event {event.number} of slot {slot}, epoch {epoch}, follows on {last}")
        self._numbers[slot, epoch] = event.number
        self._told.add((event.charger, event.message_id))
        if epoch >= self._epochs.get(slot, 0):
            self._epochs[slot] = epoch
            self._connection(event, seq)

    def _connection(self, event: Event, seq: int) -> None:
        """It is told of before anything is told on it, by each owner anew; and the numbers of an owner rise."""
        seen = self._connections.setdefault(event.charger, [])
        last = seen[-1] if seen else Told(0, 0, 0, False)
        if isinstance(event.body, Connected):
            if event.connection <= last.number and event.epoch == last.epoch:
                self.breach(f"{event.charger}: connection {event.connection} follows on {last.number}")
            seen.append(Told(seq, event.epoch, event.connection, True))
        elif (event.epoch, event.connection) != (last.epoch, last.number):
            told = f"{type(event.body).__name__} on connection {event.connection}"
            self.breach(f"{event.charger}: {told}, and {last.number} is the last that was told of")
        elif isinstance(event.body, Disconnected):
            seen.append(Told(seq, event.epoch, event.connection, False))

    def checkpointed(self, key: str, epoch: int, before: int) -> None:
        """A checkpoint has taken the place of one of the epoch `before`."""
        if epoch < before:
            self.breach(f"a checkpoint of {key} under epoch {epoch} takes the place of one under {before}")
        if (int(key.partition(".")[0]), epoch) not in self.claims:
            self.breach(f"a checkpoint of {key} under epoch {epoch}, which nobody claimed")

    # -- the ledger

    def folded(self, ledger: Ledger, before: dict[int, tuple[int, int]], rows: Rows) -> None:
        """A transaction of the fold is committed; where its lanes were before."""
        for lane, (_, seq) in before.items():
            if ledger.lanes[lane][1] < seq:
                self.breach(f"lane {lane} goes back from {seq} to {ledger.lanes[lane][1]}")
        for stored in rows.sessions.values():
            self._session(stored)
        for live in rows.chargers:
            seq = ledger.lanes[lane_of(slot_of(live.tenant, live.charger))][1]
            self._known(live.charger, ledger.connected[live.tenant, live.charger], seq)

    def transaction(self, key: Key, known: int | None, id_: int) -> None:
        """A transaction id names a session."""
        if known is not None and known != id_:
            self.breach(f"transaction {key[2]} of {key[1]} is session {known} and session {id_}")

    def _session(self, stored: Stored) -> None:
        session = stored.session
        ids = self._sessions.setdefault(session.charger, set())
        ids.add(stored.id)
        measured = _measured(self.points[session.charger], self._now())
        if len(ids) > len(measured):
            self.breach(f"{len(ids)} sessions of {session.charger}, which has begun {len(measured)}")
        own = [wh for transaction, wh in measured if transaction == session.transaction]
        most = max(own or [wh for _, wh in measured], default=0)
        if session.energy_wh > most:
            self.breach(f"{session.charger}/{session.transaction}: {session.energy_wh} Wh, and the meter has counted {most}")

    def _known(self, charger: str, known: tuple[int, bool], seq: int) -> None:
        """The ledger believes the newest owner of a slot, and nobody before it."""
        seen = reversed(self._connections.get(charger, ()))
        told = next(((last.number, last.up) for last in seen if last.seq <= seq), (0, False))
        if known != told:
            self.breach(f"{charger}: connection {known} in the ledger, and its newest owner has told {told}")

    def rated(self, written: Iterable[Cdr]) -> None:
        """A transaction of the tariff pool is committed."""
        for cdr in written:
            id_ = cdr.session_id
            standing = self._standing.get(id_)
            if cdr.credits is not None:
                if standing is None or cdr.credits != standing.id:
                    self.breach(f"session {id_}: CDR {cdr.id} credits {cdr.credits}, and {standing and standing.id} stands")
                elif (cdr.energy_wh, cdr.total_excl_minor) != (-standing.energy_wh, -standing.total_excl_minor):
                    self.breach(f"session {id_}: credit {cdr.id} does not take CDR {standing.id} back")
                self._standing[id_] = None
                continue
            if standing is not None:
                self.breach(f"session {id_}: CDR {cdr.id} beside {standing.id}")
            if cdr.session_version <= self._billed.get(id_, 0):
                self.breach(f"session {id_}: CDR {cdr.id} of version {cdr.session_version}, and a later one was billed")
            self._standing[id_], self._billed[id_] = cdr, cdr.session_version

    def put_back(self, ledger: Ledger) -> None:
        """The ledger has forgotten what was committed last: what is left of it counts."""
        self._sessions, self._standing, self._billed = {}, {}, {}
        for stored in ledger.sessions.values():
            self._sessions.setdefault(stored.session.charger, set()).add(stored.id)
        for cdr in ledger.cdrs:
            self._standing[cdr.session_id] = None if cdr.credits is not None else cdr
            self._billed[cdr.session_id] = cdr.session_version


def _measured(point: ChargePoint, now: int) -> list[tuple[str | None, int]]:
    """The transactions of a charger, those too that run or are not told yet, and what its meter has counted in each by now, in Wh."""
    at, connectors = point._present.clock.at(now), point._connectors
    open_ = [each for each in (*connectors.sessions.values(), *connectors._leaving) if each.started_at is not None]
    told = [(facts.transaction, facts.energy_wh) for facts in point.facts]
    return told + [(each.transaction, each.read(at, "Sample.Periodic").register_wh - each.register_start_wh) for each in open_]


class WatchedBroker(Broker):
    """Broker under a Watch."""

    watch: Watch

    def _append(self, lane: int, data: bytes) -> None:
        super()._append(lane, data)
        self.watch.stored(lane, self.pages[lane][-1])

    def save(self, key: str, epoch: int, live: bytes) -> bool:
        before, _ = self.checkpoints.get(key, (0, b""))
        saved = super().save(key, epoch, live)
        if saved:
            self.watch.checkpointed(key, epoch, before)
        return saved


class WatchedLedger(Ledger):
    """Ledger under a Watch."""

    watch: Watch

    def commit(self, rows: Rows) -> None:
        before = {lane: self.lanes[lane] for lane in rows.lanes}
        for key, id_ in rows.by_transaction.items():
            self.watch.transaction(key, self.by_transaction.get(key), id_)
        super().commit(rows)
        self.watch.folded(self, before, rows)

    def standby(self) -> Callable[[], None]:
        take_over = super().standby()

        def watched() -> None:
            take_over()
            self.watch.put_back(self)

        return watched

    def crash(self) -> None:
        issued = list(self.cdrs)
        super().crash()
        if self.cdrs != issued:
            self.watch.breach("Postgres crashed, and a CDR that was issued is gone")

    def rate(self, cdrs: list[Cdr], rated: dict[int, int]) -> None:
        super().rate(cdrs, rated)
        self.watch.rated(cdrs)
