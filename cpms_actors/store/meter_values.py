"""Readings as rows: telemetry, partitioned by the day it arrived, dropped by day.

A repeated 1.6 MeterValues is kept twice (nothing in it says that it is a repetition): readers take registers by time, not sums.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final, TypeAlias

from cpms_actors.domain.events import Sample
from cpms_actors.store.columns import Column, insert, moment, text, transpose, whole
from cpms_actors.store.database import Connection

DAY_MS: Final = 86_400_000
DAYS: Final = range(100_000)  # days since 1970 that a clock may say: until the year 2243

Row: TypeAlias = tuple[Any, ...]
"""tenant, charger, evse, connector, session id, received at, and what `sample_columns` makes of a sample."""

_SAVE: Final = insert(
    "meter_values",
    (
        text("tenant_id"),
        text("charger"),
        whole("evse"),
        whole("connector"),
        whole("session_id"),
        moment("received_at"),
        moment("taken_at"),
        Column("value", "float8"),
        text("measurand"),
        text("context"),
        text("phase"),
        text("location"),
        text("unit"),
        text("signed"),
    ),
)


def rows_of(head: tuple[str, str, int, int, int | None, int], samples: Iterable[Sample]) -> Iterable[Row]:
    """The rows of one event's samples; `head` is tenant, charger, evse, connector, session id, received at (ms)."""
    for s in samples:
        yield (*head, s.taken_at, s.value, s.measurand, s.context, s.phase, s.location, s.unit, s.signed)


async def save(connection: Connection, rows: Sequence[Row]) -> None:
    """Write the readings."""
    if rows:
        await connection.execute(_SAVE, *transpose(rows))


async def create_day(connection: Connection, day: int) -> bool:
    """Make the partition of a day (days since 1970-01-01 UTC). False: the readings of that day stay in the default partition.

    Takes a short lock of the whole table: run it before the batch, in a transaction of its own.
    """
    created: bool = await connection.fetchval("SELECT create_meter_values_day($1)", date.fromordinal(_EPOCH_ORDINAL + day))
    return created


_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


async def drop_before(connection: Connection, day: int) -> int:
    """Drop the readings of every day before this one; how many partitions went.

    Takes a short lock of the whole table. Raises asyncpg.InvalidParameterValueError for a day that is not past.
    """
    dropped: int = await connection.fetchval("SELECT drop_telemetry_before($1)", date.fromordinal(_EPOCH_ORDINAL + day))
    return dropped


async def delete_before(connection: Connection, day: int, most: int) -> int:
    """Delete what is older than this day and in no partition: stray readings, reports, and parked messages that were resolved.

    At most `most` of each; how many rows went, 0 when none is left. Raises as `drop_before` does.
    """
    deleted: int = await connection.fetchval("SELECT delete_telemetry_before($1, $2)", date.fromordinal(_EPOCH_ORDINAL + day), most)
    return deleted
