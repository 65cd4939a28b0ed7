"""One WebSocket as its charger sees it."""

from collections.abc import Callable
from typing import Optional, Protocol


class Connection(Protocol):
    """What an engine gives for an open WebSocket. Neither call waits."""

    def send(self, text: bytes) -> bool:
        """Queue a text message; False when the socket is closed or its buffer is over the limit."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Close with a code of RFC 6455 section 7.4."""
        ...


class Owner(Protocol):
    """Whose line it is: the charger. It listens to the newest of its lines only."""

    line: Optional["Line"]

    def opened(self, line: "Line", remote: str) -> None: ...

    def continued(self, line: "Line") -> None: ...

    def heard(self, line: "Line", text: bytes) -> None: ...

    def closed(self, line: "Line", code: int, reason: str) -> None: ...


class Line:
    """The receiver of one connection; it outlives nothing and holds no state of its own."""

    __slots__ = ("_charger", "_moved", "connection", "remote", "send", "version")

    def __init__(self, charger: Owner, version: str, remote: str, *, moved: bool = False) -> None:
        """`moved`: it has been open already, in another process."""
        self._charger = charger
        self._moved = moved
        self.remote = remote
        self.connection: Connection | None = None
        self.send: Callable[[bytes], bool] = _closed  # of the open connection; False when the socket would not take it
        self.version = version

    def on_open(self, connection: Connection) -> None:
        """The handshake is done."""
        self.connection = connection
        self.send = connection.send
        if self._moved:
            self._charger.continued(self)
        else:
            self._charger.opened(self, self.remote)

    def on_text(self, text: bytes) -> None:
        """One text message. What comes late on a line that another has replaced is not listened to."""
        charger = self._charger
        if charger.line is self:
            charger.heard(self, text)

    def on_closed(self, code: int, reason: str) -> None:
        """The socket is gone."""
        self.connection = None
        self.send = _closed
        self._charger.closed(self, code, reason)

    def close(self, code: int, reason: str) -> None:
        """Close the socket, if it is open."""
        if self.connection is not None:
            self.connection.close(code, reason)


def _closed(text: bytes) -> bool:
    """What sending comes to without a connection."""
    return False
