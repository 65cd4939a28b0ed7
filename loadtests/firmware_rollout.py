"""A firmware rollout: half of the fleet fetches a new firmware and restarts, wave by wave, while the others charge.

It models an update in the maintenance window. Half of the chargers are in a transaction and send MeterValues every second; to the
others an operator sends UpdateFirmware in WAVES waves, spread evenly over --seconds. Each of them says Downloading, Downloaded and
Installing (FirmwareStatusNotification), restarts, boots with the new version and says Installed. The system keeps these notifications
as reports; which version a charger runs it knows from the boot.

What must hold:

- no charger refuses the call, and each is admitted again and has said Installed;
- the system says that it runs the new version;
- no answer is later than 30 s, and none is an error;
- each charger that was charging has one ended session and one charge detail record, both with the car's own energy.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from cpms_actors.simulator.options import Options
from cpms_actors.simulator.session import SessionPlan
from loadtests.all_charging import until_stopped
from loadtests.billing import billed
from loadtests.report import StormReport, Truth
from loadtests.scenario import RUDE, Desk, Fleet, Scenario
from loadtests.verdict import ANSWER_S_MAX, named

T = TypeVar("T")

WAVES: Final = 5
DOWNLOAD_S: Final = 1.0
FIRMWARE: Final = "2.0.0"  # another than chargers are born with
LOCATION: Final = f"https://firmware.invalid/vc-22/{FIRMWARE}"  # nobody fetches it


class FirmwareRollout(Scenario):
    """See the module."""

    seconds = 15.0
    seconds_help = "over which the waves are spread"

    def options(self) -> Options:
        return replace(RUDE, firmware_download_s=DOWNLOAD_S)

    def plans(self, token: str, place: float, seconds: float) -> tuple[SessionPlan, ...]:
        return (until_stopped(token),) if place < 0.5 else ()

    def run(self, fleet: Fleet, seconds: float) -> None:
        charges, updates = halves(fleet.chargers)
        fleet.until("admitted", ANSWER_S_MAX, "not in before the rollout")
        fleet.until("charging", ANSWER_S_MAX, "in no transaction before the rollout", charges)
        fleet.until("updated", seconds + 3 * ANSWER_S_MAX, "never updated", updates)
        fleet.until("admitted", ANSWER_S_MAX, "not back 30 s after the last wave")
        fleet.show_token(charges)
        fleet.until("done", ANSWER_S_MAX, "not done 30 s after the last wave")

    async def operate(self, desk: Desk, seconds: float) -> list[str]:
        charges, updates = halves(desk.chargers)
        if not (await desk.until(desk.connected, ANSWER_S_MAX) and await desk.until(lambda: desk.charging(charges), ANSWER_S_MAX)):
            return ["the chargers were not all connected, or half of them not charging, when the operator began"]
        now = datetime.now(UTC)
        refused: set[str] = set()
        for wave in range(WAVES):
            refused |= await desk.call_all(lambda dialect, _: dialect.update(LOCATION, now), updates[wave::WAVES])
            await desk.rest(seconds / WAVES)
        return [named("would not update", refused)] if refused else []

    def judge(self, report: StormReport, truth: Truth) -> list[str]:
        charges, updates = halves(report.chargers)
        old = {charger.identity for charger in updates if truth.firmware.get(charger.identity) != FIRMWARE}
        reasons = [named("not with the new firmware, by the system's account", old)] if old else []
        return [*reasons, *billed(replace(report, chargers=tuple(charges)), truth, 1)]


def halves(fleet: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Those that charge, and those that are updated."""
    half = (len(fleet) + 1) // 2
    return fleet[:half], fleet[half:]


SCENARIO = FirmwareRollout()
