"""Ending rooms, for administrators and their tools.

Not in the specification: the paths, parameters and answers are those of Synapse's admin API.
"""

from typing import Any

import msgspec

from federation.identifiers import RoomID, domain_of, parse_room_id, parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.admin.house import House
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.rooms.shutting_down import MESSAGE, ROOM_NAME, Wish
from homeserver.rooms.tasks import Report, Result, State
from homeserver.storage.admin_tasks import TaskKind

routes = Routes("client")

_V1 = "/_synapse/admin/v1"
_V2 = "/_synapse/admin/v2"
_LONGEST = 10_000
"""Characters of the message."""


class ShutDownBody(msgspec.Struct):
    """How a room is to end."""

    new_room_user_id: str | None = None
    room_name: str | None = None
    message: str | None = None
    block: bool = False
    purge: bool = True
    force_purge: bool = False


@routes.delete(_V1 + "/rooms/{roomId}", auth=Auth.ADMINISTRATOR)
async def delete_room(request: Request, house: House, body: ShutDownBody, who: Session) -> Json:
    """End a room, and answer when it is done."""
    delete_id = await _begin(request, house, body, who)
    state = await house.tasks.finish(TaskKind.SHUT_DOWN, delete_id)
    if state.status != "complete":
        raise MatrixError(str(state.result.get("error", "it was not finished")))
    return dict(state.result)


@routes.delete(_V2 + "/rooms/{roomId}", auth=Auth.ADMINISTRATOR)
async def begin_to_delete_room(
    request: Request, house: House, body: ShutDownBody, who: Session
) -> Json:
    """End a room, and answer at once."""
    return {"delete_id": await _begin(request, house, body, who)}


@routes.get(_V2 + "/rooms/{roomId}/delete_status", auth=Auth.ADMINISTRATOR)
async def get_delete_status_of_room(request: Request, house: House) -> Json:
    """Tell how far the ends of a room are."""
    states = await house.tasks.of_room(TaskKind.SHUT_DOWN, _room(request))
    if not states:
        raise NotFound("nobody has ended this room lately")
    return {"results": [{"delete_id": state.task_id, **_shown(state)} for state in states]}


@routes.get(_V2 + "/rooms/delete_status/{deleteId}", auth=Auth.ADMINISTRATOR)
async def get_delete_status(request: Request, house: House) -> Json:
    """Tell how far the end of a room is."""
    delete_id = request.match_info["deleteId"].replace("\0", "")
    return _shown(await house.tasks.state(TaskKind.SHUT_DOWN, delete_id))


async def _begin(request: Request, house: House, body: ShutDownBody, who: Session) -> str:
    room, wish = _room(request), _wish(house, body, who)
    await house.shutting_down.check(room, wish)

    async def work(report: Report) -> Result:
        return await house.shutting_down.shut_down(room, wish, report)

    return await house.tasks.begin(TaskKind.SHUT_DOWN, room, work)


def _wish(house: House, body: ShutDownBody, who: Session) -> Wish:
    maker = body.new_room_user_id
    if len(body.message or "") > _LONGEST or len(body.room_name or "") > _LONGEST:
        raise InvalidParam(f"the message and the name have at most {_LONGEST} characters")
    user = None if maker is None else parsed("new_room_user_id", maker, parse_user_id)
    if user is not None and domain_of(user) != house.process.server:
        raise InvalidParam("new_room_user_id must be of this server")
    return Wish(
        by=who.user,
        new_room_user=user,
        room_name=body.room_name or ROOM_NAME,
        message=body.message or MESSAGE,
        block=body.block,
        purge=body.purge,
        force_purge=body.force_purge,
    )


def _room(request: Request) -> RoomID:
    return request.param("roomId", parse_room_id)


def _shown(state: State) -> dict[str, Any]:
    result = dict(state.result)
    error = result.pop("error", None)
    found = {"status": state.status, "room_id": state.room_id, "shutdown_room": result}
    return found if error is None else {**found, "error": error}
