"""A scripted charger over `websockets`: says exactly what a test wants, when it wants."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

ANSWER_S = 6.0  # longer than the journal waits for a broker before it leaves a money frame unanswered


class Station:
    """One open connection. `calls` are the CALLs the CSMS has sent; each is answered from `answers`, or NotSupported."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: dict[str, Any] = {}
        self.calls: list[Any] = []
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._number = 0

    async def listen(self) -> None:
        async for text in self.socket:
            frame = json.loads(text)
            if frame[0] == 2:
                self.calls.append(frame)
                answer = self.answers.get(frame[2])
                reply = [3, frame[1], answer] if answer is not None else [4, frame[1], "NotSupported", "", {}]
                await self.socket.send(json.dumps(reply))
            elif frame[1] in self._waiting:
                self._waiting.pop(frame[1]).set_result(frame)

    async def frame(self, action: str, payload: Any, id_: str | None = None) -> Any:
        """Send a CALL and wait for the frame that answers it."""
        self._number += 1
        id_ = id_ or f"m{self._number}"
        waiting = self._waiting[id_] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps([2, id_, action, payload]))
        async with asyncio.timeout(ANSWER_S):
            return await waiting

    async def call(self, action: str, payload: Any, id_: str | None = None) -> Any:
        """The payload of a CALLRESULT."""
        frame = await self.frame(action, payload, id_)
        assert frame[0] == 3, frame
        return frame[2]


@asynccontextmanager
async def station(
    ws_url: str, identity: str, version: str = "1.6", *, patience_s: float = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Station]:
    """Connect; for `patience_s` seconds again and again, as a charger does whose server has gone. `tls` is for a `wss://` URL."""
    socket = await _connect(f"{ws_url}/{identity}", version, patience_s, tls)
    charger = Station(socket)
    listening = asyncio.create_task(charger.listen())
    try:
        yield charger
    finally:
        await socket.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _connect(url: str, version: str, patience_s: float, tls: ssl.SSLContext | None) -> ClientConnection:
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await connect(url, subprotocols=[Subprotocol(f"ocpp{version}")], ssl=tls)
        except (OSError, InvalidHandshake, ConnectionClosed):
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(0.1)


BOOT = {
    "1.6": {"chargePointVendor": "v", "chargePointModel": "m"},
    "2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "v", "model": "m"}},
}


class Session16:
    """The frames of one 1.6 session, which begins so many hours into 2026-11-23."""

    version = "1.6"

    def __init__(self, charger: str, token: str, hour: int = 8) -> None:
        self.charger, self.token, self.transaction = charger, token, 0
        self._hour = f"{datetime(2026, 11, 23) + timedelta(hours=hour):%Y-%m-%dT%H}"

    async def begin(self, s: Station, wh: int) -> None:
        answer = await s.call("StartTransaction", self.begin_payload(wh))
        assert answer["idTagInfo"]["status"] == "Accepted"
        self.transaction = answer["transactionId"]

    def begin_payload(self, wh: int) -> dict[str, Any]:
        return {"connectorId": 1, "idTag": self.token, "timestamp": f"{self._hour}:00:00Z", "meterStart": wh}

    async def meter(self, s: Station, minute: int, wh: int) -> None:
        samples = [{"timestamp": f"{self._hour}:{minute:02}:00Z", "sampledValue": [{"value": str(wh), "unit": "Wh"}]}]
        await s.call("MeterValues", {"connectorId": 1, "transactionId": self.transaction, "meterValue": samples})

    async def end(self, s: Station, minute: int, wh: int) -> None:
        stop = {"transactionId": self.transaction, "meterStop": wh, "timestamp": f"{self._hour}:{minute:02}:00Z"}
        await s.call("StopTransaction", stop)


class Session201:
    """The frames of one 2.0.1 session."""

    version = "2.0.1"

    def __init__(self, charger: str, token: str) -> None:
        self.charger, self.token, self.transaction, self.seq = charger, token, f"tx-{charger}", 0

    async def _event(self, s: Station, kind: str, minute: int, wh: int, context: str, **more: Any) -> Any:
        payload = {
            "eventType": kind,
            "timestamp": f"2026-11-23T08:{minute:02}:00Z",
            "triggerReason": "MeterValuePeriodic",
            "seqNo": self.seq,
            "transactionInfo": {"transactionId": self.transaction, "chargingState": "Charging"},
            "meterValue": [
                {"timestamp": f"2026-11-23T08:{minute:02}:00Z", "sampledValue": [{"value": wh, "context": context}]},
            ],
        }
        self.seq += 1
        return await s.call("TransactionEvent", payload | more)

    async def begin(self, s: Station, wh: int) -> None:
        token = {"idToken": self.token, "type": "ISO14443"}
        answer = await self._event(s, "Started", 0, wh, "Transaction.Begin", idToken=token, evse={"id": 1, "connectorId": 1})
        assert answer["idTokenInfo"]["status"] == "Accepted"

    async def meter(self, s: Station, minute: int, wh: int) -> None:
        await self._event(s, "Updated", minute, wh, "Sample.Periodic")

    async def end(self, s: Station, minute: int, wh: int) -> None:
        await self._event(s, "Ended", minute, wh, "Transaction.End")
