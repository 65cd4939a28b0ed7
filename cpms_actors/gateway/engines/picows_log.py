"""What picows takes for its logger."""

from typing import Any, Final

from cpms_actors.observe import logs

log = logs.get("gateway.picows")


class _LibraryLog:
    """Its own bugs are worth a line, a peer's mistakes one at debug, its chatter none."""

    def isEnabledFor(self, level: int) -> bool:
        return False

    def log(self, *_: Any) -> None:
        pass

    debug = info = log

    def warning(self, text: str, *arguments: Any) -> None:
        if logs.debug_on:
            log.debug("picows", text=text % arguments)

    error = warning

    def exception(self, text: str, *arguments: Any) -> None:
        log.exception("picows", text=text % arguments)


LIBRARY_LOG: Final = _LibraryLog()
