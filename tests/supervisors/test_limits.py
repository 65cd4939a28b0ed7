"""A process that holds connections may open as many files as the system lets it, and one that nobody waits for lets others go first."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

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
print(os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/autogroup").read_text().split()[-1] if os.getsid(0) == os.getpid() else "")
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="a system that does not weigh sessions")
def test_who_gives_way_is_nice_and_so_is_the_session_if_it_is_its_own() -> None:
    autogroup = Path("/proc/self/autogroup").read_text()
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    told = [
        subprocess.run([sys.executable, "-c", GIVES_WAY], capture_output=True, text=True, check=True, start_new_session=leads)
        for leads in (True, False)
    ]
    assert [run.stdout.split() for run in told] == [[str(ours + 7), "7"], [str(ours + 7)]]
    assert Path("/proc/self/autogroup").read_text() == autogroup  # the session of who started it is as it was
