"""What OCPP asks of a CSMS, shown on one charger: the rows of the rules that back ends get wrong."""

from typing import Any

import pytest
from harness import NOW, Bench, boot

from cpms_actors.base.time import format_rfc3339
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict
from cpms_actors.domain.events import (
    Booted,
    Connected,
    Disconnected,
    Metered,
    Parked,
    Reported,
    Seen,
    StatusChanged,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)

VERSIONS = ("1.6", "2.0.1", "2.1")
START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-11-23T08:00:00Z", "meterStart": 100}
SAMPLES = [{"timestamp": "2026-11-23T08:00:00Z", "sampledValue": [{"value": "1.5", "unit": "kWh"}]}]


def event(kind: str, seq: int, **more: Any) -> dict[str, Any]:
    """A TransactionEvent of 2.x."""
    return {
        "eventType": kind,
        "timestamp": "2026-11-23T08:00:00Z",
        "triggerReason": "Authorized",
        "seqNo": seq,
        "transactionInfo": {"transactionId": "tx-1"},
    } | more


@pytest.mark.parametrize("version", VERSIONS)
def test_a_boot_is_answered_with_the_operators_word_and_a_jittered_interval(version: str) -> None:
    bench = Bench(tenant=Tenant("default", heartbeat_s=300))
    answer = bench.connect(version).call("BootNotification", boot(version))
    assert answer[0] == 3
    assert answer[2]["status"] == "Accepted"
    assert answer[2]["currentTime"] == format_rfc3339(NOW)
    assert 270 <= answer[2]["interval"] <= 330
    assert bench.journal.facts(Booted)[0].vendor == "v"  # type: ignore[union-attr]


def test_boot_intervals_differ_over_a_fleet() -> None:
    intervals = set()
    for number in range(50):
        wire = Bench().connect()
        intervals.add(wire.call("BootNotification", boot("1.6"), f"id-{number}")[2]["interval"])
    assert len(intervals) > 10


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("policy", ["Pending", "Rejected"])
def test_before_it_is_accepted_a_charger_is_told_to_boot_first(version: str, policy: Any) -> None:
    """1.6 4.2; 2.0.1 B02.FR.09, B03.FR.07. What it said is kept."""
    bench = Bench(record=ChargerRecord("default", "CP1", boot=policy))
    wire = bench.connect(version)
    assert wire.call("BootNotification", boot(version))[2]["status"] == policy
    assert wire.call("Heartbeat", {})[2] == "SecurityError"
    parked = bench.journal.facts(Parked)
    assert parked[0].reason == "not_accepted"  # type: ignore[union-attr]
    bench.charger.record = ChargerRecord("default", "CP1", boot="Accepted")
    assert wire.call("BootNotification", boot(version))[2]["status"] == "Accepted"
    assert wire.call("Heartbeat", {})[0] == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charger_that_reconnects_need_not_boot(version: str) -> None:
    """1.6 5.4, 2.1 part 4 5.4."""
    assert Bench().connect(version).call("Heartbeat", {})[2]["currentTime"] == format_rfc3339(NOW)


def test_heartbeats_are_journalled_once_a_minute() -> None:
    bench = Bench()
    wire = bench.connect()
    for _ in range(100):
        bench.now += 10_000
        wire.call("Heartbeat", {})
    assert len(bench.journal.facts(Seen)) == 17


def test_a_start_is_answered_with_an_id_whatever_the_verdict() -> None:
    """1.6 4.8: energy may have flowed; the charger must learn its id."""
    for status in ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"):
        bench = Bench()
        bench.verdict = Verdict(status)
        answer = bench.ask(bench.connect(), "StartTransaction", START)
        assert answer[2] == {"transactionId": 1, "idTagInfo": {"status": status}}
        (fact,) = bench.journal.facts(TransactionStarted)
        assert (fact.transaction, fact.meter_wh, fact.status) == ("1", 100, status)  # type: ignore[union-attr]


def test_a_repeated_start_gets_the_same_id_under_the_same_or_a_new_message_id() -> None:
    """Repeated after a lost answer: never a second transaction, never ConcurrentTx."""
    bench = Bench()
    wire = bench.connect()
    first = bench.ask(wire, "StartTransaction", START, "a")
    assert bench.ask(wire, "StartTransaction", START, "a") == first
    assert bench.ask(wire, "StartTransaction", START, "b")[2]["transactionId"] == first[2]["transactionId"]
    assert bench.ask(wire, "StartTransaction", START | {"meterStart": 101}, "c")[2]["transactionId"] != first[2]["transactionId"]
    assert len(bench.charger.actor.state.open) == 2


def test_a_repeated_start_gets_the_same_id_from_another_worker() -> None:
    bench = Bench()
    first = bench.ask(bench.connect(), "StartTransaction", START)
    bench.restart_worker()
    assert bench.ask(bench.connect(), "StartTransaction", START)[2]["transactionId"] == first[2]["transactionId"]


def test_without_ids_a_start_is_not_answered_so_that_the_charger_asks_again() -> None:
    bench = Bench()
    while bench.office.ids.take() is not None:
        pass
    wire = bench.connect()
    assert bench.ask(wire, "StartTransaction", START) is None
    bench.office.ids.add(7, 7)
    assert bench.ask(wire, "StartTransaction", START)[2]["transactionId"] == 7


@pytest.mark.parametrize("transaction", [-1, 0, 4711, 2**31 - 1, 2**63 - 1])
def test_a_stop_is_answered_whatever_its_transaction(transaction: int) -> None:
    """1.6 4.10, errata 3.18: -1 comes from a charger that never got its id. The fold decides what becomes of it."""
    bench = Bench()
    stop = {"transactionId": transaction, "meterStop": 5, "timestamp": "2026-11-23T09:00:00Z"}
    assert bench.connect().call("StopTransaction", stop)[2] == {}
    (fact,) = bench.journal.facts(TransactionEnded)
    assert (fact.transaction, fact.meter_wh, fact.reason) == (str(transaction), 5, "Local")  # type: ignore[union-attr]


def test_a_stop_with_a_tag_is_answered_with_its_verdict() -> None:
    bench = Bench()
    stop = {"transactionId": 1, "meterStop": 5, "timestamp": "2026-11-23T09:00:00Z", "idTag": "TAG"}
    assert bench.ask(bench.connect(), "StopTransaction", stop)[2] == {"idTagInfo": {"status": "Accepted"}}


def test_money_frames_are_answered_when_they_are_durable_and_others_at_once() -> None:
    bench = Bench()
    wire = bench.connect()
    bench.journal.held = True
    meter = {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}
    assert wire.call("MeterValues", meter) is None
    bench.journal.settle()
    assert wire.sent[-1][2] == {}
    assert wire.call("MeterValues", {"connectorId": 1, "meterValue": SAMPLES})[2] == {}
    assert wire.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})[2] == {}


def test_while_a_turn_waits_the_next_frames_wait_in_order() -> None:
    bench = Bench()
    wire = bench.connect()
    bench.journal.held = True
    wire.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}, "1")
    wire.call("Heartbeat", {}, "2")
    wire.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}, "3")
    assert wire.sent == []
    bench.journal.settle()
    bench.journal.settle()
    assert [frame[1] for frame in wire.sent] == ["1", "2", "3"]


def test_a_stalled_journal_leaves_money_unanswered_and_heartbeats_answered() -> None:
    """NATS is down: the charger retries its money frames; nothing is doubled, for content tells."""
    bench = Bench()
    wire = bench.connect()
    bench.journal.held = True
    bench.ask(wire, "StartTransaction", START)
    bench.journal.settle(durable=False)
    assert wire.sent == []
    assert wire.call("Heartbeat", {})[0] == 3
    bench.journal.held = False
    assert bench.ask(wire, "StartTransaction", START)[2]["transactionId"] == 1
    starts = bench.journal.facts(TransactionStarted)
    assert [start.transaction for start in starts] == ["1", "1"]  # type: ignore[union-attr]


def test_what_the_journal_has_no_room_for_is_not_answered() -> None:
    bench = Bench()
    wire = bench.connect()
    bench.journal.full = True
    assert wire.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}) is None
    assert wire.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}) is None
    bench.journal.full = False
    assert wire.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})[2] == {}
    assert bench.office.counters.journal_refusals == 2


def test_a_checkpoint_that_fails_leaves_the_start_unanswered() -> None:
    bench = Bench()
    bench.live.durable = False
    wire = bench.connect()
    assert bench.ask(wire, "StartTransaction", START) is None
    bench.live.durable = True
    assert bench.ask(wire, "StartTransaction", START)[2]["transactionId"] == 1


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_transaction_events_are_answered_and_kept_whatever_their_order(version: str) -> None:
    """2.0.1 part 6, TC_E_53: an event cannot be refused."""
    bench = Bench()
    wire = bench.connect(version)
    for kind, seq in (("Updated", 3), ("Ended", 5), ("Started", 0), ("Updated", 3)):
        assert wire.call("TransactionEvent", event(kind, seq))[2] == {}
    facts = bench.journal.facts(TransactionStarted, TransactionUpdated, TransactionEnded)
    assert [fact.seq for fact in facts] == [3, 5, 0, 3]  # type: ignore[union-attr]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_an_event_that_shows_a_token_is_answered_with_its_verdict(version: str) -> None:
    bench = Bench()
    bench.verdict = Verdict("Blocked", group="G")
    shown = event("Started", 0, idToken={"idToken": "TAG", "type": "ISO14443"}, evse={"id": 1, "connectorId": 1})
    answer = bench.ask(bench.connect(version), "TransactionEvent", shown)
    assert answer[2] == {"idTokenInfo": {"status": "Blocked", "groupIdToken": {"idToken": "G", "type": "Central"}}}
    (fact,) = bench.journal.facts(TransactionStarted)
    assert (fact.status, fact.evse, fact.token.id) == ("Blocked", 1, "TAG")  # type: ignore[union-attr]
    assert [open_.transaction for open_ in bench.charger.actor.state.open] == ["tx-1"]


def test_a_verdict_is_asked_for_once_and_then_known() -> None:
    bench = Bench()
    wire = bench.connect()
    bench.ask(wire, "Authorize", {"idTag": "TAG"})
    assert wire.call("Authorize", {"idTag": "tag"})[2] == {"idTagInfo": {"status": "Accepted"}}
    assert bench.started == []


@pytest.mark.parametrize(("offline", "status"), [("cached", "Invalid"), ("accept", "Accepted"), ("reject", "Invalid")])
def test_the_offline_policy_answers_while_the_pool_is_away(offline: Any, status: str) -> None:
    bench = Bench(tenant=Tenant("default", offline=offline))
    bench.verdict = None
    assert bench.ask(bench.connect(), "Authorize", {"idTag": "TAG"})[2] == {"idTagInfo": {"status": status}}


def test_inbound_calls_are_served_while_one_of_ours_is_outstanding() -> None:
    """CitrineOS #178: the charger's Authorize must not wait for our RemoteStart."""
    bench = Bench()
    wire = bench.connect()
    assert bench.charger.conversation is not None
    bench.charger.conversation.call("ours", "RemoteStartTransaction", {"idTag": "TAG"})
    assert bench.ask(wire, "Authorize", {"idTag": "TAG"})[0] == 3


def test_an_unknown_action_is_not_implemented_and_ours_is_not_supported() -> None:
    bench = Bench()
    wire = bench.connect()
    assert wire.call("MakeCoffee", {})[2] == "NotImplemented"
    assert wire.call("Reset", {"type": "Soft"})[2] == "NotSupported"
    assert [parked.reason for parked in bench.journal.facts(Parked)] == ["unknown_action"] * 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("version", "action", "payload", "code"),
    [
        ("1.6", "StatusNotification", {"connectorId": 1}, "OccurenceConstraintViolation"),
        ("2.0.1", "StatusNotification", {"connectorId": 1}, "OccurrenceConstraintViolation"),
        ("1.6", "Heartbeat", {"x": 1}, "FormationViolation"),
        ("2.1", "Heartbeat", {"x": 1}, "FormatViolation"),
        ("1.6", "Authorize", {"idTag": 5}, "TypeConstraintViolation"),
        ("1.6", "Authorize", {"idTag": "x" * 21}, "PropertyConstraintViolation"),
        ("1.6", "Heartbeat", [], "FormationViolation"),
    ],
)
def test_a_strict_tenants_broken_payload_gets_the_error_of_its_kind_and_is_parked(
    version: str, action: str, payload: Any, code: str
) -> None:
    bench = Bench(tenant=Tenant("default", strictness="strict"))
    assert bench.connect(version).call(action, payload)[2] == code
    (parked,) = bench.journal.facts(Parked)
    assert parked.reason == "invalid_payload"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "nested", [b"[" * 60_000, b"[" * 60_000 + b"]" * 60_000 + b"}]", b'{"a":' * 60_000 + b"1" + b"}" * 60_000 + b"}]"]
)
def test_deep_nesting_is_a_fault_of_the_charger(nested: bytes) -> None:
    bench = Bench()
    wire = bench.connect()
    wire.line.on_text(b'[2,"1","DataTransfer",{"vendorId":"v","data":' + nested)
    assert wire.sent == [] or wire.sent[-1][:3] in ([4, "1", "FormationViolation"], [4, "1", "TypeConstraintViolation"])
    assert bench.journal.facts(Parked) != []
    assert wire.call("Heartbeat", {})[0] == 3


def test_a_malformed_message_is_parked_whole() -> None:
    bench = Bench()
    wire = bench.connect()
    wire.line.on_text(b"garbage \x00")
    (parked,) = bench.journal.facts(Parked)
    assert (parked.reason, parked.payload) == ("malformed", b"garbage \x00")  # type: ignore[union-attr]
    assert wire.sent == []


def test_queued_offline_status_does_not_flip_the_live_state() -> None:
    bench = Bench()
    wire = bench.connect()
    status = {"connectorId": 1, "errorCode": "NoError"}
    wire.call("StatusNotification", status | {"status": "Charging", "timestamp": "2026-11-23T09:00:00Z"})
    wire.call("StatusNotification", status | {"status": "Available", "timestamp": "2026-11-23T08:00:00Z"})
    assert [s[2] for s in bench.charger.actor.state.statuses] == ["Charging"]
    assert len(bench.journal.facts(StatusChanged)) == 2


def test_the_newest_connection_wins_and_the_late_close_of_the_old_changes_nothing() -> None:
    bench = Bench()
    old = bench.connect()
    bench.ask(old, "StartTransaction", START)
    new = bench.connect()
    assert old.closed is not None
    assert old.closed[0] == 1008
    assert bench.charger.actor.state.open != ()
    assert old.say(2, "late", "Heartbeat", {}) is None
    old.hang_up()
    assert bench.charger.line is new.line
    assert new.call("Heartbeat", {})[0] == 3
    assert bench.journal.facts(Disconnected) == []
    new.hang_up()
    assert len(bench.journal.facts(Disconnected)) == 1
    first, second = (event.connection for event in bench.journal.events if isinstance(event.body, Connected))
    assert first < second


def test_an_answer_is_not_sent_on_a_line_that_never_asked() -> None:
    bench = Bench()
    old = bench.connect()
    bench.journal.held = True
    old.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}, "m")
    new = bench.connect()
    bench.journal.settle()
    assert new.sent == []
    bench.journal.held = False
    assert new.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}, "m")[1] == "m"
    assert bench.office.counters.repeated == 1


def test_a_planted_bug_costs_one_call_and_keeps_socket_and_state() -> None:
    bench = Bench(planted_bug=True)
    wire = bench.connect()
    bench.ask(wire, "StartTransaction", START)
    before = bench.charger.actor.state
    assert wire.call("DataTransfer", {"vendorId": "cpms.test", "messageId": "raise"})[2] == "InternalError"
    assert wire.closed is None
    assert bench.charger.actor.state == before
    assert wire.call("Heartbeat", {})[0] == 3
    assert bench.journal.facts(Parked)[-1].reason == "crashed"  # type: ignore[union-attr]


def test_crashes_beyond_the_intensity_close_this_connection_and_a_new_one_starts_afresh() -> None:
    bench = Bench(planted_bug=True, restarts_max=3)
    wire = bench.connect()
    bench.ask(wire, "StartTransaction", START)
    for _ in range(4):
        assert wire.closed is None
        wire.call("DataTransfer", {"vendorId": "cpms.test", "messageId": "raise"})
    assert wire.closed is not None
    assert wire.closed[0] == 1011
    wire.hang_up(1011)
    again = bench.connect()
    assert again.call("Heartbeat", {})[0] == 3
    assert len(bench.charger.actor.state.open) == 1


def test_without_the_setting_the_planted_bug_is_an_ordinary_message() -> None:
    assert Bench().connect().call("DataTransfer", {"vendorId": "cpms.test", "messageId": "raise"})[2] == {"status": "UnknownVendorId"}


def test_a_full_mailbox_refuses_and_counts() -> None:
    bench = Bench(mailbox_max=4)
    wire = bench.connect()
    bench.journal.held = True
    for number in range(10):
        wire.call("MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": SAMPLES}, str(number))
    assert bench.office.counters.mailbox_refusals == 5
    while len(wire.sent) < 5:
        bench.journal.settle()
    assert [frame[1] for frame in wire.sent] == ["0", "1", "2", "3", "4"]


def test_every_version_may_follow_another_on_the_same_charger() -> None:
    """A firmware update from 1.6 to 2.0.1: the transactions that were open stay open."""
    bench = Bench()
    bench.ask(bench.connect("1.6"), "StartTransaction", START)
    wire = bench.connect("2.0.1")
    assert wire.call("TransactionEvent", event("Started", 0))[2] == {}
    assert len(bench.charger.actor.state.open) == 2


def test_meter_values_outside_a_transaction_are_metered() -> None:
    bench = Bench()
    bench.connect().call("MeterValues", {"connectorId": 2, "meterValue": SAMPLES})
    (fact,) = bench.journal.facts(Metered)
    assert (fact.evse, fact.samples[0].value, fact.samples[0].unit) == (2, 1500.0, "Wh")  # type: ignore[union-attr]


def test_a_send_is_stored_and_never_answered() -> None:
    bench = Bench()
    wire = bench.connect("2.1")
    stream = {"id": 1, "pending": 0, "basetime": "2026-11-23T08:00:00Z", "data": [{"t": 1.0, "v": "2"}]}
    assert wire.say(6, "s", "NotifyPeriodicEventStream", stream) is None
    (fact,) = bench.journal.facts(Reported)
    assert fact.action == "NotifyPeriodicEventStream"  # type: ignore[union-attr]
    assert wire.say(6, "s", "NotifyPeriodicEventStream", {"nonsense": 1}) is None
