"""Pings, silence, peers that do not read, and the end of a server. Deadlines here are fractions of a second."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

import pytest

from tests.conformance.conftest import PING, PONG, TEXT, TIMEOUT_S, Server, Wire, closing, frame

Serve = Callable[..., AbstractContextManager[Server]]
IMPATIENT = {"ping_interval_s": 0.4, "pong_deadline_s": 0.4}


def test_a_silent_connection_is_pinged_then_cut(serve: Serve) -> None:
    with serve(**IMPATIENT) as server, server.open("CP-1") as wire:
        began = time.monotonic()
        assert wire.frame() == (PING, b"", 0)
        assert 0.1 < time.monotonic() - began < 0.8
        assert wire.ends() == ([], 1006)
        assert 0.5 < time.monotonic() - began < 2
        assert server.diary.wait("CP-1", "closed") == (1006, "nothing heard within the pong deadline")
        assert server.count("gateway.dropped.silent") == 1


@pytest.mark.parametrize(
    "sign", [frame(PONG), frame(PING), frame(TEXT, b"x"), frame(TEXT, b"", fin=False)], ids=["pong", "ping", "text", "fragment"]
)
def test_any_frame_is_life(serve: Serve, sign: bytes) -> None:
    with serve(**IMPATIENT) as server, server.open("CP-1") as wire:
        wire.socket.settimeout(0.01)
        ends = time.monotonic() + 1.6
        while time.monotonic() < ends:
            wire.send(sign)
            sign = frame(0, b"", fin=False) if sign[0] in (0x01, 0x00) else sign
            time.sleep(0.1)
        assert server.diary.of("CP-1", "closed") == []


def test_a_connection_that_speaks_is_not_pinged(serve: Serve) -> None:
    with serve(**IMPATIENT) as server, server.open("CP-1") as wire:
        for _ in range(20):
            wire.send(frame(TEXT, b"x"))
            assert wire.text() == b"x"
            time.sleep(0.05)


def flooded(server: Server, identity: str) -> Wire:
    """A peer with a small window that reads nothing."""
    wire = server.open(identity)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return wire


def test_a_peer_that_does_not_read_what_we_send_is_cut(serve: Serve) -> None:
    with serve() as server, flooded(server, "CP-1") as wire, server.open("CP-2") as other:
        wire.send(frame(TEXT, b"flood"))
        assert server.diary.wait("CP-1", "flooded") < 5000
        assert server.diary.wait("CP-1", "closed") == (1006, "the outbound buffer is full")
        assert server.count("gateway.dropped.slow") == 1
        other.send(frame(TEXT, b"still here"))
        assert other.text() == b"still here"


def test_a_peer_that_asks_and_does_not_read_is_not_read_from_and_then_cut(serve: Serve) -> None:
    """It cannot make us keep more answers than the limit: we stop reading its questions, and give it up at the pong deadline."""
    question = frame(TEXT, b"x" * 4000)
    with serve(outbound_bytes=1_000_000, ping_interval_s=2.0, pong_deadline_s=0.4) as server, flooded(server, "CP-1") as wire:
        wire.socket.settimeout(0.2)
        with pytest.raises((TimeoutError, ConnectionError)):
            wire.socket.sendall(question * 10_000)
        assert server.diary.wait("CP-1", "closed")[0] == 1006
        assert server.count("gateway.dropped.slow") == 0


def test_a_peer_that_reads_late_loses_nothing(serve: Serve) -> None:
    texts = [f"{number} ".encode().ljust(4000, b"x") for number in range(2000)]
    with serve(outbound_bytes=1_000_000) as server, server.open("CP-1") as wire, ExitStack() as stack:
        sender = threading.Thread(target=lambda: wire.send(*(frame(TEXT, text) for text in texts)))
        sender.start()
        stack.callback(sender.join)
        time.sleep(0.3)
        assert [wire.text() for _ in texts] == texts
        assert server.diary.of("CP-1", "closed") == []


def test_stopping_tells_everyone(serve: Serve) -> None:
    with serve() as server, ExitStack() as stack:
        wires = [stack.enter_context(server.open(f"CP-{number}")) for number in range(5)]
        half = stack.enter_context(server.dial(b"GET /ocpp"))
        server.wait_for("gateway.opening")
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        for wire in wires:
            assert wire.ends() == ([], 1001)
        stopper.join()
        assert half.response().status == 0
        for number in range(5):
            assert server.diary.of(f"CP-{number}", "closed") == [(1001, "as told")]
        with pytest.raises(OSError):  # noqa: PT011  # refused or reset, as the kernel likes
            server.open("CP-1")
        server._stop = lambda: None


def test_stopping_does_not_wait_for_those_who_do_not_answer(serve: Serve) -> None:
    with serve(close_s=60.0, pong_deadline_s=60.0) as server, server.open("CP-1") as deaf, server.open("CP-2") as polite:
        began = time.monotonic()
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert polite.ends() == ([], 1001)
        stopper.join()
        assert 0.9 < time.monotonic() - began < 3
        assert server.diary.of("CP-1", "closed") == [(1001, "as told")]
        assert deaf.frame() is not None
        server._stop = lambda: None


def test_a_close_that_crosses_ours_ends_at_once(serve: Serve) -> None:
    with serve() as server, server.open("CP-1") as wire:
        wire.send(frame(TEXT, b"close 4001"), closing(4002))
        assert wire.ends()[1] in (4001, 4002)
        assert server.diary.wait("CP-1", "closed")[0] in (4001, 4002)
        assert len(server.diary.of("CP-1", "closed")) == 1


def test_a_charger_that_sends_more_than_it_may_is_read_more_slowly_and_loses_nothing(serve: Serve) -> None:
    """Nor its connection, however impatient the pings are; and its neighbour is answered meanwhile."""
    texts = [f"{number} ".encode().ljust(100, b"x") for number in range(1200)]  # 1000 of them are the burst
    limits = {"messages_per_s": 50, "outbound_bytes": 1_000_000, **IMPATIENT}
    with serve(**limits) as server, server.open("CP-1") as wire, ExitStack() as stack:
        began = time.monotonic()
        sender = threading.Thread(target=lambda: wire.send(*(frame(TEXT, text) for text in texts)))
        sender.start()
        stack.callback(sender.join)
        server.wait_for("gateway.held")
        with server.open("CP-2") as other:
            other.send(frame(TEXT, b"still here"))
            assert other.text() == b"still here"
        heard = []
        while len(heard) < len(texts):
            found = wire.frame()
            assert found is not None, "the connection has ended"
            if found[0] == TEXT:
                heard.append(found[1])
        assert heard == texts
        wire.send(frame(TEXT, b"one more"))  # what had been read when it was held is heard, but this was not
        while (found := wire.frame()) is not None and found[0] != TEXT:
            pass
        assert found is not None
        assert found[1] == b"one more"
        assert time.monotonic() - began > 2.0
        assert server.diary.of("CP-1", "closed") == []
        assert server.count("gateway.gate.messages") >= 1


def test_a_held_charger_can_be_closed(serve: Serve) -> None:
    texts = [b"x" * 100] * 200
    with serve(messages_per_s=1, handshake_s=5.0) as server, server.open("CP-1") as wire:
        wire.send(*(frame(TEXT, text) for text in texts))
        server.wait_for("gateway.held")
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert wire.ends()[1] == 1001
        stopper.join()
        assert server.diary.of("CP-1", "closed") == [(1001, "as told")]
        assert server.count("gateway.held") == 0
        server._stop = lambda: None


def test_a_charger_that_sends_more_than_it_may_and_reads_nothing_is_cut(serve: Serve) -> None:
    """It is asked for no more until it has taken the answers it has, and so it falls silent."""
    question = frame(TEXT, b"x" * 4000)
    limits = {"messages_per_s": 10, "outbound_bytes": 100_000_000, **IMPATIENT}

    def ask_on(wire: Wire) -> None:
        until = time.monotonic() + 2 * TIMEOUT_S
        with suppress(OSError):
            while time.monotonic() < until:
                wire.socket.sendall(question)

    with serve(**limits) as server, flooded(server, "CP-1") as wire, ExitStack() as stack:
        sender = threading.Thread(target=ask_on, args=(wire,))
        sender.start()
        stack.callback(sender.join)
        assert server.diary.wait("CP-1", "closed") == (1006, "nothing heard within the pong deadline")
        assert server.count("gateway.held") == 0
