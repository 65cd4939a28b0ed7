"""The system in one process: real charger actors, journals, fold and billing, on models of servers, sockets and chargers' networks.

    ChargePoint ══Socket══▶ Line ▶ Charger ▶ Journal ══Publisher══▶ Broker ▶ SessionPool (fold) ▶ Ledger ▶ TariffPool (draw_up)
    (simulator)  cut, late      (all of a worker: real)             (model)                       (model)

A process dies by going silent: its wire to the servers is dead, nothing it does reaches anybody, and its sockets end. What it had under
way goes on arriving where it was sent.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from harness import DIALECTS
from invariants import Asked, Watch, WatchedBroker, WatchedLedger
from msgspec import Struct
from simulated_servers import Broker, Faults, Ledger, Live, Pages, Postgres, Publisher, Rating, Wire

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, SLOTS, slot_of
from cpms_actors.base.settings import Charging
from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.time import to_datetime
from cpms_actors.bus import commands
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.slots import Presence
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.line import Line
from cpms_actors.charger.moving import Moved, OpenCall
from cpms_actors.charger.office import Office
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import IdToken
from cpms_actors.domain.tariff import Component, Tariff
from cpms_actors.node.siblings import Siblings
from cpms_actors.node.worker_desk import SAY_AGAIN_S
from cpms_actors.node.worker_slots import WorkerSlots
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.tariff import BATCH_MAX, GAP_GRACE_S, rate_some
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import Close, Connect, Output, Send
from cpms_actors.store.offsets import Claim

EPOCH_MS = 1_795_000_000_000
NET_S = (0.005, 0.08)  # between a charger and its worker, either way
NOTICED_S = (0.0, 25.0)  # until a worker sees that a charger's network is gone
TAKE_OVER_S = (3.0, 5.0)  # until somebody has claimed a dead worker's slots
SKEW_S = (-10.0, 10.0)  # of a machine's clock
MACHINES = 2
PASSAGE_S = (0.00002, 0.0004)  # a socket's way from one process to another: shorter than any by the broker
RESUMED_S = (0.0002, 0.005)  # until it is open there
PASSAGE_FULL = 0.1  # the chance that the sibling does not take it now
RELEASE_AGAIN_S = 0.4
ASKED_ON_THE_WAY = 0.2
CALL_S = 20.0  # an operator's patience
LATE = "late-"
HELD_BACK = ("TransactionEvent", "MeterValues")
HELD_S = (10.0, 200.0)
PAGE_EVENTS = 3
TENANT = Tenant("default", profile0=True)
PRICE_MINOR_PER_KWH = 50
BLOCK = 1_000


def tariff() -> Tariff:
    """So much per kWh."""
    from decimal import Decimal

    return Tariff("t", 1, "EUR", (Component("ENERGY", Decimal(PRICE_MINOR_PER_KWH) / 100),))


class End:
    """A worker's end of a socket, as its engine has it (gateway.engine.Movable); it is dead when the socket has been passed on."""

    agreement = ""

    def __init__(self, system: "System", socket: "Socket", worker: "Worker", line: Line) -> None:
        self.socket = socket
        self.worker = worker
        self.line = line
        self.reads = True
        self._system = system

    def open(self) -> None:
        self.socket.end = self
        self.line.on_open(self)
        self.read()

    @property
    def is_open(self) -> bool:
        return self.socket.end is self and self.socket.server_open and not self.worker.wire.dead

    def send(self, text: bytes) -> bool:
        if not self.is_open:
            return False
        if text.startswith(b"[3,"):
            self._system.watch.answered(self.socket.shell.point.identity, self.socket.asked, text)
        elif text.startswith(b"[2,"):
            self._system.calls.sent(text)
        self.socket.tell(text)
        return True

    def close(self, code: int, reason: str = "") -> None:
        if self.is_open:
            self._system.tell(f"{self.worker.name} closes {self.socket.shell.point.identity}: {code} {reason}")
            self.socket.server_closes()
            self._system.loop.call_soon(self.closed, code)

    def read(self) -> None:
        """Hear what has come, unless it is to stay where it is."""
        socket = self.socket
        while socket.unread and self.reads and self.is_open:
            text = socket.unread.popleft()
            if text.startswith(b"[2,"):
                socket.asked.heard(text)
            charger = self.worker.place.chargers.get(("default", socket.shell.point.identity))
            if text.startswith(b"[3,") and charger is not None and charger.line is self.line:
                self._system.calls.heard(text)
            self.line.on_text(text)
            if charger is not None:
                self._system.watch.turned(charger, self.worker.journal.lanes)

    def closed(self, code: int) -> None:
        if self.socket.end is self and not self.worker.wire.dead:
            self.line.on_closed(code, "")

    def movable(self) -> bool:
        return self.is_open

    def hold(self) -> None:
        self.reads = False


class Socket:
    """One WebSocket between a charger and a worker: in order, at some speed, until it is cut. `unread` is what waits for `worker`."""

    def __init__(self, system: "System", shell: "ChargerShell", worker: "Worker") -> None:
        self._system = system
        self.shell = shell
        self.worker = worker  # whose process holds it
        self.end: End | None = None  # None on its way to another worker
        self.unread: deque[bytes] = deque()
        self.asked = Asked()
        self._to_charger = self._to_worker = 0.0  # when the last of what is under way arrives
        self.server_open = self._charger_open = True

    # -- the worker's end

    def tell(self, text: bytes) -> None:
        self._later_at_charger(self.shell.hears, self, text)

    def server_closes(self) -> None:
        """What the charger has been sent arrives before it."""
        if self.server_open:
            self.server_open = False
            self._later_at_charger(self.shell.lost, self)

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
        if self.server_open and self._charger_open and not self.worker.wire.dead:
            self.unread.append(text)
            if self.end is not None:
                self.end.read()

    def hang_up(self) -> None:
        """The charger closes."""
        self._charger_open = False
        self._system.loop.call_later(self._system.chance.uniform(*NET_S), self.ended)

    # -- the network

    def cut(self) -> None:
        """What is under way is lost; each end notices when it does."""
        chance, loop = self._system.chance, self._system.loop
        if self._charger_open:
            self._charger_open = False
            loop.call_later(chance.uniform(0.0, 2.0), self.shell.lost, self)
        loop.call_later(chance.uniform(*NOTICED_S), self.ended)

    def ended(self) -> None:
        """The worker's end notices. On the way to another worker, that one does when it has it."""
        if self.server_open and self.end is None:
            self._system.loop.call_later(NOTICED_S[1], self.ended)
        elif self.server_open and self.end is not None:
            self.server_open = False
            self.end.closed(1006)


class Passed:
    """A socket that has come from a sibling: what `Passage` gives for its descriptor."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def close(self) -> None:
        self.socket.server_closes()


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
        action = text.split('"', 4)[3] if text.startswith("[2,") else ""
        if action in HELD_BACK and self._holds_back and self._system.chance.random() < self._holds_back:
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
        self.socket = Socket(self._system, self, worker)
        line = Line(worker.charger(self.point.identity), self.point.version, "simulated")
        End(self._system, self.socket, worker, line).open()
        self._do(self.point.connected(self._system.now()))


class Checkpoints(Live):
    """Live as a worker's slots use it (bus.live.LiveStore)."""

    waiting = 0

    async def load(self, bucket: object, slots: Iterable[int]) -> int:  # type: ignore[override]
        super().load(slots)
        return len(self._loaded)


class Claims(Struct):
    """What a worker's slots ask of its leases (bus.slots.Leases): slot to the epoch of whoever had it before."""

    followed: dict[int, int]
    suspended: bool = False


class Worker:
    """A charger worker: its office, its journal, the slots it owns and the chargers on them. To its slots it is the engine as well."""

    def __init__(self, system: "System", name: str, machine: int) -> None:
        self.name = name
        self.machine = machine
        self._system = system
        self.wire = Wire(system.chance, system.faults)
        self.journal = Journal(Publisher(system.broker, self.wire), range(LANES), name, system.journal, chance=lambda: 0.0)
        self.siblings = Siblings(f"machine{machine}", f"@{name}")
        nothing: Any = None  # NATS: the slots are given their checkpoints here, and claims are System's
        self.place = WorkerSlots(nothing, self.journal, self.siblings, nothing, self._go_on_with, system.chance.random)  # type: ignore[arg-type]
        self.place.live = self._live = Checkpoints(system.broker, self.wire)  # type: ignore[assignment]
        self.place.leases = self._claims = Claims({})  # type: ignore[assignment]
        self.place.mover = self  # type: ignore[assignment]
        self.place._bucket = object()  # type: ignore[assignment]
        skew_ms = system.skews_ms[machine]
        self.office = Office(
            system.charging,
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
        self.journals = system.spawn(self.journal.run())

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

    @property
    def reachable(self) -> bool:
        """Whether it lives and reaches the servers."""
        return not self.wire.dead and not self.wire.cut

    def claim(self, numbers: list[int]) -> None:
        """Serve these slots from now on, as their next owner."""
        self._claims.followed |= {number: self._system.epochs[number] for number in numbers}
        epochs = {number: self._system.next_epoch(number, self) for number in numbers}
        _at_once(self.place._claimed(epochs))

    def lose(self, numbers: list[int]) -> None:
        """These slots are another's: their chargers are sent away, and forgotten."""
        _at_once(self.place._lost(numbers))

    def charger(self, identity: str) -> Charger:
        charger = self.place.chargers.get(("default", identity))
        if charger is None:
            slot = self.place.served[slot_of("default", identity)]
            record = ChargerRecord("default", identity, security_profile=0)
            charger = self.place.chargers["default", identity] = Charger(self.office, slot, record, self._behaviour)
        return charger

    # -- its connections on the way from and to siblings (gateway.engine.Mover, node.worker)

    def pass_on(self, address: str, connection: End, packet: bytes) -> bool:
        chance, socket = self._system.chance, connection.socket
        heir = next((each for each in self._system.workers if each.siblings.address == address), None)
        if self.wire.dead or heir is None or heir.wire.dead or chance.random() < PASSAGE_FULL:
            return False
        self._system.watch.parts(self.place.chargers["default", socket.shell.point.identity], socket.asked)
        socket.end, socket.worker = None, heir
        self._system.passed += 1
        self._system.loop.call_later(chance.uniform(*PASSAGE_S), heir.takes, packet, Passed(socket))
        return True

    def takes(self, packet: bytes, passed: Passed) -> None:
        """What a sibling has passed arrives."""
        if not self.wire.dead:  # else its kernel has closed it
            self.siblings.moved(packet, passed)  # type: ignore[arg-type]

    def _go_on_with(self, moved: Moved, passed: Passed) -> None:
        charger = self.charger(moved.identity)
        if charger.line is not None or charger.actor.busy:
            passed.close()
            return
        for asked in charger.take_over(moved):
            self._system.spawn(self._wait_for(charger, asked))
        charger.expect()
        line = Line(charger, moved.version, moved.remote, moved=True)
        self._system.loop.call_later(self._system.chance.uniform(*RESUMED_S), self._resume, passed.socket, charger, line)

    def _resume(self, socket: Socket, charger: Charger, line: Line) -> None:
        if not self.wire.dead and socket.server_open:
            End(self._system, socket, self, line).open()
            self._system.watch.arrives(charger, socket.asked)

    async def _wait_for(self, charger: Charger, asked: OpenCall) -> None:
        answer = await charger.go_on(asked)
        if answer is not None and not self.wire.dead:
            self._system.calls.answer(asked.reply_to, answer)


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Do what waits for nothing, as the models answer at once."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something that the models do not have")


class Calls:
    """What operators ask of chargers, each by the inbox that is waited at, and what they were told. Whoever asks is told once, in time,
    and what the charger has answered."""

    def __init__(self, system: "System") -> None:
        self.asked = self.answered = 0
        self.told: Counter[str] = Counter()  # by what became of it
        self._system = system
        self._waiting: dict[str, tuple[float, asyncio.Future[CallAnswer]]] = {}
        self._sent: dict[str, str] = {}  # message id to inbox
        self._heard: set[str] = set()  # inboxes of what the charger has answered in time

    async def ask(self, identity: str) -> None:
        """Ask a charger, wherever it is and moves to meanwhile."""
        system = self._system
        inbox, now = system.new_id(), system.loop.time()
        self._waiting[inbox] = (now + CALL_S, system.loop.create_future())
        self.asked += 1
        disturbed = system.disturbed(), system.broker.down
        system.spawn(self._call(identity, inbox))
        try:
            async with asyncio.timeout(CALL_S + 1):
                answer = await self._waiting[inbox][1]
        except TimeoutError:
            self.told["no word"] += 1
            if disturbed == (system.disturbed(), False):
                system.watch.breach(f"{identity}: whoever asked was told nothing, and nobody has died")
        else:
            self.told[answer.code or answer.kind] += 1
            if answer.kind == "failed" and inbox in self._heard:
                system.watch.breach(f"{identity} has answered, and whoever asked was told {answer.code}")
        del self._waiting[inbox]
        self.answered += 1

    async def _call(self, identity: str, inbox: str) -> None:
        """What the desk of the worker does that hears it (node.worker_desk): it is said again while the slot changes hands."""
        system = self._system
        while (worker := system.owner(identity)) is None:
            if inbox not in self._waiting:
                return
            await asyncio.sleep(SAY_AGAIN_S)
        charger = worker.place.chargers.get(("default", identity))
        if charger is None:
            self.answer(inbox, CallAnswer("failed", code=commands.NOT_CONNECTED))
            return
        payload = json.dumps({"vendorId": "simulation", "messageId": inbox}).encode()
        answer = await charger.call("DataTransfer", payload, CALL_S, inbox)
        if answer is not None and not worker.wire.dead:
            self.answer(inbox, answer)

    def answer(self, inbox: str, answer: CallAnswer) -> None:
        """A worker tells whoever asked."""
        waiting = self._waiting.get(inbox)
        if waiting is None:
            return
        if waiting[1].done():
            self._system.watch.breach(f"{inbox} is answered twice")
        else:
            waiting[1].set_result(answer)

    def sent(self, text: bytes) -> None:
        """A worker sends a call to its charger."""
        call = json.loads(text)
        self._sent[call[1]] = call[3]["messageId"]

    def heard(self, text: bytes) -> None:
        """A worker reads the answer to a call on the charger's newest connection."""
        inbox = self._sent.pop(text.split(b'"', 2)[1].decode(), "")
        waiting = self._waiting.get(inbox)
        if waiting is not None and self._system.loop.time() < waiting[0]:
            self._heard.add(inbox)


class Pool:
    """A process of a pool. It dies at once, wherever it is: what it has committed and has not heard of is committed all the same."""

    def __init__(self, system: "System") -> None:
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


class SessionPool(Pool):
    """A process of the session pool that folds one lane: the real lane, on models of the journal's reading end and of Postgres."""

    def __init__(self, system: "System", lane: int) -> None:
        super().__init__(system)
        self.lane = lane

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


async def refolded(broker: Broker, ends: Mapping[int, int]) -> Ledger:
    """What the journal says up to these ends of its lanes, when it is folded once, from its beginning and without a fault."""
    ledger, chance = Ledger(), Random(0)
    wire = Wire(chance, Faults())
    for number in range(LANES):
        claim = Claim(number, ledger.claim(number) or 0)
        lane = Lane(claim, Pages(broker, wire, chance), Postgres(ledger, wire, chance), _nobody_waits, clock=lambda: 0.0)
        await lane.recall()
        while pages := [page for page in broker.after(number, lane.statistics.offset, 64) if page.stream_seq <= ends[number]]:
            await lane.fold_pages(pages)
    return ledger


class TariffPool(Pool):
    """A process of the tariff pool, which looks for ended sessions every second or so."""

    def __init__(self, system: "System") -> None:
        super().__init__(system)
        self._tariff = tariff()

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
        self.history: list[str] = []
        self.watch = Watch(self.tell, self.now)
        self.broker = WatchedBroker(self.chance, self.faults)
        self.ledger = WatchedLedger()
        self.broker.watch = self.ledger.watch = self.watch
        self.calls = Calls(self)
        # What is full refuses. Each of the three has a few places in a third of the seeds.
        self.journal = JournalSettings(page_events_max=PAGE_EVENTS, waiting_max=self.chance.choice((20_000, 20_000, 2 * PAGE_EVENTS)))
        self.charging = Charging(mailbox_max=self.chance.choice((64, 64, 1)), commands_max=self.chance.choice((32, 32, 1)))
        self.skews_ms = [round(self.chance.uniform(*SKEW_S) * 1000) for _ in range(MACHINES)]
        self.passed = 0  # connections
        self.disturbances = 0  # how often a process or a server was taken from the others
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

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def spawn_call(self, identity: str) -> None:
        """An operator asks a charger something."""
        self.spawn(self.calls.ask(identity))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.errors.append(task.exception())  # type: ignore[arg-type]

    def owner(self, identity: str) -> Worker | None:
        """Who serves a charger; None while nobody does."""
        slot = slot_of("default", identity)
        worker = self.owners[slot]
        return worker if worker is not None and worker.reachable and slot in worker.place.served else None

    def next_epoch(self, slot: int, worker: Worker) -> int:
        self.epochs[slot] += 1
        self.watch.claims[slot, self.epochs[slot]] = worker.name
        return self.epochs[slot]

    def broker_away(self, for_s: float) -> None:
        """Nothing is stored and nothing is answered for so long."""
        self.tell(f"the broker is away for {for_s:.1f} s")
        self.disturbances += 1
        self.broker.down = True
        self.loop.call_later(for_s, setattr, self.broker, "down", False)

    # -- what happens to processes

    def start_worker(self) -> Worker:
        """A new worker serves all that nobody has and its share of what the others have: siblings hand it over, other machines send
        their chargers away."""
        worker = Worker(self, f"w{len(self.workers) + 1}", self.chance.choice((0, 0, 1)))
        self.workers.append(worker)
        living = [each for each in self.workers if not each.wire.dead]
        self._give(worker, [slot for slot, owner in self.owners.items() if owner is None])
        taken = [slot for slot, owner in self.owners.items() if owner is not None and owner is not worker]
        self.chance.shuffle(taken)
        share = SLOTS // len(living) - sum(owner is worker for owner in self.owners.values())
        asked = set(taken[: max(0, share)])
        for other in living:
            slots = [slot for slot in asked if self.owners[slot] is other and other is not worker]
            if other.machine != worker.machine:
                self._give(worker, slots)
            elif slots and other.reachable:
                self.spawn(self.hand_over(other, worker, slots))
        return worker

    def _give(self, worker: Worker, slots: list[int]) -> None:
        for other in self.workers:
            if not other.wire.dead and other is not worker:
                other.lose([slot for slot in slots if self.owners[slot] is other])
        for slot in slots:
            self.owners[slot] = worker
        worker.claim(slots)

    def disturbed(self) -> int:
        """How often a worker has died, or a connection that was passed on was closed because its slot did not follow in time."""
        return self.disturbances + sum(worker.place._unclaimed for worker in self.workers)

    async def hand_over(self, giver: Worker, heir: Worker, slots: Iterable[int]) -> None:
        """Slots and their open connections go to a sibling, one after the other, as bus.slots.Leases has it done."""
        self.tell(f"{giver.name} hands slots over to {heir.name}")
        presence = Presence(heir.name, "1", heir.siblings.node, heir.siblings.address)
        for slot in slots:
            mine = giver.place.served.get(slot)
            if mine is None or self.owners[slot] is not giver or not giver.reachable or not heir.reachable:
                continue
            await giver.place._moved(slot, mine.epoch, presence)
            while not await self._released(giver) and self.owners[slot] is giver and not giver.wire.dead:
                await asyncio.sleep(RELEASE_AGAIN_S)
            if giver.wire.dead or self.owners[slot] is not giver:
                continue  # it is claimed from the dead; or was, from one that was cut off
            self.owners[slot] = None
            await self._claimed_by(heir, slot)
            for shell in self.shells:
                if slot_of("default", shell.point.identity) == slot and self.chance.random() < ASKED_ON_THE_WAY:
                    self.spawn_call(shell.point.identity)  # its connection is on its way

    async def _released(self, giver: Worker) -> bool:
        """Whether the broker has heard from a worker that a slot is free."""
        hop_s = giver.wire.hop_s()
        await asyncio.sleep(hop_s or 0.0)
        return hop_s is not None and giver.reachable and not self.broker.down

    async def _claimed_by(self, heir: Worker, slot: int) -> None:
        """A free slot is claimed, by the one it was meant for if that lives."""
        hop_s = heir.wire.hop_s() or TAKE_OVER_S[0]
        while True:
            await asyncio.sleep(hop_s)
            if self.owners[slot] is not None:
                return
            able = [each for each in self.workers if each.reachable] if not self.broker.down else []
            if able:
                self._give(heir if heir in able else self.chance.choice(able), [slot])
                return
            hop_s = RELEASE_AGAIN_S

    def kill_worker(self, worker: Worker) -> None:
        """It dies. Its sockets end, its slots are another's within seconds, and another process takes its place."""
        self.tell(f"{worker.name} dies")
        self.disturbances += 1
        worker.wire.dead = True
        worker.journals.cancel()  # what it says no more reaches nobody
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
        self.tell(f"w{len(self.workers) + 1} starts")
        self.start_worker()

    def part(self, worker: Worker, for_s: float) -> None:
        """It does not reach the servers for a while. When that lasts, its slots are another's, and it learns so afterwards."""
        self.tell(f"{worker.name} is cut off from the servers for {for_s:.1f} s")
        self.disturbances += 1
        worker.wire.cut = True
        if self.chance.random() < 0.5:  # it is the whole machine's network
            for shell in self.shells:
                if shell.socket is not None and shell.socket.worker is worker:
                    shell.socket.cut()
        slots = [slot for slot, owner in self.owners.items() if owner is worker]
        others = [each for each in self.workers if each is not worker and each.reachable]
        if for_s > TAKE_OVER_S[1] and others:
            self.loop.call_later(self.chance.uniform(*TAKE_OVER_S), self._take_over, worker, self.chance.choice(others), slots)
        self.loop.call_later(for_s, self._heal, worker, slots)

    def _take_over(self, parted: Worker, heir: Worker, slots: list[int]) -> None:
        still = [slot for slot in slots if self.owners[slot] is parted]
        if heir.wire.dead or not still:
            return
        for slot in still:
            self.owners[slot] = heir
        heir.claim(still)

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
