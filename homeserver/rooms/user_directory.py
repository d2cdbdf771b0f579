"""Finding people with whom one has, or could have, to do.

By the words of the name in their profile, and by how their ID begins; never by what they are
called in a room.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

import orjson

from federation.canonical_json import JsonObject
from homeserver.accounts.name_words import words_in
from homeserver.storage import user_directory
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

MOST = 50
_OPEN = (("m.room.join_rules", ""), ("m.room.history_visibility", ""))
"""What says that a room is public: anybody may come in, or look in."""


class UserDirectory:
    """Searches.

    Args:
        process: the one that this is part of.
        everybody: whether it finds everybody of this server (`privacy.directory_of_everybody`).

    """

    def __init__(self, process: Process, *, everybody: bool) -> None:
        self._process = process
        self._everybody = everybody

    async def search(self, who: UserNid, term: str, limit: int) -> JsonObject:
        """Who is found, those with a profile first."""
        limit = max(1, min(limit, MOST))
        # What the database cannot hold begins nobody's name.
        wanted = term.encode(errors="replace").decode().replace("\0", " ").strip()
        start = "@" + wanted.removeprefix("@").lower()
        words = words_in(wanted)
        if not words or len(start) > 255:
            return {"results": [], "limited": False}
        numbers, us = self._process.numbers, self._process.server
        async with self._process.database.reader() as conn:
            keys = (await numbers.state_keys.find(conn, _OPEN)).values()
            nid = (await numbers.servers.intern(conn, [us]))[us]
            found = await user_directory.search(
                conn, who, words, start, keys, nid, limit + 1, everybody=self._everybody
            )
        return {"results": [_shown(one) for one in found[:limit]], "limited": len(found) > limit}


def _shown(found: user_directory.Found) -> JsonObject:
    profile = orjson.loads(found.profile) if found.profile else {}
    shown = {"display_name": profile.get("displayname"), "avatar_url": profile.get("avatar_url")}
    return {"user_id": found.user_id, **{k: v for k, v in shown.items() if isinstance(v, str)}}
