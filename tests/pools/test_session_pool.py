"""The session pool as processes run it: answers, lanes shared and taken over, and outages waited out."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import anyio
import msgspec
import pytest
from nats.aio.client import Client

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import LANES, lane_of, slot_of
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import questions, subjects
from cpms_actors.bus.client import connect, subscribed
from cpms_actors.bus.questions import AuthorizeQuestion, LeaseQuestion, SessionStatus
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import Event, IdToken, Page, TransactionEnded, TransactionStarted
from cpms_actors.pools import session
from cpms_actors.store.database import Database, open_database
from tests.pools.running_pool import running

pytestmark = pytest.mark.anyio
T0 = 1_700_000_000_000
_numbers = count(1)


@pytest.fixture
def pool_settings(nats_url: str, fresh_postgres: Callable[[], Postgres]) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=fresh_postgres())


@pytest.fixture
async def bus(pool_settings: Settings) -> AsyncIterator[Client]:
    client = await connect(pool_settings.nats, "test")
    yield client
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    await client.close()


@pytest.fixture
async def database(pool_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(pool_settings.postgres) as database:
        yield database


async def authorize(bus: Client, token: str, tenant: str = "default") -> Verdict:
    question = questions.ENCODE(AuthorizeQuestion(tenant, "CP1", IdToken(token)))
    answer = await bus.request(subjects.session(3, questions.AUTHORIZE), question, timeout=8)
    return questions.decode_verdict(answer.data)


async def status(bus: Client) -> SessionStatus:
    return questions.STATUS_ANSWER.decode((await bus.request(questions.STATUS_SUBJECT, b"", timeout=8)).data)


async def journal(bus: Client, *chargers: str) -> None:
    """A whole session of each charger, on its lane."""
    for charger in chargers:
        slot = slot_of("default", charger)
        bodies: list[Any] = [TransactionStarted("1", 1, 1, T0, IdToken("A"), 100), TransactionEnded("1", T0 + 1, 600)]
        events = tuple(Event(slot, 1, n, "default", charger, 1, "m", T0, body) for n, body in enumerate(bodies))
        page = msgspec.msgpack.encode(Page(f"w{next(_numbers)}", 1, events))
        await bus.jetstream().publish(subjects.journal(lane_of(slot)), page)


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Real servers have no virtual clock: look again and again, but not for ever."""
    with anyio.fail_after(seconds):
        while not await holds():
            await anyio.sleep(0.05)


async def ended(database: Database) -> int:
    async with database.transaction(["default"]) as connection:
        total: int = await connection.fetchval(
            "SELECT count(*) FROM sessions WHERE status = 'Ended' AND energy_wh = 500 AND version = 1"
        )
        return total


async def owners(database: Database) -> dict[str, int]:
    async with database.transaction(()) as connection:
        rows = await connection.fetch("SELECT owner, count(*) AS lanes FROM lanes WHERE owner IS NOT NULL GROUP BY owner")
        return {row["owner"]: row["lanes"] for row in rows}


async def test_workers_get_verdicts_and_transaction_ids(pool_settings: Settings, bus: Client, database: Database) -> None:
    async with database.transaction(["default"]) as connection:
        await connection.execute("INSERT INTO tokens (tenant_id, id, group_id) VALUES ('default', 'good', 'G')")
    async with running(session.run, pool_settings):
        found: dict[str, Verdict] = {}

        async def note(token: str) -> None:
            found[token] = await authorize(bus, token)

        async with anyio.create_task_group() as group:  # a rush: many wait at once
            for n in range(300):
                group.start_soon(note, "GOOD" if n == 7 else f"unknown{n}")
        assert found.pop("GOOD") == Verdict("Accepted", None, "G")
        assert list(found.values()) == [Verdict("Invalid")] * 299
        assert await authorize(bus, "good", tenant="other") == Verdict("Invalid")
        assert await authorize(bus, "nul\0") == Verdict("Invalid")  # which Postgres would refuse to hear of
        lease = questions.ENCODE(LeaseQuestion("default", 2))
        blocks = [
            questions.decode_id_block((await bus.request(subjects.session(0, questions.LEASE), lease, timeout=8)).data) for _ in "ab"
        ]
        assert [(block.first, block.last) for block in blocks] == [(1, 2_000), (2_001, 4_000)]


async def test_ended_sessions_ring_the_tariff_pool_and_show_in_the_status(
    pool_settings: Settings, bus: Client, database: Database
) -> None:
    bell = await bus.subscribe(subjects.doorbell("tariff"))
    await subscribed(bus)
    async with running(session.run, pool_settings):
        await journal(bus, "CP1", "CP2", "CP3")
        await bell.next_msg(timeout=10)
        await until(lambda: _is(_folded(bus), 6))
        said = await status(bus)
        assert said.postgres
        assert [lane.lane for lane in said.lanes] == list(range(LANES))
        assert {lane.lag_pages for lane in said.lanes} == {0}
        assert max(lane.offset for lane in said.lanes) == 3
        assert {lane.stream_last for lane in said.lanes} == {3}
        assert sum(lane.events_per_s for lane in said.lanes) > 0


async def test_processes_share_the_lanes_and_take_over_those_of_one_that_stops(
    pool_settings: Settings, bus: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpms_actors.pools.claims.RENEW_S", 0.1)
    async with running(session.run, pool_settings) as stop_first:
        assert list((await owners(database)).values()) == [LANES]
        async with running(session.run, pool_settings):
            await until(lambda: _is(_shares(database), [LANES // 2] * 2))
            await journal(bus, *(f"CP{n}" for n in range(20)))
            await until(lambda: _is(ended(database), 20))
            stop_first()
            await until(lambda: _is(_shares(database), [LANES]))
            await journal(bus, *(f"CP{n}" for n in range(20, 40)))
            await until(lambda: _is(ended(database), 40))
    assert await owners(database) == {}


async def test_while_postgres_is_down_questions_are_refused_at_once_and_the_lag_shows(
    pool_settings: Settings, bus: Client, database: Database, postgres_server: Any
) -> None:
    """And when it is back, the fold catches up without help."""
    async with running(session.run, pool_settings):
        await journal(bus, "CP1")
        await until(lambda: _is(ended(database), 1))
        postgres_server.stop()
        try:
            await journal(bus, "CP2", "CP3", "CP4", "CP5")
            with anyio.fail_after(2), pytest.raises(Unavailable):
                await authorize(bus, "A")
            await until(lambda: _lags(bus, 4))
        finally:
            postgres_server.start()
        await until(lambda: _is(ended(database), 5))
        await until(lambda: _lags(bus, 0))


async def _is(actual: Any, expected: object) -> bool:
    return bool(await actual == expected)


async def _shares(database: Database) -> list[int]:
    return sorted((await owners(database)).values())


async def _lags(bus: Client, pages: int) -> bool:
    return sum(lane.lag_pages for lane in (await status(bus)).lanes) == pages


async def _folded(bus: Client) -> int:
    return sum(lane.events for lane in (await status(bus)).lanes)
