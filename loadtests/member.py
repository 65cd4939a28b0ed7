"""One of several processes of a storm: a worker of Locust's, with its share of the chargers. The other end of `crew`.

python -m loadtests.member HOST PORT        where the master listens, now or within five minutes
"""

import logging
import sys
from collections.abc import Callable
from typing import TypeVar

import gevent  # type: ignore[import-untyped]  # it has no types
import msgspec
from locust.env import Environment
from locust.rpc import Message

from loadtests import scenario
from loadtests.fleet import LOOK_S
from loadtests.locusts import recorder, user_of
from loadtests.report import Deed, Hello, Missing, Ready, Share, Watched
from loadtests.squad import Squad
from supervisors import limits

T = TypeVar("T")


class Member:
    """Does what it is told."""

    def __init__(self, host: str, port: int, number: int | None) -> None:
        self._environment = Environment()
        self.runner = self._environment.create_worker_runner(host, port)
        self._squad: Squad | None = None
        self._watched = Watched(0, None)
        self._told: Missing | None = None
        self._hear("order", Share, self._muster)
        self._hear("do", Deed, lambda deed: self._there().do(deed))
        self._hear("watch", Watched, self._watch)
        self._hear("tell", type(None), self._tell)
        self._send("hello", Hello(number))

    def look(self) -> None:
        """For ever: say who does not have the sign that is waited for, whenever it is others."""
        while True:
            if self._watched.watch is not None:
                missing = Missing(self._watched.number, self._there().missing())
                if missing != self._told:
                    self._told = missing
                    self._send("missing", missing)
            gevent.sleep(LOOK_S)

    def _muster(self, share: Share) -> None:
        shaped = bool(scenario.load(share.order.scenario).shape(share.order.seconds))
        self._squad = Squad(share.order, recorder(self._environment), share.number, share.of)
        self._environment.user_classes = [user_of(self._squad.chargers, shaped=shaped)]
        self.runner.greenlet.spawn(self._squad.pulse)
        self._send("ready", Ready())

    def _watch(self, watched: Watched) -> None:
        self._watched = watched
        self._there().watch(watched.watch)

    def _tell(self, _: None) -> None:
        statistics: dict[str, object] = {}  # those since the last time, which Locust would send within three seconds
        report = self._environment.events.report_to_master
        report.fire(client_id=self.runner.client_id, data=statistics)  # type: ignore[no-untyped-call]  # untyped in Locust
        self.runner.send_message("stats", statistics)
        self._send("report", self._there().report())

    def _there(self) -> Squad:
        assert self._squad is not None  # the master orders first
        return self._squad

    def _hear(self, kind: str, of: type[T], listener: Callable[[T], None]) -> None:
        def heard(msg: Message, **_: object) -> None:
            listener(msgspec.json.decode(msg.data["json"], type=of))

        self.runner.register_message(kind, heard)

    def _send(self, kind: str, data: object) -> None:
        self.runner.send_message(kind, {"json": msgspec.json.encode(data)})


def main() -> int:
    """Work until the master says that it is over."""
    if len(sys.argv) < 3 or not sys.argv[2].isdecimal():
        sys.exit("python -m loadtests.member HOST PORT")
    logging.getLogger("locust").setLevel(logging.ERROR)  # it warns of fast spawning, which is meant
    limits.raise_files()
    host, port, *number = sys.argv[1:]
    try:
        member = Member(host, int(port), int(number[0]) if number else None)  # only the storm's own children have a number
    except ConnectionError:
        sys.exit(f"nobody answered at {host}:{port}")
    member.runner.greenlet.spawn(member.look)
    member.runner.greenlet.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
