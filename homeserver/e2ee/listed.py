"""Somebody's devices and keys as their server tells them, made fit to be kept.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

MOST_DEVICES = 1000
"""Of one user; what is beyond is left out."""
_LARGEST = 65_536
"""Bytes of the keys of one device."""
_LONGEST_ID = 255


class Listed(NamedTuple):
    """A list; keys are JSON, since each reader is shown them with other signatures."""

    devices: Mapping[str, bytes]
    master_key: bytes | None
    self_signing_key: bytes | None
    stream_id: int | None
    """Of the last update that is in it; `None`: not known."""


def from_devices(answer: Mapping[str, Any]) -> Listed:
    """From the answer to `GET /user/devices`."""
    said, stream_id = answer.get("devices"), answer.get("stream_id")
    devices = {
        str(device["device_id"]): named(device.get("keys"), device.get("device_display_name"))
        for device in (said if isinstance(said, list) else ())
        if isinstance(device, dict) and isinstance(device.get("device_id"), str)
    }
    return Listed(
        _fit(devices),
        packed(answer.get("master_key")),
        packed(answer.get("self_signing_key")),
        stream_id if type(stream_id) is int and abs(stream_id) < 2**63 else None,
    )


def from_query(answer: Mapping[str, Any], user_id: str) -> Listed:
    """What the answer to `POST /user/keys/query` says of one user."""

    def of(section: str) -> Any:
        users = answer.get(section)
        return users.get(user_id) if isinstance(users, dict) else None

    devices = of("device_keys")
    return Listed(
        _fit(devices if isinstance(devices, dict) else {}),
        packed(of("master_keys")),
        packed(of("self_signing_keys")),
        None,
    )


def named(keys: object, display_name: object) -> object:
    """Keys of a device, with its name where clients look for it."""
    if not isinstance(keys, dict) or not isinstance(display_name, str):
        return keys
    unsigned = keys.get("unsigned")
    shown = unsigned if isinstance(unsigned, dict) else {}
    return {**keys, "unsigned": {**shown, "device_display_name": display_name}}


def packed(value: object) -> bytes | None:
    """An object as JSON, if it is one that can be kept."""
    if not isinstance(value, dict):
        return None
    try:
        raw = orjson.dumps(value)
    except (TypeError, ValueError):
        return None
    return raw if len(raw) <= _LARGEST else None


def _fit(devices: Mapping[str, Any]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for device_id, keys in devices.items():
        raw = packed(keys)
        if raw is not None and is_fit(device_id) and len(found) < MOST_DEVICES:
            found[device_id] = raw
    return found


def is_fit(device_id: str) -> bool:
    """Whether a device can be kept under this ID."""
    is_short = "\0" not in device_id and len(device_id) <= _LONGEST_ID
    return is_short and packed({device_id: 0}) is not None
