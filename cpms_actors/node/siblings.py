"""The other workers, of this machine and of others: to whom an accepted connection is passed or carried."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import parse_path, slot_of
from cpms_actors.base.settings import Gateway
from cpms_actors.bus.ownership import lineage_of
from cpms_actors.bus.slots import Leases, Presence
from cpms_actors.gateway.listening import endpoint, listen

_ANY: Final = ("", "0.0.0.0", "::")


class Siblings:
    """`gateway.routing.Routing` for one worker, by who holds the slot of a request's charger."""

    def __init__(self, node: str, address: str, inner: socket.socket | None = None) -> None:
        self.node = node
        self.address = address
        self.inner = inner
        self.leases: Leases | None = None
        self.on_moved: Callable[[bytes, socket.socket], None] = _close

    def moved(self, packet: bytes, passed: socket.socket) -> None:
        """See gateway.routing.Routing."""
        self.on_moved(packet, passed)

    @property
    def inner_address(self) -> str:
        """ "host:port" of the inner socket; "" without one."""
        return endpoint(self.inner.getsockname()) if self.inner is not None else ""

    def alone(self) -> bool:
        """Whether no other worker that could be reached is alive."""
        return self.leases is None or not any(self._way_to(other) for other in self.leases.living())

    def whose(self, path: bytes) -> str:
        """Where the connection of a request for this path belongs; "" when it is ours, nobody's, or cannot be got there."""
        names = parse_path(path)
        leases = self.leases
        if names is None or leases is None:
            return ""
        owner = leases.owner(slot_of(*names))
        for other in leases.living():
            if other.name == owner:
                return self._way_to(other)
        return ""

    def heirs(self) -> list[str]:
        """See gateway.routing.Routing: our successor, or else every sibling that serves."""
        leases = self.leases
        if leases is None:
            return []
        ready = [other for other in leases.living() if other.node == self.node and other.address and not other.leaving]
        lineage, generation = lineage_of(leases.presence.name)
        younger = {lineage_of(other.name)[1]: other.address for other in ready if lineage_of(other.name)[0] == lineage}
        newest = max(younger, default=0)
        return [younger[newest]] if newest > generation else [other.address for other in ready]

    def _way_to(self, other: Presence) -> str:
        return other.address if other.node == self.node else other.inner


@contextmanager
def siblings(node: str, gateway: Gateway) -> Iterator[Siblings]:
    """The places where others reach us. Raises OperatorError when the inner address cannot be bound.

    The name of the Unix socket tells people whose it is, and is nobody else's, not even in another container with our process id.
    """
    passing = gateway.engine == "picows"  # the reference engine takes nothing from anybody
    host = gateway.inner_host or ("" if gateway.host in _ANY else gateway.host)
    try:
        inner = listen(host, 0) if host and passing else None
    except OSError as error:
        raise OperatorError(
            "gateway.inner_host", f"cannot listen on {host}: {error.strerror}; name an address of this machine"
        ) from error
    try:
        yield Siblings(node, f"@cpms-worker-{os.getpid()}-{uuid4().hex}" if passing else "", inner)
    finally:
        if inner is not None:
            inner.close()


def _close(packet: bytes, passed: socket.socket) -> None:
    passed.close()
