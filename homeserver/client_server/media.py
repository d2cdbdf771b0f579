"""Files: uploading, downloading, and smaller pictures.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

from federation.identifiers import ServerName, parse_server_name
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import NotFound
from homeserver.http import BodyStream, Json, Request, Routes, Stream
from homeserver.media.headers import for_file
from homeserver.media.queries import (
    DownloadQuery,
    PreviewQuery,
    ThumbnailQuery,
    UploadQuery,
    parse_media_id,
)
from homeserver.media.repository import File, Mxc

routes = Routes("media")


@routes.post("/_matrix/media/v3/upload", auth=True, limit="uploads", body_kind="upload")
async def upload_content(
    request: Request, house: House, *, body: BodyStream, query: UploadQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload"""
    mxc = await house.media.upload(who.user, body, body.content_type, query.filename)
    return {"content_uri": str(mxc)}


@routes.post("/_matrix/media/v1/create", auth=True, limit="uploads")
async def create_content(request: Request, house: House, *, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create"""
    mxc, expires = await house.media.announce(who.user)
    return {"content_uri": str(mxc), "unused_expires_at": expires}


@routes.put(
    "/_matrix/media/v3/upload/{serverName}/{mediaId}",
    auth=True,
    limit="uploads",
    body_kind="upload",
)
async def upload_content_to_mxc(
    request: Request, house: House, *, body: BodyStream, query: UploadQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid"""
    await house.media.fill(who.user, _mxc(request), body, body.content_type, query.filename)
    return {}


@routes.get("/_matrix/client/v1/media/config", auth=True)
async def get_config_authed(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig"""
    return {"m.upload.size": int(house.settings.media.max_upload)}


@routes.get("/_matrix/media/v3/config", auth=True)
async def get_config(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3config"""
    return {"m.upload.size": int(house.settings.media.max_upload)}


@routes.get("/_matrix/client/v1/media/preview_url", auth=True)
async def get_url_preview_authed(
    request: Request, house: House, *, query: PreviewQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url"""
    return await _preview(request, house, query, who)


@routes.get("/_matrix/media/v3/preview_url", auth=True)
async def get_url_preview(
    request: Request, house: House, *, query: PreviewQuery, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3preview_url"""
    return await _preview(request, house, query, who)


@routes.get("/_matrix/client/v1/media/download/{serverName}/{mediaId}", auth=True, allows=["guest"])
async def get_content_authed(request: Request, house: House, *, query: DownloadQuery) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid"""
    return await _download(request, house, query)


@routes.get(
    "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
    auth=True,
    allows=["guest"],
)
async def get_content_override_name_authed(
    request: Request, house: House, *, query: DownloadQuery
) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaidfilename"""
    return await _download(request, house, query)


@routes.get(
    "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", auth=True, allows=["guest"]
)
async def get_content_thumbnail_authed(
    request: Request, house: House, *, query: ThumbnailQuery
) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid"""
    return await _thumbnail(request, house, query)


@routes.get("/_matrix/media/v3/download/{serverName}/{mediaId}", auth=False)
async def get_content(request: Request, house: House, *, query: DownloadQuery) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid"""
    _check_legacy(house)
    return await _download(request, house, query)


@routes.get("/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", auth=False)
async def get_content_override_name(
    request: Request, house: House, *, query: DownloadQuery
) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaidfilename"""
    _check_legacy(house)
    return await _download(request, house, query)


@routes.get("/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", auth=False)
async def get_content_thumbnail(request: Request, house: House, *, query: ThumbnailQuery) -> Stream:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3thumbnailservernamemediaid"""
    _check_legacy(house)
    return await _thumbnail(request, house, query)


async def _preview(request: Request, house: House, query: PreviewQuery, who: Session) -> Json:
    def admit() -> None:
        if request.caller is not None and request.caller.is_limited:
            house.limits.check("previews", who.user)

    return dict(await house.previews.preview(query.url, admit))


async def _download(request: Request, house: House, query: DownloadQuery) -> Stream:
    file = await house.media.download(_mxc(request), query.timeout_ms, may_fetch=query.allow_remote)
    return _stream(file, request.match_info.get("fileName") or file.name)


async def _thumbnail(request: Request, house: House, query: ThumbnailQuery) -> Stream:
    mxc = _mxc(request)
    file = await house.media.thumbnail(
        mxc, query.shape, query.timeout_ms, may_fetch=query.allow_remote
    )
    return _stream(file, None)


def _stream(file: File, name: str | None) -> Stream:
    return Stream(file.chunks, for_file(file.content_type, name), length=file.size)


def _mxc(request: Request) -> Mxc:
    server = request.param("serverName", parse_server_name)
    return Mxc(ServerName(server), parse_media_id(request.match_info["mediaId"]))


def _check_legacy(house: House) -> None:
    """Frozen, these paths know the files from before; there is nothing from before here."""
    # "Servers SHOULD NOT serve newly-uploaded content" there: all of ours is new.
    if house.settings.media.legacy == "frozen":
        raise NotFound("files are served to people who are logged in")
