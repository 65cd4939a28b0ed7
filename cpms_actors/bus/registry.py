"""What a worker must know without asking: tenants and chargers, mirrored from a KV bucket that the operations pool writes.

    tenant.<tenant>                       domain.access.Tenant, msgpack
    charger.<slot>.<tenant>.<charger>     domain.access.ChargerRecord, msgpack

The whole bucket is read at start and watched from then on. After every reconnection the watch begins anew: a watch that went silent
with the broker would go unnoticed otherwise. What vanished meanwhile is found by comparing with what the new watch brought.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError
from nats.js.kv import KeyValue

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import from_subject_token
from cpms_actors.domain.access import ChargerRecord, Tenant
from cpms_actors.observe import logs

log = logs.get("registry")

_read_tenant: Final = msgspec.msgpack.Decoder(Tenant).decode
_read_charger: Final = msgspec.msgpack.Decoder(ChargerRecord).decode
CHECK_S: Final = 2.0

OnCharger = Callable[[str, str, ChargerRecord | None], None]


class Registry:
    """The mirror. `on_charger` hears every change of a charger after the first complete reading; None: it is gone."""

    def __init__(self, client: Client, bucket: KeyValue, on_charger: OnCharger) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.chargers: dict[tuple[str, str], ChargerRecord] = {}
        self._client = client
        self._bucket = bucket
        self._on_charger = on_charger
        self._complete = asyncio.Event()

    async def complete(self, deadline_s: float) -> None:
        """Wait for the first complete reading. Raises Unavailable when the broker has not given it in time."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._complete.wait()
        except TimeoutError:
            raise Unavailable("the registry could not be read: is JetStream up?") from None

    async def run(self) -> None:
        """Mirror until cancelled."""
        while True:
            reconnects = self._client.stats["reconnects"]
            try:
                await self._watch(reconnects)
            except (NatsError, APIError, TimeoutError, OSError) as error:
                log.warning("registry_watch_failed", error=repr(error))
                await asyncio.sleep(CHECK_S / 4)

    async def _watch(self, reconnects: int) -> None:
        """Follow one watch until the client has reconnected."""
        watcher = await self._bucket.watchall()
        seen: set[str] = set()
        reading = True
        try:
            while self._client.stats["reconnects"] == reconnects:
                try:
                    entry = await watcher.updates(CHECK_S)  # type: ignore[no-untyped-call]  # untyped in nats-py
                except NatsTimeout:
                    continue
                if entry is None:
                    reading = False
                    self._drop_all_but(seen)
                    self._complete.set()
                elif isinstance(entry, KeyValue.Entry):
                    if reading:
                        seen.add(entry.key)
                    self._apply(entry.key, entry.value if entry.operation is None else None)
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]  # untyped in nats-py

    def _apply(self, key: str, value: bytes | None) -> None:
        kind, *parts = key.split(".")
        match kind, parts:
            case "tenant", [tenant]:
                if value:
                    self.tenants[from_subject_token(tenant)] = _read_tenant(value)
                else:
                    self.tenants.pop(from_subject_token(tenant), None)
            case "charger", [_, tenant, charger]:
                self._set_charger((from_subject_token(tenant), from_subject_token(charger)), _read_charger(value) if value else None)
            case _:
                log.warning("registry_key_unknown", key=key)

    def _set_charger(self, name: tuple[str, str], record: ChargerRecord | None) -> None:
        if record is None:
            self.chargers.pop(name, None)
        else:
            self.chargers[name] = record
        if self._complete.is_set():
            self._on_charger(*name, record)

    def _drop_all_but(self, seen: set[str]) -> None:
        names = {tuple(from_subject_token(part) for part in key.split(".")[2:]) for key in seen if key.startswith("charger.")}
        for name in [name for name in self.chargers if name not in names]:
            self._set_charger(name, None)
        tenants = {from_subject_token(key.partition(".")[2]) for key in seen if key.startswith("tenant.")}
        for tenant in [tenant for tenant in self.tenants if tenant not in tenants]:
            del self.tenants[tenant]
