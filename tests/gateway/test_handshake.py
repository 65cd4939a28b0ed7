"""The rules of the opening handshake, without a socket. What a client sees of them is in tests/conformance."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.domain.access import ChargerRecord, Tenant, credential_digest
from cpms_actors.gateway.engine import Admitted, Connection, Head, Refused
from cpms_actors.gateway.handshake import (
    SUBPROTOCOLS,
    Admission,
    Lookups,
    admit,
    choose_subprotocol,
    door,
    overloaded,
    split_list,
    upgrade_fault,
)

KEY = b"key"
PASSWORD = "a-long-enough-password"
RECORD = ChargerRecord("acme", "CP:1", credential=credential_digest(KEY, PASSWORD))


def lookups(tenant: Tenant | None = None, **changes: Any) -> Lookups:
    """One tenant, acme, with one charger, CP:1."""
    known = {("acme", "CP:1"): msgspec.structs.replace(RECORD, **changes)}
    tenants = {"acme": tenant or Tenant("acme")}
    return Lookups(tenants.get, lambda *names: known.get(names), KEY)


def head(user: str = "CP:1", password: str = PASSWORD, **changes: Any) -> Head:
    authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return msgspec.structs.replace(Head(b"/ocpp/acme/CP:1", authorization, ("ocpp1.6",)), **changes)


def status(answer: Admission | Refused) -> int:
    return answer.status if isinstance(answer, Refused) else 101


@pytest.mark.parametrize(
    ("asked", "known", "expected"),
    [
        (head(), lookups(), 101),
        (head(path=b"/ocpp/CP:1"), lookups(), 404),
        (head(path=b"/ocpp/acme/CP:2"), lookups(), 404),
        (head(path=b"/ocpp/other/CP:1"), lookups(), 404),
        (head(path=b"/ocpp/acme/CP%201"), lookups(), 400),
        (head(), lookups(enabled=False), 404),
        (head(password=""), lookups(), 401),
        (head(password=PASSWORD + "x"), lookups(), 401),
        (head(user="CP"), lookups(), 401),
        (head(user="CP:1:"), lookups(), 401),
        (head(user=""), lookups(), 401),
        (head(authorization=None), lookups(), 401),
        (head(authorization=""), lookups(), 401),
        (head(authorization="Basic " + base64.b64encode(b"CP:1").decode()), lookups(), 401),
        (head(authorization="Digest x"), lookups(), 401),
        (head(), lookups(credential=None), 401),
        (head(authorization=None), lookups(security_profile=0), 401),
        (head(authorization=None), lookups(Tenant("acme", profile0=True), security_profile=0), 101),
        (head(authorization=None), lookups(Tenant("acme", profile0=True)), 401),
        (head(), lookups(security_profile=2), 101),
        (head(), lookups(security_profile=3), 401),
        # A stranger learns nothing from the order of the checks but what the path alone tells.
        (head(path=b"/ocpp/acme/CP:2", authorization=None), lookups(), 404),
    ],
)
def test_a_head_is_admitted_or_refused(asked: Head, known: Lookups, expected: int) -> None:
    assert status(admit(asked, known)) == expected


def test_an_admission_names_tenant_charger_and_subprotocol() -> None:
    admission = admit(head(subprotocols=("ocpp1.6", "ocpp2.0.1"), remote="127.0.0.1:5"), lookups())
    assert isinstance(admission, Admission)
    assert (admission.tenant.id, admission.identity, admission.subprotocol) == ("acme", "CP:1", "ocpp2.0.1")
    assert (admission.record, admission.remote) == (RECORD, "127.0.0.1:5")


def test_no_common_subprotocol_is_an_admission_without_one() -> None:
    """The engine closes it; a wrong password is refused all the same."""
    admission = admit(head(subprotocols=("soap",)), lookups())
    assert isinstance(admission, Admission)
    assert admission.subprotocol is None
    assert status(admit(head(subprotocols=("soap",), password="x"), lookups())) == 401


def test_the_white_paper_s_example_is_understood() -> None:
    """A00.FR.205: the key is sent as raw bytes, which are no UTF-8; it is stored from its 40 hex digits."""
    record = ChargerRecord("acme", "AL1000", credential=credential_digest(KEY, "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF"))
    known = Lookups(lambda _: Tenant("acme"), lambda *_: record, KEY)
    asked = Head(b"/ocpp/acme/AL1000", "Basic QUwxMDAwOgABAgMEBQYH////////////////", ("ocpp1.6",))
    assert status(admit(asked, known)) == 101


@given(st.text(max_size=60))
def test_whatever_the_authorization_says_it_is_answered(authorization: str) -> None:
    assert status(admit(head(authorization=authorization), lookups())) == 401
    assert status(admit(head(authorization=f"Basic {authorization}"), lookups())) == 401


@given(st.binary(max_size=60))
def test_whatever_the_credentials_are_they_are_answered(raw: bytes) -> None:
    assert status(admit(head(authorization="Basic " + base64.b64encode(raw).decode()), lookups())) == 401


@given(st.binary(max_size=40))
def test_the_password_is_all_that_follows_the_identity_and_a_colon(password: bytes) -> None:
    """Whatever bytes the key has: stored from its hex digits or its text, the raw bytes match."""
    try:
        stored = credential_digest(KEY, password.decode())
    except UnicodeDecodeError:
        stored = credential_digest(KEY, password.hex())
    authorization = "Basic " + base64.b64encode(b"CP:1:" + password).decode()
    assert status(admit(head(authorization=authorization), lookups(credential=stored))) == 101


@given(st.permutations([*SUBPROTOCOLS, "mqtt"]), st.integers(0, 4))
def test_the_newest_wins_in_any_order(offered: list[str], count: int) -> None:
    some = tuple(offered[:count])
    common = [name for name in SUBPROTOCOLS if name in some]
    assert choose_subprotocol(some) == (common[0] if common else None)


def test_a_door_asks_for_a_receiver_only_for_whom_it_admits() -> None:
    asked: list[str] = []

    class Deaf:
        def on_open(self, connection: Connection) -> None: ...
        def on_text(self, text: bytes) -> None: ...
        def on_closed(self, code: int, reason: str) -> None: ...

    receiver = Deaf()

    def receiver_of(admission: Admission) -> Deaf:
        asked.append(admission.identity)
        return receiver

    enter = door(lookups(), receiver_of)
    assert enter(head()) == Admitted(receiver, "ocpp1.6")
    assert enter(head(path=b"/")) == Refused(400, "the path is /ocpp/<charger> or /ocpp/<tenant>/<charger>")
    assert asked == ["CP:1"]


UPGRADE = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"upgrade": "WebSocket"}, None),
        ({"connection": "keep-alive,UPGRADE"}, None),
        ({"upgrade": "h2c"}, 400),
        ({"upgrade": ""}, 400),
        ({"connection": "close"}, 400),
        ({"connection": "upgrades"}, 400),
        ({"sec-websocket-version": ""}, 400),
        ({"sec-websocket-version": "8"}, 426),
        ({"sec-websocket-key": ""}, 400),
        ({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
        ({"sec-websocket-key": "é" * 24}, 400),
        ({"sec-websocket-key": "\udcff" * 24}, 400),
    ],
)
def test_an_upgrade_request_is_complete_or_faulty(changes: dict[str, str], expected: int | None) -> None:
    fault = upgrade_fault(UPGRADE | changes)
    assert (fault.status if fault else None) == expected


@pytest.mark.parametrize("missing", list(UPGRADE))
def test_a_missing_header_is_400(missing: str) -> None:
    fault = upgrade_fault({name: value for name, value in UPGRADE.items() if name != missing})
    assert fault is not None
    assert fault.status == 400


def test_an_unspoken_version_is_told_the_spoken_one() -> None:
    fault = upgrade_fault(UPGRADE | {"sec-websocket-version": "8"})
    assert fault is not None
    assert fault.headers == (("Sec-WebSocket-Version", "13"),)


def test_no_room_says_when_to_return() -> None:
    assert overloaded(7).headers == (("Retry-After", "7"),)


@pytest.mark.parametrize(("value", "elements"), [(None, ()), ("", ()), (" , ,", ()), ("a", ("a",)), (" a ,b,, c", ("a", "b", "c"))])
def test_a_list_is_split_at_commas(value: str | None, elements: tuple[str, ...]) -> None:
    assert split_list(value) == elements
