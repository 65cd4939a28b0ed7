"""The generated modules are what the schemas give, and the generator stops rather than drop a rule it does not understand."""

import msgspec
import pytest

from cpms_actors.ocpp import generate
from cpms_actors.ocpp.generate import Gathered
from cpms_actors.ocpp.messages import v16, v21


def test_what_is_checked_in_is_what_the_schemas_give(capsys):
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_the_check_names_the_module_that_differs_and_what_to_do(monkeypatch, capsys):
    given = generate.generate()
    path = next(path for path in given if path.name == "v16.py")
    monkeypatch.setattr(generate, "generate", lambda: given | {path: given[path] + "# stale\n"})
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "v16.py: not what the installed schemas give. Run python -m cpms_actors.ocpp.generate.\n"


def test_generating_writes_every_module(monkeypatch, tmp_path):
    texts = {tmp_path / path.name: text for path, text in generate.generate().items()}
    monkeypatch.setattr(generate, "generate", lambda: texts)
    assert generate.main([]) == 0
    assert {path: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == texts


def test_an_unknown_argument_is_told_the_usage(capsys):
    assert generate.main(["--verify"]) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string", "pattern": "[a-z]+"},
        {"type": "integer", "exclusiveMinimum": True, "minimum": 0},
        {"type": "number", "multipleOf": 0.5},
        {"type": "number", "minimum": 0.5},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    ],
    ids=lambda field: next(name for name in field if name != "type"),
)
def test_a_rule_the_generator_does_not_understand_stops_it(field):
    with pytest.raises(SystemExit, match="does not understand"):
        Gathered().add("NewRequest", {"type": "object", "additionalProperties": False, "properties": {"thing": field}})


def test_a_required_field_without_a_description_stops_the_generator():
    with pytest.raises(SystemExit, match="thing"):
        Gathered().add("NewRequest", {"type": "object", "properties": {}, "required": ["thing"]})


def test_two_definitions_of_one_name_that_differ_keep_apart():
    gathered = Gathered()
    for message, words in (("FirstRequest", ["On"]), ("SecondRequest", ["On", "Off"]), ("ThirdRequest", ["On"])):
        definition = {"SwitchEnumType": {"type": "string", "enum": words}}
        properties = {"switch": {"$ref": "#/definitions/SwitchEnumType"}}
        gathered.add(message, {"definitions": definition, "type": "object", "additionalProperties": False, "properties": properties})
    assert gathered.enums == {"SwitchEnumType": ("On",), "SecondSwitchEnumType": ("On", "Off")}
    assert gathered.messages["ThirdRequest"].fields[0].annotation == "SwitchEnumType"


def test_an_absent_field_reads_as_none_and_none_is_not_written():
    status = msgspec.json.decode(b'{"connectorId":1,"errorCode":"NoError","status":"Available"}', type=v16.StatusNotificationRequest)
    assert status.info is None
    assert msgspec.json.encode(status) == b'{"connectorId":1,"errorCode":"NoError","status":"Available"}'


def test_a_message_cannot_be_changed():
    with pytest.raises(AttributeError):
        v16.AuthorizeRequest(idTag="04A2").idTag = "04A3"


@pytest.mark.parametrize("limit", [16, 21.4, -0.1, 0.3, 1e22, None])
def test_a_multiple_of_a_tenth_is_meant_in_decimal(limit):
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [], "minChargingRate": limit}
    assert v16.ChargingSchedule(**schedule).minChargingRate == limit


@pytest.mark.parametrize("limit", [4.11, 0.05, 21.400000000000002])
def test_what_is_no_multiple_of_a_tenth_is_refused_even_when_built_by_hand(limit):
    with pytest.raises(ValueError, match=r"multiple of 0\.1"):
        v16.ChargingSchedulePeriod(startPeriod=0, limit=limit)


def test_custom_data_may_have_any_keys_beside_its_vendor():
    custom = msgspec.json.decode(b'{"vendorId":"v","any":[1,{"thing":null}]}', type=v21.CustomDataType)
    assert custom == v21.CustomDataType(vendorId="v")


@pytest.mark.parametrize(
    ("bounds", "annotation"),
    [
        ({}, "Integer"),
        ({"minimum": 0}, "Annotated[int, Meta(ge=0, le=INT64_MAX)]"),
        ({"maximum": 0}, "Annotated[int, Meta(ge=INT64_MIN, le=0)]"),
        ({"minimum": 0, "maximum": 3}, "Annotated[int, Meta(ge=0, le=3)]"),
    ],
    ids=str,
)
def test_an_integer_is_bounded_by_64_bits_where_the_schema_does_not_bound_it(bounds, annotation):
    gathered = Gathered()
    gathered.add("NewRequest", {"type": "object", "properties": {"thing": {"type": "integer"} | bounds}})
    assert gathered.messages["NewRequest"].fields[0].annotation == annotation
