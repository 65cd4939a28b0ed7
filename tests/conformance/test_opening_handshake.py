"""The opening handshake, told from the wire: everything is decided before the upgrade."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

import pytest

from tests.conformance.conftest import PASSWORD, TEXT, Server, basic, frame, request

Serve = Callable[..., AbstractContextManager[Server]]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ocpp/CP-1", 101),
        ("/ocpp/default/CP-1", 101),
        ("/ocpp/CP%2D1", 101),
        ("/ocpp/%43P-1?from=here", 101),
        ("/ocpp/NOBODY", 404),
        ("/ocpp/open/NOBODY", 404),
        ("/ocpp/nowhere/CP-1", 404),
        ("/ocpp/DISABLED", 404),
        ("/", 400),
        ("/ocpp", 400),
        ("/ocpp/", 400),
        ("/ocpp/default/CP-1/", 400),
        ("/OCPP/CP-1", 400),
        ("/steve/websocket/CP-1", 400),
        ("/ocpp/../ocpp/CP-1", 400),
        ("/ocpp/DEFAULT/CP-1", 400),
        ("/ocpp/CP%252D1", 400),
        ("/ocpp/CP%2F1", 400),
        ("/ocpp/CP%00", 400),
        ("/ocpp/CP%0D%0AX", 400),
        ("/ocpp/CP%FF", 400),
        ("/ocpp/CP%zz", 400),
        ("/ocpp/CP-" + "1" * 46, 400),
        ("/ocpp/" + "%43" * 400, 400),
        ("http://localhost/ocpp/CP-1", 400),
    ],
)
def test_the_path_names_the_charger_or_is_refused(server: Server, path: str, status: int) -> None:
    with server.dial(path=path, user="CP-1") as wire:
        assert wire.response().status == status


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/ocpp/CP-1", None, 401),
        ("/ocpp/CP-1", basic("CP-1"), 101),
        ("/ocpp/CP-1", basic("CP-1", PASSWORD.lower()), 101),
        ("/ocpp/CP-1", basic("CP-1", bytes.fromhex(PASSWORD)), 101),
        ("/ocpp/CP-1", basic("CP-1").replace("Basic", "bAsIc"), 101),
        ("/ocpp/CP-1", basic("CP-1", "wrong"), 401),
        ("/ocpp/CP-1", basic("CP-1", b"\xff\xfe"), 401),
        ("/ocpp/CP-1", basic("CP-1", ""), 401),
        ("/ocpp/CP-1", basic("CP-2"), 401),
        ("/ocpp/CP-1", basic("cp-1"), 401),
        ("/ocpp/CP-1", "Basic", 401),
        ("/ocpp/CP-1", "Basic !!!!", 401),
        ("/ocpp/CP-1", "Basic \xe9\xe9\xe9\xe9", 401),
        ("/ocpp/CP-1", "Basic " + "A" * 8000, 401),
        ("/ocpp/CP-1", basic("CP-1").replace("Basic", "Bearer"), 401),
        ("/ocpp/KEYLESS", basic("KEYLESS"), 401),
        ("/ocpp/open/PROFILE0", None, 101),
        ("/ocpp/open/PROFILE0", basic("PROFILE0", "ignored"), 101),
        ("/ocpp/PROFILE0", None, 401),
        ("/ocpp/PROFILE0", basic("PROFILE0"), 401),
        ("/ocpp/open/CP-1", None, 401),
        ("/ocpp/PROFILE2", basic("PROFILE2"), 101),
        ("/ocpp/PROFILE3", basic("PROFILE3"), 401),
        ("/ocpp/NOBODY", None, 404),
    ],
)
def test_credentials_are_checked_before_the_upgrade(server: Server, path: str, authorization: str | None, status: int) -> None:
    with server.dial(path=path, authorization=authorization) as wire:
        response = wire.response()
        assert response.status == status
        assert ("www-authenticate" in response.headers) is (status == 401)


@pytest.mark.parametrize(
    ("case", "head", "status"),
    [
        ("POST", request(user="CP-1", line=b"POST /ocpp/CP-1 HTTP/1.1"), 400),
        ("OPTIONS", request(user="CP-1", line=b"OPTIONS * HTTP/1.1"), 400),
        ("no method", request(user="CP-1", line=b"/ocpp/CP-1"), 400),
        ("HTTP/1.0", request(user="CP-1", line=b"GET /ocpp/CP-1 HTTP/1.0"), 400),
        ("request with a body", request(user="CP-1", content_length="5") + b"hello", 400),
        ("no upgrade", request(user="CP-1", upgrade=None), 400),
        ("another upgrade", request(user="CP-1", upgrade="h2c"), 400),
        ("no connection header", request(user="CP-1", connection=None), 400),
        ("another connection header", request(user="CP-1", connection="keep-alive"), 400),
        ("upgrade among others", request(user="CP-1", connection="keep-alive, Upgrade"), 101),
        ("upgrade in capitals", request(user="CP-1", upgrade="WebSocket", connection="UPGRADE"), 101),
        ("no version", request(user="CP-1", sec_websocket_version=None), 400),
        ("version 8", request(user="CP-1", sec_websocket_version="8"), 426),
        ("no key", request(user="CP-1", sec_websocket_key=None), 400),
        ("short key", request(user="CP-1", sec_websocket_key="AAAA"), 400),
        ("key that is no base64", request(user="CP-1", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=!"), 400),
        ("a header that is no header", request(user="CP-1").replace(b"host:", b"host"), 400),
        ("a bare line feed", request(user="CP-1", x="a\nb: c"), 400),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ("a path outside ASCII", request("/ocpp/CP-\xe9".encode("latin-1"), user="CP-1"), 400),
        ("an extension outside ASCII", request(user="CP-1", extensions="permessage-d\xe9flate"), None),
    ],
)
def test_a_request_that_is_no_upgrade_is_refused(server: Server, case: str, head: bytes, status: int | None) -> None:
    with server.dial(head) as wire:
        found = wire.response().status
        if server.differs(case):
            status = 101
        assert found == status or (status is None and found in (101, 400))


def test_a_refusal_says_why_and_ends_the_connection(server: Server) -> None:
    with server.dial(path="/ocpp/CP-1") as wire:
        response = wire.response()
        assert response.body == b"credentials are required\n"
        assert response.headers["connection"] == "close"
        assert response.headers["www-authenticate"].startswith('Basic realm="')
        assert wire.at_end()


def test_an_upgrade_answers_the_key(server: Server) -> None:
    """RFC 6455, 1.3: the example of the specification."""
    with server.dial(path="/ocpp/CP-1", user="CP-1") as wire:
        headers = wire.response().headers
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (headers["upgrade"].lower(), headers["connection"].lower()) == ("websocket", "upgrade")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("ocpp1.6", "ocpp1.6"),
        ("ocpp2.0.1", "ocpp2.0.1"),
        ("ocpp2.1", "ocpp2.1"),
        ("ocpp1.6, ocpp2.0.1", "ocpp2.0.1"),
        ("ocpp1.6,ocpp2.1,ocpp2.0.1", "ocpp2.1"),
        ("mqtt, ocpp1.6", "ocpp1.6"),
        ("ocpp1.6\r\nsec-websocket-protocol: ocpp2.0.1", "ocpp2.0.1"),
    ],
)
def test_the_newest_common_subprotocol_is_chosen(server: Server, offered: str, chosen: str) -> None:
    with server.dial(path="/ocpp/CP-1", user="CP-1", subprotocols=offered) as wire:
        assert wire.response().headers["sec-websocket-protocol"] == chosen


@pytest.mark.parametrize("offered", [None, "ocpp1.5", "OCPP1.6", "ocpp2.0", "mqtt, soap", ","])
def test_without_a_common_subprotocol_the_handshake_is_completed_and_closed(server: Server, offered: str | None) -> None:
    """OCPP 2.1 part 4, 3.2. The receiver never hears of it."""
    identity = server.identity()
    with server.dial(path=f"/ocpp/{identity}", user=identity, subprotocols=offered) as wire:
        wire.send(frame(TEXT, b"too early"))
        response = wire.response()
        assert response.status == 101
        assert "sec-websocket-protocol" not in response.headers
        assert wire.ends() == ([], 1002)
    assert server.diary.of(identity, "open") == []
    assert server.diary.of(identity, "closed") == []


def test_frames_in_the_segment_of_the_request_are_read(server: Server) -> None:
    with server.dial(request(user="CP-1") + frame(TEXT, b"one") + frame(TEXT, b"two")) as wire:
        assert wire.response().status == 101
        if not server.differs("frames before the upgrade"):
            assert (wire.text(), wire.text()) == (b"one", b"two")


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with server.dial() as wire:
        for byte in request(user="CP-1"):
            wire.send(bytes([byte]))
        assert wire.response().status == 101


@pytest.mark.parametrize("sent", [b"", b"G", request()[:-2], request()[:40]], ids=["nothing", "a byte", "all but the end", "a part"])
def test_half_a_handshake_is_cut(server: Server, sent: bytes) -> None:
    unanswered = server.count("gateway.unanswered")
    began = time.monotonic()
    with server.dial(sent) as wire:
        assert wire.response().status == 0
    assert 0.3 < time.monotonic() - began < 2
    assert server.count("gateway.unanswered") == unanswered + 1


def test_a_handshake_that_drips_is_cut_too(server: Server) -> None:
    """A slow-loris sends a byte now and then; the deadline is for the whole head."""
    began = time.monotonic()
    with server.dial() as wire:
        while time.monotonic() - began < 2 and not wire.refused:
            wire.send(b"G")
            time.sleep(0.05)
        assert wire.response().status == 0
    assert time.monotonic() - began < 1.5


def test_half_a_handshake_may_vanish(server: Server) -> None:
    unanswered = server.count("gateway.unanswered")
    server.dial(request()[:40]).reset()
    server.wait_for("gateway.unanswered", lambda count: count > unanswered)


def test_a_head_of_40_kib_is_refused(server: Server) -> None:
    with server.dial(request(user="CP-1", x_filler="x" * 40_000)) as wire:
        assert wire.response().status == (0 if server.differs("head of 40 KiB") else 400)


def test_no_more_handshakes_than_allowed_are_unfinished(serve: Serve) -> None:
    with serve(openings=4, handshake_s=5.0) as server, ExitStack() as stack:
        idle = [stack.enter_context(server.dial(b"GET ")) for _ in range(4)]
        server.wait_for("gateway.opening", lambda count: count == 4)
        with suppress(ConnectionResetError), server.dial(request(user="CP-1")) as one_more:  # the reset may come before it has spoken
            assert one_more.response().status == 0
        assert server.count("gateway.opening.refused") == 1
        idle[0].reset()
        server.wait_for("gateway.opening", lambda count: count < 4)
        stack.enter_context(server.open("CP-1"))


def test_over_capacity_a_charger_is_told_when_to_try_again(serve: Serve) -> None:
    with serve(connections=2) as server, server.open("CP-1") as first, server.open("CP-2"):
        with server.dial(path="/ocpp/CP-3", user="CP-3") as third:
            response = third.response()
            assert response.status == 503
            assert 5 <= int(response.headers["retry-after"]) <= 30
        assert server.count("gateway.open.refused") == 1
        first.reset()
        server.diary.wait("CP-1", "closed")
        server.open("CP-3").socket.close()


def test_refusals_are_counted_by_status(server: Server) -> None:
    before = {status: server.count(f"gateway.refused.{status}") for status in (400, 401, 404)}
    for head in (request("/"), request(), request("/ocpp/NOBODY")):
        with server.dial(head) as wire:
            wire.response()
    after = {status: server.count(f"gateway.refused.{status}") for status in (400, 401, 404)}
    assert after == {status: count + 1 for status, count in before.items()}
