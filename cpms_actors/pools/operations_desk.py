"""What the handlers of admin verbs share: the servers they need, and the errors that several of them give."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from nats.aio.client import Client

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Settings
from cpms_actors.pools.operations_mirror import Mirror
from cpms_actors.store import tenants
from cpms_actors.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Desk:
    """What a handler may use, and for whom it works: `operator` is who asks, as the broker vouches for."""

    settings: Settings
    database: Database
    client: Client
    mirror: Mirror
    operator: str = ""


Handler: TypeAlias = Callable[[Desk, Any], Awaitable[Any]]
"""A verb's work: its request in, its response out. Raises OperatorError, Unavailable or ChargerRefused."""


async def require_tenant(connection: Connection, tenant: str) -> tenants.Tenant:
    """The tenant. Raises OperatorError("unknown-tenant")."""
    found = await tenants.find(connection, tenant)
    if found is None:
        raise unknown_tenant(tenant)
    return found


def unknown_tenant(tenant: str) -> OperatorError:
    """There is no such tenant."""
    return OperatorError("unknown-tenant", f"no tenant {tenant!r}; `cpms tenant list` shows them, `cpms tenant add {tenant}` makes it")


def next_of(rows: list[Any], limit: int, key: str) -> str | None:
    """Where the page after this one starts: the last row's key, None when the page was not full."""
    return str(getattr(rows[-1], key)) if len(rows) == limit else None


def number_of(after: str | None) -> int | None:
    """The number in the cursor of a list that goes by numbers. Raises OperatorError("invalid-request")."""
    if after is None:
        return None
    if not (after.isascii() and after.isdigit()) or len(after) > 18:
        raise wrong_cursor(after)
    return int(after)


def wrong_cursor(after: str) -> OperatorError:
    """The text is no page."""
    return OperatorError("invalid-request", f"after: {after!r} is no page; give `next` of the page before")
