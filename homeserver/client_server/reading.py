"""What the endpoints that read rooms have in common: who reads, from where, with which filter."""

import msgspec

from federation.identifiers import RoomID, parse_room_id
from homeserver.accounts.filters import LARGEST, RoomEventFilter
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import BadJson, TooLarge
from homeserver.http import Request
from homeserver.rooms.standings import Reader
from homeserver.storage.stream_tokens import StreamToken

_FILTER: msgspec.json.Decoder[RoomEventFilter] = msgspec.json.Decoder(RoomEventFilter)


def reader(who: Session) -> Reader:
    """Who asks, as somebody who may be in a room."""
    return Reader(who.user, who.user_id, who.device)


async def reader_of_messages(house: House, who: Session) -> Reader:
    """Who asks, as somebody who is shown what people say."""
    ignores = await house.ignoring.of(who.user)
    return Reader(who.user, who.user_id, who.device, ignores)


def room_id(request: Request) -> RoomID:
    """The room in the path, or raise `InvalidParam`."""
    return request.param("roomId", parse_room_id)


def token(text: str | None) -> StreamToken | None:
    """A token of a query, or raise `InvalidParam`; an empty one is as good as none."""
    return StreamToken.parse(text) if text else None


def room_event_filter(text: str | None) -> RoomEventFilter:
    """A `RoomEventFilter` in a query, or raise `BadJson` or `TooLarge`."""
    if not text:
        return RoomEventFilter()
    if len(text) > LARGEST:
        raise TooLarge(f"a filter has at most {LARGEST} bytes")
    try:
        return _FILTER.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise BadJson("not a filter") from error
