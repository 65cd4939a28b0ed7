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
print(os.getpriority(os.PRIO_PROCESS, 0), session.read_text().split()[-1] if session.exists() else "no weight")
"""


def _weight_of_session() -> str:
    session = Path("/proc/self/autogroup")
    return session.read_text().split()[-1] if session.exists() else "no weight"


def test_who_gives_way_is_nice_and_so_is_the_session_if_it_is_its_own() -> None:
    ours, session = os.getpriority(os.PRIO_PROCESS, 0), _weight_of_session()
    told = [
        subprocess.run([sys.executable, "-c", GIVES_WAY], capture_output=True, text=True, check=True, start_new_session=leads)
        for leads in (True, False)
    ]
    own = session if session == "no weight" else "7"
    assert [run.stdout.strip() for run in told] == [f"{ours + 7} {own}", f"{ours + 7} {session}"]
    assert _weight_of_session() == session  # that of who started it is as it was
