"""Transactions that nobody ends: closed provisionally by a fact in the journal, amended by whatever comes late, and billed once."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.base.settings import Logs, Postgres, Settings
from cpms_actors.bus import questions, subjects
from cpms_actors.domain.events import Seen
from cpms_actors.observe import logs
from cpms_actors.pools import session
from cpms_actors.pools.sweeper import SETTLED_MS, Sweeper
from cpms_actors.pools.tariff import Counts
from cpms_actors.store.database import open_database
from tests.pools.running_pool import running
from tests.pools.sweeping import LOOK, MIN, T0, H, S, World, charging, meter, start, status, stop

pytestmark = pytest.mark.anyio


# -- closing


async def test_a_start_without_energy_at_a_connector_that_is_free_again_is_closed_and_rated(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.hear(start(), at=T0)
    await world.hear(status("Available", T0 + 20 * S), at=T0 + 20 * S)
    await world.fold()
    assert await world.sweep(T0 + 5 * MIN) == 0
    logs.configure(Logs(format="json"))
    capsys.readouterr()
    assert await world.sweep(T0 + 6 * MIN) == 1
    [line] = [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines()]
    logs.configure(Logs())
    assert {name: line[name] for name in ("event", "level", "charger", "transaction", "reason", "silent_s")} == {
        "event": "transaction_stuck",
        "level": "warning",
        "charger": "CP1",
        "transaction": "1000",
        "reason": "failed-start",
        "silent_s": 360,
    }
    assert (world.sweeper.closed.failed_starts, world.sweeper.closed.endless) == (1, 0)
    assert await world.session() == ("Active", 0, 0, None, "")  # the sweeper changes nothing itself
    await world.fold()
    assert await world.session() == ("Ended", 1, 0, "failed-start", "provisional")
    await world.rate()
    assert await world.billed() == [(1, 0, False, True)]
    assert await world.sweep(T0 + 99 * H) == 0


async def test_a_charger_that_is_away_in_the_middle_of_a_charge_is_no_failed_start_but_endless_in_the_end(world: World) -> None:
    await charging(world)
    for after in (2 * H, 7 * H - 1):
        assert await world.sweep(T0 + after) == 0
    assert await world.sweep(T0 + 7 * H) == 1
    await world.fold()
    assert await world.session() == ("Ended", 1, 4_000, "endless", "provisional")
    [(ended_at,)] = await world.ask("SELECT (extract(epoch FROM ended_at) * 1000)::bigint FROM sessions")
    assert ended_at == T0 + H
    assert (world.sweeper.closed.failed_starts, world.sweeper.closed.endless) == (0, 1)


async def test_a_car_that_stands_there_at_a_charger_that_lives_is_left_alone(world: World) -> None:
    await charging(world)
    await world.hear(status("SuspendedEV", T0 + 2 * H), at=T0 + 2 * H)
    await world.hear(Seen(), at=T0 + 20 * H)
    await world.fold()
    assert await world.sweep(T0 + 26 * H - 1) == 0
    assert await world.sweep(T0 + 26 * H) == 1


async def test_a_session_whose_evse_has_a_later_one_is_not_kept_by_what_its_connector_says_now(world: World) -> None:
    await world.hear(start(), at=T0)
    await world.hear(start("2000", T0 + MIN), status("Charging", T0 + MIN), at=T0 + MIN)
    await world.hear(meter(T0 + 5 * MIN, 1_500, "2000"), at=T0 + 5 * MIN)
    await world.fold()
    assert await world.sweep(T0 + 7 * MIN) == 1
    await world.fold()
    assert await world.ask("SELECT transaction, status, reason FROM sessions ORDER BY 1") == [
        ("1000", "Ended", "failed-start"),
        ("2000", "Active", None),
    ]


async def test_each_tenant_has_its_limits_and_zero_is_never(world: World) -> None:
    await world.hear(start(), at=T0)
    await world.hear(status("Available", T0 + 1), at=T0 + 1)
    await world.fold()

    async def limits(failed_start_s: int, endless_s: int) -> None:
        async with world.database.transaction(["default"]) as connection:
            await connection.execute("UPDATE tenants SET failed_start_s = $1, endless_s = $2", failed_start_s, endless_s)

    await limits(0, 0)
    assert await world.sweep(T0 + 999 * H) == 0
    await limits(0, 7_200)
    assert await world.sweep(T0 + 2 * H - 1) == 0
    await limits(7_100, 7_200)
    assert await world.sweep(T0 + 2 * H - 1) == 1
    assert [body.reason for body in await world.lapses()] == ["failed-start"]


async def test_what_the_sweeper_says_is_no_sign_of_life_and_nothing_of_an_owner_of_the_slot(world: World) -> None:
    await charging(world)
    before = await world.ask("SELECT c.last_seen_at, e.slot, e.epoch FROM chargers c, slot_epochs e")
    await world.sweep(T0 + 8 * H)
    await world.fold()
    assert (await world.session())[0] == "Ended"
    assert await world.ask("SELECT c.last_seen_at, e.slot, e.epoch FROM chargers c, slot_epochs e") == before


# -- what comes late


async def test_the_end_that_comes_late_amends_the_session_and_its_cdr_is_credited_and_replaced(world: World) -> None:
    await charging(world)
    await world.sweep(T0 + 8 * H)
    await world.fold()
    assert (await world.rate()).cdrs == 1
    await world.hear(stop(T0 + 2 * H, 10_000), at=T0 + 9 * H)
    await world.fold()
    assert await world.session() == ("Ended", 2, 9_000, "Local", "")
    await world.rate()
    assert await world.billed() == [(1, 4_000, False, True), (1, -4_000, True, True), (2, 9_000, False, False)]
    await world.hear(stop(T0 + 2 * H, 10_000), at=T0 + 9 * H + MIN)  # asks again
    await world.fold()
    assert await world.rate() == Counts()


async def test_a_session_that_goes_on_is_open_again_and_billed_anew_when_it_ends(world: World) -> None:
    await charging(world)
    await world.sweep(T0 + 8 * H)
    await world.fold()
    await world.rate()
    for hour in (9, 10, 11):
        await world.hear(meter(T0 + hour * H, 1_000 * hour), at=T0 + hour * H)
        await world.fold()
        assert await world.session() == ("Active", 2, 1_000 * hour - 1_000, None, "")
        assert await world.rate() == Counts(), "while it runs its CDR stands as it is"
        assert await world.sweep(T0 + hour * H + MIN) == 0
    assert await world.sweep(T0 + 17 * H) == 1
    await world.fold()
    await world.rate()
    await world.hear(stop(T0 + 18 * H, 20_000), at=T0 + 18 * H)
    await world.fold()
    assert await world.session() == ("Ended", 4, 19_000, "Local", "")
    await world.rate()
    assert await world.billed() == [
        (1, 4_000, False, True),
        (1, -4_000, True, True),
        (3, 10_000, False, True),
        (3, -10_000, True, True),
        (4, 19_000, False, False),
    ]
    assert await world.ask("SELECT count(*) FROM sessions") == [(1,)]


async def test_what_was_queued_while_the_charger_was_away_ends_in_one_bill(world: World) -> None:
    await charging(world)
    await world.sweep(T0 + 8 * H)
    await world.fold()
    await world.rate()
    queue = [meter(T0 + n * H, 1_000 + 1_000 * n) for n in (2, 3, 4)]
    await world.hear(*queue, stop(T0 + 5 * H, 6_500), at=T0 + 9 * H)
    await world.fold()
    await world.rate()
    assert (await world.session())[:3] == ("Ended", 3, 5_500)
    assert [row[:3] for row in await world.billed()] == [(1, 4_000, False), (1, -4_000, True), (3, 5_500, False)]


# -- never twice, never too early


async def test_two_sweepers_at_once_close_a_session_once(world: World) -> None:
    await charging(world)
    other = world.another_sweeper()
    for at in (T0 + 8 * H, T0 + 8 * H + LOOK):
        async with anyio.create_task_group() as group:
            for sweeper in (world.sweeper, other):
                group.start_soon(sweeper.sweep, at)
    assert (world.sweeper.closed.endless, other.closed.endless) == (1, 1)
    assert len(await world.lapses()) == 2
    await world.fold()
    assert (await world.session())[:2] == ("Ended", 1)


async def test_a_fact_that_comes_before_the_lapse_in_the_journal_makes_it_say_nothing(world: World) -> None:
    await charging(world)
    await world.sweeper.sweep(T0 + 8 * H)
    await world.hear(meter(T0 + 2 * H, 6_000), at=T0 + 8 * H + S)
    assert await world.sweeper.sweep(T0 + 8 * H + LOOK) == 1
    await world.fold()
    assert await world.session() == ("Active", 0, 5_000, None, "")


async def test_a_lapse_that_is_not_folded_yet_is_not_said_again(world: World) -> None:
    await charging(world)
    assert await world.sweep(T0 + 8 * H) == 1
    for minute in (2, 3):
        assert await world.sweeper.sweep(T0 + 8 * H + minute * LOOK) == 0
    assert len(await world.lapses()) == 1


async def test_a_lapse_that_was_lost_on_its_way_is_said_again(world: World) -> None:
    await charging(world)
    before = await world.ask("SELECT stream_seq FROM lanes ORDER BY lane")
    assert await world.sweep(T0 + 8 * H) == 1
    await world.bus.jetstream().purge_stream(subjects.JOURNAL_STREAM, seq=max(seq for (seq,) in before) + 2)
    for minute, closed in ((2, 0), (3, 1)):
        assert await world.sweeper.sweep(T0 + 8 * H + minute * LOOK) == closed


async def test_what_postgres_does_not_know_yet_is_no_silence(world: World) -> None:
    await charging(world)
    await world.hear(meter(T0 + 7 * H, 6_000), at=T0 + 7 * H)
    assert await world.sweep(T0 + 8 * H) == 0
    assert await world.lapses() == []
    await world.fold()
    assert await world.sweep(T0 + 8 * H + 2 * LOOK) == 0
    assert await world.sweep(T0 + 13 * H) == 1


async def test_after_an_outage_a_lane_is_left_alone_until_its_fold_has_kept_up_for_a_while(world: World) -> None:
    await charging(world)
    sweeper = world.another_sweeper(SETTLED_MS)
    looks = SETTLED_MS // LOOK
    for minute in range(looks):
        assert await sweeper.sweep(T0 + 8 * H + minute * LOOK) == 0
    pause = T0 + 9 * H  # the process was away: it begins again
    for minute in range(looks + 1):
        assert await sweeper.sweep(pause + minute * LOOK) == 0
    assert await sweeper.sweep(pause + (looks + 1) * LOOK) == 1


async def test_what_was_known_before_an_outage_of_nats_or_postgres_counts_no_more(
    world: World, nats_server: Any, postgres_server: Any
) -> None:
    await charging(world)
    at = T0 + 8 * H
    for server, error in ((postgres_server, Unavailable), (nats_server, (NatsError, OSError, TimeoutError))):
        assert await world.sweeper.sweep(at) == 0
        server.stop()
        try:
            with pytest.raises(error):
                await world.sweeper.sweep(at + LOOK)
        finally:
            server.start()
        with anyio.fail_after(30):
            while not world.bus.is_connected:
                await anyio.sleep(0.05)
        assert await world.sweeper.sweep(at + 2 * LOOK) == 0
        at += H
    assert await world.sweep(at) == 1


async def test_a_process_sweeps_the_lanes_that_it_folds(world: World) -> None:
    await charging(world)
    lane = lane_of(slot_of("default", "CP1"))
    assert await world.sweep(T0 + 8 * H, world.another_sweeper(held=lambda: set(range(LANES)) - {lane})) == 0
    assert await world.sweep(T0 + 8 * H, world.another_sweeper(held=lambda: {lane})) == 1


async def test_more_than_a_page_of_sessions_are_closed_and_those_that_live_are_in_nobody_s_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.sweeper.PAGE_MAX", 3)
    for number in range(10):
        await world.hear(start(at=T0 + number), charger=f"CP{number}", at=T0)
        word = "Charging" if number < 4 else "Available"
        await world.hear(status(word, T0 + MIN), charger=f"CP{number}", at=T0 + MIN)
    await world.fold()
    assert await world.sweep(T0 + 10 * MIN) == 6


async def test_the_journal_folded_into_an_empty_database_comes_to_the_same_sessions(
    world: World, fresh_postgres: Callable[[], Postgres]
) -> None:
    await charging(world)
    await world.sweep(T0 + 8 * H)
    await world.fold()
    await world.hear(meter(T0 + 9 * H, 9_000), at=T0 + 9 * H)
    await world.fold()
    for charger in ("CP2", "CP3"):
        await world.hear(start(), status("Available", T0 + S), charger=charger, at=T0 + S)
    await world.fold()
    assert await world.sweep(T0 + 16 * H) == 3
    await world.fold()
    await world.hear(stop(T0 + 17 * H, 5_000), charger="CP2", at=T0 + 17 * H)
    await world.fold()
    rows = (
        "SELECT charger, transaction, status, version, energy_wh, ended_at, heard_at, reason, flags, marks FROM sessions"
        " ORDER BY charger"
    )
    said = await world.ask(rows)
    assert [(row[0], row[2], row[3], row[8]) for row in said] == [
        ("CP1", "Ended", 3, "provisional"),
        ("CP2", "Ended", 2, ""),
        ("CP3", "Ended", 1, "provisional"),
    ]
    async with open_database(fresh_postgres()) as empty:
        await world.fold(empty)
        assert await world.ask(rows, empty) == said


# -- in the pool


async def test_the_session_pool_sweeps_and_counts_what_it_closed(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real clock the session is silent for years."""
    monkeypatch.setattr("cpms_actors.pools.sweeper.LOOK_S", 0.05)
    monkeypatch.setitem(Sweeper.__init__.__kwdefaults__ or {}, "settled_ms", 0)
    await world.hear(start(), at=T0)
    await world.hear(meter(T0 + H, 5_000), at=T0 + H)
    async with running(session.run, settings):
        with anyio.fail_after(30):
            while await world.ask("SELECT version FROM sessions WHERE status = 'Ended'") != [(1,)]:
                await anyio.sleep(0.05)
        answer = await world.bus.request(questions.STATUS_SUBJECT, b"", timeout=8)
        said = questions.STATUS_ANSWER.decode(answer.data)
        assert (said.failed_starts, said.endless) == (0, 1)
    assert await world.session() == ("Ended", 1, 4_000, "endless", "provisional")
