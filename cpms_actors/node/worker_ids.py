"""Transaction ids for a worker: blocks leased from the session pool, and spare ones for while it is away."""

from collections.abc import Callable
from typing import Final

import trio
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import questions, spare_ids, subjects
from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.questions import IdBlock
from cpms_actors.charger.transaction_ids import TransactionIds
from cpms_actors.node.worker_bus import Bus
from cpms_actors.observe import logs
from supervisors.host import Bridge

log = logs.get("worker")

LEASE_CHECK_S: Final = 1.0


class Lessee:
    """Keeps blocks of transaction ids ahead of what is given out. Trio."""

    def __init__(self, ids: TransactionIds, bridge: Bridge, bus: Bus) -> None:
        self._ids = ids
        self._bridge = bridge
        self._bus = bus

    async def run(self, started: Callable[[], None]) -> None:
        """Lease until cancelled; `started` after the first try, so that no charger comes before it.

        While the pool is away, what is ahead is given out, and then spare ones.
        """
        ids = self._ids
        while True:
            wanted = trio.Event()
            ids.on_wanted = wanted.set  # a thousand sessions may start within a second
            try:
                while ids.wanted:
                    self._add(await self._bridge.on_host(self._lease))
            except Unavailable as error:
                log.warning("no_transaction_ids_leased", left=ids.left, error=str(error))
                if not ids.left:
                    await self._take_spare()
            started()
            with trio.move_on_after(LEASE_CHECK_S):
                await wanted.wait()

    async def _take_spare(self) -> None:
        try:
            self._add(await self._bridge.on_host(self._spare))
        except Unavailable as error:
            log.error("no_transaction_ids_at_all", error=str(error))

    def _add(self, block: IdBlock) -> None:
        self._ids.add(block.first, block.last)

    async def _lease(self) -> IdBlock:
        """Host loop. Raises Unavailable."""
        question = questions.ENCODE(questions.LeaseQuestion(DEFAULT_TENANT, 1))
        subject = subjects.session(0, questions.LEASE)
        return questions.decode_id_block(await self._bus.request(subject, question, self._bus.settings.nats.request_timeout_s))

    async def _spare(self) -> IdBlock:
        """Host loop: ids without the session pool. Raises Unavailable."""
        bus = self._bus
        try:
            return await spare_ids.lease(await open_bucket(bus.jetstream, subjects.IDS_BUCKET, bus.settings.nats.replicas))
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"spare ids: {error!r}") from error
