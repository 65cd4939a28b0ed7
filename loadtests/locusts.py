"""What is Locust's in a storm: its users, which are chargers, the form of its load shapes, its web page and its reports.

Importing Locust makes the sockets and sleeps of a process gevent's.
"""

import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import flask
from locust import LoadTestShape, User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.html import get_html_report
from locust.runners import Runner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from loadtests.charger import Charger, Record
from loadtests.shape import Stage, share_at

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
