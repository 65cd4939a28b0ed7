"""The other workers of this machine: whom an accepted socket is passed to."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from cpms_actors.base.ids import parse_path, slot_of
from cpms_actors.bus.slots import Leases

_PREFIX: Final = "cpms-worker-"


class Siblings:
    """`gateway.routing.Routing` for the workers of one node, by who holds the slot of a request's charger."""

    def __init__(self, node: str, address: str) -> None:
        self.node = node
        self.address = address
        self.leases: Leases | None = None

    def alone(self) -> bool:
        """Whether no other worker of this node is alive."""
        return self.leases is None or not any(self._is_sibling(other.node, other.address) for other in self.leases.living())

    def whose(self, path: bytes) -> str:
        """Where to pass the socket of a request for this path; "" when it is ours, nobody's, or another node's."""
        names = parse_path(path)
        leases = self.leases
        if names is None or leases is None:
            return ""
        owner = leases.owner(slot_of(*names))
        for other in leases.living():
            if other.name == owner and self._is_sibling(other.node, other.address):
                return other.address
        return ""

    def _is_sibling(self, node: str, address: str) -> bool:
        return node == self.node and bool(address)


@contextmanager
def siblings(node: str) -> Iterator[Siblings]:
    """A short path for our own socket: a Unix address has 107 bytes, and only this user may look into the folder."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield Siblings(node, str(folder / "pass.sock"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """What workers that were killed have left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
