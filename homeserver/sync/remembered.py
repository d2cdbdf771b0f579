"""Values that are read once, while the log does not say that they are otherwise."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Remembered(Generic[_Key, _Value]):
    """Remembers those that were used last; whoever follows the log drops what changed.

    Args:
        most: how much is remembered.
        size: how much of that a value is.

    """

    def __init__(self, most: int, size: Callable[[_Value], int]) -> None:
        self._most = most
        self._size = size
        self._kept: OrderedDict[_Key, _Value] = OrderedDict()
        self._used = 0
        self.drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""

    def get(self, key: _Key) -> _Value | None:
        """A value, if it is remembered."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    async def of(self, key: _Key, read: Callable[[], Awaitable[_Value]]) -> _Value:
        """A value, read if it is not remembered."""
        known = self.get(key)
        if known is not None:
            return known
        drops = self.drops
        found = await read()
        self.keep(key, found, drops)
        return found

    def keep(self, key: _Key, value: _Value, drops: int) -> None:
        """Remember a value, unless anything was dropped since so many drops: it may be older."""
        if drops != self.drops or key in self._kept:
            return
        self._kept[key] = value
        self._used += self._size(value)
        while self._used > self._most:
            self._used -= self._size(self._kept.popitem(last=False)[1])

    def drop(self, key: _Key) -> None:
        """A value is otherwise by now."""
        self.drops += 1
        if key in self._kept:
            self._used -= self._size(self._kept.pop(key))
