"""A process that holds connections may open as many files as the system lets it, and one that nobody waits for lets others go first."""

import json
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


MADE_AS_OTHERS_GO = """
import gc
from supervisors.limits import calm_the_collector, look_at_the_young
calm_the_collector()
held = [[] for _ in range(50_000)]
gc.collect()
most = {False: 0, True: 0}
for looks in most:
    look_at_the_young()
    for number in range(len(held)):
        held[number] = [number]  # one comes and one goes
        if number % 1000 == 999:
            most[looks] = max(most[looks], len(gc.get_objects(generation=0)))
            if looks:
                look_at_the_young()
print(most[False], most[True])
"""


def test_where_as_many_objects_come_as_go_the_collector_is_asked_to_look_or_it_has_all_of_them_to_look_at_one_day() -> None:
    run = subprocess.run([sys.executable, "-c", MADE_AS_OTHERS_GO], capture_output=True, text=True, check=True)
    unasked, asked = map(int, run.stdout.split())
    assert unasked > 40_000
    assert asked < 2_000


GIVES_WAY = """
import json, os
from pathlib import Path
from supervisors.limits import give_way
session = Path("/proc/self/autogroup")
weight = lambda: session.read_text().split()[-1:] if session.exists() else []
before = weight()
give_way(7)
print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), before, weight()]))
"""


def _session() -> str:
    """The session's name and nice. Linux without autogroups has no such file, and a session may be in none: its file is empty then."""
    group = Path("/proc/self/autogroup")
    return group.read_text() if group.exists() else ""


@pytest.mark.parametrize("leads", [True, False])
def test_who_gives_way_is_nice_and_so_is_the_session_if_it_is_its_own(leads: bool) -> None:
    ours, session = os.getpriority(os.PRIO_PROCESS, 0), _session()
    run = subprocess.run([sys.executable, "-c", GIVES_WAY], capture_output=True, text=True, check=True, start_new_session=leads)
    # A new session may have a group where ours has none, so it says itself what it had.
    nice, before, after = json.loads(run.stdout)
    assert (nice, after) == (ours + 7, ["7"] if before and leads else before)
    assert _session() == session  # that of who started it is as it was
