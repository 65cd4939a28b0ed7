"""Chaos on real servers: chargers charge while somebody kills and freezes whatever serves them, and then their memory is believed.

    python -m loadtests.chaos [--kills N] [--chargers N] [--seed S] [--json] [--log FILE]

    scratch stack, two workers ◀── chargers, in a process of their own, remember every message that was acknowledged
             ▲                                              │
             └── kill -9, SIGSTOP … SIGCONT                 ▼ memory
                 about every second, by a seed         verdict ◀── the ledger's own tables, once everything is settled

Workers, pools, nats-server and the postmaster are hit; not the supervisor, whose work it is to start them again, and no machine dies:
what the kernel has taken it still writes. `chaos_blows` says who is hit, `chaos_chargers` how chargers behave, `chaos_verdict` what
must hold. The same seed draws the same drivers and the same chances; who is there to be hit, at which moment, only time can tell.

Exit code 0 when the verdict is pass, 1 when it is fail, 2 when there is none, 130 when it was interrupted.
"""

import argparse
import asyncio
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import psutil
from msgspec import Struct

from cpms_actors.base.errors import CpmsError, Unavailable
from cpms_actors.base.settings import Nats
from loadtests import chaos_chargers, chaos_truth, desk
from loadtests.chaos_blows import Blow, Chooser
from loadtests.chaos_verdict import Finding, Memory, Outcome, judge
from loadtests.children import ask, child
from loadtests.command import Whole, run
from loadtests.stack import scratch_stack

WORKERS: Final = 2
KILLS_MAX: Final = 100_000
CHARGERS_MAX: Final = 5_000
PROCESS_SHARE: Final = 0.4  # of the time that the whole stack takes to start, one process does
RIPE_S: Final = (2.0, 12.0)  # and it is taken for no less and no more
WARM_S: Final = 3.0  # until the first sessions are under way
KILL_S_MAX: Final = 6.0  # for one kill, on the average: some of the time everybody is spared
FINISH_S: Final = 300.0  # for what chargers still have to tell when it is over; on a busy machine that is much
SETTLE_S: Final = 180.0  # for what the pools still have to do
REPORT_S: Final = 60.0
SESSION_S: Final = 3.0  # shorter than any of them is on the average
LOOK_S: Final = 0.05
TOKEN: Final = "CHAOS-TOKEN"

# What a command line holds, and what the process is called.
_POOLS: Final = {"session": "session pool", "tariff": "tariff pool", "operations": "operations pool"}


class GaveUp(Exception):
    """The supervisor of the stack has ended, which it should not."""


class Asked(Struct, frozen=True):
    """What the command line says."""

    kills: int
    chargers: int
    seed: int
    as_json: bool
    log: Path | None


class Tally:
    """Who was hit, and how often."""

    def __init__(self) -> None:
        self.by_process: dict[str, dict[str, int]] = {}

    def note(self, blow: Blow) -> None:
        """One more."""
        counts = self.by_process.setdefault(blow.victim, {"kills": 0, "freezes": 0})
        counts[blow.kind] += 1

    def total(self, kind: str) -> int:
        """Of all processes."""
        return sum(counts[kind] for counts in self.by_process.values())


class Executioner:
    """Carries out blows on the children of a supervisor, until so many are killed. Whoever is frozen when it ends is thawed."""

    def __init__(self, supervisor: int, random: Random, ripe_s: float) -> None:
        self.tally = Tally()
        self._supervisor = psutil.Process(supervisor)
        self._chooser = Chooser(random, ripe_s)
        self._frozen: dict[str, tuple[psutil.Process, float]] = {}  # and when it is thawed

    def work(self, kills: int, seconds: float) -> None:
        """Kill so many. Raises GaveUp when the supervisor is gone, Unavailable when it takes too long."""
        deadline = time.monotonic() + seconds
        due = time.monotonic()
        try:
            while self.tally.total("kills") < kills:
                now = time.monotonic()
                if now > deadline:
                    raise Unavailable(f"only {self.tally.total('kills')} of {kills} processes could be killed in {seconds:.0f} s")
                self._thaw(now)
                if now >= due:
                    self._strike(now)
                    due = now + self._chooser.pause_s()
                time.sleep(LOOK_S)
            while self._frozen:
                self._thaw(time.monotonic())
                time.sleep(LOOK_S)
        finally:
            self._thaw(float("inf"))

    def _strike(self, now: float) -> None:
        there = {name: process for name, process in self._processes().items() if name not in self._frozen}
        born_at = {}
        for name, process in there.items():
            with suppress(psutil.NoSuchProcess):
                born_at[name] = now - (time.time() - process.create_time())
        blow = self._chooser.draw(now, born_at)
        if blow is None:
            return
        with suppress(psutil.NoSuchProcess):
            if blow.seconds is None:
                there[blow.victim].kill()
            else:
                there[blow.victim].suspend()
                self._frozen[blow.victim] = (there[blow.victim], now + blow.seconds)
            self.tally.note(blow)

    def _thaw(self, now: float) -> None:
        for name, (process, until) in list(self._frozen.items()):
            if until <= now:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
                del self._frozen[name]

    def _processes(self) -> dict[str, psutil.Process]:
        """Those that run now, by name."""
        try:
            children = self._supervisor.children()
        except psutil.NoSuchProcess:
            raise GaveUp("the supervisor of the stack has ended: it gave up") from None
        found = {}
        for process in children:
            with suppress(psutil.NoSuchProcess):
                if name := _name_of(process.cmdline()):
                    found[name] = process
        return found


def main() -> int:
    """Run it once."""
    asked = _arguments()
    return run("chaos", partial(_run, asked), None if asked.as_json else _as_text)


def _run(asked: Asked) -> Outcome:
    began = time.monotonic()
    _say(f"seed {asked.seed}: starting a scratch stack with {WORKERS} workers")
    with scratch_stack(WORKERS, asked.log) as stack:
        ripe_s = min(RIPE_S[1], max(RIPE_S[0], (time.monotonic() - began) * PROCESS_SHARE))
        operator = desk.operator_of(stack.data)
        dsn = desk.owner_dsn_of(stack.data)
        chargers = tuple(f"CHAOS-{number:05}" for number in range(1, asked.chargers + 1))
        password = secrets.token_hex(16)
        desk.register(operator, chargers, password, [TOKEN], price=True)
        order = chaos_chargers.Order(
            url=stack.url,
            chargers=chargers,
            password=password,
            token=TOKEN,
            seed=asked.seed,
            sessions_max=20 + round(asked.kills * KILL_S_MAX / SESSION_S),
            finish_s=FINISH_S,
        )
        executioner = Executioner(stack.pid, Random(asked.seed), ripe_s)
        with _charging(order) as process:
            try:
                _chaos(asked, executioner)
            except GaveUp as error:
                nothing = Memory([], [])
                return _outcome(asked, nothing, Finding([], [], [str(error)]), executioner.tally, 0, 0.0, time.monotonic() - began)
            memory = ask(process, b"", Memory, FINISH_S + REPORT_S)
        _say("they have told what they could; waiting for the bills")
        told_at = time.monotonic()
        sessions = sum(len(one.sessions) for one in memory.chargers)
        finding, cdrs = _judged(memory, operator, dsn, sessions)
        settle_s = time.monotonic() - told_at
    return _outcome(asked, memory, finding, executioner.tally, cdrs, settle_s, time.monotonic() - began)


@contextmanager
def _charging(order: chaos_chargers.Order) -> Iterator["subprocess.Popen[bytes]"]:
    """The process of the chargers, which have begun when the block does."""
    _say(f"{len(order.chargers)} chargers on {order.url}")
    with child([sys.executable, "-m", "loadtests.chaos_chargers"]) as process:
        assert process.stdin is not None  # a pipe was asked for
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
        yield process


def _chaos(asked: Asked, executioner: Executioner) -> None:
    time.sleep(WARM_S)
    _say(f"killing {asked.kills} processes, and freezing others")
    executioner.work(asked.kills, 60.0 + asked.kills * KILL_S_MAX)
    _say(f"{asked.kills} were killed, {executioner.tally.total('freezes')} frozen; the drivers go home")


def _judged(memory: Memory, operator: Nats, dsn: str, sessions: int) -> tuple[Finding, int]:
    """What does not fit once all is settled, or the time for that is up; and how many CDRs stand."""
    settled = asyncio.run(chaos_truth.settled(dsn, sessions, SETTLE_S))
    try:
        differences = desk.reconcile(operator)
    except CpmsError as error:
        differences = [f"nothing, for it failed: {error}"]
    ledger = asyncio.run(chaos_truth.look(dsn, differences))
    finding = judge(memory, ledger)
    if not settled:
        text = f"{len(ledger.sessions)} sessions and {len(ledger.cdrs)} charge detail records"
        finding.wrong.append(f"not settled after {SETTLE_S:g} s: {text} for {sessions} sessions of the cars")
    return finding, len(ledger.cdrs)


def _outcome(asked: Asked, memory: Memory, finding: Finding, tally: Tally, cdrs: int, settle_s: float, seconds: float) -> Outcome:
    kinds = [told.kind for one in memory.chargers for told in one.acknowledged]
    reasons = finding.reasons()
    if not kinds and not reasons:
        reasons.append("nothing was ever acknowledged")
    return Outcome(
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        chargers=len(memory.chargers),
        acked=len(kinds),
        starts=kinds.count("start"),
        readings=kinds.count("update"),
        stops=kinds.count("end"),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        kills=tally.total("kills"),
        freezes=tally.total("freezes"),
        by_process=dict(sorted(tally.by_process.items())),
        sessions=sum(len(one.sessions) for one in memory.chargers),
        cdrs=cdrs,
        energy_wh=sum(told.meter_stop_wh - told.meter_start_wh for one in memory.chargers for told in one.sessions),
        connections=sum(one.connections for one in memory.chargers),
        unanswered=sum(one.unanswered for one in memory.chargers),
        errors=sum(one.errors for one in memory.chargers),
        refused=dict(sum((Counter(one.refused) for one in memory.chargers), Counter())),
        settle_s=round(settle_s, 1),
        seconds=round(seconds, 1),
        seed=asked.seed,
    )


def _name_of(words: list[str]) -> str | None:
    """What a process of the stack is called, by its command line; None for one that is not to be hit."""
    program = words[0].rpartition("/")[2] if words else ""
    if program in ("nats-server", "postgres"):
        return program
    if "--name" in words and "worker" in words:
        return words[words.index("--name") + 1]
    return _POOLS.get(words[-1]) if "pool" in words else None


def _arguments() -> Asked:
    parser = argparse.ArgumentParser(
        prog="chaos", description="Kills and freezes what serves chargers, and sees whether anything is lost."
    )
    parser.add_argument("--kills", type=Whole(1, KILLS_MAX), default=100, help="end after so many SIGKILLs [default: 100]")
    parser.add_argument("--chargers", type=Whole(1, CHARGERS_MAX), default=200, help="[default: 200]")
    parser.add_argument("--seed", type=int, default=None, help="of all chances [default: a new one, which is told]")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep there what the stack says")
    a = parser.parse_args()
    seed = secrets.randbelow(2**32) if a.seed is None else a.seed
    return Asked(kills=a.kills, chargers=a.chargers, seed=seed, as_json=a.json, log=a.log)


def _as_text(outcome: Outcome) -> str:
    rows = [f"  {name:<16} {counts['kills']:>6} {counts['freezes']:>8}" for name, counts in outcome.by_process.items()]
    told = "".join(f", {count} {status}" for status, count in sorted(outcome.refused.items()))
    lines = [
        f"  {'process':<16} {'killed':>6} {'frozen':>8}",
        *rows,
        f"  {'all':<16} {outcome.kills:>6} {outcome.freezes:>8}",
        "",
        f"chaos, seed {outcome.seed}: {outcome.verdict}",
        f"  {outcome.acked} messages acknowledged: {outcome.starts} starts, {outcome.readings} readings, {outcome.stops} stops",
        f"  {outcome.lost} lost, {outcome.doubled} doubled; {outcome.sessions} sessions, {outcome.cdrs} charge detail records, "
        f"{outcome.energy_wh / 1000:.3f} kWh",
        f"  {outcome.chargers} chargers connected {outcome.connections} times, waited in vain for {outcome.unanswered} answers, heard "
        f"{outcome.errors} errors; {sum(outcome.refused.values())} drivers were turned away{told}",
        f"  {outcome.seconds} s in all, {outcome.settle_s} s of them for the bills",
        *(f"  because {reason}" for reason in outcome.reasons),
    ]
    return "\n".join(lines) + "\n"


def _say(sentence: str) -> None:
    sys.stderr.write(f"chaos: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
