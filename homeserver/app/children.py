"""Processes of a server, made by `fork`, that end when their parent does.

A child inherits the reading end of a pipe that its parent never writes to: end of file there means
that the parent is gone, however it went.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PARENT_GONE = 70
"""The exit status of a child that outlived its parent."""
CANNOT_START = 3
"""The exit status of a child that will not start another time either."""

Run = Callable[[], int]
"""What a child does; answers its exit status."""


class Lifeline:
    """A pipe between a parent and its children."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def hold_on(self) -> int:
        """In a child: the descriptor that becomes readable when the parent is gone."""
        os.close(self._writing)
        return self._reading


@dataclass(frozen=True, slots=True)
class Child:
    """A process that the parent made."""

    name: str
    pid: int

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def spawn(name: str, run: Run) -> Child:
    """Make a process that does `run` and nothing after it."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(name, pid)
    status = 1
    try:
        # Ctrl-C reaches all processes of a terminal at once; it is the parent who tells us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Who has something to read again says so; until then there is nothing to do.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        status = run()
    except BaseException:  # noqa: BLE001 - there is nobody above
        traceback.print_exc()
    finally:
        os._exit(status)


def reap(children: dict[int, Child]) -> list[tuple[Child, int]]:
    """Take the children that have ended out of the mapping; each with its exit status."""
    ended = []
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        child = children.pop(pid, None)
        if child is not None:
            ended.append((child, os.waitstatus_to_exitcode(status)))
    return ended
