"""A new firmware, from the server's call to the boot that runs it. Moments in real ms.

    begin ─▶ Downloading ─▶ Downloaded, Installing ─▶ reboot, as soon as no transaction runs and all is told ─▶ Installed

The download begins at once, whatever date the server names, and never fails. The version is the name of the file.
"""

from collections.abc import Callable
from typing import Literal

from cpms_actors.simulator.options import Options
from cpms_actors.simulator.outbox import Call, Outbox, Purpose
from cpms_actors.simulator.words import FirmwareWord, Request


class Firmware:
    """What a charge point runs, and the update that is under way. `installed` counts the updates that were carried out and told."""

    def __init__(self, options: Options, outbox: Outbox) -> None:
        self._download_ms = round(options.firmware_download_s * 1000)
        self._outbox = outbox
        self._stage: Literal["none", "downloading", "installing", "booted"] = "none"
        self._downloaded_at: int | None = None
        self._new = ""
        self._say: Callable[[FirmwareWord], Request] | None = None
        self.version = options.firmware
        self.installed = 0

    @property
    def updating(self) -> bool:
        """Whether there is something left to do or to tell."""
        return self._stage != "none"

    def begin(self, location: str, say: Callable[[FirmwareWord], Request], now: int) -> bool:
        """Fetch it; `say` makes the notifications. False: an update is under way."""
        if self.updating:
            return False
        self._stage, self._new, self._say = "downloading", location.rsplit("/", 1)[-1], say
        self._downloaded_at = now + self._download_ms
        self._tell("Downloading")
        return True

    def downloaded(self, now: int) -> bool:
        """Whether the download has ended just now, so that a reboot is due."""
        if self._downloaded_at is None or now < self._downloaded_at:
            return False
        self._stage, self._downloaded_at = "installing", None
        self._tell("Downloaded")
        self._tell("Installing")
        return True

    def rebooted(self) -> bool:
        """The charge point restarts. Whether it does so with another firmware."""
        if self._stage != "installing":
            return False
        self._stage, self.version = "booted", self._new
        return True

    def accepted(self) -> None:
        """The server has accepted a boot."""
        if self._stage == "booted":
            self._tell("Installed")

    def answered(self) -> None:
        """A notification was answered; the last one comes after each boot until it is."""
        if self._stage == "booted":
            self._stage = "none"
            self.installed += 1

    def next_due(self) -> int | None:
        """When the download ends."""
        return self._downloaded_at

    def _tell(self, word: FirmwareWord) -> None:
        assert self._say is not None  # an update is under way
        self._outbox.call(Call(Purpose.FIRMWARE, self._say(word)))
