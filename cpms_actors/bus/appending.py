"""Facts that no charger's actor appends: an operator's, or a pool's.

A worker's `Journal` counts the pages of one process. Whoever appends a fact now and then, and may have to do it again without knowing
whether the first time counted, names a writer after the fact instead: its pages are the first of that writer however often they are
sent, and readers fold a (writer, number) once.
"""

from collections.abc import Sequence

from nats.aio.client import Client

from cpms_actors.base.errors import OperatorError
from cpms_actors.bus import subjects
from cpms_actors.bus.sealing import Sealed, Sealer, encode
from cpms_actors.domain.events import Event


async def append(client: Client, writer: str, lane: int, events: Sequence[Event], *, timeout_s: float) -> None:
    """Make the events durable, as all that this writer ever wrote. The same again changes nothing.

    Raises OperatorError("not-journalled") for what no page can hold, NatsError when the broker has not said that it has them all.
    """
    jetstream = client.jetstream()
    for page in pages_of(writer, events, client.max_payload):
        headers = {"Nats-Msg-Id": f"{writer}.{lane}.{page.number}"}
        await jetstream.publish(subjects.journal(lane), page.data, timeout=timeout_s, headers=headers)


def pages_of(writer: str, events: Sequence[Event], payload_bytes_max: int) -> list[Sealed]:
    """The writer's pages, numbered from 1. Raises OperatorError("not-journalled") when one of the events cannot be kept as it is."""
    try:
        encoded = [encode(event) for event in events]
    except (OverflowError, UnicodeEncodeError, TypeError) as error:
        raise OperatorError("not-journalled", f"the journal cannot hold it: {error}; enter by hand what it says") from None
    sealer = Sealer(writer, payload_bytes_max)
    if max(map(len, encoded), default=0) > sealer.page_bytes_max:
        text = f"an event of it is larger than the {sealer.page_bytes_max} bytes of a page; raise max_payload of nats-server"
        raise OperatorError("not-journalled", text)
    pages, _ = sealer.seal(encoded, [None] * len(encoded))
    return pages
