"""The operations pool: serves the admin verbs, and keeps the registry that workers know equal to Postgres.

    cpms.admin.<operator>.<verb>  ──▶ decode ──▶ handler (Postgres, a worker, ...) ──▶ {"ok": ...} or {"error": ...}

Any number of processes may run: they share one queue group. Requests are served side by side up to REQUESTS_MAX; one more is
answered "busy" at once, so that a charger that takes minutes to answer never holds up the rest for long. Every request is logged
with its operator, which the broker's permissions vouch for, its target and its outcome; never its passwords.

The pool starts to serve when the registry is in step with Postgres for the first time.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import asyncpg
import msgspec
from msgspec import Struct
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.ids import from_subject_token
from cpms_actors.base.settings import Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs
from cpms_actors.bus.verbs import Failure
from cpms_actors.bus.verbs_words import Request
from cpms_actors.observe import logs
from cpms_actors.pools import (
    operations_chargers,
    operations_ledger,
    operations_nodes,
    operations_parked,
    operations_status,
    operations_tenants,
    operations_tokens,
)
from cpms_actors.pools.calling import ChargerRefused
from cpms_actors.pools.operations_desk import Desk, Handler
from cpms_actors.pools.operations_mirror import Mirror
from cpms_actors.pools.operations_requests import explain_invalid
from cpms_actors.store.database import open_database

log = logs.get("operations")

QUEUE_GROUP: Final = "operations"
REQUESTS_MAX: Final = 64

HANDLERS: Final[dict[str, Handler]] = {
    **operations_tenants.HANDLERS,
    **operations_chargers.HANDLERS,
    **operations_tokens.HANDLERS,
    **operations_ledger.HANDLERS,
    **operations_parked.HANDLERS,
    **operations_status.HANDLERS,
    **operations_nodes.HANDLERS,
}
assert HANDLERS.keys() == verbs.VERBS.keys(), "every verb has its handler"


class Statistics(Struct):
    """Counters of one process: `refusals` are requests that found no room, `bugs` those that failed for no reason known here."""

    requests: int = 0
    running: int = 0
    running_peak: int = 0
    refusals: int = 0
    errors: int = 0
    bugs: int = 0


async def run(settings: Settings, *, started: Callable[[], None]) -> None:
    """Serve until cancelled; `started` is called once requests are answered."""
    client = await bus.connect(settings.nats, "operations")
    try:
        async with open_database(settings.postgres) as database, anyio.create_task_group() as group:
            mirror = Mirror(client, database, settings.nats)
            service = Service(Desk(settings, database, client, mirror))
            in_step = anyio.Event()
            group.start_soon(partial(mirror.keep, first=in_step.set))
            await in_step.wait()

            async def take(message: Msg) -> None:
                if service.admit():
                    group.start_soon(service.serve, message)
                else:
                    await service.refuse(message)

            await client.subscribe(subjects.admin("*", ">"), queue=QUEUE_GROUP, cb=take)
            await bus.listening(client)
            started()
    finally:
        with anyio.CancelScope(shield=True):
            await bus.close(client)


class Service:
    """Answers requests: finds the verb, decodes, lets the handler work, encodes, and logs who asked for what."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.statistics = Statistics()

    def admit(self) -> bool:
        """Take one of the REQUESTS_MAX places, which `serve` gives back; False: there is none."""
        count = self.statistics
        if count.running >= REQUESTS_MAX:
            return False
        count.running += 1
        count.running_peak = max(count.running_peak, count.running)
        return True

    async def refuse(self, message: Msg) -> None:
        """Answer a request that found no room."""
        self.statistics.refusals += 1
        busy = Failure("busy", f"{REQUESTS_MAX} requests are being served; try again", verbs.EXIT_UNAVAILABLE)
        await _reply(message, verbs.encode_error(busy))

    async def serve(self, message: Msg) -> None:
        """Answer a request that was admitted."""
        try:
            await _reply(message, await self.answer(message.subject, message.data))
        finally:
            self.statistics.running -= 1

    async def answer(self, subject: str, data: bytes) -> bytes:
        """The reply to what came on a subject: never raises but for cancellation."""
        self.statistics.requests += 1
        began = time.monotonic()
        operator, name = _addressed(subject)
        verb = verbs.VERBS.get(name)
        target: dict[str, Any] = {}
        code = "ok"
        try:
            if verb is None:
                raise OperatorError("unknown-verb", f"there is no verb {name!r}; `cpms verbs` lists them")
            request = _decoded(verb, data)
            target = _target(request)
            reply = verbs.encode_ok(await HANDLERS[name](replace(self._desk, operator=operator), request))
        except Exception as error:  # the boundary of a request: whatever it is becomes an answer, and a bug is logged with its trace
            failure = _explain(error, name) or self._bug(error, name)
            code, reply = failure.code, verbs.encode_error(failure)
            self.statistics.errors += 1
        log.info("admin", operator=operator, verb=name, outcome=code, took_ms=round((time.monotonic() - began) * 1000), **target)
        return reply

    def _bug(self, error: Exception, name: str) -> Failure:
        self.statistics.bugs += 1
        log.error("admin_failed", verb=name, exc_info=error)
        return Failure("internal", f"{name} failed by a fault of ours; the log of the operations pool has it", verbs.EXIT_UNAVAILABLE)


def _decoded(verb: verbs.Verb[Any, Any], data: bytes) -> Any:
    """The request. Raises OperatorError("invalid-request")."""
    try:
        return verb.decode_request(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OperatorError("invalid-request", explain_invalid(verb, error)) from None


def _explain(error: Exception, name: str) -> Failure | None:
    """What a handler raised, as the reply says it; None for what no handler raises on purpose."""
    match error:
        case OperatorError():
            return Failure(error.code, error.text, verbs.EXIT_OPERATOR)
        case ChargerRefused():
            return Failure("call-error", error.text, verbs.EXIT_REFUSED, error.details)
        case Unavailable():
            return Failure("unavailable", str(error), verbs.EXIT_UNAVAILABLE)
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError() | asyncpg.LockNotAvailableError():
            return Failure("conflict", "somebody else changed the same at the same moment; try again", verbs.EXIT_UNAVAILABLE)
        case NatsError():
            return Failure("unavailable", f"NATS failed at {name}: {error or type(error).__name__}; try again", verbs.EXIT_UNAVAILABLE)
    return None


def _addressed(subject: str) -> tuple[str, str]:
    """Operator and verb of `cpms.admin.<operator>.<verb>`."""
    _, _, operator, verb = subject.split(".", 3)
    return from_subject_token(operator), verb


def _target(request: Request) -> dict[str, Any]:
    """What a request is about, for the log: the fields that name something, never their contents."""
    named = {name: getattr(request, name, None) for name in ("tenant", "charger", "id", "action", "scope", "key", "tariff")}
    return {name: value for name, value in named.items() if value is not None}


async def _reply(message: Msg, data: bytes) -> None:
    """Send the answer. Whoever asked without wanting one, or is gone, gets none."""
    if not message.reply:
        return
    try:
        await message.respond(data)
    except NatsError as error:
        log.warning("answer_lost", subject=message.subject, error=repr(error))
