"""Every action that a charger may send, in every version: answered as the schema wants it, and kept."""

import json
from importlib.resources import files
from typing import Any

import pytest
from harness import Bench
from ocpp.messages import CallResult, _validate_payload

from cpms_actors.domain.access import Tenant
from cpms_actors.domain.events import Connected, Parked
from cpms_actors.ocpp.catalogue import FROM_CHARGER, SENT

FOLDERS = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}
MOMENT = "2026-11-23T08:00:00Z"
CASES = [(version, action) for version in FOLDERS for action in sorted(FROM_CHARGER[version])]


def schema_of(version: str, action: str) -> dict[str, Any]:
    name = action if version == "1.6" or action in SENT else f"{action}Request"
    text = files("ocpp").joinpath(FOLDERS[version], "schemas", f"{name}.json").read_text(encoding="utf-8-sig")
    schema: dict[str, Any] = json.loads(text)
    return schema


def smallest(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The smallest value that a schema allows: what is required and no more."""
    if "$ref" in schema:
        return smallest(root["definitions"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: smallest(schema["properties"][name], root) for name in schema.get("required", [])}
        case "array":
            return [smallest(schema["items"], root)] * schema.get("minItems", 0)
        case "string":
            return MOMENT if schema.get("format") == "date-time" else "1"
        case "boolean":
            return False
        case _:
            return int(schema.get("minimum", 1))


@pytest.mark.parametrize(("version", "action"), CASES)
def test_the_smallest_message_is_answered_validly_and_kept(version: str, action: str) -> None:
    """The `ocpp` package's validation is the oracle for the answer."""
    bench = Bench(tenant=Tenant("default", strictness="strict"))
    wire = bench.connect(version)
    bench.now += 60_000  # a heartbeat is kept once a minute
    schema = schema_of(version, action)
    payload = smallest(schema, schema)
    if action in SENT:
        assert wire.say(6, "s", action, payload) is None
    else:
        answer = bench.ask(wire, action, payload)
        assert answer[0] == 3, answer
        _validate_payload(CallResult("1", answer[2], action=action), version)
    kept = [fact for fact in bench.journal.facts() if not isinstance(fact, Connected)]
    assert len(kept) == 1
    assert not isinstance(kept[0], Parked)
