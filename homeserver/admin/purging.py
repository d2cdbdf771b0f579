"""Deleting the past of rooms, for administrators and their tools.

Not in the specification: the paths, parameters and answers are those of Synapse's admin API.
"""

from typing import Annotated

import msgspec

from federation.identifiers import EventID, RoomID, parse_event_id, parse_room_id
from homeserver.admin.house import House
from homeserver.errors import MissingParam
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.rooms.purging import Boundary
from homeserver.rooms.tasks import Report, Result
from homeserver.storage.admin_tasks import TaskKind

routes = Routes("client")

_V1 = "/_synapse/admin/v1"


class PurgeBody(msgspec.Struct):
    """Up to where a room's past is to go."""

    delete_local_events: bool = False
    purge_up_to_event_id: str | None = None
    purge_up_to_ts: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


@routes.post(_V1 + "/purge_history/{roomId}", auth=Auth.ADMINISTRATOR)
async def purge_history(request: Request, house: House, body: PurgeBody) -> Json:
    """Begin to delete what is older than an event or a time."""
    room = request.param("roomId", parse_room_id)
    if body.purge_up_to_event_id is not None:
        event = parsed("purge_up_to_event_id", body.purge_up_to_event_id, parse_event_id)
        return await _begin(house, room, await _at(house, room, event), body)
    if body.purge_up_to_ts is None:
        raise MissingParam("purge_up_to_event_id or purge_up_to_ts is missing")
    return await _begin(
        house, room, await house.purging.before_time(room, body.purge_up_to_ts), body
    )


@routes.post(_V1 + "/purge_history/{roomId}/{eventId}", auth=Auth.ADMINISTRATOR)
async def purge_history_before_event(request: Request, house: House, body: PurgeBody) -> Json:
    """Begin to delete what is older than an event."""
    room = request.param("roomId", parse_room_id)
    event = request.param("eventId", parse_event_id)
    return await _begin(house, room, await _at(house, room, event), body)


@routes.get(_V1 + "/purge_history_status/{purgeId}", auth=Auth.ADMINISTRATOR)
async def get_purge_history_status(request: Request, house: House) -> Json:
    """Tell how far that is."""
    purge_id = request.match_info["purgeId"].replace("\0", "")
    state = await house.tasks.state(TaskKind.PURGE_HISTORY, purge_id)
    error = {"error": state.result["error"]} if state.status == "failed" else {}
    return {"status": state.status, **error}


async def _at(house: House, room: RoomID, event: EventID) -> Boundary:
    return await house.purging.before_event(room, event)


async def _begin(house: House, room: RoomID, boundary: Boundary, body: PurgeBody) -> Json:
    async def work(report: Report) -> Result:
        async def progress() -> None:
            await report(None)

        deleted = await house.purging.purge(
            boundary, local_too=body.delete_local_events, progress=progress
        )
        return {"deleted": deleted}

    return {"purge_id": await house.tasks.begin(TaskKind.PURGE_HISTORY, room, work)}
