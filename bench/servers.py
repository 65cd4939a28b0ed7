"""What our gateway is compared with: two servers of OCPP 1.6 that keep nothing.

    python -m bench.servers raw_echo | mobilityhouse [PORT]

`raw_echo` is the floor: picows on uvloop, the frame and the payload decoded into types by msgspec, the answer encoded and sent in the
same callback. No identity, no state, no check beyond the types: less than this no typed server can do.

`mobilityhouse` is the `ocpp` package as its documentation uses it: a `ChargePoint` per connection on a `websockets` server, every
message validated against the JSON schemas, in a thread as is the package's default. On uvloop, as everything else here.
"""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import uvloop
from msgspec import Struct
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.datatypes import IdTagInfo
from ocpp.v16.enums import AuthorizationStatus, RegistrationStatus
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse, ws_create_server
from picows import WSUpgradeResponseWithListener as Upgrade
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

READY: Final = "server: ready"
HOST: Final = "127.0.0.1"
READ_BUFFER_BYTES: Final = 2048
NOW: Final = "2026-01-01T00:00:00Z"
TRANSACTION: Final = 1234


class SampledValue(Struct):
    """OCPP 1.6, 7.43."""

    value: str
    context: str | None = None
    format: str | None = None
    measurand: str | None = None
    phase: str | None = None
    location: str | None = None
    unit: str | None = None


class MeterValue(Struct):
    """OCPP 1.6, 7.33."""

    timestamp: str
    sampledValue: list[SampledValue]


class MeterValues(Struct):
    """OCPP 1.6, 6.31."""

    connectorId: int
    meterValue: list[MeterValue]
    transactionId: int | None = None


class Heartbeat(Struct):
    """OCPP 1.6, 6.29."""


_CALL: Final[msgspec.json.Decoder[tuple[int, str, str, msgspec.Raw]]] = msgspec.json.Decoder(tuple[int, str, str, msgspec.Raw])
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "BootNotification": msgspec.json.Decoder(dict[str, str]),
    "Heartbeat": msgspec.json.Decoder(Heartbeat),
    "MeterValues": msgspec.json.Decoder(MeterValues),
    "StartTransaction": msgspec.json.Decoder(dict[str, Any]),
}
_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "BootNotification": {"currentTime": NOW, "interval": 300, "status": "Accepted"},
    "Heartbeat": {"currentTime": NOW},
    "MeterValues": {},
    "StartTransaction": {"transactionId": TRANSACTION, "idTagInfo": {"status": "Accepted"}},
}


class _Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type is WSMsgType.TEXT:
            _, message_id, action, payload = _CALL.decode(frame.get_payload_as_bytes())
            _DECODE[action].decode(payload)
            transport.send(WSMsgType.TEXT, _ENCODE((3, message_id, _ANSWERS[action])))


async def raw_echo(port: int) -> None:
    """Serve until cancelled; on port 0 that is a free one."""
    response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": "ocpp1.6"})

    def accept(request: WSUpgradeRequest) -> Upgrade:
        return Upgrade(response, _Echo())

    # Transports of uvloop's own, as our engine uses them.
    server = await ws_create_server(accept, HOST, port, read_buffer_init_size=READ_BUFFER_BYTES, use_aiofastnet=False)
    _announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _ChargePoint(ChargePoint):  # type: ignore[misc]  # the package is not typed
    @on("BootNotification")  # type: ignore[untyped-decorator]  # as above
    def on_boot(self, **_: Any) -> Any:
        return call_result.BootNotification(_now(), 300, RegistrationStatus.accepted)

    @on("StatusNotification")  # type: ignore[untyped-decorator]
    def on_status(self, **_: Any) -> Any:
        return call_result.StatusNotification()

    @on("Authorize")  # type: ignore[untyped-decorator]
    def on_authorize(self, **_: Any) -> Any:
        return call_result.Authorize(IdTagInfo(AuthorizationStatus.accepted))

    @on("Heartbeat")  # type: ignore[untyped-decorator]
    def on_heartbeat(self, **_: Any) -> Any:
        return call_result.Heartbeat(_now())

    @on("StartTransaction")  # type: ignore[untyped-decorator]
    def on_start(self, **_: Any) -> Any:
        return call_result.StartTransaction(TRANSACTION, IdTagInfo(AuthorizationStatus.accepted))

    @on("MeterValues")  # type: ignore[untyped-decorator]
    def on_meter_values(self, **_: Any) -> Any:
        return call_result.MeterValues()

    @on("StopTransaction")  # type: ignore[untyped-decorator]
    def on_stop(self, **_: Any) -> Any:
        return call_result.StopTransaction()


async def mobilityhouse(port: int) -> None:
    """Serve until cancelled; on port 0 that is a free one."""

    async def charge_point(socket: ServerConnection) -> None:
        assert socket.request is not None  # the handshake is done
        with suppress(ConnectionClosed):  # the load has ended
            await _ChargePoint(socket.request.path.rpartition("/")[2], socket).start()

    async with serve(charge_point, HOST, port, subprotocols=[Subprotocol("ocpp1.6")]) as server:
        _announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _announce(port: int) -> None:
    sys.stdout.write(f"{READY} {port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        name, port = (*sys.argv[1:], "0")[:2]
        uvloop.run({"raw_echo": raw_echo, "mobilityhouse": mobilityhouse}[name](int(port)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
