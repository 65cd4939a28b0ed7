"""Readings as rows: telemetry, partitioned by the day it arrived, dropped by day.

A repeated 1.6 MeterValues is kept twice (nothing in it says that it is a repetition): readers take registers by time, not sums.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final, TypeAlias

from cpms_actors.domain.events import Sample
from cpms_actors.store.columns import moment_of, transpose
from cpms_actors.store.database import Connection

DAY_MS: Final = 86_400_000
DAYS: Final = range(100_000)  # days since 1970 that a clock may say: until the year 2243

Readings: TypeAlias = tuple[str, str, int, int, int | None, int, Sequence[Sample]]
"""What one event brought: tenant, charger, evse, connector, session id, received at (ms), and its samples."""

KINDS_MOST: Final = 64  # in one statement: each row looks for its own from the first on

_OF_KIND: Final = ("measurand", "context", "phase", "location", "unit", "signed")
_KINDS: Final = ", ".join(f"(${number}::text[])[($11::integer[])[r.at]]" for number, _ in enumerate(_OF_KIND, 12))
# What an event's samples have in common goes once, and what is the same in thousands of them as a number: of a row with an array for
# each of its columns the driver's encoding alone was a quarter of the pool's CPU, and most of it went into texts.
_SAVE: Final = f"""
INSERT INTO meter_values (tenant_id, charger, evse, connector, session_id, received_at, taken_at, value, {", ".join(_OF_KIND)})
SELECT r.tenant_id, r.charger, r.evse, r.connector, r.session_id, {moment_of("r.received_at")},
    {moment_of("($9::bigint[])[r.at]")}, ($10::float8[])[r.at], {_KINDS}
FROM (
    SELECT e.*, generate_series(e.first, e.last) AS at
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS e (tenant_id, charger, evse, connector, session_id, received_at, first, last)
) AS r
"""


async def save(connection: Connection, readings: Iterable[Readings]) -> None:
    """Write the readings."""
    for arguments in _arguments(readings):
        await connection.execute(_SAVE, *arguments)


def _arguments(readings: Iterable[Readings]) -> Iterator[list[Sequence[Any]]]:
    """The arrays of each statement: of the events, of their samples, of the kinds of samples. The samples of an event stay together."""
    events: list[tuple[Any, ...]] = []
    taken: list[int] = []
    values: list[float] = []
    which: list[int] = []
    kinds: dict[tuple[str | None, ...], int] = {}
    for *event, samples in readings:
        first = len(values) + 1
        for s in samples:
            taken.append(s.taken_at)
            values.append(s.value)
            kind = (s.measurand, s.context, s.phase, s.location, s.unit, s.signed)
            number = kinds.get(kind)
            if number is None:
                number = kinds[kind] = len(kinds) + 1
            which.append(number)
        events.append((*event, first, len(values)))
        if len(kinds) > KINDS_MOST:
            yield [*transpose(events), taken, values, which, *transpose(list(kinds))]
            events, taken, values, which, kinds = [], [], [], [], {}
    if kinds:
        yield [*transpose(events), taken, values, which, *transpose(list(kinds))]


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
