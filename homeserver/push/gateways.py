"""Asking push gateways.

https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import orjson

from federation.canonical_json import JsonObject
from federation.errors import HttpError, ResponseFormatError
from federation.net.transport import Limits, Reply

_LIMITS = Limits(total=30.0, body=256 * 1024)

Post = Callable[[str, bytes, Limits], AbstractAsyncContextManager[Reply]]
"""POSTs JSON to anybody who may be reached: addresses of our own network may not."""


async def notify(post: Post, url: str, notification: JsonObject) -> frozenset[str]:
    """Tell a gateway, and answer the push keys that it rejects.

    Raises:
        HttpError: it does not take what it is told.
        RequestError: it cannot be reached, or answers something else.

    """
    async with post(url, orjson.dumps(notification), _LIMITS) as reply:
        if not 200 <= reply.status < 300:
            raise HttpError(reply.status, "M_UNKNOWN", "a push gateway")
        body = await reply.read()
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ResponseFormatError("a push gateway answered no JSON") from error
    rejected = answer.get("rejected") if isinstance(answer, dict) else None
    if not isinstance(rejected, list):
        return frozenset()
    return frozenset(key for key in rejected if isinstance(key, str))
