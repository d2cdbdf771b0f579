"""Simplified sliding sync.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from federation.errors import IdentifierError
from federation.identifiers import RoomID, parse_room_id
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import reader, token
from homeserver.errors import InvalidParam
from homeserver.http import Json, Request, Routes
from homeserver.sync.sliding.extensions import STICKY_EVENTS, THREAD_SUBSCRIPTIONS
from homeserver.sync.sliding.state_wishes import MEMBER, Element, RoomConfig, StateWish
from homeserver.sync.sliding.wishes import (
    MOST_EVENTS,
    MOST_LISTS,
    MOST_RANGES,
    MOST_SUBSCRIPTIONS,
    Extensions,
    ListRule,
    RoomFilter,
    Rules,
    Scope,
    SlidingToken,
    SlidingWish,
    StickyWish,
    ToDeviceWish,
)

routes = Routes("client")

_LONGEST_NAME = 255
_MOST_ELEMENTS = 500
"""Of one `required_state`."""

Count = Annotated[int, msgspec.Meta(ge=0)]
SetPresence = Literal["offline", "online", "unavailable"]


class ElementBody(msgspec.Struct):
    """`RequiredStateElement`."""

    type: str | None = None
    state_key: str | None = None


class RequiredStateBody(msgspec.Struct):
    """`RequiredStateRequest`."""

    include: list[ElementBody] = []
    exclude: list[ElementBody] = []
    lazy_members: bool = False


class ConfigBody(msgspec.Struct):
    """`RoomSubscription`: what is wanted of a room."""

    timeline_limit: Count
    required_state: list[tuple[str, str]] | RequiredStateBody = []
    """In the first form as pairs with `*`, `$LAZY` and `$ME`."""


class FilterBody(msgspec.Struct):
    """`SlidingRoomFilter`."""

    is_dm: bool | None = None
    spaces: list[str] | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_invited: bool | None = None
    room_types: list[str | None] | None = None
    not_room_types: list[str | None] | None = None
    tags: list[str] | None = None
    not_tags: list[str] | None = None


class ListBody(ConfigBody):
    """`SyncListConfig`; before that was written, with several ranges."""

    range: tuple[Count, Count] | None = None
    ranges: list[tuple[Count, Count]] | None = None
    filters: FilterBody | None = None


class ScopeBody(msgspec.Struct):
    """An extension that is about rooms."""

    enabled: bool | None = None
    lists: list[str] | None = None
    rooms: list[str] | None = None


class ToDeviceBody(msgspec.Struct):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/3885"""

    enabled: bool | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 100
    since: str | None = None


class E2eeBody(msgspec.Struct):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/3884"""

    enabled: bool | None = None


class StickyEventsBody(ToDeviceBody):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4480"""


class ThreadSubscriptionsBody(msgspec.Struct):
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4308"""

    enabled: bool | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 100


class ExtensionsBody(msgspec.Struct):
    """What is wanted beside rooms."""

    to_device: ToDeviceBody | None = None
    e2ee: E2eeBody | None = None
    account_data: ScopeBody | None = None
    receipts: ScopeBody | None = None
    typing: ScopeBody | None = None
    thread_subscriptions: ThreadSubscriptionsBody | None = msgspec.field(
        name=THREAD_SUBSCRIPTIONS, default=None
    )
    sticky: StickyEventsBody | None = msgspec.field(name=STICKY_EVENTS, default=None)


class SlidingSyncBody(msgspec.Struct):
    """What a client wants to know."""

    conn_id: str = ""
    pos: str | None = None
    timeout: Count | None = None
    set_presence: SetPresence | None = None
    txn_id: str | None = None
    lists: dict[str, ListBody] = {}
    room_subscriptions: dict[str, ConfigBody] = {}
    extensions: ExtensionsBody = msgspec.field(default_factory=ExtensionsBody)


class SlidingSyncQuery(msgspec.Struct):
    """The same, where it stood before the proposal put it into the body."""

    pos: str | None = None
    timeout: Count | None = None
    set_presence: SetPresence | None = None


@routes.post(
    "/_matrix/client/v4/sync",
    auth=True,
    also=["unstable/org.matrix.simplified_msc3575"],
    allows=["suspended"],
)
async def sliding_sync(
    request: Request, house: House, query: SlidingSyncQuery, body: SlidingSyncBody, who: Session
) -> Json:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4186"""
    pos = query.pos or body.pos
    _check(body)
    wish = SlidingWish(
        who,
        body.conn_id,
        SlidingToken.parse(pos) if pos else None,
        _rules(who, body),
        _extensions(body.extensions),
        body.txn_id,
    )
    if wish.extensions.thread_subscriptions is not None:
        await house.rulesets.mind_threads(who.user, who.user_id)
    if house.presence.enabled:
        presence = query.set_presence or body.set_presence or "online"
        await house.presence.seen(reader(who), presence)
    timeout = query.timeout if query.timeout is not None else body.timeout or 0
    return await house.sliding_sync.sync(wish, timeout / 1000, request.stopping)


def _check(body: SlidingSyncBody) -> None:
    if len(body.lists) > MOST_LISTS:
        raise InvalidParam(f"there can be {MOST_LISTS} lists")
    if len(body.room_subscriptions) > MOST_SUBSCRIPTIONS:
        raise InvalidParam(f"there can be {MOST_SUBSCRIPTIONS} room_subscriptions")
    for name in (body.conn_id, body.txn_id or "", *body.lists):
        if len(name) > _LONGEST_NAME or "\0" in name:
            raise InvalidParam(f"names have at most {_LONGEST_NAME} characters, none of them NUL")


def _rules(who: Session, body: SlidingSyncBody) -> Rules:
    lists = {name: _list(who, one) for name, one in body.lists.items()}
    subscriptions = {
        _room_id(room): _config(who, one) for room, one in body.room_subscriptions.items()
    }
    return Rules(lists, subscriptions)


def _room_id(text: str) -> RoomID:
    try:
        return parse_room_id(text)
    except IdentifierError as error:
        raise InvalidParam("room_subscriptions are for room IDs") from error


def _list(who: Session, body: ListBody) -> ListRule:
    ranges = [*(body.ranges or ()), *([body.range] if body.range else ())]
    if len(ranges) > MOST_RANGES:
        raise InvalidParam(f"a list can have {MOST_RANGES} ranges")
    if any(first > last for first, last in ranges):
        raise InvalidParam("a range ends before it begins")
    is_bounded = body.ranges is not None or body.range is not None
    wanted = tuple(ranges) if is_bounded else None
    return ListRule(_config(who, body), wanted, _filter(body.filters or FilterBody()))


def _config(who: Session, body: ConfigBody) -> RoomConfig:
    asked = body.required_state
    wish = _state(asked) if isinstance(asked, RequiredStateBody) else _pairs(who, asked)
    elements = wish.include | wish.exclude
    if len(elements) > _MOST_ELEMENTS:
        raise InvalidParam(f"required_state can have {_MOST_ELEMENTS} elements")
    if any("\0" in part for element in elements for part in element if part):
        raise InvalidParam("no event has a type or a state_key with a NUL")
    return RoomConfig(min(body.timeline_limit, MOST_EVENTS), frozenset({wish}))


def _state(body: RequiredStateBody) -> StateWish:
    include = frozenset(Element(e.type, e.state_key) for e in body.include)
    exclude = frozenset(Element(e.type, e.state_key) for e in body.exclude)
    return StateWish(include, exclude, body.lazy_members)


def _pairs(who: Session, pairs: list[tuple[str, str]]) -> StateWish:
    """`required_state` as it was before: types and state keys, some of them with a meaning."""
    lazy = (MEMBER, "$LAZY") in pairs
    keys: Mapping[str, str | None] = {"*": None, "$ME": str(who.user_id)}
    include = frozenset(
        Element(None if kind == "*" else kind, keys.get(key, key))
        for kind, key in pairs
        if key != "$LAZY"
    )
    return StateWish(include, frozenset(), lazy)


def _filter(body: FilterBody) -> RoomFilter:
    return RoomFilter(
        body.is_dm,
        body.is_encrypted,
        body.is_invite if body.is_invited is None else body.is_invited,
        None if body.spaces is None else tuple(RoomID(space) for space in body.spaces),
        _tuple(body.room_types),
        _tuple(body.not_room_types) or (),
        _tuple(body.tags),
        _tuple(body.not_tags) or (),
    )


def _tuple(given: list[Any] | None) -> tuple[Any, ...] | None:
    return None if given is None else tuple(given)


def _extensions(body: ExtensionsBody) -> Extensions:
    asked, threads, sticky = body.to_device, body.thread_subscriptions, body.sticky
    to_device = None
    if asked is not None and asked.enabled:
        to_device = ToDeviceWish(token(asked.since), asked.limit)
    return Extensions(
        to_device,
        bool(body.e2ee and body.e2ee.enabled),
        _scope(body.account_data),
        _scope(body.receipts),
        _scope(body.typing),
        threads.limit if threads is not None and threads.enabled else None,
        StickyWish(token(sticky.since), sticky.limit) if sticky and sticky.enabled else None,
    )


def _scope(body: ScopeBody | None) -> Scope | None:
    if body is None or not body.enabled:
        return None
    lists = None if body.lists is None or "*" in body.lists else frozenset(body.lists)
    return Scope(lists, None if body.rooms is None else frozenset(body.rooms))
