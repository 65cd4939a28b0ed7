"""The commands of tokens."""

from typing import Annotated

import typer

from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.verbs_words import TokenKind, TokenStatus
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    cleared,
    given,
    parse_moment,
    print_fields,
    print_next,
    print_table,
)

token_app = typer.Typer(no_args_is_help=True, help="Tokens: the cards and accounts that may charge.")

TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN", help="What the reader reads; case does not matter.", show_default=False)]
KindOption = Annotated[
    TokenKind | None,
    typer.Option("--type", case_sensitive=False, help="OCPP 2.x IdTokenEnumType. [new: ISO14443]", show_default=False),
]
StatusOption = Annotated[
    TokenStatus | None, typer.Option(case_sensitive=False, help="What a reader is told. [new: accepted]", show_default=False)
]
GroupOption = Annotated[str | None, typer.Option(help="Tokens of a group may end each other's sessions.", show_default=False)]
ParentOption = Annotated[str | None, typer.Option(help="OCPP 1.6 parentIdTag. [default: the group]", show_default=False)]
ExpiresOption = Annotated[str | None, typer.Option(help="When it expires, such as 2031-01-31; in UTC.", show_default=False)]
NoteOption = Annotated[str | None, typer.Option(help="For people.", show_default=False)]


@token_app.command("add")
def token_add(
    token: TokenArgument,
    kind: KindOption = None,
    status: StatusOption = None,
    group: GroupOption = None,
    parent: ParentOption = None,
    expires: ExpiresOption = None,
    note: NoteOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Add a token.

    \b
    Examples:
      cpms token add 04A2B3C4D5E6F7 --group fleet --note "van 12"
      cpms token add DE-ABC-C12345678-9 --type eMAID --expires 2031-01-31
    """

    def request() -> registry.TokenAdd:
        fields = given(kind=kind, status=status, group=group, parent=parent, note=note)
        fields |= given(expires_at=parse_moment("--expires", expires))
        return registry.TokenAdd(tenant=tenant, id=token, **fields)

    answer(as_json, verbs.TOKEN_ADD, request, _show_token)


@token_app.command("set")
def token_set(
    token: TokenArgument,
    kind: KindOption = None,
    status: StatusOption = None,
    group: GroupOption = None,
    parent: ParentOption = None,
    expires: ExpiresOption = None,
    note: NoteOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(help="Forget this (group, parent, expires, note); may be repeated.", show_default=False)
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Change a token; what is not named stays. Workers forget what they knew of it at once.

    \b
    Examples:
      cpms token set 04A2B3C4D5E6F7 --status accepted --clear expires
      cpms token set 04A2B3C4D5E6F7 --group family
    """

    def request() -> registry.TokenSet:
        fields = given(kind=kind, status=status, group=group, parent=parent, note=note)
        fields |= given(expires_at=parse_moment("--expires", expires)) | cleared(
            clear, "group", "parent", "expires", "note", expires="expires_at"
        )
        return registry.TokenSet(tenant=tenant, id=token, **fields)

    answer(as_json, verbs.TOKEN_SET, request, _show_token)


@token_app.command("block")
def token_block(
    token: TokenArgument, note: NoteOption = None, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False
) -> None:
    """Block a token: it starts no further session. A running one goes on.

    \b
    Example:
      cpms token block 04A2B3C4D5E6F7 --note "reported lost"
    """
    answer(as_json, verbs.TOKEN_BLOCK, lambda: registry.TokenBlock(tenant=tenant, id=token, note=note), _show_token)


@token_app.command("show")
def token_show(token: TokenArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """One token.

    \b
    Example:
      cpms token show 04a2b3c4d5e6f7
    """
    answer(as_json, verbs.TOKEN_SHOW, lambda: registry.TokenShow(tenant=tenant, id=token), _show_token)


@token_app.command("list")
def token_list(
    status: Annotated[TokenStatus | None, typer.Option(case_sensitive=False, help="Only these.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="Only those of this group.", show_default=False)] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """A tenant's tokens, by id.

    \b
    Examples:
      cpms token list --status blocked
      cpms token list --group fleet --json
    """

    def show(page: registry.TokenPage) -> None:
        print_table(
            ["token", "type", "status", "group", "parent", "expires", "note"],
            [(t.id, t.kind, t.status, t.group, t.parent, t.expires_at, t.note) for t in page.tokens],
            empty="no such token; `cpms token add` makes one",
        )
        print_next(page.next, len(page.tokens))

    fields = given(status=status, group=group, after=after)
    answer(as_json, verbs.TOKEN_LIST, lambda: registry.TokenList(tenant=tenant, limit=limit, **fields), show)


def _show_token(token: registry.TokenView) -> None:
    print_fields(
        f"token {token.id}",
        [
            ("tenant", token.tenant),
            ("type", token.kind),
            ("status", token.status),
            ("group", token.group),
            ("parent", token.parent),
            ("expires", token.expires_at),
            ("note", token.note),
            ("since", token.created_at),
        ],
    )
