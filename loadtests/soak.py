"""Whether a system stays as it is: hours of traffic and of connections that fail, and then memory and files are as they were.

    python -m loadtests.soak --minutes N [--chargers N] [--workers N] [--json]

On a scratch stack chargers of all versions hold one session after the other and send meter values, and every 15 s all or half of
their connections are cut and come back (`soak_cycles`). Once in each cycle, when all are back, the memory, files and threads of every
process are looked at (`soak_sampler`). In the end the rule of `soak_rule` says whether they are flat, the storms' verdict whether all
was answered and billed, and `cpms reconcile` whether the ledger fits together.

Exit code 0 when the verdict is pass, 1 when it is fail, 2 when there is none. What goes on is told on stderr. The soak's own memory is
bounded: a charger has at most 60 sessions, and an answer costs 8 bytes.
"""

import argparse
import secrets
import sys
from functools import partial
from time import monotonic
from typing import Final

from msgspec import Struct

from cpms_actors.base.settings import Nats
from loadtests import desk
from loadtests.command import Whole, run
from loadtests.process import storm_process
from loadtests.report import Order, StormReport, Truth
from loadtests.soak_cycles import CYCLE_S, NAME, SCENARIO, cycles
from loadtests.soak_rule import PART_LEAST, Sample, SoakVerdict, are_enough, growth, not_flat
from loadtests.soak_sampler import sampling
from loadtests.stack import scratch_stack
from loadtests.verdict import judge
from supervisors import limits

TOKEN: Final = "SOAK-TOKEN"
MINUTES_MAX: Final = 720
CHARGERS_MAX: Final = 2000
WORKERS_MAX: Final = 16
SAMPLES_SPARE: Final = 40  # before the first cycle and after the last
DIFFERENCES_MAX: Final = 5  # of the reconciliation, as reasons


class Asked(Struct, frozen=True):
    """What the command line says."""

    minutes: int
    chargers: int
    workers: int
    as_json: bool


def main() -> int:
    """Run one soak."""
    asked = _arguments()
    return run("soak", partial(_run, asked), None if asked.as_json else as_text)


def _run(asked: Asked) -> SoakVerdict:
    began = monotonic()
    limits.raise_files()
    seconds = asked.minutes * 60
    chargers = tuple(f"SOAK-{number:05}" for number in range(1, asked.chargers + 1))
    _say("starting a scratch stack")
    with scratch_stack(asked.workers) as stack:
        operator, password = desk.operator_of(stack.data), secrets.token_hex(16)
        desk.register(operator, chargers, password, [TOKEN], price=True)
        order = Order(scenario=NAME, url=stack.url, chargers=chargers, password=password, token=TOKEN, seconds=seconds, ocpp="mixed")
        _say(f"{len(chargers)} chargers on {stack.url}, {cycles(seconds)} cycles of {CYCLE_S:g} s")
        with (
            sampling(stack.pid, cycles(seconds) + SAMPLES_SPARE, _progress) as samples,
            storm_process(order, SCENARIO.longest_s(seconds)) as report,
        ):
            _say("the cycles are over; asking the system for the truth")
            truth = desk.truth(operator, report, chargers, 0.0, lambda seen: bool(report.late) or not SCENARIO.judge(report, seen))
            differences = _reconciled(operator)
            counted = of_cycles(tuple(samples), report, cycles(seconds))
    return verdict_of(report, truth, counted, differences, asked.minutes, monotonic() - began)


def _reconciled(operator: Nats) -> list[str]:
    return [f"cpms reconcile: {difference}" for difference in desk.reconcile(operator)[:DIFFERENCES_MAX]]


def of_cycles(samples: tuple[Sample, ...], report: StormReport, count: int) -> tuple[Sample, ...]:
    """Those that were taken in one of the cycles: the last began with the last cut of all."""
    last = round((report.cut_at or 0.0) / CYCLE_S)
    return tuple(sample for sample in samples if last - count < sample.cycle <= last)


def verdict_of(
    report: StormReport, truth: Truth, samples: tuple[Sample, ...], differences: list[str], minutes: float, seconds: float
) -> SoakVerdict:
    """Pass when the system is flat and has kept its word."""
    count = cycles(report.seconds)
    missed = [f"only {len(samples)} of {count} cycles were looked at"] if len(samples) < count - max(1, count // 10) else []
    reasons = [
        *judge(NAME, report, truth, SCENARIO.judge, seconds, ocpp="mixed").reasons,
        *differences,
        *missed,
        *not_flat(samples),
    ]
    return SoakVerdict(
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        minutes=minutes,
        cycles=count,
        chargers=len(report.chargers),
        connections=sum(charger.connections for charger in report.chargers),
        messages=report.answers,
        sessions=len(truth.ended),
        cdrs=len(truth.cdrs),
        judged=are_enough(samples),
        samples=len(samples),
        processes=growth(samples),
        seconds=round(seconds, 1),
    )


def as_text(verdict: SoakVerdict) -> str:
    """A table for people."""
    lines = [
        f"soak of {verdict.minutes:g} minutes: {verdict.verdict}",
        f"  {verdict.chargers} chargers, {verdict.cycles} cycles, {verdict.connections} connections, {verdict.messages} messages",
        f"  {verdict.sessions} sessions, {verdict.cdrs} charge detail records; {verdict.seconds} s in all",
        f"  {'':18}{'MiB':>8}{'then':>9}{'growth':>9}{'files':>8}{'then':>7}{'threads':>9}{'then':>6}",
        *(
            f"  {name:18}{of.rss_mib_first:8.1f}{of.rss_mib_last:9.1f}{of.rss_mib_last - of.rss_mib_first:+9.1f}"
            f"{of.fds_first:8g}{of.fds_last:7g}{of.threads_first:9g}{of.threads_last:6g}"
            for name, of in verdict.processes.items()
        ),
        *(f"  because {reason}" for reason in verdict.reasons),
    ]
    if not verdict.judged:
        lines.append(f"  growth was not judged: that takes {3 * PART_LEAST} cycles, {3 * PART_LEAST * CYCLE_S / 60:g} minutes")
    return "\n".join(lines) + "\n"


def _progress(number: int, sample: Sample) -> None:
    _say(f"sample {number}: " + ", ".join(f"{name} {of.memory_mib:.1f} MiB {of.files} files" for name, of in sample.held.items()))


def _arguments() -> Asked:
    parser = argparse.ArgumentParser(prog="soak", description="Traffic and reconnections, and whether memory and files stay flat.")
    parser.add_argument("--minutes", type=Whole(1, MINUTES_MAX), default=10, help="[default: 10]")
    parser.add_argument("--chargers", type=Whole(2, CHARGERS_MAX), default=300, help="[default: 300]")
    parser.add_argument("--workers", type=Whole(1, WORKERS_MAX), default=2, help="[default: 2]")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
    asked = parser.parse_args()
    return Asked(asked.minutes, asked.chargers, asked.workers, asked.json)


def _say(sentence: str) -> None:
    sys.stderr.write(f"soak: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
