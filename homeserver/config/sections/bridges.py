"""Bridges and bots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from homeserver.config.declaring import Example, ReadableFile


@dataclass(frozen=True, slots=True, kw_only=True)
class AppServices:
    """Bridges and bots."""

    files: Annotated[tuple[Annotated[Path, ReadableFile()], ...], Example("[irc.yaml]")] = ()
    """Their registration files; `hearth appservice reload` has them read again."""

    token_in_query: Annotated[tuple[str, ...], Example("[irc]")] = ()
    """The IDs of old ones that look for their `hs_token` in the query, as `access_token`. There it
    may end in the logs of proxies, so others get it in the header alone."""
