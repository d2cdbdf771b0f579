"""What people are called in rooms, for rules that look at that.

https://spec.matrix.org/v1.19/client-server-api/#conditions-1, `contains_display_name`
"""

from collections.abc import Collection, Mapping

import orjson

from homeserver.push.changes import Rules
from homeserver.storage import memberships
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection

Place = tuple[RoomNid, UserNid]


async def names_in(conn: Connection, places: Collection[Place]) -> Mapping[Place, str]:
    """How users are called in rooms; those who have no name there are missing."""
    if not places:
        return {}
    found = await memberships.events_of(conn, places)
    names = {place: orjson.loads(raw)["content"].get("displayname") for place, raw in found.items()}
    return {place: name for place, name in names.items() if isinstance(name, str)}


def look_at_names(rules: Rules) -> bool:
    """Whether any rule looks at what the user is called."""
    return any(
        condition.get("kind") == "contains_display_name"
        for kind in ("override", "underride")
        for rule in rules[kind]
        for condition in rule["conditions"]
    )
