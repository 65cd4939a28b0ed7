"""Stations are asked what became of transactions of which something is missing: GetTransactionStatus, by way of their workers.

When it is time for it says domain/asking.py. What was asked before is remembered here and nowhere else: a process that takes the lane
over begins anew, which costs a station some questions more. What was answered is a fact for the journal, and whoever asks appends it.

A round is one look of the sweeper. In each at most ROUND_MAX transactions are asked about, and no station about more than one; the
others wait for the next.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import anyio
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import CpmsError
from cpms_actors.bus.verbs_fleet import ChargerCall
from cpms_actors.domain.asking import AGAIN_MS_MAX, NEVER, Asked, Missing, Step, after, next_step
from cpms_actors.domain.events import TransactionAnswered
from cpms_actors.observe import logs
from cpms_actors.pools.calling import call
from cpms_actors.store.silence import Doubtful

log = logs.get("session")

ANSWER_S: Final = 10.0
AT_ONCE_MAX: Final = 8
ROUND_MAX: Final = 50  # with AT_ONCE_MAX and nobody answering less than two minutes: the next look is not too late for the last
REMEMBERED_MAX: Final = 10_000  # transactions: more than are asked about for the first time in three hours


class Counts(Struct):
    """How many questions this process has put, how many of them were not answered, and how many told that what is missing is lost.
    `postponed`: how often a transaction had to wait for the next round. `unremembered`: how often one was left alone because as many as
    can be were remembered: then silence decides."""

    asked: int = 0
    unanswered: int = 0
    lost: int = 0
    postponed: int = 0
    unremembered: int = 0


Answered: TypeAlias = tuple[Doubtful, TransactionAnswered]


class Asker:
    """What was asked, and how to ask. `begin` and `end` enclose a round."""

    def __init__(self, client: Client) -> None:
        self.counts = Counts()
        self._client = client
        self._asked: dict[int, Asked] = {}
        self._seen: set[int] = set()
        self._round: set[tuple[str, str]] = set()  # stations that are asked in this round

    def begin(self) -> None:
        """A round begins."""
        self._seen.clear()
        self._round.clear()

    def end(self, now: int) -> None:
        """A round is over: forget transactions of which nothing is missing any more, but not at once, for they may soon be back."""
        gone = [number for number, asked in self._asked.items() if number not in self._seen and now >= asked.not_before + AGAIN_MS_MAX]
        for number in gone:
            del self._asked[number]

    def next_step(self, missing: Missing, doubtful: Doubtful, now: int) -> Step:
        """What to do about a transaction in this round. Who is told to ask asks."""
        self._seen.add(doubtful.id)
        asked = self._asked.get(doubtful.id)
        step = next_step(missing, asked or NEVER, reachable=doubtful.reachable and doubtful.up_to is not None, now=now)
        if step != "ask":
            return step
        station = (doubtful.tenant, doubtful.charger)
        if asked is None and len(self._asked) >= REMEMBERED_MAX:
            self.counts.unremembered += 1
            return "leave"
        if station in self._round or len(self._round) >= ROUND_MAX:
            self.counts.postponed += 1
            return "wait"
        self._round.add(station)
        self._asked.setdefault(doubtful.id, NEVER)
        return "ask"

    async def ask(self, doubtful: Sequence[Doubtful], now: int) -> list[Answered]:
        """Ask about each, AT_ONCE_MAX at a time. Of those that were not answered, for whatever reason, nothing is returned."""
        answers: list[Answered] = []
        limiter = anyio.CapacityLimiter(AT_ONCE_MAX)

        async def ask(each: Doubtful) -> None:
            async with limiter:
                answer = await self._ask(each)
            self._asked[each.id] = after(self._asked[each.id], answered=answer is not None, now=now)
            if answer is not None:
                answers.append((each, answer))

        async with anyio.create_task_group() as group:
            for each in doubtful:
                group.start_soon(ask, each)
        return answers

    async def _ask(self, doubtful: Doubtful) -> TransactionAnswered | None:
        assert doubtful.up_to is not None  # or it is not reachable
        self.counts.asked += 1
        question = ChargerCall(
            tenant=doubtful.tenant,
            charger=doubtful.charger,
            action="GetTransactionStatus",
            payload={"transactionId": doubtful.transaction},
            timeout_s=ANSWER_S,
        )
        told = {"tenant": doubtful.tenant, "charger": doubtful.charger, "session": doubtful.id, "transaction": doubtful.transaction}
        try:
            said = (await call(self._client, question)).answer  # its worker has held it against the schema
        except (CpmsError, NatsError) as error:
            self.counts.unanswered += 1
            log.info("transaction_unanswered", error=str(error), **told)
            return None
        answer = TransactionAnswered(doubtful.transaction, said["messagesInQueue"], said.get("ongoingIndicator"), doubtful.up_to)
        log.info("transaction_answered", queued=answer.queued, ongoing=answer.ongoing, **told)
        return answer
