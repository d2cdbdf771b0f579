"""Files for other servers.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

from homeserver.http import Auth, Request, Routes, Stream
from homeserver.media.headers import clean_type, disposition
from homeserver.media.multipart import end_of_answer, head_of_answer
from homeserver.media.queries import DownloadQuery, ThumbnailQuery, parse_media_id
from homeserver.media.repository import File, Mxc
from homeserver.server_server.house import House

routes = Routes("federation", limit="federation_requests")


@routes.get("/_matrix/federation/v1/media/download/{mediaId}", auth=Auth.FEDERATION)
async def get_content(request: Request, house: House, *, query: DownloadQuery) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid"""
    return _answer(await house.media.download(_mxc(request, house), query.timeout_ms))


@routes.get("/_matrix/federation/v1/media/thumbnail/{mediaId}", auth=Auth.FEDERATION)
async def get_content_thumbnail(request: Request, house: House, *, query: ThumbnailQuery) -> Stream:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid"""
    mxc = _mxc(request, house)
    return _answer(await house.media.thumbnail(mxc, query.shape, query.timeout_ms))


def _mxc(request: Request, house: House) -> Mxc:
    """Only files of ours: "the server MUST NOT serve remote media"."""
    return Mxc(house.process.server, parse_media_id(request.match_info["mediaId"]))


def _answer(file: File) -> Stream:
    boundary = secrets.token_hex(16)
    kind = clean_type(file.content_type)
    headers = {"Content-Type": kind, "Content-Disposition": disposition(kind, file.name)}
    head, end = head_of_answer(boundary, headers), end_of_answer(boundary)

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield head
        async with aclosing(file.chunks) as pieces:
            async for piece in pieces:
                yield piece
        yield end

    return Stream(
        chunks(),
        {"Content-Type": f"multipart/mixed; boundary={boundary}"},
        length=len(head) + file.size + len(end),
    )
