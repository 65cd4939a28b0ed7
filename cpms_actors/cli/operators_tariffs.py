"""The commands of tariffs."""

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    given,
    parse_moment,
    print_fields,
    print_next,
    print_table,
)
from cpms_actors.domain.tariff import Component, simple_tariff

tariff_app = typer.Typer(no_args_is_help=True, help="Tariffs: what a session costs, and where.")

TariffArgument = Annotated[str, typer.Argument(metavar="TARIFF", help="Its id, unique in the tenant.", show_default=False)]
TaxOption = Annotated[str | None, typer.Option(help="Tax in percent, on top of every price.", metavar="PERCENT", show_default=False)]
FileOption = Annotated[Path | None, typer.Option(help='A JSON object with components and limits; "-" is stdin.', show_default=False)]
ValidFromOption = Annotated[str | None, typer.Option(help="For sessions that start at or after it. [default: now]", show_default=False)]
_UNITS = {"ENERGY": "/kWh", "TIME": "/h charging", "PARKING_TIME": "/h parking", "FLAT": "/session"}


def _price(help_text: str) -> Any:
    return typer.Option(help=help_text, metavar="PRICE", show_default=False)


@tariff_app.command("set")
def tariff_set(
    tariff: TariffArgument,
    per_kwh: Annotated[str | None, _price("Per kWh.")] = None,
    per_minute: Annotated[str | None, _price("Per minute of charging.")] = None,
    per_minute_parking: Annotated[str | None, _price("Per minute connected without charging.")] = None,
    per_session: Annotated[str | None, _price("Once per session.")] = None,
    minimum: Annotated[str | None, _price("The least a session costs.")] = None,
    maximum: Annotated[str | None, _price("The most a session costs.")] = None,
    tax: TaxOption = None,
    file: FileOption = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217. [default: the tenant's]", show_default=False)] = None,
    valid_from: ValidFromOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Store a tariff as the next version of its id. Prices are in major units, without tax.

    Sessions that started under an older version stay with it. `cpms tariff assign` says where a tariff applies.

    \b
    Examples:
      cpms tariff set day --per-kwh 0.45 --per-session 0.50 --tax 19
      cpms tariff set fast --per-kwh 0.59 --per-minute-parking 0.10 --maximum 60 --valid-from 2031-01-01
      cpms tariff set odd --file tariff.json
      echo '{"components": [{"dimension": "ENERGY", "price": "0.45", "step_size": 100}]}' | cpms tariff set odd --file -
    """
    prices = {"per_kwh": per_kwh, "per_minute_charging": per_minute, "per_minute_parking": per_minute_parking}
    prices |= {"flat_fee": per_session, "minimum": minimum, "maximum": maximum, "tax_percent": tax}

    def request() -> ledger.TariffSet:
        fields = {"tenant": tenant, "id": tariff} | given(currency=currency, valid_from=parse_moment("--valid-from", valid_from))
        if file is not None:
            if any(prices.values()):
                raise OperatorError("tariff", "give prices or --file, not both")
            return _from_file(file, fields)
        amounts: dict[str, Any] = {name: _decimal(name, price) for name, price in prices.items() if price is not None}
        if amounts.keys() <= {"tax_percent"}:
            raise OperatorError("tariff", "give at least one price, such as --per-kwh 0.45 (0 is one), or --file")
        simple = simple_tariff(tariff, currency or "EUR", **amounts)
        return ledger.TariffSet(
            **fields,
            components=simple.components,
            tax_percent=simple.tax_percent,
            min_price=simple.min_price,
            max_price=simple.max_price,
        )

    answer(as_json, verbs.TARIFF_SET, request, _show_tariff)


@tariff_app.command("show")
def tariff_show(
    tariff: TariffArgument,
    version: Annotated[int | None, typer.Option(min=1, help="[default: the newest]", show_default=False)] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """One version of a tariff.

    \b
    Example:
      cpms tariff show day --version 1
    """
    answer(as_json, verbs.TARIFF_SHOW, lambda: ledger.TariffShow(tenant=tenant, id=tariff, version=version), _show_tariff)


@tariff_app.command("list")
def tariff_list(
    tenant: TenantOption = DEFAULT_TENANT, limit: LimitOption = 100, after: AfterOption = None, as_json: JsonOption = False
) -> None:
    """A tenant's tariffs, the newest version of each, and where they apply.

    \b
    Example:
      cpms tariff list
    """

    def show(page: ledger.TariffPage) -> None:
        print_table(
            ["tariff", ">version", "currency", "prices", ">tax %", "valid from"],
            [(t.id, t.version, t.currency, [_component(c) for c in t.components], t.tax_percent, t.valid_from) for t in page.tariffs],
            empty="no tariff yet: sessions are free; `cpms tariff set` makes one",
        )
        print_next(page.next, len(page.tariffs))
        if page.assignments:
            _show_assignments(page.assignments)

    answer(as_json, verbs.TARIFF_LIST, lambda: ledger.TariffList(tenant=tenant, limit=limit, after=after), show)


@tariff_app.command("assign")
def tariff_assign(
    tariff: Annotated[str | None, typer.Argument(metavar="[TARIFF]", help="Its id; none with --none.", show_default=False)] = None,
    charger: Annotated[str | None, typer.Option(help="For this charger.", show_default=False)] = None,
    site: Annotated[str | None, typer.Option(help="For the chargers of this site.", show_default=False)] = None,
    default: Annotated[bool, typer.Option("--default", help="For whatever has none of its own.")] = False,
    none: Annotated[bool, typer.Option("--none", help="Take the assignment away: the next wider one decides.")] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Say where a tariff applies. The narrowest decides: charger, then site, then the tenant's default.

    \b
    Examples:
      cpms tariff assign day --default
      cpms tariff assign fast --site depot
      cpms tariff assign --none --charger CP01
    """

    def request() -> ledger.TariffAssign:
        scopes: list[tuple[Literal["tenant", "site", "charger"], str | None]] = []
        scopes += [("charger", charger)] if charger is not None else []
        scopes += [("site", site)] if site is not None else []
        scopes += [("tenant", None)] if default else []
        if len(scopes) != 1:
            raise OperatorError("scope", "say where, once: --charger CHARGER, --site SITE or --default")
        if (tariff is None) is not none:
            raise OperatorError("tariff", "name the tariff, or give --none to take the assignment away")
        return ledger.TariffAssign(tenant=tenant, scope=scopes[0][0], key=scopes[0][1], tariff=tariff)

    answer(as_json, verbs.TARIFF_ASSIGN, request, lambda assigned: _show_assignments(assigned.assignments))


def _decimal(name: str, price: str) -> Decimal:
    try:
        return Decimal(price)
    except InvalidOperation:
        raise OperatorError("tariff", f"{name.replace('_', ' ')}: {price!r} is no number; write it as 0.45") from None


def _from_file(file: Path, fields: dict[str, Any]) -> ledger.TariffSet:
    """The request that a file holds; tenant, id and what the command line says come from the command line."""
    try:
        document = msgspec.json.decode(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes(), type=dict[str, Any])
        return msgspec.convert(document | msgspec.to_builtins(fields), ledger.TariffSet)
    except OSError as error:
        raise OperatorError("file", f"cannot read {file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise OperatorError("file", f"{file} holds no tariff: {error}; `cpms verbs tariff.set --json` has the schema") from None


def _component(component: Component) -> str:
    return f"{component.price}{_UNITS[component.dimension]}"


def _show_tariff(tariff: ledger.TariffView) -> None:
    print_fields(
        f"tariff {tariff.id}, version {tariff.version}",
        [
            ("tenant", tariff.tenant),
            ("currency", tariff.currency),
            *(("price", f"{_component(c)}{f', in steps of {c.step_size}' if c.step_size > 1 else ''}") for c in tariff.components),
            ("tax", f"{tariff.tax_percent} %"),
            ("at least", tariff.min_price and tariff.min_price.excl),
            ("at most", tariff.max_price and tariff.max_price.excl),
            ("valid from", tariff.valid_from),
        ],
    )


def _show_assignments(assignments: list[ledger.AssignmentView]) -> None:
    print_table(
        ["applies to", "", "tariff"],
        [(each.scope, each.key, each.tariff) for each in assignments],
        empty="no tariff applies anywhere: sessions are free",
    )
