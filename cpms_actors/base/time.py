"""Moments are integers: milliseconds since 1970-01-01T00:00:00Z, UTC. Rules get `now`; only shells read a clock."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import floor

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def parse_rfc3339(text: str) -> int | None:
    """Milliseconds of an RFC 3339 timestamp; None when it is none.

    Tolerant where chargers are sloppy: a missing zone is UTC (OCPP 1.6 section 3.12 recommends UTC), any fraction is cut to ms.
    """
    length = len(text)
    if length == 20:  # as 2026-01-31T12:00:00Z
        return _parse_second(text)
    if length == 24 and text[23] == "Z" and text[19] == "." and text[16] == ":" and text[20:23].isdigit() and text.isascii():
        second = _parse_second(f"{text[:19]}Z")
        return None if second is None else second + int(text[20:23])
    return _parse(text)


def _parse(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return floor((moment - EPOCH).total_seconds() * 1000 + 0.0005)  # a double holds the ms of any year with three decimals to spare
    except OverflowError:
        return None


_parse_second = lru_cache(maxsize=1024)(_parse)  # a busy fleet says the same few seconds again and again


def format_rfc3339(moment_ms: int) -> str:
    """The moment as `2026-01-31T12:00:00.000Z`."""
    second, milli = divmod(moment_ms, 1000)
    return f"{_second(second)}.{milli:03d}Z"


@lru_cache(maxsize=64)  # every answer of a second spells the same second
def _second(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


def to_datetime(moment_ms: int) -> datetime:
    """The moment as an aware datetime in UTC (what asyncpg wants for timestamptz)."""
    return EPOCH + timedelta(milliseconds=moment_ms)


def from_datetime(moment: datetime) -> int:
    """Milliseconds of an aware datetime."""
    return (moment - EPOCH) // _MS
