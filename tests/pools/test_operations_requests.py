"""Requests are checked by their declarations: those agree with the rules they repeat, and what is wrong is said in words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from cpms_actors.base.ids import is_identity, is_tenant
from cpms_actors.base.settings import Logs, Nats, Settings
from cpms_actors.bus import verbs
from cpms_actors.bus.verbs_words import PATTERN_SENTENCES
from cpms_actors.observe import logs
from cpms_actors.pools.operations import REQUESTS_MAX, Service
from cpms_actors.pools.operations_desk import Desk
from cpms_actors.pools.operations_mirror import Mirror
from cpms_actors.pools.operations_requests import explain_invalid
from cpms_actors.store.database import Database

NAMES = st.text(st.sampled_from("aZ09-_=:+|@.*/ \nü"), max_size=50)


def takes(verb: str, **fields: object) -> bool:
    try:
        verbs.VERBS[verb].decode_request(msgspec.json.encode(fields))
    except msgspec.ValidationError:
        return False
    return True


@given(NAMES)
def test_a_request_names_a_charger_or_a_tenant_exactly_when_the_gateway_would_take_the_name(name: str) -> None:
    assert takes("charger.show", charger=name) == is_identity(name)
    assert takes("tenant.show", id=name) == is_tenant(name)


@given(st.sampled_from(["charger.show", "tenant.show", "token.show", "site.show"]), NAMES)
def test_no_sentence_about_a_wrong_name_shows_a_regular_expression(verb: str, name: str) -> None:
    field = "charger" if verb == "charger.show" else "id"
    try:
        verbs.VERBS[verb].decode_request(msgspec.json.encode({field: name}))
    except msgspec.ValidationError as error:
        said = explain_invalid(verbs.VERBS[verb], error)
        assert said.startswith(f"{field}: ")
        assert said.removeprefix(f"{field}: ") in PATTERN_SENTENCES.values()


def test_every_verb_has_a_sentence_and_typed_sides_that_are_described() -> None:
    document = verbs.schemas()
    for name, verb in verbs.VERBS.items():
        assert verb.doc.endswith("."), name
        for side in ("request", "response"):
            definition = document["$defs"][document["verbs"][name][side]["$ref"].rpartition("/")[2]]
            assert definition["description"], name


def test_no_response_has_a_field_that_could_hold_a_secret() -> None:
    definitions = verbs.schemas()["$defs"]
    for verb in verbs.VERBS.values():
        for field in definitions[verb.response.__name__]["properties"]:
            assert field not in ("password", "credential")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"", "foreign-reply"),
        (b"{}", "foreign-reply"),
        (b'{"ok": {"id": 5}}', "foreign-reply"),
        (b'{"error": {"code": "x", "text": "y", "exit": 2}}', "x"),
    ],
)
def test_a_reply_that_holds_no_response_is_an_error_with_a_code(reply: bytes, code: str) -> None:
    with pytest.raises(verbs.VerbFailed) as raised:
        verbs.TENANT_SHOW.decode_reply(reply)
    assert raised.value.code == code


def test_a_response_of_a_later_release_is_read_without_what_is_not_known() -> None:
    reply = b'{"ok": {"tenants": [], "next": null, "count": 7}}'
    assert verbs.TENANT_LIST.decode_reply(reply).tenants == []


class Broken:
    """A database that fails in a way that nobody foresaw."""

    def transaction(self, tenants: object) -> object:
        raise ZeroDivisionError(tenants)


@pytest.fixture
def service() -> Service:
    database: Database = Broken()  # type: ignore[assignment]  # nothing else of a database is used
    client = Client()
    return Service(Desk(Settings(), database, client, Mirror(client, database, Nats())))


def test_a_request_beyond_the_room_is_refused_until_another_is_done(service: Service) -> None:
    assert [service.admit() for _ in range(REQUESTS_MAX + 1)] == [True] * REQUESTS_MAX + [False]
    service.statistics.running -= 1
    assert service.admit()
    assert service.statistics.running_peak == REQUESTS_MAX


@pytest.mark.anyio
async def test_a_bug_is_an_answer_that_tells_nothing_of_our_insides(service: Service) -> None:
    reply = msgspec.json.decode(await service.answer("cpms.admin.me.tenant.list", b""))
    assert reply["error"]["code"] == "internal"
    assert "ZeroDivision" not in reply["error"]["text"]
    assert service.statistics.bugs == 1


@pytest.mark.anyio
async def test_a_password_never_reaches_the_log(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Logs(level="info"))
    await service.answer("cpms.admin.me.charger.add", b'{"charger": "CP", "password": "0123456789abcdefgh"}')
    logged = capsys.readouterr().err
    assert "charger=CP" in logged
    assert "operator=me" in logged
    assert "0123456789abcdefgh" not in logged
