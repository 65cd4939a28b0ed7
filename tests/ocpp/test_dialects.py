"""Every action that a charger may send is answered, in every version, as the schema wants it; words are translated, not lost."""

import json
from typing import Any

import pytest
from ocpp.messages import CallResult, _validate_payload

from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import Sample, TransactionEnded, TransactionStarted
from cpms_actors.ocpp import frames
from cpms_actors.ocpp.catalogue import FROM_CHARGER
from cpms_actors.ocpp.dialect import Dialect, Doubts, Kind
from cpms_actors.ocpp.dialect2 import dialect21, dialect201
from cpms_actors.ocpp.dialect16 import Dialect16

NOW = 1_795_000_000_000
DIALECTS: dict[str, Dialect] = {"1.6": Dialect16(), "2.0.1": dialect201(), "2.1": dialect21()}
HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "c"}
# Requests whose answers repeat something of them.
REQUESTS: dict[str, Any] = {
    "VatNumberValidation": {"vatNumber": "DE123"},
    "GetCertificateChainStatus": {
        "certificateStatusRequests": [{"certificateHashData": HASH, "source": "CRL", "urls": ["http://x"]}],
    },
}


def validate(dialect: Dialect, action: str, answer: Any) -> None:
    """The `ocpp` package's own validation is the oracle."""
    payload = json.loads(frames.result("1", answer))[2]
    _validate_payload(CallResult("1", payload, action=action), dialect.version)


@pytest.mark.parametrize(("version", "action"), [(version, action) for version in DIALECTS for action in sorted(FROM_CHARGER[version])])
def test_every_action_a_charger_may_send_has_a_rule_and_a_valid_answer(version: str, action: str) -> None:
    dialect = DIALECTS[version]
    rule = dialect.rules[action]
    match rule.kind:
        case Kind.REPORT if rule.action.send:
            assert rule.answer is None
        case Kind.REPORT:
            assert rule.answer is not None
            request = rule.action.decode_request(json.dumps(REQUESTS[action]).encode()) if action in REQUESTS else None
            validate(dialect, action, rule.answer(request, NOW))
        case Kind.METER:
            validate(dialect, action, dialect.meter_answer)
        case Kind.STATUS:
            validate(dialect, action, dialect.status_answer)
        case Kind.HEARTBEAT:
            validate(dialect, action, dialect.heartbeat_answer(NOW))
        case Kind.BOOT:
            for status in ("Accepted", "Pending", "Rejected"):
                validate(dialect, action, dialect.boot_answer(status, 300, NOW))
        case _:
            for verdict in VERDICTS:
                answer = {
                    Kind.AUTHORIZE: lambda v: dialect.authorize_answer(v),
                    Kind.START: lambda v: dialect.start_answer(1, v),
                    Kind.STOP: lambda v: dialect.transaction_answer(v),
                    Kind.EVENT: lambda v: dialect.transaction_answer(v),
                }[rule.kind](verdict)
                validate(dialect, action, answer)


VERDICTS = [
    Verdict("Accepted"),
    Verdict("Accepted", NOW, "GROUP"),
    Verdict("Accepted", None, "G" * 60),
    *(Verdict(status) for status in ("Blocked", "ConcurrentTx", "Expired", "Invalid", "NoCredit", "NotAtThisTime", "Unknown")),
]


def meter_16(**sampled: Any) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    dialect, doubts = DIALECTS["1.6"], Doubts()
    payload = {"connectorId": 1, "meterValue": [{"timestamp": "2026-11-23T08:00:00Z", "sampledValue": [sampled]}]}
    fact = dialect.meter(dialect.rules["MeterValues"].action.decode_request(json.dumps(payload).encode()), NOW, doubts)
    return fact.samples, doubts.reasons


@pytest.mark.parametrize(
    ("sampled", "value", "unit"),
    [
        ({"value": "1"}, 1.0, "Wh"),
        ({"value": "1.5", "unit": "kWh"}, 1500.0, "Wh"),
        ({"value": "7.2", "measurand": "Power.Active.Import", "unit": "kW"}, 7200.0, "W"),
        ({"value": "7", "measurand": "Power.Active.Import"}, 7.0, None),
        ({"value": "31", "measurand": "Temperature", "unit": "Celcius"}, 31.0, "Celsius"),
        ({"value": "1e3"}, 1000.0, "Wh"),
        ({"value": "15.6", "unit": "A"}, 15.6, "A"),
    ],
)
def test_sampled_values_come_to_base_units(sampled: dict[str, Any], value: float, unit: str | None) -> None:
    (sample,), doubts = meter_16(**sampled)
    assert (sample.value, sample.unit, doubts) == (value, unit, ())


def test_a_sample_without_a_measurand_is_energy_only_when_its_unit_allows() -> None:
    """An Alfen charger sends amperes without a measurand; read as the energy register they would be billed."""
    measurands = [meter_16(value="1", **unit)[0][0].measurand for unit in ({}, {"unit": "kWh"}, {"unit": "A"}, {"unit": "varh"})]
    assert measurands == ["Energy.Active.Import.Register"] * 2 + ["Current.Import", "Unknown"]


@pytest.mark.parametrize("value", ["", "abc", "nan", "inf", "-Infinity", "1,5"])
def test_a_value_that_is_no_number_is_doubted_and_left_out(value: str) -> None:
    samples, doubts = meter_16(value=value)
    assert samples == ()
    assert len(doubts) == 1


def test_signed_data_is_kept_as_it_came() -> None:
    (sample,), doubts = meter_16(value="OCMF|{}|{}", format="SignedData")
    assert (sample.signed, doubts) == ("OCMF|{}|{}", ())


def test_a_timestamp_that_cannot_be_read_is_doubted_and_the_arrival_used() -> None:
    dialect, doubts = DIALECTS["1.6"], Doubts()
    payload = {"transactionId": 1, "meterStop": 5, "timestamp": "yesterday"}
    fact = dialect.stop(dialect.rules["StopTransaction"].action.decode_request(json.dumps(payload).encode()), NOW, doubts)
    assert (fact.at, len(doubts.reasons)) == (NOW, 1)


def event(version: str, **payload: Any) -> Any:
    dialect = DIALECTS[version]
    base = {
        "timestamp": "2026-11-23T08:00:00Z",
        "triggerReason": "CablePluggedIn",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "tx"},
    }
    request = dialect.rules["TransactionEvent"].action.decode_request(json.dumps(base | payload).encode())
    return dialect.event(request, NOW, Doubts())


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_registers_at_begin_and_end_are_found_among_the_samples(version: str) -> None:
    def samples(context: str, value: float, **unit: Any) -> list[Any]:
        register = {"value": value, "context": context, "measurand": "Energy.Active.Import.Register"} | unit
        phase = register | {"phase": "L1", "value": 1}
        return [{"timestamp": "2026-11-23T08:00:00Z", "sampledValue": [phase, register]}]

    began = event(version, eventType="Started", meterValue=samples("Transaction.Begin", 1.5, unitOfMeasure={"unit": "kWh"}))
    assert isinstance(began, TransactionStarted)
    assert began.meter_wh == 1500
    ended = event(version, eventType="Ended", meterValue=samples("Transaction.End", 25, unitOfMeasure={"multiplier": 2}))
    assert isinstance(ended, TransactionEnded)
    assert (ended.meter_wh, ended.reason) == (2500, "Local")


def test_a_connector_of_1_6_is_an_evse_of_its_own() -> None:
    dialect = DIALECTS["1.6"]
    status = {"connectorId": 2, "errorCode": "NoError", "status": "Charging", "info": "null"}
    fact = dialect.status(dialect.rules["StatusNotification"].action.decode_request(json.dumps(status).encode()), NOW, Doubts())
    assert (fact.evse, fact.connector, fact.at, fact.info) == (2, 1, NOW, "null")
