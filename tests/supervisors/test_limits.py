"""A process that holds connections may open as many files as the system lets it, and one that nobody waits for lets others go first."""

import os
import resource
import subprocess
import sys
from pathlib import Path

RAISED = """
import resource
from supervisors.limits import raise_files
print(raise_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_what_the_shell_allows_is_not_what_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    run = subprocess.run(
        [sys.executable, "-c", RAISED],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [str(hard)] * 3


GIVES_WAY = """
import os
from pathlib import Path
from supervisors.limits import give_way
give_way(7)
session = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), session.read_text() if session.exists() else "")
"""


def _weight_of_session() -> list[str]:
    """Its nice. Linux without autogroups has no such file, and there is nothing in it for a process in a control group of its own."""
    session = Path("/proc/self/autogroup")
    return session.read_text().split()[-1:] if session.exists() else []


def test_who_gives_way_is_nice_and_so_is_the_session_if_it_is_its_own() -> None:
    ours, session = os.getpriority(os.PRIO_PROCESS, 0), _weight_of_session()
    for leads in (True, False):
        run = subprocess.run([sys.executable, "-c", GIVES_WAY], capture_output=True, text=True, check=True, start_new_session=leads)
        nice, *told = run.stdout.split()
        assert (int(nice), told[-1:]) == (ours + 7, ["7"] if session and leads else session)
    assert _weight_of_session() == session  # that of who started it is as it was
