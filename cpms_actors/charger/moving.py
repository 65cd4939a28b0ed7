"""A charger on its way from one worker to another with its open connection: all that the next one must know.

It travels beside the socket (`gateway.passage`). What is not in here is in the journal, in the checkpoints, or still in the socket.
"""

from typing import Any, Final

import anyio
import msgspec
from msgspec import Raw, Struct

from cpms_actors.ocpp.conversation import Remembered
from supervisors.actor import Reply


class OpenCall(Struct, eq=False):
    """A call of ours that somebody waits for, until `until` (ms); the answer goes to the subject `reply_to`. `id`: once it was sent."""

    action: str
    payload: bytes
    until: int
    reply_to: str = ""
    id: str = ""
    reply: Reply | None = None
    scope: anyio.CancelScope | None = None  # of whoever waits in this process
    turn: anyio.Event | None = None
    carried: bool = False  # somebody else waits for it now


class MovedCall(Struct, frozen=True, array_like=True):
    """An OpenCall as it travels."""

    action: str
    payload: bytes
    until: int
    reply_to: str
    id: str


class Moved(Struct, frozen=True, array_like=True):
    """A charger between two workers. `epoch` is that of the slot when it was parted from, `connection` that of the connection.

    `agreement` is what was agreed of compression, `remembered` the answer to the last money frame: message id, content, answer.
    """

    tenant: str
    identity: str
    epoch: int
    version: str
    lenient: bool
    remote: str
    agreement: str
    connection: int
    live: bytes
    remembered: tuple[str, bytes | int, bytes] | None
    calls: tuple[MovedCall, ...]


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Moved).decode


def packed(remembered: Remembered | None) -> tuple[str, bytes | int, bytes] | None:
    """What is remembered, as it travels."""
    if remembered is None:
        return None
    id_, content, answer = remembered
    return id_, bytes(content) if isinstance(content, Raw) else content, answer


def unpacked(remembered: tuple[str, Any, bytes] | None) -> Remembered | None:
    """What is remembered, as it is used."""
    if remembered is None:
        return None
    id_, content, answer = remembered
    return id_, Raw(content) if isinstance(content, bytes) else content, answer
