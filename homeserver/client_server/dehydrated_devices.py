"""Dehydrated devices, which receive messages while nobody is logged in: MSC3814."""

import re
from typing import Any

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.e2ee.dehydrated_devices import Offer, Page
from homeserver.errors import InvalidParam
from homeserver.http import Json, Request, Routes
from homeserver.storage.raw_json import RawJson

routes = Routes("client")

_DEVICE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
_EVENTS = f"{_DEVICE}/{{deviceId}}/events"
_TOKEN = re.compile(r"\d{1,18}", re.ASCII)


class DehydratedBody(msgspec.Struct):
    """A device, with all its keys."""

    device_id: str
    device_data: dict[str, Any]
    device_keys: dict[str, Any]
    initial_device_display_name: str | None = None
    one_time_keys: dict[str, Any] = {}
    fallback_keys: dict[str, Any] = {}


class EventsQuery(msgspec.Struct):
    """Where a page begins."""

    start: str | None = msgspec.field(name="from", default=None)


class EventsBody(msgspec.Struct):
    """The same, as clients ask."""

    next_batch: str | None = None


@routes.put(_DEVICE, auth=True, allows=["suspended"])
async def put_dehydrated_device(
    request: Request, house: House, body: DehydratedBody, who: Session
) -> Json:
    """Keep a device, in the place of the one before."""
    offer = Offer(
        body.device_id,
        body.device_data,
        body.initial_device_display_name,
        body.device_keys,
        body.one_time_keys,
        body.fallback_keys,
    )
    await house.dehydrated_devices.put(who.user, who.user_id, offer)
    return {"device_id": body.device_id}


@routes.get(_DEVICE, auth=True)
async def get_dehydrated_device(request: Request, house: House, who: Session) -> Json:
    """What the device can be made of again."""
    found = await house.dehydrated_devices.get(who.user)
    return {"device_id": found.device_id, "device_data": RawJson(found.data)}


@routes.delete(_DEVICE, auth=True, allows=["suspended"])
async def delete_dehydrated_device(request: Request, house: House, who: Session) -> Json:
    """Delete it, with all that waits for it."""
    return {"device_id": await house.dehydrated_devices.delete(who.user)}


@routes.get(_EVENTS, auth=True)
async def get_dehydrated_device_events(
    request: Request, house: House, query: EventsQuery, who: Session
) -> Json:
    """The messages that wait for it, page by page."""
    page = await _page(request, house, who, query.start)
    more = {"next_batch": str(page.messages[-1].pos)} if page.has_more else {}
    return {"events": _shown(page), **more}


@routes.post(_EVENTS, auth=True, allows=["suspended"])
async def post_dehydrated_device_events(
    request: Request, house: House, body: EventsBody | None, who: Session
) -> Json:
    """The same.

    COMPAT(matrix-js-sdk, matrix-rust-sdk): they ask until a page is empty, each time with the
    token of the page before.
    """
    start = body.next_batch if body else None
    page = await _page(request, house, who, start)
    after = str(page.messages[-1].pos) if page.messages else start or "0"
    return {"events": _shown(page), "next_batch": after}


async def _page(request: Request, house: House, who: Session, start: str | None) -> Page:
    if start and not _TOKEN.fullmatch(start):
        raise InvalidParam("this is not a token of this endpoint")
    device_id = request.match_info["deviceId"]
    return await house.dehydrated_devices.messages(who.user, device_id, int(start or 0))


def _shown(page: Page) -> list[Any]:
    return [RawJson(message.json) for message in page.messages]
