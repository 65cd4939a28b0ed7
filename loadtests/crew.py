"""The hands of a storm in several processes: Locust's master, which tells its workers, the members, what to do with their shares.

    master  ── order ─▶  member      its share of the chargers is made                     ◀── ready ──
            ── do ────▶              a deed, of those of the share that it is about
            ── watch ─▶              from now on, who does not have the sign, at each change    ◀── missing ──
            ── tell ──▶              what the share saw, after Locust's own statistics           ◀── report ──

All of it travels as Locust's custom messages, in order, so what a member says of a watch it says after the deeds that came before.
Every message is JSON of a struct. A member that ends is lost, and the storm with it: of this machine's the process is watched, of the
others the heartbeats, as Locust does.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from locust import runners
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerNode

from loadtests.fleet import LOOK_S, Lost
from loadtests.report import Deed, Hello, Missing, Order, Ready, Share, SquadReport, Watch, Watched

READY_S_MAX: Final = 60.0  # for all members to import, to connect and to make their chargers
TELL_S_MAX: Final = 60.0
SILENT_S_MAX: Final = 60  # a member with thousands of chargers to bring back may have no breath for a heartbeat for long

T = TypeVar("T")


class _Member:
    """What the master knows of one, whose process is None elsewhere. `missing` is what it said last, of the watch `heard`."""

    def __init__(self, share: Sequence[str]) -> None:
        self.share = share
        self.process: subprocess.Popen[bytes] | None = None
        self.client: str | None = None
        self.ready = False
        self.heard = 0
        self.missing: tuple[str, ...] = ()
        self.report: SquadReport | None = None


class Master(MasterRunner):
    """Locust's, but for this: who connects is no worker yet. The crew takes its members on, all of them before the chargers come, for
    Locust spreads its users anew over whoever comes later, and the storm would never end."""

    def handle_message(self, client_id: str, msg: Message) -> None:
        """What a process that connects or works says."""
        if msg.type == "client_ready":
            index = self.get_worker_index(client_id)  # type: ignore[no-untyped-call]  # untyped in Locust
            self.send_message("ack", {"index": index}, client_id)
        else:
            super().handle_message(client_id, msg)

    def take_on(self, client_id: str) -> None:
        """It is a worker from now on."""
        self.clients[client_id] = WorkerNode(client_id, heartbeat_liveness=SILENT_S_MAX)


class Crew:
    """See `fleet.Hands`. The first members are started here, see `started`; others join. Make it as soon as there is a master:
    whoever waits for that says hello without delay."""

    def __init__(self, master: Master, order: Order) -> None:
        runners.HEARTBEAT_LIVENESS = SILENT_S_MAX  # after Locust's own 3 s it would stop all chargers
        self._master, self._order = master, order
        count = order.processes + order.joining
        self._members = [_Member(order.chargers[number::count]) for number in range(count)]
        self._by_client: dict[str, _Member] = {}
        self._number = 0
        self._watch: Watch | None = None
        self._hear("hello", Hello, self._welcome)
        self._hear("ready", Ready, self._is_ready)
        self._hear("missing", Missing, self._is_missing)
        self._hear("report", SquadReport, self._is_told)

    def started(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        """The member of this number runs here."""
        self._members[number].process = process

    def gather(self) -> None:
        """Wait until every member has its chargers."""
        self._wait(lambda member: member.ready, READY_S_MAX, "was not ready in time")

    def do(self, deed: Deed) -> None:
        self._send("do", deed)

    def watch(self, watch: Watch | None) -> None:
        self._number += 1
        self._watch = watch
        self._send("watch", Watched(self._number, watch))

    def missing(self) -> list[str]:
        """Whoever has not answered yet may miss all. Raises Lost."""
        self._look_after()
        chosen = None if self._watch is None or self._watch.some is None else frozenset(self._watch.some)
        return [
            identity
            for member in self._members
            for identity in (member.missing if member.heard == self._number else member.share)
            if chosen is None or identity in chosen
        ]

    def rest(self, seconds: float) -> None:
        """Raises Lost."""
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            self._look_after()
            time.sleep(min(left_s, LOOK_S))

    def reports(self) -> list[SquadReport]:
        """Of all members that are there. Raises nothing: who is lost has been said, or is missed in the report."""
        self._send("tell", None)
        deadline = time.monotonic() + TELL_S_MAX
        while time.monotonic() < deadline and any(one.report is None and not self._end_of(one) for one in self._members):
            time.sleep(LOOK_S)
        return [member.report for member in self._members if member.report is not None]

    def _wait(self, true: Callable[[_Member], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while late := [member for member in self._members if not true(member)]:
            self._look_after()
            if time.monotonic() > deadline:
                raise Lost(f"a process of the laboratory {otherwise}, and its {len(late[0].share)} chargers with it")
            time.sleep(LOOK_S)

    def _look_after(self) -> None:
        for member in self._members:
            if end := self._end_of(member):
                raise Lost(f"a process of the laboratory {end}, and its {len(member.share)} chargers with it")

    def _end_of(self, member: _Member) -> str | None:
        if member.process is not None:
            code = member.process.poll()
            return None if code is None else f"died ({code})"
        return "on another machine is gone" if member.client is not None and member.client not in self._master.clients else None

    def _hear(self, kind: str, of: type[T], listener: Callable[[str, T], None]) -> None:
        def heard(msg: Message, **_: object) -> None:
            listener(msg.node_id, msgspec.json.decode(msg.data["json"], type=of))

        self._master.register_message(kind, heard)

    def _welcome(self, client: str, hello: Hello) -> None:
        places = range(self._order.processes, len(self._members))
        free = (number for number in places if self._members[number].client is None)
        number = next(free, None) if hello.number is None else hello.number
        if number is None:
            self._master.send_message("quit", None, client)  # one too many
            return
        self._master.take_on(client)
        member = self._members[number]
        member.client, self._by_client[client] = client, member
        share = Share(self._order, number, len(self._members))
        self._master.send_message("order", {"json": msgspec.json.encode(share)}, client)

    def _is_ready(self, client: str, _: Ready) -> None:
        self._by_client[client].ready = True

    def _is_missing(self, client: str, missing: Missing) -> None:
        member = self._by_client[client]
        member.heard, member.missing = missing.number, missing.chargers

    def _is_told(self, client: str, report: SquadReport) -> None:
        self._by_client[client].report = report

    def _send(self, kind: str, data: object) -> None:
        for client in self._by_client:
            self._master.send_message(kind, {"json": msgspec.json.encode(data)}, client)
