"""The verbs of tokens. After each change the tenant's name is rung on the doorbell, so that workers drop the verdicts they keep."""

from typing import Any, Final

from msgspec.structs import asdict, replace
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.bus import subjects
from cpms_actors.bus.verbs_registry import TokenAdd, TokenBlock, TokenList, TokenPage, TokenSet, TokenShow, TokenView
from cpms_actors.observe import logs
from cpms_actors.pools.operations_desk import Desk, Handler, next_of, require_tenant
from cpms_actors.pools.operations_tenants import changes_of
from cpms_actors.store import tokens

log = logs.get("operations")


async def token_add(desk: Desk, request: TokenAdd) -> TokenView:
    """Store it, then ring."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        added = await tokens.add(connection, tokens.Token(**_columns(asdict(request))))
    if added is None:
        raise OperatorError("exists", f"token {request.id!r} exists (case does not matter); `cpms token set {request.id}` changes it")
    await _ring(desk, request.tenant)
    return _view(added)


async def token_set(desk: Desk, request: TokenSet) -> TokenView:
    """Change what is given, then ring."""
    return await _change(desk, request.tenant, request.id, _columns(changes_of(request, without=("tenant", "id"))))


async def token_block(desk: Desk, request: TokenBlock) -> TokenView:
    """Block it, then ring."""
    changes = {"status": "Blocked"} if request.note is None else {"status": "Blocked", "note": request.note}
    return await _change(desk, request.tenant, request.id, changes)


async def token_show(desk: Desk, request: TokenShow) -> TokenView:
    """One token."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        row = await tokens.find(connection, request.tenant, request.id)
    if row is None:
        raise _unknown(request.tenant, request.id)
    return _view(row)


async def token_list(desk: Desk, request: TokenList) -> TokenPage:
    """A tenant's tokens by id."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await tokens.page(
            connection, request.tenant, limit=request.limit, after=request.after, status=request.status, group=request.group
        )
    return TokenPage(tokens=[_view(row) for row in rows], next=next_of(rows, request.limit, "id"))


HANDLERS: Final[dict[str, Handler]] = {
    "token.add": token_add,
    "token.set": token_set,
    "token.block": token_block,
    "token.show": token_show,
    "token.list": token_list,
}

_COLUMN: Final = {"tenant": "tenant_id", "group": "group_id", "parent": "parent_id"}


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    """A request's fields as the row names them."""
    columns = {_COLUMN.get(name, name): value for name, value in given.items()}
    if columns.get("expires_at") is not None:
        columns["expires_at"] = from_datetime(columns["expires_at"])
    return columns


async def _change(desk: Desk, tenant: str, token: str, changes: dict[str, Any]) -> TokenView:
    async with desk.database.transaction((tenant,)) as connection:
        await require_tenant(connection, tenant)
        before = await tokens.locked(connection, tenant, token)
        if before is None:
            raise _unknown(tenant, token)
        after = replace(before, **changes)
        await tokens.save(connection, after)
    await _ring(desk, tenant)
    return _view(after)


async def _ring(desk: Desk, tenant: str) -> None:
    """Tell the workers. A ring that is lost costs until their verdicts expire, never more."""
    try:
        await desk.client.publish(subjects.TOKENS_DOORBELL, tenant.encode())
    except NatsError as error:
        log.warning("doorbell_not_rung", subject=subjects.TOKENS_DOORBELL, tenant=tenant, error=repr(error))


def _unknown(tenant: str, token: str) -> OperatorError:
    return OperatorError(
        "unknown-token",
        f"tenant {tenant!r} has no token {token!r}; `cpms token list --tenant {tenant}` shows them, `cpms token add {token}` makes it",
    )


def _view(row: tokens.Token) -> TokenView:
    return TokenView(
        tenant=row.tenant_id,
        id=row.id,
        kind=row.kind,
        status=row.status,
        group=row.group_id,
        parent=row.parent_id,
        expires_at=None if row.expires_at is None else to_datetime(row.expires_at),
        note=row.note,
        created_at=to_datetime(row.created_at),
    )
