"""A parked message tried again is the same fact, on the same page of the same writer; or a sentence says why it cannot be."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.bus.appending import pages_of
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.line import Line
from cpms_actors.charger.live import Answer, Inbound, Live
from cpms_actors.domain.access import Tenant
from cpms_actors.domain.events import (
    PAGE_DECODER,
    Connected,
    Disconnected,
    Event,
    Fact,
    Metered,
    Page,
    Reported,
    Sample,
    StatusChanged,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.domain.parking import REASONS
from cpms_actors.ocpp.frames import Call
from cpms_actors.pools import fold
from cpms_actors.pools.replaying import DIALECTS, Known, NoReplay, replay_of, transaction_of
from cpms_actors.store.parked import ParkedMessage

T0 = 1_700_000_000_000
NOW = "2023-11-14T22:13:20Z"
SLOT = slot_of("default", "CP1")
CP16 = Known("1.6", "Accepted", "lenient", 9)
CP201 = Known("2.0.1", "Accepted", "lenient", 9)
STOP = {"transactionId": 77, "timestamp": NOW, "meterStop": 600}
ENDED = TransactionEnded("77", T0, 600, "Local")


def event(body: Fact, charger: str = "CP1", tenant: str = "default") -> Event:
    return Event(SLOT, 3, 14, tenant, charger, 2, "m1", T0, body)


def of_event(body: Fact, reason: str = "unknown-transaction") -> ParkedMessage:
    return replace(fold.parked(event(body), reason, "a sentence"), id=7)


def of_message(action: str | None, payload: Any, reason: str = "crashed") -> ParkedMessage:
    data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return ParkedMessage(
        id=7, tenant="default", charger="CP1", reason=reason, detail="d", action=action, payload=data, message_id="m1", received_at=T0
    )


def of_page(*bodies: Fact) -> ParkedMessage:
    page = Page("w", 5, tuple(event(body) for body in bodies))
    return of_message(None, msgspec.msgpack.encode(page), "unreadable-page")


def refusal(message: ParkedMessage, known: Known = CP16) -> str:
    with pytest.raises(NoReplay) as raised:
        replay_of(message, known)
    assert raised.value.why in raised.value.text
    assert raised.value.code == "no-replay"
    return raised.value.text


FACTS: list[Fact] = [
    ENDED,
    TransactionUpdated("77", T0, samples=(Sample(T0, 500.0, signed="OCMF|{}"),)),
    TransactionStarted("77", 1, 1, T0, None, 2**63),
    Reported("DataTransfer", b"\xff\x00"),
    Metered(1, 1, (Sample(T0, 1.5),)),
]


@pytest.mark.parametrize("body", FACTS, ids=lambda body: type(body).__name__)
def test_an_event_that_the_fold_parked_is_replayed_as_it_was(body: Fact) -> None:
    replay = replay_of(of_event(body, "poison"), CP16)
    (again,) = replay.events
    assert replace(again, epoch=3, number=14) == event(body)
    assert (again.epoch, replay.lane) == (9, lane_of(SLOT)), "in the name of the slot's owner of today"


# The action, its payload, what its charger spoke last; and the fact that the charger's actor would have made of it.
MESSAGES: list[tuple[str, Any, Known, Fact]] = [
    ("StopTransaction", STOP, CP16, ENDED),
    (
        "MeterValues",
        {"connectorId": 1, "transactionId": 77, "meterValue": [{"timestamp": NOW, "sampledValue": [{"value": "5"}]}]},
        CP16,
        TransactionUpdated(
            "77", T0, None, False, "MeterValuePeriodic", None, None, 1, 1, (Sample(T0, 5.0, unit="Wh"),)
        ),
    ),
    (
        "StatusNotification",
        {"connectorId": 1, "status": "Faulted", "errorCode": "GroundFailure"},
        CP16,
        StatusChanged(1, 1, "Faulted", T0, "GroundFailure"),
    ),
    ("FirmwareStatusNotification", {"status": "Idle"}, CP16, Reported("FirmwareStatusNotification", b'{"status":"Idle"}')),
    ("StopTransaction", {**STOP, "extra": 1}, CP16, ENDED),
    (
        "TransactionEvent",
        {
            "eventType": "Ended",
            "timestamp": NOW,
            "triggerReason": "StopAuthorized",
            "seqNo": 4,
            "transactionInfo": {"transactionId": "tx"},
        },
        CP201,
        TransactionEnded("tx", T0, None, "Local", seq=4, trigger="StopAuthorized"),
    ),
]  # fmt: skip


def heard(message: ParkedMessage, known: Known) -> Fact | None:
    """What the actor of an accepted charger puts into the journal for this message."""
    assert known.version is not None
    assert message.action is not None
    line = Line(None, known.version, "")  # type: ignore[arg-type]  # never opened, it asks nothing of its charger
    call = Call("m1", message.action, msgspec.Raw(message.payload))
    behaviour = Behaviour({version: make() for version, make in DIALECTS.items()}, Tenant("default"))
    decision = behaviour.decide(Live("Accepted"), Inbound(call, T0, line, "Accepted"))
    return next(effect.fact for effect in decision.effects if isinstance(effect, Answer))


@pytest.mark.parametrize(("action", "payload", "known", "fact"), MESSAGES, ids=lambda each: each if isinstance(each, str) else "")
@pytest.mark.parametrize("reason", ["crashed", "invalid_payload", "not_accepted", "unknown_action", "wrong_message_type"])
def test_a_message_is_read_as_the_charger_s_actor_would_have_read_it(
    action: str, payload: Any, known: Known, fact: Fact, reason: str
) -> None:
    message = of_message(action, payload, reason)
    (again,) = replay_of(message, known).events
    assert again.body == fact == heard(message, known)
    assert (again.slot, again.tenant, again.charger, again.message_id, again.received_at) == (SLOT, "default", "CP1", "m1", T0)


def test_of_a_page_all_is_replayed_but_what_it_says_of_connections() -> None:
    replay = replay_of(of_page(Connected("1.6"), ENDED, Disconnected(1000)), Known())
    assert replay.events == (event(ENDED),)


REFUSED: list[tuple[str, ParkedMessage, Known, str]] = [
    ("no reading", of_message("StopTransaction", b"[2", "invalid_payload"), CP16, "still breaks the schema"),
    ("strict", of_message("StopTransaction", {**STOP, "extra": 1}), replace(CP16, strictness="strict"), "still breaks the schema"),
    ("unknown action", of_message("Fly", {}, "unknown_action"), CP16, "Fly is no action that a charger of OCPP 1.6 may send"),
    ("no action", of_message(None, {}), CP16, "is no action"),
    ("start", of_message("StartTransaction", {}), CP16, "gets its id when it is answered"),
    ("boot", of_message("BootNotification", {}, "not_accepted"), CP16, "asked for an answer at that moment"),
    ("never connected", of_message("StopTransaction", STOP), Known(None, "Accepted"), "has not connected"),
    ("pending", of_message("StopTransaction", STOP, "not_accepted"), replace(CP16, boot="Pending"), "cpms charger set CHARGER --boot"),
    ("no event", of_message("TransactionEnded", b"{}", "poison"), CP16, "its event cannot be read"),
    ("a connection's", of_event(Connected("1.6"), "poison"), CP16, "it told of a connection, and that is over"),
    ("another's", replace(of_event(ENDED), charger="CP2"), CP16, "its event is of charger 'CP1'"),
    ("no tenant's", fold.parked(event(ENDED, tenant="A,B"), "poison", "", "default"), CP16, "of a tenant 'A,B'"),
    ("damaged page", of_message(None, b"\xff", "unreadable-page"), CP16, "the page can still not be read"),
    ("page of connections", of_page(Connected("1.6")), CP16, "tells of connections only"),
    ("a later release's", of_message(None, {}, "invented-later"), CP16, "this release does not know"),
    *((word, of_message("StopTransaction", STOP, word), CP16, each.replay) for word, each in REASONS.items() if not each.replayed_as),
]


@pytest.mark.parametrize(("message", "known", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_replayed_says_why_and_what_to_do(message: ParkedMessage, known: Known, said: str) -> None:
    text = refusal(message, known)
    assert said in text
    assert text.endswith("."), "the remedy of the reason follows"


def test_a_message_tried_again_is_the_same_writer_and_page_whatever_its_row_is_called() -> None:
    """A journal that is read again from its start parks it under another number, and perhaps in other words."""
    first = replay_of(of_event(ENDED), CP16)
    again = replay_of(replace(of_event(ENDED), id=8, detail="in other words"), CP16)
    assert first == again
    (page,) = pages_of(first.writer, first.events, 1_000_000)
    assert PAGE_DECODER.decode(page.data) == Page(first.writer, 1, first.events)


def test_what_a_replay_parks_again_is_another_writer_so_that_it_can_be_replayed_in_its_turn() -> None:
    writers, message = set(), of_event(ENDED)
    for _ in range(4):
        replay = replay_of(message, CP16)
        writers.add(replay.writer)
        assert replay.events[0].number < 0, "no number that an owner of the slot counts"
        message = fold.parked(replay.events[0], "unknown-transaction", "a sentence")
    assert len(writers) == 4


def test_messages_that_differ_in_anything_but_words_are_different_writers() -> None:
    messages = [
        of_event(ENDED),
        of_event(replace(ENDED, meter_wh=601)),
        of_event(ENDED, "second-stop"),
        replace(of_event(ENDED), message_id="m2"),
        of_message("StopTransaction", STOP),
        replace(of_message("StopTransaction", STOP), charger="CP2"),
        replace(of_message("StopTransaction", STOP), received_at=T0 + 1),
    ]
    assert len({replay_of(message, CP16).writer for message in messages}) == len(messages)


@pytest.mark.parametrize(
    ("payload", "transaction"),
    [
        (msgspec.json.encode(event(ENDED)), "77"),
        (msgspec.json.encode(event(Connected("1.6"))), None),
        (msgspec.json.encode(STOP), "77"),
        (b'{"transactionInfo": {"transactionId": "tx"}}', "tx"),
        (b'{"transactionId": null}', None),
        (b'{"transactionInfo": 5}', None),
        (b'[2, "m", "StopTransaction", {"transactionId": 1}]', None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_the_transaction_that_a_payload_names_is_found_where_it_stands(payload: bytes, transaction: str | None) -> None:
    assert transaction_of(payload) == transaction
