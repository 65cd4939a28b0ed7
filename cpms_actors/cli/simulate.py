"""`cpms simulate`: a fleet of virtual charge points against a running server.

For people a line of progress and a table; for programs (`--json`) one JSON object, `simulator.fleet.FleetResult`, with the truth
about every session, so that what the server billed can be held against it. Exit code 0 when every session was completed, else 1.
"""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from cpms_actors.base.errors import OperatorError

if TYPE_CHECKING:
    from cpms_actors.simulator.charge_point import ChargePoint
    from cpms_actors.simulator.fleet import FleetOptions, FleetResult, Progress
    from cpms_actors.simulator.session import SessionPlan

INCOMPLETE = 1
FAILURES_SHOWN = 10
Versions = Literal["1.6", "2.0.1", "2.1", "all"]


def mount(app: typer.Typer) -> None:
    """Add the command `simulate`."""
    app.command()(simulate)


def simulate(
    url: Annotated[str, typer.Option(help="The server's OCPP endpoint, before tenant and identity.")] = "ws://127.0.0.1:9000/ocpp",
    chargers: Annotated[int, typer.Option(min=1, max=15_000, help="How many charge points.")] = 3,
    version: Annotated[Versions, typer.Option(help="OCPP version; all: they take turns.")] = "all",
    tenant: Annotated[str | None, typer.Option(help="Tenant in the URL; none: the default tenant.")] = None,
    prefix: Annotated[str, typer.Option(help="Identities are PREFIX0001, PREFIX0002, …")] = "SIM-",
    password: Annotated[str | None, typer.Option(envvar="CPMS_SIMULATE_PASSWORD", help="Basic auth password of all.")] = None,
    passwords: Annotated[Path | None, typer.Option(help="JSON file: an object of passwords by identity.")] = None,
    token: Annotated[list[str] | None, typer.Option(help="Token a driver shows; repeat for several. [default: SIM-TOKEN]")] = None,
    sessions: Annotated[int, typer.Option(min=0, help="Sessions per charge point.")] = 1,
    charging: Annotated[float, typer.Option(min=0, help="Minutes of charging per session, about.")] = 20.0,
    parking: Annotated[float, typer.Option(min=0, help="Minutes of parking afterwards, about.")] = 10.0,
    meter_interval: Annotated[float, typer.Option(min=1, help="Seconds between meter values, on the charger's clock.")] = 60.0,
    speed: Annotated[float, typer.Option(min=0.01, max=10_000, help="Seconds of the charger's clock per real second.")] = 60.0,
    backdate: Annotated[bool, typer.Option(help="Start the chargers' clocks in the past, so that they end about now.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed draws the same cars and drivers.")] = 1,
    connecting: Annotated[int, typer.Option(min=1, help="Handshakes in flight at once.")] = 50,
    ramp: Annotated[float, typer.Option(min=0, help="Seconds over which the charge points come online.")] = 0.0,
    deadline: Annotated[float | None, typer.Option(help="Stop after so many seconds, whatever is unfinished.")] = None,
    hold: Annotated[bool, typer.Option(help="Stay connected after the last session, until the deadline or Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run virtual charge points through charging sessions and report what they did."""
    from cpms_actors.simulator.fleet import FleetOptions
    from cpms_actors.simulator.plans import draw_plan

    random = Random(seed)
    identities = [f"{prefix}{number:04}" for number in range(1, chargers + 1)]
    tokens = token or ["SIM-TOKEN"]
    plans = [[draw_plan(random, tokens, charging * 60, parking * 60, meter_interval) for _ in range(sessions)] for _ in identities]
    options = FleetOptions(
        tenant=tenant,
        password=password,
        passwords=_read_passwords(passwords),
        connecting_max=connecting,
        ramp_s=ramp,
        deadline_s=deadline,
        hold=hold,
    )
    points = _points(identities, plans, version, speed, backdate, random)
    result = _run(points, url, options, as_json, chargers * sessions)
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        _summarize(result)
    if not result.complete:
        raise typer.Exit(INCOMPLETE)


def _points(
    identities: list[str], plans: list[list["SessionPlan"]], version: Versions, speed: float, backdate: bool, random: Random
) -> list["ChargePoint"]:
    from cpms_actors.simulator.charge_point import ChargePoint
    from cpms_actors.simulator.options import VERSIONS, Options
    from cpms_actors.simulator.plans import duration_s

    spoken = VERSIONS if version == "all" else (version,)
    points = []
    for number, (identity, drawn) in enumerate(zip(identities, plans, strict=True)):
        lead_s = duration_s(drawn) * (1 - 1 / speed) if backdate else 0.0
        options = Options(speed=speed, starts_at_ms=round((time.time() - lead_s) * 1000))
        points.append(ChargePoint(identity, spoken[number % len(spoken)], drawn, options, Random(random.random())))
    return points


def _run(points: list["ChargePoint"], url: str, options: "FleetOptions", quiet: bool, sessions: int) -> "FleetResult":
    """Drive the fleet until it has finished or somebody sends SIGINT or SIGTERM."""
    import trio

    from cpms_actors.simulator.fleet import run_fleet

    stop = trio.Event()

    async def stop_on_signal() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                stop.set()

    async def run(show: "Callable[[Progress], None] | None") -> "FleetResult":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal)
            result = await run_fleet(points, url, options, on_progress=show, stop=stop)
            nursery.cancel_scope.cancel()
        return result

    if quiet:
        return trio.run(run, None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("sessions"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sessions)

        def show(progress: "Progress") -> None:
            text = f"{progress.online}/{progress.chargers} online, {progress.energy_wh / 1000:.1f} kWh, {progress.messages} messages"
            failed = f", {progress.failures} failures" if progress.failures else ""
            bar.update(task, completed=progress.sessions, description=text + failed)

        return trio.run(run, show)


def _summarize(result: "FleetResult") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("charger", "OCPP", "transaction", "kWh", "charging", "parked", "outcome", box=None, pad_edge=False)
    for facts in result.facts[:50]:
        times = (f"{seconds / 60:.1f} min" for seconds in (facts.charging_s, facts.parking_s))
        kwh = f"{facts.energy_wh / 1000:.3f}"
        table.add_row(facts.identity, facts.version, facts.transaction or "", kwh, *times, facts.outcome)
    console.print(table)
    if len(result.facts) > 50:
        console.print(f"… and {len(result.facts) - 50} more; --json lists all")
    for failure in result.failures[:FAILURES_SHOWN]:
        console.print(failure, style="red", markup=False, highlight=False)
    if len(result.failures) > FAILURES_SHOWN:
        console.print(f"… and {len(result.failures) - FAILURES_SHOWN} more failures; --json lists all", style="red")
    console.print(
        f"{result.sessions} of {len(result.facts)} sessions completed on {result.chargers} chargers: "
        f"{result.energy_wh / 1000:.1f} kWh, "
        f"{result.messages_sent} messages sent, {result.connections} connections, {result.seconds:.1f} s"
    )


def _read_passwords(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise OperatorError("passwords", f"cannot read {file}: {error.strerror}; name a JSON file of passwords by identity") from None
    except msgspec.DecodeError as error:
        raise OperatorError("passwords", f'{file}: {error}; it should look like {{"SIM-0001": "secret"}}') from None
