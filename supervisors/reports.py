"""What a supervisor tells about its children: one kind of record, handed to one callback, so that nothing fails in silence."""

import logging
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias


class Happening(Enum):
    """What happened to a child or a task."""

    started = "started"
    finished = "finished"  # it returned and is not to be restarted
    failed = "failed"  # it raised and is not to be restarted
    restarting = "restarting"  # it ended and will be started again
    overdue = "overdue"  # told to stop, it has not by its deadline; it is still waited for
    gave_up = "gave_up"  # its restart was one too many: the supervisor stops
    task_failed = "task_failed"  # a temporary task raised


class Report(NamedTuple):
    """One happening. `error` is the exception behind it, if there is one."""

    supervisor: str
    happening: Happening
    child: str
    error: BaseException | None = None


Reporter: TypeAlias = Callable[[Report], None]  # must not raise

_LOG = logging.getLogger("supervisors")
_QUIET = frozenset({Happening.started, Happening.finished})


def log_report(report: Report) -> None:
    """The default: started and finished at level debug, all else as a warning with the traceback."""
    level = logging.DEBUG if report.happening in _QUIET else logging.WARNING
    _LOG.log(level, "%s: %s %s", report.supervisor, report.child, report.happening.value, exc_info=report.error)
