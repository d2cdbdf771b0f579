"""Upgrading rooms.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import room_id
from homeserver.http import Json, Request, Routes

routes = Routes("client")


class UpgradeBody(msgspec.Struct):
    """What the room becomes."""

    new_version: str
    additional_creators: list[str] = []


@routes.post("/_matrix/client/v3/rooms/{roomId}/upgrade", auth=True, limit="room_creation")
async def upgrade_room(request: Request, house: House, body: UpgradeBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade"""
    new = await house.upgrading.upgrade(
        who.user_id, room_id(request), body.new_version, body.additional_creators
    )
    await house.carrying_over.joined(who.user, new)
    return {"replacement_room": new}
