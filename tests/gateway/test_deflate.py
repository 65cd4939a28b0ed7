"""permessage-deflate without context takeover, without a socket."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.gateway.deflate import BadMessage, Deflate, negotiate

TAIL = b"\x00\x00\xff\xff"
BASE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def peer_deflates(message: bytes, window_bits: int = 15) -> bytes:
    stream = zlib.compressobj(wbits=-window_bits)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


@given(st.binary(max_size=5000), st.sampled_from([None, 9, 10, 12, 15]))
def test_a_peer_reads_what_we_compress(message: bytes, window_bits: int | None) -> None:
    payload = Deflate(window_bits).compress(message)
    assert zlib.decompressobj(-(window_bits or 15)).decompress(payload + TAIL) == message


@given(st.binary(max_size=5000), st.sampled_from([9, 12, 15]))
def test_we_read_what_a_peer_compresses(message: bytes, window_bits: int) -> None:
    assert Deflate(None).inflate(peer_deflates(message, window_bits), 5000) == message


def test_messages_do_not_depend_on_each_other() -> None:
    codec = Deflate(None)
    assert codec.compress(b"x" * 1000) == codec.compress(b"x" * 1000)


@pytest.mark.parametrize(("size", "accepted"), [(999, True), (1000, True), (1001, False), (10_000_000, False)])
def test_inflation_stops_at_the_limit(size: int, accepted: bool) -> None:
    payload = peer_deflates(b"\0" * size)
    if accepted:
        assert len(Deflate(None).inflate(payload, 1000)) == size
    else:
        with pytest.raises(BadMessage) as caught:
            Deflate(None).inflate(payload, 1000)
        assert caught.value.code == 1009


def test_a_bomb_costs_no_memory() -> None:
    payload = peer_deflates(b"\0" * 50_000_000)
    tracemalloc.start()
    with pytest.raises(BadMessage):
        Deflate(None).inflate(payload, 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(min_size=1, max_size=50))
def test_garbage_is_bad_data_or_some_message(payload: bytes) -> None:
    code = None
    try:
        Deflate(None).inflate(payload, 100_000)
    except BadMessage as bad:
        code = bad.code
    assert code in (None, 1007)


@pytest.mark.parametrize(
    ("offers", "agreement"),
    [
        (None, None),
        ("", None),
        ("permessage-deflate", BASE),
        ("permessage-deflate; client_max_window_bits", BASE),
        ("permessage-deflate;client_max_window_bits=10;server_max_window_bits=10", BASE + "; server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=15", BASE + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-deflate; server_max_window_bits=09", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_no_context_takeover=true", None),
        ("permessage-deflate; x", None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BASE),
        ("other, permessage-deflate", BASE),
        ("Permessage-Deflate", None),
    ],
)
def test_an_offer_is_accepted_or_declined(offers: str | None, agreement: str | None) -> None:
    codec = negotiate(offers)
    assert (codec.agreement if codec else None) == agreement


def test_connections_with_the_same_window_share_a_codec() -> None:
    assert negotiate("permessage-deflate") is negotiate("permessage-deflate; client_max_window_bits")


@given(st.text(alphabet='permessage-dflt;=," 189_', max_size=80))
def test_no_offer_raises(offers: str) -> None:
    negotiate(offers)
