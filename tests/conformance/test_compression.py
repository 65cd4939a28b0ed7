"""permessage-deflate (RFC 7692), without context takeover, told from the wire."""

import zlib

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.conformance.conftest import BINARY, CONTINUATION, LIMITS, PING, PONG, TEXT, Server, Wire, frame

OFFER = "permessage-deflate; client_max_window_bits"
TAIL = b"\x00\x00\xff\xff"


def deflated(message: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


def inflated(payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + TAIL)


def answer(wire: Wire) -> bytes:
    found = wire.frame()
    assert found is not None
    opcode, payload, reserved = found
    assert opcode == TEXT
    return inflated(payload) if reserved == 4 else payload


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (None, None),
        ("permessage-deflate", ""),
        (OFFER, ""),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ""),
        ("permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"),
        ('permessage-deflate; server_max_window_bits="12"; client_max_window_bits=9', "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=7, permessage-deflate", ""),
        ("permessage-deflate; server_max_window_bits=abc", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("x-webkit-deflate-frame, permessage-bzip2; level=9", None),
        ("x-other\r\nsec-websocket-extensions: permessage-deflate", ""),
        (";;,,=;", None),
    ],
)
def test_an_offer_is_accepted_without_context_takeover_or_declined(server: Server, offer: str | None, agreed: str | None) -> None:
    """Declined means: connected without compression."""
    with server.dial(path="/ocpp/CP-1", user="CP-1", extensions=offer) as wire:
        response = wire.response()
        assert response.status == 101
        expected = None if agreed is None else "permessage-deflate; server_no_context_takeover; client_no_context_takeover" + agreed
        assert response.headers.get("sec-websocket-extensions") == expected
        wire.send(frame(TEXT, b"plain"))
        assert answer(wire) == b"plain"


@pytest.mark.parametrize("offer", [OFFER, "permessage-deflate; server_max_window_bits=9"])
def test_compressed_and_plain_texts_may_alternate(server: Server, offer: str) -> None:
    texts = [b"short", b'[2,"1","MeterValues",{}]' * 200, b"", "é€😀".encode() * 100]
    with server.open("CP-1", extensions=offer) as wire:
        for text in texts:
            wire.send(frame(TEXT, deflated(text), rsv=4))
            assert answer(wire) == text
            wire.send(frame(TEXT, text[: LIMITS.frame_bytes // 4 * 4 - 4]))
            assert answer(wire) == text[: LIMITS.frame_bytes // 4 * 4 - 4]


def test_a_compressed_text_may_be_fragmented(server: Server) -> None:
    text = b"0123456789" * 300
    payload = deflated(text)
    with server.open("CP-1", extensions=OFFER) as wire:
        wire.send(frame(TEXT, payload[:5], fin=False, rsv=4), frame(PING, b"?"), frame(CONTINUATION, payload[5:]))
        assert wire.frame() == (PONG, b"?", 0)
        assert answer(wire) == text


def test_a_long_answer_is_compressed(server: Server) -> None:
    with server.open("CP-1", extensions=OFFER) as wire:
        wire.send(frame(TEXT, b"0123456789" * 300))
        found = wire.frame()
        assert found is not None
        assert found[2] == 4
        assert len(found[1]) < 300


@pytest.mark.parametrize(
    ("case", "sent", "code"),
    [
        ("a bomb", [frame(TEXT, deflated(b"\0" * 1_000_000), rsv=4)], 1009),
        ("one byte too many", [frame(TEXT, deflated(b"x" * (LIMITS.message_bytes + 1)), rsv=4)], 1009),
        ("no deflate stream", [frame(TEXT, b"\xff\xff\xff\xff", rsv=4)], 1007),
        ("bad UTF-8 inside", [frame(TEXT, deflated(b"\xff"), rsv=4)], 1007),
        ("compressed binary", [frame(BINARY, deflated(b"x"), rsv=4)], 1003),
        ("rsv1 on a continuation", [frame(TEXT, b"x", fin=False), frame(CONTINUATION, b"x", rsv=4)], 1002),
        ("rsv1 on a ping", [frame(PING, b"x", rsv=4)], 1002),
        ("rsv2 as well", [frame(TEXT, deflated(b"x"), rsv=6)], 1002),
    ],
)
def test_a_violation_earns_its_close_code(server: Server, case: str, sent: list[bytes], code: int) -> None:
    identity = server.identity()
    with server.open(identity, extensions=OFFER) as wire:
        wire.send(*sent)
        assert wire.ends() == ([], code)
    assert server.diary.of(identity, "text") == []


def test_the_largest_message_may_be_inflated(server: Server) -> None:
    with server.open("CP-1", extensions=OFFER) as wire:
        wire.send(frame(TEXT, deflated(b"x" * LIMITS.message_bytes), rsv=4))
        assert answer(wire) == b"x" * LIMITS.message_bytes


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_another_implementation_understands(server: Server, compression: str | None) -> None:
    """The `websockets` client, with and without compression, and with the smallest window."""
    text = '[2,"é","Heartbeat",{}]' * 100
    for factory in (None, ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)):
        extensions = [factory] if factory and compression else None
        with server.client("CP-1", compression=compression, extensions=extensions) as client:
            for part in (text, "x", text[:100]):
                client.send(part)
                assert client.recv(5) == part
            client.send(iter([text[:1000], text[1000:]]))
            assert client.recv(5) == text
        assert client.close_code == 1000
