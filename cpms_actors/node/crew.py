"""The workers of one machine, and how new processes take their place with no charger the wiser: a rollout.

    worker-1 ──▶ worker-1~2 starts, joins, gets every slot of worker-1 with its open connections ──▶ worker-1 stops ──▶ the next one

One after the other, each under a supervisor of its own: what ends too often is that one, however often the others do. A successor
that does not come up is given up, and the worker that was to be replaced goes on.
"""

import time
from collections.abc import Callable, Sequence
from socket import gethostname
from typing import Final

import anyio
import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cpms_actors.base.settings import Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects
from cpms_actors.bus.commands import Replaced, RolloutAnswer
from cpms_actors.observe import logs
from supervisors.child import Started
from supervisors.processes import ProcessSpec, ProcessSupervisor
from supervisors.supervisor import SupervisorError

log = logs.get("node")

_encode: Final = msgspec.msgpack.Encoder().encode


class Member:
    """One worker: its supervisor, and the name that its process has at present."""

    def __init__(self, name: str, supervisor: ProcessSupervisor) -> None:
        self.name = name
        self.supervisor = supervisor
        self.generation = 1

    @property
    def current(self) -> str:
        """The name of the process."""
        return named(self.name, self.generation)


def named(name: str, generation: int) -> str:
    """The name of a worker's process: "worker-1", "worker-1~2", … (`bus.ownership.lineage_of`)."""
    return name if generation == 1 else f"{name}~{generation}"


class Crew:
    """The workers. `process` makes the specification of a process of that name."""

    def __init__(self, settings: Settings, process: Callable[[str], ProcessSpec], members: Sequence[Member]) -> None:
        self._settings = settings
        self._process = process
        self._members = members
        self._node = settings.node or gethostname()

    async def serve(self, started: Started) -> None:
        """Answer what is asked of this machine over NATS, until cancelled. One rollout at a time."""
        client = await bus.connect(self._settings.nats, f"node {self._node}")
        asked, waiting = anyio.create_memory_object_stream[Msg](0)  # who finds nobody waiting is refused

        async def hear(message: Msg) -> None:
            try:
                asked.send_nowait(message)
            except anyio.WouldBlock:
                await message.respond(_encode(RolloutAnswer(error="a rollout is under way; ask again when it is over")))

        try:
            await client.subscribe(subjects.node(self._node, subjects.ROLLOUT), cb=hear)
            started()
            async for message in waiting:
                answer = await self.rollout()
                try:
                    await message.respond(_encode(answer))
                except NatsError as error:
                    log.warning("rollout_unanswered", error=repr(error))
        finally:
            with anyio.CancelScope(shield=True):
                await bus.close(client)

    async def rollout(self) -> RolloutAnswer:
        """Replace every worker, one after the other. What could not be replaced goes on, and so do those after it."""
        replaced: list[Replaced] = []
        for member in self._members:
            before, began = member.current, time.monotonic()
            try:
                await self._replace(member)
            except (SupervisorError, ValueError) as error:
                log.error("rollout_stopped", worker=before, error=str(error))
                text = f"the successor of {before} did not start ({error.__cause__ or error}); {before} goes on, the log says more"
                return RolloutAnswer(replaced, text)
            replaced.append(Replaced(before, member.current, time.monotonic() - began))
            log.info("worker_replaced", before=before, after=member.current)
        return RolloutAnswer(replaced)

    async def _replace(self, member: Member) -> None:
        generation = member.generation + 1
        await member.supervisor.start_process(self._process(named(member.name, generation)))
        # Its successor is there: it gives away what it still has, and ends.
        before, member.generation = member.current, generation
        await member.supervisor.stop_process(before)
