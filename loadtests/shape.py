"""The shape of a load: how many of the fleet are there, and when. Pure; Locust's own form of it is in `storm`."""

from collections.abc import Sequence

from msgspec import Struct


class Stage(Struct, frozen=True):
    """A share of the fleet is there `at_s` after the beginning; until then it grows evenly from the stage before, first from none."""

    at_s: float
    share: float


def share_at(shape: Sequence[Stage], at_s: float) -> float:
    """How much of the fleet is there at a moment; all of it from the last stage on."""
    before = Stage(0.0, 0.0)
    for stage in shape:
        if at_s < stage.at_s:
            return before.share + (stage.share - before.share) * (at_s - before.at_s) / (stage.at_s - before.at_s)
        before = stage
    return 1.0
