"""The command line of the bench.

python -m bench NAME [--json] [--seconds S] [--connections N] [--rounds N] [--idle N] [--server NAME=COMMAND]… [--write]
"""

import argparse
import sys
from asyncio import CancelledError
from collections.abc import Callable
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bench.question import Options, Outcome, Question
from cpms_actors.base.errors import CpmsError
from cpms_actors.base.settings import Logs
from cpms_actors.observe import logs

# Modules of bench, imported when they are asked.
QUESTIONS: Final = ("gateway", "admission", "pipeline", "sessions", "memory", "scale", "outage", "handover", "peers", "turn")
ALL: Final = "all"
WRITTEN: Final = {  # whose answer is kept, and what its section of the results is called
    "gateway": "What a message costs, and an idle charger",
    "admission": "How many chargers a worker lets in per second",
    "pipeline": "What a MeterValues costs, from the frame to the row",
    "sessions": "How many full sessions a second",
    "memory": "What an idle charger weighs",
    "scale": "What a message costs among many connections",
    "outage": "Everybody comes back at once",
    "handover": "What a charger sees of a rollout",
    "peers": "What a charger's day costs, beside servers of the registries",
}
RESULTS: Final = Path(__file__).with_name("RESULTS.md")
INTERRUPTED: Final = 130

T = TypeVar("T", int, float)


def main() -> int:
    """Answer one question; the exit code is 0 whether targets are met or not, 2 when there is no answer."""
    parser = argparse.ArgumentParser(prog="bench", description="Questions about speed and memory; its file explains each.")
    parser.add_argument("name", choices=(*QUESTIONS, ALL), help=f"{ALL}: one after the other, in less than twenty minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
    parser.add_argument("--seconds", type=_positive(float), default=0.0, help="of one measurement [default: each its own]")
    parser.add_argument("--connections", type=_positive(int), default=0, help="chargers that talk [default: each its own, most 400]")
    parser.add_argument("--rounds", type=_positive(int), default=3, help="in which every server is measured once [default: 3]")
    parser.add_argument("--idle", type=_positive(int), default=0, help="chargers that are connected [default: each its own, most 5000]")
    parser.add_argument(
        "--server", action="append", default=[], metavar="NAME=COMMAND", help="one more server for peers; its {port} is replaced"
    )
    parser.add_argument("--write", action="store_true", help="keep the answer in bench/RESULTS.md")
    asked = parser.parse_args()
    if asked.write and asked.name not in (*WRITTEN, ALL):
        *some, last = WRITTEN
        parser.error(f"--write keeps the answers of {', '.join(some)} and {last}, and of nothing else")
    if asked.server and asked.name != "peers":
        parser.error("--server adds a server to peers, and to nothing else")
    logs.configure(Logs(level="warning"))
    options = Options(asked.seconds, asked.connections, asked.rounds, asked.idle, tuple(asked.server), _say)
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    for name in QUESTIONS if asked.name == ALL else (asked.name,):
        question: Question = import_module(f"bench.{name}").run
        try:
            outcomes[name] = question(options)
        except CpmsError as error:
            failed[name] = str(error)
            _say(str(error))
        except (KeyboardInterrupt, CancelledError):
            return INTERRUPTED
        else:
            if asked.write and name in WRITTEN:
                RESULTS.write_text(with_section(RESULTS.read_text(), WRITTEN[name], name, outcomes[name].text))
    if not asked.json:
        sys.stdout.write("\n".join(outcome.text for outcome in outcomes.values()))
    elif asked.name == ALL:
        figures = {name: dict(outcome.figures) for name, outcome in outcomes.items()}
        sys.stdout.write(msgspec.json.encode(figures | {name: {"error": why} for name, why in failed.items()}).decode() + "\n")
    elif outcomes:
        sys.stdout.write(msgspec.json.encode(outcomes[asked.name].figures).decode() + "\n")
    return 2 if failed else 0


def with_section(results: str, title: str, name: str, text: str) -> str:
    """The results with this answer in its place; the others stay as they are."""
    head, *sections = results.split("\n## ")
    kept = {section.partition("\n")[0]: section for section in sections}
    kept[title] = f"{title}\n\nWritten by `just bench {name} --write`.\n\n{text.rstrip()}\n"
    return "\n## ".join((head.rstrip() + "\n", *(section.rstrip() + "\n" for section in kept.values())))


def _positive(kind: Callable[[str], T]) -> Callable[[str], T]:
    """The type of an argument that must be more than nothing."""

    def positive(text: str) -> T:
        value = kind(text)
        if not 0 < value < inf:
            raise ValueError
        return value

    return positive


def _say(sentence: str) -> None:
    sys.stderr.write(f"bench: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
