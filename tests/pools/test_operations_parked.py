"""Parked messages on real servers: explained, replayed through the journal exactly once, discarded with a reason, and all audited."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any, TypeAlias

import anyio
import asyncpg
import msgspec
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.base.settings import Postgres, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.domain.events import (
    PAGE_DECODER,
    Connected,
    Event,
    Fact,
    IdToken,
    Page,
    Parked,
    Sample,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools import session
from tests.pools.running_pool import running

Ask = Callable[..., Awaitable[Any]]
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

pytestmark = pytest.mark.anyio

T0 = 1_700_000_000_000
SESSIONS = "SELECT charger, transaction, status, meter_start_wh, meter_stop_wh, energy_wh, version FROM sessions WHERE charger = $1"
_numbers = count(1)


@pytest.fixture
async def owner(operations_settings: Settings) -> AsyncIterator[Owner]:
    """The owner of the database, who looks, and writes what cannot be had otherwise."""
    connection = await asyncpg.connect(operations_settings.postgres.owner_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(ask: Ask, operations_settings: Settings) -> AsyncIterator[None]:
    """A session pool beside the operations pool that answers."""
    async with running(session.run, operations_settings):
        yield


@pytest.fixture
def charger() -> str:
    """A charger that no other test knows."""
    return f"CP{next(_numbers)}"


def start(transaction: str, wh: int = 100, at: int = T0) -> TransactionStarted:
    return TransactionStarted(transaction, 1, 1, at, IdToken("CARD"), wh)


def stop(transaction: str, wh: int, at: int = T0 + 3_600_000) -> TransactionEnded:
    return TransactionEnded(transaction, at, wh, "Local")


async def journal(client: Client, charger: str, *bodies: Fact) -> None:
    """What a worker's journal would append of a charger, by a writer of its own."""
    slot = slot_of("default", charger)
    events = tuple(Event(slot, 1, number, "default", charger, 1, "m", T0, body) for number, body in enumerate(bodies))
    page = msgspec.msgpack.encode(Page(f"worker{next(_numbers)}", 1, events))
    await client.jetstream().publish(subjects.journal(lane_of(slot)), page)


async def pages_of(client: Client) -> list[Page]:
    """All pages of the journal."""
    jetstream = client.jetstream()
    last = (await jetstream.stream_info(subjects.JOURNAL_STREAM)).state.last_seq
    found = []
    for number in range(1, last + 1):
        try:
            found.append(PAGE_DECODER.decode((await jetstream.get_msg(subjects.JOURNAL_STREAM, number)).data or b""))
        except (NotFoundError, msgspec.DecodeError):
            continue
    return found


async def until(look: Callable[[], Awaitable[Any]], true: Callable[[Any], bool], seconds: float = 20) -> Any:
    """Look again until it is as it should be, but not for ever."""
    seen: Any = None
    with anyio.move_on_after(seconds):
        while not true(seen := await look()):
            await anyio.sleep(0.05)
        return seen
    raise AssertionError(seen)


async def parked(ask: Ask, charger: str, many: int = 1) -> list[Any]:
    """The open parked messages of a charger, once there are so many."""

    async def look() -> list[Any]:
        return list((await ask("parked.list", charger=charger))["parked"])

    return list(await until(look, lambda found: len(found) == many))


async def rows(owner: Owner, charger: str) -> list[tuple[Any, ...]]:
    return [tuple(row)[1:] for row in await owner.fetch(f"{SESSIONS} ORDER BY id", charger)]


async def settled(client: Client, owner: Owner, charger: str) -> None:
    """Everything that the journal holds of the charger's lane is folded: something appended behind it is."""
    slot = slot_of("default", charger)
    marker = f"marker{next(_numbers)}"
    page = msgspec.msgpack.encode(Page(marker, 1, ()))
    await client.jetstream().publish(subjects.journal(lane_of(slot)), page)

    async def look() -> Any:
        return await owner.fetchval("SELECT 1 FROM journal_writers WHERE writer = $1", marker)

    await until(look, bool)


@pytest.mark.usefixtures("pool")
async def test_a_stop_whose_transaction_came_to_be_known_ends_its_session_when_it_is_replayed(
    ask: Ask, client: Client, owner: Owner, charger: str
) -> None:
    await journal(client, charger, stop("77", 11_100))
    (message,) = await parked(ask, charger)
    explained = await ask("parked.explain", id=message["id"])
    assert (explained["replayable"], explained["transaction"], explained["sessions"]) == (False, "77", [])
    assert "not as things are: it would be parked again (unknown-transaction" in explained["replay"]
    refused = await ask("parked.replay", id=message["id"])
    assert (refused["code"], refused["exit"]) == ("no-replay", 2)
    assert "replay that first" in refused["text"], "the remedy"

    await journal(client, charger, start("77"))
    (session_id,) = [row["id"] for row in await until(lambda: owner.fetch("SELECT id FROM sessions WHERE charger = $1", charger), bool)]
    explained = await ask("parked.explain", id=message["id"])
    assert (explained["replayable"], [each["id"] for each in explained["sessions"]]) == (True, [session_id])
    assert f"it concerns session {session_id}" in explained["replay"]
    assert await rows(owner, charger) == [("77", "Active", 100, None, 0, 0)]

    replayed = await ask("parked.replay", id=message["id"])
    assert (replayed["events"], replayed["sessions"]) == (1, [session_id])
    assert replayed["parked"]["resolution"].startswith("replayed by tester at 20")
    await until(lambda: rows(owner, charger), lambda found: found == [("77", "Ended", 100, 11_100, 11_000, 1)])
    assert await parked(ask, charger, 0) == []


@pytest.mark.usefixtures("pool")
async def test_a_replay_asked_twice_or_by_many_at_once_is_one_and_doubles_nothing(
    ask: Ask, client: Client, owner: Owner, charger: str
) -> None:
    reading = (Sample(T0 + 60_000, 600.0),)
    await journal(client, charger, TransactionUpdated("5", T0 + 60_000, samples=reading), stop("5", 1_100))
    late, meter = sorted(await parked(ask, charger, 2), key=lambda each: str(each["action"]))
    await journal(client, charger, start("5"))
    await until(lambda: rows(owner, charger), bool)

    answers: list[Any] = []

    async def replay() -> None:
        answers.append(await ask("parked.replay", id=meter["id"]))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(replay)
    assert sorted(answer.get("code", "done") for answer in answers) == ["done", *["resolved"] * 4]
    assert "resolved already by tester: replayed by tester" in next(a["text"] for a in answers if "code" in a)
    await ask("parked.replay", id=late["id"])
    await until(lambda: rows(owner, charger), lambda found: found == [("5", "Ended", 100, 1_100, 1_000, 1)])
    kept = await owner.fetchval("SELECT count(*) FROM meter_values WHERE charger = $1 AND session_id IS NOT NULL", charger)
    assert kept == 1
    assert [entry["verb"] for entry in (await ask("audit.list", limit=2))["audit"]] == ["parked.replay"] * 2


@pytest.mark.usefixtures("pool")
async def test_a_replay_that_was_durable_and_not_committed_is_folded_once_when_it_is_asked_again(
    ask: Ask, client: Client, owner: Owner, charger: str
) -> None:
    """The page is the same, so it counts once: within the broker's window by its id, and for ever by its writer and number."""
    await journal(client, charger, TransactionUpdated("6", T0, samples=(Sample(T0, 600.0),)))
    (message,) = await parked(ask, charger)
    await journal(client, charger, start("6"))
    await until(lambda: rows(owner, charger), bool)
    first = await ask("parked.replay", id=message["id"])
    await owner.execute("UPDATE parked_messages SET resolved_at = NULL, resolution = NULL WHERE id = $1", message["id"])
    again = await ask("parked.replay", id=message["id"])
    assert again["writer"] == first["writer"]
    (page,) = [page for page in await pages_of(client) if page.writer == first["writer"]]
    assert page.number == 1
    await client.jetstream().publish(subjects.journal(lane_of(slot_of("default", charger))), msgspec.msgpack.encode(page))
    await settled(client, owner, charger)
    assert await owner.fetchval("SELECT count(*) FROM meter_values WHERE charger = $1 AND session_id IS NOT NULL", charger) == 1


@pytest.mark.usefixtures("pool")
async def test_the_journal_read_into_an_empty_database_tells_the_same_sessions_replays_and_all(
    ask: Ask,
    client: Client,
    owner: Owner,
    charger: str,
    operations_settings: Settings,
    fresh_postgres: Callable[[], Postgres],
) -> None:
    await journal(client, charger, stop("8", 2_100))
    (message,) = await parked(ask, charger)
    await journal(client, charger, start("8"), start("9", 2_100, T0 + 7_200_000))
    await until(lambda: rows(owner, charger), lambda found: len(found) == 2)
    await ask("parked.replay", id=message["id"])
    await until(lambda: rows(owner, charger), lambda found: found[0][1] == "Ended")

    restored = msgspec.structs.replace(operations_settings, postgres=fresh_postgres())
    other = await asyncpg.connect(restored.postgres.owner_dsn)
    try:
        async with running(session.run, restored):
            await settled(client, other, charger)
            assert await rows(other, charger) == await rows(owner, charger)
    finally:
        await other.close()


@pytest.mark.usefixtures("pool")
async def test_what_the_fold_parks_again_is_a_new_message_which_waits_for_a_person(
    ask: Ask, client: Client, owner: Owner, charger: str
) -> None:
    """The rules take it and Postgres does not: that only the fold finds out. Nothing replays by itself."""
    await journal(client, charger, start("1"), TransactionEnded("1", T0 + 1, 600, "nul\0"))
    (first,) = await parked(ask, charger)
    assert (first["reason"], "Postgres refused it" in first["detail"]) == ("poison", True)
    replayed = await ask("parked.replay", id=first["id"])
    await settled(client, owner, charger)
    (second,) = await parked(ask, charger)
    assert second["id"] > first["id"]
    assert second["reason"] == "poison"
    again = await ask("parked.replay", id=second["id"])
    assert again["writer"] != replayed["writer"], "or it would be taken for the first one, and dropped"
    await settled(client, owner, charger)
    (third,) = await parked(ask, charger)
    assert third["id"] > second["id"]
    assert await rows(owner, charger) == [("1", "Active", 100, None, 0, 0)]


@pytest.mark.usefixtures("pool")
async def test_a_message_that_was_refused_by_a_rule_is_taken_once_the_rule_has_changed(
    ask: Ask, client: Client, owner: Owner, charger: str
) -> None:
    """A strict tenant's charger sent a stop with a field too much, and was told so; then its tenant became lenient."""
    await ask("charger.add", charger=charger, password="0123456789abcdef0123")
    await ask("tenant.set", id="default", strictness="strict")
    payload = b'{"transactionId": 3, "timestamp": "2023-11-14T23:13:20Z", "meterStop": 700, "vendor": "x"}'
    refused = Parked("invalid_payload", "FormationViolation: unknown field", "StopTransaction", payload)
    await journal(client, charger, Connected("1.6"), start("3"), refused)
    (message,) = await parked(ask, charger)
    explained = await ask("parked.explain", id=message["id"])
    assert (explained["replayable"], explained["ocpp"], explained["connected"]) == (False, "1.6", True)
    assert "still breaks the schema" in explained["replay"]
    assert explained["transaction"] == "3"

    await ask("tenant.set", id="default", strictness="lenient")
    assert (await ask("parked.replay", id=message["id"]))["events"] == 1
    await until(lambda: rows(owner, charger), lambda found: found == [("3", "Ended", 100, 700, 600, 1)])


@pytest.mark.usefixtures("pool")
async def test_a_page_that_a_later_release_can_read_is_folded_then(ask: Ask, client: Client, owner: Owner, charger: str) -> None:
    slot = slot_of("default", charger)
    events = tuple(Event(slot, 1, n, "default", charger, 1, "m", T0, body) for n, body in enumerate((start("4"), stop("4", 600))))
    await client.jetstream().publish(subjects.journal(lane_of(slot)), b"\xc1 of a later release")

    async def unreadable() -> list[Any]:
        return list((await ask("parked.list", reason="unreadable-page"))["parked"])

    (message,) = await until(unreadable, bool)
    assert (await ask("parked.replay", id=message["id"]))["code"] == "no-replay"
    page = msgspec.msgpack.encode(Page("later", 1, events))
    await owner.execute("UPDATE parked_messages SET payload = $2 WHERE id = $1", message["id"], page)  # as if this release could
    assert (await ask("parked.replay", id=message["id"]))["events"] == 2
    await until(lambda: rows(owner, charger), lambda found: found == [("4", "Ended", 100, 600, 500, 1)])


async def add(owner: Owner, payload: bytes = b"{}", reason: str = "malformed", tenant: str = "default") -> int:
    number: int = await owner.fetchval(
        "INSERT INTO parked_messages (tenant_id, charger, reason, detail, action, payload, message_id, received_at)"
        " VALUES ($3, 'P', $2, 'a sentence', 'StopTransaction', $1, 'm1', now()) RETURNING id",
        payload,
        reason,
        tenant,
    )
    return number


async def test_a_parked_message_is_shown_whatever_it_holds_and_leaves_the_list_once_discarded(ask: Ask, owner: Owner) -> None:
    numbers = [await add(owner, payload) for payload in (b'{"transactionId": -1}', b"\xff\xfe")]
    assert [each["id"] for each in (await ask("parked.list", charger="P", reason="malformed"))["parked"]] == numbers[::-1]
    good, bad = [await ask("parked.show", id=number) for number in numbers]
    assert (good["payload"], good["payload_base64"], good["resolved_by"]) == ({"transactionId": -1}, None, None)
    assert (bad["payload"], bad["payload_base64"]) == (None, "//4=")

    discarded = await ask("parked.discard", id=numbers[0], reason="billed by hand")
    assert (discarded["parked"]["resolution"], discarded["resolved_by"]) == ("billed by hand", "tester")
    assert (await ask("parked.show", id=numbers[0]))["resolved_by"] == "tester"
    assert [each["id"] for each in (await ask("parked.list", charger="P"))["parked"]] == numbers[1:]
    assert [each["id"] for each in (await ask("parked.list", charger="P", resolved=True))["parked"]] == numbers[:1]
    assert len((await ask("parked.list", charger="P", resolved=None))["parked"]) == 2


async def test_what_is_resolved_stays_so_and_says_by_whom(ask: Ask, owner: Owner) -> None:
    number = await add(owner)
    await ask("parked.discard", id=number, reason="a test")
    for verb, fields in (("parked.discard", {"reason": "twice"}), ("parked.replay", {})):
        again = await ask(verb, id=number, **fields)
        assert (again["code"], "resolved already by tester: a test" in again["text"]) == ("resolved", True)
    explained = await ask("parked.explain", id=number)
    assert (explained["replayable"], explained["replay"]) == (False, "it is resolved: a test")
    entries = [each for each in (await ask("audit.list"))["audit"] if each["subject"] == f"parked {number}"]
    assert len(entries) == 1, "what was refused was not done"


async def test_the_audit_tells_who_did_what_to_which_message_and_why(ask: Ask, client: Client, owner: Owner) -> None:
    number = await add(owner)
    request = msgspec.json.encode({"id": number, "reason": "a test"})
    await client.request(subjects.admin("o=2Ehara", "parked.discard"), request, timeout=10)
    (entry,) = (await ask("audit.list", limit=1))["audit"]
    assert (entry["operator"], entry["verb"], entry["subject"]) == ("o.hara", "parked.discard", f"parked {number}")
    assert entry["detail"] == {"charger": "P", "parked_for": "malformed", "reason": "a test"}
    following = (await ask("audit.list", limit=1))["next"]
    assert all(each["id"] < entry["id"] for each in (await ask("audit.list", after=following))["audit"])


async def test_no_tenant_touches_or_reads_of_the_parked_messages_of_another(ask: Ask, owner: Owner) -> None:
    await ask("tenant.add", id="other")
    number = await add(owner)
    for verb, fields in (("explain", {}), ("replay", {}), ("show", {}), ("discard", {"reason": "x"})):
        assert (await ask(f"parked.{verb}", tenant="other", id=number, **fields))["code"] == "unknown-parked"
    await ask("parked.discard", id=number, reason="x")
    assert (await ask("audit.list", tenant="other"))["audit"] == []


async def test_a_journal_that_is_not_there_leaves_the_message_open_and_nothing_in_the_audit(
    ask: Ask, client: Client, owner: Owner, operations_settings: Settings
) -> None:
    await ask("charger.add", charger="P", password="0123456789abcdef0123")
    await owner.execute("UPDATE chargers SET ocpp = '1.6' WHERE identity = 'P'")
    payload = b'{"status": "Idle"}'
    number = await add(owner, payload, "crashed")
    await owner.execute("UPDATE parked_messages SET action = 'FirmwareStatusNotification' WHERE id = $1", number)
    await ensure_stream(client.jetstream(), operations_settings)
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    try:
        failed = await ask("parked.replay", id=number)
        assert (failed["code"], failed["exit"]) == ("unavailable", 3)
        assert (await ask("parked.show", id=number))["parked"]["resolved_at"] is None
        assert [each for each in (await ask("audit.list"))["audit"] if each["subject"] == f"parked {number}"] == []
    finally:
        await ensure_stream(client.jetstream(), operations_settings)
    assert (await ask("parked.replay", id=number))["events"] == 1
