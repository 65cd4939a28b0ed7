"""Whose is a connection? Several workers of a machine listen on one port, and the kernel gives a connection to any of them.

    accept ──▶ peek at the request line ──▶ Routing.whose ──▶ ours: keep       a sibling's: pass the socket on
               (arrivals.py)                                  (the engine)     (passage.py)
                                                              another node's: carry the bytes there
                                                              (relay.py)

The one who accepts reads nothing: the owner gets the socket as it came and does the whole handshake itself.
"""

from collections.abc import Sequence
from re import compile as pattern
from socket import socket
from typing import Final, Literal, Protocol

NODE_HEADER: Final = "CPMS-Node"
"""Of the answer to an upgrade: the name of the node that serves the charger. config/haproxy.cfg learns from it and takes it off."""

REQUEST_LINE_BYTES_MAX: Final = 4096  # a longer one is nobody's path: ids.parse_path takes 512

_GET: Final = b"GET "
_REQUEST_LINE: Final = pattern(rb"GET ([^ ]+) HTTP/1\.[0-9]")


class Routing(Protocol):
    """Who owns which request path, from tables in memory: nothing waits. Called on the loop's thread."""

    node: str
    """This machine's name, which NODE_HEADER tells; empty: the header is left out."""

    address: str
    """The name of the Unix socket where siblings pass us sockets, "@" and at most 107 bytes (`passage.py`)."""

    inner: socket | None
    """A listening socket where other nodes carry connections to us; the engine accepts from a copy of it. None: they cannot."""

    def moved(self, packet: bytes, passed: socket) -> None:
        """A sibling has passed an open connection, which is ours from now on; the packet says what is known of it."""
        ...

    def heirs(self) -> Sequence[str]:
        """The names of the Unix sockets of those siblings that go on with what we carry to other nodes, when we end."""
        ...

    def alone(self) -> bool:
        """Whether there is nobody else: then nothing is looked at, sockets are kept at once."""
        ...

    def whose(self, path: bytes) -> str:
        """Who owns this request path: the name of a sibling's Unix socket, "host:port" of another node's inner one.

        "" when it is ours or nobody's, for then our door answers.
        """
        ...


def request_path(head: bytes) -> bytes | Literal["incomplete"] | None:
    """The target of a request that begins with these bytes.

    None: this is no request line to go by, and the engine refuses it. "incomplete": it may become one.
    """
    line, ended, _ = head.partition(b"\r\n")
    if not ended:
        begun = head.startswith(_GET) or _GET.startswith(head)
        return "incomplete" if begun and len(head) < REQUEST_LINE_BYTES_MAX else None
    found = _REQUEST_LINE.fullmatch(line)
    return found[1] if found else None
