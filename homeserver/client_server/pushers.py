"""Pushers: where one wants to be notified.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

import msgspec
import orjson

from federation.canonical_json import JsonObject
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import Forbidden, InvalidParam, MissingParam
from homeserver.http import Json, Request, Routes
from homeserver.push.notifications import NO_BADGE
from homeserver.push.pushers import check_fields, check_key, written_data
from homeserver.storage.pushers import Fields, Known

routes = Routes("client")

_NEEDED = ("app_display_name", "device_display_name", "lang", "data")


class PusherBody(msgspec.Struct):
    """A pusher to make or change, or one to remove: `kind` is `null` then, and not missing."""

    app_id: str
    pushkey: str
    kind: str | None
    app_display_name: str | None = None
    device_display_name: str | None = None
    profile_tag: str | None = None
    lang: str | None = None
    data: JsonObject | None = None
    append: bool = False
    enabled: bool | None = msgspec.field(name="org.matrix.msc3881.enabled", default=None)
    counts_itself: bool = msgspec.field(name=NO_BADGE, default=False)
    """Apps say so here, or in `data`, where it is kept (MSC4076)."""


@routes.get("/_matrix/client/v3/pushers", auth=True)
async def get_pushers(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers"""
    return {"pushers": [_shown(known) for known in await house.pushers.read(who.user)]}


@routes.post("/_matrix/client/v3/pushers/set", auth=True, allows=["suspended"])
async def post_pusher(request: Request, house: House, body: PusherBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset"""
    if body.kind is None:
        check_key(body.app_id, body.pushkey)
        await house.pushers.delete(who.user, body.app_id, body.pushkey)
        return {}
    if body.kind != "http":
        raise InvalidParam("there are no pushers but of the kind http")
    if not who.device_id:
        raise Forbidden("a pusher belongs to a device")
    fields = _fields(body)
    check_fields(fields)
    await house.pushers.put(who.user, who.device, fields, append=body.append)
    return {}


def _fields(body: PusherBody) -> Fields:
    """What is asked for, or raise `MissingParam` or `InvalidParam`."""
    missing = [name for name in _NEEDED if getattr(body, name) is None]
    if missing:
        raise MissingParam(f"missing: {', '.join(missing)}")
    return Fields(
        body.app_id,
        body.pushkey,
        body.app_display_name or "",
        body.device_display_name or "",
        body.profile_tag,
        body.lang or "",
        written_data({**(body.data or {}), **({NO_BADGE: True} if body.counts_itself else {})}),
        body.enabled,
    )


def _shown(known: Known) -> JsonObject:
    fields = known.fields
    shown: JsonObject = fields._asdict() | {"kind": "http", "data": orjson.loads(fields.data)}
    if fields.profile_tag is None:
        del shown["profile_tag"]
    # MSC3881, under the names that clients know.
    shown["org.matrix.msc3881.enabled"] = shown.pop("enabled")
    return shown | {"org.matrix.msc3881.device_id": known.device_id}
