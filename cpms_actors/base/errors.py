"""The tree of errors. An error says whose doing it was and what to do next.

CpmsError
├── OperatorError      the person or program that asked: a sentence with the remedy, a stable code, exit code of the CLI
├── RemoteFault        the charger's doing: becomes a CALLERROR, a close code or a parked message
└── Unavailable        a server we need did not answer: try again
"""

from typing import ClassVar


class CpmsError(Exception):
    """The root: whatever this project raises on purpose."""


class OperatorError(CpmsError):
    """An operator's request cannot be done; the text says why and what would work.

    `code` is stable: programs may compare it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class RemoteFault(CpmsError):
    """A charger broke a rule of the protocol. The subclasses live beside the rule."""


class Unavailable(CpmsError):
    """A server did not answer in time or refused for want of room. Nothing was lost by the refusal: ask again."""
