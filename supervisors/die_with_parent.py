"""Become a program that dies with its parent: `python -I -S die_with_parent.py SIGNAL PARENT PROGRAM [ARGUMENT ...]`. Linux only.

The request to the kernel (prctl PR_SET_PDEATHSIG) is made by the process itself and survives exec, so this small program makes it and
then becomes PROGRAM, under the same process id. That is why it is a file of its own and imports nothing of this package: the
alternative, code between fork and exec of the parent, is not safe once the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NOT_EXECUTABLE = 127  # as a shell says it


def main(argv: list[str]) -> None:
    """Does not return: it becomes the program, or exits."""
    death_signal, parent, program = int(argv[0]), int(argv[1]), argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"cannot ask to die with the parent: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent died first")  # between the fork and the request, so no signal will come
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so across exec
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"cannot run {program[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_EXECUTABLE)


if __name__ == "__main__":
    main(sys.argv[1:])
