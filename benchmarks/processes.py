"""What processes cost, as the kernel tells it."""

import os
from pathlib import Path
from typing import NamedTuple

from benchmarks.server import Running

_TICKS = os.sysconf("SC_CLK_TCK")


class Costs(NamedTuple):
    """What a server has cost since it began."""

    cpu: float
    """Seconds, without its database."""
    database: float
    """Seconds."""
    peak: int
    """Bytes of memory that its largest process ever held."""


def costs_of(running: Running) -> Costs:
    """What a server has cost so far."""
    parents = _parents()
    database = _below(int(running.postmaster), parents)
    own = _below(running.process.pid, parents) - database
    return Costs(
        sum(map(_seconds, own)), sum(map(_seconds, database)), max(map(_peak, own), default=0)
    )


def _parents() -> dict[int, int]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            stat = _stat(int(folder.name))
            if stat:
                found[int(folder.name)] = int(stat[1])
    return found


def _below(top: int, parents: dict[int, int]) -> set[int]:
    found = {top}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _seconds(pid: int) -> float:
    """Of the process and those of its children that have ended."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def _stat(pid: int) -> list[str]:
    """The fields behind the name: state, parent, and so on; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
