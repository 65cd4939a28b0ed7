"""Believable plans for a fleet: cars, batteries and drivers drawn from a seeded generator, the same for the same seed."""

from collections.abc import Sequence
from random import Random

from cpms_actors.simulator.curve import ChargeCurve
from cpms_actors.simulator.session import SessionPlan

# (power in W, battery in Wh): a plug-in hybrid, three cars at AC posts, two at DC chargers.
CARS = (
    (3_700.0, 12_000.0),
    (7_400.0, 40_000.0),
    (11_000.0, 58_000.0),
    (22_000.0, 75_000.0),
    (50_000.0, 64_000.0),
    (150_000.0, 77_000.0),
)


def draw_plan(
    random: Random, tokens: Sequence[str], charging_s: float, parking_s: float, meter_interval_s: float = 60.0
) -> SessionPlan:
    """One session of about the given lengths (0.75 to 1.25 times), whole seconds so that a person can check the bill.

    A car that would be full before the time is up is drawn emptier, so that both periods last as planned.
    """
    power_w, capacity_wh = random.choice(CARS)
    charge_s, park_s = (float(round(seconds * random.uniform(0.75, 1.25))) for seconds in (charging_s, parking_s))
    curve = ChargeCurve(power_w, capacity_wh, round(random.uniform(0.1, 0.75), 2))
    while curve.full_after_s() <= charge_s and curve.soc_start > 0.05:
        curve = ChargeCurve(power_w, capacity_wh, round(curve.soc_start - 0.05, 2))
    return SessionPlan(
        token=random.choice(tokens),
        after_s=round(random.uniform(2, 20)),
        authorize_after_s=round(random.uniform(2, 15)),
        charging_s=charge_s,
        parking_s=park_s,
        unplug_after_s=round(random.uniform(2, 10)),
        meter_interval_s=meter_interval_s,
        curve=curve,
    )


def duration_s(plans: Sequence[SessionPlan]) -> float:
    """Station seconds that the plans take one after the other, without what lasts until somebody ends it."""
    return sum(p.after_s + (p.authorize_after_s or 0) + (p.charging_s or 0) + (p.parking_s or 0) + p.unplug_after_s for p in plans)
