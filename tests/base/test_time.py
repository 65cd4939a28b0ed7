"""Moments: `cpms_actors.base.time`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.time import EPOCH, _parse, format_rfc3339, from_datetime, parse_rfc3339, to_datetime

TEXTS = [
    # what a charger sends, milliseconds since the epoch
    ("1970-01-01T00:00:00Z", 0),
    ("2026-01-31T12:00:00Z", 1769860800000),
    ("2026-01-31T12:00:00.5Z", 1769860800500),
    ("2026-01-31T12:00:00.123456789Z", 1769860800123),  # a fraction is cut, not rounded
    ("2026-01-31T12:00:00.9999999Z", 1769860800999),
    ("2026-01-31T13:00:00+01:00", 1769860800000),
    ("2026-01-31T06:30:00-05:30", 1769860800000),
    ("2026-01-31T12:00:00", 1769860800000),  # no zone: UTC
    ("2026-01-31 12:00:00Z", 1769860800000),
    ("1969-12-31T23:59:59.999Z", -1),
    ("", None),
    ("null", None),
    ("2026-13-01T00:00:00Z", None),
    ("2026-02-30T00:00:00Z", None),
    ("1769860800", None),
    ("yesterday", None),
]


@pytest.mark.parametrize(("text", "moment"), TEXTS)
def test_a_timestamp_is_a_moment_in_utc(text: str, moment: int | None) -> None:
    assert parse_rfc3339(text) == moment


MOMENTS = st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999)  # years 1 to 9999


@given(MOMENTS)
def test_a_moment_comes_back_from_its_text_and_its_datetime(moment: int) -> None:
    assert from_datetime(to_datetime(moment)) == moment
    if moment >= 0:
        assert parse_rfc3339(format_rfc3339(moment)) == moment


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_raise(text: str) -> None:
    assert parse_rfc3339(text) is None or isinstance(parse_rfc3339(text), int)


@given(st.from_regex(r"[0-9]{4}-?[0-9W]{2}-?[0-9]{2}[T ][0-2][0-9]:?[0-5][0-9]:?[0-6][0-9][.,:0-9]{0,4}(Z|\+01:00|)", fullmatch=True))
def test_the_short_ways_for_what_is_common_change_nothing(text: str) -> None:
    assert parse_rfc3339(text) == _parse(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_the_edges_of_the_calendar_do_not_raise(text: str) -> None:
    parse_rfc3339(text)


def test_the_text_has_three_digits_of_a_second_and_a_z() -> None:
    assert format_rfc3339(7) == "1970-01-01T00:00:00.007Z"
    assert EPOCH.isoformat() == "1970-01-01T00:00:00+00:00"
