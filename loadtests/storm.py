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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]  # it has no types
import msgspec
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.html import get_html_report
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV, stats_history

from cpms_actors.simulator.charge_point import ChargePoint
from loadtests import scenario
from loadtests.charger import Charger
from loadtests.report import Order, StormReport
from loadtests.scenario import Victim
from loadtests.verdict import named
from supervisors import limits

LOOK_S = 0.05  # between two looks at what is waited for


class ChargerUser(User):
    """A user of Locust that is a charger, the next one of the fleet."""

    abstract = True
    waiting: Iterator[Charger]

    @task
    def live(self) -> None:
        """Never ends by itself; one that crashed is counted by Locust, and not tried again."""
        charger = next(self.waiting, None)
        if charger is None:
            raise StopUser
        charger.live()


class LocustFleet:
    """The fleet of a scenario; see `scenario.Fleet`."""

    def __init__(self, order: Order, storm: scenario.Scenario) -> None:
        url = urlsplit(order.url)
        host, port, path = url.hostname or "", url.port or 80, url.path.rstrip("/")
        options = storm.options()
        self._latencies_ms: list[float] = []
        self._late: list[str] = []
        self._seconds = order.seconds
        self.cut_at: float | None = None

        def charger(number: int, identity: str) -> Charger:
            plans = storm.plans(order.token, number / len(order.chargers), order.seconds)
            point = ChargePoint(identity, "1.6", plans, options, Random(identity))
            return Charger(point, host, port, path, order.password, order.token, self._record)

        self.own = [charger(number, identity) for number, identity in enumerate(order.chargers)]
        self.chargers: list[Victim] = list(self.own)
        user = type("Charger", (ChargerUser,), {"waiting": iter(self.own)})
        self.environment = Environment(user_classes=[user], host=order.url)
        self.environment.events.request.add_listener(self._keep)  # type: ignore[no-untyped-call]  # untyped in Locust
        self.runner = self.environment.create_local_runner()

    def start(self) -> None:
        """All at once."""
        self.runner.start(len(self.own), spawn_rate=len(self.own))

    def cut(self, some: Sequence[Victim] | None = None) -> None:
        if some is None:
            self.cut_at = time.time()
        chosen = None if some is None else {charger.point.identity for charger in some}
        for charger in self.own:  # no switch of greenlets in between
            if chosen is None or charger.point.identity in chosen:
                charger.cut()

    def until(self, true: Callable[[Victim], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while True:
            missing = [charger.point.identity for charger in self.chargers if not true(charger)]
            if not missing:
                return
            if time.monotonic() > deadline:
                self._late.append(named(otherwise, missing))
                return
            time.sleep(LOOK_S)

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def report(self, began_at: float) -> StormReport:
        latencies = sorted(self._latencies_ms)
        crashed = [f"{entry['count']} chargers of the laboratory crashed: {entry['msg']}" for entry in self.runner.exceptions.values()]
        return StormReport(
            seconds=self._seconds,
            began_at=began_at,
            cut_at=self.cut_at,
            chargers=tuple(charger.report() for charger in self.own),
            answers=len(latencies),
            p50_ms=percentile(latencies, 0.50),
            p99_ms=percentile(latencies, 0.99),
            slowest_ms=percentile(latencies, 1.0),
            late=(*self._late, *crashed),
        )

    def _record(self, kind: str, name: str, took_ms: float, length: int, fault: Exception | None) -> None:
        self.environment.events.request.fire(  # type: ignore[no-untyped-call]  # untyped in Locust
            request_type=kind, name=name, response_time=took_ms, response_length=length, exception=fault, context={}
        )

    def _keep(self, request_type: str, response_time: float, exception: Exception | None, **_: object) -> None:
        """Locust keeps two digits of a response time; the verdict wants them all."""
        if request_type == "OCPP" and exception is None:
            self._latencies_ms.append(response_time)


def percentile(ordered: list[float], share: float) -> float:
    """The nearest rank of an ordered list, to a tenth; 0 when it is empty."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1) if ordered else 0.0


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
    fleet = LocustFleet(order, storm)
    began_at = time.time()
    fleet.start()
    if order.report is not None:
        fleet.runner.greenlet.spawn(stats_history, fleet.runner)  # the curves of the HTML report
    storm.run(fleet, order.seconds)
    report = fleet.report(began_at)
    if order.report is not None:
        write_reports(fleet.environment, Path(order.report))
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)  # a pipe blocks: in a thread, so that the chargers live on
    fleet.runner.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
