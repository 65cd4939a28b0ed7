"""The verbs of machines: a rollout is done by the `cpms up` that runs there, a drain by each of its workers."""

from typing import Final

import msgspec
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.verbs_fleet import NodeDrain, NodeDrained, NodeRolledOut, NodeRollout
from cpms_actors.pools.operations_desk import Desk, Handler
from cpms_actors.pools.operations_status import scatter

ANSWERS_S: Final = 0.5
_encode: Final = msgspec.msgpack.Encoder().encode


async def node_rollout(desk: Desk, request: NodeRollout) -> NodeRolledOut:
    """Ask the machine, and wait until it is done. Raises Unavailable when it cannot, or did not in time."""
    node = _chosen(await _workers(desk), request.node)
    try:
        reply = await desk.client.request(subjects.node(node, subjects.ROLLOUT), b"", timeout=request.timeout_s)
    except NoRespondersError:
        raise Unavailable(
            f"no `cpms up` runs on {node!r}; of a worker that runs by itself start the successor, `cpms worker --name NAME~2`, and then"
            " stop NAME"
        ) from None
    except NatsTimeoutError:
        raise Unavailable(
            f"{node!r} is not done within {request.timeout_s:g} s; it goes on, `cpms status` shows how far it is"
        ) from None
    answer = commands.ROLLOUT_DECODER.decode(reply.data)
    if answer.error:
        raise Unavailable(answer.error)
    return NodeRolledOut(node=node, replaced=answer.replaced)


async def node_drain(desk: Desk, request: NodeDrain) -> NodeDrained:
    """Tell the workers; they answer at once and do it then. Raises OperatorError when nobody else could serve the chargers."""
    by_node = await _workers(desk)
    node = _chosen(by_node, request.node)
    if not request.back and not any(name != node for name in by_node):
        raise OperatorError("nowhere", f"there is no worker but those of {node!r}: its chargers would be served nowhere")
    question = _encode(commands.DrainQuestion(request.spread_s, request.back))
    answers = await scatter(desk.client, subjects.node(node, subjects.DRAIN), ANSWERS_S, question)
    workers = sorted((commands.DRAINED_DECODER.decode(answer) for answer in answers), key=lambda each: each.worker)
    if len(workers) < by_node[node]:
        raise Unavailable(f"{len(workers)} of {by_node[node]} workers of {node!r} answered; try again")
    return NodeDrained(node=node, workers=workers)


HANDLERS: Final[dict[str, Handler]] = {"node.rollout": node_rollout, "node.drain": node_drain}


async def _workers(desk: Desk) -> dict[str, int]:
    """How many workers each machine has."""
    by_node: dict[str, int] = {}
    for answer in await scatter(desk.client, subjects.WORKER_STATUS, ANSWERS_S):
        node = commands.STATUS_DECODER.decode(answer).name.rpartition("@")[2]
        by_node[node] = by_node.get(node, 0) + 1
    return by_node


def _chosen(by_node: dict[str, int], named: str | None) -> str:
    known = ", ".join(sorted(by_node)) or "none"
    if named is None and len(by_node) == 1:
        return next(iter(by_node))
    if named is None:
        raise OperatorError("which-node", f"name the machine; those with workers: {known}")
    if named not in by_node:
        raise OperatorError("unknown-node", f"no worker answers on {named!r}; machines with workers: {known}")
    return named
