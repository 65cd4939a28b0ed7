"""How a command asks the operations pool: one connection, one request, one reply, gone."""

import asyncio
import os
from typing import Final, TypeVar

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import subject_token
from cpms_actors.base.settings import Logs, Settings, load
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects
from cpms_actors.bus.verbs import Verb, encode_request
from cpms_actors.bus.verbs_words import Request, Response
from cpms_actors.node.data_dir import attach
from cpms_actors.observe import logs

Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)

MARGIN_S: Final = 5.0  # how much longer than the pool a command waits


def ask(verb: Verb[Q, R], request: Q, *, patience_s: float = 0.0) -> R:
    """Ask as the operator of the settings. `patience_s`: how long the verb itself may take beyond the usual.

    Raises Unavailable when nobody answers, OperatorError when the settings are wrong, VerbFailed with the pool's own words.
    """
    logs.configure(Logs(level="error"))  # a command speaks in its own words: the loss of its connection is one of its errors
    settings = attach(load(os.environ), os.environ)
    data = asyncio.run(_request(settings, verb.name, encode_request(request), settings.nats.request_timeout_s + patience_s))
    return verb.decode_reply(data)


async def _request(settings: Settings, verb: str, data: bytes, timeout_s: float) -> bytes:
    nats = settings.nats
    client = await bus.connect(nats, f"cpms {verb}", url=nats.operator_url, inbox=bus.operator_inbox(nats.operator), patient=False)
    try:
        message = await client.request(subjects.admin(subject_token(nats.operator), verb), data, timeout=timeout_s + MARGIN_S)
    except NoRespondersError:
        raise Unavailable("no operations pool is running; `cpms up` starts a whole system, `cpms pool operations` the pool") from None
    except NatsTimeoutError:
        raise Unavailable(
            f"no answer to {verb} within {timeout_s + MARGIN_S:g} s: the operations pool is busy, or NATS does not let"
            f" {nats.operator!r} ask (CPMS_NATS_OPERATOR, CPMS_NATS_OPERATOR_URL)"
        ) from None
    except NatsError as error:
        raise Unavailable(f"NATS failed at {verb}: {error or type(error).__name__}; try again") from None
    finally:
        await bus.close(client)
    return message.data
