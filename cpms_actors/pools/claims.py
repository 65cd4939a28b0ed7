"""Which lanes this process folds: claimed in Postgres, renewed while it lives, taken over by another when it does not.

A claim lasts CLAIM_S; every RENEW_S this process renews what it holds, claims what is free up to its share, and gives up what is
beyond it. Each lane it holds is a supervised child. A claim is only a way not to work twice: what makes the fold safe is the lane's
epoch, which every batch checks. While Postgres is down nothing can be folded, so the lanes simply wait.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import anyio
from nats.aio.client import Client

from cpms_actors.base.errors import Unavailable
from cpms_actors.observe import logs
from cpms_actors.pools.lane import Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages
from cpms_actors.store import offsets
from cpms_actors.store.database import Connection, Database
from cpms_actors.store.offsets import Claim
from supervisors.child import ChildSpec
from supervisors.policy import Restart
from supervisors.supervisor import Supervisor

log = logs.get("session")

CLAIM_S: Final = 15.0
RENEW_S: Final = 4.0  # three chances before the claim runs out


class Claims:
    """The lanes of one process. `supervisor` runs them; `lanes` are those it runs now."""

    def __init__(
        self,
        owner: str,
        client: Client,
        database: Database,
        supervisor: Supervisor,
        ring: Callable[[], Awaitable[None]],
    ) -> None:
        self.owner = owner
        self.lanes: dict[Claim, Lane] = {}
        self.postgres = False  # whether the last renewal found Postgres
        self._database = database
        self._pages = JournalPages(client)
        self._ledger = PostgresLedger(database)
        self._supervisor = supervisor
        self._ring = ring

    async def run(self, started: Callable[[], None]) -> None:
        """Claim and renew until cancelled; then give up every lane."""
        try:
            while True:
                await self._renew()
                started()
                await anyio.sleep(RENEW_S)
        finally:
            await self._leave()

    async def _renew(self) -> None:
        try:
            held = await self._database.run((), self._hold)
        except Unavailable as error:
            if self.postgres:
                log.warning("claims_wait", owner=self.owner, error=str(error))
            self.postgres = False
            return
        self.postgres = True
        await self._follow(held)

    async def _hold(self, connection: Connection) -> list[Claim]:
        held, share = await offsets.hold(connection, self.owner, CLAIM_S)
        if len(held) > share:
            await offsets.release(connection, self.owner, held[share:])
        return held[:share]

    async def _follow(self, held: Iterable[Claim]) -> None:
        """Stop the lanes that are no longer ours, start those that are new."""
        wanted = set(held)
        for claim in [claim for claim in self.lanes if claim not in wanted]:
            del self.lanes[claim]
            log.info("lane_released", lane=claim.lane, epoch=claim.epoch)
            with suppress(KeyError):  # it has noticed itself, and ended
                await self._supervisor.stop_child(_name(claim))
        for claim in sorted(wanted - self.lanes.keys(), key=lambda claim: claim.lane):
            lane = self.lanes[claim] = Lane(claim, self._pages, self._ledger, self._ring)
            log.info("lane_claimed", lane=claim.lane, epoch=claim.epoch, owner=self.owner)
            await self._supervisor.start_child(ChildSpec(_name(claim), lane.run, restart=Restart.transient))

    async def _leave(self) -> None:
        """So that another process need not wait until the claims run out."""
        with anyio.move_on_after(3, shield=True), suppress(Unavailable):
            for claim in self.lanes:
                with suppress(KeyError):
                    await self._supervisor.stop_child(_name(claim))
            self.lanes.clear()
            async with self._database.transaction(()) as connection:
                await offsets.leave(connection, self.owner)


def _name(claim: Claim) -> str:
    return f"lane {claim.lane} epoch {claim.epoch}"
