"""The session pool: folds the journal into Postgres, and answers what workers ask about tokens and transaction ids.

    session ── lanes      one child per lane this process holds (pools/lane.py)
            ── claims     which lanes those are (pools/claims.py)
            ── answers    questions of workers (pools/answers.py)
            ── retention  old telemetry goes, folded pages make room (pools/retention.py)
            ── journal    writes what the sweeper finds (bus/journal.py)
            ── sweeper    stations are asked for what is missing, and transactions that are silent closed (pools/sweeper.py)

Any number of processes may run it: they share the lanes, and take over those of one that died.
"""

import os
import random
import secrets
import socket
from collections.abc import Callable
from typing import Final

import anyio
from msgspec.structs import replace
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.ids import LANES
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.client import close, connect
from cpms_actors.bus.journal import Journal, ensure_stream
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.observe import logs
from cpms_actors.pools.answers import Answers
from cpms_actors.pools.claims import Claims
from cpms_actors.pools.retention import Retention
from cpms_actors.pools.sweeper import Sweeper
from cpms_actors.store.database import open_database
from supervisors.child import ChildSpec
from supervisors.policy import Backoff, Intensity, Strategy
from supervisors.supervisor import Supervisor

log = logs.get("session")

JOURNAL_RETRY: Final = Backoff(first_s=0.5, max_s=5.0)
CONNECTIONS_ANSWERING: Final = 2  # verdicts come in batches and leases are rare
ANSWER_S: Final = 2.5  # a worker waits for four seconds, and then decides for itself
# A lane that fails again and again must not take the others down: it comes back ever more slowly, and is seen in the lag.
LANES_INTENSITY: Final = Intensity(restarts=1_000, window_s=30.0)


async def run(settings: Settings, *, started: Callable[[], None]) -> None:
    """Run until cancelled. `started` is called once lanes are claimed (or Postgres was found to be down) and questions answered."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    client = await connect(settings.nats, f"session {owner}")
    try:
        await _journal(client, settings)
        folding, asking = (replace(settings.postgres, connections_max=most) for most in _shared(settings.postgres.connections_max))
        async with open_database(folding) as database, open_database(asking, statement_s=ANSWER_S) as answering:

            async def ring() -> None:
                await _ring(client)

            lanes = Supervisor("lanes", intensity=LANES_INTENSITY)
            claims = Claims(owner, client, database, lanes, ring)
            # Page numbers count within a writer: no other process may ever have its name.
            journal = Journal(StreamPublisher(client), range(LANES), f"sweeper.{owner}", settings.journal, client.max_payload)
            sweeper = Sweeper(client, database, journal, lambda: {claim.lane for claim in claims.lanes})
            answers = Answers(client, answering, claims, sweeper.closed, sweeper.asker.counts)
            children = (
                ChildSpec("lanes", lanes.run),
                ChildSpec("claims", claims.run),
                ChildSpec("answers", answers.run),
                ChildSpec("retention", Retention(client, database, settings).run),
                ChildSpec("journal", sweeper.write),
                ChildSpec("sweeper", sweeper.run),
            )
            await Supervisor("session", children, strategy=Strategy.rest_for_one).run(started)
    finally:
        with anyio.CancelScope(shield=True):
            await close(client)


def _shared(connections_max: int) -> tuple[int, int]:
    """Connections for the fold and for the answers: a driver at a reader never waits for a batch."""
    return max(connections_max - CONNECTIONS_ANSWERING, 1), CONNECTIONS_ANSWERING


async def _journal(client: Client, settings: Settings) -> None:
    """Wait until there is a journal to read."""
    failures = 0
    while True:
        try:
            await ensure_stream(client.jetstream(), settings)
        except (NatsError, TimeoutError, OSError) as error:
            failures += 1
            log.warning("journal_missing", error=repr(error), failures=failures)
            await anyio.sleep(JOURNAL_RETRY.delay(failures, random.random()))
        else:
            return


async def _ring(client: Client) -> None:
    """A bell that is lost costs the tariff pool's next look, some seconds later."""
    try:
        await client.publish(subjects.doorbell("tariff"), b"")
    except NatsError as error:
        log.warning("doorbell_lost", error=repr(error))
