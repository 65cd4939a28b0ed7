"""A charger worker: one process, one thread, two loops, and the supervision tree that holds its parts together.

    worker (one_for_one)                     in start order; stopped in the reverse
    ├── journal        pages to JetStream          host loop
    ├── live           checkpoints                 host loop
    ├── registry       tenants and chargers        host loop
    ├── slots          leases: which slots are ours    host loop
    ├── ids            leases of transaction ids
    ├── turns          tasks of turns that wait for an answer: they end while the journal still writes
    ├── desk           what operators ask of it and of its chargers
    ├── gateway        the WebSocket engine        host loop, or trio for the reference engine
    ├── lag            how late both loops are    host loop and trio
    ├── collector      many short looks at what is young    host loop
    ├── housekeeping   forgets idle chargers, measures the rate
    └── place          joins the workers that serve; at its stop gives everything to others, before anything else stops

Here ports meet adapters; the rules are elsewhere.
"""

import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from time import time_ns
from typing import Any, Final
from uuid import uuid4

import anyio
import msgspec
import psutil
import trio
from msgspec.structs import replace
from nats.errors import Error as NatsError

from cpms_actors.base.ids import LANES, parse_path, slot_of
from cpms_actors.base.settings import Settings
from cpms_actors.bus import questions, subjects
from cpms_actors.bus.client import close, connect
from cpms_actors.bus.commands import WorkerStatus
from cpms_actors.bus.journal import Journal, ensure_stream
from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.bus.registry import Registry
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.line import Line
from cpms_actors.charger.moving import Moved
from cpms_actors.charger.office import Office
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import IdToken
from cpms_actors.gateway.engine import Admitted, Door, Engine, Head, Mover, Receiver, Refused
from cpms_actors.gateway.engines.choice import engine_of
from cpms_actors.gateway.handshake import Admission, Lookups, door, overloaded
from cpms_actors.node.lag import Lag, health
from cpms_actors.node.siblings import Siblings, siblings
from cpms_actors.node.worker_bus import Bus
from cpms_actors.node.worker_desk import Desk, lane_journals
from cpms_actors.node.worker_ids import Lessee
from cpms_actors.node.worker_slots import WorkerSlots
from cpms_actors.observe import logs
from cpms_actors.observe.counters import Counters
from cpms_actors.ocpp.dialect import Dialect
from cpms_actors.ocpp.dialect2 import dialect21, dialect201
from cpms_actors.ocpp.dialect16 import Dialect16
from supervisors.host import Bridge
from supervisors.host import run as run_two_loops
from supervisors.limits import calm_the_collector, give_back_memory, look_at_the_young, raise_files
from supervisors.policy import Backoff
from supervisors.supervisor import ChildSpec, Supervisor
from supervisors.tasks import TaskPool

log = logs.get("worker")

TURNS_MAX: Final = 10_000
FILES_SPARE: Final = 500  # besides the chargers' sockets
HOUSEKEEPING_S: Final = 5.0
READ_AT_START_S: Final = 30.0
ELSEWHERE_RETRY_S: Final = 2
OPEN_RETRY: Final = Backoff(first_s=0.5, max_s=5.0)
LEAVE_S: Final = 20.0  # to give every slot to others
GATEWAY_STOP_S: Final = 8.0  # to give what is carried to other nodes to siblings, and then to close what is left
YOUNG_S: Final = 0.1  # between two looks of the collector
SLICE: Final = 200  # chargers that are looked at without a pause


def clock() -> int:
    """Now, in milliseconds."""
    return time_ns() // 1_000_000


class Worker:
    """One worker: the slots it owns and the chargers on them."""

    def __init__(self, settings: Settings, bridge: Bridge, bus: Bus, name: str, siblings: Siblings) -> None:
        self.settings = settings
        self.name = name
        self.node = siblings.node
        self.started_at = clock()
        self._bridge = bridge
        self._bus = bus
        self._counters = Counters()
        self._turns = TaskPool("turns", TURNS_MAX)
        self._desk = Desk(self, bridge, bus.client, self._turns)
        writer = f"{name}.{self.started_at}.{uuid4().hex[:8]}"  # page numbers count within it: no other process may ever have it
        publisher = StreamPublisher(bus.client)
        self._journal = Journal(publisher, range(LANES), writer, settings.journal, bus.client.max_payload)
        self._slots = WorkerSlots(bus.jetstream, self._journal, siblings, self._desk.follow, self._resume)
        self._siblings = siblings
        self._dialects: dict[str, Dialect] = {"1.6": Dialect16(), "2.0.1": dialect201(), "2.1": dialect21()}
        self._behaviours: dict[str, Behaviour] = {}
        self._chargers = self._slots.chargers
        self._office = Office(
            settings.charging,
            live=self._slots.live,
            tasks=self._turns.start,
            ask_verdict=self._ask_verdict,
            clock=clock,
            new_id=lambda: uuid4().hex,
        )
        self._registry: Registry | None = None
        self._lessee = Lessee(self._office.ids, bridge, bus)
        self._engine: Engine | None = None
        self._host_lag = Lag(self._counters.gauge("loop.host_lag_ms"))
        self._guest_lag = Lag(self._counters.gauge("loop.guest_lag_ms"))
        self._rate = 0.0
        self.port = 0

    # -- starting

    async def open(self) -> None:
        """Claim the slots, read checkpoints and registry. Host loop."""
        settings, jetstream = self.settings, self._bus.jetstream
        await ensure_stream(jetstream, settings)
        replicas = settings.nats.replicas
        registry = await open_bucket(jetstream, subjects.REGISTRY_BUCKET, replicas)
        self._registry = Registry(self._bus.client, registry, self._charger_changed, self._tenant_changed)
        await self._slots.open(self._bus.client, jetstream, self.name, replicas)

    def supervisor(self) -> Supervisor:
        """The tree."""
        leases = self._slots.leases
        assert self._registry is not None and leases is not None  # noqa: PT018  # opened before
        return Supervisor(
            "worker",
            [
                ChildSpec("journal", self._on_host(self._journal.run)),
                ChildSpec("live", self._on_host(self._slots.live.run)),
                ChildSpec("registry", self._on_host(self._registry.run)),
                ChildSpec("slots", self._on_host(leases.run)),
                ChildSpec("ids", self._lessee.run),
                ChildSpec("turns", self._turns.run),
                ChildSpec("desk", self._desk.run),
                ChildSpec("gateway", self._serve_chargers, shutdown_s=GATEWAY_STOP_S),
                ChildSpec("lag", self._measure_lag),
                ChildSpec("collector", self._on_host(_look_at_the_young)),
                ChildSpec("housekeeping", self._keep_house),
                ChildSpec("place", self._keep_place, shutdown_s=LEAVE_S),
            ],
        )

    def _on_host(self, run: Callable[[], Any]) -> Callable[[Callable[[], None]], Awaitable[None]]:
        async def child(started: Callable[[], None]) -> None:
            started()
            await self._bridge.on_host(run)

        return child

    # -- chargers

    async def _serve_chargers(self, started: Callable[[], None]) -> None:
        registry = self._registry
        assert registry is not None
        await self._bridge.on_host(registry.complete, READ_AT_START_S)
        lookups = Lookups(
            tenant=registry.tenants.get,
            charger=lambda tenant, identity: registry.chargers.get((tenant, identity)),
            credential_key=self.settings.credential_key.encode(),
        )
        gateway = replace(self.settings.gateway, port=self.port or self.settings.gateway.port)
        async with trio.open_nursery() as nursery:
            engine = engine_of(gateway, self._door(lookups), self._counters, nursery, self._siblings, self._charging)
            on_loop = self._bridge.on_host if engine.loop == "asyncio" else _here
            self.port = await on_loop(engine.start)
            self._engine = engine
            self._slots.mover = engine if isinstance(engine, Mover) else None
            log.info("listening", host=gateway.host, port=self.port, engine=gateway.engine)
            started()
            try:
                await trio.sleep_forever()
            finally:
                self._engine = self._slots.mover = None
                with trio.CancelScope(shield=True):
                    await on_loop(engine.stop)
                self._slots.stop()

    async def _keep_place(self, started: Callable[[], None]) -> None:
        await self._bridge.on_host(self.join)
        started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(LEAVE_S - 1):
                await self._bridge.on_host(self.drain, 0.0)

    def _door(self, lookups: Lookups) -> Door:
        """The rules of the handshake, and then whether the charger's slot is open to newcomers here."""
        inner = door(lookups, self._receiver)

        def answer(head: Head) -> Admitted | Refused:
            names = parse_path(head.path)
            if names is not None and not self._slots.open_to_newcomers(slot_of(*names)):
                return overloaded(ELSEWHERE_RETRY_S)
            return inner(head)

        return answer

    def _charging(self, path: bytes) -> bool:
        """Whether the charger of this path has a running transaction, as far as this worker knows: the gates let it in first."""
        names = parse_path(path)
        if names is None:
            return False
        charger = self._chargers.get(names)
        return bool(charger.actor.state.open) if charger is not None else self._office.was_charging(slot_of(*names), *names)

    def _boot_wait_s(self) -> float:
        return self._engine.boot_wait_s() if self._engine is not None else 0.0

    def _receiver(self, admission: Admission) -> Receiver:
        charger = self._charger(admission.tenant, admission.record)
        charger.expect()
        version = (admission.subprotocol or "ocpp1.6").removeprefix("ocpp")
        return Line(charger, version, admission.remote)

    def _charger(self, tenant: Tenant, record: ChargerRecord) -> Charger:
        key = (tenant.id, record.identity)
        charger = self._chargers.get(key)
        if charger is None:
            slot = self._slots.served[slot_of(*key)]
            charger = self._chargers[key] = Charger(self._office, slot, record, self._behaviour(tenant))
        return charger

    def _resume(self, moved: Moved, passed: socket.socket) -> None:
        """Go on with a charger that a sibling has passed, as if it had been here all the time. Host loop."""
        registry, mover = self._registry, self._slots.mover
        tenant = registry.tenants.get(moved.tenant) if registry is not None else None
        record = registry.chargers.get((moved.tenant, moved.identity)) if registry is not None else None
        charger = self._charger(tenant, record) if tenant is not None and record is not None and record.enabled else None
        if charger is None or mover is None or charger.line is not None or charger.actor.busy:  # gone, or connected anew meanwhile
            passed.close()
            return
        self._desk.go_on(charger, charger.take_over(moved))
        charger.expect()
        line = Line(charger, moved.version, moved.remote, moved=True)
        mover.resume(passed, line, f"ocpp{moved.version}", moved.agreement)

    def _behaviour(self, tenant: Tenant) -> Behaviour:
        behaviour = self._behaviours.get(tenant.id)
        if behaviour is None:
            planted = self.settings.charging.planted_bug
            behaviour = Behaviour(self._dialects, tenant, planted_bug=planted, boot_wait_s=self._boot_wait_s)
            self._behaviours[tenant.id] = behaviour
        return behaviour

    def _tenant_changed(self, name: str, tenant: Tenant | None) -> None:
        """The registry says so: the new policy holds from the next message on."""
        behaviour = self._behaviours.get(name)
        if behaviour is not None and tenant is not None:
            behaviour.tenant = tenant

    def _charger_changed(self, tenant: str, identity: str, record: ChargerRecord | None) -> None:
        """The registry says so. A charger that may no longer connect is sent away; its facts are kept."""
        charger = self._chargers.get((tenant, identity))
        if charger is None:
            return
        if record is not None:
            charger.record = record
        if charger.line is not None and (record is None or not record.enabled):
            charger.line.close(1008, "this charger is no longer registered here")

    @property
    def slots(self) -> Set[int]:
        """The slots that this worker serves."""
        return self._slots.served.keys()

    def find(self, tenant: str, identity: str) -> Charger | None:
        """The charger, when it is connected or was lately."""
        return self._chargers.get((tenant, identity))

    # -- the pools

    async def _ask_verdict(self, tenant: str, charger: str, token: IdToken, lane: int) -> Verdict:
        question = questions.ENCODE(questions.AuthorizeQuestion(tenant, charger, token))
        subject = subjects.session(lane, questions.AUTHORIZE)
        answer = await self._bridge.on_host(self._bus.request, subject, question, self.settings.charging.authorize_timeout_s)
        return questions.decode_verdict(answer)

    # -- how it is doing

    def forget_verdicts(self, tenant: str) -> None:
        """The tenant's tokens have changed."""
        self._office.verdicts.forget(tenant)

    async def registry_reached(self, revision: int) -> None:
        """Wait until the mirror of the registry has come that far. Host loop."""
        assert self._registry is not None  # opened before
        await self._registry.reached(revision)

    async def drain(self, spread_s: float) -> None:
        """Give every slot to others, and take none. Host loop."""
        assert self._slots.leases is not None  # opened before
        await self._slots.leases.leave(spread_s)

    async def join(self) -> None:
        """Serve, or serve again. Host loop."""
        assert self._slots.leases is not None  # opened before
        await self._slots.leases.join()

    def status(self) -> WorkerStatus:
        """Counters, bounds and refusals."""
        office, tasks = self._office, self._turns.statistics()
        return WorkerStatus(
            name=self.name,
            pid=os.getpid(),
            started_at=self.started_at,
            slots=len(self._slots.served),
            connections=self._engine.open_count if self._engine is not None else 0,
            open_transactions=sum(len(charger.actor.state.open) for charger in self._chargers.values()),
            messages_in=office.counters.messages_in,
            messages_out=office.counters.messages_out,
            messages_in_per_s=self._rate,
            loop_lag_ms=max(self._host_lag.worst_ms, self._guest_lag.worst_ms),
            memory_bytes=psutil.Process().memory_info().rss,
            journal=lane_journals(self._journal),
            refusals={
                "mailbox": office.counters.mailbox_refusals,
                "journal": office.counters.journal_refusals,
                "turns": tasks.refused,
                "checkpoints": self._slots.live.refusals,
                "transaction_ids": office.ids.refusals,
            },
            counters={
                **msgspec.to_builtins(office.counters),
                **self._counters.snapshot(),
                "chargers": len(self._chargers),
                "turns": tasks.tasks,
                "turns_peak": tasks.peak,
                "checkpoints": self._slots.live.saved,
                "transaction_ids_left": office.ids.left,
                "verdicts": len(office.verdicts),
                "verdicts_offline": office.verdicts.offline,
                **self._slots.counters(),
            },
            host_lag_ms=self._host_lag.worst_ms,
            guest_lag_ms=self._guest_lag.worst_ms,
            health=health(self.settings.gateway.lag_max_ms, self._host_lag, self._guest_lag),
        )

    async def _measure_lag(self, started: Callable[[], None]) -> None:
        started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guest_lag.run)
            await self._bridge.on_host(self._host_lag.run)

    async def _keep_house(self, started: Callable[[], None]) -> None:
        """Tell the journal what it had no room for, forget chargers that are gone, give back what memory they had, and measure the rate
        of messages."""
        started()
        counted = self._office.counters.messages_in
        while True:
            before = trio.current_time()
            await trio.sleep(HOUSEKEEPING_S)
            elapsed = trio.current_time() - before
            now = self._office.counters.messages_in
            self._rate = (now - counted) / elapsed
            counted = now
            for keys in _in_slices(list(self._chargers)):
                for key in keys:
                    charger = self._chargers.get(key)
                    if charger is not None and charger.tell_the_rest() and charger.idle:
                        self._chargers.pop(key).leave()
                await trio.lowlevel.checkpoint()
            give_back_memory()


def _in_slices(keys: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    return (keys[at : at + SLICE] for at in range(0, len(keys), SLICE))


async def _look_at_the_young() -> None:
    """Many short pauses in place of few long ones."""
    while True:
        await anyio.sleep(YOUNG_S)
        look_at_the_young()


async def _here(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """The counterpart of `Bridge.on_host` for what already lives on trio."""
    return await async_fn(*args)


def run(settings: Settings, *, name: str = "", ready: Callable[[], None] = lambda: None) -> int:
    """Run one worker until SIGTERM or SIGINT; the exit code. `ready` is called when it serves chargers."""
    node = settings.node or socket.gethostname()
    name = f"{name or f'worker-{os.getpid()}'}@{node}"

    files = raise_files()
    if files < settings.gateway.connections_max + FILES_SPARE:
        log.warning("few_open_files", allowed=files, connections_max=settings.gateway.connections_max, remedy="raise `ulimit -Hn`")

    def serving() -> None:
        calm_the_collector()
        ready()

    async def served(bridge: Bridge) -> bool:
        """Whether it has served, until it was stopped; False when NATS did not answer before it could."""
        client = await bridge.on_host(connect, settings.nats, name)
        try:
            with siblings(node, settings.gateway) as others:
                worker = Worker(settings, bridge, Bus(client, client.jetstream(), settings), name, others)
                try:
                    await bridge.on_host(worker.open)
                except (NatsError, TimeoutError, OSError) as error:
                    log.warning("nats_awaited", error=repr(error))
                    return False
                await worker.supervisor().run(serving)
                return True
        finally:
            with trio.CancelScope(shield=True):
                await bridge.on_host(close, client)

    async def main(bridge: Bridge) -> None:
        failures = 0
        while not await served(bridge):  # with a new connection: what was subscribed on the former must hear nothing
            failures += 1
            await trio.sleep(OPEN_RETRY.delay(failures, random.random()))

    return run_two_loops(main)
