"""The storm's own process: Locust as a library, each of its users a charger.

    python -m loadtests.storm < order        one `Order` as a line of JSON

It writes one `StormReport` as a line to stdout while the chargers are still connected, and keeps them so until stdin ends or it is
stopped: meanwhile the system can be asked who is there. Answers and handshakes go through Locust's `request` event, so its statistics
and reports have them. Importing Locust makes the sockets and sleeps of this process gevent's.
"""

import csv
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import flask
import gevent  # type: ignore[import-untyped]  # it has no types
import msgspec
from locust import LoadTestShape, User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.html import get_html_report
from locust.runners import Runner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV, stats_history
from msgspec.structs import replace

from loadtests import limits, scenario
from loadtests.charger import Charger, Record
from loadtests.fleet import Fleet, merged
from loadtests.report import Order
from loadtests.shape import Stage, share_at
from loadtests.squad import Squad

LOOPBACK: Final = "127.0.0.1"
LOOK_S: Final = 1.0  # between two looks at a load shape, by Locust


class ChargerUser(User):
    """A user of Locust that is a charger, the next one of the fleet."""

    abstract = True
    waiting: Iterator[Charger]
    lull_s: float

    @task
    def live(self) -> None:
        """Never ends by itself; one that crashed is counted by Locust, and not tried again."""
        charger = next(self.waiting, None)
        if charger is None:
            raise StopUser
        time.sleep(Random(charger.point.identity).uniform(0, self.lull_s))
        charger.live()


class Ramp(LoadTestShape):
    """Locust's form of a scenario's shape. It looks once a second; what is due until the next look comes within that second."""

    def __init__(self, stages: Sequence[Stage], chargers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Locust
        self._stages, self._chargers = stages, chargers

    def tick(self) -> tuple[int, float]:
        at_s: float = self.get_run_time()  # type: ignore[no-untyped-call]  # untyped in Locust
        return math.ceil(self._chargers * share_at(self._stages, at_s + LOOK_S)), self._chargers


def recorder(environment: Environment) -> Record:
    """Fires Locust's `request` event."""

    def record(kind: str, name: str, took_ms: float, length: int, fault: Exception | None) -> None:
        environment.events.request.fire(  # type: ignore[no-untyped-call]  # untyped in Locust
            request_type=kind, name=name, response_time=took_ms, response_length=length, exception=fault, context={}
        )

    return record


def user_of(chargers: list[Charger], *, shaped: bool) -> type[ChargerUser]:
    """A class of Locust's users whose instances are these chargers, one after the other; those of a shape spread over its looks."""
    return type("Charger", (ChargerUser,), {"waiting": iter(chargers), "lull_s": LOOK_S if shaped else 0.0})


def crashes(runner: Runner) -> list[str]:
    """A sentence for each way in which the laboratory's own chargers failed."""
    return [f"{entry['count']} chargers of the laboratory crashed: {entry['msg']}" for entry in runner.exceptions.values()]


def show_page(environment: Environment, port: int) -> None:
    """Locust's web page, to look at: what would start, stop or reset something is refused, for the scenario is at the wheel."""
    page = environment.create_web_ui(host=LOOPBACK, port=port, delayed_start=True)

    def refuse_changes() -> tuple[str, int] | None:
        return None if flask.request.method in ("GET", "HEAD") else ("the storm's scenario decides that", 403)

    assert page.app is not None  # the constructor makes it
    page.app.before_request(refuse_changes)
    page.start()  # type: ignore[no-untyped-call]  # untyped in Locust


def write_reports(environment: Environment, folder: Path) -> None:
    """Locust's own: report.html, requests.csv, failures.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    page = get_html_report(environment, show_download_link=False)  # type: ignore[no-untyped-call]  # untyped in Locust
    (folder / "report.html").write_text(page)
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    for name, write in (("requests", tables.requests_csv), ("failures", tables.failures_csv)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            write(csv.writer(file))


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
    environment = Environment(host=order.url)
    squad = Squad(order, recorder(environment))
    environment.user_classes = [user_of(squad.chargers, shaped=bool(stages))]
    if stages:
        environment.shape_class = Ramp(stages, len(order.chargers))
    runner = environment.create_local_runner()
    fleet = Fleet(order.chargers, squad)
    if order.web_port is not None:
        show_page(environment, order.web_port)
    began_at = time.time()
    if stages:
        runner.start_shape()
    else:
        runner.start(len(order.chargers), spawn_rate=len(order.chargers))  # all at once
    if order.report is not None or order.web_port is not None:
        runner.greenlet.spawn(stats_history, runner)  # the curves
    storm.run(fleet, order.seconds)
    report = merged([squad.report()], fleet, order.seconds, began_at)
    report = replace(report, late=(*report.late, *crashes(runner)))
    if order.report is not None:
        write_reports(environment, Path(order.report))
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)  # a pipe blocks: in a thread, so that the chargers live on
    runner.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
