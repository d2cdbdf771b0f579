"""Invitations by address, redeemed: by identity servers, and by other servers for their people.

https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from typing import Any

import msgspec

from federation.identifiers import ServerName, parse_room_id, parse_user_id
from homeserver.errors import InvalidParam, MatrixError
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.http.addresses import limit_key
from homeserver.rooms.third_party_invites import Redemption, read_signed
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")

_V1 = "/_matrix/federation/v1"
_MOST = 50
"""Invitations that are redeemed at a time."""


class Pending(msgspec.Struct):
    """An invitation that waited for somebody."""

    room_id: str
    sender: str
    mxid: str
    signed: dict[str, Any]


class OnBindBody(msgspec.Struct):
    """Whose an address is, and what waited for that."""

    mxid: str
    invites: list[Pending] = []


class Content(msgspec.Struct):
    """What an invitation says."""

    membership: str
    third_party_invite: dict[str, Any]


class ExchangeBody(msgspec.Struct):
    """An invitation as it would be."""

    type: str
    room_id: str
    sender: str
    state_key: str
    content: Content


# "Used by identity servers", which sign nothing: what they hand out proves itself.
# COMPAT(Sydent) It is told by POST, and Synapse knows nothing else.
@routes.post(_V1 + "/3pid/onbind", auth=False)
@routes.put(_V1 + "/3pid/onbind", auth=False)
async def on_bind_third_party_identifier(request: Request, house: House, body: OnBindBody) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind"""
    user = parsed("mxid", body.mxid, parse_user_id)
    if len(body.invites) > _MOST:
        raise InvalidParam(f"at most {_MOST} invitations are taken at a time")
    # Each may have other servers asked: anybody may send them.
    count = max(1, len(body.invites))
    house.limits.check("invites_by_server", limit_key(request.address), count)
    redemptions = [
        Redemption(
            parsed("room_id", one.room_id, parse_room_id),
            parsed("sender", one.sender, parse_user_id),
            user,
            read_signed(one.signed, user),
        )
        for one in body.invites
    ]
    refusal: MatrixError | None = None
    for redemption in redemptions:
        try:
            await house.third_party_invites.redeem(redemption)
        except MatrixError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return {}


@routes.put(_V1 + "/exchange_third_party_invite/{roomId}", auth=Auth.FEDERATION)
async def exchange_third_party_invite(
    request: Request, house: House, body: ExchangeBody, origin: ServerName
) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid"""
    room_id = request.param("roomId", parse_room_id)
    house.limits.check("invites_by_server", origin)
    if body.type != "m.room.member" or body.content.membership != "invite":
        raise InvalidParam("this is no invitation")
    if body.room_id != room_id:
        raise InvalidParam("the invitation is for another room")
    user = parsed("state_key", body.state_key, parse_user_id)
    sender = parsed("sender", body.sender, parse_user_id)
    signed = read_signed(body.content.third_party_invite.get("signed"), user)
    await house.third_party_invites.exchange(origin, Redemption(room_id, sender, user, signed))
    return {}
