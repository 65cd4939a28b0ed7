"""What the processes of the laboratory tell each other, as JSON."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from loadtests.dialects import Ocpp

# What can be seen of a charger. Connected and booted since the last cut; in a transaction of which the system knows; without a session
# or anything left to tell; all plans carried out and told; not one of those that stopped reading and were not cut off yet; restarted
# with another firmware, and the system told.
Sign = Literal["admitted", "charging", "done", "finished", "reading", "updated"]


class Deed(Struct, frozen=True):
    """What is done to chargers: to some, or to all that there are. `number` is of the rubbish that they say."""

    kind: Literal["cut", "show-token", "stop-reading", "say-rubbish"]
    some: tuple[str, ...] | None = None
    number: int = 0


class Watch(Struct, frozen=True):
    """What is waited for: that some chargers, or all, have the sign."""

    sign: Sign
    some: tuple[str, ...] | None = None


class Order(Struct, frozen=True):
    """What the storm's process is to do. `url` without tenant and identity; `seconds` as the scenario reads it.

    `report`: the folder of Locust's own reports. `web_port`: where its web page is to be seen, on loopback. `processes`: so many have
    the chargers, and `joining` from elsewhere, for whom the master listens at `bind`. Chargers dial from `sources` addresses, and speak
    `ocpp`. Where the URL is wss://, `ca` is the PEM of those who may vouch for the server; None: those whom the machine trusts.
    """

    scenario: str
    url: str
    chargers: tuple[str, ...]
    password: str
    token: str
    seconds: float
    report: str | None = None
    web_port: int | None = None
    processes: int = 1
    joining: int = 0
    bind: tuple[str, int] = ("127.0.0.1", 0)
    sources: int = 1
    ocpp: Ocpp = "1.6"
    ca: str | None = None


class Share(Struct, frozen=True):
    """The part of an order that one of several processes has: each `of`-th charger from `number` on."""

    order: Order
    number: int
    of: int


class Hello(Struct, frozen=True):
    """A process of the storm is there: the one of this number, or one that joins from elsewhere."""

    number: int | None = None


class Ready(Struct, frozen=True):
    """A process of the storm has its chargers."""


class Watched(Struct, frozen=True):
    """What one of several processes is to look for; None: nothing. The number tells one watch from another."""

    number: int
    watch: Watch | None


class Missing(Struct, frozen=True):
    """Who of a process's chargers does not have the sign of a watch."""

    number: int
    chargers: tuple[str, ...]


class SessionReport(Struct, frozen=True):
    """One session as the virtual car knows it. `told`: messages about it that its charger had to send."""

    energy_wh: int
    told: int
    acknowledged: int
    completed: bool


class ChargerReport(Struct, frozen=True):
    """One charger's view of the storm.

    `admitted`: connected and booted when the scenario ended. `back_s`: from the cut to the accepted boot; None when nothing was cut,
    or when it never came back. `timeouts`: answers and handshakes that it waited for in vain. `failures` are sentences. `version`: of
    OCPP.
    """

    identity: str
    admitted: bool
    back_s: float | None = None
    timeouts: int = 0
    errors: int = 0
    failures: tuple[str, ...] = ()
    sessions: tuple[SessionReport, ...] = ()
    connections: int = 0
    version: str = "1.6"


class SquadReport(Struct, frozen=True):
    """What the chargers of one process saw; `latencies_ms` are doubles, one after the other, as bytes.

    `lag_ms`: how late the process was, at most, with what it had to do.
    """

    chargers: tuple[ChargerReport, ...]
    latencies_ms: bytes
    lag_ms: float


class StormReport(Struct, frozen=True):
    """What the chargers saw. Moments in seconds of the epoch; latencies are of answers to CALLs, in ms.

    `seconds` as ordered. `lag_ms`: how late the laboratory was, at most. `late`: sentences about what did not happen in time.
    """

    seconds: float
    began_at: float
    cut_at: float | None
    chargers: tuple[ChargerReport, ...]
    answers: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    lag_ms: float = 0.0
    late: tuple[str, ...] = ()


class Billed(Struct, frozen=True):
    """A session or a charge detail record of the system."""

    charger: str
    session: int
    energy_wh: int


class Truth(Struct, frozen=True):
    """What the system says after the storm: who is connected, who booted since the cut (or the start), what was charged since.

    `firmware` of each charger, as it was told at its last boot, and the version of `ocpp` that it speaks.
    """

    connected: frozenset[str]
    booted: frozenset[str]
    ended: tuple[Billed, ...] = ()
    active: tuple[Billed, ...] = ()
    cdrs: tuple[Billed, ...] = ()
    firmware: Mapping[str, str | None] = {}
    ocpp: Mapping[str, str | None] = {}
    parked: tuple[str, ...] = ()  # of each message that the system could not use, the charger
