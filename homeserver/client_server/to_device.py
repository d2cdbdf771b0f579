"""Messages straight to devices.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from typing import Any

import msgspec

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client")


class SendBody(msgspec.Struct):
    """The contents, by user and device."""

    messages: dict[str, dict[str, dict[str, Any]]]


@routes.put(
    "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
    auth=True,
    limit="to_device",
    allows=["guest", "suspended"],
)
async def send_to_device(request: Request, house: House, body: SendBody, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid"""
    kind, txn_id = request.match_info["eventType"], request.match_info["txnId"]
    await house.device_messages.send(who.user_id, who.device, kind, txn_id, body.messages)
    return {}
