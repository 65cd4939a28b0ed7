"""Tariffs and what a session costs under one: a pure function of a tariff and a list of metered periods.

A tariff is a list of components in the words of OCPI 2.2.1 (mod_tariffs, TariffDimensionType): ENERGY per kWh, TIME per hour of
charging, PARKING_TIME per hour connected without charging, FLAT once per session; then a least and a most that a session may cost.
OCPI's restrictions (time of day, power, reservation, ...) are not known here yet: they will be one more field of a component, and
`_quantities` the place that asks which periods a component applies to. A stored tariff with a field unknown here is refused rather
than priced wrongly.

Prices are Decimal in major units, exact in decimal notation; in between everything is a Fraction, so that a third of an hour is a
third; each total is rounded to minor units once. Nothing is ever a float.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

import msgspec
from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.money import exponent_of
from cpms_actors.domain.metering import Period

Dimension = Literal["ENERGY", "TIME", "PARKING_TIME", "FLAT"]
LineKind = Literal["ENERGY", "TIME", "PARKING_TIME", "FLAT", "MIN_PRICE", "MAX_PRICE"]

AMOUNT_MAX: Final = Decimal(1_000_000)  # of any one price, in major units: a slip of the keyboard, not a tariff
DECIMALS_MAX: Final = 8  # of any one price; OCPI 2.2.1 (types, number) asks for four
STEP_MAX: Final = 1_000_000  # Wh or s
LINE_DECIMALS: Final = 6
MS_PER_HOUR: Final = 3_600_000

# ISO 4217, without funds and metals.
_CODES: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC "
    "CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD "
    "JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD "
    "NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW"
)
CURRENCIES: Final = frozenset(_CODES.split())


class Component(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One price. `price` is excl. tax in major units: per kWh (ENERGY), per hour (TIME, PARKING_TIME), per session (FLAT).

    `step_size` (Wh, or s) is what the quantity is rounded up to a multiple of, once per session (OCPI 2.2.1 mod_cdrs, step size).
    `tax_percent` None means the tariff's.
    """

    dimension: Dimension
    price: Decimal
    step_size: int = 1
    tax_percent: Decimal | None = None


class Limit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The least or the most a session may cost, in major units. `incl` None means `excl` with the tariff's tax on top."""

    excl: Decimal
    incl: Decimal | None = None


class Tariff(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One version of a tariff; versions count from 1 and are never changed. At most one component per dimension."""

    id: str
    version: int
    currency: str
    components: tuple[Component, ...]
    tax_percent: Decimal = Decimal(0)
    min_price: Limit | None = None
    max_price: Limit | None = None


class Line(Struct, frozen=True, gc=False):
    """What one component adds to the cost; `kind` MIN_PRICE or MAX_PRICE is what the limit adds or (negative) takes off.

    `quantity` is what was metered and `billed` what it became by the step size: Wh, ms, or 1 session. `excl` and `tax` are in major
    units, rounded to LINE_DECIMALS for people to read: totals are not made of them.
    """

    kind: LineKind
    quantity: int
    billed: int
    price: Decimal
    tax_percent: Decimal
    excl: Decimal
    tax: Decimal


class Cost(Struct, frozen=True):
    """What a session costs. The three totals, in minor units of the currency, always add up."""

    currency: str
    lines: tuple[Line, ...]
    total_excl_minor: int
    tax_minor: int
    total_incl_minor: int


def price(tariff: Tariff, periods: Sequence[Period]) -> Cost:
    """The cost of a session that consists of these periods.

    Rounding: the exact sums excluding and including tax are each rounded half up to minor units, once; the tax is their difference,
    so that it is off from the tax of the exact sum by at most one minor unit and the three always add up. How a session is cut into
    periods changes nothing. A session without any period (no duration and no energy) never took place and costs nothing, not even
    a FLAT fee. Order within the lines: the components', then the limit's.
    """
    lines: list[Line] = []
    excl = incl = Fraction(0)
    quantities = _quantities(periods)
    last_timed = _last_timed(tariff, periods)
    for component in tariff.components:
        kind = component.dimension
        quantity = quantities[kind]
        billed = quantity
        if kind == "ENERGY":
            billed = _round_up(quantity, component.step_size)
        elif kind == last_timed:
            billed = _round_up(quantity, component.step_size * 1000)
        if not periods or (kind != "FLAT" and quantity == 0):
            continue
        percent = tariff.tax_percent if component.tax_percent is None else component.tax_percent
        net = Fraction(component.price) * billed / _UNIT[kind]
        tax = net * Fraction(percent) / 100
        excl, incl = excl + net, incl + net + tax
        lines.append(Line(kind, quantity, billed, component.price, percent, _readable(net), _readable(tax)))
    if periods:
        excl, incl = _limited(tariff, excl, incl, lines)
    exponent = exponent_of(tariff.currency)
    total_excl, total_incl = _round_half_up(excl, exponent), _round_half_up(incl, exponent)
    return Cost(tariff.currency, tuple(lines), total_excl, total_incl - total_excl, total_incl)


_UNIT: Final[dict[Dimension, int]] = {"ENERGY": 1000, "TIME": MS_PER_HOUR, "PARKING_TIME": MS_PER_HOUR, "FLAT": 1}


def simple_tariff(
    tariff_id: str,
    currency: str,
    *,
    version: int = 1,
    per_kwh: Decimal | None = None,
    per_minute_charging: Decimal | None = None,
    per_minute_parking: Decimal | None = None,
    flat_fee: Decimal | None = None,
    minimum: Decimal | None = None,
    maximum: Decimal | None = None,
    tax_percent: Decimal = Decimal(0),
) -> Tariff:
    """A tariff as operators say it, prices per minute and excl. tax. Raises OperatorError like `validate`."""
    prices: tuple[tuple[Dimension, Decimal | None, int], ...] = (
        ("FLAT", flat_fee, 1),
        ("ENERGY", per_kwh, 1),
        ("TIME", per_minute_charging, 60),
        ("PARKING_TIME", per_minute_parking, 60),
    )
    tariff = Tariff(
        tariff_id,
        version,
        currency,
        tuple(Component(dimension, amount * factor) for dimension, amount, factor in prices if amount is not None),
        tax_percent,
        None if minimum is None else Limit(minimum),
        None if maximum is None else Limit(maximum),
    )
    validate(tariff)
    return tariff


def validate(tariff: Tariff) -> None:
    """Refuse what cannot be meant, with OperatorError("tariff") and a sentence that says what would be right."""
    if not 1 <= len(tariff.id) <= 36 or not tariff.id.isprintable():
        raise _wrong("a tariff's id has 1 to 36 printable characters (OCPI 2.2.1, CiString(36))")
    if tariff.version < 1:
        raise _wrong(f"version {tariff.version} is none; versions count from 1")
    if tariff.currency not in CURRENCIES:
        raise _wrong(f"currency {tariff.currency!r} is not known; give an ISO 4217 code such as EUR")
    dimensions = [component.dimension for component in tariff.components]
    twice = next((dimension for dimension in dimensions if dimensions.count(dimension) > 1), None)
    if twice:
        raise _wrong(f"two components for {twice}; give one price per dimension")
    _check_percent("the tax", tariff.tax_percent)
    for component in tariff.components:
        _check_amount(f"the price of {component.dimension}", component.price)
        if not 0 <= component.step_size <= STEP_MAX or (component.step_size == 0 and component.dimension != "FLAT"):
            raise _wrong(f"step_size {component.step_size} of {component.dimension}; give 1 to {STEP_MAX} (Wh or seconds)")
        if component.tax_percent is not None:
            _check_percent(f"the tax of {component.dimension}", component.tax_percent)
    for name, limit in (("min_price", tariff.min_price), ("max_price", tariff.max_price)):
        if limit is not None:
            _check_amount(name, limit.excl)
            if limit.incl is not None:
                _check_amount(f"{name} incl. tax", limit.incl)
                if limit.incl < limit.excl:
                    raise _wrong(f"{name} is lower with tax than without; swap {limit.incl} and {limit.excl}")
    _check_order(tariff)


def encode(tariff: Tariff) -> str:
    """The tariff as the JSON text that is stored; amounts are strings, so that no reader makes floats of them."""
    return msgspec.json.encode(tariff).decode()


def decode(document: str | bytes) -> Tariff:
    """A tariff from its JSON, validated; OperatorError("tariff") names the first thing wrong."""
    try:
        tariff = _DECODER.decode(document)
    except msgspec.DecodeError as error:
        raise _wrong(str(error)) from None
    validate(tariff)
    return tariff


_DECODER: Final = msgspec.json.Decoder(Tariff)


def _quantities(periods: Sequence[Period]) -> dict[Dimension, int]:
    """What there is to bill: Wh of energy, ms of charging and of parking, and one session."""
    charging = sum(period.duration_ms for period in periods if period.kind == "charging")
    parking = sum(period.duration_ms for period in periods if period.kind == "parking")
    return {"ENERGY": sum(period.energy_wh for period in periods), "TIME": charging, "PARKING_TIME": parking, "FLAT": 1}


def _last_timed(tariff: Tariff, periods: Sequence[Period]) -> Dimension | None:
    """The dimension of the last stretch of time that is billed: the only one whose time is rounded up to its step.

    OCPI 2.2.1 mod_cdrs: the step size is taken into account once for TIME and PARKING_TIME combined, not when charging turns into
    parking.
    """
    timed = {component.dimension for component in tariff.components}
    for period in reversed(periods):
        dimension: Dimension = "TIME" if period.kind == "charging" else "PARKING_TIME"
        if dimension in timed and period.duration_ms > 0:
            return dimension
    return None


def _limited(tariff: Tariff, excl: Fraction, incl: Fraction, lines: list[Line]) -> tuple[Fraction, Fraction]:
    """The sums within the tariff's limits (`validate` keeps the least below the most), with a line for the difference."""
    limits: tuple[tuple[LineKind, Limit | None, Callable[[Fraction, Fraction], Fraction]], ...] = (
        ("MIN_PRICE", tariff.min_price, max),
        ("MAX_PRICE", tariff.max_price, min),
    )
    for kind, limit, bound in limits:
        if limit is None:
            continue
        limit_excl, limit_incl = _both(limit, tariff)
        excl_now, incl_now = bound(excl, limit_excl), bound(incl, limit_incl)
        if (excl_now, incl_now) != (excl, incl):
            net, tax = excl_now - excl, (incl_now - excl_now) - (incl - excl)
            lines.append(Line(kind, 1, 1, limit.excl, tariff.tax_percent, _readable(net), _readable(tax)))
        excl, incl = excl_now, incl_now
    return excl, incl


def _both(limit: Limit, tariff: Tariff) -> tuple[Fraction, Fraction]:
    """A limit excl. and incl. tax."""
    excl = Fraction(limit.excl)
    return excl, Fraction(limit.incl) if limit.incl is not None else excl * (1 + Fraction(tariff.tax_percent) / 100)


def _round_up(quantity: int, step: int) -> int:
    return -(-quantity // step) * step


def _round_half_up(amount: Fraction, decimals: int) -> int:
    """The amount in units of 10 ** -decimals, exact ties away from zero, as base.money rounds."""
    scaled = abs(amount) * Fraction(10**decimals)
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return -whole if amount < 0 else whole


def _readable(amount: Fraction) -> Decimal:
    return Decimal(_round_half_up(amount, LINE_DECIMALS)).scaleb(-LINE_DECIMALS)


def _check_amount(name: str, amount: Decimal) -> None:
    if not _is_plain(amount) or not 0 <= amount <= AMOUNT_MAX:
        raise _wrong(f"{name} is {amount}; give an amount from 0 to {AMOUNT_MAX} with at most {DECIMALS_MAX} decimals")


def _check_percent(name: str, percent: Decimal) -> None:
    if not _is_plain(percent) or not 0 <= percent <= 100:
        raise _wrong(f"{name} is {percent} %; give a percentage from 0 to 100 with at most {DECIMALS_MAX} decimals")


def _is_plain(number: Decimal) -> bool:
    """Finite and written with a small exponent: 1E-999999999 is a number too, and as a Fraction it would fill the memory."""
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and -DECIMALS_MAX <= exponent <= 6


def _check_order(tariff: Tariff) -> None:
    """Both limits set: the least may not exceed the most, with tax or without."""
    if tariff.min_price is None or tariff.max_price is None:
        return
    least, most = _both(tariff.min_price, tariff), _both(tariff.max_price, tariff)
    if least[0] > most[0] or least[1] > most[1]:
        raise _wrong("min_price exceeds max_price; no session could cost both")


def _wrong(text: str) -> OperatorError:
    return OperatorError("tariff", text)
