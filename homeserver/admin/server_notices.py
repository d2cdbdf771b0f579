"""The server speaking to people, as administrators and their tools want it to.

The paths and answers are those of Synapse's admin API.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

import secrets
from typing import Any

import msgspec

from federation.identifiers import parse_user_id
from homeserver.accounts.sessions import Session
from homeserver.admin.house import House
from homeserver.errors import InvalidParam
from homeserver.http import Auth, Json, Request, Routes, parsed
from homeserver.http.decoding import check_canonical
from homeserver.rooms.sending import Transaction
from homeserver.rooms.server_notices import Notice

routes = Routes("client")

_PATH = "/_synapse/admin/v1/send_server_notice"
_LONGEST_TXN_ID = 1000


class NoticeBody(msgspec.Struct):
    """To whom, and what."""

    user_id: str
    content: dict[str, Any]
    type: str = "m.room.message"
    state_key: str | None = None


@routes.post(_PATH, auth=Auth.ADMINISTRATOR)
async def send_server_notice(
    request: Request, house: House, body: NoticeBody, who: Session
) -> Json:
    """Say something to somebody."""
    return await _send(house, body, who, secrets.token_urlsafe(16))


@routes.put(_PATH + "/{txnId}", auth=Auth.ADMINISTRATOR)
async def send_server_notice_once(
    request: Request, house: House, body: NoticeBody, who: Session
) -> Json:
    """The same, once, however often it is asked for under one transaction ID."""
    txn_id = request.match_info["txnId"]
    if len(txn_id) > _LONGEST_TXN_ID:
        raise InvalidParam(f"a transaction ID has at most {_LONGEST_TXN_ID} characters")
    return await _send(house, body, who, txn_id)


async def _send(house: House, body: NoticeBody, who: Session, txn_id: str) -> Json:
    check_canonical(body.content)
    user = parsed("user_id", body.user_id, parse_user_id)
    path = f"send_server_notice/{user}/{body.type}"
    transaction = Transaction(who.device, path, txn_id, is_own=False)
    notice = Notice(body.type, body.content, body.state_key)
    return {"event_id": await house.server_notices.send(user, notice, transaction)}
