"""Verdicts: may these tokens charge? Many questions, one round trip."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from cpms_actors.base.time import from_datetime
from cpms_actors.domain.access import Verdict
from cpms_actors.store.columns import same_tenant, transpose
from cpms_actors.store.database import Connection

# A token's id does not know upper from lower case (OCPP 1.6 section 7.15, CiString20Type). LATERAL with LIMIT is one look into the
# index for each; joined plainly, row level security keeps lower() out of its condition (see migration 0004).
_FIND: Final = f"""
SELECT u.number, t.status, t.expires_at, coalesce(t.group_id, t.parent_id) AS group_id
FROM unnest($1::int[], $2::text[], $3::text[]) AS u (number, tenant_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM tokens AS t WHERE {same_tenant("t", "u")} AND t.folded_id = lower(u.id) LIMIT 1
) AS t
"""
UNKNOWN: Final = Verdict("Invalid")


async def find_verdicts(connection: Connection, asked: Sequence[tuple[str, str]], now: int) -> list[Verdict]:
    """The verdict on each (tenant, token id), in order; "Invalid" for a token nobody knows, "Expired" from its `expires_at` on.

    Never "ConcurrentTx": tokens have no limit of concurrent transactions, and one that is charging somewhere may charge elsewhere too
    (OCPP 1.6 section 7.2 and 2.x AuthorizationStatusEnumType leave that to the operator).
    """
    verdicts = [UNKNOWN] * len(asked)
    # No stored token holds a NUL, and Postgres would refuse the whole question: one such driver must not stop the others.
    known = [(number, *names) for number, names in enumerate(asked) if "\0" not in names[1]]
    if known:
        rows = await connection.fetch(_FIND, *transpose(known))
        for row in rows:
            verdicts[row["number"]] = _verdict(row, now)
    return verdicts


def _verdict(row: asyncpg.Record, now: int) -> Verdict:
    expires_at = None if row["expires_at"] is None else from_datetime(row["expires_at"])
    status = row["status"]
    if status == "Accepted" and expires_at is not None and expires_at <= now:
        status = "Expired"
    return Verdict(status, expires_at, row["group_id"])
