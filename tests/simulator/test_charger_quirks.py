"""Faults of real chargers, switched on one by one: each shows in its frames, and nothing else changes."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped] # comes with the package `ocpp`
import msgspec
import pytest
from ocpp.messages import get_validator

from cpms_actors.base.time import parse_rfc3339
from cpms_actors.ocpp.catalogue import actions
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import VERSIONS, Options, Quirks
from cpms_actors.simulator.session import SessionPlan, StopReason

PLAN = SessionPlan("T1", charging_s=180, parking_s=90)
MONEY = ("StartTransaction", "MeterValues", "StopTransaction", "TransactionEvent")
versions = pytest.mark.parametrize("version", VERSIONS)


def assert_valid(version: str, frames: list[Any]) -> None:
    for frame in frames:
        get_validator(2, frame.action, version).validate(frame.payload)
        actions(version)[frame.action].decode_request(json.dumps(frame.payload).encode())


@versions
@pytest.mark.parametrize(
    ("quirk", "action", "valid"),
    [
        (Quirks(constant_message_id="1000001"), "BootNotification", True),
        (Quirks(serial_too_long=True), "BootNotification", False),
        (Quirks(numeric_values=True), "MeterValues", False),
        (Quirks(unknown_context=True), "MeterValues", False),
        (Quirks(naive_timestamps=True), "StatusNotification", True),
        (Quirks(stops_without_token=True), "StopTransaction", True),
    ],
)
def test_a_quirk_breaks_what_it_says_and_nothing_else(bench: Any, version: Any, quirk: Quirks, action: str, valid: bool) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN], Options(quirks=quirk)))
    b.run()
    if version != "1.6" and action in MONEY:
        action = "TransactionEvent"
    touched = [f for f in b.calls if f.action == action]
    untouched = [f for f in b.calls if f.action != action and f.action not in MONEY]
    assert touched
    assert_valid(version, untouched)
    if valid:
        assert_valid(version, touched)
    else:
        payload = touched[0].payload
        with pytest.raises(jsonschema.ValidationError):
            get_validator(2, action, version).validate(payload)
        with pytest.raises(msgspec.ValidationError):
            actions(version)[action].decode_request(json.dumps(payload).encode())
    assert b.point.facts[0].outcome == "completed"


def test_each_quirk_of_16_shows_in_its_frame(bench: Any) -> None:
    quirks = Quirks(
        constant_message_id="1000001",
        unit_synonyms=True,
        null_info=True,
        naive_timestamps=True,
        forgets_transaction_id=True,
        stops_without_token=True,
    )
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(quirks=quirks)))
    b.run()
    assert {f.id for f in b.calls} == {"1000001"}
    status, meter, stop = b.of("StatusNotification")[0].payload, b.of("MeterValues")[0].payload, b.of("StopTransaction")[0].payload
    assert status["info"] == "null"
    assert "timestamp" not in status
    assert {v["unit"] for v in meter["meterValue"][0]["sampledValue"]} >= {"Hz", "Celcius"}
    assert not meter["meterValue"][0]["timestamp"].endswith("Z")
    assert (meter["transactionId"], stop["transactionId"]) == (-1, -1)
    assert "idTag" not in stop
    assert b.point.facts[0].transaction == "1001"


def test_a_huge_transaction_id_is_sent_as_the_alfen_does(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(quirks=Quirks(huge_transaction_id=True))))
    b.run()
    assert {f.payload["transactionId"] for f in b.of("MeterValues")} == {2**63 - 1}
    assert b.of("StopTransaction")[0].payload["transactionId"] == 1001


def test_a_quirky_charger_boots_on_each_connection(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", options=Options(quirks=Quirks(boots_on_reconnect=True))))
    b.to(10)
    b.cut()
    b.to(60)
    assert len(b.of("BootNotification")) == 2


def test_a_wrong_clock_shows_in_every_timestamp(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(skew_s=-3600)))
    b.run()
    start = b.of("StartTransaction")[0]
    assert -3_600_100 <= parse_rfc3339(start.payload["timestamp"]) - start.at <= -3_599_000


@versions
def test_a_driver_who_pulls_the_cable_ends_the_transaction(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [SessionPlan("T1", charging_s=60, parking_s=60, stop=StopReason.EV_DISCONNECTED)]))
    b.run()
    last = b.of(*MONEY)[-1].payload
    assert "EVDisconnected" in json.dumps(last)
    assert "idTag" not in last
    assert "idToken" not in last
    assert_valid(version, b.calls)
