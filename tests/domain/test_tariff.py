"""Pricing as rules: rounding once, tax per component, limits, steps; and what cannot be a tariff."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.domain.metering import Kind, Period, merged
from cpms_actors.domain.tariff import (
    CURRENCIES,
    Component,
    Dimension,
    Limit,
    Tariff,
    decode,
    encode,
    price,
    simple_tariff,
    validate,
)

D = Decimal
HOUR = 3_600_000
ENERGY = Component("ENERGY", D("0.25"))


def tariff(
    *components: Component, currency: str = "EUR", tax: str = "0", least: Limit | None = None, most: Limit | None = None
) -> Tariff:
    return Tariff("t", 1, currency, components, D(tax), least, most)


def charged(energy_wh: int, duration_ms: int = HOUR) -> tuple[Period, ...]:
    return (Period(0, duration_ms, energy_wh, "charging"),)


# --- single prices

CHARGED_AND_PARKED = (Period(0, HOUR, 10_000, "charging"), Period(HOUR, 3 * HOUR, 0, "parking"))


@pytest.mark.parametrize(
    ("components", "tax", "currency", "excl", "incl"),
    [
        ([], "19", "EUR", 0, 0),
        ([Component("ENERGY", D("0.25"))], "0", "EUR", 250, 250),
        ([Component("ENERGY", D("0.25"))], "19", "EUR", 250, 298),  # 2.975, half up
        ([Component("TIME", D("3"))], "10", "EUR", 300, 330),
        ([Component("PARKING_TIME", D("1.2"))], "0", "EUR", 240, 240),
        ([Component("FLAT", D("0.5"))], "20", "EUR", 50, 60),
        ([Component("FLAT", D("0.5"), 1, D(0)), ENERGY], "20", "EUR", 300, 350),  # a tax of its own
        ([Component("ENERGY", D("39.5"))], "10", "JPY", 395, 435),  # no minor unit: 434.5, half up
        ([Component("ENERGY", D("0.0255"))], "0", "KWD", 255, 255),  # three decimals
        ([Component("ENERGY", D("0.0004")), Component("FLAT", D("0.001"))], "0", "EUR", 1, 1),  # 0.005: the sum is rounded, not terms
    ],
)
def test_components_add_up(components: list[Component], tax: str, currency: str, excl: int, incl: int) -> None:
    cost = price(tariff(*components, tax=tax, currency=currency), CHARGED_AND_PARKED)
    assert (cost.total_excl_minor, cost.tax_minor, cost.total_incl_minor) == (excl, incl - excl, incl)
    assert cost.currency == currency


def test_a_third_of_an_hour_is_a_third() -> None:
    """Three periods of 20 minutes at 1.00 an hour cost 1.00, not 0.99: nothing is rounded on the way."""
    thirds = tuple(Period(i * HOUR // 3, (i + 1) * HOUR // 3, 0, "charging") for i in range(3))
    assert price(tariff(Component("TIME", D(1))), thirds).total_excl_minor == 100


def test_a_session_that_never_took_place_costs_nothing() -> None:
    cost = price(tariff(Component("FLAT", D(1)), least=Limit(D(5))), ())
    assert (cost.lines, cost.total_excl_minor, cost.tax_minor, cost.total_incl_minor) == ((), 0, 0, 0)


def test_operators_give_prices_per_minute() -> None:
    made = simple_tariff(
        "day",
        "EUR",
        per_kwh=D("0.49"),
        per_minute_charging=D("0.01"),
        per_minute_parking=D("0.10"),
        flat_fee=D("0.35"),
        minimum=D(1),
        maximum=D(99),
        tax_percent=D(19),
    )
    assert {c.dimension: c.price for c in made.components} == {
        "FLAT": D("0.35"),
        "ENERGY": D("0.49"),
        "TIME": D("0.60"),
        "PARKING_TIME": D("6.00"),
    }
    # 0.35 + 4.90 + 0.60 + 12.00 = 17.85; with 19 %: 21.2415
    cost = price(made, CHARGED_AND_PARKED)
    assert (cost.total_excl_minor, cost.tax_minor, cost.total_incl_minor) == (1785, 339, 2124)


# --- limits and steps


@pytest.mark.parametrize(
    ("energy_wh", "least", "most", "excl", "incl"),
    [
        (1_000, Limit(D(1)), None, 100, 120),
        (1_000, Limit(D(1), D("1.1")), None, 100, 110),
        (8_000, Limit(D(1)), None, 200, 240),
        (80_000, None, Limit(D(10)), 1000, 1200),
        (80_000, None, Limit(D(10), D(11)), 1000, 1100),
        (40_000, None, Limit(D(10)), 1000, 1200),
        (36_800, None, Limit(D(10), D(11)), 920, 1100),  # only the price with tax exceeds its limit
        (0, Limit(D(1)), None, 100, 120),
    ],
)
def test_a_session_costs_no_less_than_the_least_and_no_more_than_the_most(
    energy_wh: int, least: Limit | None, most: Limit | None, excl: int, incl: int
) -> None:
    cost = price(tariff(ENERGY, tax="20", least=least, most=most), charged(energy_wh))
    assert (cost.total_excl_minor, cost.total_incl_minor) == (excl, incl)
    assert sum(line.excl for line in cost.lines) == D(excl) / 100
    assert sum(line.excl + line.tax for line in cost.lines) == D(incl) / 100


STEPPED = tariff(Component("TIME", D(6), 300), Component("PARKING_TIME", D(12), 600))
MINUTE = 60_000


@pytest.mark.parametrize(
    ("stretches", "time_min", "parking_min"),
    [
        ([("charging", 21)], 25, None),
        ([("charging", 21), ("parking", 7)], 21, 10),  # charging turned into parking: not rounded up
        ([("charging", 21), ("parking", 7), ("charging", 1)], 25, 7),
        ([("parking", 7)], None, 10),
        ([("charging", 25), ("parking", 20)], 25, 20),
        ([("charging", 21), ("parking", 0)], 25, None),  # a stretch without duration ends nothing
    ],
)
def test_only_the_last_timed_dimension_is_rounded_up(
    stretches: list[tuple[Kind, int]], time_min: int | None, parking_min: int | None
) -> None:
    """OCPI 2.2.1 mod_cdrs: the step size counts once for TIME and PARKING_TIME combined."""
    periods, at = [], 0
    for kind, minutes in stretches:
        periods.append(Period(at, at + minutes * MINUTE, 0, kind))
        at += minutes * MINUTE
    billed = {line.kind: line.billed // MINUTE for line in price(STEPPED, periods).lines}
    assert (billed.get("TIME"), billed.get("PARKING_TIME")) == (time_min, parking_min)


def test_charging_is_the_last_timed_dimension_when_parking_is_not_priced() -> None:
    cost = price(tariff(Component("TIME", D(6), 300)), (Period(0, 21 * MINUTE, 0, "charging"), Period(21 * MINUTE, HOUR, 0, "parking")))
    assert cost.lines[0].billed == 25 * MINUTE


# --- what cannot be a tariff


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (tariff(Component("ENERGY", D("-0.01"))), "the price of ENERGY is -0.01; give an amount from 0"),
        (tariff(Component("FLAT", D("NaN"))), "the price of FLAT is NaN"),
        (tariff(Component("FLAT", D("Infinity"))), "the price of FLAT is Infinity"),
        (tariff(Component("FLAT", D("1000000.01"))), "give an amount from 0 to 1000000"),
        (tariff(Component("FLAT", D("0.000000001"))), "with at most 8 decimals"),
        (tariff(Component("FLAT", D("0E+999999999"))), "the price of FLAT"),
        (tariff(ENERGY, ENERGY), "two components for ENERGY; give one price per dimension"),
        (tariff(Component("TIME", D(1), 0)), "step_size 0 of TIME; give 1 to"),
        (tariff(Component("TIME", D(1), -60)), "step_size -60 of TIME"),
        (tariff(ENERGY, tax="-1"), "the tax is -1 %; give a percentage from 0 to 100"),
        (tariff(replace(ENERGY, tax_percent=D(101))), "the tax of ENERGY is 101 %"),
        (tariff(ENERGY, currency="EURO"), "currency 'EURO' is not known; give an ISO 4217 code such as EUR"),
        (tariff(ENERGY, currency="eur"), "currency 'eur' is not known"),
        (tariff(ENERGY, least=Limit(D(-1))), "min_price is -1"),
        (tariff(ENERGY, most=Limit(D(2), D(1))), "max_price is lower with tax than without; swap 1 and 2"),
        (tariff(ENERGY, least=Limit(D(2)), most=Limit(D(1))), "min_price exceeds max_price"),
        (tariff(ENERGY, least=Limit(D(1), D(3)), most=Limit(D(2), D(2))), "min_price exceeds max_price"),
        (replace(tariff(ENERGY), id=""), "a tariff's id has 1 to 36"),
        (replace(tariff(ENERGY), id="a\nb"), "a tariff's id has 1 to 36"),
        (replace(tariff(ENERGY), version=0), "version 0 is none"),
    ],
)
def test_a_wrong_tariff_is_refused_with_the_remedy(wrong: Tariff, says: str) -> None:
    with pytest.raises(OperatorError) as caught:
        validate(wrong)
    assert says in caught.value.text
    assert caught.value.code == "tariff"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "Input data was truncated"),
        ('{"id":"t","version":1,"currency":"EUR"}', "missing required field `components`"),
        ('{"id":"t","version":1,"currency":"EUR","components":[{"dimension":"WATER","price":"1"}]}', "WATER"),
        (
            '{"id":"t","version":1,"currency":"EUR","components":[{"dimension":"TIME","price":"1","restrictions":{}}]}',
            "unknown field `restrictions`",
        ),
        ('{"id":"t","version":1,"currency":"EUR","components":[{"dimension":"TIME","price":"-1"}]}', "the price of TIME is -1"),
    ],
)
def test_a_document_that_is_no_tariff_is_refused(document: str, says: str) -> None:
    """Above all one with a field this release does not know: it would be priced wrongly."""
    with pytest.raises(OperatorError, match=says):
        decode(document)


def test_what_nobody_pays_with_is_no_currency_of_a_tariff() -> None:
    """Funds, metals, and codes for tests."""
    assert not {"CLF", "UYI", "UYW", "XAU", "XDR", "XTS", "XXX"} & CURRENCIES
    assert {"EUR", "USD", "GBP", "CHF", "JPY", "KWD", "XAF", "UGX", "IQD"} <= CURRENCIES
    assert all(len(code) == 3 for code in CURRENCIES)


# --- rules for all tariffs and sessions

amounts = st.decimals(min_value=0, max_value=100, places=4)
percents = st.decimals(min_value=0, max_value=30, places=2)
dimensions: list[Dimension] = ["ENERGY", "TIME", "PARKING_TIME", "FLAT"]


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    chosen = draw(st.lists(st.sampled_from(dimensions), unique=True))
    components = [Component(dimension, draw(amounts), draw(st.integers(1, 900)), draw(st.none() | percents)) for dimension in chosen]
    least, most = draw(st.none() | amounts.map(Limit)), draw(st.none() | amounts.map(lambda amount: Limit(amount + 100)))
    made = Tariff("t", 1, draw(st.sampled_from(["EUR", "JPY", "KWD"])), tuple(components), draw(percents), least, most)
    validate(made)
    return made


@dataclass(frozen=True)
class Stretch:
    """One period to come, and where it is to be split: parts of a thousand."""

    duration_ms: int
    energy_wh: int
    cut: int


stretches = st.lists(st.builds(Stretch, st.integers(0, 10 * HOUR), st.integers(0, 100_000), st.integers(0, 1000)), max_size=6)


def periods_of(parts: list[Stretch], split: bool) -> tuple[Period, ...]:
    periods, at = [], 0
    for part in parts:
        energy = part.energy_wh
        kind: Kind = "charging" if energy else "parking"
        end, mid = at + part.duration_ms, at + part.duration_ms * part.cut // 1000
        half = energy * part.cut // 1000
        pieces = [(at, mid, half), (mid, end, energy - half)] if split else [(at, end, energy)]
        periods += [Period(a, b, wh, kind) for a, b, wh in pieces]
        at = end
    return tuple(periods)


@given(tariffs(), stretches)
def test_splitting_or_merging_periods_changes_nothing(made: Tariff, parts: list[Stretch]) -> None:
    whole = periods_of(parts, split=False)
    assert price(made, periods_of(parts, split=True)) == price(made, whole) == price(made, merged(whole))


@given(tariffs(), stretches)
def test_totals_are_the_exact_sums_rounded_once(made: Tariff, parts: list[Stretch]) -> None:
    """Told again without limits, in plain fractions: within half a minor unit of the exact sum, and the three add up."""
    made = replace(made, min_price=None, max_price=None)
    cost = price(made, periods_of(parts, split=False))
    unit = {"ENERGY": 1000, "TIME": HOUR, "PARKING_TIME": HOUR, "FLAT": 1}
    excl = sum((Fraction(line.price) * line.billed / unit[line.kind] for line in cost.lines), Fraction(0))
    tax = sum(
        (Fraction(line.price) * line.billed / unit[line.kind] * Fraction(line.tax_percent) / 100 for line in cost.lines), Fraction(0)
    )
    minor = {"EUR": 100, "JPY": 1, "KWD": 1000}[made.currency]
    assert -Fraction(1, 2) < cost.total_excl_minor - excl * minor <= Fraction(1, 2)
    assert -Fraction(1, 2) < cost.total_incl_minor - (excl + tax) * minor <= Fraction(1, 2)
    assert cost.total_excl_minor + cost.tax_minor == cost.total_incl_minor
    assert 0 <= cost.total_excl_minor <= cost.total_incl_minor


@given(tariffs(), stretches, st.integers(0, 10 * HOUR), st.integers(1, 100_000))
def test_more_energy_or_a_longer_last_period_never_costs_less(made: Tariff, parts: list[Stretch], longer_ms: int, more_wh: int) -> None:
    periods = periods_of([*parts, Stretch(HOUR, 1, 0)], split=False)
    *first, last = periods
    more = (*first, Period(last.start_ms, last.end_ms + longer_ms, last.energy_wh + more_wh, last.kind))
    cheap, dear = price(made, periods), price(made, more)
    assert cheap.total_excl_minor <= dear.total_excl_minor
    assert cheap.total_incl_minor <= dear.total_incl_minor


@given(tariffs(), stretches)
def test_limits_hold_for_whatever_took_place(made: Tariff, parts: list[Stretch]) -> None:
    periods = periods_of([*parts, Stretch(1, 0, 0)], split=False)
    cost = price(made, periods)
    minor = {"EUR": 100, "JPY": 1, "KWD": 1000}[made.currency]
    if made.min_price:
        assert cost.total_excl_minor >= made.min_price.excl * minor - D("0.5")
    if made.max_price:
        assert cost.total_excl_minor <= made.max_price.excl * minor + D("0.5")


@given(tariffs())
def test_a_tariff_comes_back_from_its_document_as_it_was(made: Tariff) -> None:
    assert decode(encode(made)) == made
