"""A room's state at one point, as a pile of layers that many points share.

A *state group* is immutable: its layers, the lowest first, each hold changes against those below
as two blocks of sorted 64-bit integers (state keys, then the events under them; event 0: the key
is gone). A row of the table is the topmost layer of one group; its parent is the group below it.
There are at most four layers. One key costs a few bisections, and two groups are compared in the
layers that they do not share.

No SQL here and no event: only integers.
"""

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType, cast

KeyNid = NewType("KeyNid", int)
"""Names an event type and state key."""
EventNid = NewType("EventNid", int)
"""Names an event ID."""
GroupNid = NewType("GroupNid", int)
"""Names a state group."""

MAX_LAYERS = 4
GONE = EventNid(0)
"""Stands where a layer takes an entry away."""

_HASH_BYTES = 16
_HASH_MASK = (1 << 8 * _HASH_BYTES) - 1
_NEW_LAYER_RATIO = 8


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: the changes that a group makes to the group below it."""

    group: GroupNid
    records: bytes
    """The keys, ascending, then the events in the same order; 8 bytes each, native order."""
    step: int
    """How many entries the layer grows by with each group that replaces it."""

    def __len__(self) -> int:
        return len(self.records) // 16

    def find(self, key: KeyNid) -> EventNid | None:
        """The event under `key`, `GONE`, or `None` if this layer does not say."""
        numbers = memoryview(self.records).cast("q")
        count = len(numbers) // 2
        at = bisect_left(numbers, key, 0, count)
        return EventNid(numbers[count + at]) if at < count and numbers[at] == key else None

    def entries(self) -> dict[KeyNid, EventNid]:
        """All that it says."""
        numbers = memoryview(self.records).cast("q")
        count = len(numbers) // 2
        keys = cast("list[KeyNid]", numbers[:count].tolist())
        return dict(zip(keys, cast("list[EventNid]", numbers[count:].tolist()), strict=True))


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group that has no number yet: what a row holds."""

    parent: GroupNid | None
    records: bytes
    step: int
    digest: int
    """See `state_digest`."""
    size: int
    """The number of entries of the whole state."""


@dataclass(frozen=True, slots=True)
class StateGroup:
    """A whole state; `layers` are never empty."""

    layers: tuple[Layer, ...]
    digest: int = field(compare=False)
    size: int = field(compare=False)

    @property
    def nid(self) -> GroupNid:
        """The group's number, which is its topmost layer's."""
        return self.layers[-1].group

    def find(self, key: KeyNid) -> EventNid | None:
        """The event under `key`."""
        return _find(self.layers, key) or None

    def entries(self) -> dict[KeyNid, EventNid]:
        """The whole state."""
        return dict(_present(_merged(self.layers)))

    def after(self, changes: Mapping[KeyNid, EventNid], hash_key: bytes) -> "NewGroup | None":
        """The state with some entries changed, `GONE` meaning removed; `None`: it is the same."""
        old = {key: self.find(key) for key in changes}
        real = {key: new for key, new in changes.items() if (old[key] or GONE) != new}
        if not real:
            return None
        digest, size = self.digest, self.size
        for key, new in real.items():
            before = old[key]
            if before:
                digest, size = digest - _entry_digest(key, before, hash_key), size - 1
            if new:
                digest, size = digest + _entry_digest(key, new, hash_key), size + 1
        below, records, step = _place(self.layers, real)
        parent = below[-1].group if below else None
        kept = records if below else dict(_present(records))
        return NewGroup(parent, packed(kept), step, digest & _HASH_MASK, size)

    def grown(self, new: NewGroup, nid: GroupNid) -> "StateGroup":
        """What `after` described, once it has its number."""
        kept = [layer.group for layer in self.layers].index(new.parent) + 1 if new.parent else 0
        top = Layer(nid, new.records, new.step)
        return StateGroup((*self.layers[:kept], top), new.digest, new.size)


def first_group(entries: Mapping[KeyNid, EventNid], hash_key: bytes) -> NewGroup:
    """A state that builds on no other."""
    digest = state_digest(entries, hash_key)
    return NewGroup(None, packed(entries), max(len(entries), 1), digest, len(entries))


def numbered(new: NewGroup, nid: GroupNid) -> StateGroup:
    """What `first_group` described, once it has its number."""
    return StateGroup((Layer(nid, new.records, new.step),), new.digest, new.size)


def state_digest(entries: Mapping[KeyNid, EventNid], hash_key: bytes) -> int:
    """A 128-bit number that equal states share: the sum of a keyed hash of each entry."""
    total = sum(_entry_digest(key, event, hash_key) for key, event in entries.items() if event)
    return total & _HASH_MASK


def changes_between(old: StateGroup, new: StateGroup) -> dict[KeyNid, EventNid]:
    """What `after` would have to be told to get from one to the other.

    Only layers that the two do not share are looked at.
    """
    shared = 0
    for one, other in zip(old.layers, new.layers, strict=False):
        if one.group != other.group:
            break
        shared += 1
    below = old.layers[:shared]
    ours, theirs = _merged(old.layers[shared:]), _merged(new.layers[shared:])
    changes = {}
    for key in ours.keys() | theirs.keys():
        # Only what one of them does not say itself is looked for in what both say.
        before = ours[key] if key in ours else _find(below, key)
        after = theirs[key] if key in theirs else _find(below, key)
        if before != after:
            changes[key] = after
    return changes


def _find(layers: Sequence[Layer], key: KeyNid) -> EventNid:
    """The event under a key, or `GONE`."""
    for layer in reversed(layers):
        found = layer.find(key)
        if found is not None:
            return found
    return GONE


def packed(entries: Mapping[KeyNid, EventNid]) -> bytes:
    """The entries as a layer's `records`."""
    keys = sorted(entries)
    return struct.pack(f"={2 * len(keys)}q", *keys, *(entries[key] for key in keys))


def _place(
    layers: tuple[Layer, ...], changes: Mapping[KeyNid, EventNid]
) -> tuple[tuple[Layer, ...], dict[KeyNid, EventNid], int]:
    """Where changes go: the layers that stay, the entries of the one above them, its step.

    Every layer is rewritten with each group until it has cost about as much as the layer below
    it would: growing by `step` to `n` entries, it has cost n²/2·step. Then it is merged down.
    """
    top = layers[-1]
    if len(layers) < MAX_LAYERS and len(top) > _NEW_LAYER_RATIO * len(changes):
        return layers, dict(changes), len(changes)
    below, step = layers[:-1], top.step
    entries = {**top.entries(), **changes}
    while below and len(entries) ** 2 >= 2 * step * len(below[-1]):
        step = len(entries)
        entries = {**below[-1].entries(), **entries}
        below = below[:-1]
    return below, entries, step


def _merged(layers: Iterable[Layer]) -> dict[KeyNid, EventNid]:
    merged: dict[KeyNid, EventNid] = {}
    for layer in layers:
        merged.update(layer.entries())
    return merged


def _present(entries: Mapping[KeyNid, EventNid]) -> Iterator[tuple[KeyNid, EventNid]]:
    return ((key, event) for key, event in entries.items() if event)


def _entry_digest(key: KeyNid, event: EventNid, hash_key: bytes) -> int:
    entry = struct.pack("=qq", key, event)
    digest = hashlib.blake2b(entry, digest_size=_HASH_BYTES, key=hash_key).digest()
    return int.from_bytes(digest, "little")
