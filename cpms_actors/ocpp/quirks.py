"""Reading what a charger meant when what it sent is not what the schema says.

For tenants whose `strictness` is "lenient", and only after the strict decoder has refused: the hot path pays nothing. The payload is
walked beside the type of its message. What can be understood is put right, what cannot is left out where the message does without,
and every change is a `Repair` that keeps the original, so that the caller can park it for an operator. The mended message then goes
through the strict decoder; when it still fails, the first error stands.

A value that cannot be understood takes as little with it as possible: an optional field is left out; a required one takes its object
along; an object in an array is left out while others remain. Two tables bound the guessing: a field whose *absence* means something
(no unit means Wh) takes its object along too, and an identifier is never shortened, for it would become another one.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct, ValidationError, inspect

from cpms_actors.ocpp.catalogue import DECODE_FAULTS, Action, Decode

Mending: TypeAlias = Literal[
    "unknown field dropped",
    "null dropped",
    "field dropped",
    "element dropped",
    "text cut",
    "number to text",
    "text to number",
    "fraction rounded",
    "word for boolean",
    "other spelling",
    "list around one element",
    "empty payload",
]


class Repair(Struct, frozen=True, gc=False):
    """One change: where (a path as msgspec writes it, `$.meterValue[0].timestamp`), what, and the JSON that stood there."""

    path: str
    what: Mending
    original: str


SPELLINGS: Final[Mapping[str, str]] = {
    "hz": "Hertz",
    "celcius": "Celsius",  # the 1.6 schemas' own misspelling; errata sheet v4
    "c": "Celsius",
    "°c": "Celsius",
    "f": "Fahrenheit",
    "°f": "Fahrenheit",
    "%": "Percent",
}
"""Case-folded words that chargers use for a word of an enumeration."""

ABSENCE_MEANS: Final = frozenset(("format", "location", "measurand", "multiplier", "phase", "unit", "unitOfMeasure"))
"""Fields of a sampled value whose absence has a meaning (OCPP 1.6 section 7.43, OCPP 2.x SampledValueType): without one of these that
we cannot read, the value would be taken for another quantity."""

NEVER_CUT: Final = frozenset(
    ("certificate", "certificateChain", "csr", "exiRequest", "idTag", "idToken", "parentIdTag", "signature", "transactionId", "unit")
)
"""Texts that mean something else, or nothing, when they are shortened."""

ROUNDED: Final = frozenset(("meterStart", "meterStop"))
"""Whole numbers (Wh) of which a fraction matters less than the message."""

_INTEGER_DIGITS_MAX: Final = 18  # more counts nothing, and an exponent could ask for gigabytes
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS: Final[Mapping[Any, bool]] = {"true": True, "false": False, "1": True, "0": False, 1: True, 0: False}

_read = msgspec.json.Decoder(float_hook=Decimal).decode  # a Decimal prints as it stood on the wire
_write = msgspec.json.Encoder(decimal_format="number").encode


def decode_lenient(action: Action, payload: bytes | Raw) -> tuple[Any, tuple[Repair, ...]]:
    """The request of an action, mended where the schema refuses it, and every repair; no repairs when nothing was wrong.

    Raises the strict decoder's own error, one of `catalogue.DECODE_FAULTS`, when the message cannot be understood.
    """
    return _decode(action.request, action.decode_request, payload)


def decode_answer_lenient(action: Action, payload: bytes | Raw) -> tuple[Any, tuple[Repair, ...]]:
    """The same for a charger's response to a CALL of ours. TypeError for an action that is never answered."""
    if action.response is None or action.decode_response is None:
        raise TypeError(f"{action.name} is a SEND and has no response")
    return _decode(action.response, action.decode_response, payload)


def _decode(kind: type[Struct], decode: Decode, payload: bytes | Raw) -> tuple[Any, tuple[Repair, ...]]:
    try:
        return decode(payload), ()
    except ValidationError as error:
        refusal = error
    repairs: list[Repair] = []
    try:
        value = _read(payload)
        if value is None or value == []:  # what some serializers make of an object without members
            repairs.append(Repair("$", "empty payload", _json(value)))
            value = {}
        return decode(_write(_mend(_shape(kind), value, _Place("$", "", repairs)))), tuple(repairs)
    except (_Beyond, *DECODE_FAULTS):
        raise refusal from None


class _Beyond(Exception):
    """A value that cannot be understood: whatever holds it does without, or gives up too."""


class _Place(Struct):
    """Where the walk is: the path, the name of the field, and the repairs made so far."""

    path: str
    name: str
    repairs: list[Repair]

    def note(self, what: Mending, original: Any) -> None:
        self.repairs.append(Repair(self.path, what, _json(original)))


@cache
def _shape(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _json(value: Any) -> str:
    return _write(value).decode()


def _mend(shape: inspect.Type, value: Any, place: _Place) -> Any:
    """The value as the shape demands it. Raises _Beyond."""
    mend = _MENDERS.get(type(shape))
    return value if mend is None else mend(shape, value, place)


def _mend_object(shape: inspect.StructType, value: Any, place: _Place) -> Any:
    if not isinstance(value, dict):
        raise _Beyond
    fields = {field.encode_name: field for field in shape.fields}
    mended: dict[str, Any] = {}
    for name, member in value.items():
        here = _Place(f"{place.path}.{name}", name, [])
        if name not in fields:
            if shape.forbid_unknown_fields:
                here.note("unknown field dropped", member)
            else:
                mended[name] = member
        else:
            _mend_field(fields[name], member, mended, here)
        place.repairs += here.repairs
    if any(field.required and name not in mended for name, field in fields.items()):
        raise _Beyond
    return mended


def _mend_field(field: inspect.Field, member: Any, mended: dict[str, Any], here: _Place) -> None:
    if member is None and not field.required and not isinstance(field.type, inspect.AnyType):
        here.note("null dropped", member)
        return
    try:
        mended[here.name] = _mend(field.type, member, here)
    except _Beyond:
        if field.required or here.name in ABSENCE_MEANS:
            raise
        here.repairs.clear()  # of what is dropped, only that
        here.note("field dropped", member)


def _mend_array(shape: inspect.VarTupleType, value: Any, place: _Place) -> Any:
    if isinstance(value, dict):
        place.note("list around one element", value)
        value = [value]
    if not isinstance(value, list):
        raise _Beyond
    mended = []
    for index, element in enumerate(value):
        here = _Place(f"{place.path}[{index}]", place.name, [])
        try:
            mended.append(_mend(shape.item_type, element, here))
        except _Beyond:
            here.repairs.clear()
            here.note("element dropped", element)
        place.repairs += here.repairs
    if (value and not mended) or len(mended) < (shape.min_length or 0):
        raise _Beyond
    return mended


def _mend_text(shape: inspect.StrType, value: Any, place: _Place) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | Decimal):
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        place.note("number to text", value)
    else:
        raise _Beyond
    if shape.max_length is not None and len(text) > shape.max_length:
        if place.name in NEVER_CUT:
            raise _Beyond
        place.note("text cut", value)
        text = text[: shape.max_length]
    return text


def _mend_word(shape: inspect.LiteralType, value: Any, place: _Place) -> Any:
    if value in shape.values:
        return value
    if not isinstance(value, str):
        raise _Beyond
    folded = value.strip().casefold()
    meant = SPELLINGS.get(folded, folded).casefold()
    words = [word for word in shape.values if str(word).casefold() in (folded, meant)]
    if len(words) != 1:
        raise _Beyond
    place.note("other spelling", value)
    return words[0]


def _number(value: Any, place: _Place) -> Decimal:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        place.note("text to number", value)
        return Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Beyond
    return Decimal(value)


def _mend_integer(shape: inspect.IntType, value: Any, place: _Place) -> int:
    whole = value if isinstance(value, int) and not isinstance(value, bool) else _whole(value, place)
    if (shape.ge is not None and whole < shape.ge) or (shape.le is not None and whole > shape.le):
        raise _Beyond
    return whole


def _whole(value: Any, place: _Place) -> int:
    number = _number(value, place)
    if number.adjusted() >= _INTEGER_DIGITS_MAX:
        raise _Beyond
    whole = round(number)
    if whole != number and place.name not in ROUNDED:
        raise _Beyond
    if isinstance(value, Decimal) or whole != number:  # 1.0, from which nothing is lost, is a repair too
        place.note("fraction rounded", value)
    return whole


def _mend_number(shape: inspect.FloatType, value: Any, place: _Place) -> Decimal:
    number = _number(value, place)
    if (shape.ge is not None and number < Decimal(shape.ge)) or (shape.le is not None and number > Decimal(shape.le)):
        raise _Beyond
    return number


def _mend_boolean(_shape: inspect.BoolType, value: Any, place: _Place) -> bool:
    if isinstance(value, bool):
        return value
    key = value.strip().casefold() if isinstance(value, str) else value
    if not isinstance(key, str | int) or key not in _BOOLEANS:
        raise _Beyond
    place.note("word for boolean", value)
    return _BOOLEANS[key]


_MENDERS: Final[Mapping[type[inspect.Type], Callable[[Any, Any, _Place], Any]]] = {
    inspect.StructType: _mend_object,
    inspect.VarTupleType: _mend_array,
    inspect.StrType: _mend_text,
    inspect.LiteralType: _mend_word,
    inspect.IntType: _mend_integer,
    inspect.FloatType: _mend_number,
    inspect.BoolType: _mend_boolean,
}
"""How each kind of value is mended; what is not here (DataTransfer's `data`) may be anything."""
