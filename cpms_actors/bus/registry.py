"""What a worker must know without asking: tenants and chargers, mirrored from a KV bucket that the operations pool writes.

    tenant.<tenant>                       domain.access.Tenant, msgpack
    charger.<slot>.<tenant>.<charger>     domain.access.ChargerRecord, msgpack

The whole bucket is read at start and watched from then on (`bus.watching`). A value that cannot be read, such as one that a newer
release wrote, leaves the one before it in force.
"""

import asyncio
from collections.abc import Callable, Set
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.js.kv import KeyValue

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import from_subject_token, subject_token
from cpms_actors.bus.watching import Watch
from cpms_actors.domain.access import ChargerRecord, Tenant
from cpms_actors.observe import logs

log = logs.get("registry")

_read_tenant: Final = msgspec.msgpack.Decoder(Tenant).decode
_read_charger: Final = msgspec.msgpack.Decoder(ChargerRecord).decode

OnCharger = Callable[[str, str, ChargerRecord | None], None]
OnTenant = Callable[[str, Tenant | None], None]


class Registry:
    """The mirror. `on_charger` and `on_tenant` hear every change after the first complete reading; None: it is gone."""

    def __init__(
        self, client: Client, bucket: KeyValue, on_charger: OnCharger, on_tenant: OnTenant = lambda _tenant, _record: None
    ) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.chargers: dict[tuple[str, str], ChargerRecord] = {}
        self._watch = Watch(client, bucket, "registry", self._apply, self._on_read)
        self._revision = 0
        self._advanced = asyncio.Event()
        self._on_charger = on_charger
        self._on_tenant = on_tenant
        self._complete = asyncio.Event()

    async def complete(self, deadline_s: float) -> None:
        """Wait for the first complete reading. Raises Unavailable when the broker has not given it in time."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._complete.wait()
        except TimeoutError:
            raise Unavailable("the registry could not be read: is JetStream up?") from None

    async def reached(self, revision: int) -> None:
        """Wait until what the bucket held at that revision, or something newer, is known here."""
        while self._revision < revision:
            self._advanced.clear()
            await self._advanced.wait()

    async def run(self) -> None:
        """Mirror until cancelled."""
        await self._watch.run()

    def _apply(self, key: str, value: bytes | None, revision: int) -> None:
        try:
            self._learn(key, value)
        finally:  # readable or not, it has been seen
            self._revision = max(self._revision, revision)
            self._advanced.set()

    def _learn(self, key: str, value: bytes | None) -> None:
        match key.split("."):
            case ["tenant", tenant]:
                self._set_tenant(from_subject_token(tenant), _read_tenant(value) if value else None)
            case ["charger", _, tenant, charger]:
                self._set_charger((from_subject_token(tenant), from_subject_token(charger)), _read_charger(value) if value else None)
            case _:
                log.warning("registry_key_unknown", key=key)

    def _set_tenant(self, name: str, tenant: Tenant | None) -> None:
        if self.tenants.get(name) == tenant:
            return  # a reading after a reconnection brings what is known
        if tenant is None:
            del self.tenants[name]
        else:
            self.tenants[name] = tenant
        self._announce(self._on_tenant, name, tenant)

    def _set_charger(self, name: tuple[str, str], record: ChargerRecord | None) -> None:
        if self.chargers.get(name) == record:
            return
        if record is None:
            del self.chargers[name]
        else:
            self.chargers[name] = record
        self._announce(self._on_charger, *name, record)

    def _on_read(self, seen: Set[str]) -> None:
        """The bucket has been read: what it does not have is gone. Keys are compared as they stand, readable or not."""
        tails = {key.split(".", 1)[1] for key in seen if key.startswith("tenant.")}
        for tenant in [tenant for tenant in self.tenants if subject_token(tenant) not in tails]:
            self._set_tenant(tenant, None)
        tails = {key.split(".", 2)[2] for key in seen if key.startswith("charger.") and key.count(".") == 3}
        for name in [name for name in self.chargers if f"{subject_token(name[0])}.{subject_token(name[1])}" not in tails]:
            self._set_charger(name, None)
        self._complete.set()

    def _announce(self, listener: Callable[..., None], *change: object) -> None:
        """Tell a listener, after the first complete reading. What it raises is its own fault and ends here, in the log."""
        if self._complete.is_set():
            try:
                listener(*change)
            except Exception as error:
                log.error("registry_listener_failed", change=change[:-1], exc_info=error)
