"""One seed: half an hour of charging with faults, then peace; and what must hold at its end.

    run_seed(seed) ──▶ Result     the same seed gives the same history, to the message

The truth is what the chargers' own meters showed and what they were told is kept (SessionFacts); whatever the ledger says otherwise is
a failure.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import virtual_loop
from msgspec import Struct
from simulated_servers import Ledger
from simulated_system import PRICE_MINOR_PER_KWH, ChargerShell, System, Worker, refolded

from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.bus import commands
from cpms_actors.bus.appending import pages_of
from cpms_actors.bus.sealing import PAYLOAD_BYTES_MAX
from cpms_actors.domain.charging import gaps
from cpms_actors.domain.events import NO_OWNER, Event, Fact, Reported, TransactionLapsed
from cpms_actors.pools.fold import SEEN_EVERY_MS
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import VERSIONS, Options, Quirks
from cpms_actors.simulator.session import SessionFacts, SessionPlan

SESSIONS = 2
FAULTS_S = 1_200.0  # of faults
PEACE_S_MAX = 7_200.0  # until all has come to rest after them
REST_S = 60.0
REFUSED_MOST = 10  # batches of a lane in a row that went on from elsewhere: it asks after each, and Postgres may have crashed again
UNFLUSHED_S = 10.0  # the most that wal_writer_delay may be
GC_THRESHOLDS = (100_000, 50, 1_000)  # nearly all lives as long as its seed: to look at it often was a sixth of the time
UNANSWERED = "no answer in time"  # a charger's complaint that is none in the time of faults: it asked again


class Result(Struct):
    """What a seed came to. `seconds` are virtual."""

    seed: int
    failures: list[str]
    history: list[str]
    seconds: float
    chargers: int
    sessions: int
    cdrs: int
    counts: dict[str, int]


def run_seed(seed: int, chargers: int = 8) -> Result:
    """Simulate it."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        return virtual_loop.run(_simulate(seed, chargers))
    finally:
        gc.set_threshold(*thresholds)


async def _simulate(seed: int, chargers: int) -> Result:
    system = System(seed)
    system.shells = [
        ChargerShell(system, _point(system.chance, number), system.chance.choice([0.0, 0.0, 0.2])) for number in range(chargers)
    ]
    system.start_pools()
    system.start_worker()
    system.start_worker()
    system.watch.points = {shell.point.identity: shell.point for shell in system.shells}
    for shell in system.shells:
        system.loop.call_later(system.chance.uniform(0, 60), shell.start)
    seed_ends = system.loop.create_task(_live_through(system))
    await asyncio.wait((seed_ends, system.watch.broken), return_when=asyncio.FIRST_COMPLETED)
    failures = [system.watch.broken.result()] if system.watch.broken.done() else seed_ends.result()
    failures += [f"a task failed: {error!r}" for error in system.errors]
    counts = {
        "stored_twice": system.broker.stored_twice,
        "deduplicated": system.broker.deduplicated,
        "workers": len(system.workers),
        "pools": len(system.pools),
        "calls": system.calls.asked,
        "calls_answered": system.calls.told["result"],
        "passed": system.passed,
        "connections": sum(shell.point.counts.connections for shell in system.shells),
        "messages": sum(shell.point.counts.sent for shell in system.shells),
        "credits": sum(1 for cdr in system.ledger.cdrs if cdr.credits),
        "parked": len(system.ledger.parked),
        "poisoned": system.poisoned,
        "journal_full": sum(worker.office.counters.journal_refusals for worker in system.workers),
        "mailbox_full": sum(worker.office.counters.mailbox_refusals for worker in system.workers),
        "busy": system.calls.told[commands.BUSY],
    }
    sessions = sum(len(shell.point.facts) for shell in system.shells)
    return Result(seed, failures, list(system.history), system.loop.time(), chargers, sessions, len(system.ledger.cdrs), counts)


async def _live_through(system: System) -> list[str]:
    """Faults, peace and rest; what does not hold then."""
    await _faults(system)
    _make_peace(system)
    if not await _rest(system):
        return [_what_waits(system)]
    calls = system.calls
    unanswered = [f"{calls.asked - calls.answered} callers were never answered"] if calls.asked != calls.answered else []
    return _check(system) + await _check_fold(system) + unanswered


def _point(chance: Random, number: int) -> ChargePoint:
    """A charger of any version, patient and with manners of its own."""
    plans = [
        SessionPlan(
            f"TOKEN{number}",
            after_s=chance.uniform(5, 150),
            authorize_after_s=chance.uniform(1, 20),
            charging_s=chance.uniform(60, 500),
            parking_s=chance.choice([0.0, chance.uniform(1, 200)]),
            meter_interval_s=chance.choice([10.0, 30.0, 60.0]),
        )
        for _ in range(SESSIONS)
    ]
    lost = frozenset(["StartTransaction", "StopTransaction", "TransactionEvent"]) if chance.random() < 0.3 else frozenset[str]()
    options = Options(
        attempts_max=10_000,
        retry_interval_s=0.5,
        retry_same_id=chance.random() < 0.5,
        connect_attempts_max=100_000,
        reconnect_doublings=3,
        skew_s=chance.choice([0.0, chance.uniform(-300, 300)]),
        call_timeout_s=chance.uniform(8, 30),
        quirks=Quirks(boots_on_reconnect=chance.random() < 0.3, loses_answers_to=lost),
    )
    return ChargePoint(f"CP{number}", chance.choice(VERSIONS), plans, options, Random(chance.random()))


# -- faults


async def _faults(system: System) -> None:
    chance, faults = system.chance, system.faults
    faults.lost, faults.late, faults.stored_twice = (chance.choice([0.0, chance.uniform(0, 0.08)]) for _ in range(3))
    faults.checkpoint_lost = chance.choice([0.0, chance.uniform(0, 0.3)])
    mean_s = chance.uniform(4, 60)
    kinds = [
        _cut_one,
        _cut_many,
        _kill_worker,
        _part_worker,
        _kill_pool,
        _rival_pool,
        _kill_rating,
        _broker_away,
        _machine_fails,
        _ledger_away,
        _ledger_crashes,
        _standby_takes_over,
        _late_reading,
        _lapse,
        _poison,
        _hand_over,
        _ask,
    ]
    weights = [chance.choice([0.0, 1.0, 4.0]) for _ in kinds]
    weights[0] = weights[-1] = 4.0
    while system.loop.time() < FAULTS_S:
        await asyncio.sleep(chance.expovariate(1 / mean_s))
        (kind,) = chance.choices(kinds, weights)
        kind(system)
    if chance.random() < 0.5:
        _part_worker(system)  # what it says afterwards is the last that is heard


def _living(system: System) -> list[Worker]:
    return [worker for worker in system.workers if worker.reachable]


def _cut_one(system: System) -> None:
    connected = [shell for shell in system.shells if shell.socket is not None]
    if connected:
        shell = system.chance.choice(connected)
        system.tell(f"{shell.point.identity} loses its network")
        shell.socket.cut()  # type: ignore[union-attr]


def _cut_many(system: System) -> None:
    system.tell("half of the chargers lose their network")
    for shell in system.shells:
        if shell.socket is not None and system.chance.random() < 0.5:
            shell.socket.cut()


def _kill_worker(system: System) -> None:
    if len(_living(system)) > 1:
        system.kill_worker(system.chance.choice(_living(system)))


def _part_worker(system: System) -> None:
    if len(_living(system)) > 1:
        system.part(system.chance.choice(_living(system)), system.chance.uniform(0.5, 20.0))


def _kill_pool(system: System) -> None:
    lane = system.chance.randrange(LANES)
    system.tell(f"the process that folds lane {lane} dies")
    for pool in system.pools:
        if pool.lane == lane:
            pool.dead = True
    system.loop.call_later(system.chance.uniform(0.5, 15.0), system.start_pool, lane)


def _rival_pool(system: System) -> None:
    lane = system.chance.randrange(LANES)
    system.tell(f"another process claims lane {lane}")
    system.start_pool(lane)


def _kill_rating(system: System) -> None:
    system.tell("the tariff pool dies")
    for pool in system.rating:
        pool.dead = True
    for _ in range(system.chance.randint(1, 2)):
        system.start_rating()


def _broker_away(system: System) -> None:
    system.broker_away(system.chance.uniform(0.2, 20.0))


def _machine_fails(system: System) -> None:
    """The broker is away, and a worker dies before it is back: what it holds that is not durable is gone."""
    for_s = system.chance.uniform(1.0, 15.0)
    system.broker_away(for_s)
    system.loop.call_later(system.chance.uniform(0.0, for_s), _kill_worker, system)


def _ledger_away(system: System) -> None:
    for_s = system.chance.uniform(0.2, 120.0)
    system.tell(f"Postgres is away for {for_s:.1f} s")
    system.ledger.down = True
    system.loop.call_later(for_s, setattr, system.ledger, "down", False)


def _ledger_crashes(system: System) -> None:
    """The fold does not flush, and Postgres does so by itself within UNFLUSHED_S; what it has not is gone, but no CDR is."""
    unflushed_s, away_s = system.chance.uniform(0.0, UNFLUSHED_S), system.chance.uniform(0.2, 20.0)
    ledger = system.ledger
    ledger.begin_unflushed()

    def crash() -> None:
        system.tell(f"Postgres crashes, and has not flushed the last {unflushed_s:.1f} s")
        claimed = dict(ledger.lanes)
        ledger.crash()
        ledger.down = True
        system.loop.call_later(away_s, setattr, ledger, "down", False)
        _claim_anew(system, claimed)

    system.loop.call_later(unflushed_s, crash)


def _claim_anew(system: System, claimed: Mapping[int, tuple[int, int]]) -> None:
    """Who finds its claim gone claims the lane again."""
    for lane, (epoch, _) in system.ledger.lanes.items():
        if epoch < claimed[lane][0]:
            system.loop.call_later(system.chance.uniform(0.5, 4.0), system.start_pool, lane)


def _standby_takes_over(system: System) -> None:
    """Postgres is gone for good, and what takes its place lacks the last moments."""
    lacks_s = system.chance.uniform(0.0, 3.0)
    ledger, take_over = system.ledger, system.ledger.standby()

    def fail_over() -> None:
        system.tell(f"a standby of Postgres takes over that lacks {lacks_s:.1f} s")
        claimed = dict(ledger.lanes)
        take_over()
        _claim_anew(system, claimed)

    system.loop.call_later(lacks_s, fail_over)


def _late_reading(system: System) -> None:
    """A 1.6 charger tells of moments in the middle of a session that has ended long ago: its bill is replaced, its energy is not."""
    told = [(shell, facts) for shell in system.shells for facts in shell.point.facts if facts.version == "1.6" and facts.transaction]
    told = [(shell, facts) for shell, facts in told if shell.socket is not None and shell.point.online and len(facts.register) > 2]
    if not told:
        return
    shell, facts = system.chance.choice(told)
    gaps_between = range(len(facts.register) - 1)
    system.tell(f"{shell.point.identity} tells more of transaction {facts.transaction}")
    for first in system.chance.sample(gaps_between, min(len(gaps_between), system.chance.randint(1, 3))):
        (begins, low), (ends, high) = facts.register[first : first + 2]
        shell.tell_late(int(facts.transaction or 0), (begins + ends) // 2, system.chance.randint(low, high))


def _lapse(system: System) -> None:
    """The sweeper takes a session for dead that is not: it is closed provisionally, and billed; then its charger goes on with it."""
    running = [stored for stored in system.ledger.sessions.values() if stored.session.status == "Active"]
    if not running:
        return
    session = system.chance.choice(running).session
    fact = TransactionLapsed(session.transaction, session.heard_at, session.version, "endless")
    system.tell(f"transaction {session.transaction} of {session.charger} is taken for dead")
    for _ in range(system.chance.randint(1, 2)):  # two sweepers may say the same
        _publish(system, session.charger, "sweeper", fact)


def _publish(system: System, identity: str, writer: str, fact: Fact) -> bool:
    """A page of its own with one fact, of a writer that owns no slot; whether the broker has it."""
    slot, name = slot_of("default", identity), f"{writer}.{system.new_id()}"
    event = Event(slot, NO_OWNER, 0, "default", identity, 0, "", system.now(), fact)
    (page,) = pages_of(name, [event], PAYLOAD_BYTES_MAX)
    return system.broker.store(lane_of(slot), page.data, f"{name}.1")


def _poison(system: System) -> None:
    """Among what a charger reports is something that Postgres refuses: it costs itself only."""
    identity = system.chance.choice(system.shells).point.identity
    system.tell(f"{identity} reports what Postgres refuses")
    system.poisoned += _publish(system, identity, "poison", Reported("LogStatusNotification", b'{"text":"\\u0000"}'))


def _hand_over(system: System) -> None:
    """A worker gives slots and their connections to a sibling, while one of the chargers is asked something and, at times, one of the
    two dies of it."""
    chance, pairs = system.chance, _siblings(system)
    if not pairs:
        return
    giver, heir = chance.choice(pairs)
    slots = sorted({slot_of("default", shell.point.identity) for shell in system.shells} & giver.place.served.keys())
    if slots and chance.random() < 0.5:
        slots = [chance.choice(slots)]
    for shell in system.shells:
        if chance.random() < 0.5 and slot_of("default", shell.point.identity) in slots:
            system.loop.call_later(chance.uniform(0.0, 0.2), system.spawn_call, shell.point.identity)
    system.loop.call_later(0.1, lambda: system.spawn(system.hand_over(giver, heir, slots)))
    if chance.random() < 0.3:
        system.loop.call_later(0.1 + chance.uniform(0.0, 0.03 * len(slots)), _kill_this, system, chance.choice((giver, heir)))


def _kill_this(system: System, worker: Worker) -> None:
    if len(_living(system)) > 1 and not worker.wire.dead:
        system.kill_worker(worker)


def _siblings(system: System) -> list[tuple[Worker, Worker]]:
    """Who can give slots to whom with the connections open: living workers of one machine."""
    living = _living(system)
    return [(one, other) for one in living for other in living if one is not other and one.machine == other.machine]


def _ask(system: System) -> None:
    """An operator asks a charger something, or several things at once: what it has no room for it says."""
    identity = system.chance.choice(system.shells).point.identity
    for _ in range(system.chance.choice((1, 1, 3))):
        system.spawn_call(identity)


def _make_peace(system: System) -> None:
    """No more faults: what is away comes back."""
    system.tell("peace")
    faults = system.faults
    faults.lost = faults.late = faults.stored_twice = faults.checkpoint_lost = 0.0
    system.broker.down = system.ledger.down = False
    for lane in range(LANES):
        system.start_pool(lane)
    system.start_rating()


async def _rest(system: System) -> bool:
    """Wait until every charger has told all it has, all of it is folded and rated, and nothing changes any more; in between chargers
    tell more of what has ended and was billed."""
    until = system.loop.time() + PEACE_S_MAX
    amended = False
    while system.loop.time() < until:
        await asyncio.sleep(REST_S)
        if not _what_waits(system) and amended:
            await asyncio.sleep(REST_S)  # a socket that was cut is noticed, and folded
            return True
        if not _what_waits(system):
            amended = True
            for _ in system.shells:
                _late_reading(system)
            await _roll_out(system)
    return False


def _answered(system: System) -> int:
    """How many of those who asked had an answer from the charger, or were told that another waits already where one may."""
    told = system.calls.told
    return told["result"] + (told[commands.BUSY] if system.charging.commands_max == 1 else 0)


async def _roll_out(system: System) -> None:
    """Every worker gives all it has to a sibling while its charger is asked something and tells something: no charger sees anything of
    it, and everybody is answered."""
    before = {shell.point.identity: shell.point.counts.connections for shell in system.shells}
    answered, calls = _answered(system), system.calls.asked
    for giver, heir in dict(_siblings(system)).items():
        asked = [shell for shell in system.shells if system.owner(shell.point.identity) is giver]
        for shell in asked:
            system.loop.call_later(system.chance.uniform(0.0, 0.1), system.spawn_call, shell.point.identity)
            system.loop.call_later(system.chance.uniform(0.0, 0.5), _late_reading, system)
        await asyncio.sleep(system.chance.uniform(0.0, 0.1))
        await system.hand_over(giver, heir, sorted(giver.place.served))
    await asyncio.sleep(REST_S)
    for shell in system.shells:
        if shell.point.counts.connections != before[shell.point.identity]:
            system.watch.breach(f"{shell.point.identity} was disconnected, and nobody has died")
    told = _answered(system) - answered
    if told != system.calls.asked - calls:
        system.watch.breach(f"of {system.calls.asked - calls} calls in peace {told} were answered: {system.calls.told}")


def _what_waits(system: System) -> str:
    waits = [f"{shell.point.identity} is not done" for shell in system.shells if not (shell.point.finished and shell.point.online)]
    waits += [f"{shell.point.identity} holds messages back" for shell in system.shells if shell.held]
    waits += [f"lane {lane} is behind" for lane, (_, seq) in system.ledger.lanes.items() if system.broker.after(lane, seq, 1)]
    waits += [f"session {stored.id} is not rated" for stored in system.ledger.unrated()]
    waits += [
        f"{worker.name} has events left" for worker in _living(system) for lane in worker.journal.lanes if lane.statistics.waiting
    ]
    return f"did not come to rest: {', '.join(waits)}" if waits else ""


# -- what must hold


def _check(system: System) -> list[str]:
    failures: list[str] = []
    for shell in system.shells:
        failures += _check_charger(system, shell)
    for worker in system.workers:
        full = worker.office.counters.mailbox_refusals and system.charging.mailbox_max > 1
        if full or worker.office.counters.turns_crashed:
            failures.append(f"{worker.name}: {worker.office.counters}")
    poison = [message for message in system.ledger.parked if message.reason in ("poison", "unreadable-page", "journal-gap", "crashed")]
    failures += [f"not priced: {what}" for what in system.ledger.unpriced]
    refused = [message for message in poison if message.action == "Reported"]
    failures += [f"parked: {message.reason}: {message.detail}" for message in poison if message not in refused]
    if len(refused) != system.poisoned:
        failures.append(f"of {system.poisoned} events that Postgres refuses {len(refused)} are parked")
    return failures


async def _check_fold(system: System) -> list[str]:
    """However often lanes were interrupted and taken over, the ledger is what the journal says."""
    ledger = system.ledger
    ends = {lane: seq for lane, (_, seq) in ledger.lanes.items()}
    found = _told(ledger)  # now: while the journal is read again chargers go on
    once = await refolded(system.broker, ends)
    failures = [f"{what} are not what the journal says" for what, wanted in _told(once).items() if found[what] != wanted]
    if max(ledger.seen_late_ms, once.seen_late_ms) >= SEEN_EVERY_MS:
        failures.append(f"when a charger was last seen was known {ledger.seen_late_ms / 1000} s late")
    if ledger.refused_most > REFUSED_MOST:
        failures.append(f"a lane went on from where Postgres did not have it, {ledger.refused_most} times in a row")
    return failures


def _told(ledger: Ledger) -> dict[str, Any]:
    return {
        "the sessions": {key: ledger.sessions[id_].session for key, id_ in ledger.by_transaction.items()},
        "the readings": {key: sorted(ledger.readings.get(id_, ())) for key, id_ in ledger.by_transaction.items()},
        "what is parked": Counter(ledger.parked),
        "who is connected": {charger: connected for charger, (_, connected) in ledger.connected.items()},
        "the writers": dict(ledger.writers),
        "the slots' epochs": dict(ledger.slot_epochs),
        "the offsets": [seq for _, seq in ledger.lanes.values()],
    }


def _check_charger(system: System, shell: ChargerShell) -> list[str]:
    """What the charger knows is what the ledger has: every session once, with its energy, its readings and one bill."""
    ledger, identity = system.ledger, shell.point.identity
    failures = [f"{identity}: {failure}" for failure in shell.point.failures if not failure.endswith(UNANSWERED)]
    stored = {id_: entry for id_, entry in ledger.sessions.items() if entry.session.charger == identity}
    truths = [facts for facts in shell.point.facts if facts.transaction is not None]
    if len(stored) != len(truths):
        failures.append(f"{identity}: {len(truths)} sessions became {len(stored)}: {[e.session.transaction for e in stored.values()]}")
    for facts in truths:
        id_ = ledger.by_transaction.get(("default", identity, facts.transaction or ""))
        if id_ is None:
            failures.append(f"{identity}: session {facts.transaction} is lost")
        else:
            failures += [f"{identity}/{facts.transaction}: {said}" for said in _check_session(system, facts, id_)]
    return failures + _check_connection(system, identity)


def _check_session(system: System, facts: SessionFacts, id_: int) -> list[str]:
    ledger = system.ledger
    session = ledger.sessions[id_].session
    told: list[str] = []
    if facts.outcome == "lost":
        told.append(f"the charger gave messages up: {facts.discarded}")
    expected: dict[str, Any] = {
        "status": ("Ended", session.status),
        "energy_wh": (facts.energy_wh, session.energy_wh),
        "meter_start_wh": (facts.meter_start_wh, session.meter_start_wh),
        "meter_stop_wh": (facts.meter_stop_wh, session.meter_stop_wh),
        "started_at": (facts.started_at, session.started_at),
        "ended_at": (facts.ended_at, session.ended_at),
    }
    told += [f"{name} is {found}, not {wanted}" for name, (wanted, found) in expected.items() if wanted != found]
    if gaps(session):
        told.append(f"the events {gaps(session)} are missing")
    kept = {(at, round(value)) for at, value in ledger.readings.get(id_, ())}
    missing = [reading for reading in facts.register[1:-1] if reading not in kept]
    if missing:
        told.append(f"{len(missing)} readings are lost, such as {missing[0]}")
    standing = ledger.standing(id_)
    if len(standing) != 1:
        told.append(f"{len(standing)} CDRs stand")
    billed = sum(cdr.energy_wh for cdr in ledger.cdrs if cdr.session_id == id_)
    if billed != facts.energy_wh:
        told.append(f"{billed} Wh are billed, not {facts.energy_wh}")
    for cdr in standing:
        if abs(cdr.total_excl_minor - facts.energy_wh * PRICE_MINOR_PER_KWH / 1000) > 1:
            told.append(f"{cdr.total_excl_minor} is the price of {facts.energy_wh} Wh")
    return told


def _check_connection(system: System, identity: str) -> list[str]:
    """The ledger believes the newest owner: the charger is connected, by the connection that its actor has."""
    worker = system.owners[slot_of("default", identity)]
    charger = worker.place.chargers.get(("default", identity)) if worker is not None else None
    if charger is None or charger.line is None:
        return [f"{identity} is connected nowhere"]
    found = system.ledger.connected.get(("default", identity))
    return [] if found == (charger.connection, True) else [f"{identity}: connection {charger.connection} is known as {found}"]
