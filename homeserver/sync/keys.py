"""What `/sync` wants to know of devices and their keys."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from federation.identifiers import UserID
from homeserver.storage.numbers import UserNid


class KeyCounts(NamedTuple):
    """What is left of a device's one-time keys."""

    by_algorithm: Mapping[str, int]
    unused_fallback: tuple[str, ...]
    """Algorithms for which there is a fallback key that nobody was given yet."""


class DeviceChanges(NamedTuple):
    """Whose devices a client has to look at again."""

    changed: tuple[UserID, ...]
    left: tuple[UserID, ...]
    """With whom no room is shared any more."""


class Message(NamedTuple):
    """A to-device message."""

    pos: int
    json: bytes


class Keys(Protocol):
    """The duties of end-to-end encryption, as far as `/sync` shows them."""

    async def counts(self, device: int) -> KeyCounts:
        """What is left of the device's one-time keys."""

    async def changed_since(self, user: UserNid, after: int, up_to: int) -> DeviceChanges:
        """What changed between two positions."""

    async def pending(self, device: int, after: int, up_to: int) -> list[Message]:
        """The first messages for a device, a page of them."""

    async def acknowledge(self, device: int, up_to: int) -> None:
        """The device has the messages up to a position: they can go."""
