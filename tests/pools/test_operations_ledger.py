"""What operators read of sessions, CDRs and parked messages, and the tariffs they set, on a real database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import pytest

from cpms_actors.base.settings import Settings

Ask = Callable[..., Awaitable[Any]]
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(operations_settings: Settings) -> AsyncIterator[Owner]:
    """The owner of the database, who writes what the session and tariff pools would."""
    connection = await asyncpg.connect(operations_settings.postgres.owner_dsn)
    yield connection
    await connection.close()


async def add_session(owner: Owner, charger: str, *, tenant: str = "default", status: str = "Ended", flags: str = "") -> int:
    number: int = await owner.fetchval(
        "INSERT INTO sessions (tenant_id, charger, transaction, evse, connector, token_id, token_kind, status, started_at, ended_at,"
        " energy_wh, flags, version, marks) VALUES ($1, $2, '77', 1, 1, 'CARD', 'ISO14443', $3, '2026-01-31 12:00+00',"
        " '2026-01-31 13:00+00', 11000, $4, 1, '{}') RETURNING id",
        tenant,
        charger,
        status,
        flags,
    )
    return number


async def add_cdr(owner: Owner, session: int, name: str, *, at: str = "2026-01-31 13:00:05.123+00") -> None:
    await owner.execute(
        "INSERT INTO cdrs (tenant_id, id, session_id, session_version, charger, token, started_at, ended_at, energy_wh, charging_s,"
        " parking_s, currency, total_excl_minor, tax_minor, total_incl_minor, detail, created_at)"
        " SELECT tenant_id, $2, id, 1 + (SELECT count(*) FROM cdrs WHERE session_id = $1), charger, token_id, started_at, ended_at,"
        " energy_wh, 3600, 0, 'EUR', 495, 94, 589, $3, $4::text::timestamptz FROM sessions WHERE id = $1",
        session,
        name,
        '{"tariff": null, "periods": [{"start_ms": 1769860800000, "end_ms": 1769864400000, "energy_wh": 11000, "kind": "charging"}],'
        ' "lines": [{"kind": "ENERGY", "quantity": 11000, "billed": 11000, "price": "0.45", "tax_percent": "19", "excl": "4.95",'
        ' "tax": "0.9405"}]}',
        at,
    )


async def test_a_tariff_gets_a_version_each_time_it_is_set_and_applies_where_it_is_assigned(ask: Ask) -> None:
    component = {"dimension": "ENERGY", "price": "0.45"}
    first = await ask("tariff.set", id="day", components=[component], tax_percent="19")
    assert (first["version"], first["currency"], first["components"]) == (1, "EUR", [component])
    second = await ask("tariff.set", id="day", components=[component | {"price": "0.50"}], valid_from="2030-01-01T00:00:00Z")
    assert (second["version"], second["valid_from"]) == (2, "2030-01-01T00:00:00Z")
    assert (await ask("tariff.show", id="day"))["version"] == 2
    assert (await ask("tariff.show", id="day", version=1)) == first

    await ask("site.add", id="depot")
    await ask("tariff.assign", scope="site", key="depot", tariff="day")
    assigned = (await ask("tariff.assign", scope="tenant", tariff="day"))["assignments"]
    assert assigned == [{"scope": "tenant", "key": "default", "tariff": "day"}, {"scope": "site", "key": "depot", "tariff": "day"}]
    assert (await ask("tenant.show", id="default"))["default_tariff"] == "day"
    listed = await ask("tariff.list")
    assert ([each["version"] for each in listed["tariffs"]], listed["assignments"]) == ([2], assigned)
    assert len((await ask("tariff.assign", scope="site", key="depot", tariff=None))["assignments"]) == 1


async def test_sessions_are_listed_newest_first_in_pages_and_filtered(ask: Ask, owner: Owner) -> None:
    numbers = [await add_session(owner, f"S{number}", status="Active" if number == 2 else "Ended") for number in range(5)]
    seen: list[int] = []
    after = None
    for _ in range(3):
        page = await ask("session.list", limit=2, after=after)
        seen += [each["id"] for each in page["sessions"]]
        after = page["next"]
    assert (seen, after) == (numbers[::-1], None)
    assert [each["charger"] for each in (await ask("session.list", status="Active"))["sessions"]] == ["S2"]
    assert [each["id"] for each in (await ask("session.list", charger="S4", token="card"))["sessions"]] == [numbers[4]]


async def test_a_session_is_shown_with_its_readings_its_cdrs_and_why_it_could_not_be_priced(ask: Ask, owner: Owner) -> None:
    number = await add_session(owner, "SHOWN", flags="late repeated")
    await owner.execute("INSERT INTO session_transactions VALUES ('default', 'SHOWN', '77', $1)", number)
    for minute, value in ((1, 100.0), (2, 200.0), (3, 300.0)):
        await owner.execute(
            "INSERT INTO meter_values (tenant_id, charger, evse, connector, session_id, taken_at, received_at, value, measurand,"
            " context)"
            " VALUES ('default', 'SHOWN', 1, 1, $1, timestamptz '2026-01-31 12:00+00' + $2 * interval '1 minute', now(), $3,"
            " 'Energy.Active.Import.Register', 'Sample.Periodic')",
            number,
            minute,
            value,
        )
    await add_cdr(owner, number, "shown-cdr")
    await owner.execute(
        "INSERT INTO session_rating_errors VALUES ('default', $1, 1, 'no tariff of that name', 3, now(), now())", number
    )
    shown = await ask("session.show", id=number, readings=2)
    assert (shown["session"]["energy_wh"], shown["session"]["flags"], shown["transactions"]) == (11000, ["late", "repeated"], ["77"])
    assert [reading["value"] for reading in shown["readings"]] == [200.0, 300.0], "the newest, in order of time"
    assert (shown["cdrs"], shown["rating_error"]) == (["shown-cdr"], "no tariff of that name")


async def test_cdrs_of_one_moment_are_neither_repeated_nor_skipped_between_pages(ask: Ask, owner: Owner) -> None:
    await ask("tenant.add", id="cdrs")
    number = await add_session(owner, "C", tenant="cdrs")
    for name in ("a", "b", "c"):
        await add_cdr(owner, number, name)
    await add_cdr(owner, number, "newest", at="2026-02-01 00:00+00")
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = await ask("cdr.list", tenant="cdrs", limit=1, after=after)
        seen += [each["id"] for each in page["cdrs"]]
        after = page["next"]
    assert seen == ["newest", "c", "b", "a"]
    assert [each["id"] for each in (await ask("cdr.list", tenant="cdrs", session=number, token="card", charger="C"))["cdrs"]] == seen
    assert (await ask("cdr.list", tenant="cdrs", session=number + 1))["cdrs"] == []
    shown = await ask("cdr.show", tenant="cdrs", id="a")
    assert (shown["cdr"]["total_incl_minor"], shown["cdr"]["session"]) == (589, number)
    assert [(line["kind"], line["excl"]) for line in shown["lines"]] == [("ENERGY", "4.95")]
    assert shown["periods"] == [{"kind": "charging", "started_at": "2026-01-31T12:00:00Z", "duration_ms": 3600000, "energy_wh": 11000}]


async def test_a_tenant_reads_no_sessions_cdrs_or_parked_messages_of_another(ask: Ask, owner: Owner) -> None:
    await ask("tenant.add", id="other")
    number = await add_session(owner, "MINE")
    await add_cdr(owner, number, "mine-cdr")
    await owner.execute(
        "INSERT INTO parked_messages (tenant_id, charger, reason, detail, payload, message_id, received_at)"
        " VALUES ('default', 'MINE', 'r', 'd', '', '', now())"
    )
    for verb, rows in (("session.list", "sessions"), ("cdr.list", "cdrs"), ("parked.list", "parked"), ("tariff.list", "tariffs")):
        assert (await ask(verb, tenant="other"))[rows] == []
    assert (await ask("session.show", tenant="other", id=number))["code"] == "unknown-session"
    assert (await ask("cdr.show", tenant="other", id="mine-cdr"))["code"] == "unknown-cdr"


@pytest.mark.parametrize(
    ("verb", "fields", "code", "said"),
    [
        ("tariff.set", {"id": "t", "components": [{"dimension": "ENERGY", "price": "-1"}]}, "tariff", "the price of ENERGY is -1"),
        ("tariff.set", {"id": "t", "components": [{"dimension": "LOVE", "price": "1"}]}, "invalid-request", "LOVE"),
        ("tariff.set", {"id": "t", "components": [], "currency": "XXZ"}, "tariff", "ISO 4217"),
        ("tariff.show", {"id": "ghost"}, "unknown-tariff", "cpms tariff list"),
        ("tariff.assign", {"scope": "tenant", "tariff": "ghost"}, "unknown-tariff", "no tariff 'ghost'"),
        ("tariff.assign", {"scope": "site", "key": "ghost", "tariff": "t"}, "unknown-site", "cpms site list"),
        ("tariff.assign", {"scope": "charger", "key": "ghost", "tariff": "t"}, "unknown-charger", "cpms charger list"),
        ("tariff.assign", {"scope": "site", "tariff": "t"}, "invalid-request", "key is the site's id"),
        ("session.show", {"id": 999999}, "unknown-session", "cpms session list"),
        ("session.list", {"after": "yesterday"}, "invalid-request", "give `next` of the page before"),
        ("cdr.list", {"after": "yesterday"}, "invalid-request", "give `next` of the page before"),
        ("cdr.show", {"id": "ghost"}, "unknown-cdr", "cpms cdr list"),
        ("parked.show", {"id": 999999}, "unknown-parked", "cpms parked list"),
        ("parked.explain", {"id": 999999}, "unknown-parked", "cpms parked list"),
        ("parked.replay", {"id": 999999}, "unknown-parked", "cpms parked list"),
        ("parked.discard", {"id": 999999, "reason": "x"}, "unknown-parked", "cpms parked list"),
        ("parked.discard", {"id": 1, "reason": ""}, "invalid-request", "reason: "),
        ("audit.list", {"after": "yesterday"}, "invalid-request", "give `next` of the page before"),
        ("parked.list", {"tenant": "ghost"}, "unknown-tenant", "cpms tenant list"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_code_and_the_remedy(
    ask: Ask, verb: str, fields: dict[str, Any], code: str, said: str
) -> None:
    error = await ask(verb, **fields)
    assert (error["code"], error["exit"]) == (code, 2)
    assert said in error["text"]
