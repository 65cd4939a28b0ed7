"""The demo's verdict must be able to say no: `cpms_actors.node.demo_verdict`."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from cpms_actors.bus.verbs_ledger import CdrView
from cpms_actors.domain.tariff import Component, Tariff
from cpms_actors.node.demo_verdict import as_json, as_table, cost_of, judge
from cpms_actors.simulator.fleet import FleetResult
from cpms_actors.simulator.session import Period, SessionFacts

HOUR = 3_600_000
TARIFF = Tariff(
    "t",
    1,
    "EUR",
    (
        Component("FLAT", Decimal("0.50")),
        Component("ENERGY", Decimal("0.40")),
        Component("TIME", Decimal("1.20")),
        Component("PARKING_TIME", Decimal("6.00")),
    ),
    Decimal(19),
)


def _facts(identity: str, version: str) -> SessionFacts:
    return SessionFacts(
        identity=identity,
        version=version,
        evse=1,
        token="T",
        transaction="1",
        started_at=0,
        ended_at=2 * HOUR,
        meter_start_wh=0,
        meter_stop_wh=10_000,
        energy_wh=10_000,
        charging_s=3600,
        parking_s=3600,
        reason="Local",
        authorization="Accepted",
        acknowledged=3,
        discarded=0,
        outcome="completed",
        periods=(Period(0, HOUR, 10_000, True), Period(HOUR, 2 * HOUR, 0, False)),
    )


def _cdr(charger: str) -> CdrView:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return CdrView(
        tenant="default",
        id=charger,
        session="1",
        session_version=1,
        charger=charger,
        token="T",
        started_at=moment,
        ended_at=moment,
        energy_wh=10_000,
        charging_s=3600,
        parking_s=3600,
        currency="EUR",
        total_excl_minor=1170,
        tax_minor=222,
        total_incl_minor=1392,
        tariff="t",
        tariff_version=1,
        provisional=False,
        credits=None,
        created_at=moment,
    )


FACTS = [_facts("A", "1.6"), _facts("B", "2.0.1"), _facts("C", "2.1")]
CDRS = [_cdr(charger) for charger in "ABC"]


def _result(facts: list[SessionFacts], *, complete: bool = True) -> FleetResult:
    return FleetResult(
        chargers=3,
        sessions=len(facts),
        energy_wh=sum(f.energy_wh for f in facts),
        complete=complete,
        failures=[],
        connections=3,
        messages_sent=9,
        messages_received=9,
        seconds=1.0,
        facts=facts,
    )


def test_the_cost_is_the_tariffs_of_what_the_car_did() -> None:
    """0.50 + 10 kWh x 0.40 + 1 h x 1.20 + 1 h x 6.00 = 11.70, and 19 % tax: 13.923."""
    assert cost_of(FACTS[0], TARIFF) == 1392


def test_equal_is_equal() -> None:
    outcome = judge(3, _result(FACTS), CDRS, TARIFF)
    assert outcome.equal
    assert outcome.failures == []
    assert (outcome.sessions, outcome.cdrs, outcome.energy_wh.billed, outcome.cost_minor.billed) == (3, 3, 30_000, 4176)
    assert [(row.version, row.chargers, row.cdrs) for row in outcome.versions] == [("1.6", 1, 1), ("2.0.1", 1, 1), ("2.1", 1, 1)]


UNEQUAL = [
    # what the system billed, what is said about it
    (CDRS[:2], "C (2.1): count 1 simulated, 0 billed"),
    ([*CDRS, CDRS[0]], "A (1.6): count 1 simulated, 2 billed"),
    ([*CDRS[:2], replace(CDRS[2], energy_wh=9_999)], "C (2.1): energy_wh 10000 simulated, 9999 billed"),
    ([*CDRS[:2], replace(CDRS[2], total_incl_minor=1391)], "C (2.1): cost_minor 1392 simulated, 1391 billed"),
    ([*CDRS, replace(CDRS[0], charger="X")], "X (?): count 0 simulated, 1 billed"),
]


@pytest.mark.parametrize(("cdrs", "said"), UNEQUAL)
def test_whatever_differs_is_said_and_is_not_equal(cdrs: list[CdrView], said: str) -> None:
    outcome = judge(3, _result(FACTS), cdrs, TARIFF)
    assert not outcome.equal
    assert any(failure.startswith(said) for failure in outcome.failures)
    assert said.split(":")[0] in as_table(outcome)
    assert "NOT equal" in as_table(outcome)


def test_two_errors_that_cancel_are_two_errors() -> None:
    shifted = [replace(CDRS[0], energy_wh=10_001), replace(CDRS[1], energy_wh=9_999), CDRS[2]]
    outcome = judge(3, _result(FACTS), shifted, TARIFF)
    assert outcome.energy_wh.simulated == outcome.energy_wh.billed
    assert not outcome.equal
    assert len(outcome.failures) == 2


def test_a_charger_that_had_no_session_is_missed() -> None:
    outcome = judge(3, _result(FACTS[:2]), CDRS[:2], TARIFF)
    assert not outcome.equal
    assert "2 of 3 chargers had a session" in outcome.failures


def test_a_simulation_that_did_not_complete_proves_nothing() -> None:
    assert not judge(3, _result(FACTS, complete=False), CDRS, TARIFF).equal


def test_programs_get_one_line_and_people_a_table() -> None:
    outcome = judge(3, _result(FACTS), CDRS, TARIFF)
    assert json.loads(as_json(outcome))["cost_minor"] == {"simulated": 4176, "billed": 4176}
    assert as_json(outcome).count("\n") == 1
    *_, total, _, verdict = as_table(outcome).splitlines()
    assert total.split() == ["all", "3", "3", "3", "30.000", "30.000", "41.76", "41.76"]
    assert verdict.startswith("equal")
