"""The whole system on the reference engine: trio-websocket in the guest loop instead of picows in the host loop."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from running import RunningCpms
from station import BOOT, Session16, Session201, station


def test_a_session_of_each_kind_is_billed_on_the_reference_engine() -> None:
    directory = Path(tempfile.mkdtemp(prefix="cpms-up-"))
    running = RunningCpms(directory, CPMS_GATEWAY_ENGINE="trio-websocket")
    try:
        for kind in (Session16, Session201):
            charger = f"REF-{kind.version}"
            running.add_charger(charger)
            running.add_token(f"T-{charger}")
            session = kind(charger, f"T-{charger}")

            async def script(session: Session16 | Session201 = session, charger: str = charger) -> None:
                async with station(running.ws_url, charger, session.version, patience_s=5) as s:
                    await s.call("BootNotification", BOOT[session.version])
                    await session.begin(s, 1000)
                    await session.meter(s, 10, 2000)
                    await session.end(s, 20, 3000)

            asyncio.run(script())
            (cdr,) = running.until(lambda charger=charger: running.cdrs(charger), lambda cdrs: len(cdrs) == 1)
            assert (cdr.energy_wh, cdr.total_incl_minor) == (2000, 100)
    finally:
        running.close()
        shutil.rmtree(directory, ignore_errors=True)
