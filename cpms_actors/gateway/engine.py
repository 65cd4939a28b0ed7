"""The seam between sockets and actors: a few words, spoken by every WebSocket engine.

                 Head                    Admitted(receiver)                on_open, on_text …, on_closed
    socket ──▶ engine ──▶ Door ──▶      or Refused(status)     engine ──▶ Receiver
                                                               engine ◀── Connection.send, Connection.close

The engine owns the socket and the protocol of RFC 6455; the door decides who may come in, from tables in memory, before the upgrade;
the receiver is what a connection feeds. Everything is called on the one thread of the loop and nothing waits: a receiver that has to
wait keeps the text and returns. An engine is chosen by a setting (`engines/choice.py`) and all of them pass one conformance suite.
"""

from collections.abc import Callable
from socket import socket
from typing import Literal, Protocol, Self, runtime_checkable

from msgspec import Struct

from cpms_actors.base.settings import Gateway

# Close codes, RFC 6455 section 7.4.1. The last three never travel in a frame or are the IANA registry's.
NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
NO_STATUS = 1005
ABNORMAL = 1006
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013

CLOSE_REASON_BYTES_MAX = 123  # a control frame carries 125 bytes, two of them the code (RFC 6455, 5.5)


class Connection(Protocol):
    """One open WebSocket as its receiver sees it. No method blocks; all are called on the loop's thread."""

    def send(self, text: bytes) -> bool:
        """Send one text message (UTF-8). False: not sent, because the connection is closing or its outbound buffer is full.

        A peer whose buffer is full does not read: the engine drops it, and `on_closed` follows with 1006.
        """
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; `on_closed` follows with this code. Texts that still arrive are dropped. Idempotent."""
        ...


class Receiver(Protocol):
    """What a connection feeds. An exception out of any method closes this connection with 1011 and touches no other."""

    def on_open(self, connection: Connection) -> None:
        """The handshake is complete."""
        ...

    def on_text(self, text: bytes) -> None:
        """One complete text message, valid UTF-8, in the order of arrival."""
        ...

    def on_closed(self, code: int, reason: str) -> None:
        """The connection is gone. Called exactly once for each `on_open`; nothing follows.

        The code is ours when we closed first, the peer's when it did (1005 when its frame carried none), and 1006 when the TCP
        connection ended without a closing handshake.
        """
        ...


class Head(Struct, frozen=True):
    """The head of an upgrade request, as far as a door cares."""

    path: bytes
    authorization: str | None = None
    subprotocols: tuple[str, ...] = ()
    extensions: str | None = None
    remote: str = ""  # address and port of the TCP peer, which may be a load balancer


class Admitted(Struct, frozen=True):
    """Come in. Without a subprotocol in common the engine completes the handshake without the header, closes with 1002 at once
    (OCPP 2.1 part 4, 3.2), and never calls the receiver."""

    receiver: Receiver
    subprotocol: str | None


class Refused(Struct, frozen=True):
    """No upgrade: an HTTP answer with a line of text, then the TCP connection is closed."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


Door = Callable[[Head], Admitted | Refused]
"""Decides synchronously, from tables in memory: a door that waited would make a reconnect storm an outage."""


class Limits(Struct, frozen=True):
    """What one engine allows. Bytes, seconds, connections.

    `message_bytes` bounds a message after reassembly and inflation. `outbound_bytes` bounds what waits in this process for one peer.
    `openings` bounds the sockets whose handshake is unfinished, each for at most `handshake_s`; further ones are reset. A closing
    handshake that the peer does not answer is cut after `close_s`. The last four fields are the gates (gates.py); 0 is no gate.
    """

    frame_bytes: int
    message_bytes: int
    outbound_bytes: int
    connections: int
    handshake_s: float
    ping_interval_s: float
    pong_deadline_s: float
    openings: int = 4096
    close_s: float = 2.0
    admissions_per_s: int = 0
    lag_max_ms: float = 0.0
    flaps_max: int = 0
    messages_per_s: int = 0

    @classmethod
    def of(cls, gateway: Gateway) -> Self:
        """The limits that the settings ask for."""
        return cls(
            frame_bytes=min(gateway.frame_bytes_max, gateway.message_bytes_max),  # a message may be one frame
            message_bytes=gateway.message_bytes_max,
            outbound_bytes=gateway.outbound_bytes_max,
            connections=gateway.connections_max,
            handshake_s=gateway.handshake_s,
            ping_interval_s=gateway.ping_interval_s,
            pong_deadline_s=gateway.pong_deadline_s,
            admissions_per_s=gateway.admissions_per_s,
            lag_max_ms=gateway.lag_max_ms,
            flaps_max=gateway.flaps_max,
            messages_per_s=gateway.messages_per_s,
        )


class Engine(Protocol):
    """A listening WebSocket server. `loop` names the event loop that `start` and `stop` are awaited on."""

    loop: Literal["asyncio", "trio"]

    @property
    def open_count(self) -> int:
        """Connections whose handshake is complete and whose `on_closed` has not been called."""
        ...

    def boot_wait_s(self) -> float:
        """Within how many seconds a charger that has just started is to ask again, because others wait already; 0: accept it."""
        ...

    async def start(self) -> int:
        """Listen. Returns the port, which matters when port 0 was asked for. Raises OSError when the address cannot be bound."""
        ...

    async def stop(self, code: int = GOING_AWAY, reason: str = "", deadline_s: float = 5.0) -> None:
        """Stop listening, close every connection with the code, cut those that are left at the deadline.

        When it returns, every receiver has had its `on_closed`.
        """
        ...


class Movable(Connection, Protocol):
    """A connection of a Mover."""

    @property
    def agreement(self) -> str:
        """What was agreed of compression; "" for none."""
        ...

    def movable(self) -> bool:
        """Whether it can go at this moment: open, nothing half read, nothing of ours unsent. Texts that have come are heard first."""
        ...

    def hold(self) -> None:
        """Read nothing more, so that it becomes movable soon. May be called more than once."""
        ...


@runtime_checkable
class Mover(Protocol):
    """An engine that can give open connections to a sibling process, and go on with a sibling's; the peer sees nothing of it."""

    def pass_on(self, address: str, connection: Movable, packet: bytes) -> bool:
        """Give a connection that is movable to the sibling at an address, with what is known of it.

        False: the sibling does not take it now, and nothing has changed. Its receiver hears nothing any more.
        """
        ...

    def resume(self, moved: socket, receiver: Receiver, subprotocol: str, agreement: str) -> None:
        """Go on with a connection that a sibling has passed: the receiver is opened, soon, if the peer is still there and there is
        room."""
        ...


def close_reason(reason: str) -> str:
    """The reason, cut at a character's edge so that it fits into a close frame."""
    return reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
