"""Finding out whether an application service can be reached.

https://spec.matrix.org/v1.19/application-service-api/#pinging
"""

import asyncio

import orjson

from homeserver.accounts.app_services import AppService
from homeserver.appservices.bridges import Bridges
from homeserver.errors import BadStatus

_SECONDS = 30.0
_MOST_SHOWN = 2000
"""Bytes of an answer that whoever asked is told."""


async def ping(bridges: Bridges, service: AppService, transaction_id: str | None) -> int:
    """Ask an application service for a sign of life; answer how many milliseconds it took.

    Raises:
        UrlNotSet, ConnectionFailed, ConnectionTimeout: see `Bridges.ask`.
        BadStatus: it answers, but not that all is well.

    """
    began = asyncio.get_running_loop().time()
    body = orjson.dumps({} if transaction_id is None else {"transaction_id": transaction_id})
    path = ("_matrix", "app", "v1", "ping")
    answer = await bridges.ask(service, "POST", path, body, seconds=_SECONDS)
    if not answer.is_success:
        said = answer.body[:_MOST_SHOWN].decode(errors="replace")
        raise BadStatus(f"it answers {answer.status}", status=answer.status, body=said)
    return round((asyncio.get_running_loop().time() - began) * 1000)
