"""A CDR tells what a session came to; a credit takes back exactly that."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cpms_actors.domain.cdr import Cdr, EndedSession, credit_of, draw_up, issued
from cpms_actors.domain.metering import MeteredSession, Reading
from cpms_actors.domain.tariff import simple_tariff

HOUR = 3_600_000
TARIFF = simple_tariff(
    "day", "EUR", version=3, per_kwh=Decimal("0.50"), per_minute_parking=Decimal("0.10"), flat_fee=Decimal(1), tax_percent=Decimal(19)
)


def ended(energy_wh: int = 10_000, end_ms: int = 2 * HOUR, full_at_ms: int = HOUR) -> EndedSession:
    metered = MeteredSession(
        0, end_ms, 100, energy_wh, [Reading(full_at_ms // 2, 100 + energy_wh // 2), Reading(full_at_ms, 100 + energy_wh)]
    )
    return EndedSession("default", 7, 2, "CP1", "TAG", metered)


def drawn(**changes: int) -> Cdr:
    return draw_up(ended(**changes), TARIFF, cdr_id="c1", currency="CHF", now=9 * HOUR)


def test_a_cdr_holds_what_was_metered_and_what_it_costs() -> None:
    cdr = drawn()
    assert (cdr.energy_wh, cdr.charging_s, cdr.parking_s) == (10_000, 3600, 3600)
    # 1.00 + 5.00 + 6.00 = 12.00; with 19 %: 14.28
    assert (cdr.currency, cdr.total_excl_minor, cdr.tax_minor, cdr.total_incl_minor) == ("EUR", 1200, 228, 1428)
    assert (cdr.tenant, cdr.session_id, cdr.session_version, cdr.charger, cdr.token) == ("default", 7, 2, "CP1", "TAG")
    assert (cdr.started_at, cdr.ended_at, cdr.created_at) == (0, 2 * HOUR, 9 * HOUR)
    assert (cdr.credits, cdr.provisional) == (None, False)


def test_a_cdr_shows_its_tariff_periods_and_lines() -> None:
    cdr = drawn()
    assert cdr.detail.tariff == TARIFF
    assert (cdr.tariff_id, cdr.tariff_version) == ("day", 3)
    assert [(p.start_ms, p.end_ms, p.energy_wh, p.kind) for p in cdr.detail.periods] == [
        (0, HOUR, 10_000, "charging"),
        (HOUR, 2 * HOUR, 0, "parking"),
    ]
    assert [line.kind for line in cdr.detail.lines] == ["FLAT", "ENERGY", "PARKING_TIME"]


def test_without_a_tariff_a_session_is_free_and_says_so() -> None:
    cdr = draw_up(ended(), None, cdr_id="c1", currency="CHF", now=0)
    assert (cdr.currency, cdr.total_excl_minor, cdr.tax_minor, cdr.total_incl_minor) == ("CHF", 0, 0, 0)
    assert (cdr.tariff_id, cdr.tariff_version, cdr.detail.lines) == (None, None, ())
    assert (cdr.energy_wh, cdr.charging_s, cdr.parking_s) == (10_000, 3600, 3600)


def test_durations_are_cut_to_seconds() -> None:
    cdr = drawn(end_ms=HOUR + 1999, full_at_ms=HOUR)
    assert (cdr.charging_s, cdr.parking_s) == (3600, 1)


def test_a_session_that_ends_before_it_starts_ends_when_it_starts() -> None:
    cdr = drawn(end_ms=-HOUR, full_at_ms=HOUR)
    assert (cdr.started_at, cdr.ended_at, cdr.charging_s, cdr.energy_wh) == (0, 0, 0, 10_000)


@given(st.integers(0, 200_000), st.integers(0, 100 * HOUR), st.integers(0, 100 * HOUR))
def test_a_cdr_and_its_credit_add_up_to_nothing(energy_wh: int, end_ms: int, full_at_ms: int) -> None:
    cdr = drawn(energy_wh=energy_wh, end_ms=end_ms, full_at_ms=full_at_ms)
    credit = credit_of(cdr, cdr_id="c2", now=10 * HOUR)
    for field in ("energy_wh", "charging_s", "parking_s", "total_excl_minor", "tax_minor", "total_incl_minor"):
        assert getattr(cdr, field) + getattr(credit, field) == 0
    assert [line.excl for line in credit.detail.lines] == [-line.excl for line in cdr.detail.lines]
    assert [line.tax for line in credit.detail.lines] == [-line.tax for line in cdr.detail.lines]


def test_a_credit_names_what_it_takes_back() -> None:
    credit = credit_of(drawn(), cdr_id="c2", now=10 * HOUR)
    assert (credit.id, credit.credits, credit.created_at) == ("c2", "c1", 10 * HOUR)
    assert (credit.session_id, credit.session_version, credit.currency, credit.tariff_id) == (7, 2, "EUR", "day")
    assert (credit.started_at, credit.ended_at, credit.detail.periods) == (0, 2 * HOUR, ())


def test_a_credit_cannot_be_credited() -> None:
    credit = credit_of(drawn(), cdr_id="c2", now=0)
    with pytest.raises(ValueError, match="CDR c2 is a credit of c1"):
        credit_of(credit, cdr_id="c3", now=0)


def test_a_new_cdr_takes_the_former_back_and_one_that_says_the_same_is_not_written() -> None:
    first, later = drawn(), replace(drawn(energy_wh=11_000), id="c2", session_version=3, created_at=10 * HOUR)
    assert issued(first, None, new_id=lambda: "c3") == (first,)
    assert issued(later, first, new_id=lambda: "c3") == (credit_of(first, cdr_id="c3", now=10 * HOUR), later)
    assert issued(replace(first, id="c2", session_version=3, created_at=10 * HOUR), first, new_id=lambda: "c3") == ()
