"""Children that cannot outlive their parent: `cpms_actors.node.exec_child`."""

import contextlib
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cpms_actors.node import exec_child


def test_the_program_gets_its_arguments_and_its_exit_code_comes_back() -> None:
    argv = exec_child.command([sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "a b", "--c"])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.returncode) == ("['a b', '--c']\n", 7)


def test_the_program_takes_the_place_of_the_starter() -> None:
    """One process, so that a signal sent to the child reaches the program."""
    argv = exec_child.command([sys.executable, "-c", "import os; print(os.getpid())"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        said, _ = child.communicate(timeout=20)
    assert int(said) == child.pid


def test_output_goes_to_the_file_for_the_owner_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("of the run before")
    argv = exec_child.command([sys.executable, "-c", "import sys; print(1); print(2, file=sys.stderr)"], output=output)
    assert subprocess.run(argv, capture_output=True, check=True, timeout=20).stdout == b""
    assert sorted(output.read_text().split()) == ["1", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_dies_with_its_parent() -> None:
    program = (
        "import subprocess, sys, time\n"
        "from cpms_actors.node import exec_child\n"
        "child = subprocess.Popen(exec_child.command([sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)']),"
        " stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_whose_parent_is_already_gone_does_not_start() -> None:
    argv = list(exec_child.command([sys.executable, "-c", "print('started')"]))
    argv[3] = str(2**22 + 1)  # no process has this number
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the parent is gone" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_user_for_good() -> None:
    wanted = pwd.getpwnam("nobody")
    argv = exec_child.command(["/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME"], user="nobody")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20, cwd="/")
    user, group, groups, home = done.stdout.splitlines()
    assert (int(user), int(group), home) == (wanted.pw_uid, wanted.pw_gid, wanted.pw_dir)
    assert "0" not in groups.split()


def test_the_starter_is_quick() -> None:
    """It runs before every child: the standard library's light part only."""
    started = time.monotonic()
    for _ in range(5):
        subprocess.run(exec_child.command(["/bin/true"]), check=True, timeout=20)
    assert (time.monotonic() - started) / 5 < 0.5
