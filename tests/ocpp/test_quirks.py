"""Lenient reading: what chargers sent is understood, every repair keeps its original, and no guess changes a meaning."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpms_actors.ocpp.catalogue import DECODE_FAULTS, actions
from cpms_actors.ocpp.messages import v16
from cpms_actors.ocpp.quirks import Repair, decode_answer_lenient, decode_lenient

LINES = (Path(__file__).parents[1] / "data/charger-quirks/cases.jsonl").read_text(encoding="utf-8").splitlines()
CASES = {case["id"]: case for case in map(json.loads, LINES)}

SAMPLE = "$.meterValue[0].sampledValue[0]"
# The repairs that each case needs; none: the strict decoder takes it as it is.
REPAIRS = {
    "alfen_eve_huge_txid_and_bad_context": [Repair("$.meterValue[0].sampledValue[1].context", "field dropped", '"CurrentMax"')],
    "abb_terra_null_string_info": [],
    "schneider_serial_too_long": [Repair("$.chargeBoxSerialNumber", "text cut", '"EVB1A22P2RI3N182341200100350795E5"')],
    "esp_numeric_value": [
        Repair(f"{SAMPLE}.value", "number to text", "10"),
        Repair("$.meterValue[1].sampledValue[0].value", "number to text", "10"),
    ],
    "chargeamps_unit_hz": [Repair(f"{SAMPLE}.unit", "other spelling", '"Hz"')],
    "celsius": [],
    "metron_constant_message_id": [],
    "evbox_boot": [],
    "everest_stop_minus1_offline": [],
    "meter_for_unexpected_tx": [],
}


def read_case(name: str):
    """Each request of a case with its repairs, having seen that the strict decoder agrees on whether any are needed."""
    for _, _, action_name, payload in CASES[name]["frames"]:
        action = actions(CASES[name]["ocpp"])[action_name]
        text = json.dumps(payload).encode()
        request, repairs = decode_lenient(action, text)
        if repairs:
            with pytest.raises(msgspec.ValidationError):
                action.decode_request(text)
        else:
            assert request == action.decode_request(text)
        yield request, repairs


@pytest.mark.parametrize("name", CASES)
def test_what_a_real_charger_sent_is_read_and_each_repair_is_told(name):
    assert [repair for _, repairs in read_case(name) for repair in repairs] == REPAIRS[name]


def test_a_transaction_id_of_63_bits_is_read_whole_and_both_samples_are_kept():
    [(request, _)] = read_case("alfen_eve_huge_txid_and_bad_context")
    assert request.transactionId == 2**63 - 1
    assert [sample.value for sample in request.meterValue[0].sampledValue] == ["15.630", "16.000"]


def test_the_text_null_is_a_text():
    [(request, _)] = read_case("abb_terra_null_string_info")
    assert (request.info, request.timestamp) == ("null", None)


def test_a_serial_number_that_is_too_long_does_not_lock_the_charger_out():
    [(request, _)] = read_case("schneider_serial_too_long")
    assert (request.chargeBoxSerialNumber, request.chargePointModel) == ("EVB1A22P2RI3N182341200100", "EVlink Smart Wallbox")


def test_a_number_where_a_text_belongs_becomes_the_text_it_was():
    assert [[m.sampledValue[0].value for m in request.meterValue] for request, _ in read_case("esp_numeric_value")] == [["10", "10"]]
    request, _ = decode_lenient(actions("1.6")["MeterValues"], meter_values('{"value":15.630}'))
    assert request.meterValue[0].sampledValue[0].value == "15.630"


def test_hz_is_hertz():
    [(request, _)] = read_case("chargeamps_unit_hz")
    assert request.meterValue[0].sampledValue[0].unit == "Hertz"


def test_transaction_minus_one_is_a_transaction():
    [(request, _)] = read_case("everest_stop_minus1_offline")
    assert request.transactionId == -1


def meter_values(*samples: str) -> bytes:
    return f'{{"connectorId":1,"meterValue":[{{"timestamp":"2025-01-01T00:00:00Z","sampledValue":[{",".join(samples)}]}}]}}'.encode()


START = '"connectorId":1,"idTag":"04A2","timestamp":"2025-01-01T00:00:00Z"'
STOP = '"transactionId":7,"meterStop":1200,"timestamp":"2025-01-01T00:00:00Z"'
STATUS = '"connectorId":1,"errorCode":"NoError"'
EVENT = '"eventType":"Updated","timestamp":"t","triggerReason":"MeterValuePeriodic","transactionInfo":{"transactionId":"a"}'

# (version, action, payload, the payload it is read as, repairs as (path, what, original))
MENDED = [
    ("1.6", "Heartbeat", "[]", "{}", [("$", "empty payload", "[]")]),
    ("1.6", "Heartbeat", "null", "{}", [("$", "empty payload", "null")]),
    ("1.6", "Heartbeat", '{"now":1}', "{}", [("$.now", "unknown field dropped", "1")]),
    ("1.6", "StopTransaction", f'{{{STOP},"idTag":null}}', f"{{{STOP}}}", [("$.idTag", "null dropped", "null")]),
    ("1.6", "StopTransaction", f'{{{STOP},"reason":"Bored"}}', f"{{{STOP}}}", [("$.reason", "field dropped", '"Bored"')]),
    (
        "1.6",
        "StopTransaction",
        f'{{{STOP},"reason":" evDISCONNECTED"}}',
        f'{{{STOP},"reason":"EVDisconnected"}}',
        [("$.reason", "other spelling", '" evDISCONNECTED"')],
    ),
    (
        "1.6",
        "StopTransaction",
        f'{{{STOP},"transactionData":[{{"timestamp":"t","sampledValue":{{"value":"1"}}}}]}}',
        f'{{{STOP},"transactionData":[{{"timestamp":"t","sampledValue":[{{"value":"1"}}]}}]}}',
        [("$.transactionData[0].sampledValue", "list around one element", '{"value":"1"}')],
    ),
    (
        "1.6",
        "StopTransaction",
        f'{{{STOP},"transactionData":[{{"timestamp":"t"}}]}}',
        f"{{{STOP}}}",
        [("$.transactionData", "field dropped", '[{"timestamp":"t"}]')],
    ),
    (
        "1.6",
        "StartTransaction",
        f'{{{START},"meterStart":"12"}}',
        f'{{{START},"meterStart":12}}',
        [("$.meterStart", "text to number", '"12"')],
    ),
    (
        "1.6",
        "StartTransaction",
        f'{{{START},"meterStart":12.0}}',
        f'{{{START},"meterStart":12}}',
        [("$.meterStart", "fraction rounded", "12.0")],
    ),
    (
        "1.6",
        "StartTransaction",
        f'{{{START},"meterStart":12.61}}',
        f'{{{START},"meterStart":13}}',
        [("$.meterStart", "fraction rounded", "12.61")],
    ),
    (
        "1.6",
        "StatusNotification",
        f'{{{STATUS},"status":"SuspendedEv"}}',
        f'{{{STATUS},"status":"SuspendedEV"}}',
        [("$.status", "other spelling", '"SuspendedEv"')],
    ),
    (
        "1.6",
        "StatusNotification",
        f'{{{STATUS},"status":"Faulted","vendorErrorCode":17}}',
        f'{{{STATUS},"status":"Faulted","vendorErrorCode":"17"}}',
        [("$.vendorErrorCode", "number to text", "17")],
    ),
    ("2.0.1", "TransactionEvent", f'{{{EVENT},"seqNo":"3"}}', f'{{{EVENT},"seqNo":3}}', [("$.seqNo", "text to number", '"3"')]),
    (
        "2.0.1",
        "TransactionEvent",
        f'{{{EVENT},"seqNo":3,"offline":"False"}}',
        f'{{{EVENT},"seqNo":3,"offline":false}}',
        [("$.offline", "word for boolean", '"False"')],
    ),
    (
        "2.0.1",
        "TransactionEvent",
        f'{{{EVENT},"seqNo":3,"meterValue":[{{"timestamp":"t","sampledValue":[{{"value":"7.5"}}]}}]}}',
        f'{{{EVENT},"seqNo":3,"meterValue":[{{"timestamp":"t","sampledValue":[{{"value":7.5}}]}}]}}',
        [("$.meterValue[0].sampledValue[0].value", "text to number", '"7.5"')],
    ),
    (
        "2.0.1",
        "TransactionEvent",
        f'{{{EVENT},"seqNo":3,"numberOfPhasesUsed":"all","customData":{{"vendorId":"v","kept":1}}}}',
        f'{{{EVENT},"seqNo":3,"customData":{{"vendorId":"v"}}}}',
        [("$.numberOfPhasesUsed", "field dropped", '"all"')],
    ),
]


@pytest.mark.parametrize(("version", "name", "payload", "meant", "repairs"), MENDED)
def test_a_payload_is_read_as_what_it_means(version, name, payload, meant, repairs):
    action = actions(version)[name]
    assert decode_lenient(action, payload.encode()) == (
        action.decode_request(meant.encode()),
        tuple(Repair(*repair) for repair in repairs),
    )


@pytest.mark.parametrize(
    "bad",
    [
        '{"value":"7","unit":"MWh"}',
        '{"value":"7","measurand":"Power.Apparent"}',
        '{"value":"7","phase":"L4"}',
        '{"value":"7","format":"Hex"}',
        '{"unit":"Wh"}',
    ],
)
def test_a_sample_whose_meaning_is_lost_goes_and_the_others_stay(bad):
    request, repairs = decode_lenient(actions("1.6")["MeterValues"], meter_values('{"value":"1"}', bad, '{"value":"2"}'))
    assert [sample.value for sample in request.meterValue[0].sampledValue] == ["1", "2"]
    assert repairs == (Repair("$.meterValue[0].sampledValue[1]", "element dropped", bad),)


# Each would have to be guessed: the first refusal stands.
BEYOND = [
    ("Authorize", b'{"idTag":"123456789012345678901"}'),  # cut, it would be another driver's tag
    ("Authorize", b"{}"),
    ("Authorize", b'"04A2"'),
    ("MeterValues", meter_values('{"value":"7","unit":"MWh"}')),
    ("StopTransaction", b'{"transactionId":7.5,"meterStop":1,"timestamp":""}'),
    ("StopTransaction", b'{"transactionId":1e999999999,"meterStop":1,"timestamp":""}'),
    ("StopTransaction", b'{"transactionId":"1e300","meterStop":1,"timestamp":""}'),
    ("StopTransaction", b'{"transactionId":"NaN","meterStop":1,"timestamp":""}'),
    ("StatusNotification", f'{{{STATUS},"status":"Occupied"}}'.encode()),
    ("StatusNotification", b"{"),
    ("StatusNotification", b"\xff"),
]


@pytest.mark.parametrize(("name", "payload"), BEYOND)
def test_what_cannot_be_understood_raises_the_error_of_the_strict_decoder(name, payload):
    action = actions("1.6")[name]
    with pytest.raises(DECODE_FAULTS) as strict:
        action.decode_request(payload)
    with pytest.raises(DECODE_FAULTS) as lenient:
        decode_lenient(action, payload)
    assert (type(lenient.value), str(lenient.value)) == (type(strict.value), str(strict.value))


def test_the_answer_to_a_call_of_ours_is_read_as_leniently():
    action = actions("1.6")["GetConfiguration"]
    answer, repairs = decode_answer_lenient(
        action, b'{"configurationKey":[{"key":"HeartbeatInterval","readonly":"false","value":300}]}'
    )
    assert answer.configurationKey == (v16.KeyValue(key="HeartbeatInterval", readonly=False, value="300"),)
    assert [repair.what for repair in repairs] == ["word for boolean", "number to text"]


def test_a_stream_has_no_answer_to_read():
    with pytest.raises(TypeError, match="NotifyPeriodicEventStream"):
        decode_answer_lenient(actions("2.1")["NotifyPeriodicEventStream"], b"{}")


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["1", "1.0", "true", "Hz", "wh", "L1", ""])
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FRAMES = [(case["ocpp"], frame[2], frame[3]) for case in CASES.values() for frame in case["frames"]]
FRAMES += [(version, name, json.loads(meant)) for version, name, _, meant, _ in MENDED]


@st.composite
def damaged(draw: st.DrawFn):
    """A message that has up to three of its values replaced, wherever they are."""
    version, name, payload = draw(st.sampled_from(FRAMES))

    def damage(value):
        if isinstance(value, dict) and value and draw(st.integers(0, 9)):
            key = draw(st.sampled_from(sorted(value)))
            return value | {key: damage(value[key])}
        if isinstance(value, list) and value and draw(st.integers(0, 9)):
            return [damage(value[0]), *value[1:], *value[: draw(st.integers(0, 1))]]
        return draw(JSON_VALUES)

    for _ in range(draw(st.integers(1, 3))):
        payload = damage(payload)
    return actions(version)[name], json.dumps(payload).encode()


def outcome(read, *arguments):
    """What a reader gives, or the fault it raises."""
    try:
        return read(*arguments), None
    except DECODE_FAULTS as fault:
        return None, f"{type(fault).__name__}: {fault}"


@settings(max_examples=400, derandomize=True, deadline=None)
@given(damaged())
def test_whatever_is_sent_is_read_strictly_mended_with_a_reason_or_refused(message):
    action, text = message
    strict, refusal = outcome(action.decode_request, text)
    lenient, still_refused = outcome(decode_lenient, action, text)
    if refusal is None:
        assert lenient == (strict, ())
    elif still_refused is None:
        request, repairs = lenient
        assert repairs
        for repair in repairs:
            json.loads(repair.original)
        assert action.decode_request(msgspec.json.encode(request)) == request, "a mended message is valid"
    else:
        assert still_refused == refusal
