"""Credentials, and the words of the journal on the wire: `cpms_actors.domain.access` and `.events`."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.domain import events
from cpms_actors.domain.access import credential_digest, credential_matches
from cpms_actors.domain.events import PAGE_DECODER, Event, Fact, Page

KEY = b"k" * 32
KEYS = st.binary(min_size=1, max_size=64)


@given(KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_the_password_that_was_stored_is_the_one_that_matches(key: bytes, password: str) -> None:
    stored = credential_digest(key, password)
    assert len(stored) == 32
    assert credential_matches(key, stored, password)
    assert not credential_matches(key, stored, password + "x")
    assert not credential_matches(key + b"x" if len(key) < 64 else b"x", stored, password)


def test_a_charger_without_a_password_matches_none() -> None:
    assert not credential_matches(KEY, None, "")


@given(st.binary(min_size=16, max_size=20))
def test_a_key_in_hex_is_the_key(raw: bytes) -> None:
    """The white paper lets the 16 to 20 bytes arrive as up to 40 hex digits (A00.FR.205), in either case."""
    stored = credential_digest(KEY, raw.hex())
    assert credential_matches(KEY, stored, raw.hex().upper())
    try:
        plain = raw.decode()
    except UnicodeDecodeError:
        return
    assert credential_matches(KEY, stored, plain)


HEX = [
    # password, whether it is taken as hex digits
    ("0123456789abcdef0123456789abcdef", True),
    ("0123456789ABCDEF0123456789ABCDEF01234567", True),
    ("0123456789abcdef0123456789abcde", False),  # half a byte
    ("0123456789abcdef0123456789abcd", False),  # 15 bytes
    ("0123456789abcdef0123456789abcdef0123456789", False),  # 21 bytes
    ("0123456789abcdef0123456789abcdeg", False),
    ("0123456789abcdef0123456789abcdef\n", False),
]


@pytest.mark.parametrize(("password", "hexadecimal"), HEX)
def test_only_16_to_20_bytes_are_hex_digits(password: str, hexadecimal: bool) -> None:
    """Anything else that looks like digits is a password of digits: upper and lower case differ."""
    assert (credential_digest(KEY, password) == credential_digest(KEY, password.swapcase())) is hexadecimal


MOMENTS = st.integers(0, 2**53)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=36)
TOKENS = st.builds(events.IdToken, id=NAMES)
SAMPLES = st.builds(events.Sample, taken_at=MOMENTS, value=st.floats(allow_nan=False, allow_infinity=False), phase=st.none() | NAMES)
MANY = st.lists(SAMPLES, max_size=3).map(tuple)
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(events.Connected, ocpp=st.sampled_from(["1.6", "2.0.1", "2.1"])),
    st.builds(events.Disconnected, code=st.integers(1000, 4999), reason=NAMES),
    st.just(events.Seen()),
    st.builds(events.Booted, vendor=NAMES, model=NAMES, status=NAMES),
    st.builds(events.StatusChanged, evse=st.integers(0, 99), connector=st.integers(0, 9), status=NAMES, at=MOMENTS),
    st.builds(
        events.TransactionStarted, transaction=NAMES, evse=st.just(1), connector=st.just(1), at=MOMENTS, token=TOKENS, samples=MANY
    ),
    st.builds(events.TransactionUpdated, transaction=NAMES, at=MOMENTS, seq=st.none() | st.integers(0, 9), samples=MANY),
    st.builds(events.TransactionEnded, transaction=NAMES, at=MOMENTS, meter_wh=st.none() | MOMENTS, token=st.none() | TOKENS),
    st.builds(events.TransactionLapsed, transaction=NAMES, heard_at=MOMENTS, version=st.integers(0, 9), reason=NAMES),
    st.builds(
        events.TransactionAnswered,
        transaction=NAMES,
        queued=st.booleans(),
        ongoing=st.none() | st.booleans(),
        up_to=st.integers(0, 2**31 - 1),
    ),
    st.builds(events.Metered, evse=st.just(0), connector=st.just(0), samples=MANY),
    st.builds(events.Reported, action=NAMES, payload=st.binary(max_size=50)),
    st.builds(events.Parked, reason=NAMES, detail=NAMES, action=st.none() | NAMES, payload=st.binary(max_size=50)),
)
LINES = st.builds(
    Event,
    slot=st.integers(0, 63),
    epoch=MOMENTS,
    number=MOMENTS,
    tenant=NAMES,
    charger=NAMES,
    connection=MOMENTS,
    message_id=NAMES,
    received_at=MOMENTS,
    body=FACTS,
)


@given(st.builds(Page, writer=NAMES, number=MOMENTS, events=st.lists(LINES, max_size=4).map(tuple)))
def test_a_page_is_read_as_it_was_written(page: Page) -> None:
    assert PAGE_DECODER.decode(msgspec.msgpack.encode(page)) == page


def test_every_word_of_the_journal_has_its_own_short_tag() -> None:
    tags = [kind.__struct_config__.tag for kind in Fact.__args__]
    assert len(set(tags)) == len(tags)
    assert tags == ["conn", "gone", "seen", "boot", "stat", "txb", "txu", "txe", "txl", "txa", "met", "rep", "park"]


def test_a_page_of_an_older_release_is_still_read() -> None:
    """Fields are only ever added at the end, with a default: an array that is too short has the defaults."""
    ended = ["txe", "7", 1000, 5000]
    raw = msgspec.msgpack.encode(["w", 1, [[0, 1, 2, "acme", "CP-1", 3, "m", 4, ended]]])
    assert PAGE_DECODER.decode(raw).events[0].body == events.TransactionEnded("7", 1000, 5000)
