"""How far the processes of this host have seen the log, without asking the database.

A page of memory that all of them share, made before the fork: each process writes the highest
position it has committed or read into a place of its own, and reads everybody's. Whoever is behind
the highest must catch up before it refuses or answers anything.
"""

import mmap
from collections.abc import Sequence

_WORD = 8


class SharedPositions:
    """One 64-bit position for each process.

    Make it before forking; then every process takes the view of its own `place`.
    """

    def __init__(self, processes: int) -> None:
        self._page = mmap.mmap(-1, processes * _WORD)
        # Aligned words: a reader sees the old or the new position, never half of each.
        self._words: memoryview = memoryview(self._page).cast("q")

    @property
    def all(self) -> Sequence[int]:
        """Every process's position."""
        return self._words.tolist()

    def highest(self) -> int:
        """What somebody on this host has seen."""
        return max(self._words)

    def raise_to(self, place: int, position: int) -> None:
        """Tell the others that this process has seen `position`."""
        if position > self._words[place]:
            self._words[place] = position

    def close(self) -> None:
        """Give the page back; only this process's view of it."""
        self._words.release()
        self._page.close()
