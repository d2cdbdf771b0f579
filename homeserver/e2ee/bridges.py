"""What end-to-end encryption asks of bridges, which may keep the keys of their users themselves.

MSC3983: Sending One-Time Key (OTK) claims to appservices.
MSC3984: Sending key queries to appservices.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.storage.device_keys import Claim

Found = dict[str, Any]
"""`device_keys`, `master_keys`, `self_signing_keys`, perhaps `user_signing_keys`, `failures`."""


class KeyBridges(Protocol):
    """All bridges; each question is answered as well as can be, and raises nothing."""

    def has(self, user_id: str) -> bool:
        """Whether a bridge may keep the keys of this user."""

    async def query_keys(self, wanted: Mapping[str, list[str]]) -> Sequence[Mapping[str, Any]]:
        """The bodies of answers as to `POST /keys/query`, for users and devices; none: all."""

    async def claim_keys(
        self, wanted: Mapping[str, Mapping[str, list[str]]]
    ) -> Sequence[Mapping[str, Any]]:
        """One-time keys by user, device, and key ID, for algorithms of devices."""


def merge_keys(
    found: Found,
    answers: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, list[str]],
    reader_id: str | None,
) -> None:
    """Put what bridges say on top of what is known, "up to the device level"."""
    for answer in answers:
        for user, devices in _users(answer, "device_keys", wanted):
            known = found["device_keys"].setdefault(user, {})
            known |= {
                device: keys
                for device, keys in devices.items()
                if isinstance(keys, dict) and (not wanted[user] or device in wanted[user])
            }
        for section in ("master_keys", "self_signing_keys", "user_signing_keys"):
            for user, key in _users(answer, section, wanted):
                if section != "user_signing_keys" or user == reader_id:
                    found[section][user] = key


def merge_claims(
    found: Found, answers: Sequence[Mapping[str, Any]], claims: Sequence[Claim]
) -> list[Claim]:
    """Add the keys that were handed out; what is still wanted."""
    missing = []
    for claim in claims:
        key = next((k for a in answers if (k := _claimed(a, claim)) is not None), None)
        if key is None:
            missing.append(claim)
        else:
            found.setdefault(claim.user_id, {})[claim.device_id] = key
    return missing


def _users(
    answer: Mapping[str, Any], section: str, wanted: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """What an answer says of users that it was asked for."""
    said = answer.get(section)
    users = said.items() if isinstance(said, dict) else ()
    return [(user, one) for user, one in users if user in wanted and isinstance(one, dict)]


def _claimed(answer: Mapping[str, Any], claim: Claim) -> dict[str, Any] | None:
    """The first key that fits, under its ID."""
    devices = answer.get(claim.user_id)
    keys = devices.get(claim.device_id) if isinstance(devices, dict) else None
    for key_id, key in keys.items() if isinstance(keys, dict) else ():
        if key_id.startswith(f"{claim.algorithm}:") and isinstance(key, dict):
            return {key_id: key}
    return None
