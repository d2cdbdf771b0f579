"""Files in quarantine, for administrators and their tools.

Not in the specification: the paths and answers are those of Synapse's admin API.
"""

from federation.identifiers import ServerName, parse_room_id, parse_server_name, parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.admin.house import House
from homeserver.http import Auth, Json, Request, Routes
from homeserver.media.queries import parse_media_id
from homeserver.media.repository import Mxc

routes = Routes("client")

_V1 = "/_synapse/admin/v1"


@routes.post(_V1 + "/media/quarantine/{serverName}/{mediaId}", auth=Auth.ADMINISTRATOR)
async def quarantine_media(request: Request, house: House, who: Session) -> Json:
    """Give a file out no more."""
    await house.quarantine.put(_mxc(request), who.user)
    return {}


@routes.post(_V1 + "/media/unquarantine/{serverName}/{mediaId}", auth=Auth.ADMINISTRATOR)
async def unquarantine_media(request: Request, house: House) -> Json:
    """Give a file out again."""
    await house.quarantine.release(_mxc(request))
    return {}


@routes.post(
    _V1 + "/room/{roomId}/media/quarantine",
    auth=Auth.ADMINISTRATOR,
    also=[_V1 + "/quarantine_media/{roomId}"],
)
async def quarantine_media_in_room(request: Request, house: House, who: Session) -> Json:
    """Give out no more what a room's messages name."""
    room = request.param("roomId", parse_room_id)
    return {"num_quarantined": await house.quarantine.put_all_in(room, who.user)}


@routes.post(_V1 + "/user/{userId}/media/quarantine", auth=Auth.ADMINISTRATOR)
async def quarantine_media_of_user(request: Request, house: House, who: Session) -> Json:
    """Give out no more what somebody uploaded."""
    user = request.param("userId", parse_user_id)
    return {"num_quarantined": await house.quarantine.put_all_of(user, who.user)}


@routes.post(_V1 + "/media/protect/{mediaId}", auth=Auth.ADMINISTRATOR)
async def protect_media(request: Request, house: House) -> Json:
    """Keep a file of ours from being put into quarantine."""
    await house.quarantine.protect(_own(request, house), is_protected=True)
    return {}


@routes.post(_V1 + "/media/unprotect/{mediaId}", auth=Auth.ADMINISTRATOR)
async def unprotect_media(request: Request, house: House) -> Json:
    """Let a file of ours be put into quarantine again."""
    await house.quarantine.protect(_own(request, house), is_protected=False)
    return {}


def _mxc(request: Request) -> Mxc:
    server = request.param("serverName", parse_server_name)
    return Mxc(ServerName(server), parse_media_id(request.match_info["mediaId"]))


def _own(request: Request, house: House) -> Mxc:
    return Mxc(house.process.server, parse_media_id(request.match_info["mediaId"]))
