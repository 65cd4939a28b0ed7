"""just simulate: many seeds, in as many processes as there are cores.

just simulate --seeds 1000 --json     how many failed, and how much faster than real time it was
just simulate --seed 42               one seed again, with its history
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "charger"))  # its harness.py

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from simulation import Result, run_seed

from cpms_actors.base.settings import Logs
from cpms_actors.observe import logs


def one(seed: int, chargers: int) -> tuple[Result, float]:
    """A seed, and the CPU time it took in seconds."""
    logs.configure(Logs(level="error"))
    began = time.process_time()
    return run_seed(seed, chargers), time.process_time() - began


def many(seeds: Iterable[int], chargers: int, jobs: int, *, until_failure: bool) -> list[tuple[Result, float]]:
    """All of them; with `until_failure` those that are done when the first has failed."""
    done: list[tuple[Result, float]] = []
    wanted = list(seeds)
    console = Console(stderr=True)
    columns = TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar, ProcessPoolExecutor(jobs) as pool:
        task = bar.add_task("", total=len(wanted))
        futures = [pool.submit(one, seed, chargers) for seed in wanted]
        for future in as_completed(futures):
            done.append(future.result())
            failed = sum(bool(result.failures) for result, _ in done)
            bar.update(task, advance=1, description=f"{failed} failed" if failed else "")
            if failed and until_failure:
                pool.shutdown(cancel_futures=True)
                break
    return done


def main() -> int:
    """The exit code: 1 when a seed has failed."""
    parser = argparse.ArgumentParser(prog="just simulate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many, from 1 on")
    parser.add_argument("--seed", type=int, help="this one alone, with its history")
    parser.add_argument("--chargers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    seeds = range(1, asked.seeds + 1) if asked.seed is None else (asked.seed,)
    began = time.monotonic()
    done = many(seeds, asked.chargers, 1 if asked.seed is not None else asked.jobs, until_failure=asked.until_failure)
    cpu_s = sum(cpu for _, cpu in done)
    virtual_s = sum(result.seconds for result, _ in done)
    failed = sorted((result for result, _ in done if result.failures), key=lambda result: result.seed)
    said = {
        "seeds": len(done),
        "failures": len(failed),
        "times_real_time": round(virtual_s / cpu_s),
        "virtual_hours": round(virtual_s / 3600, 1),
        "seconds": round(time.monotonic() - began, 1),
        "chargers": asked.chargers,
        "sessions": sum(result.sessions for result, _ in done),
        "cdrs": sum(result.cdrs for result, _ in done),
        "counts": {name: sum(result.counts[name] for result, _ in done) for name in done[0][0].counts},
        "failed": [{"seed": result.seed, "failures": result.failures} for result in failed[:20]],
    }
    if asked.json:
        print(json.dumps(said, indent=2))
    else:
        _show(said, done, whole=asked.seed is not None)
    return 1 if failed else 0


def _show(said: dict[str, object], done: list[tuple[Result, float]], *, whole: bool) -> None:
    for result, _ in sorted(done, key=lambda each: each[0].seed):
        if whole or result.failures:
            print(f"seed {result.seed}:")
            print("\n".join(f"  {line}" for line in result.history))
            print("\n".join(f"  FAILED: {failure}" for failure in result.failures) or "  everything holds")
    print(
        f"{said['seeds']} seeds of {said['chargers']} chargers, {said['virtual_hours']} virtual hours, {said['sessions']} sessions,"
        f" {said['cdrs']} CDRs in {said['seconds']} s: {said['times_real_time']} times real time on a core; {said['failures']} failed"
    )


if __name__ == "__main__":
    sys.exit(main())
