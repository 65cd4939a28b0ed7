"""A virtual station of OCPP 2.x and the whole system: events that it holds back or has lost are asked for, and billed once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import trio
from running import RunningCpms
from test_backup import attached

from cpms_actors.base.ids import LANES
from cpms_actors.base.settings import Settings
from cpms_actors.bus.client import connect
from cpms_actors.bus.journal import Journal
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.pools.asking import Counts
from cpms_actors.pools.sweeper import LOOK_S, Sweeper
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.fleet import FleetOptions, run_fleet
from cpms_actors.simulator.options import Options, Outage, Quirks
from cpms_actors.simulator.session import SessionPlan
from cpms_actors.store.database import open_database

SPEED = 60.0
LOOK_MS = int(LOOK_S * 1000)


def plan(charger: str) -> SessionPlan:
    """A driver who charges for six minutes of the station."""
    return SessionPlan(f"T-{charger}", charging_s=360, parking_s=60)


@asynccontextmanager
async def sweeping(cpms: RunningCpms) -> AsyncIterator[Sweeper]:
    """A sweeper beside the pool's, which asks at once: that one waits ten minutes until it trusts what it sees."""
    settings: Settings = attached(cpms.directory)
    client = await connect(settings.nats, "test")
    async with open_database(settings.postgres) as database, anyio.create_task_group() as group:
        writer = f"sweeper.test.{time.time_ns()}"
        journal = Journal(StreamPublisher(client), range(LANES), writer, settings.journal, client.max_payload)
        group.start_soon(journal.run)
        yield Sweeper(client, database, journal, lambda: range(LANES), settled_ms=0)
        group.cancel_scope.cancel()
    await client.close()


@asynccontextmanager
async def running(cpms: RunningCpms, point: ChargePoint) -> AsyncIterator[None]:
    """The station is connected while the block runs, also after its driver has gone."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[tuple[trio.lowlevel.TrioToken, trio.Event]] = loop.create_future()

    async def drive() -> None:
        stop = trio.Event()
        loop.call_soon_threadsafe(started.set_result, (trio.lowlevel.current_trio_token(), stop))
        await run_fleet([point], cpms.ws_url, FleetOptions(hold=True), stop=stop)

    fleet = asyncio.create_task(asyncio.to_thread(trio.run, drive))
    token, stop = await started
    try:
        yield
    finally:
        token.run_sync_soon(stop.set)
        await fleet


async def look(sweeper: Sweeper, now: int) -> int:
    """The sweeper looks until it has asked once more; the moment of its last look (ms)."""
    asked = sweeper.asker.counts.asked
    with anyio.fail_after(20):
        while sweeper.asker.counts.asked == asked:
            await anyio.sleep(0.2)  # until what the look before has seen is folded
            now += LOOK_MS
            await sweeper.sweep(now)
    return now


async def the_session(cpms: RunningCpms, charger: str, flags: list[str]) -> Any:
    """The only session, once it has ended with these flags."""
    [session] = await asyncio.to_thread(
        cpms.until,
        lambda: cpms.sessions(charger),
        lambda found: [(each.status, each.flags) for each in found] == [("Ended", flags)],
        40,
    )
    return session


def known(cpms: RunningCpms, charger: str) -> None:
    cpms.add_charger(charger)
    cpms.add_token(f"T-{charger}")


def test_an_event_that_the_station_holds_back_is_asked_for_and_the_session_billed_once(running_cpms: RunningCpms) -> None:
    charger = "HOLDS-BACK"
    known(running_cpms, charger)
    point = ChargePoint(charger, "2.0.1", [plan(charger)], Options(speed=SPEED, quirks=Quirks(holds_back=frozenset({2}))))

    async def script() -> None:
        async with sweeping(running_cpms) as sweeper, running(running_cpms, point):
            before = await the_session(running_cpms, charger, ["gaps"])
            assert (before.gaps, before.version, before.rated_version) == (1, 1, 0)
            await look(sweeper, int(time.time() * 1000))
            after = await the_session(running_cpms, charger, [])
            assert (after.gaps, after.version, after.energy_wh) == (0, 2, before.energy_wh)
            assert sweeper.asker.counts == Counts(asked=1)

    asyncio.run(script())
    [facts] = point.facts
    [cdr] = running_cpms.until(lambda: running_cpms.cdrs(charger), lambda cdrs: len(cdrs) > 0)
    assert (facts.outcome, cdr.session_version, cdr.energy_wh, cdr.provisional) == ("completed", 2, facts.energy_wh, False)


def test_events_that_the_station_has_lost_are_asked_for_once_and_named_by_reconcile_and_after_a_rebuild(
    running_cpms: RunningCpms,
) -> None:
    """Its memory is full when it is offline: of the meter values it keeps one (E04: those may be dropped), and the end."""
    charger = "LOSES"
    known(running_cpms, charger)
    options = Options(speed=SPEED, queue_max=1, outages=(Outage(after_s=90, for_s=250),))
    point = ChargePoint(charger, "2.1", [plan(charger)], options)

    async def script() -> None:
        async with sweeping(running_cpms) as sweeper, running(running_cpms, point):
            before = await the_session(running_cpms, charger, ["offline", "gaps"])
            now = await look(sweeper, int(time.time() * 1000))
            after = await the_session(running_cpms, charger, ["offline", "lost"])
            assert (after.gaps, after.version, after.energy_wh) == (before.gaps, before.version, before.energy_wh)
            for _ in range(60):
                now += LOOK_MS
                await sweeper.sweep(now)
            assert sweeper.asker.counts == Counts(asked=1, lost=1)

    asyncio.run(script())
    assert running_cpms.sessions(charger)[0].energy_wh == point.facts[0].energy_wh
    found = json.loads(running_cpms.cli("reconcile", "--json").stdout)
    named = {rule["rule"]: [each["charger"] for each in rule["differences"]] for rule in found["rules"]}
    assert charger in named["events-lost"]
    rebuilt = json.loads(running_cpms.cli("rebuild", "--json").stdout)
    assert rebuilt["identical"], rebuilt
