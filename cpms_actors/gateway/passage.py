"""Passing accepted sockets between the workers of one machine.

    send ──▶ SOCK_SEQPACKET over a Unix socket, one packet per connection: a kind and a descriptor (SCM_RIGHTS) ──▶ take
                                                                and of an open one what is known of it ──▶ take_moved
    send_pair ──▶ the same with two descriptors, those of a connection that is carried to another node ──▶ take_pair

Nothing waits: a sibling that cannot be reached, or does not keep up, is told to the caller at once. What a dying sibling has not
taken out of its socket yet is closed by the kernel, and those clients see their connection end.

The sockets have names in Linux's abstract namespace, written "@name": the kernel forgets a name with its process, so a worker that is
killed leaves nothing behind. Such a name has no permissions: each side asks the kernel for the other's user, which must be its own.
"""

import array
import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cpms_actors.gateway.accepting import BATCH, Acceptor
from cpms_actors.observe.counters import Counters

SIBLINGS_MAX: Final = 64  # connections to siblings, and as many from them

PACKET_BYTES_MAX: Final = 65_536

_NEW: Final = b"1"  # a connection that nobody has read from
_MOVED: Final = b"2"  # an open one, and after that what is known of it
_PAIR: Final = b"3"  # both ends of one that is carried to another node
_ANCILLARY_BYTES: Final = socket.CMSG_LEN(2 * array.array("i").itemsize)  # two descriptors; the kernel closes any more
_CUT: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC  # more than we take, or we have no descriptor left
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_CREDENTIALS: Final = struct.Struct("iII")  # process, user, group: ucred of unix(7)


class Passage:
    """Both sides of one worker. Received sockets are fed to `take`; they do not block. Start and stop it on the loop.

    `gateway.siblings` is who is connected to us, `gateway.pass_strangers` counts who was of another user and sent away,
    `gateway.pass_unknown` packets that are none of ours, without or with a wrong descriptor.
    """

    def __init__(
        self,
        address: str,
        take: Callable[[socket.socket], None],
        take_moved: Callable[[bytes, socket.socket], None],
        take_pair: Callable[[socket.socket, socket.socket], None],
        counters: Counters,
    ) -> None:
        self._address = address
        self._take = take
        self._take_moved = take_moved
        self._take_pair = take_pair
        self._strangers = counters.counter("gateway.pass_strangers")
        self._unknown = counters.counter("gateway.pass_unknown")
        self._connected = counters.gauge("gateway.siblings", bound=SIBLINGS_MAX)
        self._paused = counters.counter("gateway.accept_paused")
        self._acceptor: Acceptor | None = None
        self._from: set[socket.socket] = set()
        self._to: dict[str, socket.socket] = {}

    def start(self) -> None:
        """Take from siblings from now on. Raises OSError when the address cannot be bound."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listening.setblocking(False)
            listening.bind(_name(self._address))
            listening.listen(SIBLINGS_MAX)
        except BaseException:
            listening.close()
            raise
        self._acceptor = Acceptor(listening, self._welcome, self._paused)
        self._acceptor.start()

    def stop(self) -> None:
        """Take no more, and close the connections to and from siblings. Idempotent."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
        for sibling in tuple(self._from):
            self._part(sibling)
        for address in tuple(self._to):
            self._to.pop(address).close()

    def send(self, address: str, descriptor: int, known: bytes = b"") -> bool:
        """Pass a socket to the sibling at an address, with what is `known` of it when it is open already; the caller closes its copy.

        False: it cannot be reached, its buffer is full, or too much is known.
        """
        packet = _MOVED + known if known else _NEW
        return len(packet) <= PACKET_BYTES_MAX and self._send(address, packet, (descriptor,))

    def send_pair(self, address: str, near: int, far: int) -> bool:
        """Pass both sockets of a connection that is carried to another node; the caller lets go of its copies. False as for `send`."""
        return self._send(address, _PAIR, (near, far))

    def _send(self, address: str, packet: bytes, descriptors: Sequence[int]) -> bool:
        sibling = self._to.get(address)
        if sibling is not None:
            try:
                socket.send_fds(sibling, [packet], descriptors)
                return True
            except OSError as error:
                if _is_full(error):
                    return False
                del self._to[address]
                sibling.close()
        sibling = _connected_to(address)
        if sibling is None:
            return False
        try:
            socket.send_fds(sibling, [packet], descriptors)
        except OSError:
            sibling.close()
            return False
        if len(self._to) >= SIBLINGS_MAX:  # addresses change when workers are replaced: the oldest is the likeliest to be gone
            self._to.pop(next(iter(self._to))).close()
        self._to[address] = sibling
        return True

    def _welcome(self, sibling: socket.socket) -> None:
        if not _is_of_our_user(sibling):
            self._strangers.value += 1
            sibling.close()
            return
        if len(self._from) >= SIBLINGS_MAX:
            self._connected.refuse()
            sibling.close()
            return
        self._from.add(sibling)
        self._connected.set(len(self._from))
        asyncio.get_running_loop().add_reader(sibling, partial(self._receive, sibling))

    def _part(self, sibling: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sibling)
        sibling.close()
        self._from.discard(sibling)
        self._connected.set(len(self._from))

    def _receive(self, sibling: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                # Not socket.recv_fds: it forgets its flags, and a child process would inherit what it received.
                packet, ancillary, flags, _ = sibling.recvmsg(PACKET_BYTES_MAX, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet, ancillary, flags = b"", [], 0
            if not packet:
                _close(_descriptors(ancillary))
                self._part(sibling)
                return
            self._unpack(b"" if flags & _CUT else packet, _descriptors(ancillary))

    def _unpack(self, packet: bytes, descriptors: list[int]) -> None:
        kind = packet[:1]
        sound = kind == _MOVED or packet in (_NEW, _PAIR)
        passed = _tcp_sockets(descriptors) if sound and len(descriptors) == (2 if kind == _PAIR else 1) else []
        if not passed:
            self._unknown.value += 1
            _close(descriptors)
        elif kind == _PAIR:
            self._take_pair(*passed)
        elif kind == _MOVED:
            self._take_moved(packet[1:], *passed)
        else:
            self._take(*passed)


def _tcp_sockets(descriptors: list[int]) -> list[socket.socket]:
    """The sockets with these descriptors, which do not block; none, and the descriptors are the caller's, if one is no TCP socket."""
    found: list[socket.socket] = []
    for descriptor in descriptors:
        try:
            found.append(socket.socket(fileno=descriptor))
        except OSError:  # no socket at all
            break
    if len(found) < len(descriptors) or any(each.family not in _TCP or each.type != socket.SOCK_STREAM for each in found):
        for each in found:
            each.detach()
        return []
    for each in found:
        each.setblocking(False)
    return found


def _connected_to(address: str) -> socket.socket | None:
    sibling = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sibling.setblocking(False)
    try:
        sibling.connect(_name(address))  # done at once or, when the backlog is full, not at all
    except OSError:
        sibling.close()
        return None
    if not _is_of_our_user(sibling):  # somebody has taken the name of a sibling that is gone
        sibling.close()
        return None
    return sibling


def _name(address: str) -> bytes:
    return b"\0" + address.removeprefix("@").encode()


def _is_of_our_user(sibling: socket.socket) -> bool:
    _process, user, _group = _CREDENTIALS.unpack(sibling.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.geteuid())


def _is_full(error: OSError) -> bool:
    """The connection is sound, but takes no more now. Closing it would lose what waits in it."""
    return isinstance(error, BlockingIOError | InterruptedError) or error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
