"""Rooms that other servers tell of: nothing that they get wrong reaches clients.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from typing import Any

from tests.server_server.conftest import Scene
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
LISTED = {"visibility": "public"}
NONE = ({"room_id": "nonsense"}, {"room_id": 5}, {"num_joined_members": "many"}, {"room_id": None})


def wrong(peer: Peer) -> list[Any]:
    """One room with much that cannot be so, and things that are no rooms."""
    good = {"room_id": f"!a:{peer.name}", "num_joined_members": 2, "name": "Hall"}
    bad = {
        "topic": 5,
        "avatar_url": "https://tracker.example/image.png",
        "canonical_alias": "no alias",
        "world_readable": "yes",
        "guest_can_join": None,
        "join_rule": ["public"],
        "room_type": {},
        "allowed_room_ids": ["!x:y", 5],
        "org.example.more": "kept",
    }
    return [{**good, **bad}, *({**good, **change} for change in NONE), 5, None]


def right(peer: Peer) -> dict[str, Any]:
    return {
        "room_id": f"!a:{peer.name}",
        "num_joined_members": 2,
        "name": "Hall",
        "world_readable": False,
        "guest_can_join": False,
        "org.example.more": "kept",
    }


async def test_in_lists(federated: tuple[Hearth, Peer]) -> None:
    hearth, peer = federated
    ann = await hearth.user("ann")
    peer.lies["publicRooms"] = lambda _: {"chunk": wrong(peer), "next_batch": 5}
    page = (await ann.get(f"{V3}/publicRooms", server=peer.name)).ok()
    assert page == {"chunk": [right(peer)]}
    peer.lies["publicRooms"] = lambda _: {"chunk": "none"}
    assert (await ann.get(f"{V3}/publicRooms", server=peer.name)).ok() == {"chunk": []}


async def test_a_room_that_all_of_ours_left(scene: Scene) -> None:
    """Whoever is still there, nobody here can let anybody in."""
    (await scene.ann.put(f"{V3}/directory/list/room/{scene.room.room_id}", LISTED)).ok()
    page = (await scene.ann.get(f"{V3}/publicRooms")).ok()
    assert [room["room_id"] for room in page["chunk"]] == [scene.room.room_id]
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    assert (await scene.ann.get(f"{V3}/publicRooms")).ok()["chunk"] == []


async def space_with(ann: Client, child: str, via: str) -> str:
    wanted = {"creation_content": {"type": "m.space"}, "name": "top"}
    top = str((await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"])
    (await ann.put(f"{V3}/rooms/{top}/state/m.space.child/{child}", {"via": [via]})).ok()
    return top


async def test_in_hierarchies(federated: tuple[Hearth, Peer]) -> None:
    hearth, peer = federated
    ann = await hearth.user("ann")
    room, *others = wrong(peer)
    states = [{"state_key": "!b:x", "content": {"via": 5}}, {"state_key": 5}, 7]
    told = {"room": {**room, "children_state": states}, "children": others}
    peer.lies["hierarchy"] = lambda _: told
    top = await space_with(ann, room["room_id"], peer.name)
    rooms = (await ann.get(f"{V1}/rooms/{top}/hierarchy")).ok()["rooms"]
    assert rooms[1:] == [{**right(peer), "children_state": []}]
    summary = (await ann.get(f"{V1}/room_summary/{room['room_id']}", via=peer.name)).ok()
    assert summary == {**right(peer), "membership": "leave"}


async def test_what_a_space_tells_of_rooms_is_not_asked_for_again(
    federated: tuple[Hearth, Peer],
) -> None:
    hearth, peer = federated
    ann = await hearth.user("ann")
    names = ("space", "closed", "inner", "x", "y", "z")
    space, closed, inner, *leaves = [f"!{name}:{peer.name}" for name in names]
    states = [
        {"type": "m.space.child", "state_key": room, "content": {"via": [peer.name]}}
        for room in (closed, inner, *leaves)
    ]

    def room(room_id: str, **more: str) -> dict[str, Any]:
        return {"room_id": room_id, "num_joined_members": 1, "name": room_id, **more}

    children = [room(inner, room_type="m.space"), *map(room, leaves)]
    asked: list[str] = []

    def answer(_: Any) -> Any:
        asked.append(peer.asked[-1].rpartition("/")[2])
        top = room(space, room_type="m.space") | {"children_state": states}
        told = {"room": top, "children": children, "inaccessible_children": [closed]}
        return told if asked[-1] == space else None

    peer.lies["hierarchy"] = answer
    top = await space_with(ann, space, peer.name)
    for _ in range(2):
        rooms = (await ann.get(f"{V1}/rooms/{top}/hierarchy")).ok()["rooms"]
        assert {one["room_id"] for one in rooms} == {top, space, inner, *leaves}
    assert asked == [space, inner, inner], "of spaces more is to be told; what was is remembered"


async def test_a_space_speaks_of_its_own_children_only(federated: tuple[Hearth, Peer]) -> None:
    """What it says of others neither hides them, nor is it shown."""
    hearth, peer = federated
    ann = await hearth.user("ann")
    evil, leaf, closed = [f"!{name}:{peer.name}" for name in ("evil", "leaf", "closed")]

    def room(room_id: str, name: str, **more: Any) -> dict[str, Any]:
        return {"room_id": room_id, "num_joined_members": 1, "name": name, **more}

    states = [{"type": "m.space.child", "state_key": closed, "content": {"via": [peer.name]}}]
    top_of_evil = room(evil, "evil", room_type="m.space", children_state=states)
    answers: dict[str, Any] = {
        evil: {"room": top_of_evil, "children": [room(leaf, "lie")]},
        leaf: {"room": room(leaf, "leaf"), "children": []},
        closed: {"room": room(closed, "open"), "children": []},
    }
    answers[evil]["inaccessible_children"] = [closed]
    peer.lies["hierarchy"] = lambda _: answers.get(peer.asked[-1].rpartition("/")[2])
    top = await space_with(ann, evil, peer.name)
    for child in (leaf, closed):
        named = {"via": [peer.name]}
        (await ann.put(f"{V3}/rooms/{top}/state/m.space.child/{child}", named)).ok()
    rooms = (await ann.get(f"{V1}/rooms/{top}/hierarchy")).ok()["rooms"]
    assert [one["name"] for one in rooms] == ["top", "evil", "leaf", "open"]


async def test_a_space_whose_server_is_back(federated: tuple[Hearth, Peer]) -> None:
    """What its parent told is no reason not to ask again."""
    hearth, peer = federated
    ann = await hearth.user("ann")
    space, inner, leaf = [f"!{name}:{peer.name}" for name in ("space", "inner", "leaf")]
    counted = {"num_joined_members": 1}
    rooms = {
        room_id: {"room_id": room_id, "name": "x", **counted, "room_type": "m.space"}
        for room_id in (space, inner)
    }

    def told(room_id: str, child: str, *children: Any) -> Any:
        state = {"type": "m.space.child", "state_key": child, "content": {"via": [peer.name]}}
        return {"room": {**rooms[room_id], "children_state": [state]}, "children": children}

    answers = {space: told(space, inner, rooms[inner])}
    peer.lies["hierarchy"] = lambda _: answers.get(peer.asked[-1].rpartition("/")[2])
    top = await space_with(ann, space, peer.name)

    async def seen() -> set[str]:
        found = (await ann.get(f"{V1}/rooms/{top}/hierarchy")).ok()["rooms"]
        return {one["room_id"] for one in found}

    assert await seen() == {top, space, inner}
    answers[inner] = told(inner, leaf, {"room_id": leaf, **counted})
    assert await seen() == {top, space, inner, leaf}


async def test_a_room_of_ours_that_others_described(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    initial = [{"type": "m.room.avatar", "content": {"url": "https://tracker.example/image.png"}}]
    wanted = {"preset": "public_chat", "visibility": "public", "initial_state": initial}
    room = (await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
    (listed,) = (await ann.get(f"{V3}/publicRooms")).ok()["chunk"]
    assert listed["room_id"] == room
    assert "avatar_url" not in listed


async def test_in_profiles(federated: tuple[Hearth, Peer]) -> None:
    """What is `null` is not set."""
    hearth, peer = federated
    ann, path = await hearth.user("ann"), f"{V3}/profile/{peer.user('eve')}"
    unset = {"displayname": None, "avatar_url": None, "m.tz": None}
    wrong_ones = {"displayname": 5, "avatar_url": "https://tracker.example/image.png"}
    good = {"displayname": "Eve", "avatar_url": f"mxc://{peer.name}/a"}
    said: dict[str, Any] = {}
    peer.lies["query"] = lambda _: {**said, "org.x": [1]}
    for answer, profile in ((unset, {}), (wrong_ones, {}), (good, good)):
        said.update(answer)
        assert (await ann.get(path)).ok() == {**profile, "org.x": [1]}
        field = await ann.get(f"{path}/displayname")
        assert field.status == (200 if profile else 404)
