"""OCPP-J frames: arrays of JSON, read and written without any state.

    [2, id, action, payload]                     CALL              OCPP-J 1.6 4.2.1, OCPP 2.1 part 4 4.2.1
    [3, id, payload]                             CALLRESULT        4.2.2
    [4, id, code, description, details]          CALLERROR         4.2.3
    [5, id, code, description, details]          CALLRESULTERROR   2.1 only, 4.2.4
    [6, id, action, payload]                     SEND              2.1 only, 4.2.5: never answered

`read` gives one of the Structs below for whatever bytes come; it raises nothing. A payload stays raw JSON until its action is known.
"""

import re
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

ID_LENGTH_MAX: Final = 36  # OCPP-J 1.6 4.1.4, OCPP 2.1 part 4 4.1.4
UNREADABLE_ID: Final = "-1"  # OCPP 2.0.1 part 4 4.2.3: the id of an answer to a CALL whose id cannot be read


class Call(Struct, frozen=True, gc=False):
    """A CALL: to be answered."""

    id: str
    action: str
    payload: Raw


class Send(Struct, frozen=True, gc=False):
    """A SEND (2.1): must not be answered."""

    id: str
    action: str
    payload: Raw


class CallResult(Struct, frozen=True, gc=False):
    """The good answer to a CALL of ours."""

    id: str
    payload: Raw


class CallError(Struct, frozen=True, gc=False):
    """The bad answer to a CALL of ours, or (`about_result`, 2.1) a complaint about a CALLRESULT of ours."""

    id: str
    code: str
    description: str
    details: bytes
    about_result: bool = False


class Unknown(Struct, frozen=True, gc=False):
    """A message type this version does not know: to be ignored (OCPP-J 1.6 4.1.3, OCPP 2.1 part 4 4.4)."""

    kind: int


class Malformed(Struct, frozen=True, gc=False):
    """No frame of OCPP. `id` is that of the CALL when it could be read; None when the text cannot have been a CALL."""

    reason: str
    id: str | None


Frame: TypeAlias = Call | Send | CallResult | CallError | Unknown | Malformed

_read_call = msgspec.json.Decoder(tuple[int, str, str, Raw]).decode
_read_array = msgspec.json.Decoder(list[Raw]).decode
_read_text = msgspec.json.Decoder(str).decode
_read_int = msgspec.json.Decoder(int).decode
_encode = msgspec.json.Encoder().encode
_FAULTS = (msgspec.DecodeError, RecursionError)
# What a CALL must look like at its first bytes for the fast path; anything else takes the careful one.
_CALL_HEAD: Final = b'[2,"'
# The id of a CALL whose rest is broken: whoever sent it waits for an answer.
_BROKEN_CALL: Final = re.compile(rb'\s*\[\s*2\s*,\s*"([ -!#-\[\]-~]{1,36})"\s*,')


def read(text: bytes) -> Frame:
    """The frame in a text message."""
    if text[:4] == _CALL_HEAD:
        try:
            _, id_, action, payload = _read_call(text)
        except _FAULTS:
            return _read_carefully(text)
        return Call(id_, action, payload)
    return _read_carefully(text)


def _read_carefully(text: bytes) -> Frame:
    try:
        parts = _read_array(text)
    except _FAULTS as error:
        head = _BROKEN_CALL.match(text)
        return Malformed(f"not a JSON array: {error}", head[1].decode() if head else UNREADABLE_ID)
    if not parts:
        return Malformed("an empty array", UNREADABLE_ID)
    try:
        kind = _read_int(parts[0])
    except _FAULTS:
        return Malformed("the message type is no integer", UNREADABLE_ID)
    if kind not in _READERS:
        return Unknown(kind)
    wants_answer = kind == 2
    try:
        id_ = _read_text(parts[1])
    except (IndexError, *_FAULTS):
        return Malformed("the message id is missing or no string", UNREADABLE_ID if wants_answer else None)
    try:
        return _READERS[kind](id_, parts)
    except (IndexError, ValueError, *_FAULTS):
        return Malformed("wrong number or types of elements", id_ if wants_answer else None)


def _call(id_: str, parts: list[Raw]) -> Frame:
    _, _, action, payload = parts
    return Call(id_, _read_text(action), payload)


def _send(id_: str, parts: list[Raw]) -> Frame:
    _, _, action, payload = parts
    return Send(id_, _read_text(action), payload)


def _result(id_: str, parts: list[Raw]) -> Frame:
    _, _, payload = parts
    return CallResult(id_, payload)


def _error(id_: str, parts: list[Raw]) -> Frame:
    # Chargers leave out what they think optional: description and details are not worth losing an answer for.
    description = _read_text(parts[3]) if len(parts) > 3 else ""
    details = bytes(parts[4]) if len(parts) > 4 else b"{}"
    return CallError(id_, _read_text(parts[2]), description, details, about_result=_read_int(parts[0]) == 5)


_READERS: Final = {2: _call, 3: _result, 4: _error, 5: _error, 6: _send}


def call(id_: str, action: str, payload: Any) -> bytes:
    """A CALL; the payload is a typed request, or Raw JSON."""
    return _encode((2, id_, action, payload))


def result(id_: str, payload: Any) -> bytes:
    """A CALLRESULT; the payload is a typed response."""
    return _encode((3, id_, payload))


def error(id_: str, code: str, description: str = "") -> bytes:
    """A CALLERROR; the description is cut to the 255 characters the specification allows."""
    return _encode((4, id_, code, description[:255], {}))


def result_error(id_: str, code: str, description: str = "") -> bytes:
    """A CALLRESULTERROR (2.1 only)."""
    return _encode((5, id_, code, description[:255], {}))
