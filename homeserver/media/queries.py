"""How files are asked for, by clients and by other servers alike."""

from typing import Annotated, Literal

import msgspec

from homeserver.errors import InvalidParam
from homeserver.storage.media import Shape

_LONGEST_ID = 255
_WAIT = 20_000
"""Milliseconds, if nobody says otherwise."""

Wait = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class UploadQuery(msgspec.Struct):
    """What an upload may say beside its bytes."""

    filename: str | None = None


class DownloadQuery(msgspec.Struct):
    """How a file is wanted."""

    timeout_ms: Wait = _WAIT
    allow_remote: bool = True


class ThumbnailQuery(msgspec.Struct):
    """Which smaller picture is wanted."""

    width: Pixels
    height: Pixels
    method: Literal["crop", "scale"] = "scale"
    timeout_ms: Wait = _WAIT
    allow_remote: bool = True

    @property
    def shape(self) -> Shape:
        """The size, in pixels."""
        return Shape(self.width, self.height, self.method == "crop")


class PreviewQuery(msgspec.Struct):
    """Of which page a preview is wanted."""

    url: Annotated[str, msgspec.Meta(max_length=8000)]
    ts: int = 0
    """"The preferred point in time to return a preview for": there is only the present one."""


def parse_media_id(text: str) -> str:
    """The name of a file, or raise `InvalidParam`."""
    if not 0 < len(text) <= _LONGEST_ID or "\0" in text or not text.isascii():
        raise InvalidParam("mediaId is malformed")
    return text
