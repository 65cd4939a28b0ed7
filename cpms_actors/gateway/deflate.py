"""permessage-deflate without context takeover (RFC 7692): every message is compressed on its own.

So nothing is kept per connection, and a connection holds one pointer to a codec that all connections with the same window share. The
price is a worse ratio than with a kept window; OCPP's big messages (configuration reports, schedules) repeat themselves enough.

A peer may send a few bytes that inflate to gigabytes: inflation stops one byte past the limit.
"""

import zlib
from typing import Final

from cpms_actors.base.errors import RemoteFault
from cpms_actors.gateway.engine import INVALID_DATA, TOO_BIG

DEFLATE_BYTES_MIN: Final = 512  # shorter messages are sent as they are: the time costs more than the bytes

_TAIL: Final = b"\x00\x00\xff\xff"  # ends every sync flush; the sender strips it, the reader puts it back (7.2.1, 7.2.2)
_WINDOW_BITS_OWN: Final = 12  # what we compress with unless the peer asks for less: 32 KiB of work space instead of 256
_MEMORY_LEVEL: Final = 5


class BadMessage(RemoteFault):
    """A message that cannot be accepted; `code` is the close code it earns."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Deflate:
    """The codec for peers that agreed on one window; `agreement` is the value of our Sec-WebSocket-Extensions header."""

    __slots__ = ("_window_bits", "agreement")

    def __init__(self, window_bits: int | None) -> None:
        self._window_bits = min(_WINDOW_BITS_OWN, window_bits or _WINDOW_BITS_OWN)
        self.agreement = "permessage-deflate; server_no_context_takeover; client_no_context_takeover" + (
            f"; server_max_window_bits={window_bits}" if window_bits else ""
        )

    def compress(self, message: bytes) -> bytes:
        """The payload of a frame with RSV1 set."""
        stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._window_bits, _MEMORY_LEVEL)
        return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    def inflate(self, payload: bytes, bytes_max: int) -> bytes:
        """The message. Raises BadMessage: 1009 when it is longer than `bytes_max`, 1007 when it is no deflate stream."""
        try:
            message = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + _TAIL, bytes_max + 1)
        except zlib.error:
            raise BadMessage(INVALID_DATA, "the message is no deflate stream") from None
        if len(message) > bytes_max:
            raise BadMessage(TOO_BIG, f"the message is longer than {bytes_max} bytes")
        return message


_CODECS: Final = {bits: Deflate(bits) for bits in (None, *range(9, 16))}  # zlib cannot compress with a window of 8 bits


def negotiate(offers: str | None) -> Deflate | None:
    """The codec for the first acceptable offer of a Sec-WebSocket-Extensions header; None: go on without compression."""
    for offer in (offers or "").split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == "permessage-deflate":
            window_bits = _window_bits(parameters)
            if window_bits != 0:
                return _CODECS[window_bits]
    return None


def _window_bits(parameters: list[str]) -> int | None:
    """The window that an offer demands of us, None when any will do, 0 when the offer must be declined (7.1)."""
    seen: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in seen or (equals and not value):
            return 0
        seen[name] = value.strip('"')
    demanded = seen.pop("server_max_window_bits", None)
    if seen.pop("server_no_context_takeover", "") or seen.pop("client_no_context_takeover", ""):
        return 0  # these two carry no value
    client = seen.pop("client_max_window_bits", "")  # whatever the peer compresses with, we inflate with the largest window
    if seen or (client and _bits(client) is None):
        return 0
    if demanded is None:
        return None
    bits = _bits(demanded)
    return bits if bits in _CODECS and bits is not None else 0


def _bits(text: str) -> int | None:
    return int(text) if text in {"8", "9", "10", "11", "12", "13", "14", "15"} else None
