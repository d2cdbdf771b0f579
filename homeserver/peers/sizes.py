"""How much goes into one transaction, for servers to which one was too large."""

import orjson

from homeserver.storage.numbers import ServerNid

_MOST_SERVERS = 10_000


class Sizes:
    """Remembers it, for as long as somebody has the duty to send.

    Args:
        most: events, and as many EDUs, for any other server.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._smaller: dict[ServerNid, int] = {}

    def of(self, server: ServerNid) -> int:
        """How many events, and as many EDUs, a server is sent at a time."""
        return self._smaller.get(server, self._most)

    def halve(self, server: ServerNid, content: bytes) -> bool:
        """A transaction was too large for a server; false: there is but one thing in it."""
        body = orjson.loads(content)
        count = max(len(body["pdus"]), len(body["edus"]))
        if count < 2:
            return False
        if len(self._smaller) >= _MOST_SERVERS:
            self._smaller.clear()
        self._smaller[server] = count // 2
        return True
