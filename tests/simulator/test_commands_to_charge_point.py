"""What a virtual charge point does on the server's calls, in each version: the answer, its validity, and what follows."""

import json
from typing import Any

import pytest
from ocpp.messages import get_validator

from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import VERSIONS, Options, Quirks
from cpms_actors.simulator.session import SessionPlan

LONG = SessionPlan("T1", charging_s=None, parking_s=None)
versions = pytest.mark.parametrize("version", VERSIONS)
TWO = ("2.0.1", "2.1")
TOKEN = {"idToken": "T9", "type": "ISO14443"}
EVSE = {"id": 1, "connectorId": 1}
HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
SECRET = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
UNKNOWN = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "Nonsense"}}
FIRMWARE_2 = {"location": "https://firmware.example/vc-22/2.0.0", "retrieveDateTime": "2026-01-01T00:00:00Z"}
NOWHERE = {"component": {"name": "Toaster"}, "variable": {"name": "Crumbs"}}


def told(frame: Any) -> str:
    return str(frame.payload.get("eventType", frame.action))


def remote_start(version: str, evse: int | None = None) -> tuple[str, dict[str, Any]]:
    if version == "1.6":
        return "RemoteStartTransaction", {"idTag": "T9"} | ({"connectorId": evse} if evse else {})
    return "RequestStartTransaction", {"idToken": TOKEN, "remoteStartId": 42} | ({"evseId": evse} if evse else {})


def remote_stop(version: str, transaction: str) -> tuple[str, dict[str, Any]]:
    if version == "1.6":
        return "RemoteStopTransaction", {"transactionId": int(transaction)}
    return "RequestStopTransaction", {"transactionId": transaction}


CASES = [
    (v, action, payload, expected)
    for vs, action, payload, expected in [
        (("1.6",), "Reset", {"type": "Soft"}, {"status": "Accepted"}),
        (TWO, "Reset", {"type": "Immediate"}, {"status": "Accepted"}),
        (TWO, "Reset", {"type": "OnIdle", "evseId": 1}, {"status": "Rejected"}),
        (("1.6",), "UpdateFirmware", {"location": "https://f/2.0.0", "retrieveDate": "2026-01-01T00:00:00Z"}, {}),
        (TWO, "UpdateFirmware", {"requestId": 7, "firmware": FIRMWARE_2}, {"status": "Accepted"}),
        (("1.6",), "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Accepted"}),
        (("1.6",), "ChangeAvailability", {"connectorId": 7, "type": "Inoperative"}, {"status": "Rejected"}),
        (TWO, "ChangeAvailability", {"operationalStatus": "Inoperative"}, {"status": "Accepted"}),
        (TWO, "ChangeAvailability", {"operationalStatus": "Operative", "evse": EVSE}, {"status": "Accepted"}),
        (VERSIONS, "TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"}),
        (VERSIONS, "TriggerMessage", {"requestedMessage": "StatusNotification"}, {"status": "Accepted"}),
        (VERSIONS, "TriggerMessage", {"requestedMessage": "MeterValues"}, {"status": "Accepted"}),
        (VERSIONS, "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, {"status": "NotImplemented"}),
        (("1.6",), "TriggerMessage", {"requestedMessage": "BootNotification"}, {"status": "Accepted"}),
        (TWO, "TriggerMessage", {"requestedMessage": "BootNotification"}, {"status": "Rejected"}),  # F06.FR.17
        (TWO, "TriggerMessage", {"requestedMessage": "TransactionEvent"}, {"status": "Rejected"}),
        (TWO, "TriggerMessage", {"requestedMessage": "MeterValues", "evse": {"id": 9}}, {"status": "Rejected"}),
        (("1.6",), "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, {"status": "Accepted"}),
        (("1.6",), "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "soon"}, {"status": "Rejected"}),
        (("1.6",), "ChangeConfiguration", {"key": "NumberOfConnectors", "value": "2"}, {"status": "Rejected"}),
        (("1.6",), "ChangeConfiguration", {"key": "Nonsense", "value": "2"}, {"status": "NotSupported"}),
        (("1.6",), "UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"}),
        (("1.6",), "UnlockConnector", {"connectorId": 5}, {"status": "NotSupported"}),
        (TWO, "UnlockConnector", {"evseId": 1, "connectorId": 1}, {"status": "Unlocked"}),
        (TWO, "UnlockConnector", {"evseId": 5, "connectorId": 1}, {"status": "UnknownConnector"}),
        (TWO, "GetTransactionStatus", {}, {"messagesInQueue": False}),
        (TWO, "GetTransactionStatus", {"transactionId": "x"}, {"messagesInQueue": False, "ongoingIndicator": False}),
        (VERSIONS, "DataTransfer", {"vendorId": "acme"}, {"status": "UnknownVendorId"}),
        (VERSIONS, "DataTransfer", {"vendorId": "cpms.simulator", "data": "hi"}, {"status": "Accepted", "data": "hi"}),
        (VERSIONS, "ClearCache", {}, {"status": "Accepted"}),
        (("1.6",), "RemoteStopTransaction", {"transactionId": 5}, {"status": "Rejected"}),
        (TWO, "RequestStopTransaction", {"transactionId": "5"}, {"status": "Rejected"}),
    ]
    for v in vs
]


@pytest.mark.parametrize(("version", "action", "payload", "expected"), CASES)
def test_an_idle_charge_point_answers_by_the_book(
    bench: Any, version: Any, action: str, payload: dict[str, Any], expected: dict[str, Any]
) -> None:
    b = bench(ChargePoint("CP1", version))
    b.to(5)
    get_validator(2, action, version).validate(payload)
    answer = b.server_calls(action, payload)
    assert answer == expected
    get_validator(3, action, version).validate(answer)


@versions
@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [("ReserveNow", {}, "NotSupported"), ("MakeCoffee", {}, "NotImplemented"), ("Reset", {}, "F")],
)
def test_what_it_cannot_do_is_a_callerror(bench: Any, version: Any, action: str, payload: dict[str, Any], code: str) -> None:
    """NotSupported for what the version knows, NotImplemented for what it does not; 1.6 spells FormationViolation."""
    b = bench(ChargePoint("CP1", version))
    b.to(5)
    if code == "F":
        code = "FormationViolation" if version == "1.6" else "FormatViolation"
    assert b.server_calls(action, payload) == code
    assert b.answers[-1][0] == 4


@versions
def test_a_remote_start_runs_until_the_remote_stop(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version))
    b.to(5)
    assert b.server_calls(*remote_start(version)) == {"status": "Accepted"}
    b.to(125)
    session = b.point.sessions[1]
    assert b.server_calls(*remote_start(version)) == {"status": "Rejected"}  # the connector is taken
    assert b.server_calls(*remote_stop(version, session.transaction)) == {"status": "Accepted"}
    b.run()
    money = b.of("StartTransaction", "MeterValues", "StopTransaction", "TransactionEvent")
    assert "Authorize" not in b.actions()
    assert [told(f) for f in (money[0], money[-1])] in (["StartTransaction", "StopTransaction"], ["Started", "Ended"])
    facts = b.point.facts[0]
    assert (facts.token, facts.reason, facts.charging_s, facts.parking_s) == ("T9", "Remote", 120.0, 0.0)
    if version != "1.6":
        assert money[0].payload["triggerReason"] == "RemoteStart"
        assert money[0].payload["transactionInfo"]["remoteStartId"] == 42
        assert money[-1].payload["triggerReason"] == "RemoteStop"
    for frame in b.calls:
        get_validator(2, frame.action, version).validate(frame.payload)


@versions
def test_a_remote_start_begins_for_the_car_that_waits(bench: Any, version: Any) -> None:
    waiting = SessionPlan("", authorize_after_s=None, charging_s=60, parking_s=0)
    b = bench(ChargePoint("CP1", version, [waiting]))
    b.to(30)
    assert b.server_calls(*remote_start(version, 1)) == {"status": "Accepted"}
    b.run()
    assert (b.point.facts[0].token, b.point.facts[0].outcome) == ("T9", "completed")


def test_a_remote_start_is_authorized_first_where_that_is_configured(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", options=Options(remote_authorize=True)))
    b.to(5)
    b.server_calls(*remote_start("1.6"))
    b.to(10)
    assert [f.payload["idTag"] for f in b.of("Authorize", "StartTransaction")] == ["T9", "T9"]


def test_a_pending_charge_point_refuses_a_remote_start_and_speaks_when_triggered(bench: Any) -> None:
    """1.6 section 4.2: while Pending, only what was triggered is sent."""
    b = bench(ChargePoint("CP1", "1.6"))
    b.script["BootNotification"] = {"status": "Pending", "currentTime": "2026-01-01T00:00:00Z", "interval": 600}
    b.to(5)
    assert b.server_calls(*remote_start("1.6")) == {"status": "Rejected"}
    assert b.server_calls("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}) == {"status": "Accepted"}
    b.script["BootNotification"] = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 600}
    assert b.server_calls("TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Accepted"}
    b.to(10)
    assert b.actions()[:3] == ["BootNotification", "StatusNotification", "BootNotification"]
    assert b.point.online


@versions
def test_a_reset_ends_what_runs_and_boots_anew(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [LONG]))
    b.to(60)
    b.server_calls("Reset", {"type": "Hard" if version == "1.6" else "Immediate"})
    b.run()
    assert b.point.facts[0].reason == "SoftReset"
    assert b.point.facts[0].outcome == "completed"
    boots = b.of("BootNotification")
    assert len(boots) == 2
    assert len(b.connects) == 2
    if version != "1.6":
        assert boots[1].payload["reason"] == "RemoteReset"


def test_a_new_firmware_waits_for_the_driver_and_is_told_step_by_step(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [SessionPlan("T1", charging_s=60, parking_s=60)], Options(firmware_download_s=10)))
    b.to(60)
    order = {"location": "https://firmware.example/vc-22/2.0.0", "retrieveDate": "2026-01-01T00:00:00Z"}
    b.server_calls("UpdateFirmware", order)
    b.server_calls("UpdateFirmware", order)
    b.to(75)
    assert [f.payload["status"] for f in b.of("FirmwareStatusNotification")] == ["Downloading", "Downloaded", "Installing"]
    assert not b.point.updated
    b.run()
    told = [f.payload.get("status", f.action) for f in b.of("FirmwareStatusNotification", "StopTransaction", "BootNotification")]
    assert told == ["BootNotification", "Downloading", "Downloaded", "Installing", "StopTransaction", "BootNotification", "Installed"]
    assert [boot.payload["firmwareVersion"] for boot in b.of("BootNotification")] == ["1.0.0", "2.0.0"]
    assert b.point.updated
    assert b.point.facts[0].reason == "Local"


@pytest.mark.parametrize("version", TWO)
def test_a_new_firmware_of_2_names_its_request_and_is_the_reason_of_the_boot(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [], Options(firmware_download_s=10)))
    b.to(5)
    order = {"requestId": 7, "firmware": FIRMWARE_2}
    assert b.server_calls("UpdateFirmware", order) == {"status": "Accepted"}
    assert b.server_calls("UpdateFirmware", order) == {"status": "Rejected"}
    b.run()
    told = [(f.payload["status"], f.payload["requestId"]) for f in b.of("FirmwareStatusNotification")]
    assert told == [("Downloading", 7), ("Downloaded", 7), ("Installing", 7), ("Installed", 7)]
    boots = [(f.payload["reason"], f.payload["chargingStation"]["firmwareVersion"]) for f in b.of("BootNotification")]
    assert boots == [("PowerUp", "1.0.0"), ("FirmwareUpdate", "2.0.0")]
    assert len(b.connects) == 2
    for frame in b.calls:
        get_validator(2, frame.action, version).validate(frame.payload)


def test_a_firmware_is_told_as_installed_until_that_is_answered(bench: Any, silence: object) -> None:
    b = bench(ChargePoint("CP1", "1.6", [], Options(firmware_download_s=1, quirks=Quirks(boots_on_reconnect=True))))
    b.to(5)
    b.server_calls("UpdateFirmware", {"location": "https://firmware.example/2.0.0", "retrieveDate": "2026-01-01T00:00:00Z"})
    b.to(6.5)
    b.script["FirmwareStatusNotification"] = silence
    b.to(20)
    b.cut()
    assert not b.point.updated
    b.script["FirmwareStatusNotification"] = {}
    b.run()
    assert [f.payload["status"] for f in b.of("FirmwareStatusNotification")][-2:] == ["Installed", "Installed"]
    assert b.point.updated


@pytest.mark.parametrize("version", TWO)
def test_a_reset_on_idle_waits_for_the_driver(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [SessionPlan("T1", charging_s=60, parking_s=60)]))
    b.to(60)
    assert b.server_calls("Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    b.to(300)
    ended = next(f for f in b.of("TransactionEvent") if f.payload["eventType"] == "Ended")
    assert ended.payload["transactionInfo"]["stoppedReason"] == "Local"
    assert b.of("BootNotification")[1].at > ended.at


@versions
def test_out_of_service_waits_for_the_end_of_a_transaction(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [SessionPlan("T1", charging_s=60, parking_s=0)]))
    b.to(30)
    out = {"connectorId": 0, "type": "Inoperative"} if version == "1.6" else {"operationalStatus": "Inoperative"}
    assert b.server_calls("ChangeAvailability", out) == {"status": "Scheduled"}
    b.to(200)
    statuses = [f.payload.get("status", f.payload.get("connectorStatus")) for f in b.of("StatusNotification")]
    assert statuses[-1] == "Unavailable"
    assert b.server_calls(*remote_start(version)) == {"status": "Rejected"}


def test_an_unlock_ends_a_transaction_of_16_but_not_of_2(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [LONG]))
    b.to(60)
    assert b.server_calls("UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert b.point.sessions[1].reason is not None
    b = bench(ChargePoint("CP1", "2.0.1", [LONG]))
    b.to(60)
    answer = b.server_calls("UnlockConnector", {"evseId": 1, "connectorId": 1})
    assert answer == {"status": "OngoingAuthorizedTransaction"}
    assert b.point.sessions[1].running


@versions
def test_the_answer_to_a_trigger_is_sent_before_what_it_triggers(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version))
    b.to(5)
    outputs = b.point.received(json.dumps([2, "c1", "TriggerMessage", {"requestedMessage": "Heartbeat"}]), b.now)
    assert [json.loads(o.text)[0] for o in outputs] == [3, 2]


def test_a_triggered_reading_of_16_belongs_to_the_running_transaction(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [LONG]))
    b.to(30)
    b.server_calls("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1})
    b.to(31)
    reading = b.of("MeterValues")[-1].payload
    assert reading["transactionId"] == 1001
    assert reading["meterValue"][0]["sampledValue"][0]["context"] == "Trigger"


@pytest.mark.parametrize("version", TWO)
def test_a_triggered_transaction_event_goes_on_counting(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [LONG]))
    b.to(30)
    assert b.server_calls("TriggerMessage", {"requestedMessage": "TransactionEvent"}) == {"status": "Accepted"}
    b.to(31)
    last = b.of("TransactionEvent")[-1].payload
    assert (last["triggerReason"], last["seqNo"], last["eventType"]) == ("Trigger", 1, "Updated")


@pytest.mark.parametrize("version", TWO)
def test_the_status_of_a_transaction_tells_what_is_queued(bench: Any, version: Any, silence: object) -> None:
    b = bench(ChargePoint("CP1", version, [LONG]))
    b.to(30)
    transaction = b.point.sessions[1].transaction
    assert b.server_calls("GetTransactionStatus", {"transactionId": transaction}) == {
        "messagesInQueue": False,
        "ongoingIndicator": True,
    }
    b.script["TransactionEvent"] = silence
    b.to(85)
    assert b.server_calls("GetTransactionStatus", {"transactionId": transaction}) == {"messagesInQueue": True, "ongoingIndicator": True}
    assert b.server_calls("GetTransactionStatus", {}) == {"messagesInQueue": True}


@pytest.mark.parametrize("version", TWO)
def test_an_event_that_is_held_back_is_queued_until_the_server_asks_and_then_told_behind_the_others(bench: Any, version: Any) -> None:
    plan = SessionPlan("T1", charging_s=180, parking_s=0)
    b = bench(ChargePoint("CP1", version, [plan], Options(quirks=Quirks(holds_back=frozenset({1})))))
    b.run(until_s=400)
    told = [frame.payload["seqNo"] for frame in b.of("TransactionEvent")]
    assert (told, b.point.finished) == ([0, *range(2, len(told) + 1)], False)
    assert b.of("TransactionEvent")[-1].payload["eventType"] == "Ended"
    transaction = b.of("TransactionEvent")[0].payload["transactionInfo"]["transactionId"]
    asked = ("GetTransactionStatus", {"transactionId": transaction})
    assert b.server_calls(*asked) == {"messagesInQueue": True, "ongoingIndicator": False}
    b.run()
    assert [frame.payload["seqNo"] for frame in b.of("TransactionEvent")] == [*told, 1]
    assert (b.point.finished, b.point.facts[0].outcome) == (True, "completed")
    assert b.server_calls(*asked) == {"messagesInQueue": False, "ongoingIndicator": False}


@pytest.mark.parametrize("version", TWO)
def test_variables_are_told_and_set_one_by_one(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version))
    b.to(5)
    wanted = [HEARTBEAT, SECRET, UNKNOWN, NOWHERE, HEARTBEAT | {"attributeType": "Target"}]
    answer = b.server_calls("GetVariables", {"getVariableData": wanted})
    get_validator(3, "GetVariables", version).validate(answer)
    statuses = [r["attributeStatus"] for r in answer["getVariableResult"]]
    assert statuses == ["Accepted", "Rejected", "UnknownVariable", "UnknownComponent", "NotSupportedAttributeType"]
    assert answer["getVariableResult"][0]["attributeValue"] == "300"
    change = [HEARTBEAT | {"attributeValue": "20"}, UNKNOWN | {"attributeValue": "1"}, SECRET | {"attributeValue": "s3cret"}]
    answer = b.server_calls("SetVariables", {"setVariableData": change})
    get_validator(3, "SetVariables", version).validate(answer)
    assert [r["attributeStatus"] for r in answer["setVariableResult"]] == ["Accepted", "UnknownVariable", "Accepted"]
    b.to(66)
    assert len(b.of("Heartbeat")) == 3


def test_configuration_keys_are_told_and_secrets_kept(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6"))
    b.to(5)
    b.server_calls("ChangeConfiguration", {"key": "AuthorizationKey", "value": "s3cret"})
    answer = b.server_calls("GetConfiguration", {"key": ["AuthorizationKey", "NumberOfConnectors", "Nonsense"]})
    assert answer == {
        "configurationKey": [
            {"key": "AuthorizationKey", "readonly": False},
            {"key": "NumberOfConnectors", "readonly": True, "value": "1"},
        ],
        "unknownKey": ["Nonsense"],
    }
    everything = b.server_calls("GetConfiguration", {})
    get_validator(3, "GetConfiguration", "1.6").validate(everything)
    assert {row["key"] for row in everything["configurationKey"]} == set(b.point.settings)


def test_a_new_meter_interval_holds_for_the_next_session(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [SessionPlan("T1", charging_s=60, parking_s=0)]))
    b.to(1)
    b.server_calls("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "10"})
    b.run()
    assert len(b.of("MeterValues")) == 6
