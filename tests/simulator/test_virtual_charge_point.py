"""The virtual charge point against a scripted CSMS, in virtual time: boot, sessions, offline queue, retries, link."""

import itertools
import json
from random import Random
from typing import Any

import pytest
from ocpp.messages import get_validator

from cpms_actors.base.time import parse_rfc3339
from cpms_actors.ocpp.catalogue import actions
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import VERSIONS, Options, Outage, Quirks
from cpms_actors.simulator.queue import TransactionMessage
from cpms_actors.simulator.session import SessionPlan

T0 = 1_767_225_600_000
PLAN = SessionPlan("T1", charging_s=180, parking_s=90)
MONEY = ("StartTransaction", "MeterValues", "StopTransaction", "TransactionEvent")
versions = pytest.mark.parametrize("version", VERSIONS)


def assert_valid(version: str, frames: list[Any]) -> None:
    """Every CALL is valid against the published schema, and decodes as our own typed message."""
    for frame in frames:
        get_validator(2, frame.action, version).validate(frame.payload)
        actions(version)[frame.action].decode_request(json.dumps(frame.payload).encode())


def register_of(frame: Any) -> int:
    values = frame.payload["meterValue"][0]["sampledValue"]
    return int(values[0]["value"])


@versions
def test_a_session_is_told_in_order_and_every_frame_is_valid(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN]))
    b.run()
    assert_valid(version, b.calls)
    assert b.actions()[0] == "BootNotification"
    told = [f.payload.get("eventType", f.action) for f in b.of(*MONEY)]
    start, update, stop = (
        ("StartTransaction", "MeterValues", "StopTransaction") if version == "1.6" else ("Started", "Updated", "Ended")
    )
    assert told == [start, update, update, update, update, stop]
    assert b.point.failures == []
    assert b.point.facts[0].outcome == "completed"


@versions
def test_the_truth_is_what_the_frames_say(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN, PLAN]))
    b.run()
    first, second = b.point.facts
    assert (first.charging_s, first.parking_s, first.energy_wh) == (180, 90, 550)
    assert second.meter_start_wh == first.meter_stop_wh
    frames = b.of(*MONEY)[:6]
    if version == "1.6":
        assert frames[0].payload["meterStart"] == first.meter_start_wh
        assert frames[-1].payload["meterStop"] == first.meter_stop_wh
        assert first.transaction == str(frames[-1].payload["transactionId"]) == "1001"
    else:
        assert [register_of(f) for f in (frames[0], frames[-1])] == [first.meter_start_wh, first.meter_stop_wh]
        assert {f.payload["transactionInfo"]["transactionId"] for f in frames} == {first.transaction}
        assert frames[-1].payload["transactionInfo"]["timeSpentCharging"] == 180
    assert [parse_rfc3339(f.payload["timestamp"]) for f in (frames[0], frames[-1])] == [first.started_at, first.ended_at]


def test_a_reading_lies_on_the_boundary_between_charging_and_parking(bench: Any) -> None:
    """Metering can be exact: the register is known at the very moment the car stops taking energy."""
    b = bench(ChargePoint("CP1", "2.0.1", [SessionPlan("T1", charging_s=150, parking_s=600)]))
    b.run()
    changed = next(f for f in b.of("TransactionEvent") if f.payload["triggerReason"] == "ChargingStateChanged")
    facts = b.point.facts[0]
    assert parse_rfc3339(changed.payload["timestamp"]) == facts.periods[0].end == facts.periods[1].start
    assert register_of(changed) == facts.meter_stop_wh
    assert changed.payload["transactionInfo"]["chargingState"] == "SuspendedEV"


@versions
def test_the_truth_does_not_depend_on_the_speed_or_on_late_ticks(bench: Any, version: Any) -> None:
    facts = []
    for speed in (1, 60, 2000):
        b = bench(ChargePoint("CP1", version, [PLAN], Options(speed=speed), Random(7)))
        b.run()
        one = b.point.facts[0]
        facts.append((one.energy_wh, one.charging_s, one.parking_s, len(one.register), one.acknowledged))
    assert facts[0] == facts[1] == facts[2]


@versions
def test_one_call_is_outstanding_at_a_time(bench: Any, version: Any) -> None:
    """A CSMS that takes its time sees the next CALL only after its answer."""
    b = bench(ChargePoint("CP1", version, [PLAN], Options(speed=500)), latency_ms=700)
    b.run()
    assert all(later.at - earlier.at >= 700 for earlier, later in zip(b.calls, b.calls[1:], strict=False))
    assert b.point.facts[0].outcome == "completed"


# -- boot --------------------------------------------------------------------------------------------------------------------------


@versions
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_a_charge_point_that_is_not_accepted_is_silent_until_the_interval_is_over(bench: Any, version: Any, status: str) -> None:
    answers = iter([status, status, "Accepted"])
    b = bench(ChargePoint("CP1", version))
    b.script["BootNotification"] = lambda _: {"status": next(answers), "currentTime": "2026-01-01T00:00:00Z", "interval": 40}
    b.to(100)
    boots = b.of("BootNotification")
    assert [round((f.at - T0) / 1000) for f in boots] == [0, 40, 80]
    assert b.actions()[:3] == ["BootNotification"] * 3


def test_a_reconnection_needs_no_boot(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6"))
    b.to(10)
    b.cut()
    b.to(60)
    assert len(b.connects) == 2
    assert len(b.of("BootNotification")) == 1


def test_a_boot_that_is_not_answered_is_sent_again(bench: Any, silence: object) -> None:
    b = bench(ChargePoint("CP1", "1.6", options=Options(call_timeout_s=5, boot_retry_s=7)))
    b.script["BootNotification"] = silence
    b.to(30)
    assert [(f.at - T0) // 1000 for f in b.of("BootNotification")] == [0, 12, 24]
    assert b.point.counts.timeouts == 3


def test_heartbeats_keep_the_interval_of_the_server(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "2.1"))
    b.to(3000)
    beats = [f.at for f in b.of("Heartbeat")]
    assert 9 <= len(beats) <= 10
    assert {later - earlier for earlier, later in itertools.pairwise(beats)} == {300_000}


# -- authorization -----------------------------------------------------------------------------------------------------------------


@versions
def test_a_driver_who_is_refused_starts_nothing(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN]))
    info = {"status": "Blocked"}
    b.script["Authorize"] = {"idTagInfo": info} if version == "1.6" else {"idTokenInfo": info}
    b.run()
    assert b.of(*MONEY) == []
    assert (b.point.facts[0].outcome, b.point.facts[0].authorization) == ("refused", "Blocked")


@versions
def test_a_transaction_whose_token_is_refused_is_stopped(bench: Any, version: Any) -> None:
    """The server re-verifies the token in the answer to the start (1.6 section 4.8, 2.x E05)."""
    b = bench(ChargePoint("CP1", version, [PLAN]))
    b.script["StartTransaction"] = {"transactionId": 9, "idTagInfo": {"status": "Invalid"}}
    b.script["TransactionEvent"] = lambda p: {"idTokenInfo": {"status": "Invalid"}} if p["eventType"] == "Started" else {}
    b.run()
    last = b.of(*MONEY)[-1].payload
    assert last.get("reason", last.get("transactionInfo", {}).get("stoppedReason")) == "DeAuthorized"
    assert b.point.facts[0].reason == "DeAuthorized"
    assert_valid(version, b.calls)


def test_an_authorization_that_outlives_the_driver_starts_nothing(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN]), latency_ms=2000)
    b.run(stop=lambda: "Authorize" in b.actions())
    b.do(b.point.unplug(1, b.now))
    b.run()
    assert b.of("StartTransaction") == []


@versions
def test_an_acknowledged_message_is_reported_once_with_the_transaction_that_its_answer_named(bench: Any, version: Any) -> None:
    """Also when the answer came at the second try only: what was not answered is not reported."""
    heard: list[tuple[str, str | None, int]] = []

    def remember(message: TransactionMessage) -> None:
        heard.append((message.kind.value, message.session.transaction, message.sample.register_wh))

    lost = frozenset({"StartTransaction", "TransactionEvent"})
    options = Options(call_timeout_s=3, quirks=Quirks(loses_answers_to=lost))
    b = bench(ChargePoint("CP1", version, [PLAN], options, on_acknowledged=remember))
    b.run()
    (facts,) = b.point.facts
    assert [kind for kind, _, _ in heard] == ["start", *["update"] * 4, "end"]
    assert {transaction for _, transaction, _ in heard} == {facts.transaction}
    assert [register for _, _, register in heard] == [register for _, register in facts.register]
    assert len(b.of(*MONEY)) == len(heard) + 1


@versions
def test_when_the_drivers_stay_away_what_runs_is_carried_out_and_told(bench: Any, version: Any) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN] * 3))
    b.run(stop=lambda: bool(b.of("StartTransaction", "TransactionEvent")))
    b.point.dismiss_drivers()
    b.run()
    assert [facts.outcome for facts in b.point.facts] == ["completed"]
    assert b.point.finished


# -- offline -----------------------------------------------------------------------------------------------------------------------


@versions
def test_an_outage_queues_messages_in_order_with_their_own_timestamps(bench: Any, version: Any) -> None:
    plan = SessionPlan("T1", charging_s=600, parking_s=300)
    b = bench(ChargePoint("CP1", version, [plan], Options(outages=(Outage(100, 400),))))
    b.run()
    assert b.closes[0].abort
    frames = b.of(*MONEY)
    at = [f.payload.get("timestamp") or f.payload["meterValue"][0]["timestamp"] for f in frames]
    assert at == sorted(at)
    assert b.point.facts[0].outcome == "completed"
    assert len(frames) == len(b.point.facts[0].register)
    assert_valid(version, b.calls)
    if version != "1.6":
        assert [f.payload["seqNo"] for f in frames] == list(range(len(frames)))
        offline = [f.payload.get("offline", False) for f in frames]
        assert offline == [100_000 < parse_rfc3339(t) - T0 < 500_000 for t in at]  # type: ignore[operator]


def test_a_whole_session_offline_is_told_afterwards(bench: Any) -> None:
    """A driver begins without Authorize; the transaction id of 1.6 arrives with the late answer and is in all that follows."""
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(outages=(Outage(2, 3000),))))
    b.run()
    assert b.of("Authorize") == []
    assert [f.payload.get("transactionId") for f in b.of(*MONEY)] == [None, *[1001] * 5]
    facts = b.point.facts[0]
    assert (facts.outcome, facts.started_at) == ("completed", parse_rfc3339(b.of("StartTransaction")[0].payload["timestamp"]))
    assert facts.ended_at is not None
    assert facts.ended_at < b.of("StartTransaction")[0].at


def test_where_offline_starts_are_forbidden_the_driver_leaves(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(outages=(Outage(2, 3000),), offline_start=False)))
    b.to(4000)
    assert b.point.facts[0].outcome == "refused"


def test_a_full_queue_drops_meter_values_and_never_starts_or_stops(bench: Any) -> None:
    plan = SessionPlan("T1", charging_s=3000, parking_s=0)
    b = bench(ChargePoint("CP1", "1.6", [plan], Options(outages=(Outage(2, 4000),), queue_max=10)))
    b.run()
    assert [f.action for f in b.of(*MONEY)] == ["StartTransaction", *["MeterValues"] * 9, "StopTransaction"]
    assert b.point.facts[0].energy_wh == int(11_000 * 3000 / 3600)


def test_statuses_that_changed_while_offline_are_told_once(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(outages=(Outage(2, 100),))))
    b.to(110)
    assert [f.payload["status"] for f in b.of("StatusNotification") if f.at - T0 > 50_000] == ["Charging"]


# -- retries -----------------------------------------------------------------------------------------------------------------------


@versions
@pytest.mark.parametrize("same_id", [True, False])
def test_a_message_the_server_fails_on_is_repeated_with_growing_waits(bench: Any, version: Any, same_id: bool) -> None:
    """Wait = interval x attempts (1.6 section 3.7.1); the same or a new message id, as told."""
    b = bench(ChargePoint("CP1", version, [PLAN], Options(retry_interval_s=10, retry_same_id=same_id)))
    first = "StartTransaction" if version == "1.6" else "TransactionEvent"
    good = b.script[first]
    failures = iter(["InternalError", "InternalError"])
    b.script[first] = lambda payload: next(failures, None) or (good(payload) if callable(good) else good)
    b.run()
    tries = b.of(first)[:3]
    assert [round((later.at - earlier.at) / 1000) for earlier, later in itertools.pairwise(tries)] == [10, 20]
    assert tries[0].payload == tries[1].payload == tries[2].payload
    assert (len({f.id for f in tries}) == 1) is same_id
    assert b.point.facts[0].outcome == "completed"


def test_a_message_that_fails_too_often_is_given_up_and_the_session_counts_as_lost(bench: Any) -> None:
    """What follows an unanswered start of 1.6 says transaction -1 (errata 3.18)."""
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(attempts_max=2, retry_interval_s=1)))
    b.script["StartTransaction"] = "InternalError"
    b.run()
    assert len(b.of("StartTransaction")) == 2
    assert {f.payload["transactionId"] for f in b.of("MeterValues", "StopTransaction")} == {-1}
    assert (b.point.facts[0].outcome, b.point.facts[0].discarded) == ("lost", 1)
    assert "discarded after 2 attempts" in b.point.failures[0]


@versions
def test_a_lost_answer_brings_the_message_again(bench: Any, version: Any) -> None:
    lost = frozenset({"StartTransaction", "StopTransaction", "TransactionEvent"})
    b = bench(ChargePoint("CP1", version, [PLAN], Options(call_timeout_s=3, quirks=Quirks(loses_answers_to=lost))))
    b.run()
    starts = [f for f in b.of("StartTransaction", "TransactionEvent") if f.payload.get("seqNo", 0) == 0]
    assert len(starts) == 2
    assert starts[0].text == starts[1].text
    assert b.point.facts[0].outcome == "completed"


def test_a_lost_connection_is_no_failed_attempt(bench: Any, silence: object) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN], Options(attempts_max=1)))
    b.script["StartTransaction"], good = silence, b.script["StartTransaction"]
    b.run(stop=lambda: "StartTransaction" in b.actions())
    b.cut()
    b.script["StartTransaction"] = good
    b.run()
    assert len(b.of("StartTransaction")) == 2
    assert b.point.facts[0].outcome == "completed"


# -- link --------------------------------------------------------------------------------------------------------------------------


def test_reconnections_back_off_up_to_a_bound(bench: Any) -> None:
    options = Options(reconnect_min_s=2, reconnect_random_s=1, reconnect_doublings=3, connect_attempts_max=6)
    b = bench(ChargePoint("CP1", "2.1", options=options), latency_ms=0)
    b.to(1)
    b.network = False
    b.cut()
    b.to(300)
    waits = [(later - earlier) / 1000 for earlier, later in zip(b.connects[1:], b.connects[2:], strict=False)]
    assert [int(wait) - int(wait) % 2 for wait in waits] == [2, 4, 8, 16, 16]
    assert b.point.finished
    assert "gave up connecting" in b.point.failures[0]


def test_retry_after_of_the_server_is_honoured(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6"))
    b._events.clear()
    b.do(b.point.disconnected(b.now, "refused with HTTP 503", retry_after_s=30))
    assert b.point.next_wakeup is not None
    assert 30_000 <= b.point.next_wakeup - b.now <= 32_000


def test_message_ids_are_unique_over_connections_and_runs(bench: Any) -> None:
    b = bench(ChargePoint("CP1", "1.6", [PLAN, PLAN], Options(outages=(Outage(60, 60), Outage(200, 60)))))
    b.run()
    ids = [f.id for f in b.calls]
    assert len(ids) == len(set(ids))
    again = ChargePoint("CP1", "1.6")
    again.start(T0 + 1)
    first = again.connected(T0 + 2)[0]
    assert json.loads(first.text)[1] not in ids  # type: ignore[union-attr]
    assert all(len(one) <= 36 for one in ids)


@versions
@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{}",
        "[]",
        "[3]",
        '[2,"x","Reset"]',
        "[3,1,{}]",
        '[9,"x",{}]',
        '[3,"never sent",{}]',
        '[6,"x","NotifyPeriodicEventStream",{}]',
    ],
)
def test_what_is_no_answer_of_ours_disturbs_nothing(bench: Any, version: Any, frame: str) -> None:
    b = bench(ChargePoint("CP1", version, [PLAN]))
    b.to(60)
    assert b.point.received(frame, b.now) == []
    b.run()
    assert b.point.facts[0].outcome == "completed"
