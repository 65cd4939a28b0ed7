"""What can be told from the first bytes of a connection, without a socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.gateway.routing import REQUEST_LINE_BYTES_MAX, request_path

LINE = b"GET /ocpp/CP1 HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("head", "path"),
    [
        (LINE, b"/ocpp/CP1"),
        (LINE + b"Host: x\r\n\r\n", b"/ocpp/CP1"),
        (b"GET /ocpp/acme/CP%201?x=1 HTTP/1.0\r\n", b"/ocpp/acme/CP%201?x=1"),
        (b"GET http://host/ocpp/CP1 HTTP/1.1\r\n", b"http://host/ocpp/CP1"),
        (b"", "incomplete"),
        (b"G", "incomplete"),
        (b"GET ", "incomplete"),
        (b"GET /ocpp/CP1 HTTP/1.1\r", "incomplete"),
        (b"GET /ocpp/CP1 HTTP/1.1\n\n", "incomplete"),  # the engine does not take a bare line feed for an end either
        (b"GET ".ljust(REQUEST_LINE_BYTES_MAX - 1, b"x"), "incomplete"),
        (b"GET ".ljust(REQUEST_LINE_BYTES_MAX, b"x"), None),
        (b"\r\n", None),
        (b"get /ocpp/CP1 HTTP/1.1\r\n", None),
        (b"POST", None),
        (b"POST /ocpp/CP1 HTTP/1.1\r\n", None),
        (b"GET  HTTP/1.1\r\n", None),
        (b"GET /ocpp/CP1\r\n", None),
        (b"GET /ocpp/CP 1 HTTP/1.1\r\n", None),
        (b"GET /ocpp/CP1 HTTP/2.0\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01", None),  # TLS
    ],
)
def test_a_path_is_found_or_not(head: bytes, path: bytes | str | None) -> None:
    assert request_path(head) == path


HEADS = st.one_of(
    st.binary(),
    st.binary().map(b"GET ".__add__),
    st.lists(st.sampled_from([b"GET ", b" ", b"/x", b"HTTP/1.1", b"\r\n", b"\n"])).map(b"".join),
)


@given(HEADS)
def test_no_bytes_make_it_raise_and_what_is_decided_stays(head: bytes) -> None:
    decisions = [decided for size in range(len(head) + 1) if (decided := request_path(head[:size])) != "incomplete"]
    assert len(set(decisions)) <= 1
    assert request_path(head + b"\r\n") != "incomplete"


@pytest.mark.parametrize("size", range(len(LINE)))
def test_every_beginning_of_a_request_line_is_incomplete(size: int) -> None:
    assert request_path(LINE[:size]) == "incomplete"
