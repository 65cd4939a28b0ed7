"""The verbs of the registry on real servers: what is stored, what workers are told, what an operator reads when it cannot be done."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError

from cpms_actors.base.ids import slot_of
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.domain.access import ChargerRecord, Tenant, credential_digest

PASSWORD = "0123456789abcdef01"
Ask = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.anyio


async def value(client: Client, key: str) -> bytes | None:
    bucket = await client.jetstream().key_value(subjects.REGISTRY_BUCKET)
    try:
        return (await bucket.get(key)).value
    except KeyNotFoundError:
        return None


def key_of(tenant: str, charger: str) -> str:
    return f"charger.{subjects.charger_key(slot_of(tenant, charger), tenant, charger)}"


async def test_a_tenant_is_stored_told_to_workers_changed_and_listed(ask: Ask, client: Client) -> None:
    added = await ask("tenant.add", id="north", name="North", profile0=True, strictness="strict", heartbeat_s=60, currency="SEK")
    assert (added["id"], added["profile0"], added["currency"], added["default_tariff"]) == ("north", True, "SEK", None)
    assert (added["failed_start_s"], added["endless_s"]) == (300, 21_600)
    told = msgspec.msgpack.decode(await value(client, "tenant.north") or b"", type=Tenant)
    assert told == Tenant("north", "North", True, "strict", "cached", 60, "SEK", "UTC")

    changed = await ask("tenant.set", id="north", offline="reject", timezone="Europe/Stockholm")
    assert (changed["name"], changed["offline"], changed["timezone"]) == ("North", "reject", "Europe/Stockholm")
    told = msgspec.msgpack.decode(await value(client, "tenant.north") or b"", type=Tenant)
    assert (told.offline, told.strictness, told.timezone) == ("reject", "strict", "Europe/Stockholm")

    changed = await ask("tenant.set", id="north", failed_start_s=0, endless_s=43_200)
    assert (changed["failed_start_s"], changed["endless_s"], changed["heartbeat_s"]) == (0, 43_200, 60)
    assert await ask("tenant.show", id="north") == changed
    for hasty in ({"failed_start_s": 59}, {"endless_s": 1}):
        assert (await ask("tenant.set", id="north", **hasty))["code"] == "too-short"
        assert (await ask("tenant.add", id="south", **hasty))["code"] == "too-short"
    assert await ask("tenant.show", id="north") == changed
    assert "north" in [each["id"] for each in (await ask("tenant.list"))["tenants"]]


async def test_a_charger_is_stored_and_told_to_workers_without_its_password_ever_coming_back(
    ask: Ask, client: Client, operations_settings: Settings
) -> None:
    await ask("site.add", id="depot", name="Depot")
    added = await ask("charger.add", charger="CP:1+a", password=PASSWORD, site="depot", model="Wallbox 3000", boot="Pending")
    assert (added["charger"], added["has_password"], added["site"], added["boot"]) == ("CP:1+a", True, "depot", "Pending")
    assert added["connected"] is False
    assert added["last_seen_at"] is None
    assert PASSWORD not in repr(added)
    digest = credential_digest(operations_settings.credential_key.encode(), PASSWORD)
    told = msgspec.msgpack.decode(await value(client, key_of("default", "CP:1+a")) or b"", type=ChargerRecord)
    assert told == ChargerRecord("default", "CP:1+a", 1, digest, "Pending", True)

    await ask("charger.set", charger="CP:1+a", boot="Accepted", enabled=False, site=None)
    told = msgspec.msgpack.decode(await value(client, key_of("default", "CP:1+a")) or b"", type=ChargerRecord)
    assert told == ChargerRecord("default", "CP:1+a", 1, digest, "Accepted", False)
    shown = await ask("charger.show", charger="CP:1+a")
    assert (shown["charger"]["site"], shown["charger"]["model"]) == (None, "Wallbox 3000")
    assert shown["slot"] == slot_of("default", "CP:1+a")
    assert shown["connectors"] == []


async def test_a_change_that_postgres_refuses_is_not_told_to_workers(ask: Ask, client: Client) -> None:
    await ask("charger.add", charger="steady", password=PASSWORD)
    before = await value(client, key_of("default", "steady"))
    assert (await ask("charger.set", charger="steady", site="nowhere", boot="Rejected"))["code"] == "unknown-site"
    assert await value(client, key_of("default", "steady")) == before


async def test_chargers_are_listed_in_pages_that_neither_repeat_nor_skip(ask: Ask) -> None:
    await ask("tenant.add", id="pages", profile0=True)
    names = [f"CP{number:02}" for number in range(7)]
    for name in reversed(names):
        await ask("charger.add", tenant="pages", charger=name, security_profile=0)
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = await ask("charger.list", tenant="pages", limit=3, after=after)
        seen += [each["charger"] for each in page["chargers"]]
        after = page["next"]
        if after is None:
            break
    assert seen == names
    assert (await ask("charger.list", tenant="pages", connected=True))["chargers"] == []
    assert (await ask("charger.list", tenant="pages", boot="Accepted", limit=1))["next"] == "CP00"


async def test_a_token_is_one_in_any_case_and_each_change_rings_the_doorbell(ask: Ask, client: Client) -> None:
    rings = await client.subscribe(subjects.TOKENS_DOORBELL)
    await ask("tenant.list")  # the broker has the subscription before it has this request
    added = await ask("token.add", id="DeadBeef", group="fleet", expires_at="2031-01-31T12:00:00+01:00", note="a card")
    assert (added["status"], added["kind"], added["expires_at"]) == ("Accepted", "ISO14443", "2031-01-31T11:00:00Z")
    assert (await ask("token.add", id="DEADBEEF"))["code"] == "exists"
    assert (await ask("token.show", id="deadbeef"))["id"] == "DeadBeef"
    changed = await ask("token.set", id="DEADBEEF", expires_at=None, parent="boss")
    assert (changed["expires_at"], changed["parent"], changed["group"]) == (None, "boss", "fleet")
    blocked = await ask("token.block", id="deadbeef", note="lost")
    assert (blocked["status"], blocked["note"]) == ("Blocked", "lost")
    assert [each["id"] for each in (await ask("token.list", status="Blocked", group="FLEET"))["tokens"]] == ["DeadBeef"]
    assert [(await rings.next_msg(5)).data for _ in range(3)] == [b"default"] * 3
    with pytest.raises(TimeoutError):  # the refused addition rang nothing
        await rings.next_msg(0.05)


async def test_a_tenant_sees_nothing_of_another(ask: Ask) -> None:
    """Row level security at work: the same identity and token id are two things in two tenants, and lists keep apart."""
    for tenant in ("east", "west"):
        await ask("tenant.add", id=tenant, profile0=True)
        await ask("charger.add", tenant=tenant, charger="SAME", security_profile=0, note=tenant)
        await ask("token.add", tenant=tenant, id="CARD", note=tenant)
    await ask("charger.add", tenant="east", charger="ONLY-EAST", security_profile=0)
    assert [each["charger"] for each in (await ask("charger.list", tenant="west"))["chargers"]] == ["SAME"]
    assert (await ask("charger.show", tenant="west", charger="SAME"))["charger"]["note"] == "west"
    assert (await ask("charger.show", tenant="west", charger="ONLY-EAST"))["code"] == "unknown-charger"
    assert (await ask("token.block", tenant="west", id="CARD"))["note"] == "west"
    assert (await ask("token.show", tenant="east", id="CARD"))["status"] == "Accepted"


@pytest.mark.parametrize(
    ("verb", "fields", "code", "said"),
    [
        ("charger.add", {"charger": "X", "tenant": "ghost"}, "unknown-tenant", "cpms tenant list"),
        ("charger.add", {"charger": "X"}, "password-required", "--generate-password"),
        ("charger.add", {"charger": "X", "security_profile": 0}, "profile0-not-allowed", "--profile0"),
        ("charger.add", {"charger": "X", "security_profile": 4}, "invalid-request", "security_profile: expected `int` <= 3"),
        ("charger.add", {"charger": "X", "password": "short"}, "invalid-request", "password: expected `str` of length >= 16"),
        ("charger.add", {"charger": "a b"}, "invalid-request", "charger: a charger's identity is 1 to 48 of"),
        (
            "charger.add",
            {"charger": "X", "passwrod": PASSWORD},
            "invalid-request",
            "no field 'passwrod'; it takes tenant, ch",
        ),
        (
            "charger.add",
            {"charger": "X", "boot": "maybe"},
            "invalid-request",
            "'maybe'; it is one of Accepted, Pen",
        ),
        ("charger.add", {"charger": "X", "note": "two\nlines"}, "invalid-request", "note: a text is one line"),
        ("charger.add", {}, "invalid-request", "object missing required field `charger`"),
        ("charger.set", {"charger": "X"}, "nothing-to-change", "at least one field"),
        ("charger.set", {"charger": "ghost", "boot": "Pending"}, "unknown-charger", "cpms charger list"),
        ("charger.list", {"limit": 5000}, "invalid-request", "limit: expected `int` <= 1000"),
        ("charger.fly", {}, "unknown-verb", "cpms verbs"),
        ("site.set", {"id": "ghost", "name": "x"}, "unknown-site", "cpms site list"),
        ("site.add", {"id": "s", "country": "Germany"}, "invalid-request", "country: a country is two capital letters"),
        ("tenant.add", {"id": "default"}, "exists", "cpms tenant set default"),
        ("tenant.add", {"id": "Nord"}, "invalid-request", "a tenant is 1 to 32"),
        ("tenant.add", {"id": "x", "timezone": "Mars/Olympus"}, "unknown-timezone", "IANA"),
        ("tenant.add", {"id": "x", "currency": "XXZ"}, "unknown-currency", "ISO 4217"),
        ("tenant.set", {"id": "default", "default_tariff": "ghost"}, "unknown-tariff", "cpms tariff list"),
        ("tenant.set", {"id": "ghost", "name": "x"}, "unknown-tenant", "cpms tenant add ghost"),
        ("token.block", {"id": "ghost"}, "unknown-token", "cpms token list"),
        (
            "token.add",
            {"id": "x", "expires_at": "2031-01-31T12:00:00"},
            "invalid-request",
            "expires_at: expected `datetime`",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_code_and_the_remedy(
    ask: Ask, verb: str, fields: dict[str, Any], code: str, said: str
) -> None:
    error = await ask(verb, **fields)
    assert (error["code"], error["exit"]) == (code, 2)
    assert said in error["text"]


@pytest.mark.parametrize("body", [b"[", b"nonsense", b'{"charger": "\xff"}', b"[" * 100_000, b"[]"])
async def test_what_is_no_json_object_is_an_error_and_not_a_crash(ask: Ask, body: bytes) -> None:
    assert (await ask("charger.show", body))["code"] == "invalid-request"
    assert (await ask("tenant.show", id="default"))["id"] == "default"
