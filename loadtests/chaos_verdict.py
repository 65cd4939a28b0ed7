"""What the chargers of chaos remember, held against what the ledger says: a pure rule.

    lost       something was acknowledged, and the ledger does not have it, or has it otherwise
    doubled    the ledger has something of which the chargers know only one, or none

It is asked of each message, each session and each charger, not of sums: two errors that cancel are two errors. A reading that a 1.6
charger repeated may be stored twice, since nothing in it says that it is a repetition; no other reading may.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

NAMED_MAX: Final = 5  # examples, in one reason


class Acknowledged(Struct, frozen=True, array_like=True, gc=False):
    """A transaction message that was answered: whose, and the meter's register at a moment (ms) of the station's clock."""

    kind: Literal["start", "update", "end"]
    transaction: str
    at: int
    register_wh: int
    context: str


class Told(Struct, frozen=True, array_like=True, gc=False):
    """A session as the virtual car had it; `transaction` by the last name that its charger heard."""

    transaction: str | None
    started_at: int | None
    ended_at: int | None
    meter_start_wh: int
    meter_stop_wh: int


class Remembered(Struct, frozen=True):
    """One charger's memory. `waiting`: messages that were never acknowledged; `refused`: drivers, by what they were told."""

    identity: str
    version: str
    finished: bool
    waiting: int
    acknowledged: list[Acknowledged]
    sessions: list[Told]
    refused: dict[str, int]
    connections: int
    unanswered: int
    errors: int
    failures: list[str]


class Memory(Struct, frozen=True):
    """All chargers'. `crashed`: what went wrong in the laboratory itself."""

    chargers: list[Remembered]
    crashed: list[str]


class Stored(Struct, frozen=True, gc=False):
    """A session of the ledger."""

    id: int
    charger: str
    status: str
    started_at: int
    ended_at: int | None
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int


class Ledger(Struct, frozen=True):
    """What the tables say. `names`: sessions by charger and transaction; `cdrs`: session, charger and energy of those that stand.

    `readings`: how often a session has a register (Wh) of a moment and context. `parked` and `differences` are sentences.
    """

    sessions: list[Stored]
    names: Mapping[tuple[str, str], int]
    cdrs: list[tuple[int, str, int]]
    readings: Mapping[tuple[int, int, int, str], int]
    parked: list[str]
    differences: list[str]


class Finding(Struct, frozen=True):
    """What does not fit, a sentence each; `wrong` is neither lost nor doubled."""

    lost: list[str]
    doubled: list[str]
    wrong: list[str]

    def reasons(self) -> list[str]:
        """A sentence for each kind, with some of it."""
        words = (("lost", self.lost), ("doubled", self.doubled))
        return [*(_some(word, found) for word, found in words if found), *self.wrong]


class Outcome(Struct, frozen=True):
    """What is printed. `acked` are transaction messages, of them so many `starts`, `readings` and `stops`; `by_process`: who was hit.

    `settle_s`: from the last acknowledgement to the last bill. `unanswered`, `errors` and `refused` are what chargers had to bear:
    CALLs without an answer in time, CALLERRORs, and drivers who were turned away.
    """

    verdict: Literal["pass", "fail"]
    reasons: list[str]
    chargers: int
    acked: int
    starts: int
    readings: int
    stops: int
    lost: int
    doubled: int
    kills: int
    freezes: int
    by_process: dict[str, dict[str, int]]
    sessions: int
    cdrs: int
    energy_wh: int
    connections: int
    unanswered: int
    errors: int
    refused: dict[str, int]
    settle_s: float
    seconds: float
    seed: int


def judge(memory: Memory, ledger: Ledger) -> Finding:
    """Everything that does not fit."""
    finding = Finding([], [], [*memory.crashed, *_unfinished(memory)])
    stored = {session.id: session for session in ledger.sessions}
    cdrs: defaultdict[int, list[int]] = defaultdict(list)
    for session, _, energy_wh in ledger.cdrs:
        cdrs[session].append(energy_wh)
    _messages(memory, ledger, stored, finding)
    _sessions(memory, ledger, finding)
    _bills(ledger.sessions, cdrs, finding)
    _readings_once(memory, ledger, stored, finding)
    _energies(memory, ledger, finding)
    if ledger.parked:
        finding.wrong.append(_some("parked", ledger.parked))
    if ledger.differences:
        finding.wrong.append(_some("found by reconciliation", ledger.differences))
    return finding


def _unfinished(memory: Memory) -> list[str]:
    late = [f"{one.identity} with {one.waiting} messages to tell" for one in memory.chargers if not one.finished]
    failures = [failure for one in memory.chargers for failure in one.failures if " discarded " in failure or "gave up" in failure]
    return [*([_some("not finished in time", late)] if late else []), *failures]


def _messages(memory: Memory, ledger: Ledger, stored: Mapping[int, Stored], finding: Finding) -> None:
    for one in memory.chargers:
        for told in one.acknowledged:
            name = f"{told.kind} of {one.identity} {told.transaction} at {told.at} with {told.register_wh} Wh"
            id_ = ledger.names.get((one.identity, told.transaction))
            session = None if id_ is None else stored.get(id_)
            if session is None:
                finding.lost.append(f"{name}: there is no such session")
            elif fault := _fault(told, session, ledger.readings):
                finding.lost.append(f"{name}: {fault}")


def _fault(told: Acknowledged, session: Stored, readings: Mapping[tuple[int, int, int, str], int]) -> str | None:
    if told.kind == "start":
        found: tuple[Any, ...] = (session.started_at, session.meter_start_wh)
    elif told.kind == "end":
        found = (session.ended_at, session.meter_stop_wh)
        if session.status != "Ended":
            return f"session {session.id} is {session.status}"
    else:
        has = (session.id, told.at, told.register_wh, told.context) in readings
        return None if has else f"session {session.id} has no such reading"
    return None if found == (told.at, told.register_wh) else f"session {session.id} says {found}"


def _sessions(memory: Memory, ledger: Ledger, finding: Finding) -> None:
    """Each car's session is one of the ledger, and the ledger has no other."""
    of: defaultdict[str, Counter[tuple[int | None, int | None]]] = defaultdict(Counter)
    for session in ledger.sessions:
        of[session.charger][session.started_at, session.meter_start_wh] += 1
    for one in memory.chargers:
        cars = Counter[tuple[int | None, int | None]]((told.started_at, told.meter_start_wh) for told in one.sessions)
        finding.lost.extend(f"session of {one.identity} that began at {start}" for start, _ in (cars - of[one.identity]).elements())
        finding.doubled.extend(f"session of {one.identity} that began at {start}" for start, _ in (of[one.identity] - cars).elements())


def _bills(sessions: Iterable[Stored], cdrs: Mapping[int, list[int]], finding: Finding) -> None:
    for session in sessions:
        bills = cdrs.get(session.id, [])
        name = f"bill of session {session.id} of {session.charger}"
        if len(bills) > 1:
            finding.doubled.append(f"{name}: {len(bills)} stand")
        elif session.status == "Ended" and not bills:
            finding.lost.append(name)
        elif session.status != "Ended" and bills:
            finding.wrong.append(f"{name}, which is {session.status}")


def _readings_once(memory: Memory, ledger: Ledger, stored: Mapping[int, Stored], finding: Finding) -> None:
    numbered = {one.identity for one in memory.chargers if one.version != "1.6"}
    for (id_, at, register_wh, context), count in ledger.readings.items():
        if count > 1 and id_ in stored and stored[id_].charger in numbered:
            finding.doubled.append(f"reading of session {id_} at {at} with {register_wh} Wh ({context}): {count} times")


def _energies(memory: Memory, ledger: Ledger, finding: Finding) -> None:
    """The cars', the sessions' and the bills' sum of each charger."""
    sessions: Counter[str] = Counter()
    bills: Counter[str] = Counter()
    for session in ledger.sessions:
        sessions[session.charger] += session.energy_wh
    for _, charger, energy_wh in ledger.cdrs:
        bills[charger] += energy_wh
    for one in memory.chargers:
        energy_wh = sum(told.meter_stop_wh - told.meter_start_wh for told in one.sessions)
        if not energy_wh == sessions[one.identity] == bills[one.identity]:
            text = f"{energy_wh} Wh by the meter, {sessions[one.identity]} in sessions, {bills[one.identity]} billed"
            finding.wrong.append(f"{one.identity}: {text}")


def _some(word: str, found: list[str]) -> str:
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return f"{len(found)} {word}: {'; '.join(found[:NAMED_MAX])}{more}"
