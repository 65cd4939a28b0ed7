"""Money is an integer of minor units with its currency; amounts in between are Decimal. Never float."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

# ISO 4217: currencies whose minor unit is not 1/100.
_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTH: Final = "BHD IQD JOD KWD LYD OMR TND"
_EXPONENT: Final = dict.fromkeys(_NONE.split(), 0) | dict.fromkeys(_THOUSANDTH.split(), 3)


def exponent_of(currency: str) -> int:
    """Decimal places of the currency's minor unit (ISO 4217)."""
    return _EXPONENT.get(currency, 2)


def to_minor(amount: Decimal, currency: str) -> int:
    """The amount in minor units, rounded half up once: round sums, not terms."""
    return int(amount.scaleb(exponent_of(currency)).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def from_minor(amount_minor: int, currency: str) -> Decimal:
    """The amount in major units."""
    return Decimal(amount_minor).scaleb(-exponent_of(currency))
