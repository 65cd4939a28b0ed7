"""The whole system, run by `cpms up` on a real nats-server and a real Postgres: what must hold from the socket to the bill."""

import asyncio
import json
from typing import Any

import pytest
from station import BOOT, Session16, Session201, station
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from cpms_actors.base.ids import LANES

SESSIONS = [Session16, Session201]


def billed_once(cpms: Any, charger: str, energy_wh: int) -> None:
    """One session, one CDR, that energy, at 0.50 per kWh."""
    (cdr,) = cpms.until(lambda: cpms.cdrs(charger), lambda cdrs: len(cdrs) > 0)
    (session,) = cpms.sessions(charger)
    assert (session.status, session.energy_wh) == ("Ended", energy_wh)
    assert (cdr.session, cdr.energy_wh, cdr.total_incl_minor) == (session.id, energy_wh, round(energy_wh * 0.05))


@pytest.mark.parametrize("kind", SESSIONS, ids=lambda kind: kind.version)
def test_a_session_is_billed_once_although_its_worker_is_killed_in_the_middle(running_cpms: Any, kind: Any) -> None:
    """The charger reconnects without a BootNotification; another process continues the session from the checkpoint."""
    charger = f"KILL-{kind.version}"
    running_cpms.add_charger(charger)
    running_cpms.add_token(f"T-{charger}")
    session = kind(charger, f"T-{charger}")

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, kind.version) as s:
            await s.call("BootNotification", BOOT[kind.version])
            await session.begin(s, 1000)
            await session.meter(s, 10, 3000)
            running_cpms.kill("worker")
            await s.socket.wait_closed()
        async with station(running_cpms.ws_url, charger, kind.version, patience_s=20) as s:
            await session.meter(s, 20, 6000)
            await session.end(s, 30, 8000)

    asyncio.run(script())
    billed_once(running_cpms, charger, 7000)


def test_a_start_repeated_after_the_worker_died_unanswered_is_one_session(running_cpms: Any) -> None:
    charger = "KILL-START"
    running_cpms.add_charger(charger)
    running_cpms.add_token(f"T-{charger}")
    session = Session16(charger, f"T-{charger}")

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, patience_s=20) as s:
            await session.begin(s, 0)
            first = session.transaction
            running_cpms.kill("worker")
        async with station(running_cpms.ws_url, charger, patience_s=20) as s:
            await session.begin(s, 0)
            assert session.transaction == first
            await session.end(s, 5, 2000)
            await session.end(s, 5, 2000)

    asyncio.run(script())
    billed_once(running_cpms, charger, 2000)


@pytest.mark.parametrize("kind", SESSIONS, ids=lambda kind: kind.version)
def test_a_session_is_billed_once_although_nats_and_every_pool_are_killed(running_cpms: Any, kind: Any) -> None:
    charger = f"NATS-{kind.version}"
    running_cpms.add_charger(charger)
    running_cpms.add_token(f"T-{charger}")
    session = kind(charger, f"T-{charger}")

    async def insist(step: Any, *args: Any) -> None:
        """A charger repeats what was not answered."""
        async with asyncio.timeout(40):
            while True:
                try:
                    return await step(*args)
                except TimeoutError:
                    if kind is Session201:
                        session.seq -= 1  # the same event again

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, kind.version, patience_s=20) as s:
            await session.begin(s, 1000)
            for name in ("session", "tariff"):
                running_cpms.kill("pool", name)
            running_cpms.kill_broker()
            await insist(session.meter, s, 20, 6000)
            await insist(session.end, s, 30, 8000)

    asyncio.run(script())
    billed_once(running_cpms, charger, 7000)


def test_while_postgres_is_away_chargers_see_nothing_and_are_billed_afterwards(running_cpms: Any) -> None:
    charger = "PG-AWAY"
    running_cpms.add_charger(charger)
    running_cpms.add_token(f"T-{charger}")
    first, second = Session16(charger, f"T-{charger}"), Session16(charger, f"T-{charger}")

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, patience_s=20) as s:
            await first.begin(s, 0)
            await first.end(s, 5, 1000)
            running_cpms.kill_postgres()
            payload = second.begin_payload(1000) | {"timestamp": "2026-11-23T08:10:00Z"}
            second.transaction = (await s.call("StartTransaction", payload))["transactionId"]
            await second.meter(s, 20, 2000)
            await second.end(s, 30, 3000)

    asyncio.run(script())
    cdrs = running_cpms.until(lambda: running_cpms.cdrs(charger), lambda found: len(found) == 2)
    assert sorted(cdr.energy_wh for cdr in cdrs) == [1000, 2000]


def test_the_newest_connection_wins_and_the_old_ones_close_changes_nothing(running_cpms: Any) -> None:
    charger = "TWICE"
    running_cpms.add_charger(charger)
    running_cpms.add_token(f"T-{charger}")
    session = Session16(charger, f"T-{charger}")

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, patience_s=20) as old:
            await session.begin(old, 0)
            async with station(running_cpms.ws_url, charger) as new:
                await old.socket.wait_closed()
                assert old.socket.close_code == 1008
                await session.meter(new, 5, 500)
                await session.end(new, 10, 1000)
                assert (await new.call("Heartbeat", {}))["currentTime"]

    asyncio.run(script())
    billed_once(running_cpms, charger, 1000)


def test_a_planted_bug_costs_one_call_of_one_charger(running_cpms: Any) -> None:
    for charger in ("BUG", "GOOD"):
        running_cpms.add_charger(charger)
    running_cpms.add_token("T-BUG")
    session = Session16("BUG", "T-BUG")
    bug = {"vendorId": "cpms.test", "messageId": "raise"}

    async def script() -> None:
        async with station(running_cpms.ws_url, "GOOD", patience_s=20) as good, station(running_cpms.ws_url, "BUG") as bad:
            await session.begin(bad, 0)
            assert (await bad.frame("DataTransfer", bug))[2] == "InternalError"
            await session.meter(bad, 5, 500)  # the socket stays, and so does the state
            for _ in range(3):
                await bad.frame("DataTransfer", bug)
            await bad.socket.wait_closed()
            assert bad.socket.close_code == 1011
            assert (await good.call("Heartbeat", {}))["currentTime"]
            async with station(running_cpms.ws_url, "BUG") as again:
                await session.end(again, 10, 1000)
            assert good.socket.close_code is None

    asyncio.run(script())
    billed_once(running_cpms, "BUG", 1000)
    assert {parked.reason for parked in running_cpms.parked("BUG")} == {"crashed"}


def test_facts_without_a_transaction_are_parked_where_an_operator_sees_them(running_cpms: Any) -> None:
    charger = "PARKED"
    running_cpms.add_charger(charger)

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, patience_s=20) as s:
            stop = {"transactionId": -1, "meterStop": 5, "timestamp": "2026-11-23T09:00:00Z"}
            assert await s.call("StopTransaction", stop) == {}
            await s.socket.send("garbage")
            assert (await s.frame("MakeCoffee", {}))[2] == "NotImplemented"

    asyncio.run(script())
    parked = running_cpms.until(lambda: running_cpms.parked(charger), lambda found: len(found) == 3)
    assert {"malformed", "unknown_action"} < {p.reason for p in parked}
    listed = json.loads(running_cpms.cli("parked", "list", "--charger", charger, "--json").stdout)
    assert len(listed["parked"]) == 3


def test_an_operator_calls_a_charger_and_is_told_its_answer(running_cpms: Any) -> None:
    charger = "CALLED"
    running_cpms.add_charger(charger)

    async def script() -> None:
        async with station(running_cpms.ws_url, charger, patience_s=20) as s:
            s.answers["GetConfiguration"] = {"configurationKey": [{"key": "A", "readonly": False, "value": "1"}]}
            good = await asyncio.to_thread(running_cpms.cli, "call", charger, "GetConfiguration", '{"key":["A"]}', "--json")
            assert good.returncode == 0, good.stderr
            assert "configurationKey" in good.stdout
            assert s.calls[0][2:] == ["GetConfiguration", {"key": ["A"]}]
            refused = await asyncio.to_thread(running_cpms.cli, "call", charger, "Reset", '{"type":"Soft"}')
            assert refused.returncode == 4
            assert "NotSupported" in refused.stdout + refused.stderr
            wrong = await asyncio.to_thread(running_cpms.cli, "call", charger, "Reset", '{"type":"Gently"}')
            assert wrong.returncode == 2
            assert "Traceback" not in wrong.stderr

    asyncio.run(script())
    gone = running_cpms.cli("call", charger, "Reset", '{"type":"Soft"}')
    assert gone.returncode in (2, 3, 4)
    assert "connected" in gone.stderr


def test_an_operators_decisions_reach_the_gateway(running_cpms: Any) -> None:
    """At once: the first knock after the answer is decided by it."""
    charger, password = "DECIDED", "0123456789abcdefghij"

    async def knock(identity: str) -> int:
        async with asyncio.timeout(10):
            while True:
                try:
                    async with connect(f"{running_cpms.ws_url}/{identity}", subprotocols=[Subprotocol("ocpp1.6")]):
                        pass
                except InvalidStatus as error:
                    return error.response.status_code
                except OSError:  # the worker that a test before this one killed is not back yet
                    await asyncio.sleep(0.05)

    assert asyncio.run(knock("NOBODY")) == 404
    for number in range(20):
        running_cpms.add_charger(f"{charger}-{number}", password)
        assert asyncio.run(knock(f"{charger}-{number}")) == 401
    running_cpms.add_charger(charger, password)
    assert running_cpms.cli("charger", "set", charger, "--boot", "rejected").returncode == 0
    shown = json.loads(running_cpms.cli("charger", "show", charger, "--json").stdout)
    assert shown["charger"]["boot"] == "Rejected"
    assert password not in json.dumps(shown)


def test_status_tells_of_the_worker_its_slots_and_the_lanes(running_cpms: Any) -> None:
    said = json.loads(running_cpms.cli("status", "--json").stdout)
    (worker,) = said["workers"]
    assert worker["slots"] == 64
    assert len(said["lanes"]) == LANES
    assert "slots" in running_cpms.cli("status").stdout


def test_after_all_of_it_what_was_billed_fits(running_cpms: Any) -> None:
    """The tests before have killed everything there is. What chargers have done is not looked at: some never came back, others were
    made anew with their registers at the beginning."""
    of_bills = {"not-rated", "no-cdr", "cdr-differs", "billed-twice", "credit-differs", "nameless"}

    def found() -> list[dict[str, Any]]:
        said = json.loads(running_cpms.cli("reconcile", "--json").stdout)
        assert said["sessions"] > 0
        assert said["cdrs"] > 0
        assert of_bills <= {rule["rule"] for rule in said["rules"]}
        return [rule for rule in said["rules"] if rule["found"] and rule["rule"] in of_bills]

    running_cpms.until(found, lambda rules: rules == [])


def test_after_all_of_it_the_journal_still_makes_the_same_database(running_cpms: Any) -> None:
    """What was folded while everything was killed is what a replay folds in one go, into an empty database."""
    done = running_cpms.cli("rebuild", "--json")
    said = json.loads(done.stdout)
    assert [table for table in said["tables"] if not table["identical"]] == []
    assert (done.returncode, said["identical"], said["since"]) == (0, True, None)
    rows = {table["table"]: table["stored"]["rows"] for table in said["tables"]}
    assert all(rows[table] for table in ("sessions", "session_transactions", "meter_values", "cdrs", "chargers", "journal_writers"))
    assert "the database is what the journal makes of it" in running_cpms.cli("rebuild").stdout
