"""Frames, fragments, limits and close codes (RFC 6455, sections 5 to 7), told from the wire."""

import struct
import time

import pytest

from tests.conformance.conftest import BINARY, CLOSE, CONTINUATION, LIMITS, PING, PONG, TEXT, Server, closing, frame

BIG = b"x" * LIMITS.frame_bytes


def test_texts_come_and_go_in_order(server: Server) -> None:
    texts = [f"{number} é€😀".encode() for number in range(50)]
    with server.open("CP-1") as wire:
        wire.send(*(frame(TEXT, text) for text in texts))
        assert [wire.text() for _ in texts] == texts


def test_a_text_may_come_byte_by_byte(server: Server) -> None:
    with server.open("CP-1") as wire:
        for byte in frame(TEXT, "[3,“é”,{}]".encode()):
            wire.send(bytes([byte]))
        assert wire.text() == "[3,“é”,{}]".encode()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ([frame(TEXT, b"")], b""),
        ([frame(TEXT, b"x" * 125)], b"x" * 125),
        ([frame(TEXT, b"x" * 126)], b"x" * 126),
        ([frame(TEXT, BIG)], BIG),
        ([frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b")], b"ab"),
        ([frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False), frame(CONTINUATION, b"")], b""),
        ([frame(TEXT, BIG, fin=False), frame(CONTINUATION, BIG)], BIG + BIG),
        ([frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"\xa9")], "é".encode()),
        ([frame(TEXT, b"a", fin=False), frame(PONG, b"?"), frame(CONTINUATION, b"b")], b"ab"),
        ([frame(TEXT, b"a", fin=False), *[frame(CONTINUATION, fin=False)] * 3000, frame(CONTINUATION, b"b")], b"ab"),
    ],
)
def test_a_whole_text_is_delivered_once(server: Server, sent: list[bytes], text: bytes) -> None:
    with server.open("CP-1") as wire:
        wire.send(*sent)
        assert wire.text() == text
        wire.send(frame(TEXT, b"next"))
        assert wire.text() == b"next"


VIOLATIONS: list[tuple[str, list[bytes], int]] = [
    ("binary", [frame(BINARY, b"[2]")], 1003),
    ("fragmented binary", [frame(BINARY, b"[2", fin=False), frame(CONTINUATION, b"]")], 1003),
    ("bad UTF-8", [frame(TEXT, b"[2,\xff]")], 1007),
    ("truncated UTF-8", [frame(TEXT, b"\xe2\x82")], 1007),
    ("a surrogate in UTF-8", [frame(TEXT, b"\xed\xa0\x80")], 1007),
    ("an overlong slash", [frame(TEXT, b"\xc0\xaf")], 1007),
    ("bad UTF-8 in fragments", [frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"(")], 1007),
    ("a frame too big", [frame(TEXT, BIG + b"x")], 1009),
    ("the promise of a frame too big", [frame(TEXT, b"", length=2**40)], 1009),
    ("a message too big", [frame(TEXT, BIG, fin=False), frame(CONTINUATION, BIG, fin=False), frame(CONTINUATION, b"x")], 1009),
    ("nothing to continue", [frame(CONTINUATION, b"x")], 1002),
    ("binary inside a text", [frame(TEXT, b"x", fin=False), frame(BINARY, b"y")], 1002),
    ("a text inside a text", [frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002),
    ("opcode 3", [frame(3, b"x")], 1002),
    ("opcode 11", [frame(11)], 1002),
    ("no mask", [frame(TEXT, b"x", mask=False)], 1002),
    ("rsv1 without compression", [frame(TEXT, b"x", rsv=4)], 1002),
    ("rsv2", [frame(TEXT, b"x", rsv=2)], 1002),
    ("rsv3 on a ping", [frame(PING, b"x", rsv=1)], 1002),
    ("a fragmented ping", [frame(PING, b"x", fin=False)], 1002),
    ("a ping of 126 bytes", [frame(PING, b"x" * 126)], 1002),
    ("a length in more bytes than needed", [b"\x81\xfe\x00\x05" + b"\0\0\0\0hello"], 1002),
    ("a length with its highest bit set", [b"\x81\xff\x80\0\0\0\0\0\0\0" + b"\0\0\0\0"], 1002),
    ("a close frame of one byte", [frame(CLOSE, b"\x03")], 1002),
    ("a reason that is no UTF-8", [frame(CLOSE, b"\x03\xe8\xff")], 1007),
]


@pytest.mark.parametrize(("case", "sent", "code"), VIOLATIONS, ids=[case for case, _, _ in VIOLATIONS])
def test_a_violation_earns_its_close_code(server: Server, case: str, sent: list[bytes], code: int) -> None:
    """And the texts before it are delivered, those after it are not."""
    identity = server.identity()
    with server.open(identity) as wire:
        wire.send(frame(TEXT, b"before"))
        assert wire.text() == b"before"
        wire.send(*sent, frame(TEXT, b"after"))
        assert wire.ends() == ([], code)
    assert server.diary.wait(identity, "closed")[0] == code
    assert server.diary.of(identity, "text") == [b"before"]


@pytest.mark.parametrize(
    ("sent", "echoed", "heard"),
    [
        (closing(1000), {1000}, 1000),
        (closing(1001, "going"), {1001}, 1001),
        (closing(3000), {3000}, 3000),
        (closing(4999, "ours"), {4999}, 4999),
        (closing(), {1000, 1005}, 1005),
        (closing(0), {1002}, 1002),
        (closing(999), {1002}, 1002),
        (closing(1004), {1002}, 1002),
        (closing(1005), {1002}, 1002),
        (closing(1006), {1002}, 1002),
        (closing(1015), {1002}, 1002),
        (closing(2999), {1002}, 1002),
        (closing(5000), {1002}, 1002),
        (closing(65535), {1002}, 1002),
    ],
)
def test_a_close_is_answered_with_its_code(server: Server, sent: bytes, echoed: set[int], heard: int) -> None:
    identity = server.identity()
    with server.open(identity) as wire:
        wire.send(sent)
        texts, code = wire.ends()
        assert texts == []
        assert code in echoed
    assert server.diary.wait(identity, "closed")[0] == heard


def test_frames_after_a_close_are_ignored(server: Server) -> None:
    identity = server.identity()
    with server.open(identity) as wire:
        wire.send(closing(1000, "bye"), frame(TEXT, b"late"), frame(PING), frame(3), b"\xff" * 100)
        assert wire.ends() == ([], 1000)
    assert server.diary.wait(identity, "closed") == (1000, "bye")
    assert server.diary.of(identity, "text") == []


def test_on_closed_comes_once_and_nothing_can_be_sent_after_it(server: Server) -> None:
    identity = server.identity()
    with server.open(identity) as wire:
        wire.send(closing(1000), closing(1000), frame(BINARY))
        wire.ends()
    assert server.diary.wait(identity, "sent after closing") is False
    assert len(server.diary.of(identity, "open")) == 1
    assert len(server.diary.of(identity, "closed")) == 1


def test_a_receiver_may_close(server: Server) -> None:
    """The peer sees our code and answers; texts between the two are dropped."""
    identity = server.identity()
    with server.open(identity) as wire:
        wire.send(frame(TEXT, b"close 4001"), frame(TEXT, b"between"), frame(PING))
        while (found := wire.frame()) == (PONG, b"", 0):
            pass  # the ping may have been answered before the text was handled
        assert found == (CLOSE, struct.pack("!H", 4001) + b"as told", 0)
        wire.send(frame(TEXT, b"late"), frame(PING), closing(4001))
        assert wire.at_end()
    assert server.diary.wait(identity, "closed") == (4001, "as told")
    assert server.diary.of(identity, "text") == [b"close 4001"]


def test_a_peer_that_does_not_answer_our_close_is_cut(server: Server) -> None:
    identity = server.identity()
    began = time.monotonic()
    with server.open(identity) as wire:
        wire.send(frame(TEXT, b"close 4001"))
        assert wire.frame() is not None
        while time.monotonic() - began < 4 and not server.diary.of(identity, "closed"):
            wire.send(frame(PING))  # it lives, but that is no answer
            time.sleep(0.05)
    assert server.diary.of(identity, "closed")[0][0] == 4001
    assert 0.25 < time.monotonic() - began < 2.5


@pytest.mark.parametrize("vanish", ["reset", "end"])
def test_a_connection_that_breaks_ends_with_1006(server: Server, vanish: str) -> None:
    identity = server.identity()
    wire = server.open(identity)
    wire.send(frame(TEXT, b"half", fin=False))
    wire.reset() if vanish == "reset" else wire.socket.close()
    assert server.diary.wait(identity, "closed")[0] == 1006


def test_a_receiver_that_raises_loses_its_connection_only(server: Server) -> None:
    identity = server.identity()
    faults = server.count("gateway.faults")
    with server.open(identity) as wire, server.open(server.identity()) as other:
        wire.send(frame(TEXT, b"raise"), frame(TEXT, b"after"))
        assert wire.ends() == ([], 1011)
        other.send(frame(TEXT, b"still here"))
        assert other.text() == b"still here"
    assert server.diary.wait(identity, "closed")[0] == 1011
    assert server.diary.of(identity, "text") == [b"raise"]
    assert server.count("gateway.faults") == faults + 1


@pytest.mark.parametrize("payload", [b"", b"are you there", b"\xff" * 125])
def test_a_ping_is_answered_with_its_payload(server: Server, payload: bytes) -> None:
    with server.open("CP-1") as wire:
        wire.send(frame(TEXT, b"a", fin=False), frame(PING, payload), frame(CONTINUATION, b"b"))
        assert wire.frame() == (PONG, payload, 0)
        assert wire.text() == b"ab"


def test_an_unasked_pong_is_ignored(server: Server) -> None:
    with server.open("CP-1") as wire:
        wire.send(frame(PONG), frame(PONG, b"nobody asked"), frame(TEXT, b"x"))
        assert wire.text() == b"x"


def test_ends_are_counted_by_code(server: Server) -> None:
    names = ("gateway.closed.1000", "gateway.closed.other")
    before = [server.count(name) for name in names]
    for code in (1000, 4321):
        identity = server.identity()
        with server.open(identity) as wire:
            wire.send(closing(code))
            wire.ends()
        server.diary.wait(identity, "closed")
    assert [server.count(name) for name in names] == [count + 1 for count in before]
