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
    """What a handler may use."""

    settings: Settings
    database: Database
    client: Client
    mirror: Mirror


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
