"""Writes `messages/v16.py`, `v201.py` and `v21.py` from the JSON schemas that the PyPI package `ocpp` ships.

    python -m cpms_actors.ocpp.generate            writes the modules
    python -m cpms_actors.ocpp.generate --check    exits 1 with a sentence when what is checked in differs

One pass over the schemas of a version gathers what the module will define, each thing once: enumerations, parts (nested objects) and
messages. In 2.x the schemas name their definitions; 1.6 nests them without a name, so the names of the specification are a table
here. Two things of one name that differ in content keep apart: the later is prefixed with its message (`StopTransactionMeterValue`).
A keyword that the generator does not understand stops it, so that no rule of a later release can be dropped unnoticed.

One rule is ours: an integer that the schema leaves unbounded is bounded by what the journal and the database can hold, 64 bits.

For development only: neither the schemas nor `ocpp` are needed to run.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version as package_version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from cpms_actors.ocpp.messages.fields import INT64_MAX, INT64_MIN

Schema: TypeAlias = Mapping[str, Any]
Thing = TypeVar("Thing")

VERSIONS: Final = {"v16": "1.6", "v201": "2.0.1", "v21": "2.1"}
"""The folder of the schemas, which is also the module's name, and the version of OCPP it speaks of."""

LINE_LENGTH: Final = 136  # as in pyproject.toml: the formatter finds nothing to change

ENUMS_OF_16: Final = {
    "AuthorizationStatus": ("IdTagInfo.status",),
    "AvailabilityStatus": ("ChangeAvailabilityResponse.status",),
    "AvailabilityType": ("ChangeAvailabilityRequest.type",),
    "CancelReservationStatus": ("CancelReservationResponse.status",),
    "ChargePointErrorCode": ("StatusNotificationRequest.errorCode",),
    "ChargePointStatus": ("StatusNotificationRequest.status",),
    "ChargingProfileKindType": ("ChargingProfile.chargingProfileKind",),
    "ChargingProfilePurposeType": ("ChargingProfile.chargingProfilePurpose", "ClearChargingProfileRequest.chargingProfilePurpose"),
    "ChargingProfileStatus": ("SetChargingProfileResponse.status",),
    "ChargingRateUnitType": ("ChargingSchedule.chargingRateUnit", "GetCompositeScheduleRequest.chargingRateUnit"),
    "ClearCacheStatus": ("ClearCacheResponse.status",),
    "ClearChargingProfileStatus": ("ClearChargingProfileResponse.status",),
    "ConfigurationStatus": ("ChangeConfigurationResponse.status",),
    "DataTransferStatus": ("DataTransferResponse.status",),
    "DiagnosticsStatus": ("DiagnosticsStatusNotificationRequest.status",),
    "FirmwareStatus": ("FirmwareStatusNotificationRequest.status",),
    "GetCompositeScheduleStatus": ("GetCompositeScheduleResponse.status",),
    "Location": ("SampledValue.location",),
    "Measurand": ("SampledValue.measurand",),
    "MessageTrigger": ("TriggerMessageRequest.requestedMessage",),
    "Phase": ("SampledValue.phase",),
    "ReadingContext": ("SampledValue.context",),
    "Reason": ("StopTransactionRequest.reason",),
    "RecurrencyKindType": ("ChargingProfile.recurrencyKind",),
    "RegistrationStatus": ("BootNotificationResponse.status",),
    "RemoteStartStopStatus": ("RemoteStartTransactionResponse.status", "RemoteStopTransactionResponse.status"),
    "ReservationStatus": ("ReserveNowResponse.status",),
    "ResetStatus": ("ResetResponse.status",),
    "ResetType": ("ResetRequest.type",),
    "TriggerMessageStatus": ("TriggerMessageResponse.status",),
    "UnitOfMeasure": ("SampledValue.unit",),
    "UnlockStatus": ("UnlockConnectorResponse.status",),
    "UpdateStatus": ("SendLocalListResponse.status",),
    "UpdateType": ("SendLocalListRequest.updateType",),
    "ValueFormat": ("SampledValue.format",),
}
"""OCPP 1.6 section 7: the name of each enumeration, and the fields that hold it."""

PARTS_OF_16: Final = {
    "chargingProfile": "ChargingProfile",
    "chargingSchedule": "ChargingSchedule",
    "chargingSchedulePeriod": "ChargingSchedulePeriod",
    "configurationKey": "KeyValue",
    "csChargingProfiles": "ChargingProfile",
    "idTagInfo": "IdTagInfo",
    "localAuthorizationList": "AuthorizationData",
    "meterValue": "MeterValue",
    "sampledValue": "SampledValue",
    "transactionData": "MeterValue",
}
"""OCPP 1.6 section 7: the type of the field of this name."""

_ENUM_OF_FIELD: Final = {field: name for name, fields in ENUMS_OF_16.items() for field in fields}
_BOUND_NAMES: Final = {INT64_MIN: "INT64_MIN", INT64_MAX: "INT64_MAX"}
_FIELD_WORDS: Final = ("DateTime", "INT64_MAX", "INT64_MIN", "Integer", "Maybe", "Message", "OpenMessage", "require_tenths")
_PROSE: Final = {"$schema", "$id", "title", "comment", "description", "javaType", "default", "format", "definitions"}
# Per type: the keywords it may have and what Meta calls them, "" where Meta is not concerned. `additionalProperties` of a string and
# `additionalItems` beside one schema for all items say nothing.
_BOUNDS: Final = {
    "string": {"maxLength": "max_length", "minLength": "min_length", "enum": "", "additionalProperties": ""},
    "integer": {"minimum": "ge", "maximum": "le"},
    "number": {"minimum": "ge", "maximum": "le", "multipleOf": ""},
    "boolean": {},
    "array": {"minItems": "min_length", "maxItems": "max_length", "items": "", "additionalItems": ""},
    "object": {"properties": "", "required": "", "additionalProperties": ""},
}


class Field(NamedTuple):
    name: str
    annotation: str
    required: bool
    tenths: bool  # a multiple of 0.1


class Shape(NamedTuple):
    """One Struct to be: `open` takes keys that are not named."""

    fields: tuple[Field, ...]
    open: bool


class Gathered:
    """What the schemas of one version say, under the names the module will give it."""

    def __init__(self) -> None:
        self.enums: dict[str, tuple[str, ...]] = {}
        self.lengths: set[int] = set()
        self.parts: dict[str, Shape] = {}
        self.messages: dict[str, Shape] = {}
        self._message = ""
        self._definitions: Schema = {}

    def add(self, message: str, schema: Schema) -> None:
        """Take in one message with all that it is made of."""
        self._message, self._definitions = message, schema.get("definitions", {})
        self.messages[message] = self._shape(message, schema)

    def _shape(self, owner: str, schema: Schema) -> Shape:
        _check_keywords(owner, schema)
        required = set(schema.get("required", ()))
        fields = [
            Field(name, self._annotation(owner, name, field), name in required, field.get("multipleOf") == 0.1)
            for name, field in schema.get("properties", {}).items()
        ]
        missing = required - {field.name for field in fields}
        if missing:
            raise SystemExit(f"{owner} requires {sorted(missing)}, which it does not describe: the generator must learn that first.")
        fields.sort(key=lambda field: field.name == "customData")  # seldom sent: the decoder shall look for it last
        return Shape(tuple(fields), schema.get("additionalProperties") is not False)

    def _annotation(self, owner: str, name: str, schema: Schema) -> str:
        if "$ref" in schema:
            owner = name = schema["$ref"].removeprefix("#/definitions/")
            schema = self._definitions[name]
        _check_keywords(f"{owner}.{name}", schema)
        kind = schema.get("type")
        if kind is None:
            return "Any"
        if kind == "object":
            part = name if owner == name else PARTS_OF_16[name]
            return self._once(self.parts, part, self._shape(part, schema))
        if "enum" in schema:
            enum = name if owner == name else _ENUM_OF_FIELD[f"{owner}.{name}"]
            return self._once(self.enums, enum, tuple(schema["enum"]))
        if kind == "array":
            return _annotated(f"tuple[{self._annotation(owner, name, schema['items'])}, ...]", _metas(schema))
        return self._scalar(kind, schema)

    def _scalar(self, kind: str, schema: Schema) -> str:
        if schema.get("format") == "date-time":
            return "DateTime"
        metas = _metas(schema)
        if kind == "integer":
            return _annotated("int", {"ge": INT64_MIN, "le": INT64_MAX} | metas) if metas else "Integer"
        if kind == "string" and metas.keys() == {"max_length"}:
            self.lengths.add(metas["max_length"])
            return f"String{metas['max_length']}"
        return _annotated({"string": "str", "number": "float", "boolean": "bool"}[kind], metas)

    def _once(self, known: dict[str, Thing], name: str, thing: Thing) -> str:
        """The name under which the thing stands in the module: its own, or with its message before it when that is taken."""
        for candidate in (name, f"{self._message.removesuffix('Request')}{name}"):
            if known.setdefault(candidate, thing) == thing:
                return candidate
        raise SystemExit(f"{self._message} has two different {name}.")


def _check_keywords(where: str, schema: Schema) -> None:
    known = _PROSE | _BOUNDS.get(schema.get("type", ""), {}).keys() | {"type"}
    unknown = schema.keys() - known
    if unknown or schema.get("multipleOf", 0.1) != 0.1:
        raise SystemExit(f"{where}: the generator does not understand {sorted(unknown) or 'this multipleOf'} and would drop a rule.")


def _metas(schema: Schema) -> dict[str, int]:
    """The bounds of a schema as Meta spells them. The schemas' bounds are whole numbers, though 2.1 writes 0.0."""
    metas = {}
    for keyword, meta in _BOUNDS[schema["type"]].items():
        if meta and keyword in schema:
            metas[meta] = int(schema[keyword])
            if metas[meta] != schema[keyword]:
                raise SystemExit(f"The generator does not understand the fraction in {keyword} {schema[keyword]}.")
    return metas


def _annotated(inner: str, metas: Mapping[str, int]) -> str:
    if not metas:
        return inner
    bounds = ", ".join(f"{name}={_BOUND_NAMES.get(bound, bound)}" for name, bound in metas.items())
    return f"Annotated[{inner}, Meta({bounds})]"


def _module(version: str, source: str, gathered: Gathered) -> str:
    """The text of one module, as the formatter would leave it."""
    body = [*_aliases(gathered)]
    for name, shape in (*gathered.parts.items(), *gathered.messages.items()):
        body += ["", "", *_struct(name, shape)]
    text = "\n".join(body)
    fields = [name for name in _FIELD_WORDS if re.search(rf"\b{name}\b", text)]
    words = [name for name in ("Annotated", "Any", "Literal", "TypeAlias") if re.search(rf"\b{name}\b", text)]
    made = f"generated from the JSON schemas of {source} by `python -m {__package__}.generate`: do not edit."
    return "\n".join(
        [
            f'"""The messages of OCPP {version}, {made}"""',
            "",
            f"from typing import {', '.join(words)}",
            "",
            "from msgspec import Meta",
            "",
            f"from cpms_actors.ocpp.messages.fields import {', '.join(fields)}",
            "",
            text,
            "",
        ]
    )


def _aliases(gathered: Gathered) -> Iterator[str]:
    for length in sorted(gathered.lengths):
        yield f"String{length}: TypeAlias = Annotated[str, Meta(max_length={length})]"
    yield ""
    for name, words in sorted(gathered.enums.items()):
        quoted = [json.dumps(word, ensure_ascii=False) for word in words]
        line = f"{name}: TypeAlias = Literal[{', '.join(quoted)}]"
        if len(line) <= LINE_LENGTH:
            yield line
        else:
            yield from (f"{name}: TypeAlias = Literal[", *(f"    {word}," for word in quoted), "]")


def _struct(name: str, shape: Shape) -> Iterator[str]:
    yield f"class {name}({'OpenMessage' if shape.open else 'Message'}, frozen=True, kw_only=True):"
    for field in shape.fields:
        if field.required:
            yield f"    {field.name}: {field.annotation}"
        elif field.annotation == "Any":  # null is a value here: the schema allows it
            yield f"    {field.name}: Any = None"
        else:
            yield f"    {field.name}: Maybe[{field.annotation}] = None"
    tenths = [f"self.{field.name}" for field in shape.fields if field.tenths]
    if tenths:
        yield from ("", "    def __post_init__(self) -> None:", f"        require_tenths({', '.join(tenths)})")
    if not shape.fields:
        yield "    pass"


def generate() -> dict[Path, str]:
    """The path of each module and what it should contain."""
    package = files("ocpp")
    source = f"ocpp {package_version('ocpp')}"
    modules = {}
    for folder, version in VERSIONS.items():
        gathered = Gathered()
        schemas = (entry for entry in (package / folder / "schemas").iterdir() if entry.name.endswith(".json"))
        for entry in sorted(schemas, key=lambda entry: entry.name):
            name = entry.name.removesuffix(".json")
            if folder == "v16" and not name.endswith("Response"):
                name += "Request"  # 1.6 calls the file of a request by its action alone
            gathered.add(name, json.loads(entry.read_text(encoding="utf-8-sig")))
        modules[Path(__file__).parent / "messages" / f"{folder}.py"] = _module(version, source, gathered)
    return modules


def main(arguments: list[str]) -> int:
    """Write the modules, or with `--check` compare them; the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m cpms_actors.ocpp.generate [--check]", file=sys.stderr)
        return 2
    modules = generate()
    if not arguments:
        for path, text in modules.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in modules.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if stale:
        print(f"{', '.join(stale)}: not what the installed schemas give. Run python -m {__package__}.generate.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
