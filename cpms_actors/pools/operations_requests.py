"""What is wrong with a request, in a sentence an operator can act on."""

import types
import typing
from typing import Any

import msgspec

from cpms_actors.bus.verbs import Verb
from cpms_actors.bus.verbs_words import PATTERN_SENTENCES

_UNKNOWN_FIELD = "Object contains unknown field `"
_AT = " - at `$."


def explain_invalid(verb: Verb[Any, Any], error: Exception) -> str:
    """The sentence: which field of the verb's request is wrong and what would be right."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return f"the request is no JSON object: {text}"
    what, _, rest = text.partition(_AT)
    field = rest.rstrip("`")
    if what.startswith(_UNKNOWN_FIELD) and not field:
        known = ", ".join(each.encode_name for each in msgspec.structs.fields(verb.request))
        return f"{verb.name} knows no field {what.removeprefix(_UNKNOWN_FIELD).rstrip('`')!r}; it takes {known}"
    where = f"{field}: " if field else ""
    for pattern, sentence in PATTERN_SENTENCES.items():
        if repr(pattern) in what:
            return f"{where}{sentence}"
    words = _words(verb.request, field) if what.startswith("Invalid enum value") else ()
    choice = f"; it is one of {', '.join(words)}" if words else ""
    return f"{where}{what[0].lower()}{what[1:]}{choice}"


def _words(request: type, field: str) -> tuple[str, ...]:
    """The words that a field of the request may be; () when it is not one of the request's own fields, or no choice of words."""
    hints = typing.get_type_hints(request)
    return _literals(hints[field]) if field in hints else ()


def _literals(hint: Any) -> tuple[str, ...]:
    if typing.get_origin(hint) is typing.Literal:
        return tuple(str(word) for word in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(word for member in typing.get_args(hint) for word in _literals(member))
    return ()
