"""A worker whose clock is put back or forward by hours between two messages: nobody waits for the hours to pass."""

import pytest
from harness import Bench

from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import Seen, TransactionEnded, TransactionStarted, TransactionUpdated

HOUR_MS = 3_600_000
JUMPS = pytest.mark.parametrize("jump", [-5 * HOUR_MS, 5 * HOUR_MS], ids=["back", "forward"])
START = {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-11-19T08:00:00Z", "meterStart": 100}
SAMPLES = [{"timestamp": "2026-11-19T08:10:00Z", "sampledValue": [{"value": "500"}]}]


@JUMPS
def test_a_session_is_told_as_its_charger_told_it(jump: int) -> None:
    told = []
    for by in (0, jump):
        bench = Bench()
        wire = bench.connect()
        transaction = bench.ask(wire, "StartTransaction", START)[2]["transactionId"]
        bench.now += by
        assert bench.ask(wire, "StartTransaction", START)[2]["transactionId"] == transaction
        assert wire.call("MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": SAMPLES})[2] == {}
        bench.now -= by
        stop = {"transactionId": transaction, "meterStop": 900, "timestamp": "2026-11-19T08:30:00Z"}
        assert wire.call("StopTransaction", stop)[2] == {}
        told.append(bench.journal.facts(TransactionStarted, TransactionUpdated, TransactionEnded))
    assert told[0] == told[1]


@JUMPS
def test_heartbeats_are_journalled_once_a_minute_all_the_same(jump: int) -> None:
    bench = Bench()
    wire = bench.connect()
    bench.now += HOUR_MS
    wire.call("Heartbeat", {})
    bench.now += jump
    before = len(bench.journal.facts(Seen))
    for _ in range(60):
        wire.call("Heartbeat", {})
        bench.now += 10_000
    assert len(bench.journal.facts(Seen)) - before == 10


@JUMPS
def test_a_verdict_is_asked_for_again(jump: int) -> None:
    """Rather once too often than to let a driver charge for hours who was blocked meanwhile."""
    bench = Bench()
    wire = bench.connect()
    assert bench.ask(wire, "Authorize", {"idTag": "TAG"})[2] == {"idTagInfo": {"status": "Accepted"}}
    bench.now += jump
    bench.verdict = Verdict("Blocked")
    assert bench.ask(wire, "Authorize", {"idTag": "TAG"})[2] == {"idTagInfo": {"status": "Blocked"}}
    assert bench.ask(wire, "Authorize", {"idTag": "TAG"})[2] == {"idTagInfo": {"status": "Blocked"}}


@JUMPS
def test_the_newest_connection_has_the_highest_number(jump: int) -> None:
    bench = Bench()
    bench.connect()
    first = bench.charger.connection
    bench.now += jump
    bench.connect()
    assert bench.charger.connection > first
