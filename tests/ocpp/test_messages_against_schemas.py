"""Our typed decoders and the JSON schemas agree on what is a valid message: for every request and response of the three versions.

The oracle is the validator of the PyPI package `ocpp` over the schemas it ships. Two ways of asking: every field of every message in
turn gets each of a list of awkward values (nothing of the schemas is left out), and Hypothesis makes whole messages, good and
damaged. Where the two disagree on purpose is a table at the end.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from ocpp.messages import MessageType, get_validator

from cpms_actors.ocpp.catalogue import DECODE_FAULTS, actions

VERSIONS = ("1.6", "2.0.1", "2.1")
# For these the package reads numbers as decimals, because of `multipleOf`.
DECIMALS = {("1.6", "SetChargingProfileRequest"), ("1.6", "RemoteStartTransactionRequest"), ("1.6", "GetCompositeScheduleResponse")}


class Case:
    """One message: the schema, the oracle's verdict on a text, and ours."""

    def __init__(self, version: str, name: str, decode: Callable[[bytes], Any]) -> None:
        self.version, self.name, self.decode = version, name, decode
        self.decimals = (version, name) in DECIMALS
        self.validator = validator_of(version, name, self.decimals)
        self.schema = self.validator.schema

    def __repr__(self) -> str:
        return f"{self.version} {self.name}"

    def oracle_accepts(self, text: str) -> bool | None:
        """None: the oracle has no verdict (its decimals cannot divide a number that great)."""
        payload = json.loads(text)
        if self.decimals:
            payload = json.loads(json.dumps(payload), parse_float=Decimal)
        try:
            return self.validator.is_valid(payload)
        except InvalidOperation:
            return None

    def we_accept(self, text: str) -> bool:
        try:
            self.decode(text.encode())
        except DECODE_FAULTS:
            return False
        return True

    def judge(self, text: str) -> None:
        """Fail when the two disagree."""
        verdict = self.oracle_accepts(text)
        assert verdict is None or self.we_accept(text) == verdict, f"{self}: the schema says {verdict} of {text[:1000]}"


def validator_of(version: str, name: str, decimals: bool) -> Draft4Validator:
    if name == "NotifyPeriodicEventStream":  # a SEND: the package does not look for its schema
        return Draft4Validator(json.loads((files("ocpp") / f"v21/schemas/{name}.json").read_text(encoding="utf-8-sig")))
    kind = MessageType.CallResult if name.endswith("Response") else MessageType.Call
    action = name.removesuffix("Response").removesuffix("Request")
    return get_validator(kind, action, version, parse_float=Decimal if decimals else float)


def cases(version: str) -> Iterator[Case]:
    for action in actions(version).values():
        yield Case(version, action.request.__name__, action.decode_request)
        if action.response is not None:
            yield Case(version, action.response.__name__, action.decode_response)


CASES = [case for version in VERSIONS for case in cases(version)]


# --- every field of every message -----------------------------------------------------------------------------------------------

Path = tuple[str | int, ...]
AWKWARD = [None, True, 0, 1.5, "", "1", [], {}]
AWKWARD_NUMBERS = [False, 1.0, -0.0, -1, 4.1, 4.11, 21.4, 1e22, 2**63 - 1, -(2**63)]
GREAT_NUMBERS = [2**63, -(2**63) - 1, 10**25]  # an integer of ours has 64 bits: see the differences at the end


def resolve(schema: Any, root: Any) -> Any:
    return root["definitions"][schema["$ref"].removeprefix("#/definitions/")] if "$ref" in schema else schema


def least(schema: Any, root: Any) -> Any:
    """The smallest valid instance."""
    schema = resolve(schema, root)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: least(schema["properties"][name], root) for name in schema.get("required", ())}
        case "array":
            return [least(schema["items"], root)] * schema.get("minItems", 0)
        case "integer" | "number":
            return int(schema.get("minimum", schema.get("maximum", 7)))
        case "boolean":
            return True
    return "w"[: schema.get("maxLength", 1)]


def places(root: Any, described: set[str]) -> Iterator[tuple[Path, Any]]:
    """Each field and element with its schema; what is inside a definition only where that content is met first (`described`)."""

    def walk(schema: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        schema, shared = resolve(schema, root), "$ref" in schema
        yield path, schema
        if shared:
            content = json.dumps(schema)
            if content in described:
                return
            described.add(content)
        for name, field in schema.get("properties", {}).items():
            yield from walk(field, (*path, name))
        if "items" in schema:
            yield from walk(schema["items"], (*path, 0))

    yield from walk(root, ())


def with_value(schema: Any, root: Any, path: Path, value: Any) -> Any:
    """The smallest instance that has this value at the path."""
    if not path:
        return value
    schema = resolve(schema, root)
    step, *rest = path
    whole = least(schema, root)
    if isinstance(step, str):
        return whole | {step: with_value(schema["properties"][step], root, tuple(rest), value)}
    return [with_value(schema["items"], root, tuple(rest), value), *whole[1:]]


def values_for(schema: Any, root: Any) -> Iterator[Any]:
    """Values on both sides of whatever the schema demands."""
    good = least(schema, root)
    yield good
    yield from AWKWARD
    match schema.get("type"):
        case "object":
            yield good | {"unheardOf": 1}
            for name in schema.get("required", ()):
                yield {key: value for key, value in good.items() if key != name}
            yield {name: least(field, root) for name, field in schema.get("properties", {}).items()}
        case "array":
            element = least(schema["items"], root)
            bounds = [schema.get("minItems", 0), schema.get("maxItems", 3)]
            yield from ([element] * (bound + more) for bound in bounds for more in (-1, 0, 1))
        case "string":
            yield from ("\0", "not in any enumeration", *schema.get("enum", ()))
            if "maxLength" in schema:  # counted in code points
                yield from (letter * schema["maxLength"] for letter in ("é", "😀", "e\u0301"))
                yield "a" * (schema["maxLength"] + 1)
        case "integer" | "number":
            yield from AWKWARD_NUMBERS
            if schema["type"] == "number":
                yield from GREAT_NUMBERS
            for bound in (schema[key] for key in ("minimum", "maximum") if key in schema):
                yield from (int(bound) - 1, int(bound), int(bound) + 1, bound - 0.5, bound + 0.5)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_every_message_is_judged_as_the_schema_judges_it(version):
    described: set[str] = set()
    for case in (case for case in CASES if case.version == version):
        for path, schema in places(case.schema, described):
            for value in values_for(schema, case.schema):
                case.judge(json.dumps(with_value(case.schema, case.schema, path, value)))


# --- whole messages, good and damaged --------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def valid(draw: st.DrawFn, schema: Any, root: Any, depth: int = 0) -> Any:
    """An instance the schema allows. The deeper, the fewer of the optional fields."""
    schema = resolve(schema, root)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            chosen = [name for name in schema.get("properties", {}) if name in required or draw(st.integers(0, 2 + depth)) == 0]
            return {name: draw(valid(schema["properties"][name], root, depth + 1)) for name in chosen}
        case "array":
            least_count = schema.get("minItems", 0)
            count = draw(st.integers(least_count, max(least_count, min(schema.get("maxItems", 3), 3 - depth // 2))))
            return [draw(valid(schema["items"], root, depth + 1)) for _ in range(count)]
        case "string":
            return draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=min(schema.get("maxLength", 60), 60)))
        case "integer":
            return draw(st.integers(int(schema.get("minimum", -(2**63))), int(schema.get("maximum", 2**63 - 1))))
        case "number":
            if "multipleOf" in schema:
                return draw(st.integers(-(10**6), 10**6)) / 10
            return draw(st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False))
        case "boolean":
            return draw(st.booleans())
    return draw(JSON_VALUES)


def damage(draw: st.DrawFn, instance: Any) -> Any:
    """The instance with one thing changed somewhere: a key dropped or added, an element dropped or doubled, a value replaced."""
    if isinstance(instance, dict) and instance and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(instance)))
        return instance | {name: damage(draw, instance[name])}
    if isinstance(instance, list) and instance and draw(st.integers(0, 3)):
        return [damage(draw, instance[0]), *instance[1:]]
    ways: list[Any] = [draw(JSON_VALUES)]
    match instance:
        case dict():
            ways.append(instance | {draw(TEXT): 1})
            if instance:
                dropped = draw(st.sampled_from(sorted(instance)))
                ways.append({name: value for name, value in instance.items() if name != dropped})
        case list():
            ways += [instance[1:], instance * 2]
        case str():
            ways += [instance + draw(TEXT), instance * 400]
        case int() | float():
            ways += [-instance, str(instance), int(instance), instance + 0.5 if abs(instance) < 1e300 else 0.5]
    return draw(st.sampled_from(ways))


@pytest.mark.parametrize("case", CASES, ids=repr)
@settings(max_examples=6, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whole_messages_are_judged_as_the_schema_judges_them(case, data):
    instance = data.draw(valid(case.schema, case.schema))
    text = json.dumps(instance)
    assert case.oracle_accepts(text) in (True, None)
    message = case.decode(text.encode())
    assert case.decode(msgspec.json.encode(message)) == message, "what we encode, we decode"
    assert case.oracle_accepts(msgspec.json.encode(message).decode()) in (True, None), "what we encode is valid"
    case.judge(json.dumps(damage(data.draw, instance), ensure_ascii=data.draw(st.booleans())))


# --- where we differ, and why ----------------------------------------------------------------------------------------------------

# (message, text, what the oracle says, why we refuse it)
DIFFERENCES = [
    ("1.6 AuthorizeRequest", '{"idTag":"\\ud800"}', True, "a lone surrogate is no Unicode and has no UTF-8 (RFC 8259, 8.2)"),
    ("1.6 AuthorizeRequest", '{"idTag":1,"idTag":"04A2"}', True, "a doubled key: the oracle sees the last only, we check both"),
    (
        "2.0.1 CostUpdatedRequest",
        '{"totalCost":1e999,"transactionId":"1"}',
        True,
        "no float: the oracle makes it infinite",
    ),
    (
        "2.0.1 CostUpdatedRequest",
        '{"totalCost":NaN,"transactionId":"1"}',
        True,
        "no JSON (RFC 8259, 6): Python takes it",
    ),
    ("2.0.1 ClearDisplayMessageRequest", '{"id":9223372036854775808}', True, "no 64 bits: the journal and the database hold no more"),
    ("2.0.1 ClearDisplayMessageRequest", '{"id":-9223372036854775809}', True, "no 64 bits, negative: likewise"),
    ("2.0.1 ClearDisplayMessageRequest", '{"id":%s}' % ("1" * 5000), ValueError, "beyond 4300 digits Python's integers refuse"),
]


@pytest.mark.parametrize(("message", "text", "verdict", "why"), DIFFERENCES, ids=[why.split(":")[0] for *_, why in DIFFERENCES])
def test_we_refuse_what_the_oracle_takes_only_for_a_reason(message, text, verdict, why):
    case = next(case for case in CASES if repr(case) == message)
    if verdict is ValueError:
        with pytest.raises(ValueError, match="4300 digits"):
            case.oracle_accepts(text)
    else:
        assert case.oracle_accepts(text) is verdict
    assert not case.we_accept(text), why


@pytest.mark.parametrize("version", VERSIONS)
def test_no_integer_of_any_message_is_greater_than_what_the_journal_and_the_database_hold(version):
    described: set[str] = set()
    for case in (case for case in CASES if case.version == version):
        for path, schema in places(case.schema, described):
            for value in GREAT_NUMBERS if schema.get("type") == "integer" else ():
                text = json.dumps(with_value(case.schema, case.schema, path, value))
                assert not case.we_accept(text), f"{case}: {text[:1000]}"
