"""What the chargers of the bench say, CALLs of OCPP 1.6, each from behind its beginning `[2,"<id>"`; and from which address."""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any, Final

import msgspec

TOKEN: Final = "BENCH-TOKEN"
PASSWORD: Final = "0123456789abcdef0123"  # of every charger
SOURCE_CHARGERS: Final = 5_000  # from one address
_FIRST_SOURCE: Final = IPv4Address("127.0.1.1")

_NOW: Final = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
BOOT: Final = {"chargePointVendor": "Bench", "chargePointModel": "Closed loop", "firmwareVersion": "1.0"}
START: Final = {"connectorId": 1, "idTag": TOKEN, "meterStart": 1_230_000, "timestamp": _NOW}


def stamp(moment: float) -> str:
    """A moment, in seconds of the epoch, as OCPP says it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def call(action: str, payload: object) -> bytes:
    """A CALL, from behind its message id."""
    return b',"' + action.encode() + b'",' + msgspec.json.encode(payload) + b"]"


def meter_values(transaction: int, timestamp: str = _NOW, register: str = "1234567.250") -> bytes:
    """MeterValues of a running transaction with three samples, the register in Wh among them; about 440 bytes with the message id."""
    meter_value = [{"timestamp": timestamp, "sampledValue": _sampled(register)}]
    return call("MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": meter_value})


def _sampled(register: str) -> Sequence[dict[str, Any]]:
    return (
        {"value": register, "context": "Sample.Periodic", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
        {"value": "16.000", "context": "Sample.Periodic", "measurand": "Current.Import", "unit": "A", "phase": "L1-N"},
        {"value": "230.125", "context": "Sample.Periodic", "measurand": "Voltage", "unit": "V", "phase": "L1-N"},
    )


def source(number: int) -> str:
    """The address that a charger dials from where they are many; all of 127.0.0.0/8 is this machine.

    Each has some 28,000 ports, but behind the 7,000th the kernel takes milliseconds to find a free one.
    """
    return str(_FIRST_SOURCE + number // SOURCE_CHARGERS)


METER_VALUES_BYTES: Final = len(b'[2,"10000"' + meter_values(1000))
HEARTBEAT: Final = call("Heartbeat", {})
