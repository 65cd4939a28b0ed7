"""The chargers of chaos, in a process of their own: each holds one session after the other and remembers whatever was acknowledged.

    python -m loadtests.chaos_chargers       stdin: an `Order` as a line of JSON, then any line (or its end) when the drivers go home
                                             stdout: one `Memory`, when everybody has told everything or the time is up

They are the charger of the storms and the simulator's charge point, with the manners of a real one: what was not answered is repeated
with the same content, in order and never given up; a connection that is cut is made again after a short wait with a random part. Every
other one repeats under a new message id, as OCPP allows. gevent makes a greenlet of each.
"""

import sys
import time
from collections import Counter
from random import Random
from typing import Final
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]  # it has no types
import msgspec
from gevent import monkey
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.curve import ChargeCurve
from cpms_actors.simulator.options import Options
from cpms_actors.simulator.queue import TransactionMessage
from cpms_actors.simulator.session import SessionPlan
from loadtests.chaos_verdict import Acknowledged, Memory, Remembered, Told
from loadtests.charger import Charger, Server
from loadtests.dialects import version_of
from loadtests.scenario import ATTEMPTS_MAX
from supervisors import limits

LOOK_S: Final = 0.2
PROGRESS_S: Final = 10.0
FAILURES_MAX: Final = 3  # told of a charger

MANNERS: Final = Options(
    call_timeout_s=8.0,
    attempts_max=ATTEMPTS_MAX,  # nothing is discarded: it must arrive in the end
    retry_interval_s=0.02,  # times the attempts so far
    boot_retry_s=1.0,
    reconnect_min_s=0.2,
    reconnect_random_s=0.4,
    reconnect_doublings=3,
    connect_attempts_max=ATTEMPTS_MAX,
)


class Order(Struct, frozen=True):
    """Who they are and where they dial. `sessions_max`: of each; `finish_s`: how long they may take when no driver comes any more."""

    url: str
    chargers: tuple[str, ...]
    password: str
    token: str
    seed: int
    sessions_max: int
    finish_s: float


class Witness:
    """One charger and its memory."""

    def __init__(self, order: Order, place: int, server: Server) -> None:
        identity = order.chargers[place]
        random = Random(f"{order.seed}/{identity}")
        options = replace(MANNERS, retry_same_id=place % 2 == 0)
        self.acknowledged: list[Acknowledged] = []
        self.point = ChargePoint(
            identity,
            version_of("mixed", place),
            plans_of(order.token, order.sessions_max, random),
            options,
            random,
            on_acknowledged=self._remember,
        )
        self.charger = Charger(self.point, server, None, order.password, order.token, lambda *_: None)

    def remembered(self) -> Remembered:
        """All of it."""
        point = self.point
        running = [session.facts(point.identity, point.version) for session in point.sessions.values()]
        facts = [*point.facts, *running]
        told = [
            Told(one.transaction, one.started_at, one.ended_at, one.meter_start_wh, one.meter_stop_wh)
            for one in facts
            if one.started_at is not None
        ]
        return Remembered(
            identity=point.identity,
            version=point.version,
            finished=point.finished,
            waiting=point.queue_length,
            acknowledged=self.acknowledged,
            sessions=told,
            refused=Counter(one.authorization for one in facts if one.authorization not in ("Accepted", None)),
            connections=point.counts.connections,
            unanswered=point.counts.timeouts,
            errors=point.counts.errors,
            failures=point.failures[:FAILURES_MAX],
        )

    def _remember(self, message: TransactionMessage) -> None:
        sample, transaction = message.sample, message.session.transaction
        self.acknowledged.append(Acknowledged(message.kind.value, transaction or "", sample.at, sample.register_wh, sample.context))


def plans_of(token: str, count: int, random: Random) -> tuple[SessionPlan, ...]:
    """What its drivers do: some eight seconds each, cars of many powers, now and then one that is pulled out at once."""

    def plan() -> SessionPlan:
        return SessionPlan(
            token,
            after_s=round(random.uniform(0.2, 2.0), 3),
            authorize_after_s=round(random.uniform(0.1, 0.5), 3),
            charging_s=round(random.uniform(1.2, 8.0), 3),
            parking_s=round(random.uniform(0.1, 2.0), 3),
            unplug_after_s=round(random.uniform(0.1, 0.5), 3),
            meter_interval_s=round(random.uniform(1.0, 2.0), 3),
            curve=ChargeCurve(random.uniform(11_000, 350_000), 90_000, random.uniform(0.1, 0.5)),
        )

    return tuple(plan() for _ in range(count))


def watch(witnesses: list[Witness]) -> None:
    """For ever: say on stderr how far they are."""
    while True:
        time.sleep(PROGRESS_S)
        online = sum(one.point.online for one in witnesses)
        acknowledged = Counter(told.kind for one in witnesses for told in one.acknowledged)
        waiting = sum(one.point.queue_length for one in witnesses)
        told = f"{acknowledged['start']} starts, {acknowledged['update']} readings, {acknowledged['end']} stops acknowledged"
        sys.stderr.write(f"chaos: {online} of {len(witnesses)} chargers online; {told}, {waiting} messages wait\n")


def main() -> int:
    """Carry out the order on stdin; 0 whatever came of it."""
    monkey.patch_all(ssl=False)  # before any socket is made; TLS is not used here
    limits.raise_files()
    line = sys.stdin.buffer.readline()
    if not line:
        return 1  # interrupted before anything could be ordered
    order = msgspec.json.decode(line, type=Order)
    url = urlsplit(order.url)
    server = Server(url.hostname or "", url.port or 80, url.path.rstrip("/"), None)
    witnesses = [Witness(order, place, server) for place in range(len(order.chargers))]
    living = [gevent.spawn(witness.charger.live) for witness in witnesses]
    gevent.spawn(watch, witnesses)
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.readline)  # a pipe blocks: in a thread, so that the chargers live on
    for witness in witnesses:
        witness.point.dismiss_drivers()
    deadline = time.monotonic() + order.finish_s
    while time.monotonic() < deadline and not all(witness.point.finished for witness in witnesses):
        time.sleep(LOOK_S)
    crashed = [f"a charger of the laboratory crashed: {greenlet.exception!r}" for greenlet in living if greenlet.exception]
    memory = Memory([witness.remembered() for witness in witnesses], crashed)
    sys.stdout.buffer.write(msgspec.json.encode(memory) + b"\n")
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
