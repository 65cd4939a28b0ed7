"""The chargers of one process: made, watched, done to, and asked what they saw."""

import time
from array import array
from collections.abc import Iterable
from ipaddress import IPv4Address
from random import Random
from typing import Final
from urllib.parse import urlsplit

from cpms_actors.simulator.charge_point import ChargePoint
from loadtests import scenario
from loadtests.charger import Charger, Record, Server
from loadtests.dialects import version_of
from loadtests.report import Deed, Order, SquadReport, Watch
from loadtests.wire import trust

PULSE_S: Final = 0.1
LOOPBACK: Final = IPv4Address("127.0.0.1")  # and all of 127.0.0.0/8 is this machine's, without any configuration


class Squad:
    """All chargers of an order, or one process's share: each `of`-th from `number` on, so that every share is like the fleet."""

    def __init__(self, order: Order, record: Record, number: int = 0, of: int = 1) -> None:
        storm = scenario.load(order.scenario)
        options = storm.options()
        url = urlsplit(order.url)
        tls = trust(order.ca) if url.scheme == "wss" else None
        server = Server(url.hostname or "", url.port or 80, url.path.rstrip("/"), tls)
        self._record = record
        self._latencies_ms = array("d")
        self._watch: Watch | None = None
        self._lag_s = 0.0

        def charger(place: int) -> Charger:
            identity = order.chargers[place]
            plans = storm.plans(order.token, place / len(order.chargers), order.seconds)
            point = ChargePoint(identity, version_of(order.ocpp, place), plans, options, Random(identity))
            return Charger(point, server, source_of(place, order.sources), order.password, order.token, self._keep)

        self._chargers = {order.chargers[place]: charger(place) for place in range(number, len(order.chargers), of)}

    @property
    def chargers(self) -> list[Charger]:
        """In the order of the fleet."""
        return list(self._chargers.values())

    def pulse(self) -> None:
        """For ever: see how late this process is."""
        while True:
            began = time.monotonic()
            time.sleep(PULSE_S)
            self._lag_s = max(self._lag_s, time.monotonic() - began - PULSE_S)

    def gather(self) -> None:
        """They are there."""

    def rest(self, seconds: float) -> None:
        """Let them live."""
        time.sleep(seconds)

    def do(self, deed: Deed) -> None:
        """Do it to those that are here; no switch of greenlets in between."""
        for charger in self._of(deed.some):
            if deed.kind == "cut":
                charger.cut()
            elif deed.kind == "show-token":
                charger.show_token()
            elif deed.kind == "stop-reading":
                charger.stop_reading()
            else:
                charger.say_rubbish(deed.number)

    def watch(self, watch: Watch | None) -> None:
        """What `missing` is about from now on."""
        self._watch = watch

    def missing(self) -> tuple[str, ...]:
        """Those that do not have the sign that is waited for."""
        if self._watch is None:
            return ()
        sign = self._watch.sign
        return tuple(charger.point.identity for charger in self._of(self._watch.some) if not charger.has(sign))

    def report(self) -> SquadReport:
        """What they saw so far."""
        return SquadReport(
            tuple(charger.report() for charger in self._chargers.values()), self._latencies_ms.tobytes(), self._lag_s * 1000
        )

    def reports(self) -> list[SquadReport]:
        """Nobody else has chargers."""
        return [self.report()]

    def _of(self, some: tuple[str, ...] | None) -> Iterable[Charger]:
        if some is None:
            return self._chargers.values()
        return [self._chargers[identity] for identity in some if identity in self._chargers]

    def _keep(self, kind: str, name: str, took_ms: float, length: int, fault: Exception | None) -> None:
        """Locust keeps two digits of a response time; the verdict wants them all."""
        if kind == "OCPP" and fault is None:
            self._latencies_ms.append(took_ms)
        self._record(kind, name, took_ms, length, fault)


def source_of(place: int, sources: int) -> str | None:
    """The address from which a charger dials; None: whichever the system takes."""
    return None if sources == 1 else str(LOOPBACK + place % sources)
