"""While there is a queue at the gates a charger that has just started is answered Pending: who is, for how long, and what ends it."""

from typing import Any

import pytest
from harness import Bench, boot

from cpms_actors.bus import commands
from cpms_actors.charger.behaviour import PENDING_FIRST_S
from cpms_actors.charger.live import HELD, Live, OpenTransaction
from cpms_actors.domain.access import ChargerRecord
from cpms_actors.domain.events import Booted, Parked

VERSIONS = ["1.6", "2.0.1", "2.1"]
QUEUE_S = 60.0
CHARGING = (OpenTransaction("1", 1, 0),)


def booted(bench: Bench, version: str, id_: str = "") -> Any:
    return bench.connect(version).call("BootNotification", boot(version), id_)[2]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("state", "policy", "queue_s", "status", "boot_after"),
    [
        (Live(), "Accepted", 0.0, "Accepted", "Accepted"),
        (Live(), "Accepted", QUEUE_S, "Pending", HELD),
        (Live(boot=HELD), "Accepted", QUEUE_S, "Accepted", "Accepted"),  # it has waited once
        (Live(boot="Accepted"), "Accepted", QUEUE_S, "Accepted", "Accepted"),
        (Live(boot="Pending"), "Accepted", QUEUE_S, "Accepted", "Accepted"),  # somebody has just let it in
        (Live(open=CHARGING), "Accepted", QUEUE_S, "Accepted", "Accepted"),
        (Live(boot="Accepted", open=CHARGING), "Accepted", QUEUE_S, "Accepted", "Accepted"),
        (Live(), "Pending", QUEUE_S, "Pending", "Pending"),
        (Live(boot=HELD), "Pending", QUEUE_S, "Pending", "Pending"),
        (Live(), "Rejected", QUEUE_S, "Rejected", "Rejected"),
    ],
)
def test_who_has_to_wait(version: str, state: Live, policy: Any, queue_s: float, status: str, boot_after: str) -> None:
    """1.6 4.2; 2.0.1 B02."""
    bench = Bench(record=ChargerRecord("default", "CP1", boot=policy))
    bench.boot_wait_s = queue_s
    bench.charger.actor.state = state
    assert booted(bench, version)["status"] == status
    assert bench.charger.actor.state.boot == boot_after
    assert [fact.status for fact in bench.journal.facts(Booted)] == [status]  # type: ignore[union-attr]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charger_that_waits_is_told_to_boot_first_and_is_served_when_it_boots_again(version: str) -> None:
    bench = Bench()
    bench.boot_wait_s = QUEUE_S
    wire = bench.connect(version)
    assert wire.call("BootNotification", boot(version))[2]["status"] == "Pending"
    assert wire.call("Heartbeat", {})[2:4] == ["SecurityError", "BootNotification was answered Pending: boot first"]
    assert len(bench.journal.facts(Parked)) == 1
    assert wire.call("BootNotification", boot(version))[2]["status"] == "Accepted"
    assert wire.call("Heartbeat", {})[0] == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_charger_that_reconnects_without_a_boot_is_served_whatever_the_queue(version: str) -> None:
    bench = Bench()
    bench.boot_wait_s = QUEUE_S
    assert bench.connect(version).call("Heartbeat", {})[0] == 3


def test_the_intervals_are_spread_over_what_the_queue_needs() -> None:
    intervals = []
    for number in range(400):
        bench = Bench()
        bench.boot_wait_s = QUEUE_S
        intervals.append(booted(bench, "1.6", f"id-{number}")["interval"])
    assert min(intervals) >= PENDING_FIRST_S
    assert max(intervals) <= PENDING_FIRST_S + QUEUE_S
    in_a_third = [sum(low <= i - PENDING_FIRST_S < low + 20 for i in intervals) for low in (0, 20, 40)]
    assert min(in_a_third) > 100


def test_nothing_of_the_wait_is_durable_and_it_is_answered_at_once() -> None:
    """Another worker serves the charger; a boot that ends the wait costs no checkpoint either."""
    bench = Bench()
    bench.boot_wait_s = QUEUE_S
    bench.journal.held = True
    wire = bench.connect()
    assert wire.call("BootNotification", boot("1.6"))[2]["status"] == "Pending"
    assert bench.live.saved == {}
    assert wire.call("BootNotification", boot("1.6"))[2]["status"] == "Accepted"
    assert bench.live.saved == {}
    bench.restart_worker()
    assert bench.connect().call("Heartbeat", {})[0] == 3


def test_a_charger_that_is_forgotten_while_it_waits_leaves_nothing() -> None:
    bench = Bench()
    bench.boot_wait_s = QUEUE_S
    booted(bench, "1.6")
    bench.charger.leave()
    assert bench.live.saved == {}


@pytest.mark.trio
@pytest.mark.parametrize(
    ("action", "payload", "allowed"), [("RemoteStartTransaction", b'{"idTag":"T"}', False), ("GetConfiguration", b"{}", True)]
)
async def test_while_it_waits_it_may_be_asked_what_a_pending_charger_may(
    action: str, payload: bytes, allowed: bool, autojump_clock: Any
) -> None:
    bench = Bench()
    bench.boot_wait_s = QUEUE_S
    booted(bench, "1.6")
    answer = await bench.charger.call(action, payload, 1)
    assert answer.code == (commands.TIMEOUT if allowed else commands.NOT_ALLOWED)


def test_a_charger_that_was_charging_is_known_from_its_checkpoint() -> None:
    bench = Bench()
    slot = bench.charger.slot.number
    assert not bench.office.was_charging(slot, "default", "CP1")
    bench.charger.actor.state = Live(open=CHARGING)
    bench.charger.leave()
    assert bench.office.was_charging(slot, "default", "CP1")
    assert bench.office.was_charging(slot, "default", "CP1")  # it is still there for whoever takes it
    assert not bench.office.was_charging(slot, "default", "CP2")
    bench.live.saved = dict.fromkeys(bench.live.saved, b"\xc1")
    assert not bench.office.was_charging(slot, "default", "CP1")
