"""Reconciliation: what the tables say of the same charging, held against each other.

    the charger's registers ── sessions ── CDRs and credits         a rule is one query, and finds where two of them do not fit

A rule sees one snapshot, so what is under way is no difference. What a repair does cannot lose or double anything: it asks the tariff
pool to look again, which replaces a CDR by a credit and a new one, or it writes the credit that is missing.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from cpms_actors.base.time import to_datetime
from cpms_actors.domain.cdr import credit_of
from cpms_actors.store import cdrs
from cpms_actors.store.database import Connection

WAITS_MIN: Final = 10  # longer than a session with missing events waits for them, and than a pool takes to catch up
SILENT_H: Final = 6
FREE_MIN: Final = 5
UNBILLED_WH_MIN: Final = 1_000  # a charger draws something by itself, and its meter may be read between two sessions

Repair: TypeAlias = Literal["retry", "rate-again", "credit"]


class Rule(Struct, frozen=True):
    """What must fit: `name` is a stable word, `text` says what does not, `remedy` what an operator does about it.

    `sql` finds session_id, charger, cdr and detail for a tenant ($1), of sessions since a moment ($2).
    """

    name: str
    text: str
    remedy: str
    sql: str
    repair: Repair | None = None


class Difference(Struct, frozen=True):
    """Where something does not fit. `cdr` is None when it is about the session."""

    session_id: int
    charger: str
    cdr: str | None
    detail: str


_CURRENT: Final = f"SELECT c.* FROM cdrs c WHERE c.tenant_id = $1 AND c.started_at >= $2 AND {cdrs.STANDING}"
_NEWEST: Final = f"SELECT DISTINCT ON (session_id) * FROM ({_CURRENT}) o ORDER BY session_id, session_version DESC"
_IN_A_ROW: Final = """
  SELECT s.*, lag(s.id) OVER w AS id_before, lag(s.meter_start_wh) OVER w AS start_before, lag(s.meter_stop_wh) OVER w AS stop_before
  FROM sessions s WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.evse > 0 AND s.flags NOT LIKE '%register-%'
  WINDOW w AS (PARTITION BY s.charger, s.evse ORDER BY s.started_at, s.id)
"""  # an EVSE has one meter and one transaction at a time, whichever connector is used; 0 is one that nobody named

RULES: Final = (
    Rule(
        "not-rated",
        "a session that has ended waits for its CDR",
        "see that a tariff pool runs (`cpms status`), and mend what the detail names; --repair has it tried again at once",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr,
               coalesce('it was tried ' || e.attempts || ' times: ' || e.error, 'nobody has tried') AS detail
        FROM sessions s LEFT JOIN session_rating_errors e
          ON e.tenant_id = s.tenant_id AND e.session_id = s.id AND e.session_version = s.version
        WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.status = 'Ended' AND s.version > s.rated_version
          AND (e.session_id IS NOT NULL OR s.updated_at < now() - interval '{WAITS_MIN} minutes')
        """,
        "retry",
    ),
    Rule(
        "no-cdr",
        "a session counts as rated and has no CDR that stands",
        "--repair has it rated again",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr, 'version ' || s.version || ' was rated' AS detail FROM sessions s
        WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.status = 'Ended' AND s.version = s.rated_version
          AND NOT EXISTS (SELECT FROM ({_CURRENT}) c WHERE c.session_id = s.id)
        """,
        "rate-again",
    ),
    Rule(
        "cdr-differs",
        "a CDR tells another energy than its session",
        "--repair has it rated again: a credit takes the CDR back, and a new one replaces it",
        f"""
        SELECT s.id AS session_id, s.charger, c.id AS cdr, c.energy_wh || ' Wh and not ' || s.energy_wh || ' Wh' AS detail
        FROM sessions s JOIN ({_NEWEST}) c ON c.session_id = s.id
        WHERE s.tenant_id = $1 AND s.version = s.rated_version AND c.energy_wh <> s.energy_wh
        """,
        "rate-again",
    ),
    Rule(
        "billed-twice",
        "a session has a CDR beside the one that stands",
        "--repair writes its credit",
        f"""
        SELECT c.session_id, c.charger, c.id AS cdr, 'of version ' || c.session_version || ', beside ' || n.id AS detail
        FROM ({_CURRENT}) c JOIN ({_NEWEST}) n ON n.session_id = c.session_id AND n.id <> c.id
        """,
        "credit",
    ),
    Rule(
        "credit-differs",
        "a credit is not the exact negative of the CDR that it takes back",
        "neither can be changed: settle the difference with the driver, and say so where you keep your books",
        """
        SELECT k.session_id, k.charger, k.id AS cdr, 'it takes back ' || c.id AS detail
        FROM cdrs k JOIN cdrs c ON c.tenant_id = k.tenant_id AND c.id = k.credits
        WHERE k.tenant_id = $1 AND c.started_at >= $2 AND (k.energy_wh, k.charging_s, k.parking_s, k.total_excl_minor, k.tax_minor)
          <> (-c.energy_wh, -c.charging_s, -c.parking_s, -c.total_excl_minor, -c.tax_minor)
        """,
    ),
    Rule(
        "energy-differs",
        "a session's energy is not what the charger's register rose by",
        "compare its readings (`cpms session show`) with the charger's display",
        """
        SELECT s.id AS session_id, s.charger, NULL AS cdr,
               s.energy_wh || ' Wh, and the register from ' || s.meter_start_wh || ' to ' || s.meter_stop_wh AS detail
        FROM sessions s WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.status = 'Ended' AND s.flags NOT LIKE '%register-%'
          AND s.energy_wh <> s.meter_stop_wh - s.meter_start_wh
        """,
    ),
    Rule(
        "registers-overlap",
        "two sessions of one EVSE have the same energy: the later one starts below the end of the one before",
        "find out which of them the energy belongs to; the charger may have told the end of the earlier one late and wrong",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr,
               'it starts at ' || s.meter_start_wh || ' Wh, and session ' || s.id_before || ' ended at ' || s.stop_before AS detail
        FROM ({_IN_A_ROW}) s WHERE s.meter_start_wh < s.stop_before AND s.meter_start_wh >= s.start_before
        """,
    ),
    Rule(
        "energy-unbilled",
        "an EVSE gave energy between two sessions",
        "look for a session that was never told (`cpms parked list`), one before it that was closed provisionally and had not told all"
        " (`cpms session list`), or a charger that charges without one",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr,
               s.meter_start_wh - s.stop_before || ' Wh since session ' || s.id_before AS detail
        FROM ({_IN_A_ROW}) s WHERE s.meter_start_wh - s.stop_before > {UNBILLED_WH_MIN}
        """,
    ),
    Rule(
        "events-lost",
        "events of a session are missing, and its station has said that it has no more of them",
        "what the registers tell stands, but for the start or the end that is among them: compare with the charger's own log; that its"
        " messages were given up there, or its memory lost, is for its vendor to explain",
        """
        SELECT s.id AS session_id, s.charger, NULL AS cdr, s.gaps || ' ranges of seqNos are missing among ' || s.seqs::text AS detail
        FROM sessions s WHERE s.tenant_id = $1 AND s.started_at >= $2 AND 'lost' = ANY (string_to_array(s.flags, ' '))
        """,
    ),
    Rule(
        "overtaken",
        "a session is active although a later one has begun at its EVSE",
        "the charger never told its end: read its own log (OCPP 2.x is asked by itself before the session is closed)",
        """
        SELECT s.id AS session_id, s.charger, NULL AS cdr, 'session ' || min(l.id) || ' has begun since' AS detail
        FROM sessions s JOIN sessions l ON l.tenant_id = s.tenant_id AND l.charger = s.charger AND l.evse = s.evse
          AND l.started_at > s.started_at
        WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.evse > 0 AND s.status = 'Active' GROUP BY s.id, s.charger
        """,
    ),
    Rule(
        "connector-free",
        "a session is active although its connector is free",
        "ask the charger for its state (`cpms call CHARGER TriggerMessage`), or read its own log",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr, 'free since ' || date_trunc('second', n.status_at) AS detail
        FROM sessions s JOIN connectors n ON n.tenant_id = s.tenant_id AND n.charger = s.charger AND n.evse = s.evse
          AND n.connector = s.connector
        WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.evse > 0 AND s.status = 'Active' AND n.status = 'Available'
          AND n.status_at BETWEEN s.started_at AND now() - interval '{FREE_MIN} minutes'
        """,
    ),
    Rule(
        "silent",
        f"a session is active and its charger has said nothing for {SILENT_H} hours",
        "see to the charger; what it has kept is taken with its own times when it is back",
        f"""
        SELECT s.id AS session_id, s.charger, NULL AS cdr, 'last heard of at ' || date_trunc('second', c.last_seen_at) AS detail
        FROM sessions s JOIN chargers c ON c.tenant_id = s.tenant_id AND c.identity = s.charger
        WHERE s.tenant_id = $1 AND s.started_at >= $2 AND s.status = 'Active'
          AND c.last_seen_at < now() - interval '{SILENT_H} hours'
        """,
    ),
    Rule(
        "nameless",
        "no transaction id leads to a session: what its charger still tells of it would open another one",
        "restore session_transactions from a backup",
        """
        SELECT s.id AS session_id, s.charger, NULL AS cdr, 'it was known as ' || s.transaction AS detail FROM sessions s
        WHERE s.tenant_id = $1 AND s.started_at >= $2
          AND NOT EXISTS (SELECT FROM session_transactions t WHERE t.session_id = s.id)
        """,
    ),
)  # fmt: skip


async def find(connection: Connection, rule: Rule, tenant: str, *, since: int, limit: int) -> tuple[int, list[Difference]]:
    """How much a rule finds in a tenant's sessions that started at `since` (ms) or later, and the first `limit` of it.

    In a transaction, for the rest of which tables are joined as wholes: where it has no statistics (a crash has autovacuum forget what
    it was to look at) the planner takes a table for small, and holds each row against all others.
    """
    await connection.execute("SET LOCAL enable_nestloop = off")
    rows = await connection.fetch(
        f"SELECT f.*, count(*) OVER () AS found FROM ({rule.sql}) f ORDER BY session_id, cdr LIMIT $3",  # rules of ours
        tenant,
        to_datetime(since),
        limit,
    )
    found = [Difference(row["session_id"], row["charger"], row["cdr"], row["detail"]) for row in rows]
    return (rows[0]["found"] if rows else 0), found


async def counts(connection: Connection, tenant: str, *, since: int) -> tuple[int, int]:
    """How many sessions and CDRs (with credits) of a tenant are looked at."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM sessions WHERE tenant_id = $1 AND started_at >= $2) AS sessions,"
        " (SELECT count(*) FROM cdrs WHERE tenant_id = $1 AND started_at >= $2) AS cdrs",
        tenant,
        to_datetime(since),
    )
    assert row is not None  # it has no FROM
    return row["sessions"], row["cdrs"]


async def repair(
    connection: Connection, kind: Repair, tenant: str, difference: Difference, *, now: int, new_id: Callable[[], str]
) -> bool:
    """Do what is safe about a difference that was found in this transaction, and say whether there was anything to do. Afterwards the
    tariff pool has to look."""
    match kind:
        case "retry":  # what nobody has tried waits for a pool, and for nothing else
            done = await connection.execute(
                "UPDATE session_rating_errors SET retry_at = now() WHERE tenant_id = $1 AND session_id = $2",
                tenant,
                difference.session_id,
            )
        case "rate-again":  # as if a late fact had amended it
            done = await connection.execute(
                "UPDATE sessions SET version = version + 1 WHERE tenant_id = $1 AND id = $2 AND version = rated_version",
                tenant,
                difference.session_id,
            )
        case "credit":
            assert difference.cdr is not None  # such a rule names it
            twice = await cdrs.find(connection, tenant, difference.cdr)
            assert twice is not None  # it was found, and no CDR is ever removed
            await cdrs.insert(connection, credit_of(twice, cdr_id=new_id(), now=now))
            return True
    return done != "UPDATE 0"
