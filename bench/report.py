"""The figures of `gateway`, held against their targets, as JSON and as Markdown."""

from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from msgspec import Struct

from bench.machine import sentence

LABELS: Final = {
    "raw_echo": "bare picows echo, MeterValues",
    "raw_echo_heartbeat": "bare picows echo, Heartbeat",
    "heartbeat": "**Heartbeat**",
    "durable_meter_values": "**durable MeterValues**",
    "durable_meter_values_fsync": "durable MeterValues, fsync on every page",
    "trio_websocket": "durable MeterValues on the engine trio-websocket",
    "mobilityhouse": "mobilityhouse `ocpp` with validation, nothing stored",
}


class Figure(Struct, frozen=True, omit_defaults=True):
    """One line of the table. CPU in µs per message, latencies in ms; `cpu_us_rounds` is what `cpu_us` is the median of."""

    cpu_us: float
    msgs_per_s: float
    p50_ms: float
    p99_ms: float
    events_per_page: float | None = None
    cpu_us_rounds: list[float] = []


class Memory(Struct, frozen=True):
    """KiB of resident memory each."""

    kib_per_idle_charger: float
    kib_bare_connection: float


class Report(Struct, frozen=True):
    """All that a run found, and under which conditions."""

    figures: Mapping[str, Figure]
    memory: Memory
    conditions: Mapping[str, Any]


class Target(Struct, frozen=True):
    """A ratio of CPU per message of two lines, and its bound: at most, or at least."""

    of: str
    to: str
    bound: float
    at_most: bool


TARGETS: Final = {
    "heartbeat_to_raw_echo": Target("heartbeat", "raw_echo", 1.5, True),
    "durable_meter_values_to_raw_echo": Target("durable_meter_values", "raw_echo", 2.0, True),
    "mobilityhouse_to_durable_meter_values": Target("mobilityhouse", "durable_meter_values", 12.0, False),
}
KIB_PER_IDLE_CHARGER_MAX: Final = 14.0


def middle(rounds: list[Figure]) -> Figure:
    """The median of each measure; the CPU of every round is kept beside, it shows how calm the machine was."""
    pages = [figure.events_per_page for figure in rounds if figure.events_per_page is not None]
    return Figure(
        cpu_us=median(figure.cpu_us for figure in rounds),
        msgs_per_s=median(figure.msgs_per_s for figure in rounds),
        p50_ms=median(figure.p50_ms for figure in rounds),
        p99_ms=median(figure.p99_ms for figure in rounds),
        events_per_page=median(pages) if pages else None,
        cpu_us_rounds=[figure.cpu_us for figure in rounds],
    )


def ratios(report: Report) -> dict[str, float]:
    """The CPU of each line as a multiple of the bare echo's of MeterValues."""
    floor = report.figures["raw_echo"].cpu_us
    return {key: figure.cpu_us / floor for key, figure in report.figures.items()}


def targets(report: Report) -> dict[str, dict[str, Any]]:
    """Each target: what was found, the bound, and whether it holds."""
    verdicts = {}
    for name, target in TARGETS.items():
        found = report.figures[target.of].cpu_us / report.figures[target.to].cpu_us
        verdicts[name] = _verdict(found, target.bound, target.at_most)
    verdicts["kib_per_idle_charger"] = _verdict(report.memory.kib_per_idle_charger, KIB_PER_IDLE_CHARGER_MAX, True)
    return verdicts


def _verdict(found: float, bound: float, at_most: bool) -> dict[str, Any]:
    return {"found": found, "at_most" if at_most else "at_least": bound, "met": found <= bound if at_most else found >= bound}


def text(report: Report) -> str:
    """Conditions, the table, the verdicts: Markdown."""
    c, memory, multiples = report.conditions, report.memory, ratios(report)
    lines = [
        sentence(c),
        f"{c['connections']} chargers in a closed loop, {c['message_bytes']}-byte MeterValues, medians of {c['rounds']} rounds "
        f"of {c['seconds']:g} s.",
        "",
        "| | CPU µs / message | × bare echo | messages / s | p50 ms | p99 ms | events / page | rounds, CPU µs |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for key, figure in report.figures.items():
        rounds = " · ".join(f"{cpu_us:.1f}" for cpu_us in figure.cpu_us_rounds)
        pages = f"{figure.events_per_page:.0f}" if figure.events_per_page is not None else ""
        lines.append(
            f"| {LABELS[key]} | {figure.cpu_us:.1f} | {multiples[key]:.2f} | {figure.msgs_per_s:,.0f} "
            f"| {figure.p50_ms:.1f} | {figure.p99_ms:.1f} | {pages} | {rounds} |"
        )
    lines += [
        "",
        f"Memory with {c['idle_chargers']:,} idle chargers: **{memory.kib_per_idle_charger:.1f} KiB** per booted charger, "
        f"{memory.kib_bare_connection:.1f} per connection of the bare echo.",
        "",
        "| target | found | bound | |",
        "|---|--:|--:|---|",
    ]
    for name, verdict in targets(report).items():
        bound = f"≤ {verdict['at_most']:g}" if "at_most" in verdict else f"≥ {verdict['at_least']:g}"
        lines.append(f"| {name.replace('_', ' ')} | {verdict['found']:.2f} | {bound} | {'met' if verdict['met'] else '**missed**'} |")
    return "\n".join(lines) + "\n"
