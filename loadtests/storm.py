"""The storm's own process: Locust as a library, each of its users a charger.

    python -m loadtests.storm < order        one `Order` as a line of JSON

It writes one `StormReport` as a line to stdout while the chargers are still connected, and keeps them so until stdin ends or it is
stopped: meanwhile the system can be asked who is there. Answers and handshakes go through Locust's `request` event, so its statistics
and reports have them. The chargers live here, or, with several processes, in those of a `Crew`, and this one is Locust's master.
"""

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gevent  # type: ignore[import-untyped]  # it has no types
import msgspec
from locust.env import Environment
from locust.runners import Runner
from locust.stats import stats_history

from loadtests import scenario
from loadtests.children import child
from loadtests.crew import Crew, Master
from loadtests.fleet import Fleet, Hands, Lost, merged
from loadtests.locusts import Ramp, crashes, recorder, show_page, user_of, write_reports
from loadtests.report import Order
from loadtests.squad import Squad
from supervisors import limits


@contextmanager
def hands_of(order: Order, environment: Environment, *, shaped: bool) -> Iterator[tuple[Runner, Hands]]:
    """Who has the chargers, and the runner that spawns them: of this process alone, or of as many as are ordered."""
    if order.processes == 1 and not order.joining:
        squad = Squad(order, recorder(environment))
        environment.user_classes = [user_of(squad.chargers, shaped=shaped)]
        local = environment.create_local_runner()
        local.greenlet.spawn(squad.pulse)
        yield local, squad
        return
    environment.user_classes = [user_of([], shaped=shaped)]
    master = environment._create_runner(Master, *order.bind)  # as its create_master_runner does
    crew = Crew(master, order)
    with ExitStack() as stack:
        for number in range(order.processes):
            command = [sys.executable, "-m", "loadtests.member", order.bind[0], str(master.server.port), str(number)]
            crew.started(number, stack.enter_context(child(command)))
        yield master, crew


def start(runner: Runner, users: int, *, shaped: bool) -> None:
    """Let the chargers come."""
    if shaped:
        runner.start_shape()
    else:
        runner.start(users, spawn_rate=users)  # all at once


def main() -> int:
    """Carry out the order on stdin; 0 whatever the storm was like."""
    logging.getLogger("locust").setLevel(logging.ERROR)  # it warns of fast spawning, which is meant
    limits.raise_files()
    line = sys.stdin.buffer.readline()
    if not line:
        return 1  # the laboratory was interrupted before it could order anything
    order = msgspec.json.decode(line, type=Order)
    storm = scenario.load(order.scenario)
    stages = storm.shape(order.seconds)
    processes = order.processes + order.joining
    users = math.ceil(len(order.chargers) / processes) * processes  # so that Locust gives each process as many
    environment = Environment(host=order.url, shape_class=Ramp(stages, users) if stages else None)
    with hands_of(order, environment, shaped=bool(stages)) as (runner, hands):
        if order.web_port is not None:
            show_page(environment, order.web_port)
        fleet = Fleet(order.chargers, hands)
        began_at = time.time()
        try:
            hands.gather()
            runner.greenlet.spawn(start, runner, users, shaped=bool(stages))  # a master waits a little for its workers
            if order.report is not None or order.web_port is not None:
                runner.greenlet.spawn(stats_history, runner)  # the curves
            storm.run(fleet, order.seconds)
        except Lost as lost:
            fleet.late.append(str(lost))
        report = merged(hands.reports(), fleet, order.seconds, began_at, crashes(runner))
        if order.report is not None:
            write_reports(environment, Path(order.report))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()
        gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)  # a pipe blocks: in a thread, so that the chargers live on
        runner.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
