"""The catalogue names every action of every version once, says who sends it, and turns a decoder's complaint into an error code."""

from importlib.resources import files

import pytest
from msgspec import Raw

from cpms_actors.ocpp.catalogue import _FAULTS, DECODE_FAULTS, FROM_BOTH, FROM_CHARGER, SENT, actions, fault_of
from cpms_actors.ocpp.messages import v16, v21

FOLDERS = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}

# OCPP 1.6 section 5 and the security white paper; OCPP 2.0.1 and 2.1 part 2. Written out apart from the catalogue, which knows the
# chargers' side only: together they must be all the schemas there are.
FROM_CSMS_16 = """
CancelReservation CertificateSigned ChangeAvailability ChangeConfiguration ClearCache ClearChargingProfile DataTransfer
DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule GetConfiguration GetDiagnostics GetInstalledCertificateIds
GetLocalListVersion GetLog
InstallCertificate RemoteStartTransaction RemoteStopTransaction ReserveNow Reset SendLocalList SetChargingProfile SignedUpdateFirmware
TriggerMessage UnlockConnector UpdateFirmware
"""
FROM_CSMS_201 = """
CancelReservation CertificateSigned ChangeAvailability ClearCache ClearChargingProfile ClearDisplayMessage ClearVariableMonitoring
CostUpdated CustomerInformation DataTransfer DeleteCertificate GetBaseReport GetChargingProfiles GetCompositeSchedule GetDisplayMessages
GetInstalledCertificateIds GetLocalListVersion GetLog GetMonitoringReport GetReport GetTransactionStatus GetVariables InstallCertificate
PublishFirmware RequestStartTransaction RequestStopTransaction ReserveNow Reset SendLocalList SetChargingProfile SetDisplayMessage
SetMonitoringBase SetMonitoringLevel SetNetworkProfile SetVariableMonitoring SetVariables TriggerMessage UnlockConnector
UnpublishFirmware UpdateFirmware
"""
FROM_CSMS_21 = (
    FROM_CSMS_201
    + """
AFRRSignal AdjustPeriodicEventStream ChangeTransactionTariff ClearDERControl ClearTariffs GetDERControl GetPeriodicEventStream
GetTariffs NotifyAllowedEnergyTransfer NotifyWebPaymentStarted RequestBatterySwap SetDERControl SetDefaultTariff UpdateDynamicSchedule
UsePriorityCharging
"""
)
FROM_CSMS = {"1.6": FROM_CSMS_16, "2.0.1": FROM_CSMS_201, "2.1": FROM_CSMS_21}


def names_of_schemas(version: str) -> set[str]:
    """The actions for which the schemas have a message."""
    stems = (
        entry.name.removesuffix(".json") for entry in (files("ocpp") / FOLDERS[version] / "schemas").iterdir() if entry.name[0] != "_"
    )
    return {stem.removesuffix("Request").removesuffix("Response") for stem in stems}


@pytest.mark.parametrize(("version", "count"), [("1.6", 39), ("2.0.1", 64), ("2.1", 91)])
def test_the_catalogue_has_exactly_the_actions_of_the_schemas(version, count):
    assert set(actions(version)) == names_of_schemas(version)
    assert len(actions(version)) == count


@pytest.mark.parametrize("version", FOLDERS)
def test_every_action_has_its_senders_and_the_tables_name_no_other(version):
    from_charger = {name for name, action in actions(version).items() if action.from_charger}
    from_csms = {name for name, action in actions(version).items() if action.from_csms}
    assert from_charger == FROM_CHARGER[version]
    assert from_csms == set(FROM_CSMS[version].split())
    assert from_charger & from_csms == FROM_BOTH


def test_only_the_periodic_event_stream_of_2_1_is_sent_without_an_answer():
    sent = {(version, name) for version in FOLDERS for name, action in actions(version).items() if action.send}
    assert sent == {("2.1", name) for name in SENT}
    action = actions("2.1")["NotifyPeriodicEventStream"]
    assert (action.response, action.decode_response) == (None, None)
    stream = action.decode_request(b'{"id":1,"pending":0,"basetime":"2025-01-01T00:00:00Z","data":[{"t":0,"v":"230.4"}]}')
    assert isinstance(stream, v21.NotifyPeriodicEventStream)


def test_the_catalogue_is_built_once_per_version():
    assert actions("1.6") is actions("1.6")


def test_a_version_nobody_speaks_is_a_key_error():
    with pytest.raises(KeyError):
        actions("2.0")


def test_a_payload_decodes_from_bytes_and_from_raw_json():
    decode = actions("1.6")["Authorize"].decode_request
    expected = v16.AuthorizeRequest(idTag="04A2")
    assert decode(b'{"idTag":"04A2"}') == expected
    assert decode(Raw(b'{"idTag":"04A2"}')) == expected


# (version, action, payload, words of msgspec, code): a msgspec that speaks otherwise fails here.
FAULTS = [
    ("1.6", "Authorize", b"{}", "Object missing required field", "OccurenceConstraintViolation"),
    ("1.6", "Authorize", b'{"idTag":"x","more":1}', "Object contains unknown field", "FormationViolation"),
    ("1.6", "Authorize", b'{"idTag":"123456789012345678901"}', "Expected `str` of length", "PropertyConstraintViolation"),
    ("1.6", "Authorize", b'{"idTag":12}', "Expected `", "TypeConstraintViolation"),
    ("1.6", "Authorize", b'{"idTag":null}', "Expected `", "TypeConstraintViolation"),
    ("1.6", "Authorize", b"[]", "Expected `object`, got", "FormationViolation"),
    ("1.6", "Authorize", b"{", "Input data was truncated", "FormationViolation"),
    ("1.6", "Authorize", b"{'idTag':1}", "JSON is malformed", "FormationViolation"),
    ("1.6", "Authorize", b'{"idTag":"\\ud800"}', "Input data was truncated", "FormationViolation"),
    ("1.6", "Reset", b'{"type":"Firm"}', "Invalid enum value", "PropertyConstraintViolation"),
    ("1.6", "StopTransaction", b'{"transactionId":1.0,"meterStop":1,"timestamp":""}', "Expected `", "TypeConstraintViolation"),
    ("1.6", "StopTransaction", b'{"transactionId":' + b"1" * 5000 + b"}", "Integer value out of range", "PropertyConstraintViolation"),
    ("1.6", "MeterValues", b'{"connectorId":1,"meterValue":[]}', "Expected `array` of length", "OccurenceConstraintViolation"),
    (
        "1.6",
        "SetChargingProfile",
        b'{"connectorId":1,"csChargingProfiles":{"chargingSchedule":{"chargingSchedulePeriod":[{"startPeriod":0,"limit":4.11}]}}}',
        "Expected a multiple of",
        "PropertyConstraintViolation",
    ),
    ("2.0.1", "Heartbeat", b'{"more":1}', "Object contains unknown field", "FormatViolation"),
    ("2.0.1", "TransactionEvent", b"{}", "Object missing required field", "OccurrenceConstraintViolation"),
    ("2.0.1", "CostUpdated", b'{"totalCost":1e999,"transactionId":"1"}', "Number out of range", "PropertyConstraintViolation"),
    (
        "2.0.1",
        "NotifyEVChargingNeeds",
        b'{"evseId":1,"chargingNeeds":{"dcChargingParameters":{"stateOfCharge":101}}}',
        "Expected `int` <",
        "PropertyConstraintViolation",
    ),
    ("2.1", "BatterySwap", b'{"batteryData":[{"soC":100.5}]}', "Expected `float` <", "PropertyConstraintViolation"),
    ("2.1", "BatterySwap", b'{"batteryData":[{"soC":-1}]}', "Expected `float` >", "PropertyConstraintViolation"),
    ("2.1", "SetMonitoringLevel", b'{"severity":-1}', "Expected `int` >", "PropertyConstraintViolation"),
    ("2.1", "GetVariables", b'{"getVariableData":[]}', "Expected `array` of length", "OccurrenceConstraintViolation"),
]


@pytest.mark.parametrize(("version", "name", "payload", "words", "code"), FAULTS)
def test_a_complaint_of_the_decoder_becomes_the_error_code_of_the_version(version, name, payload, words, code):
    with pytest.raises(DECODE_FAULTS) as caught:
        actions(version)[name].decode_request(payload)
    assert str(caught.value).startswith(words)
    assert fault_of(caught.value, version) == code


@pytest.mark.parametrize(
    "payload",
    [b'{"vendorId":"\xff"}', b'{"vendorId":"x","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    ids=["not UTF-8", "nested too deeply"],
)
def test_bytes_that_are_no_text_and_bottomless_nesting_are_faults_of_format(payload):
    with pytest.raises(DECODE_FAULTS) as caught:
        actions("2.1")["DataTransfer"].decode_request(payload)
    assert fault_of(caught.value, "2.1") == "FormatViolation"


def test_every_row_of_the_table_of_words_is_met_by_a_real_complaint():
    assert {words for words, _ in _FAULTS} <= {words for *_, words, _ in FAULTS}
