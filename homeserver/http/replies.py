"""What endpoints answer, and how it is written.

Most return a JSON object; `Reply` adds a status or headers, `Stream` is for what is too large to
hold. `Content-Type` is exactly `application/json` unless a reply says otherwise.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from multidict import CIMultiDict

from homeserver.errors import MatrixError
from homeserver.http.cors import CORS
from homeserver.storage.raw_json import RawJson

Json = dict[str, Any] | list[Any]
"""What JSON is written from; `RawJson` stands for JSON that is written already."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is more than 200 and JSON."""

    status: int = 200
    body: Json | bytes = field(default_factory=dict)
    """Bytes are sent as they are: JSON, unless `headers` has a `Content-Type`."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is sent piece by piece, no faster than the caller reads."""

    chunks: AsyncGenerator[bytes, None]
    """Closed in any case, at its end or before."""
    headers: Mapping[str, str]
    """With a `Content-Type`."""
    status: int = 200
    length: int | None = None
    """In bytes, where it is known."""


Answer = Json | Reply | Stream
"""What an endpoint may return."""


def redirect(location: str, status: int = 302) -> Reply:
    """Send the caller elsewhere."""
    return Reply(status, b"", {"Location": location})


def refusal(error: MatrixError) -> Reply:
    """https://spec.matrix.org/v1.19/client-server-api/#standard-error-response"""
    body = {"errcode": error.errcode, "error": error.message, **error.extra}
    return Reply(error.status, body, error.headers)


def response(answer: Json | Reply) -> web.Response:
    """The answer as aiohttp sends it."""
    if not isinstance(answer, Reply):
        return web.Response(body=encode(answer), headers=_headers())
    headers = _headers()
    headers.update(answer.headers)
    body = answer.body if isinstance(answer.body, bytes) else encode(answer.body)
    return web.Response(body=body, status=answer.status, headers=headers)


async def send(stream: Stream, incoming: web.BaseRequest) -> web.StreamResponse:
    """Send a stream to its end; of a HEAD, only what is before it.

    Raises:
        ConnectionError: the caller is gone.

    """
    headers = CIMultiDict({**CORS, "Server": "Hearth", **stream.headers})
    answer = web.StreamResponse(status=stream.status, headers=headers)
    answer.content_length = stream.length
    async with aclosing(stream.chunks) as chunks:
        await answer.prepare(incoming)
        if incoming.method != "HEAD":
            async for chunk in chunks:
                await answer.write(chunk)
        await answer.write_eof()
    return answer


def encode(value: Json) -> bytes:
    """Write JSON as UTF-8."""
    try:
        return orjson.dumps(value, default=_as_it_is)
    except TypeError:
        # Integers beyond 64 bits, and what is nested beyond 254 levels: both are in old rooms.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_read)
        return text.encode()


def _as_it_is(value: object) -> orjson.Fragment:
    if isinstance(value, RawJson):
        return orjson.Fragment(value.raw)
    raise TypeError


def _read(value: object) -> object:
    if isinstance(value, RawJson):
        return json.loads(value.raw)
    raise TypeError


def _headers() -> CIMultiDict[str]:
    return _JSON_HEADERS.copy()


_JSON_HEADERS = CIMultiDict(
    {
        "Content-Type": "application/json",
        **CORS,
        "Cache-Control": "no-store",
        "Server": "Hearth",
    }
)
