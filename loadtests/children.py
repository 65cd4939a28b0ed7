"""Processes that the laboratory starts, and that end with it, however it ends."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import IO, Final, TypeVar

import msgspec

from cpms_actors.base.errors import Unavailable
from cpms_actors.node import exec_child

Answer = TypeVar("Answer")

STOP_S_MAX: Final = 60.0  # a stack gives a worker 40 to hand its chargers over: to kill it meanwhile would kill that
_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def child(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, log: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program, by its whole path, with pipes for stdin and stdout; stderr goes to `log`, or is this process's own.

    At the end of the block it is asked to stop, and after STOP_S_MAX killed. An interruption waits until the child is known to the
    block: it could be neither stopped nor found otherwise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        process = subprocess.Popen(
            exec_child.command(arguments),  # the kernel stops it when this process is gone
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the laboratory, which stops its children in order
            preexec_fn=prepare,
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield process
    finally:
        _end(process)


@contextmanager
def killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
    """Kill it if the block takes longer. An interruption leaves no thread that this process would wait for."""
    timer = Timer(seconds, process.kill)
    timer.daemon = True
    try:
        timer.start()
        yield
    finally:
        timer.cancel()


def ask(process: "subprocess.Popen[bytes]", line: bytes, answer: type[Answer], seconds: float) -> Answer:
    """What a child answers to a line: one line of JSON. Raises Unavailable when it does not, or not in time; then it is killed."""
    assert process.stdin is not None  # `child` asked for pipes
    assert process.stdout is not None
    with killed_after(process, seconds):
        try:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            told = process.stdout.readline()
        except BrokenPipeError:
            told = b""
    try:
        return msgspec.json.decode(told, type=answer)
    except msgspec.DecodeError:
        raise Unavailable("the process of the chargers failed before it could report") from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was never sent cannot be flushed any more
                pipe.close()
