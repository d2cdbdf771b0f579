"""What may stand in a profile.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical_json import encode
from federation.errors import CanonicalJSONError, IdentifierError
from federation.identifiers import split_server_name
from homeserver.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    KeyTooLarge,
    ProfileTooLarge,
    TooLarge,
)

DISPLAYNAME = "displayname"
AVATAR_URL = "avatar_url"

LARGEST = 65_536
"""Bytes of a profile in canonical JSON."""
LONGEST_KEY = 255
"""Bytes."""
LONGEST_DISPLAYNAME = 256
"""Characters: as many fit on a line, and every membership event carries it."""
LONGEST_AVATAR_URL = 1000

_KEY = re.compile(r"[a-z][a-z0-9._-]*", re.ASCII)
_MXC = re.compile(r"mxc://(?P<server>[^/]+)/[A-Za-z0-9_-]+", re.ASCII)

Profile = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changeable:
    """Which fields people may change (`accounts.change_displayname` and so on)."""

    displayname: bool = True
    avatar_url: bool = True
    others: bool = True

    def capability(self) -> dict[str, Any]:
        """https://spec.matrix.org/v1.19/client-server-api/#mprofile_fields-capability"""
        fields = {DISPLAYNAME: self.displayname, AVATAR_URL: self.avatar_url}
        if not self.others:
            allowed = [name for name, may in fields.items() if may]
            return {"enabled": bool(allowed), **({"allowed": allowed} if allowed else {})}
        disallowed = [name for name, may in fields.items() if not may]
        return {"enabled": True, **({"disallowed": disallowed} if disallowed else {})}

    def check(self, name: str, *, is_guest: bool = False) -> None:
        """Raise `Forbidden` if this field is not to be changed."""
        may = {DISPLAYNAME: self.displayname, AVATAR_URL: self.avatar_url}.get(name, self.others)
        # "Guest users may only modify their display name; other profile fields may not be changed."
        if not may or (is_guest and name != DISPLAYNAME):
            raise Forbidden("this field of the profile cannot be changed here")


def check_name(name: str) -> None:
    """Raise `KeyTooLarge` or `InvalidParam` if no field can have this name."""
    if len(name.encode(errors="replace")) > LONGEST_KEY:
        raise KeyTooLarge(f"the name of a field has at most {LONGEST_KEY} bytes")
    if not _KEY.fullmatch(name):
        raise InvalidParam("the name of a field may hold a-z, 0-9 and . _ - only")


def changed(profile: Profile, name: str, value: object) -> Profile:
    """The profile with another value; an empty name or avatar is none.

    Raises:
        InvalidParam, TooLarge: the display name or avatar cannot be one.

    """
    if name in {DISPLAYNAME, AVATAR_URL}:
        check = _check_displayname if name == DISPLAYNAME else _check_avatar_url
        if check(value) == "":
            return without(profile, name)
    return {**profile, name: value}


def without(profile: Profile, name: str) -> Profile:
    """The profile without a field."""
    return {key: value for key, value in profile.items() if key != name}


def written(profile: Profile) -> bytes:
    """The profile as it is stored.

    Raises:
        ProfileTooLarge: it is larger than `LARGEST`.
        BadJson: a value cannot be written as JSON.

    """
    try:
        stored = encode(dict(profile), strict=False)
    except CanonicalJSONError as error:
        raise BadJson("the value cannot be written as JSON") from error
    if len(stored) > LARGEST:
        raise ProfileTooLarge(f"a profile has at most {LARGEST} bytes")
    return stored


def _check_displayname(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidParam("a display name must be a string")
    if len(value) > LONGEST_DISPLAYNAME:
        raise TooLarge(f"a display name has at most {LONGEST_DISPLAYNAME} characters")
    return value


def _check_avatar_url(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidParam("an avatar must be an mxc:// URI")
    if len(value) > LONGEST_AVATAR_URL:
        raise TooLarge(f"an avatar's URI has at most {LONGEST_AVATAR_URL} characters")
    if value and not is_mxc_uri(value):
        raise InvalidParam("an avatar must be an mxc:// URI")
    return value


def told(answer: Profile) -> dict[str, Any]:
    """What another server says of somebody, as far as it can be told to clients.

    "If the user does not have a particular field set on their profile, the server MUST either
    exclude it from the response body or give it the value `null`"; clients are told what is set.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
    """
    return {name: value for name, value in answer.items() if _can_be(name, value)}


def _can_be(name: str, value: object) -> bool:
    if name == AVATAR_URL:
        return isinstance(value, str) and is_mxc_uri(value)
    return isinstance(value, str) if name == DISPLAYNAME else value is not None


def is_mxc_uri(text: str) -> bool:
    """https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris"""
    found = _MXC.fullmatch(text)
    if found is None:
        return False
    try:
        split_server_name(found["server"])
    except IdentifierError:
        return False
    return True
