"""Sockets, the same way for every engine: the one that listens, and what the kernel says of the others."""

import fcntl
import socket
import sys
import termios
from typing import Final

BACKLOG: Final = 4096  # connections that the kernel completes while the loop is busy; it caps this at net.core.somaxconn

# What the kernel may hold per connection and direction; it doubles the number. Its own limits are megabytes, which is more than a
# charger is worth: a peer that does not read would be noticed late, and a burst from thousands would go past tcp_mem.
KERNEL_BUFFER_BYTES: Final = 65_536


def listen(host: str, port: int) -> socket.socket:
    """A non-blocking TCP socket that listens on host and port; port 0 takes a free one.

    Several workers may listen on the same port (SO_REUSEPORT): the kernel spreads connections over them. An empty host is all
    interfaces, IPv6 and IPv4. Raises OSError when the address cannot be bound. Resolves names, so call it at start only.
    """
    dual = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True, dualstack_ipv6=dual)
    listening.setblocking(False)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # accepted sockets inherit it
        listening.setsockopt(socket.SOL_SOCKET, buffer, KERNEL_BUFFER_BYTES)
    return listening


def endpoint(address: object) -> str:
    """A peer's address as `getpeername` gives it, as text: host:port; empty when the peer is gone already."""
    if not isinstance(address, tuple) or len(address) < 2:
        return ""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def untaken(descriptor: int) -> int:
    """How many bytes that were written to a TCP socket the peer's kernel has not taken; 0 where ours does not tell, or it is gone."""
    waiting = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, waiting)
    except (OSError, ValueError):  # -1 is a socket that was closed
        return 0
    return int.from_bytes(waiting, sys.byteorder)
