"""What chargers report of themselves, written by the fold: the right half of `chargers`, and `connectors`.

Late facts must not flip live state. A connection epoch decides whether a connection's end still matters, and a status counts when
it is not older than the one that is known. A charger that is in no table (its row was deleted) is passed over: the journal knows.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from cpms_actors.domain.events import Booted, StatusChanged
from cpms_actors.store.columns import Column, insert, moment, moment_of, one_row, text, transpose, whole
from cpms_actors.store.database import Connection


class ChargerLive(Struct):
    """What a batch tells of one charger. None: nothing. `opened`: the connection began in this batch."""

    tenant: str
    charger: str
    last_seen_at: int
    connection: int = -1
    connected: bool | None = None
    ocpp: str | None = None
    boot: Booted | None = None
    booted_at: int | None = None
    opened: bool = False


class ConnectorLive(Struct, frozen=True):
    """The newest status of one connector in a batch; `at` is the moment it counts from."""

    tenant: str
    charger: str
    at: int
    status: StatusChanged


_CHARGERS: Final = (
    text("tenant_id"),
    text("identity"),
    moment("last_seen_at"),
    whole("connection"),
    Column("connected", "boolean"),
    text("ocpp"),
    moment("booted_at"),
    text("boot_status"),
    text("vendor"),
    text("reported_model"),
    text("serial"),
    text("firmware"),
    Column("opened", "boolean"),
)
# A boot states everything anew: what it leaves out is no longer known.
_BOOTED: Final = ("boot_status", "vendor", "reported_model", "serial", "firmware")
_SAVE_CHARGERS: Final = f"""
UPDATE chargers AS c SET
    last_seen_at = greatest(c.last_seen_at, {moment_of("u.last_seen_at")}),
    connected = CASE WHEN u.opened OR u.connection >= coalesce(c.connection, 0) THEN u.connected ELSE c.connected END,
    connection = CASE WHEN u.opened THEN u.connection ELSE c.connection END,
    ocpp = coalesce(u.ocpp, c.ocpp),
    booted_at = coalesce({moment_of("u.booted_at")}, c.booted_at),
    {", ".join(f"{name} = CASE WHEN u.booted_at IS NULL THEN c.{name} ELSE u.{name} END" for name in _BOOTED)}
FROM {one_row(_CHARGERS)}
WHERE c.tenant_id = u.tenant_id AND c.identity = u.identity
"""
_SAVE_CONNECTORS: Final = insert(
    "connectors",
    (
        text("tenant_id"),
        text("charger"),
        whole("evse"),
        whole("connector"),
        text("status"),
        text("error_code"),
        text("info"),
        text("vendor_error"),
        moment("status_at"),
    ),
    """
    ON CONFLICT (tenant_id, charger, evse, connector) DO UPDATE SET status = EXCLUDED.status, error_code = EXCLUDED.error_code,
        info = EXCLUDED.info, vendor_error = EXCLUDED.vendor_error, status_at = EXCLUDED.status_at
    WHERE connectors.status_at <= EXCLUDED.status_at
    """,
)


async def save_chargers(connection: Connection, chargers: Sequence[ChargerLive]) -> None:
    """Write what the batch tells of chargers. Each must be given once.

    One by one, in one round trip: joined with the table as a whole, a planner without statistics reads all chargers of the tenant.
    """
    if chargers:
        await connection.executemany(_SAVE_CHARGERS, [_charger_row(charger) for charger in chargers])


async def save_connectors(connection: Connection, connectors: Sequence[ConnectorLive]) -> None:
    """Write the connectors' statuses, where they are not older than what is known. Each connector must be given once."""
    if connectors:
        await connection.execute(_SAVE_CONNECTORS, *transpose([_connector_row(connector) for connector in connectors]))


def _charger_row(live: ChargerLive) -> tuple[Any, ...]:
    boot = live.boot
    return (
        live.tenant,
        live.charger,
        live.last_seen_at,
        live.connection,
        live.connected,
        live.ocpp,
        live.booted_at,
        boot.status if boot else None,
        boot.vendor if boot else None,
        boot.model if boot else None,
        boot.serial if boot else None,
        boot.firmware if boot else None,
        live.opened,
    )


def _connector_row(live: ConnectorLive) -> tuple[Any, ...]:
    status = live.status
    return (
        live.tenant,
        live.charger,
        status.evse,
        status.connector,
        status.status,
        status.error_code,
        status.info,
        status.vendor_error,
        live.at,
    )
