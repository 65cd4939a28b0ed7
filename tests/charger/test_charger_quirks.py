"""What real chargers sent, to a lenient tenant: accepted, the good part kept, the rest parked. To a strict one: refused, parked."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness import Bench, Wire

from cpms_actors.domain.access import Strictness, Tenant
from cpms_actors.domain.events import Booted, Fact, Metered, Parked, StatusChanged, TransactionEnded, TransactionUpdated

CASES = {
    case["id"]: case
    for case in map(json.loads, (Path(__file__).parents[1] / "data" / "charger-quirks" / "cases.jsonl").read_text().splitlines())
}


def play(case: str, strictness: Strictness = "lenient") -> tuple[Bench, Wire]:
    """The frames of a case, one after the other."""
    bench = Bench(tenant=Tenant("default", strictness=strictness))
    wire = bench.connect("1.6")
    for frame in CASES[case]["frames"]:
        wire.line.on_text(json.dumps(frame).encode())
    return bench, wire


def only(bench: Bench, kind: type) -> Any:
    (fact,) = bench.journal.facts(kind)
    return fact


def repaired(bench: Bench) -> list[Fact]:
    return [fact for fact in bench.journal.facts(Parked) if isinstance(fact, Parked) and fact.reason == "repaired"]


def test_every_case_of_the_collection_has_its_test() -> None:
    assert set(CASES) == {case for case, *_ in ANSWERS}


ANSWERS = [
    # case, frames answered by a CALLRESULT, whether something of it is parked
    ("alfen_eve_huge_txid_and_bad_context", 1, True),
    ("abb_terra_null_string_info", 1, False),
    ("schneider_serial_too_long", 1, True),
    ("esp_numeric_value", 1, True),
    ("chargeamps_unit_hz", 1, True),
    ("celsius", 1, False),
    ("metron_constant_message_id", 2, False),
    ("evbox_boot", 1, False),
    ("everest_stop_minus1_offline", 1, False),
    ("meter_for_unexpected_tx", 1, False),
]


@pytest.mark.parametrize(("case", "answers", "parked"), ANSWERS)
def test_a_lenient_tenant_answers_the_charger_and_parks_what_was_odd(case: str, answers: int, parked: bool) -> None:
    bench, wire = play(case)
    assert [frame[0] for frame in wire.sent] == [3] * answers
    assert (len(repaired(bench)) > 0) is parked


def test_a_transaction_id_beyond_32_bits_is_kept_and_the_good_sample_with_it() -> None:
    bench, _ = play("alfen_eve_huge_txid_and_bad_context")
    fact = only(bench, TransactionUpdated)
    assert fact.transaction == "9223372036854775807"
    assert 15.63 in [sample.value for sample in fact.samples]
    assert all(not sample.measurand.startswith("Energy") for sample in fact.samples)


def test_a_serial_number_that_is_too_long_does_not_lock_the_charger_out() -> None:
    bench, wire = play("schneider_serial_too_long")
    assert wire.sent[0][2]["status"] == "Accepted"
    assert only(bench, Booted).model == "EVlink Smart Wallbox"


def test_numbers_where_strings_belong_are_read() -> None:
    bench, _ = play("esp_numeric_value")
    assert [sample.value for sample in only(bench, Metered).samples] == [10.0, 10.0]


def test_other_spellings_of_units_are_read() -> None:
    (frequency,) = only(play("chargeamps_unit_hz")[0], TransactionUpdated).samples
    (temperature,) = only(play("celsius")[0], Metered).samples
    assert (frequency.value, frequency.unit, temperature.value, temperature.unit) == (49.98, "Hz", 31.0, "Celsius")


def test_a_constant_message_id_is_answered_each_time() -> None:
    bench, wire = play("metron_constant_message_id")
    assert [frame[1] for frame in wire.sent] == ["1000001", "1000001"]
    assert len(bench.journal.facts(Booted)) == 2


def test_the_text_null_is_a_text() -> None:
    assert only(play("abb_terra_null_string_info")[0], StatusChanged).info == "null"


def test_a_stop_of_minus_one_is_answered_and_goes_to_the_fold() -> None:
    bench, wire = play("everest_stop_minus1_offline")
    assert wire.sent == [[3, "1", {}]]
    assert only(bench, TransactionEnded).transaction == "-1"


@pytest.mark.parametrize("case", [case for case, _, parked in ANSWERS if parked])
def test_a_strict_tenant_refuses_and_parks_what_is_not_by_the_schema(case: str) -> None:
    bench, wire = play(case, "strict")
    assert wire.sent[-1][0] == 4
    assert only(bench, Parked).reason == "invalid_payload"
