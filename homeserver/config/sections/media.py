# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Files, and previews of pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from homeserver.config.declaring import Example, Within
from homeserver.config.values import Duration, HttpUrl, Secret, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """An S3-compatible store in place of a folder."""

    endpoint: Annotated[HttpUrl, Example("https://s3.example.org/")]
    """Its address."""

    bucket: Annotated[str, Example("hearth-media")]
    """The bucket; ours alone."""

    region: str = "us-east-1"
    """The bucket's region; many stores do not care."""

    access_key_id: Annotated[str, Example("hearth")]
    """The name of our key."""

    secret_access_key: Annotated[Secret, Example("{file: /etc/hearth/s3}")]
    """Our key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Files that people send."""

    folder: Annotated[Path | None, Example("/srv/hearth/media")] = None
    """Where files are kept; by default the folder media in `data_dir`."""

    s3: S3 | None = None

    max_upload: Annotated[Size, Within(Size(1), Size.parse("64G"))] = Size.parse("50M")
    """The largest file that people here can send."""

    max_remote: Annotated[Size, Within(Size(1), Size.parse("64G"))] = Size.parse("100M")
    """The largest file that is fetched from another server."""

    max_pixels: Annotated[int, Within(1, 2**30)] = 32_000_000
    """The largest picture that thumbnails are made of, width by height: a small file can unfold
    into a picture that fills the memory."""

    keep_remote: Duration | None = Duration.parse("30d")
    """How long after its last use a file from another server stays; it is fetched anew when
    needed. `null` keeps them for ever."""

    legacy: Literal["frozen", "open"] = "frozen"
    """The old download addresses, which need no login. frozen: they know only files from before
    this setting; open: all of them, so whoever has an address has the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Small pictures of the web pages that messages link to."""

    enabled: bool = False
    """Whether the server fetches linked pages for people. It then learns links that they read,
    also from encrypted rooms, and those pages learn of this server."""

    max_page: Annotated[Size, Within(Size.parse("1K"), Size.parse("100M"))] = Size.parse("5M")
    """How much of a page is read, and how large its picture may be."""

    denied_hosts: Annotated[tuple[str, ...], Example('["*.example.net"]')] = ()
    """Hosts that are never asked; * stands for anything."""

    accept_language: str = "en"
    """The language asked for, as in `Accept-Language`."""
