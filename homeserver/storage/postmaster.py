"""Finding the PostgreSQL that serves a data folder, and what a dead one left behind.

Knows the layout of `postmaster.pid` and of Linux's `/proc`. Numbers of processes are used again, so
one that stands in a file is believed only if that process really serves the folder.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Postmaster(NamedTuple):
    """The first process of a PostgreSQL that runs."""

    pid: int
    port: int
    socket_folder: str
    """Empty until there is a socket."""


def find_postmaster(data: Path) -> Postmaster | None:
    """The one that serves `data`, a folder without symbolic links in its path."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        found = Postmaster(int(lines[0]), int(lines[3]), lines[4])
    except (OSError, ValueError, IndexError):
        return None
    return found if _serves(found.pid, data) else None


def processes_in(data: Path) -> set[int]:
    """The processes whose working directory is `data`, as it is of each of PostgreSQL's.

    Those of other users are missing where we may not look at them.
    """
    return {int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit() and _is_in(e, data)}


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"


def _serves(pid: int, data: Path) -> bool:
    process = Path(f"/proc/{pid}")
    if not is_alive(pid):
        return False
    if _is_in(process, data):
        return True
    # Root without CAP_SYS_PTRACE, as in containers, sees of others' processes only this.
    with suppress(OSError):
        return os.fsencode(data) in (process / "cmdline").read_bytes().split(b"\0")
    return False


def _is_in(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return (process / "cwd").readlink() == folder
    return False
