"""What a charger says all day: it boots, a car comes, charges and goes, and again.

    BootNotification, StatusNotification Available, Authorize, StatusNotification Preparing, StartTransaction,
    StatusNotification Charging, 10 MeterValues with a Heartbeat after every fifth, StopTransaction, StatusNotification Finishing

The station's clock goes its own way, from START_AT on and a quarter of an hour per car, which charges with 11 kW: no two sessions
say the same, and nobody who looks closely finds anything odd.
"""

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from bench.words import BOOT, HEARTBEAT, TOKEN, call, meter_values

MESSAGES: Final = 20  # per car
METER_VALUES: Final = 10
SAMPLES: Final = 3 * METER_VALUES
HEARTBEAT_EVERY: Final = 5  # MeterValues
METER_WH: Final = 1_000_000  # what it shows in the beginning
METERED_WH: Final = 183  # between two of them: a minute of 11 kW
MINUTE: Final = timedelta(minutes=1)
CAR: Final = timedelta(minutes=15)
START_AT: Final = datetime(2025, 1, 1, tzinfo=UTC)

Day = Generator[bytes, bytes, int]
"""Gives CALLs, takes their answers, and in the end returns the number of the car that comes next."""


class Refused(Exception):
    """The server did not let the charger or the car."""


class _Status(Struct, frozen=True):
    status: str


class _Answer(Struct, frozen=True):
    """What matters of an answer to BootNotification, Authorize or StartTransaction."""

    status: str = ""
    idTagInfo: _Status = _Status("")
    transactionId: int = 0


_ANSWER: Final = msgspec.json.Decoder(tuple[int, str, _Answer])


def day(car: int, goes_on: Callable[[], bool]) -> Day:
    """Cars from this number on, one after the other, while it goes on. Raises Refused."""
    while goes_on():
        now, register = START_AT + car * CAR, METER_WH + car * METER_VALUES * METERED_WH
        _accepted((yield call("BootNotification", BOOT)))
        yield _status("Available", now)
        _accepted((yield call("Authorize", {"idTag": TOKEN})))
        yield _status("Preparing", now)
        start = {"connectorId": 1, "idTag": TOKEN, "meterStart": register, "timestamp": _text(now)}
        transaction = _accepted((yield call("StartTransaction", start))).transactionId
        yield _status("Charging", now)
        for number in range(1, METER_VALUES + 1):
            now, register = now + MINUTE, register + METERED_WH
            yield meter_values(transaction, _text(now), f"{register}.000")
            if number % HEARTBEAT_EVERY == 0:
                yield HEARTBEAT
        stop = {"transactionId": transaction, "idTag": TOKEN, "meterStop": register, "timestamp": _text(now), "reason": "Local"}
        yield call("StopTransaction", stop)
        yield _status("Finishing", now)
        car += 1
    return car


def _status(status: str, now: datetime) -> bytes:
    return call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": status, "timestamp": _text(now)})


def _accepted(answer: bytes) -> _Answer:
    try:
        decoded = _ANSWER.decode(answer)[2]
    except msgspec.DecodeError as error:
        raise Refused(f"an answer is wrong ({error}): {answer.decode(errors='replace')}") from None
    if "Accepted" not in (decoded.status, decoded.idTagInfo.status):
        raise Refused(f"the server does not accept: {answer.decode(errors='replace')}")
    return decoded


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
