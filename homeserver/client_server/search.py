"""Finding what was said.

https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

import re
from typing import Annotated, Any, Literal

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.filters import RoomEventFilter
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader_of_messages, token
from homeserver.errors import InvalidParam
from homeserver.http import Json, Request, Routes
from homeserver.rooms.searching import MOST_AROUND, Criteria, Result
from homeserver.storage.batch import SearchKey

routes = Routes("client")

LONGEST = 1000
"""Characters of what is searched for."""
_KEYS = {
    "content.body": SearchKey.BODY,
    "content.name": SearchKey.NAME,
    "content.topic": SearchKey.TOPIC,
}
Limit = Annotated[int, msgspec.Meta(ge=0)]


class EventContext(msgspec.Struct):
    """How much around each result."""

    before_limit: Limit = 5
    after_limit: Limit = 5
    include_profile: bool = False


class Group(msgspec.Struct):
    """By what results are told apart."""

    key: Literal["room_id", "sender"]


class Groupings(msgspec.Struct):
    """How results are told apart."""

    group_by: list[Group] = []


class RoomEvents(msgspec.Struct):
    """`Room Events Criteria`."""

    search_term: str
    keys: list[Literal["content.body", "content.name", "content.topic"]] | None = None
    filter: RoomEventFilter = RoomEventFilter()
    order_by: Literal["recent", "rank"] = "rank"
    event_context: EventContext | None = None
    include_state: bool = False
    groupings: Groupings | None = None


class Categories(msgspec.Struct):
    """What kinds of things are searched."""

    room_events: RoomEvents | None = None


class SearchBody(msgspec.Struct):
    """What is looked for."""

    search_categories: Categories


class SearchQuery(msgspec.Struct):
    """Which page."""

    next_batch: str | None = None


@routes.post("/_matrix/client/v3/search", auth=True, allows=["suspended"])
async def search(
    request: Request, house: House, query: SearchQuery, body: SearchBody, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search"""
    del request
    asked = body.search_categories.room_events
    if asked is None:
        return {"search_categories": {}}
    reader = await reader_of_messages(house, who)
    found = await house.searching.find(reader, _criteria(asked), token(query.next_batch))
    answer: JsonObject = {
        "count": found.total,
        "highlights": sorted(set(re.findall(r"\w+", asked.search_term.lower()))),
        "results": [_shown(one, asked) for one in found.results],
    }
    if asked.groupings is not None:
        events = [one.event for one in found.results]
        answer["groups"] = {g.key: _grouped(events, g.key) for g in asked.groupings.group_by}
    if asked.include_state:
        answer["state"] = found.states
    if found.next is not None:
        answer["next_batch"] = str(found.next)
    return {"search_categories": {"room_events": answer}}


def _criteria(asked: RoomEvents) -> Criteria:
    if len(asked.search_term) > LONGEST:
        raise InvalidParam(f"a search term has at most {LONGEST} characters")
    around = asked.event_context
    return Criteria(
        term=asked.search_term.replace("\0", " "),
        keys=[_KEYS[key] for key in asked.keys] if asked.keys else list(_KEYS.values()),
        by_rank=asked.order_by == "rank",
        filter=asked.filter,
        before=min(around.before_limit, MOST_AROUND) if around else None,
        after=min(around.after_limit, MOST_AROUND) if around else 0,
        with_profiles=around is not None and around.include_profile,
        with_state=asked.include_state,
    )


def _shown(result: Result, asked: RoomEvents) -> JsonObject:
    found: JsonObject = {"rank": result.rank, "result": result.event}
    if asked.event_context is not None:
        found["context"] = {
            "start": str(result.start),
            "end": str(result.end),
            "events_before": result.before,
            "events_after": result.after,
        }
        if asked.event_context.include_profile:
            found["context"]["profile_info"] = result.profiles
    return found


def _grouped(events: list[JsonObject], key: str) -> JsonObject:
    groups: dict[str, Any] = {}
    for event in events:
        group = groups.setdefault(event[key], {"order": len(groups), "results": []})
        group["results"].append(event["event_id"])
    return groups
