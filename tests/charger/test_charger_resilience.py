"""What goes wrong around a charger and must not cost it, or anybody else, a fact."""

import gc
import json
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from harness import Bench, boot

from cpms_actors.bus import commands
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.charger.charger import EXPECTED_MS, Charger
from cpms_actors.domain.access import ChargerRecord, Tenant
from cpms_actors.domain.events import Connected, Disconnected, Parked, TransactionStarted

START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-11-23T08:00:00Z", "meterStart": 100}
STOP = {"transactionId": 1, "timestamp": "2026-11-23T09:00:00Z", "meterStop": 200}


def event(kind: str, seq: int, **more: Any) -> dict[str, Any]:
    return {
        "eventType": kind,
        "timestamp": "2026-11-23T08:00:00Z",
        "triggerReason": "Authorized",
        "seqNo": seq,
        "transactionInfo": {"transactionId": "tx-1"},
    } | more


def test_the_connection_epoch_grows_whatever_was_forgotten_in_between() -> None:
    bench = Bench()
    for _ in range(3):
        bench.now += 1
        bench.connect("2.0.1").hang_up()
    bench.charger.leave()
    bench.restart_worker()
    bench.now += 1
    bench.connect("2.0.1")
    epochs = [e.connection for e in bench.journal.events if isinstance(e.body, Connected)]
    assert epochs == sorted(set(epochs))


def test_the_end_of_a_line_is_told_although_the_actor_has_given_up() -> None:
    bench = Bench(planted_bug=True, restarts_max=0)
    wire = bench.connect()
    wire.call("DataTransfer", {"vendorId": "cpms.test", "messageId": "raise"})
    wire.hang_up(1011)
    assert len(bench.journal.facts(Disconnected)) == 1


def test_a_full_mailbox_swallows_neither_the_end_nor_the_beginning_of_a_line() -> None:
    bench = Bench(mailbox_max=2)
    wire = bench.connect("1.6")
    bench.journal.held = True
    bench.ask(wire, "StartTransaction", START)
    for _ in range(3):
        wire.call("Heartbeat", {})
    wire.hang_up()
    again = bench.connect("2.0.1")
    bench.journal.held = False
    bench.journal.settle()
    assert again.call("BootNotification", boot("2.0.1"))[2]["status"] == "Accepted"
    assert len(bench.journal.facts(Connected)) == 2
    assert len(bench.journal.facts(Disconnected)) == 1


def test_a_line_that_the_journal_had_no_room_for_is_told_of_before_anything_that_is_said_on_it() -> None:
    bench = Bench()
    bench.journal.full = True
    wire = bench.connect()
    assert wire.call("BootNotification", boot("1.6")) is None
    bench.journal.full = False
    bench.now += 7
    assert bench.ask(wire, "StartTransaction", START) is not None
    first, second = bench.journal.events
    assert (type(first.body), type(second.body)) == (Connected, TransactionStarted)
    assert (first.connection, first.number, first.received_at) == (second.connection, 1, second.received_at - 7)


@pytest.mark.parametrize("beginning", [True, False], ids=["as its beginning", "but its beginning"])
def test_the_end_of_a_line_that_the_journal_had_no_room_for_is_told_when_it_has(beginning: bool) -> None:
    bench = Bench()
    bench.journal.full = beginning
    wire = bench.connect()
    bench.journal.full = True
    wire.hang_up()
    bench.now += EXPECTED_MS
    assert not bench.charger.tell_the_rest()
    assert not bench.charger.idle, "else it would be forgotten, and with it what has yet to be told"
    bench.journal.full = False
    assert bench.charger.tell_the_rest()
    assert bench.charger.idle
    assert [type(fact) for fact in bench.journal.facts()] == [Connected, Disconnected]
    assert {event.connection for event in bench.journal.events} == {bench.charger.connection}


def test_of_lines_that_the_journal_had_no_room_for_the_newest_is_told_of() -> None:
    bench = Bench()
    bench.journal.full = True
    bench.connect().hang_up()
    bench.connect()
    bench.journal.full = False
    assert bench.charger.tell_the_rest()
    assert [(type(each.body), each.connection) for each in bench.journal.events] == [(Connected, bench.charger.connection)]


@pytest.mark.parametrize("action", ["Heartbeat", "TransactionEvent"])
def test_a_send_is_never_answered_and_parked_when_its_action_wants_a_call(action: str) -> None:
    """2.1 part 4, 4.2.5."""
    bench = Bench()
    payload = event("Updated", 1) if action == "TransactionEvent" else {}
    assert bench.connect("2.1").say(6, "s", action, payload) is None
    assert len(bench.journal.facts(Parked)) == 1


def test_a_call_is_answered_although_its_action_wants_a_send() -> None:
    stream = {"id": 1, "pending": 0, "basetime": "2026-11-23T08:00:00Z", "data": [{"t": 0, "v": "1"}]}
    assert Bench().connect("2.1").call("NotifyPeriodicEventStream", stream)[2] == "NotSupported"


@pytest.mark.parametrize(
    "sample",
    [
        {"value": 1, "unitOfMeasure": {"unit": "Wh", "multiplier": 400}},
        {"value": 1, "unitOfMeasure": {"unit": "Wh", "multiplier": -400}},
        {"value": 1e308, "unitOfMeasure": {"unit": "kWh"}},
        {"value": 1e30},
    ],
)
def test_numbers_beyond_any_meter_do_not_refuse_a_transaction_event(sample: dict[str, Any]) -> None:
    bench = Bench()
    samples = [{"timestamp": "2026-11-23T08:00:00Z", "sampledValue": [sample | {"context": "Transaction.End"}]}]
    assert bench.connect("2.0.1").call("TransactionEvent", event("Ended", 3, meterValue=samples))[0] == 3
    for kept in bench.journal.events:
        msgspec.msgpack.encode(kept)


def test_a_stop_whose_checkpoint_failed_is_checkpointed_by_its_retry() -> None:
    bench = Bench()
    wire = bench.connect()
    bench.ask(wire, "StartTransaction", START)
    bench.live.durable = False
    assert wire.call("StopTransaction", STOP) is None
    bench.live.durable = True
    assert wire.call("StopTransaction", STOP)[0] == 3
    bench.restart_worker()
    assert bench.charger.actor.state.open == ()


def test_a_start_that_comes_after_its_end_does_not_open_the_transaction_again() -> None:
    bench = Bench()
    wire = bench.connect("2.0.1")
    wire.call("TransactionEvent", event("Ended", 1))
    wire.call("TransactionEvent", event("Started", 0))
    assert bench.charger.actor.state.open == ()


@pytest.mark.parametrize("policy", ["Pending", "Rejected"])
def test_the_gate_outlives_the_worker(policy: Any) -> None:
    bench = Bench(record=ChargerRecord("default", "CP1", boot=policy))
    bench.connect().call("BootNotification", boot("1.6"))
    bench.restart_worker()
    assert bench.ask(bench.connect(), "StartTransaction", START)[2] == "SecurityError"
    bench.charger.record = ChargerRecord("default", "CP1", boot="Accepted")
    bench.connect().call("BootNotification", boot("1.6"))
    bench.restart_worker()
    assert bench.ask(bench.connect(), "StartTransaction", START)[0] == 3


def test_a_tenants_new_policy_holds_from_the_next_message_on() -> None:
    bench = Bench(tenant=Tenant("default", heartbeat_s=300, strictness="strict"))
    wire = bench.connect()
    bench.charger.behaviour.tenant = Tenant("default", heartbeat_s=60)
    assert wire.call("BootNotification", boot("1.6"))[2]["interval"] <= 66


def test_a_charger_that_was_admitted_is_not_forgotten_before_its_line_opens() -> None:
    bench = Bench()
    bench.charger.line = None
    bench.now += 1
    assert bench.charger.idle
    bench.charger.expect()
    assert not bench.charger.idle
    bench.now += 60_000
    assert bench.charger.idle


@pytest.mark.trio
async def test_a_call_that_waited_is_not_sent_on_a_line_it_was_not_meant_for(autojump_clock: Any) -> None:
    bench, answers = Bench(), dict[str, CallAnswer]()
    bench.connect("1.6")

    async def call(action: str, payload: bytes) -> None:
        answers[action] = await bench.charger.call(action, payload, 30)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, "ClearCache", b"{}")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(call, "RemoteStopTransaction", b'{"transactionId":1}')
        await trio.testing.wait_all_tasks_blocked()
        newer = bench.connect("2.0.1")
    assert newer.sent == []
    assert {answer.code for answer in answers.values()} == {commands.DISCONNECTED}


@pytest.mark.trio
async def test_a_call_on_a_line_that_does_not_take_it_fails_at_once(autojump_clock: Any) -> None:
    bench = Bench()
    bench.connect().closed = (1006, "")
    assert (await bench.charger.call("ClearCache", b"{}", 30)).code == commands.DISCONNECTED
    assert trio.current_time() < 1


@pytest.mark.trio
async def test_a_remote_start_that_waited_is_checked_against_the_gate_that_closed_meanwhile(autojump_clock: Any) -> None:
    bench, answers = Bench(record=ChargerRecord("default", "CP1", boot="Pending")), list[CallAnswer]()
    wire = bench.connect()

    async def call(action: str, payload: bytes) -> None:
        answers.append(await bench.charger.call(action, payload, 30))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, "ClearCache", b"{}")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(call, "RemoteStartTransaction", b'{"idTag":"T"}')
        await trio.testing.wait_all_tasks_blocked()
        wire.call("BootNotification", boot("1.6"))
        wire.line.on_text(json.dumps([3, wire.sent[0][1], {"status": "Accepted"}]).encode())
    assert answers[1].code == commands.NOT_ALLOWED


def test_a_charger_that_is_forgotten_is_gone_at_once() -> None:
    """Without the cyclic collector, which looks so rarely that a fleet that comes and goes would grow the worker every time."""
    bench = Bench()
    wire = bench.connect("1.6")
    wire.call("BootNotification", boot("1.6"))
    wire.hang_up()
    gc.collect()
    gc.disable()
    try:
        known = chargers()
        bench.charger.leave()
        del bench.charger, wire
        assert chargers() == known - 1
    finally:
        gc.enable()


def chargers() -> int:
    return sum(type(each) is Charger for each in gc.get_objects())
