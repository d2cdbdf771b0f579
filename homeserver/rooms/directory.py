"""The list of public rooms, ours and others'.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from federation.canonical_json import JsonObject
from federation.errors import FederationError, HttpError
from federation.identifiers import ServerName
from federation.net.target import encode_target
from homeserver.errors import BadGateway, Forbidden, InvalidParam
from homeserver.peers.peers import Peers
from homeserver.rooms.describing import KEYS, described, federates, may_be_listed, told
from homeserver.storage import public_rooms
from homeserver.storage.process import Process

MOST = 500
"""Rooms of a page."""
_MOST_LISTED = 10_000


class Asked(NamedTuple):
    """Which of the rooms somebody wants to see."""

    limit: int = 100
    since: str | None = None
    term: str | None = None
    """To be found in the name, the topic or the alias."""
    types: Sequence[str | None] | None = None
    """`None` among them stands for rooms without a type."""
    network: str | None = None
    """Of a third-party network alone: its `instance_id`."""
    all_networks: bool = False


class Directory:
    """Lists public rooms.

    Args:
        process: the one that this is part of.
        peers: for other servers' lists.

    """

    def __init__(self, process: Process, peers: Peers) -> None:
        self._process = process
        self._peers = peers

    async def local(self, asked: Asked, *, for_servers: bool = False) -> JsonObject:
        """A page of our list; for other servers, of rooms that their people can join.

        Raises:
            InvalidParam: `since` is not of this list.

        """
        start, limit = _read(asked.since), max(1, min(asked.limit, MOST))
        rooms = await self._listed(asked, for_servers=for_servers)
        answer: JsonObject = {
            "chunk": rooms[start : start + limit],
            "total_room_count_estimate": len(rooms),
        }
        if start + limit < len(rooms):
            answer["next_batch"] = str(start + limit)
        if start:
            answer["prev_batch"] = str(max(0, start - limit))
        return answer

    async def remote(self, server: ServerName, asked: Asked) -> JsonObject:
        """A page of another server's list.

        Raises:
            Forbidden: it does not show it to us.
            BadGateway: it does not answer as it should.

        """
        body: JsonObject = {"limit": max(1, min(asked.limit, MOST))}
        body |= {"since": asked.since} if asked.since else {}
        body |= {"include_all_networks": True} if asked.all_networks else {}
        body |= {"third_party_instance_id": asked.network} if asked.network else {}
        wanted: JsonObject = {"generic_search_term": asked.term} if asked.term else {}
        wanted |= {"room_types": list(asked.types)} if asked.types is not None else {}
        if wanted:
            body["filter"] = wanted
        target = encode_target("_matrix", "federation", "v1", "publicRooms")
        try:
            return _checked(await self._peers.client.post_json(server, target, body))
        except HttpError as error:
            if error.status in {401, 403}:
                raise Forbidden("the server does not show its list to us") from error
            raise BadGateway(f"the server answered {error.status}") from error
        except FederationError as error:
            raise BadGateway("the server does not answer as it should") from error

    async def _listed(self, asked: Asked, *, for_servers: bool) -> list[JsonObject]:
        async with self._process.database.reader() as conn:
            counted = await public_rooms.published(
                conn,
                self._process.server,
                _MOST_LISTED,
                asked.network,
                all_networks=asked.all_networks,
            )
            keys = await self._process.numbers.state_keys.find(conn, KEYS)
            states = await public_rooms.states(conn, [c.room for c in counted], keys.values())
        found = [
            described(one, states[one.room])
            for one in counted
            if not for_servers or federates(states[one.room])
        ]
        return [room for room in found if may_be_listed(room) and _is_wanted(room, asked)]


def _is_wanted(room: JsonObject, asked: Asked) -> bool:
    if asked.types is not None and room.get("room_type") not in asked.types:
        return False
    if not asked.term:
        return True
    texts = (room.get(name, "") for name in ("name", "topic", "canonical_alias"))
    return any(asked.term.casefold() in text.casefold() for text in texts)


def _read(since: str | None) -> int:
    if not since:
        return 0
    if not since.isascii() or not since.isdecimal() or len(since) > 9:
        raise InvalidParam("since is not a token of this list")
    return int(since)


def _checked(answer: JsonObject) -> JsonObject:
    """What another server lists, as far as it can be a list of rooms."""
    chunk = answer.get("chunk")
    listed = chunk[:MOST] if isinstance(chunk, list) else []
    found: dict[str, Any] = {"chunk": [room for one in listed if (room := told(one))]}
    kinds = {"next_batch": str, "prev_batch": str, "total_room_count_estimate": int}
    return found | {k: answer[k] for k, kind in kinds.items() if isinstance(answer.get(k), kind)}
