"""What the answers of several questions are made of: quantiles, targets, and a table of one line."""

from collections.abc import Mapping, Sequence
from typing import Any


def quantile_ms(ordered: Sequence[float], share: float) -> float:
    """Of seconds in ascending order, in ms; 0 without any."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else 0.0


def at_most(found: float, bound: float) -> dict[str, Any]:
    """A target that is not to be exceeded, as JSON says it."""
    return {"found": found, "at_most": bound, "met": found <= bound}


def at_least(found: float, bound: float) -> dict[str, Any]:
    """A target that is to be reached."""
    return {"found": found, "at_least": bound, "met": found >= bound}


def verdict(figures: Mapping[str, Any], name: str) -> str:
    """A word for a target of the figures."""
    return "met" if figures["targets"][name]["met"] else "missed"


def table(figures: Mapping[str, Any], names: Sequence[str]) -> str:
    """Some of the figures as a line of a Markdown table, under their names."""
    head = f"| {' | '.join(name.replace('_', ' ') for name in names)} |\n|{'--:|' * len(names)}\n"
    return f"{head}| {' | '.join(str(figures[name]) for name in names)} |"
