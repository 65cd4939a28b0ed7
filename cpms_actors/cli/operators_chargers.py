"""The commands of chargers, and the call to one."""

import secrets
import sys
from typing import Annotated, Any, Final

import msgspec
import typer

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_fleet as fleet
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    cleared,
    given,
    print_fields,
    print_json,
    print_line,
    print_next,
    print_table,
)
from cpms_actors.domain.access import BootPolicy

charger_app = typer.Typer(no_args_is_help=True, help="Chargers: which may connect, and how they are.")

PASSWORD_BYTES: Final = 15  # of randomness: 20 characters, what OCPP 1.6 (security white paper, A00.FR.205) and 2.x both take

ChargerArgument = Annotated[str, typer.Argument(metavar="CHARGER", help="Its identity: the last part of its URL.", show_default=False)]
ActionArgument = Annotated[str, typer.Argument(metavar="ACTION", help="Its name in OCPP, such as Reset.", show_default=False)]
PayloadArgument = Annotated[
    str, typer.Argument(metavar="[JSON]", help='The request, a JSON object; "-" reads it from stdin.', show_default=False)
]
ProfileOption = Annotated[
    int | None,
    typer.Option(
        "--profile",
        min=0,
        max=3,
        help="Security profile: 0 nothing, 1 password, 2 TLS and password, 3 TLS and certificate. [new: 1]",
        show_default=False,
    ),
]
PasswordOption = Annotated[
    str | None,
    typer.Option(help='Its password, 16 to 40 characters; "-" reads a line of stdin, which no process list shows.', show_default=False),
]
GenerateOption = Annotated[bool, typer.Option("--generate-password", help="Make a password and print it, this once.")]
BootOption = Annotated[
    BootPolicy | None,
    typer.Option(case_sensitive=False, help="What its BootNotification is answered. [new: accepted]", show_default=False),
]
EnabledOption = Annotated[
    bool | None, typer.Option("--enabled/--disabled", help="Whether it may connect. [new: enabled]", show_default=False)
]
SiteOption = Annotated[str | None, typer.Option(help="The site it stands at.", show_default=False)]
ModelOption = Annotated[str | None, typer.Option(help="Its model, as the operator calls it.", show_default=False)]
NoteOption = Annotated[str | None, typer.Option(help="For people.", show_default=False)]


@charger_app.command("add")
def charger_add(
    charger: ChargerArgument,
    profile: ProfileOption = None,
    password: PasswordOption = None,
    generate_password: GenerateOption = False,
    boot: BootOption = None,
    enabled: EnabledOption = None,
    site: SiteOption = None,
    model: ModelOption = None,
    note: NoteOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Let a charger in. It may connect as soon as this returns.

    \b
    Examples:
      cpms charger add CP01 --generate-password
      cpms charger add CP02 --password - --profile 2 --site depot --model "Wallbox 3000" < password.txt
      cpms charger add CP03 --tenant lab --profile 0 --boot pending
    """
    made = _password() if generate_password else None

    def request() -> registry.ChargerAdd:
        fields = given(security_profile=profile, boot=boot, enabled=enabled, site=site, model=model, note=note)
        return registry.ChargerAdd(tenant=tenant, charger=charger, **fields, **given(password=_chosen(password, made)))

    answer(as_json, verbs.CHARGER_ADD, request, _show, extra=given(generated_password=made))
    _show_password(as_json, made)


@charger_app.command("set")
def charger_set(
    charger: ChargerArgument,
    profile: ProfileOption = None,
    password: PasswordOption = None,
    generate_password: GenerateOption = False,
    boot: BootOption = None,
    enabled: EnabledOption = None,
    site: SiteOption = None,
    model: ModelOption = None,
    note: NoteOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(help="Forget this (password, site, model, note); may be repeated.", show_default=False)
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Change a charger; what is not named stays. A new password or profile counts from its next connection.

    \b
    Examples:
      cpms charger set CP01 --boot rejected
      cpms charger set CP01 --generate-password --profile 2
      cpms charger set CP01 --disabled --note "stolen"
    """
    made = _password() if generate_password else None

    def request() -> registry.ChargerSet:
        fields = given(security_profile=profile, boot=boot, enabled=enabled, site=site, model=model, note=note)
        fields |= given(password=_chosen(password, made)) | cleared(clear, "password", "site", "model", "note")
        return registry.ChargerSet(tenant=tenant, charger=charger, **fields)

    answer(as_json, verbs.CHARGER_SET, request, _show, extra=given(generated_password=made))
    _show_password(as_json, made)


@charger_app.command("show")
def charger_show(charger: ChargerArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """One charger: what was decided of it, what it reported, and its connectors.

    \b
    Example:
      cpms charger show CP01 --json
    """

    def show(detail: registry.ChargerDetail) -> None:
        _show(detail.charger, slot=detail.slot, lane=detail.lane)
        print_table(
            [">EVSE", ">connector", "status", "error", "info", "vendor error", "since"],
            [(c.evse, c.connector, c.status, c.error_code, c.info, c.vendor_error, c.status_at) for c in detail.connectors],
            empty="  no connector has reported a status yet",
        )

    answer(as_json, verbs.CHARGER_SHOW, lambda: registry.ChargerShow(tenant=tenant, charger=charger), show)


@charger_app.command("list")
def charger_list(
    site: Annotated[str | None, typer.Option(help="Only those of this site.", show_default=False)] = None,
    connected: Annotated[bool | None, typer.Option("--connected/--disconnected", help="Only these.", show_default=False)] = None,
    boot: Annotated[BootPolicy | None, typer.Option(case_sensitive=False, help="Only these.", show_default=False)] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """A tenant's chargers, by identity.

    \b
    Examples:
      cpms charger list --disconnected
      cpms charger list --site depot --json
    """

    def show(page: registry.ChargerPage) -> None:
        print_table(
            ["charger", "connected", "OCPP", ">profile", "boot", "enabled", "site", "vendor", "model", "firmware", "last seen"],
            [
                (
                    c.charger,
                    c.connected,
                    c.ocpp,
                    c.security_profile,
                    c.boot,
                    c.enabled,
                    c.site,
                    c.vendor,
                    c.model or c.reported_model,
                    c.firmware,
                    c.last_seen_at,
                )
                for c in page.chargers
            ],
            empty="no such charger; `cpms charger add` lets one in",
        )
        print_next(page.next, len(page.chargers))

    fields = given(site=site, connected=connected, boot=boot, after=after)
    answer(as_json, verbs.CHARGER_LIST, lambda: registry.ChargerList(tenant=tenant, limit=limit, **fields), show)


def call(
    charger: ChargerArgument,
    action: ActionArgument,
    payload: PayloadArgument = "{}",
    timeout: Annotated[float, typer.Option(min=0.1, max=fleet.CALL_TIMEOUT_S_MAX, help="Seconds to wait for the charger.")] = 30.0,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Send an OCPP action to a charger and print its answer.

    Any action that a CSMS may send in the charger's version of OCPP; the payload is checked against that version before it is
    sent. Exit code 4 when the charger says no: a CALLERROR, or a status such as Rejected.

    \b
    Examples:
      cpms call CP01 Reset '{"type": "Soft"}'
      cpms call CP01 GetConfiguration
      cpms call CP01 TriggerMessage '{"requestedMessage": "StatusNotification"}' --timeout 60
      cpms call CP02 GetVariables - < request.json
    """

    def request() -> fleet.ChargerCall:
        return fleet.ChargerCall(tenant=tenant, charger=charger, action=action, payload=_object(payload), timeout_s=timeout)

    response = answer(as_json, verbs.CHARGER_CALL, request, lambda response: print_json(response.answer), patience_s=timeout)
    if response.refused:
        if not as_json:
            sys.stderr.write(f"cpms: charger {charger!r} refused {action}: {response.answer.get('status')}\n")
        raise typer.Exit(verbs.EXIT_REFUSED)


def _object(payload: str) -> dict[str, Any]:
    """The JSON object that an operator typed. Raises OperatorError("payload")."""
    try:
        return msgspec.json.decode(sys.stdin.read() if payload == "-" else payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise OperatorError("payload", f'the payload is no JSON object ({error}); quote it, as in \'{{"type": "Soft"}}\'') from None


def _password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def _chosen(password: str | None, made: str | None) -> str | None:
    """The password to set. Raises OperatorError("password") for two of them, or none on stdin."""
    if password is None or made is None:
        if password != "-":
            return password or made
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise OperatorError("password", "--password - reads the password from stdin, where there is none")
        return line
    raise OperatorError("password", "give --password or --generate-password, not both")


def _show_password(as_json: bool, made: str | None) -> None:
    if made is not None and not as_json:
        print_line(f"  password  {made}   (shown this once)")


def _show(charger: registry.ChargerView, **more: object) -> None:
    print_fields(
        f"charger {charger.charger}",
        [
            ("tenant", charger.tenant),
            ("connected", charger.connected),
            ("last seen", charger.last_seen_at),
            ("security profile", charger.security_profile),
            ("has a password", charger.has_password),
            ("boot", charger.boot),
            ("enabled", charger.enabled),
            ("site", charger.site),
            ("model", charger.model),
            ("note", charger.note),
            ("OCPP", charger.ocpp),
            ("vendor", charger.vendor),
            ("reported model", charger.reported_model),
            ("serial", charger.serial),
            ("firmware", charger.firmware),
            ("booted", charger.booted_at),
            ("boot answered", charger.boot_status),
            ("since", charger.created_at),
            *more.items(),
        ],
    )
