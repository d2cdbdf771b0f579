"""What must not change for the honest, whatever a peer does."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from federation.building import Place
from federation.canonical_json import JsonObject
from federation.events import Event
from federation.hashing import content_hash, essential_bytes
from federation.signing import encode_base64
from tests.server_server.conftest import V3, Scene
from tests.servers import Client


async def state_of(ann: Client, room_id: str) -> Mapping[tuple[str, str], str]:
    """The room's state, as a client sees it."""
    events = (await ann.get(f"{V3}/rooms/{room_id}/state")).ok()
    return {(e["type"], e["state_key"]): e["event_id"] for e in events}


@asynccontextmanager
async def unharmed(scene: Scene) -> AsyncIterator[None]:
    """The room's state and members stay; Ann can speak and syncs as before."""
    room_id = scene.room.room_id
    before = await state_of(scene.ann, room_id)
    since = (await scene.ann.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    yield
    assert await state_of(scene.ann, room_id) == before
    event_id = await scene.say(f"still-here-{len(since)}-{id(before)}")
    synced = (await scene.ann.get(f"{V3}/sync", since=since, timeout=0)).ok()
    room = synced["rooms"]["join"][room_id]
    assert room["timeline"]["events"][-1]["event_id"] == event_id
    assert room.get("state", {}).get("events", []) == []


def forged(scene: Scene, event: Event, changed: JsonObject) -> JsonObject:
    """The event with other fields than it had, hashed and signed by the peer all the same."""
    fields: JsonObject = json.loads(event.json) | changed
    fields["hashes"] = {"sha256": encode_base64(content_hash(fields, event.version))}
    fields["signatures"] = {}
    signature = scene.peer.key.sign(essential_bytes(fields, event.version))
    return fields | {"signatures": {scene.peer.name: {scene.peer.key.key_id: signature}}}


def over(scene: Scene, *parents: Event) -> Place:
    """A message's place behind these, with the auth events that Eve's have."""
    honest = scene.room.place("m.room.message", scene.peer.user("eve"), None, {})
    return Place(parents, honest.auth_events)


def nested(levels: int) -> Any:
    """Objects in objects."""
    inner: Any = 1
    for _ in range(levels):
        inner = {"a": inner}
    return inner
