"""Tokens that say how much of what happens somebody has seen: one grammar for all endpoints.

A token stands between events: in a room, all with a room order up to the token's are before it.

https://spec.matrix.org/v1.19/client-server-api/#pagination
"""

import re
from typing import NamedTuple

from homeserver.errors import InvalidParam

ORDER_BITS = 24
"""The room order of a live event is its position, shifted by so many bits; history is between."""

# No longer than what fits into 64 bits, also as a room order. What stands behind `~` is for
# whoever gave the token only: a position of sliding sync is one of `/messages`, too.
_FORM = re.compile(
    r"h(\d{1,9})\.(\d{1,11})\.(\d{1,11})\.(\d{1,15})(?:\.(-?\d{1,18}))?(?:s(\d{1,15}))?(?:~\d{1,18}\.\d{1,18})?",
    re.ASCII,
)
_LAST = (1 << ORDER_BITS) - 1


class StreamToken(NamedTuple):
    """A place in everything that a client can be shown."""

    epoch: int
    """Of the installation; other ones are from before a backup was restored."""
    pos: int
    """In the log; all up to it was seen."""
    to_device: int = 0
    """Position of the last to-device message that was delivered, or more where none is left."""
    ephemeral: int = 0
    """Milliseconds: the last change of typing or presence that was seen."""
    order: int | None = None
    """A place in one room, where that is not simply the log's."""
    sticky: int | None = None
    """In the log; what sticks was seen up to it, where that is not all up to `pos`."""

    @property
    def room_order(self) -> int:
        """The highest room order before the token, in any room."""
        return (self.pos << ORDER_BITS) + _LAST if self.order is None else self.order

    def __str__(self) -> str:
        """As it is sent."""
        text = f"h{self.epoch}.{self.pos}.{self.to_device}.{self.ephemeral}"
        text = text if self.order is None else f"{text}.{self.order}"
        return text if self.sticky is None else f"{text}s{self.sticky}"

    @classmethod
    def parse(cls, text: str) -> "StreamToken":
        """Read a token, or raise `InvalidParam`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidParam("this is not a token of this server")
        epoch, pos, to_device, ephemeral, order, sticky = found.groups()
        return cls(
            int(epoch),
            int(pos),
            int(to_device),
            int(ephemeral),
            int(order) if order else None,
            int(sticky) if sticky else None,
        )
