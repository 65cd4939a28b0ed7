"""Logs: structlog, configured once per process, written to stderr.

    caller ──▶ level filter ──▶ traceback ──▶ redact ──▶ add level, time ──▶ render (console or JSON) ──▶ stderr
                 (a no-op method below the level)

The words are few: one event per handled message at debug, one per change of state at info, with `tenant`, `charger` and `message_id`
bound. Formatting an argument costs more than a charger's turn, so code on the path of a frame asks first:

    if logs.debug_on:
        log.debug("handled", tenant=..., charger=..., message_id=..., action=...)

Two promises. A secret is never printed: values under a secret's name, the `value` beside an AuthorizationKey, passwords inside URLs
and JSON text are replaced. And logging is never fatal: a value that cannot be rendered or a stderr that is gone costs the line,
which `dropped()` counts, and nothing else.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from cpms_actors.base.settings import Logs

REDACTED: Final = "[redacted]"
DEPTH_MAX: Final = 6  # nesting of the deepest OCPP payload; what lies deeper is replaced, not walked

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# Parts of a key's name, lower case and without separators, that make its value a secret.
_SECRET_PARTS: Final = ("password", "passwd", "secret", "authorizationkey", "credential", "privatekey", "apikey", "basicauth")
_SECRET_NAMES: Final = frozenset({"authorization", "auth", "cookie", "pwd", "passphrase"})
_VALUES: Final = frozenset({"value", "attributeValue"})
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_HEADER: Final = re.compile(r"(?i)\b((?:authorization\s*[:=]\s*)?(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{4,}")

debug_on: bool = False
"""Whether debug events are wanted. Read it as `logs.debug_on`, never by `from … import`: it changes when `configure` runs."""

_dropped = 0
_configured = 0  # how often


def dropped() -> int:
    """How many lines were lost since the start because stderr would not take them or a value could not be rendered."""
    return _dropped


def get(name: str) -> FilteringBoundLogger:
    """The logger of a part of the program; `name` appears as `part` on each of its lines. Cheap: call it at module level."""
    return cast(FilteringBoundLogger, _Logger(name))


class _Logger:
    """Bound anew when `configure` has run, and not for every line: that takes longer than most of what a line is about."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bound: Any = None
        self._configured = 0

    def __getattr__(self, method: str) -> Any:
        if self._configured != _configured:
            self._bound, self._configured = structlog.get_logger(part=self._name).bind(), _configured
        return getattr(self._bound, method)


def configure(logs: Logs) -> None:
    """Set level and format for this process. Call it once at start, before the first event is logged."""
    global debug_on, _configured
    _configured += 1
    debug_on = logs.level == "debug"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Renderer(logs.format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[logs.level]),
        logger_factory=lambda *_: _STDERR,
        cache_logger_on_first_use=False,  # a logger made at import must obey what `configure` says later
    )


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that replaces secrets, wherever they lie in the event."""
    return {key: _clean(str(key), value, 0) for key, value in event.items()}


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "")
    return plain in _SECRET_NAMES or any(part in plain for part in _SECRET_PARTS)


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value if not _is_secret(key) or isinstance(value, bool | None) else REDACTED
    if _is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return _clean_text(value, depth)
    if isinstance(value, bytes | bytearray | memoryview):
        return _clean_text(bytes(value).decode("utf-8", "replace"), depth)
    if isinstance(value, BaseException):
        return _clean_text(_told(value), depth)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _clean_nested(value, depth + 1)
    return value


def _told(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as another:  # whatever an error's own __str__ raises must not reach who logs it
        return f"{name} (its text cannot be made: {type(another).__name__})"


def _clean_nested(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        return "[deep]"
    if not isinstance(value, Mapping):
        return [_clean("", inner, depth) for inner in value]
    named = _names_secret(value)
    return {k: REDACTED if named and k in _VALUES else _clean(str(k), inner, depth) for k, inner in value.items()}


def _names_secret(value: Mapping[Any, Any]) -> bool:
    """Whether one member names a secret that another carries: `key` and `value` of ChangeConfiguration (OCPP 1.6 section 6.7),
    `variable` and `attributeValue` of SetVariables (OCPP 2.0.1 part 2, SetVariableDataType)."""
    for member in ("key", "variable"):
        name = value.get(member)
        if isinstance(name, Mapping):
            name = name.get("name")
        if isinstance(name, str) and _is_secret(name):
            return True
    return False


def _clean_text(text: str, depth: int) -> str:
    if text[:1] in ("{", "["):
        try:
            return msgspec.json.encode(_clean_nested(msgspec.json.decode(text), depth + 1)).decode()
        except (
            msgspec.DecodeError,
            TypeError,
            UnicodeEncodeError,
        ):  # cut short: what belongs to a secret's name cannot be told
            if _is_secret(text):
                return REDACTED
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return _HEADER.sub(rf"\1{REDACTED}", text)


class _Renderer:
    """The last processor: one line of text, whatever the event holds."""

    def __init__(self, style: str) -> None:
        self._render: Any = (
            structlog.processors.JSONRenderer(default=repr, ensure_ascii=False)
            if style == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        )  # the plain traceback, because the others print local variables, and those hold secrets

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        words = str(event.get("event", ""))
        try:
            return str(self._render(logger, method, event))
        except Exception as error:  # whatever a value's __repr__ raises must cost this line's details, not the caller's turn
            global _dropped
            _dropped += 1
            return f"{method} {words} (its values cannot be printed: {type(error).__name__})"


class _Stderr:
    """Where lines go. Looks `sys.stderr` up at each line, so that who replaces it (a test, a daemon) is obeyed."""

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, a broken pipe, or no stderr at all
            global _dropped
            _dropped += 1

    debug = info = warning = error = critical = fatal = exception = log = msg


_STDERR: Final = _Stderr()

configure(Logs())  # what is logged before the settings are read
