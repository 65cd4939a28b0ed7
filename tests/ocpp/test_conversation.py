"""The conversation of one WebSocket: two independent directions, and an answer to everything that deserves one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cpms_actors.ocpp import frames
from cpms_actors.ocpp.conversation import (
    REMEMBERED_BYTES_MAX,
    Answered,
    CallOutstanding,
    Conversation,
    Faulty,
    Ignored,
    Refused,
    Repeated,
    content,
)
from cpms_actors.ocpp.frames import Call, CallError, CallResult, Malformed, Send, Unknown

VERSIONS = ("1.6", "2.0.1", "2.1")


def text(*parts: Any) -> bytes:
    return json.dumps(parts).encode()


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (b'[2,"1","Heartbeat",{}]', Call("1", "Heartbeat", Raw(b"{}"))),
        (b' [ 2 , "1", "Heartbeat", {} ] ', Call("1", "Heartbeat", Raw(b"{}"))),
        (b'[3,"1",{"a":1}]', CallResult("1", Raw(b'{"a":1}'))),
        (b'[4,"1","GenericError","d",{"k":2}]', CallError("1", "GenericError", "d", b'{"k":2}')),
        (b'[4,"1","GenericError"]', CallError("1", "GenericError", "", b"{}")),
        (b'[5,"1","FormatViolation","d",{}]', CallError("1", "FormatViolation", "d", b"{}", about_result=True)),
        (b'[6,"1","NotifyPeriodicEventStream",{}]', Send("1", "NotifyPeriodicEventStream", Raw(b"{}"))),
        (b'[7,"1","x"]', Unknown(7)),
        (b"[99]", Unknown(99)),
    ],
)
def test_every_kind_of_frame_is_read(raw: bytes, frame: object) -> None:
    assert frames.read(raw) == frame


@pytest.mark.parametrize(
    ("raw", "id_"),
    [
        (b"", "-1"),
        (b"hello", "-1"),
        (b"{}", "-1"),
        (b"[]", "-1"),
        (b'["2"]', "-1"),
        (b"[2.5]", "-1"),
        (b"[2]", "-1"),
        (b'[2,7,"Heartbeat",{}]', "-1"),
        (b'[2,null,"Heartbeat",{}]', "-1"),
        (b'[2,"a"]', "a"),
        (b'[2,"a","Heartbeat"]', "a"),
        (b'[2,"a","Heartbeat",{},1]', "a"),
        (b'[2,"a",5,{}]', "a"),
        (b"[3,7,{}]", None),
        (b'[3,"a"]', None),
        (b'[2,"a","Heartbeat",{}', "a"),
        (b'[2,"a","Authorize",{"idTag":"\\ud800"}]', "a"),
        (b'[3,"a",{', "-1"),
        (b"[" * 100_000, "-1"),
    ],
)
def test_what_is_no_frame_is_told_with_the_id_to_answer(raw: bytes, id_: str | None) -> None:
    frame = frames.read(raw)
    assert isinstance(frame, Malformed)
    assert frame.id == id_


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_message_or_a_typed_fault(raw: bytes) -> None:
    for version in VERSIONS:
        received = Conversation(version).receive(raw)
        assert isinstance(received, Call | Send | Answered | Refused | Repeated | Ignored | Faulty)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=6))
def test_any_array_is_a_message_or_a_typed_fault(parts: list[Any]) -> None:
    for version in VERSIONS:
        received = Conversation(version).receive(json.dumps(parts).encode())
        assert isinstance(received, Call | Send | Answered | Refused | Repeated | Ignored | Faulty)


@pytest.mark.parametrize(
    ("version", "raw", "answer"),
    [
        ("1.6", b"nonsense", None),
        ("2.0.1", b"nonsense", [4, "-1", "RpcFrameworkError"]),
        ("2.1", b"nonsense", [4, "-1", "RpcFrameworkError"]),
        ("1.6", b'[2,"a","Heartbeat"]', [4, "a", "FormationViolation"]),
        ("2.0.1", b'[2,"a","Heartbeat"]', [4, "a", "RpcFrameworkError"]),
        ("1.6", text(2, "x" * 37, "Heartbeat", {}), [4, "x" * 37, "FormationViolation"]),
        ("2.1", text(2, "x" * 37, "Heartbeat", {}), [4, "x" * 37, "RpcFrameworkError"]),
        ("2.1", text(2, "x" * 5000, "Heartbeat", {}), [4, "x" * 255, "RpcFrameworkError"]),
        ("2.1", b'[3,"a"]', None),
    ],
)
def test_a_broken_call_gets_the_error_of_its_version(version: str, raw: bytes, answer: list[Any] | None) -> None:
    received = Conversation(version).receive(raw)
    assert isinstance(received, Faulty)
    assert (received.answer and json.loads(received.answer)[:3]) == answer


def test_a_lenient_tenant_takes_longer_ids() -> None:
    assert isinstance(Conversation("1.6", lenient=True).receive(text(2, "x" * 100, "Heartbeat", {})), Call)


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_message_types_are_ignored(version: str) -> None:
    """OCPP-J 1.6 4.1.3, OCPP 2.1 part 4 4.4."""
    assert Conversation(version).receive(b'[9,"a","b",{}]') == Ignored("unknown_message_type")


def test_send_is_a_message_in_2_1_only() -> None:
    raw = b'[6,"1","NotifyPeriodicEventStream",{}]'
    assert isinstance(Conversation("2.1").receive(raw), Send)
    assert isinstance(Conversation("2.0.1").receive(raw), Ignored)
    assert isinstance(Conversation("1.6").receive(raw), Ignored)


@pytest.mark.parametrize("version", VERSIONS)
def test_our_outstanding_call_does_not_refuse_the_chargers(version: str) -> None:
    """J16 4.1.1 and J21 4.1.1: one per direction, and the directions are independent."""
    conversation = Conversation(version)
    conversation.call("ours", "Reset", {})
    assert isinstance(conversation.receive(b'[2,"theirs","Authorize",{}]'), Call)
    assert conversation.outstanding is not None


def test_a_second_call_waits_for_the_first() -> None:
    conversation = Conversation("1.6")
    conversation.call("1", "Reset", {})
    with pytest.raises(CallOutstanding):
        conversation.call("2", "Reset", {})
    conversation.receive(b'[3,"1",{}]')
    conversation.call("2", "Reset", {})


def test_the_answer_finds_its_call_and_a_repeated_answer_is_ignored() -> None:
    conversation = Conversation("1.6")
    conversation.call("1", "Reset", {"type": "Soft"})
    received = conversation.receive(b'[3,"1",{"status":"Accepted"}]')
    assert isinstance(received, Answered)
    assert (received.call.action, bytes(received.payload)) == ("Reset", b'{"status":"Accepted"}')
    assert conversation.receive(b'[3,"1",{"status":"Accepted"}]') == Ignored("late_answer")


def test_late_and_unknown_answers_change_nothing() -> None:
    conversation = Conversation("2.0.1")
    conversation.call("1", "Reset", {})
    assert conversation.receive(b'[3,"other",{}]') == Ignored("late_answer")
    assert conversation.outstanding is not None
    conversation.expire()
    assert conversation.receive(b'[3,"1",{}]') == Ignored("late_answer")
    assert conversation.receive(b'[4,"1","GenericError","",{}]') == Ignored("late_answer")


def test_a_call_error_is_told_as_it_came() -> None:
    conversation = Conversation("1.6")
    conversation.call("1", "Reset", {})
    received = conversation.receive(b'[4,"1","NotSupported","no",{"a":1}]')
    assert isinstance(received, Refused)
    assert (received.error.code, received.error.description, received.error.details) == ("NotSupported", "no", b'{"a":1}')


@pytest.mark.parametrize("size", [0, REMEMBERED_BYTES_MAX + 1], ids=["kept", "digested"])
def test_a_retry_under_the_same_id_gets_the_same_answer(size: int) -> None:
    """OCPP 2.1 part 4 4.1.4."""
    conversation = Conversation("2.1")
    raw = b'[2,"1","TransactionEvent",{"a":"' + b"x" * size + b'"}]'
    call = conversation.receive(raw)
    assert isinstance(call, Call)
    conversation.remembered = (call.id, content(call.payload), b"the answer")
    assert conversation.receive(raw) == Repeated(b"the answer")
    assert isinstance(conversation.receive(raw.replace(b'"a"', b'"b"')), Call)


def test_the_same_id_with_other_content_is_a_new_message() -> None:
    """A Metron charger numbers every message alike; each must be answered."""
    conversation = Conversation("1.6")
    call = conversation.receive(b'[2,"1","MeterValues",{"a":1}]')
    assert isinstance(call, Call)
    conversation.remembered = (call.id, content(call.payload), b"the answer")
    assert isinstance(conversation.receive(b'[2,"1","MeterValues",{"a":2}]'), Call)


def test_only_the_last_answer_is_kept() -> None:
    """The charger has one CALL outstanding: what it repeats is that one."""
    conversation = Conversation("1.6")
    for number in range(3):
        call = conversation.receive(text(2, str(number), "StopTransaction", {}))
        assert isinstance(call, Call)
        conversation.remembered = (call.id, content(call.payload), str(number).encode())
    assert isinstance(conversation.receive(text(2, "1", "StopTransaction", {})), Call)
    assert conversation.receive(text(2, "2", "StopTransaction", {})) == Repeated(b"2")


def test_descriptions_are_cut_to_what_the_specification_allows() -> None:
    assert len(json.loads(frames.error("1", "InternalError", "x" * 999))[3]) == 255
    assert json.loads(frames.result_error("1", "FormatViolation", "d")) == [5, "1", "FormatViolation", "d", {}]
