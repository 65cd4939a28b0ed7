"""A process that holds connections may open as many files as the system lets it."""

import resource
import subprocess
import sys

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
