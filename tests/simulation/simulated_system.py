"""The system in one process: real charger actors, journals, fold and billing, on models of servers, sockets and chargers' networks.

    ChargePoint ══Socket══▶ Line ▶ Charger ▶ Journal ══Publisher══▶ Broker ▶ SessionPool (fold) ▶ Ledger ▶ TariffPool (draw_up)
    (simulator)  cut, late      (all of a worker: real)             (model)                       (model)

A process dies by going silent: its wire to the servers is dead, nothing it does reaches anybody, and its sockets end. What it had under
way goes on arriving where it was sent.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from harness import DIALECTS
from simulated_servers import Broker, Faults, Ledger, Live, Pages, Postgres, Publisher, Rating, Wire

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, SLOTS, lane_of, slot_of
from cpms_actors.base.settings import Charging
from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.time import to_datetime
from cpms_actors.bus.journal import Journal
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.line import Line
from cpms_actors.charger.office import Office, Slot
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import IdToken
from cpms_actors.domain.tariff import Component, Tariff
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.tariff import BATCH_MAX, GAP_GRACE_S, rate_some
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import Close, Connect, Output, Send
from cpms_actors.store.offsets import Claim

EPOCH_MS = 1_795_000_000_000
NET_S = (0.005, 0.08)  # between a charger and its worker, either way
NOTICED_S = (0.0, 25.0)  # until a worker sees that a charger's network is gone
TAKE_OVER_S = (3.0, 5.0)  # until somebody has claimed a dead worker's slots
SKEW_S = (-10.0, 10.0)  # of a worker's clock
LATE = "late-"
HELD_BACK = ("TransactionEvent", "MeterValues")
HELD_S = (10.0, 200.0)
SMALL_PAGES = JournalSettings(page_events_max=3)
TENANT = Tenant("default", profile0=True)
PRICE_MINOR_PER_KWH = 50
BLOCK = 1_000


def tariff() -> Tariff:
    """So much per kWh."""
    from decimal import Decimal

    return Tariff("t", 1, "EUR", (Component("ENERGY", Decimal(PRICE_MINOR_PER_KWH) / 100),))


class Socket:
    """One WebSocket between a charger and a worker: in order, at some speed, until it is cut. To a line it is a Connection."""

    def __init__(self, system: "System", shell: "ChargerShell", worker: "Worker", version: str) -> None:
        self._system = system
        self._shell = shell
        self.worker = worker
        self._to_charger = self._to_worker = 0.0  # when the last of what is under way arrives
        self._server_open = self._charger_open = True
        self.line = Line(worker.charger(shell.point.identity), version, "simulated")

    def open(self) -> None:
        self.line.on_open(self)

    # -- the worker's end

    def send(self, text: bytes) -> bool:
        if not self._server_open or self.worker.wire.dead:
            return False
        self._later_at_charger(self._shell.hears, self, text)
        return True

    def close(self, code: int, reason: str = "") -> None:
        if self._server_open:
            self._server_open = False
            self._later_at_charger(self._shell.lost, self)
            self._system.loop.call_soon(self._closed, code)

    def _later_at_charger(self, then: Callable[..., None], *arguments: Any) -> None:
        self._to_charger = max(self._to_charger, self._system.loop.time() + self._system.chance.uniform(*NET_S))
        self._system.loop.call_at(self._to_charger, self._at_charger, then, arguments)

    def _at_charger(self, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._charger_open:
            then(*arguments)

    # -- the charger's end

    def say(self, text: str) -> None:
        self._to_worker = max(self._to_worker, self._system.loop.time() + self._system.chance.uniform(*NET_S))
        self._system.loop.call_at(self._to_worker, self._at_worker, text.encode())

    def _at_worker(self, text: bytes) -> None:
        if self._server_open and self._charger_open and not self.worker.wire.dead:
            self.line.on_text(text)

    def hang_up(self) -> None:
        """The charger closes."""
        self._charger_open = False
        self._system.loop.call_later(self._system.chance.uniform(*NET_S), self._ended)

    # -- the network

    def cut(self) -> None:
        """What is under way is lost; each end notices when it does."""
        chance, loop = self._system.chance, self._system.loop
        if self._charger_open:
            self._charger_open = False
            loop.call_later(chance.uniform(0.0, 2.0), self._shell.lost, self)
        loop.call_later(chance.uniform(*NOTICED_S), self._ended)

    def _ended(self) -> None:
        if self._server_open:
            self._server_open = False
            self._closed(1006)

    def _closed(self, code: int) -> None:
        if not self.worker.wire.dead:
            self.line.on_closed(code, "")


class ChargerShell:
    """A virtual charge point and its network.

    With the chance `holds_back` a message of a transaction is taken by a box in between, as local controllers are: that answers it,
    keeps it, and tells it later, out of its order.
    """

    def __init__(self, system: "System", point: ChargePoint, holds_back: float) -> None:
        self._system = system
        self._holds_back = holds_back
        self.held: dict[str, str] = {}  # by message id
        self.point = point
        self.socket: Socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._do(self.point.start(self._system.now()))

    def tell_late(self, transaction: int, at: int, wh: int) -> None:
        """A reading beside the queue, as chargers send them that keep meter values apart."""
        sampled = {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        value = {"timestamp": to_datetime(at).isoformat().replace("+00:00", "Z"), "sampledValue": [sampled]}
        payload = {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}
        if self.socket is not None:
            self.socket.say(json.dumps([2, f"{LATE}{self._system.new_id()}", "MeterValues", payload]))

    def hears(self, socket: Socket, text: bytes) -> None:
        if socket is not self.socket:
            return
        if f'"{LATE}'.encode() not in text:
            self._do(self.point.received(text, self._system.now()))
        elif text.startswith(b"[3,"):  # the charge point knows nothing of those
            self.held.pop(json.loads(text)[1], None)

    def _say(self, text: str) -> None:
        action = json.loads(text)[2] if text.startswith("[2,") else ""
        if action in HELD_BACK and self._system.chance.random() < self._holds_back:
            call = json.loads(text)
            late = f"{LATE}{self._system.new_id()}"
            self.held[late] = json.dumps([2, late, *call[2:]])
            self._system.loop.call_soon(self._answered_by_the_box, call[1])
            self._system.loop.call_later(self._system.chance.uniform(*HELD_S), self._tell_held, late)
        elif self.socket is not None:
            self.socket.say(text)

    def _answered_by_the_box(self, id_: str) -> None:
        self._do(self.point.received(json.dumps([3, id_, {}]), self._system.now()))

    def _tell_held(self, late: str) -> None:
        """Until it is answered."""
        if late in self.held:
            if self.socket is not None and self.point.online:
                self.socket.say(self.held[late])
            self._system.loop.call_later(self._system.chance.uniform(*HELD_S), self._tell_held, late)

    def lost(self, socket: Socket) -> None:
        if socket is self.socket:
            self.socket = None
            self._do(self.point.disconnected(self._system.now(), "lost"))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Send(text):
                    self._say(text)
                case Connect():
                    self._system.loop.call_later(self._system.chance.uniform(0.02, 0.3), self._dial)
                case Close():
                    if self.socket is not None:
                        socket, self.socket = self.socket, None
                        socket.hang_up()
                    self._system.loop.call_soon(self._gone)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.point.next_wakeup is not None:
            wait_s = max(0.0, (self.point.next_wakeup - self._system.now()) / 1000)
            self._timer = self._system.loop.call_later(wait_s, self._wake)

    def _gone(self) -> None:
        self._do(self.point.disconnected(self._system.now(), "closed"))

    def _wake(self) -> None:
        self._timer = None
        self._do(self.point.tick(self._system.now()))

    def _dial(self) -> None:
        worker = self._system.owner(self.point.identity)
        if worker is None:
            self._do(self.point.disconnected(self._system.now(), "nobody serves it", 2.0))
            return
        self.socket = Socket(self._system, self, worker, self.point.version)
        self.socket.open()
        self._do(self.point.connected(self._system.now()))


class Worker:
    """A charger worker: its office, its journal, the slots it owns and the chargers on them."""

    def __init__(self, system: "System", name: str) -> None:
        self.name = name
        self._system = system
        self.wire = Wire(system.chance, system.faults)
        self._live = Live(system.broker, self.wire)
        self.journal = Journal(Publisher(system.broker, self.wire), range(LANES), name, SMALL_PAGES, chance=lambda: 0.0)
        skew_ms = round(system.chance.uniform(*SKEW_S) * 1000)
        self.office = Office(
            Charging(),
            live=self._live,
            tasks=self._task,
            ask_verdict=self._ask,
            clock=lambda: system.now() + skew_ms,
            new_id=system.new_id,
        )
        for _ in range(3):
            first = system.next_block()
            self.office.ids.add(first, first + BLOCK - 1)
        self._behaviour = Behaviour(DIALECTS, TENANT)
        self.slots: dict[int, Slot] = {}
        self.chargers: dict[str, Charger] = {}
        system.spawn(self.journal.run())

    def _task(self, work: Callable[..., Any], *arguments: Any) -> bool:
        self._system.spawn(work(*arguments))
        return True

    async def _ask(self, tenant: str, charger: str, token: IdToken, lane: int) -> Verdict:
        there_s, back_s = self.wire.hop_s(), self.wire.hop_s()
        if there_s is None or back_s is None or self._system.broker.down or self._system.ledger.down:
            await asyncio.sleep(Charging().authorize_timeout_s)
            raise Unavailable("no answer")
        await asyncio.sleep(there_s + back_s)
        return Verdict("Accepted")

    def claim(self, numbers: list[int], epoch: Callable[[int], int]) -> None:
        """Serve these slots from now on, as their next owner."""
        self._live.load(numbers)
        for number in numbers:
            lane = lane_of(number)
            self.slots[number] = Slot(number, lane, epoch(number), self.journal.lanes[lane])

    def lose(self, numbers: list[int]) -> None:
        """These slots are another's: their chargers are sent away, and forgotten."""
        for number in numbers:
            self.slots.pop(number, None)
        for identity, charger in list(self.chargers.items()):
            if slot_of("default", identity) in numbers:
                del self.chargers[identity]
                if charger.line is not None:
                    charger.line.close(1012, "the slot is served elsewhere")

    def charger(self, identity: str) -> Charger:
        charger = self.chargers.get(identity)
        if charger is None:
            slot = self.slots[slot_of("default", identity)]
            record = ChargerRecord("default", identity, security_profile=0)
            charger = self.chargers[identity] = Charger(self.office, slot, record, self._behaviour)
        return charger


class SessionPool:
    """A process of the session pool that folds one lane: the real lane, on models of the journal's reading end and of Postgres.

    It dies at once, wherever it is: what it has committed and has not heard of is committed all the same.
    """

    def __init__(self, system: "System", lane: int) -> None:
        self.lane = lane
        self._system = system
        self._wire = Wire(system.chance, system.faults)
        self._task: asyncio.Task[Any] | None = None

    @property
    def dead(self) -> bool:
        """Whether the process has died."""
        return self._wire.dead

    @dead.setter
    def dead(self, dead: bool) -> None:
        self._wire.dead = dead
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        system, ledger = self._system, self._system.ledger
        self._task = asyncio.current_task()
        while not self.dead and (ledger.down or (epoch := ledger.claim(self.lane)) is None):
            await asyncio.sleep(0.5)
        if self.dead:
            return
        lane = Lane(
            Claim(self.lane, epoch),
            Pages(system.broker, self._wire, system.chance),
            Postgres(ledger, self._wire, system.chance),
            _nobody_waits,
            clock=system.loop.time,
            chance=system.chance.random,
        )
        await lane.run(lambda: None)


async def _nobody_waits() -> None:
    """For a doorbell: the tariff pool looks every second."""


async def refolded(broker: Broker) -> Ledger:
    """What the journal says when it is folded once, from its beginning and without a fault."""
    ledger, chance = Ledger(), Random(0)
    wire = Wire(chance, Faults())
    for number in range(LANES):
        claim = Claim(number, ledger.claim(number) or 0)
        lane = Lane(claim, Pages(broker, wire, chance), Postgres(ledger, wire, chance), _nobody_waits, clock=lambda: 0.0)
        await lane.recall()
        while pages := broker.after(number, lane.statistics.offset, 64):
            await lane.fold_pages(pages)
    return ledger


class TariffPool:
    """A process of the tariff pool, which looks for ended sessions every second or so. It dies at once, wherever it is."""

    def __init__(self, system: "System") -> None:
        self._system = system
        self._wire = Wire(system.chance, system.faults)
        self._tariff = tariff()
        self._task: asyncio.Task[Any] | None = None

    @property
    def dead(self) -> bool:
        """Whether the process has died."""
        return self._wire.dead

    @dead.setter
    def dead(self, dead: bool) -> None:
        self._wire.dead = dead
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        self._task = asyncio.current_task()
        while not self.dead:
            await asyncio.sleep(self._system.chance.uniform(0.2, 1.0))
            with suppress(Unavailable):
                await self._rate()

    async def _rate(self) -> None:
        system = self._system
        rating = Rating(system.ledger, self._wire, system.chance, self._tariff)
        try:
            await rate_some(rating, GAP_GRACE_S, BATCH_MAX, system.now, system.new_id)
            await rating.commit()
        finally:
            rating.end()


class System:
    """All of it, its clock and its chance. `history` tells what was done to it."""

    def __init__(self, seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.chance = Random(seed)
        self.faults = Faults()
        self.broker = Broker(self.chance, self.faults)
        self.ledger = Ledger()
        self.history: list[str] = []
        self.shells: list[ChargerShell] = []
        self.workers: list[Worker] = []
        self.owners: dict[int, Worker | None] = dict.fromkeys(range(SLOTS))
        self.epochs: dict[int, int] = dict.fromkeys(range(SLOTS), 0)
        self.pools: list[SessionPool] = []
        self.rating: list[TariffPool] = []
        self._numbers = 0
        self._blocks = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[BaseException] = []
        self.poisoned = 0

    def now(self) -> int:
        """Milliseconds."""
        return EPOCH_MS + round(self.loop.time() * 1000)

    def new_id(self) -> str:
        self._numbers += 1
        return f"n{self._numbers}"

    def next_block(self) -> int:
        """The first id of a block of transaction ids that nobody else gets."""
        self._blocks += 1
        return 1 + (self._blocks - 1) * BLOCK

    def tell(self, what: str) -> None:
        self.history.append(f"{self.loop.time():9.3f} s  {what}")

    def spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.errors.append(task.exception())  # type: ignore[arg-type]

    def owner(self, identity: str) -> Worker | None:
        """Who serves a charger; None while nobody does."""
        worker = self.owners[slot_of("default", identity)]
        return None if worker is None or worker.wire.dead or worker.wire.cut else worker

    def next_epoch(self, slot: int) -> int:
        self.epochs[slot] += 1
        return self.epochs[slot]

    # -- what happens to processes

    def start_worker(self) -> Worker:
        """A new worker serves half of what the others have, and all that nobody has."""
        worker = Worker(self, f"w{len(self.workers) + 1}")
        self.workers.append(worker)
        living = [each for each in self.workers if not each.wire.dead]
        share = SLOTS // len(living)
        free = [slot for slot, owner in self.owners.items() if owner is None]
        taken = [slot for slot, owner in self.owners.items() if owner is not None and owner is not worker]
        self.chance.shuffle(taken)
        self._give(worker, free + taken[: max(0, share - len(free))])
        return worker

    def _give(self, worker: Worker, slots: list[int]) -> None:
        for other in self.workers:
            if not other.wire.dead and other is not worker:
                other.lose([slot for slot in slots if self.owners[slot] is other])
        for slot in slots:
            self.owners[slot] = worker
        worker.claim(slots, self.next_epoch)

    def kill_worker(self, worker: Worker) -> None:
        """It dies. Its sockets end, its slots are another's within seconds, and another process takes its place."""
        self.tell(f"{worker.name} dies")
        worker.wire.dead = True
        for shell in self.shells:
            if shell.socket is not None and shell.socket.worker is worker:
                shell.socket.cut()
        self.loop.call_later(self.chance.uniform(*TAKE_OVER_S), self._inherit, worker)

    def _inherit(self, dead: Worker) -> None:
        orphans = [slot for slot, owner in self.owners.items() if owner is dead]
        living = [each for each in self.workers if not each.wire.dead]
        for slot in orphans:
            self.owners[slot] = None
        if living and self.chance.random() < 0.5:
            self._give(self.chance.choice(living), orphans)
            self.tell(f"{len(orphans)} slots of {dead.name} are taken over")
        self.start_worker()
        self.tell(f"{self.workers[-1].name} starts")

    def part(self, worker: Worker, for_s: float) -> None:
        """It does not reach the servers for a while. When that lasts, its slots are another's, and it learns so afterwards."""
        self.tell(f"{worker.name} is cut off from the servers for {for_s:.1f} s")
        worker.wire.cut = True
        if self.chance.random() < 0.5:  # it is the whole machine's network
            for shell in self.shells:
                if shell.socket is not None and shell.socket.worker is worker:
                    shell.socket.cut()
        slots = [slot for slot, owner in self.owners.items() if owner is worker]
        others = [each for each in self.workers if each is not worker and not each.wire.dead and not each.wire.cut]
        if for_s > TAKE_OVER_S[1] and others:
            self.loop.call_later(self.chance.uniform(*TAKE_OVER_S), self._take_over, worker, self.chance.choice(others), slots)
        self.loop.call_later(for_s, self._heal, worker, slots)

    def _take_over(self, parted: Worker, heir: Worker, slots: list[int]) -> None:
        still = [slot for slot in slots if self.owners[slot] is parted]
        if heir.wire.dead or not still:
            return
        for slot in still:
            self.owners[slot] = heir
        heir.claim(still, self.next_epoch)

    def _heal(self, worker: Worker, slots: list[int]) -> None:
        worker.wire.cut = False
        worker.lose([slot for slot in slots if self.owners[slot] is not worker])

    def start_pools(self) -> None:
        for lane in range(LANES):
            self.start_pool(lane)
        self.start_rating()

    def start_pool(self, lane: int) -> None:
        """A process that claims a lane, whoever has it."""
        pool = SessionPool(self, lane)
        self.pools.append(pool)
        self.spawn(pool.run())

    def start_rating(self) -> None:
        pool = TariffPool(self)
        self.rating.append(pool)
        self.spawn(pool.run())
