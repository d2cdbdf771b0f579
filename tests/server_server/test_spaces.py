"""What other servers are told of spaces.

https://spec.matrix.org/v1.19/server-server-api/#spaces
"""

from typing import Any
from urllib.parse import quote

from federation.identifiers import RoomID
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import Client
from tests.statements import Asked, asked

__all__ = ["asked"]


async def room(ann: Client, rule: dict[str, Any], **wish: Any) -> str:
    state = [{"type": "m.room.join_rules", "content": rule}]
    wanted = {"initial_state": state, "room_version": "11", **wish}
    return str((await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"])


def restricted(*rooms: str) -> dict[str, Any]:
    allow = [{"type": "m.room_membership", "room_id": name} for name in rooms]
    return {"join_rule": "restricted", "allow": allow}


async def space(scene: Scene, *children: str) -> str:
    ann = scene.ann
    top = await room(ann, {"join_rule": "public"}, creation_content={"type": "m.space"})
    for child in children:
        path = f"{V3}/rooms/{top}/state/m.space.child/{quote(child)}"
        (await ann.put(path, {"via": [scene.hearth.name]})).ok()
    return top


async def test_which_children_a_server_sees(scene: Scene) -> None:
    ann, ours = scene.ann, scene.room.room_id
    public = await room(ann, {"join_rule": "public"})
    private = await room(ann, {"join_rule": "invite"})
    of_ours = await room(ann, restricted("!unknown:x.test", "!a\0b:c", ours))
    of_others = await room(ann, restricted(private, "nonsense"))
    nobody = await room(ann, restricted())
    shared = await room(ann, {"join_rule": "public"})
    await scene.peer.join(RoomID(shared), scene.peer.user("eve"))
    rules = f"{V3}/rooms/{shared}/state/m.room.join_rules"
    (await ann.put(rules, {"join_rule": "invite"})).ok()
    elsewhere = "!elsewhere:x.test"
    top = await space(scene, public, private, of_ours, of_others, nobody, shared, elsewhere)
    status, told = await scene.peer.ask("GET", f"{V1}/hierarchy/{quote(top)}")
    assert status == 200
    assert told["room"]["room_id"] == top
    assert len(told["room"]["children_state"]) == 7
    assert {child["room_id"] for child in told["children"]} == {public, of_ours, shared}
    assert set(told["inaccessible_children"]) == {private, of_others, nobody}


async def test_many_children_cost_no_more_statements(scene: Scene, asked: Asked) -> None:
    counts = []
    for number in (3, 12):
        children = [await room(scene.ann, restricted(scene.room.room_id)) for _ in range(number)]
        top = await space(scene, *children)

        async def hierarchy(top: str = top, number: int = number) -> None:
            _, told = await scene.peer.ask("GET", f"{V1}/hierarchy/{quote(top)}")
            assert len(told["children"]) == number

        counts.append(len(await asked.by(hierarchy)))
    assert counts[0] == counts[1]


async def test_rules_that_name_what_is_no_room(scene: Scene) -> None:
    """Whoever would join is refused, or sent elsewhere; nothing breaks."""
    names = ("!a\0b:c", "", "nonsense", "!" + "x" * 300, "#alias:x.test")
    path = f"{scene.path}/state/m.room.join_rules"
    rules = restricted(*names)
    rules["allow"] += [None, 5, {"type": "m.room_membership", "room_id": 5}, {"type": "x"}]
    (await scene.ann.put(path, rules)).ok()
    late = quote(scene.peer.user("late"))
    target = f"{V1}/make_join/{quote(scene.room.room_id)}/{late}?ver=11"
    status, answer = await scene.peer.ask("GET", target)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
