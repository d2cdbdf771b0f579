"""Long lists in the JSON of an answer: their values are cut out one by one, as they come in.

So nobody has to hold the whole answer, and work on the first values begins while others are still
on their way. A value is not read: it ends where its brackets and quotes say so, and whether it is
JSON is for whoever reads it to say; one that is not spoils no other.
"""

import re
from collections.abc import Collection

import orjson

from federation.errors import ResponseFormatError, ResponseTooLargeError

_SPACE = b" \t\r\n"
_QUOTE, _COMMA, _CLOSE_LIST, _OPEN_LIST = b'",]['
_LEVELS = 3
"""Of brackets in each other that are passed over in one go: most events have no more."""
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _passing(but: bytes = b"", levels: int = 0) -> re.Pattern[bytes]:
    """Passes over what is no bracket and none of `but`, and over so many levels of brackets."""
    inner = rb'[^"\[\]{}]++|' + _STRING
    outer = rb'[^"\[\]{}%b]++|' % but + _STRING
    for _ in range(levels):
        brackets = rb"|\[(?:%b)*+\]|\{(?:%b)*+\}" % (inner, inner)
        inner, outer = inner + brackets, outer + brackets
    return re.compile(b"(?:%b)*+" % outer, re.DOTALL)


_TO_BRACKET = _passing()
_TO_DEEP_BRACKET = _passing(levels=_LEVELS)
_TO_COMMA = _passing(b",", _LEVELS)
_TO_NAME = re.compile(rb'[^"\[\]{}]*+')
_TO_QUOTE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_OPENING = re.compile(rb"[\[{]*+")
_CLOSING = re.compile(rb"[\]}]*+")


class Cutter:
    """Cuts the values of some lists out of one document.

    Args:
        names: of the lists, which are fields of the outermost object.
        depth: in how many brackets those fields stand: 2 for an object in a list.
        most: values of all lists.
        longest: bytes of a value; what is longer is left out.
        most_beside: bytes of all that is in none of the lists.

    """

    def __init__(
        self,
        names: Collection[str],
        *,
        depth: int = 1,
        most: int = 2_000_000,
        longest: int = 1 << 20,
        most_beside: int = 1 << 21,
    ) -> None:
        self._open_names = set(names)
        self._names = frozenset(names)
        self._fields_at = depth
        self._left, self._longest, self._most_beside = most, longest, most_beside
        self._beside = bytearray()
        self._at = 0
        """Up to where of that it was looked."""
        self._depth = 0
        self._in_string = False
        self._key = slice(0, 0)
        """The last string among the fields: the name of the next one."""
        self._name = ""
        self._values: _Values | None = None

    def feed(self, piece: bytes) -> dict[str, list[bytes]]:
        """The values that the next piece of the document completes, by the name of their list.

        Raises:
            ResponseFormatError: this is no such document.
            ResponseTooLargeError: there is more than there may be.

        """
        found: dict[str, list[bytes]] = {}
        left: bytes | None = piece
        while left is not None:
            if self._values is None:
                left = self._look_beside(left)
            else:
                values = self._values.feed(left)
                self._count(len(values))
                found.setdefault(self._name, []).extend(values)
                left = self._values.behind
                if left is not None:
                    self._values = None
        return found

    def close(self) -> bytes:
        """The document, in which the lists are empty. Nothing may come behind it.

        Raises:
            ResponseFormatError: it is cut off.

        """
        if self._values is not None:
            raise ResponseFormatError(f"the answer ends within its {self._name}")
        return bytes(self._beside)

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise ResponseTooLargeError("the answer lists more than there may be")

    def _look_beside(self, piece: bytes) -> bytes | None:
        """Go on where no list is; what comes behind the beginning of one, if one begins."""
        self._beside += piece
        while self._at < len(self._beside) and self._values is None and self._pass_token():
            pass
        behind = None
        if self._values is not None:
            behind = bytes(self._beside[self._at :])
            self._beside[self._at :] = b"]"
            self._at += 1
        if len(self._beside) > self._most_beside:
            raise ResponseTooLargeError("the answer is too large beside its lists")
        return behind

    def _pass_token(self) -> bool:
        """Go on to the next bracket, or the next end of a name; `False` if more has to come."""
        if self._in_string:
            return self._pass_string()
        is_among_fields = self._depth == self._fields_at
        pattern = _TO_NAME if is_among_fields else _TO_BRACKET
        self._at = _end(pattern, self._beside, self._at)
        if self._at == len(self._beside):
            return False
        what = self._beside[self._at]
        if what == _QUOTE:
            self._key = slice(self._at, self._at)
            self._in_string = True
        elif what == _OPEN_LIST and is_among_fields and (name := self._named()):
            self._begin_list(name)
        else:
            self._depth += 1 if what in b"[{" else -1
            self._key = slice(0, 0)
        self._at += 1
        return True

    def _pass_string(self) -> bool:
        self._at = _end(_TO_QUOTE, self._beside, self._at)
        if self._beside[self._at : self._at + 1] != b'"':
            return False
        self._at += 1
        self._in_string = False
        self._key = slice(self._key.start, self._at)
        return True

    def _named(self) -> str | None:
        """The name of the list that begins here, if it is one of those that are wanted."""
        key = self._beside[self._key]
        if self._beside[self._key.stop : self._at].strip(_SPACE) != b":" or not key:
            return None
        try:
            name = orjson.loads(key)
        except orjson.JSONDecodeError:
            return None
        return name if name in self._names else None

    def _begin_list(self, name: str) -> None:
        if name not in self._open_names:
            raise ResponseFormatError(f"the answer has its {name} twice")
        self._open_names.discard(name)
        self._name, self._values = name, _Values(self._longest)


class _Values:
    """What comes behind the bracket with which a list begins."""

    def __init__(self, longest: int) -> None:
        self.behind: bytes | None = None
        """What comes behind the end of the list, once it has come."""
        self._longest = longest
        self._buffer = bytearray()
        self._at = 0
        self._begin = 0
        self._depth = 0
        self._in_string = False
        self._is_first = True
        self._is_too_long = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The values that the next piece completes."""
        self._buffer += piece
        found: list[bytes] = []
        while self.behind is None and self._at < len(self._buffer) and self._pass_token(found):
            pass
        if self._at - self._begin > self._longest:
            self._is_too_long = True
            self._begin = self._at
        del self._buffer[: self._begin]
        self._at -= self._begin
        self._begin = 0
        return found

    def _pass_token(self, found: list[bytes]) -> bool:
        """Go on behind the next bracket or comma that matters; `False` if more has to come."""
        if self._in_string:
            return self._pass_string()
        pattern = _TO_DEEP_BRACKET if self._depth else _TO_COMMA
        self._at = _end(pattern, self._buffer, self._at)
        if self._at == len(self._buffer):
            return False
        what = self._buffer[self._at]
        if what == _QUOTE:
            self._in_string = True
        elif what in b"[{":
            self._go_deeper(_end(_OPENING, self._buffer, self._at) - self._at)
        elif self._depth:
            closing = _end(_CLOSING, self._buffer, self._at) - self._at
            self._go_deeper(-min(closing, self._depth))
        elif what in {_COMMA, _CLOSE_LIST}:
            self._cut(found, is_last=what == _CLOSE_LIST)
        else:
            raise ResponseFormatError("a list in the answer ends with a brace")
        self._at += 1
        return True

    def _go_deeper(self, levels: int) -> None:
        """Go on to the last of so many brackets."""
        self._depth += levels
        self._at += abs(levels) - 1

    def _pass_string(self) -> bool:
        self._at = _end(_TO_QUOTE, self._buffer, self._at)
        if self._buffer[self._at : self._at + 1] != b'"':
            return False
        self._at += 1
        self._in_string = False
        return True

    def _cut(self, found: list[bytes], *, is_last: bool) -> None:
        """A value ends here, and perhaps the list."""
        value = bytes(self._buffer[self._begin : self._at]).strip(_SPACE)
        if value and not self._is_too_long and len(value) <= self._longest:
            found.append(value)
        elif not (value or self._is_too_long or (is_last and self._is_first)):
            raise ResponseFormatError("a list in the answer lacks a value")
        self._is_first = self._is_too_long = False
        self._begin = self._at + 1
        if is_last:
            self.behind = bytes(self._buffer[self._begin :])


def _end(pattern: re.Pattern[bytes], buffer: bytearray, at: int) -> int:
    """Up to where the pattern, which may match nothing, matches."""
    match = pattern.match(buffer, at)
    return match.end() if match else at
