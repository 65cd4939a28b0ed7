"""The table of dialects, and all that chargers of a storm say in each of them: no stack, no socket, no clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest

from cpms_actors.ocpp import frames
from cpms_actors.ocpp.catalogue import DECODE_FAULTS, actions
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import VERSIONS, Close, Connect, Output, Send, Version
from loadtests import scenario
from loadtests.dialects import TABLE, UNUSABLE, Command, version_of
from loadtests.poison_chargers import RUBBISH_EACH

versions = pytest.mark.parametrize("version", VERSIONS)
AT = datetime(2026, 1, 1, tzinfo=UTC)
T0 = 1_767_225_600_000
ANSWERS: dict[str, dict[str, Any]] = {
    "BootNotification": {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 300},
    "Heartbeat": {"currentTime": "2026-01-01T00:00:00Z"},
    "StartTransaction": {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
}


class Talk:
    """A charger of a storm and a server that says yes to all, in virtual time: what the charger said, frame by frame."""

    def __init__(self, version: Version, storm: scenario.Scenario) -> None:
        plans = storm.plans("TOKEN", 0.0, 2.0)
        self.point = ChargePoint("STORM-00001", version, plans, storm.options(), Random(0))
        self.said: list[str] = []
        self._now = T0
        self._do(self.point.start(T0))

    def until(self, seconds: float) -> None:
        while (due := self.point.next_wakeup) is not None and due <= T0 + seconds * 1000:
            self._now = max(self._now + 1, due)
            self._do(self.point.tick(self._now))

    def order(self, command: Command) -> Any:
        """What it answers."""
        self._do(self.point.received(json.dumps([2, "order", command.action, command.payload]), self._now))
        answer = next(text for text in reversed(self.said) if text.startswith(('[3,"order"', '[4,"order"')))
        return json.loads(answer)[2]

    def _do(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Connect):
                self._do(self.point.connected(self._now))
            elif isinstance(output, Close):
                self._do(self.point.disconnected(self._now))
            else:
                self._sent(output)

    def _sent(self, send: Send) -> None:
        self.said.append(send.text)
        frame = json.loads(send.text)
        if frame[0] == 2:
            accepted = {"idTagInfo": {"status": "Accepted"}, "idTokenInfo": {"status": "Accepted"}}
            answer = ANSWERS.get(frame[2], accepted if frame[2] == "Authorize" else {})
            self._do(self.point.received(json.dumps([3, frame[1], answer]), self._now))


@versions
@pytest.mark.parametrize("name", scenario.NAMES)
def test_what_a_charger_says_in_a_storm_is_what_the_system_reads(name: str, version: Version) -> None:
    talk = Talk(version, scenario.load(name))
    talk.until(20)
    calls = [frame for text in talk.said if isinstance(frame := frames.read(text.encode()), frames.Call)]
    assert len(calls) == len(talk.said) >= 2
    for call in calls:
        action = actions(version)[call.action]
        assert action.from_charger
        action.decode_request(call.payload)
    if name == "replay-storm":
        assert talk.point.finished
        assert len(talk.point.facts) == 3


@versions
def test_what_the_operator_orders_is_valid_and_done(version: Version) -> None:
    dialect = TABLE[version]
    talk = Talk(version, scenario.load("remote-command-storm"))
    talk.until(2)

    def order(command: Command) -> Any:
        action = actions(version)[command.action]
        assert action.from_csms
        action.decode_request(msgspec.json.encode(command.payload))
        answer = talk.order(command)
        assert action.decode_response is not None
        action.decode_response(msgspec.json.encode(answer))
        return answer

    assert order(dialect.start("GUEST")) == {"status": "Accepted"}
    session = talk.point.sessions[1]
    assert session.transaction is not None
    assert (session.token, session.running, session.acknowledged) == ("GUEST", True, 1)
    assert order(dialect.stop(session.transaction)) == {"status": "Accepted"}
    assert not session.running
    assert order(dialect.update("https://firmware.invalid/9.9.9", AT)) in ({}, {"status": "Accepted"})
    talk.until(20)
    assert talk.point.updated
    assert any('"9.9.9"' in text for text in talk.said), "it boots with the new one"


@versions
def test_who_is_in_no_transaction_cannot_be_stopped(version: Version) -> None:
    talk = Talk(version, scenario.load("remote-command-storm"))
    talk.until(2)
    assert talk.order(TABLE[version].stop("-1")) == {"status": "Rejected"}


@versions
def test_no_rubbish_can_be_used_and_some_of_it_is_for_the_record(version: Version) -> None:
    def is_usable(frame: frames.Frame) -> bool:
        if not isinstance(frame, frames.Call | frames.Send) or len(frame.id) > frames.ID_LENGTH_MAX:
            return False
        try:
            actions(version)[frame.action].decode_request(frame.payload)
        except (KeyError, *DECODE_FAULTS):
            return False
        return True

    rubbish = [frames.read(text.encode()) for text in TABLE[version].rubbish]
    assert not any(map(is_usable, rubbish))
    assert len(rubbish) == len(set(TABLE[version].rubbish)) == RUBBISH_EACH
    assert sum(isinstance(frame, frames.Call) for frame in rubbish) >= UNUSABLE
    assert any(isinstance(frame, frames.Send) for frame in rubbish) == (version == "2.1"), "no other version has it"


def test_a_mixed_fleet_takes_the_versions_by_turns() -> None:
    assert [version_of("mixed", place) for place in range(4)] == ["1.6", "2.0.1", "2.1", "1.6"]
    assert {version_of("2.1", place) for place in range(4)} == {"2.1"}
