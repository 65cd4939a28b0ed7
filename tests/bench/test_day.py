"""The day of a charger in `bench peers`: sound OCPP 1.6, and no two cars alike."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from bench.day import MESSAGES, METER_VALUES, SAMPLES, Refused, day
from cpms_actors.ocpp.messages import v16

ACCEPTED = b'[3,"1",{"status":"Accepted","idTagInfo":{"status":"Accepted"},"transactionId":7}]'
Said = tuple[str, dict[str, Any]]


def lived(first: int, cars: int, answer: bytes = ACCEPTED) -> tuple[list[Said], int]:
    """All that is said in a day of so many cars, and which car comes next."""
    left = iter([True] * cars)
    living = day(first, lambda: next(left, False))
    said: list[Said] = []
    body = next(living)
    while True:
        _, _, action, payload = msgspec.json.decode(b'[2,"1"' + body)
        said.append((action, payload))
        try:
            body = living.send(answer)
        except StopIteration as end:
            return said, end.value


def test_a_car_is_so_many_messages_and_samples() -> None:
    said, following = lived(first=3, cars=2)
    assert (len(said), following) == (2 * MESSAGES, 5)
    readings = [payload for action, payload in said if action == "MeterValues"]
    assert len(readings) == 2 * METER_VALUES
    assert sum(len(values["sampledValue"]) for payload in readings for values in payload["meterValue"]) == 2 * SAMPLES


def test_every_message_is_one_of_ocpp() -> None:
    for action, payload in lived(first=0, cars=1)[0]:
        msgspec.convert(payload, getattr(v16, f"{action}Request"))


def test_a_car_charges_what_its_meter_shows_at_the_end() -> None:
    said = dict(lived(first=0, cars=1)[0])  # of every action the last
    (values,) = said["MeterValues"]["meterValue"]
    assert float(values["sampledValue"][0]["value"]) == said["StopTransaction"]["meterStop"] > said["StartTransaction"]["meterStart"]
    assert said["MeterValues"]["transactionId"] == said["StopTransaction"]["transactionId"] == 7


def test_cars_follow_each_other_also_from_one_day_to_the_next() -> None:
    said = lived(first=0, cars=2)[0] + lived(first=2, cars=1)[0]
    bounds = [(datetime.fromisoformat(p["timestamp"]), p.get("meterStart", p.get("meterStop"))) for a, p in said if "Transaction" in a]
    assert len(bounds) == 6
    assert bounds == sorted(bounds)
    assert len({moment for moment, _ in bounds}) == 6


@pytest.mark.parametrize("payload", [b'{"status":"Pending"}', b'{"status":5}', b'{"idTagInfo":{"status":"Blocked"}}'])
def test_who_is_not_accepted_is_refused(payload: bytes) -> None:
    with pytest.raises(Refused, match=r"answer is wrong|does not accept"):
        lived(first=0, cars=1, answer=b'[3,"1",' + payload + b"]")
