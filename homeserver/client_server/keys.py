"""Keys for end-to-end encryption.

https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption
"""

from typing import Annotated, Any

import msgspec

from federation.canonical_json import JsonObject
from federation.identifiers import is_user_id
from homeserver.accounts.interactive import auth_data_in
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.client_server.reading import token
from homeserver.e2ee.cross_signing import USAGES
from homeserver.e2ee.queries import DEFAULT_TIMEOUT, LONGEST_TIMEOUT
from homeserver.errors import InvalidParam, MissingParam
from homeserver.http import Json, Reply, Request, Routes

routes = Routes("client")

_MOST_USERS = 1000
_UNSTABLE = "unstable"


class UploadBody(msgspec.Struct):
    """Keys of the device that asks."""

    device_keys: dict[str, Any] | None = None
    one_time_keys: dict[str, Any] = {}
    fallback_keys: dict[str, Any] = {}
    unstable_fallback_keys: dict[str, Any] = msgspec.field(
        name="org.matrix.msc2732.fallback_keys", default_factory=dict
    )


class QueryBody(msgspec.Struct):
    """Whose keys are wanted."""

    device_keys: dict[str, list[str]]
    timeout: Annotated[int, msgspec.Meta(ge=0)] | None = None


class ClaimBody(msgspec.Struct):
    """Of which devices one-time keys are wanted, and of which algorithm."""

    one_time_keys: dict[str, dict[str, str]]
    timeout: Annotated[int, msgspec.Meta(ge=0)] | None = None


class ChangesQuery(msgspec.Struct):
    """Two tokens."""

    start: str = msgspec.field(name="from")
    to: str | None = None


@routes.post("/_matrix/client/v3/keys/upload", auth=True, allows=["guest", "suspended"])
async def upload_keys(request: Request, house: House, body: UploadBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload"""
    if not who.device_id:
        raise MissingParam("an application service names the device whose keys these are")
    uploads = house.uploads
    if body.device_keys is not None:
        await uploads.put_device(who.user, who.user_id, who.device, who.device_id, body.device_keys)
    fallback = body.fallback_keys or body.unstable_fallback_keys
    if body.one_time_keys or fallback:
        await uploads.add(who.user, who.device, body.one_time_keys, fallback)
    left, _ = await uploads.counts(who.device)
    return {"one_time_key_counts": dict(left)}


@routes.post("/_matrix/client/v3/keys/query", auth=True, allows=["guest", "suspended"])
async def query_keys(request: Request, house: House, body: QueryBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery"""
    _check_users(body.device_keys)
    seconds = _seconds(body.timeout)
    return await house.key_queries.query(who.user, who.user_id, body.device_keys, seconds)


@routes.post("/_matrix/client/v3/keys/claim", auth=True, allows=["guest", "suspended"])
async def claim_keys(request: Request, house: House, body: ClaimBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim"""
    _check_users(body.one_time_keys)
    return await house.key_queries.claim(body.one_time_keys, _seconds(body.timeout))


@routes.get("/_matrix/client/v3/keys/changes", auth=True)
async def get_keys_changes(
    request: Request, house: House, query: ChangesQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges"""
    start, end = token(query.start), token(query.to)
    if start is None:
        raise InvalidParam("from is not a token of this server")
    up_to = end.pos if end else house.process.clock.position
    found = await house.device_lists.changed_since(who.user, start.pos, up_to)
    return {"changed": list(found.changed), "left": list(found.left)}


@routes.post(
    "/_matrix/client/v3/keys/device_signing/upload",
    auth=True,
    allows=["suspended"],
    also=[_UNSTABLE],
)
async def upload_cross_signing_keys(
    request: Request, house: House, body: JsonObject, who: Session
) -> Json | Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload"""
    given = {usage: body[f"{usage}_key"] for usage in USAGES if f"{usage}_key" in body}
    if not all(isinstance(key, dict) for key in given.values()):
        raise InvalidParam("a key is an object")
    known = await house.cross_signing.keys_of(who.user_id)
    # "the server MUST NOT require UIA" where there are no keys yet, or these are the same.
    if known and any(
        known.get(usage, {}).get("keys") != key.get("keys") for usage, key in given.items()
    ):
        asked = {key: value for key, value in body.items() if key != "auth"}
        challenge = await house.confirmations.confirm(
            who, "upload_cross_signing_keys", asked, auth_data_in(body)
        )
        if challenge is not None:
            return Reply(401, challenge.body())
    await house.cross_signing.put(who.user, who.user_id, given)
    return {}


@routes.post(
    "/_matrix/client/v3/keys/signatures/upload", auth=True, allows=["suspended"], also=[_UNSTABLE]
)
async def upload_cross_signing_signatures(
    request: Request, house: House, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload"""
    return {"failures": await house.cross_signing.sign(who.user, who.user_id, body)}


def _check_users(named: dict[str, Any]) -> None:
    if len(named) > _MOST_USERS:
        raise InvalidParam(f"at most {_MOST_USERS} users are asked for at a time")
    if not all(is_user_id(user) for user in named):
        raise InvalidParam("users are named by user IDs")


def _seconds(timeout: int | None) -> float:
    return DEFAULT_TIMEOUT if timeout is None else min(timeout / 1000, LONGEST_TIMEOUT)
