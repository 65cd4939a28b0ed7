"""Whatever does not fit between registers, sessions and CDRs is named, what is safe is repaired, and nothing is said of what fits."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any, Final, TypeAlias

import asyncpg
import pytest

from cpms_actors.base.settings import Settings
from cpms_actors.pools.tariff import rate_batch
from cpms_actors.store.database import Database, open_database
from cpms_actors.store.reconciling import RULES

Ask = Callable[..., Awaitable[Any]]
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

pytestmark = pytest.mark.anyio

_numbers = count(1)

_CREDIT: Final = """
INSERT INTO cdrs (tenant_id, id, session_id, session_version, charger, token, started_at, ended_at, energy_wh, charging_s, parking_s,
    currency, total_excl_minor, tax_minor, total_incl_minor, detail, created_at, credits)
SELECT tenant_id, 'k' || substr(id, 2), session_id, session_version, charger, token, started_at, ended_at, {energy}, -charging_s,
    -parking_s, currency, -total_excl_minor, -tax_minor, -total_incl_minor, detail, now(), id FROM cdrs WHERE session_id = $1
"""
_AGAIN: Final = """
INSERT INTO cdrs (tenant_id, id, session_id, session_version, charger, token, started_at, ended_at, energy_wh, charging_s, parking_s,
    currency, total_excl_minor, tax_minor, total_incl_minor, detail, created_at)
SELECT tenant_id, 'z' || substr(id, 2), session_id, 2, charger, token, started_at, ended_at, energy_wh, charging_s, parking_s,
    currency, total_excl_minor, tax_minor, total_incl_minor, detail, now() FROM cdrs WHERE session_id = $1 AND credits IS NULL
"""
_SECOND_VERSION: Final = "UPDATE sessions SET version = 2, rated_version = 2 WHERE id = $1"
_NEXT: Final = """
WITH later AS (
    INSERT INTO sessions (tenant_id, charger, transaction, evse, connector, status, started_at, ended_at, meter_start_wh, meter_stop_wh,
        energy_wh, version, marks)
    SELECT tenant_id, charger, 'next', evse, connector, 'Ended', ended_at + interval '1 hour', ended_at + interval '2 hours', {start},
        30000, 30000 - {start}, 1, '{{}}' FROM sessions WHERE id = $1 RETURNING *
)
INSERT INTO session_transactions SELECT tenant_id, charger, transaction, id FROM later
"""
_ACTIVE: Final = """
UPDATE sessions SET status = 'Active', version = 0, rated_version = 0, ended_at = NULL, meter_stop_wh = NULL,
    started_at = now() - interval '{ago}' WHERE id = $1
"""
_PROVISIONAL: Final = "UPDATE sessions SET version = 2, reason = 'endless', flags = 'provisional' WHERE id = $1"
_STATUS: Final = """
INSERT INTO connectors SELECT tenant_id, charger, evse, connector, 'Available', NULL, NULL, NULL, now() - interval '1 hour'
FROM sessions WHERE id = $1
"""
_SEEN: Final = (
    "UPDATE chargers SET last_seen_at = now() - interval '7 hours' WHERE identity = (SELECT charger FROM sessions WHERE id = $1)"
)

# The rule that finds it, and what was done to a session of 11 kWh that had ended and been rated.
PLANTED: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "nobody rates it": ("not-rated", ("UPDATE sessions SET version = 2, updated_at = now() - interval '1 hour' WHERE id = $1",)),
    "it cannot be rated": (
        "not-rated",
        (
            "UPDATE sessions SET version = 2 WHERE id = $1",
            "INSERT INTO session_rating_errors SELECT tenant_id, id, 2, 'no price', 3, now(), now() + interval '1 hour' FROM sessions"
            " WHERE id = $1",
        ),
    ),
    "its CDR was taken back and not replaced": ("no-cdr", (_CREDIT.format(energy="-energy_wh"),)),
    "its CDR tells another energy": (
        "cdr-differs",
        ("UPDATE sessions SET energy_wh = energy_wh + 500, meter_stop_wh = meter_stop_wh + 500 WHERE id = $1",),
    ),
    "it has two CDRs": ("billed-twice", (_AGAIN, _SECOND_VERSION)),
    "a credit takes back too little": ("credit-differs", (_CREDIT.format(energy="1 - energy_wh"), _AGAIN, _SECOND_VERSION)),
    "its register rose by more": ("energy-differs", ("UPDATE sessions SET meter_stop_wh = meter_stop_wh + 500 WHERE id = $1",)),
    "the next one starts below its end": ("registers-overlap", (_NEXT.format(start=11_500),)),
    "the next one starts far above its end": ("energy-unbilled", (_NEXT.format(start=15_000),)),
    "its station has lost events": (
        "events-lost",
        ("UPDATE sessions SET seqs = '{[0,3),[4,6)}', gaps = 1, flags = 'offline lost' WHERE id = $1",),
    ),
    "a later one has begun": ("overtaken", (_NEXT.format(start=12_000), _ACTIVE.format(ago="2 days"))),
    "its connector is free": ("connector-free", (_ACTIVE.format(ago="2 hours"), _STATUS)),
    "its charger is silent": ("silent", (_ACTIVE.format(ago="8 hours"), _SEEN)),
    "its transaction leads nowhere": ("nameless", ("DELETE FROM session_transactions WHERE session_id = $1",)),
}
UNTRIED: Final = "nobody rates it"  # is no repair of ours, but a pool that has to run
REPAIRED: Final = [
    name
    for name, (rule, _) in PLANTED.items()
    if name != UNTRIED and next(each for each in RULES if each.name == rule).repair is not None
]


@pytest.fixture
async def owner(operations_settings: Settings) -> AsyncIterator[Owner]:
    """The owner of the database, who can do what none of our processes does."""
    connection = await asyncpg.connect(operations_settings.postgres.owner_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def database(operations_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(operations_settings.postgres) as database:
        yield database


async def sound(owner: Owner, database: Database, charger: str) -> int:
    """A session that has ended a day ago, and the CDR that the tariff pool has drawn up for it."""
    await owner.execute("INSERT INTO chargers (tenant_id, identity, last_seen_at) VALUES ('default', $1, now())", charger)
    session: int = await owner.fetchval(
        "INSERT INTO sessions (tenant_id, charger, transaction, evse, connector, token_id, token_kind, status, started_at, ended_at,"
        " meter_start_wh, meter_last_wh, meter_stop_wh, energy_wh, version, marks) VALUES ('default', $1, '77', 1, 1, 'CARD',"
        " 'ISO14443', 'Ended', now() - interval '25 hours', now() - interval '24 hours', 1000, 12000, 12000, 11000, 1, '{}')"
        " RETURNING id",
        charger,
    )
    await owner.execute("INSERT INTO session_transactions VALUES ('default', $1, '77', $2)", charger, session)
    await rate_batch(database)
    return session


async def plant(owner: Owner, database: Database, name: str) -> tuple[str, int]:
    """A session in which something does not fit; its charger."""
    charger = f"PLANTED-{next(_numbers)}"
    session = await sound(owner, database, charger)
    for statement in PLANTED[name][1]:
        await owner.execute(statement, session)
    if "next one" in name or "later one" in name:
        await rate_batch(database)
    return charger, session


def found(answer: Any, charger: str) -> list[str]:
    """The rules that find something about a charger."""
    return [rule["rule"] for rule in answer["rules"] for each in rule["differences"] if each["charger"] == charger]


async def standing(owner: Owner, session: int) -> list[tuple[int, int]]:
    """Version and energy of the CDRs of a session that no credit takes back."""
    rows = await owner.fetch(
        "SELECT session_version, energy_wh FROM cdrs c WHERE session_id = $1 AND credits IS NULL"
        " AND NOT EXISTS (SELECT FROM cdrs k WHERE k.credits = c.id)",
        session,
    )
    return [(row["session_version"], row["energy_wh"]) for row in rows]


def test_every_rule_has_something_planted_for_it() -> None:
    assert {rule for rule, _ in PLANTED.values()} == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", PLANTED)
async def test_what_does_not_fit_is_found_and_nothing_else(ask: Ask, owner: Owner, database: Database, name: str) -> None:
    charger, session = await plant(owner, database, name)
    answer = await ask("reconcile", limit=1000)
    assert found(answer, charger) == [PLANTED[name][0]]
    [rule] = [rule for rule in answer["rules"] if rule["rule"] == PLANTED[name][0]]
    [difference] = [each for each in rule["differences"] if each["charger"] == charger]
    assert difference["detail"]
    assert rule["repaired"] == answer["repaired"] == 0
    assert difference["session"] in (session, session + 1)


async def test_nothing_is_said_of_what_fits(ask: Ask, owner: Owner, database: Database) -> None:
    """Rated; amended and rated anew, with a credit; active; one that ended just now; two of which nobody said at which EVSE; one that
    was closed provisionally, and one that went on after that, which stays billed as it was then until it ends."""
    amended = await sound(owner, database, "AMENDED")
    await owner.execute(
        "UPDATE sessions SET version = 2, energy_wh = 12000, meter_stop_wh = 13000, meter_last_wh = 13000 WHERE id = $1", amended
    )
    await rate_batch(database)
    assert await standing(owner, amended) == [(2, 12_000)]
    active = await sound(owner, database, "ACTIVE")
    await owner.execute(_ACTIVE.format(ago="2 hours"), active)
    just = await sound(owner, database, "JUST")
    await owner.execute("UPDATE sessions SET version = 2, updated_at = now() WHERE id = $1", just)
    await sound(owner, database, "SOUND")
    unplaced = await sound(owner, database, "UNPLACED")
    await owner.execute("UPDATE sessions SET evse = 0, connector = 0 WHERE id = $1", unplaced)
    await owner.execute(_NEXT.format(start=11_500), unplaced)
    await owner.execute(_ACTIVE.format(ago="2 days"), unplaced)
    await owner.execute(_STATUS, unplaced)
    closed = await sound(owner, database, "CLOSED")
    await owner.execute(_PROVISIONAL, closed)
    going_on = await sound(owner, database, "GOING-ON")
    await owner.execute(_ACTIVE.format(ago="2 hours"), going_on)
    await owner.execute("UPDATE sessions SET version = 2, rated_version = 1, energy_wh = 20000 WHERE id = $1", going_on)
    await rate_batch(database)
    assert await standing(owner, closed) == [(2, 11_000)]
    answer = await ask("reconcile", limit=1000)
    chargers = ("AMENDED", "ACTIVE", "JUST", "SOUND", "UNPLACED", "CLOSED", "GOING-ON")
    assert {charger: found(answer, charger) for charger in chargers} == {charger: [] for charger in chargers}
    assert (answer["sessions"] >= 4, answer["cdrs"] >= 6) == (True, True)


@pytest.mark.parametrize("name", REPAIRED)
async def test_what_is_safe_is_repaired_and_the_session_is_billed_once(ask: Ask, owner: Owner, database: Database, name: str) -> None:
    charger, session = await plant(owner, database, name)
    answer = await ask("reconcile", limit=1000, repair=True)
    assert answer["repaired"] >= 1
    while (await rate_batch(database))[1]:
        pass
    again = await ask("reconcile", limit=1000, repair=True)
    assert found(again, charger) == []
    energy = await owner.fetchval("SELECT energy_wh FROM sessions WHERE id = $1", session)
    [(_, billed)] = await standing(owner, session)
    assert billed == energy == await owner.fetchval("SELECT sum(energy_wh) FROM cdrs WHERE session_id = $1", session)


async def test_what_waits_for_a_pool_does_not_count_as_repaired(ask: Ask, owner: Owner, database: Database) -> None:
    while (await rate_batch(database))[1]:
        pass
    charger, _ = await plant(owner, database, UNTRIED)
    answer = await ask("reconcile", limit=1000, repair=True)
    [rule] = [rule for rule in answer["rules"] if rule["rule"] == "not-rated"]
    assert [each["charger"] for each in rule["differences"] if each["detail"] == "nobody has tried"] == [charger]
    assert rule["found"] - rule["repaired"] == 1


async def test_no_more_than_was_asked_for_is_shown_and_repaired(ask: Ask, owner: Owner, database: Database) -> None:
    for number in range(3):
        session = await sound(owner, database, f"MANY-{number}")
        await owner.execute("UPDATE sessions SET energy_wh = 1, meter_stop_wh = meter_start_wh + 1 WHERE id = $1", session)

    async def differing(**asked: Any) -> tuple[int, int, int]:
        [rule] = [rule for rule in (await ask("reconcile", **asked))["rules"] if rule["rule"] == "cdr-differs"]
        return rule["found"], len(rule["differences"]), rule["repaired"]

    whole, _, _ = await differing()
    assert await differing(limit=2) == (whole, 2, 0)
    assert await differing(limit=2, repair=True) == (whole, 2, 2)
    assert await differing() == (whole - 2, whole - 2, 0)
    assert await differing(days=1) == (0, 0, 0), "they began 25 hours ago"


async def test_another_tenant_is_left_alone_and_one_that_is_not_there_is_refused(ask: Ask, owner: Owner, database: Database) -> None:
    await ask("tenant.add", id="other")
    session = await sound(owner, database, "OURS")
    await owner.execute("UPDATE sessions SET energy_wh = 1, meter_stop_wh = meter_start_wh + 1 WHERE id = $1", session)
    other = await ask("reconcile", tenant="other", repair=True)
    assert (other["sessions"], other["found"], other["repaired"]) == (0, 0, 0)
    assert (await ask("reconcile", tenant="ghost"))["code"] == "unknown-tenant"


async def test_a_crowd_of_sessions_is_looked_at_although_postgres_has_no_statistics_of_it(ask: Ask, owner: Owner) -> None:
    """Joined row by row it would take longer than a statement may."""
    await ask("tenant.add", id="crowd")
    await owner.execute(
        "WITH crowd AS ("
        "  INSERT INTO sessions (tenant_id, charger, transaction, evse, connector, status, started_at, ended_at, meter_start_wh,"
        "    meter_stop_wh, energy_wh, version, rated_version, marks)"
        "  SELECT 'crowd', 'CROWD-' || n % 100, n, 1, 1, 'Ended', now() - interval '1 day' + n * interval '1 second',"
        "    now() - interval '23 hours' + n * interval '1 second', n, n + 1, 1, 1, 1, '{}' FROM generate_series(1, 5000) n RETURNING *"
        "), named AS (INSERT INTO session_transactions SELECT tenant_id, charger, transaction, id FROM crowd)"
        "INSERT INTO cdrs (tenant_id, id, session_id, session_version, charger, started_at, ended_at, energy_wh, charging_s, parking_s,"
        "  currency, total_excl_minor, tax_minor, total_incl_minor, detail, created_at)"
        "SELECT tenant_id, gen_random_uuid(), id, 1, charger, started_at, ended_at, 1, 1, 0, 'EUR', 1, 0, 1, '{}', now() FROM crowd"
    )
    answer = await ask("reconcile", tenant="crowd")
    assert (answer["sessions"], answer["cdrs"], answer["found"]) == (5_000, 5_000, 0)
