"""Money: `cpms_actors.base.money`."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.money import exponent_of, from_minor, to_minor
from cpms_actors.domain.tariff import CURRENCIES

AMOUNTS = [
    # amount, currency, minor units
    ("1.23", "EUR", 123),
    ("1.235", "EUR", 124),  # half up,
    ("1.245", "EUR", 125),  # not to even
    ("-1.235", "EUR", -124),  # and away from zero for a credit, so that it cancels its debit
    ("1.2349999", "EUR", 123),
    ("0", "EUR", 0),
    ("100", "JPY", 100),
    ("100.5", "JPY", 101),
    ("1.2345", "KWD", 1235),
    ("99999999999999.99", "EUR", 9999999999999999),
]


@pytest.mark.parametrize(("amount", "currency", "minor"), AMOUNTS)
def test_an_amount_is_rounded_half_up_to_the_minor_unit(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


def test_every_currency_of_a_tariff_has_the_minor_unit_of_iso_4217() -> None:
    none = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
    thousandth = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert {currency for currency in CURRENCIES if exponent_of(currency) == 0} == none
    assert {currency for currency in CURRENCIES if exponent_of(currency) == 3} == thousandth
    assert {exponent_of(currency) for currency in CURRENCIES - none - thousandth} == {2}
    assert exponent_of("UYI") == 0


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "XXX"]))
def test_minor_units_come_back_exactly(minor: int, currency: str) -> None:
    amount = from_minor(minor, currency)
    assert to_minor(amount, currency) == minor
    assert -amount.as_tuple().exponent <= exponent_of(currency)  # type: ignore[operator]


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=6))
def test_a_credit_cancels_its_debit(amount: Decimal) -> None:
    assert to_minor(amount, "EUR") + to_minor(-amount, "EUR") == 0
