"""The session pool's answers to workers: verdicts on tokens, transaction ids, and how far the fold is.

Questions about tokens that arrive while Postgres is being asked wait together, and the next query answers them all: a rush hour
costs round trips, not one per driver. More than QUESTIONS_MAX waiting, or no Postgres, and the answer is empty at once, so that the
worker's offline policy decides while the driver still stands there.
"""

from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import Final

import anyio
import msgspec
from msgspec.structs import asdict
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.bus import questions, subjects
from cpms_actors.bus.client import listening
from cpms_actors.bus.questions import LaneStatus, SessionStatus
from cpms_actors.observe import logs
from cpms_actors.pools.asking import Counts
from cpms_actors.pools.claims import Claims
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.sweeper import Closed
from cpms_actors.store import sessions, verdicts
from cpms_actors.store.database import Database

log = logs.get("session")

QUESTIONS_MAX: Final = 1_000  # that may wait for one query
QUERY_MAX: Final = 200  # that one query answers


class Answers:
    """Answers workers until cancelled. `refused` counts the empty answers, `unreadable` the questions nobody could decode."""

    def __init__(self, client: Client, database: Database, claims: Claims, closed: Closed, asking: Counts) -> None:
        self.refused = 0
        self.unreadable = 0
        self.waiting_peak = 0
        self._client = client
        self._database = database
        self._claims = claims
        self._closed = closed
        self._asking = asking
        self._waiting: list[tuple[Msg, str, str]] = []
        self._asked = anyio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        """Subscribe, then answer."""
        client, group = self._client, questions.QUEUE_GROUP
        subscriptions = [
            await client.subscribe(subjects.session("*", questions.AUTHORIZE), queue=group, cb=self._on_authorize),
            await client.subscribe(subjects.session("*", questions.LEASE), queue=group, cb=self._on_lease),
            await client.subscribe(questions.STATUS_SUBJECT, cb=self._on_status),
        ]
        await listening(client)
        started()
        try:
            while True:
                await self._asked.wait()
                self._asked = anyio.Event()
                while self._waiting:
                    batch, self._waiting = self._waiting[:QUERY_MAX], self._waiting[QUERY_MAX:]
                    await self._answer_verdicts(batch)
        finally:
            with anyio.move_on_after(1, shield=True):
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    async def _on_authorize(self, message: Msg) -> None:
        try:
            question = questions.AUTHORIZE_QUESTION.decode(message.data)
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        if len(self._waiting) >= QUESTIONS_MAX:
            self.refused += 1
            await self._respond(message, questions.NO_ANSWER)
            return
        self._waiting.append((message, question.tenant, question.token.id))
        self.waiting_peak = max(self.waiting_peak, len(self._waiting))
        self._asked.set()

    async def _answer_verdicts(self, batch: list[tuple[Msg, str, str]]) -> None:
        asked = [(tenant, token) for _, tenant, token in batch]
        try:
            async with self._database.transaction({tenant for tenant, _ in asked}) as connection:
                found = await verdicts.find_verdicts(connection, asked, int(time() * 1000))
        except Unavailable as error:
            self.refused += len(batch)
            log.warning("verdicts_unavailable", questions=len(batch), error=str(error))
            for message, _, _ in batch:
                await self._respond(message, questions.NO_ANSWER)
            return
        for (message, _, _), verdict in zip(batch, found, strict=True):
            await self._respond(message, questions.ENCODE(verdict))

    async def _on_lease(self, message: Msg) -> None:
        try:
            question = questions.LEASE_QUESTION.decode(message.data)
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        blocks = min(max(question.blocks, 1), questions.LEASE_BLOCKS_MAX)
        try:
            async with self._database.transaction(()) as connection:
                first, last = await sessions.lease_transaction_ids(connection, blocks, questions.LEASE_BLOCK)
        except Unavailable as error:
            self.refused += 1
            log.warning("lease_unavailable", error=str(error))
            await self._respond(message, questions.NO_ANSWER)
            return
        await self._respond(message, questions.ENCODE(questions.IdBlock(first, last)))

    async def _on_status(self, message: Msg) -> None:
        claims = self._claims
        try:
            stream_last = (await self._client.jetstream(timeout=1).stream_info(subjects.JOURNAL_STREAM)).state.last_seq
        except (NatsError, TimeoutError) as error:
            log.warning("journal_unknown", error=repr(error))
            stream_last = 0
        status = SessionStatus(
            owner=claims.owner,
            lanes=tuple(lane_statuses(claims.lanes.values(), stream_last)),
            postgres=claims.postgres,
            failed_starts=self._closed.failed_starts,
            endless=self._closed.endless,
            **asdict(self._asking),
        )
        await self._respond(message, questions.ENCODE(status))

    async def _respond(self, message: Msg, data: bytes) -> None:
        """Whoever asked may be gone, and the connection too: then there is nobody to tell."""
        if not message.reply:
            return
        try:
            await self._client.publish(message.reply, data)
        except NatsError as error:
            log.warning("answer_lost", subject=message.subject, error=repr(error))


def lane_statuses(lanes: Iterable[Lane], stream_last: int) -> Iterable[LaneStatus]:
    """Each lane's figures, now; `stream_last` is the journal's newest sequence, 0 when it does not answer."""
    for lane in lanes:
        figures = lane.statistics
        lag_ms = max(0, int(time() * 1000) - figures.folded_received_at) if figures.pending and figures.folded_received_at else 0
        yield LaneStatus(
            lane=lane.claim.lane,
            epoch=lane.claim.epoch,
            offset=figures.offset,
            stream_last=max(stream_last, figures.offset),
            lag_pages=figures.pending,
            lag_ms=lag_ms,
            events=figures.events,
            events_per_s=lane.rate.at(monotonic()),
            parked=figures.parked,
            stored_twice=figures.stored_twice,
            failures=figures.failures,
        )
