"""Trees of spaces, and rooms seen from outside.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from typing import Any

import pytest

from tests.servers import Client, Hearth

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
HTML = {"mimetype": "text/html", "body": "<b>new</b>"}


async def room(owner: Client, name: str, **more: Any) -> str:
    wanted = {"preset": "public_chat", "name": name, **more}
    return str((await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"])


async def space(owner: Client, name: str, **more: Any) -> str:
    return await room(owner, name, creation_content={"type": "m.space"}, **more)


async def hold(owner: Client, parent: str, child: str, **content: Any) -> None:
    path = f"{V3}/rooms/{parent}/state/m.space.child/{child}"
    (await owner.put(path, {"via": [owner.hearth.name], **content})).ok()


async def tree(reader: Client, top: str, **query: Any) -> list[str]:
    """The names of all rooms of a hierarchy, page by page."""
    found: list[str] = []
    start: dict[str, str] = {}
    for _ in range(20):
        path = f"{V1}/rooms/{top}/hierarchy"
        page = (await reader.get(path, limit=2, **query, **start)).ok()
        found += [one["name"] for one in page["rooms"]]
        if "next_batch" not in page:
            return found
        start = {"from": page["next_batch"]}
    raise AssertionError("the tree has no end")


async def test_a_tree_in_its_order(hearth: Hearth) -> None:
    ann, eve = await hearth.user("ann"), await hearth.user("eve")
    top = await space(ann, "top")
    inner = await space(ann, "inner")
    first, second, third = [await room(ann, name) for name in ("first", "second", "third")]
    secret = await room(ann, "secret", preset="private_chat")
    leaf = await room(ann, "leaf")
    await hold(ann, top, third)
    await hold(ann, top, second, order="b")
    await hold(ann, top, first, order="a", suggested=True)
    await hold(ann, top, inner, order="c", suggested=True)
    await hold(ann, top, secret, order="d")
    await hold(ann, inner, leaf, suggested=True)
    await hold(ann, inner, top)
    (await ann.put(f"{V3}/rooms/{top}/state/m.space.child/{leaf}", {})).ok()
    everything = ["top", "first", "second", "inner", "leaf", "secret", "third"]
    assert await tree(ann, top) == everything
    assert await tree(eve, top) == [name for name in everything if name != "secret"]
    assert await tree(eve, top, suggested_only="true") == ["top", "first", "inner", "leaf"]
    assert await tree(eve, top, max_depth=1) == ["top", "first", "second", "inner", "third"]
    page = (await eve.get(f"{V1}/rooms/{top}/hierarchy")).ok()["rooms"][0]
    assert page["room_type"] == "m.space"
    assert [state["state_key"] for state in page["children_state"]][:2] == [first, second]
    assert {"type", "state_key", "content", "sender", "origin_server_ts"} == set(
        page["children_state"][0]
    )
    answer = await eve.get(f"{V1}/rooms/{secret}/hierarchy")
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    path = f"{V1}/rooms/{top}/hierarchy"
    token = (await eve.get(path, limit=2, max_depth=1)).ok()["next_batch"]
    for changed in ({"from": "nothing"}, {"from": token}, {"from": token, "max_depth": 2}):
        answer = await eve.get(path, limit=2, **changed)
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), changed


async def test_names_of_servers_that_are_none_hide_no_child(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    top, child = await space(ann, "top"), await room(ann, "child")
    await hold(ann, top, child, via=["no server!", 5, "one.test"])
    assert await tree(ann, top) == ["top", "child"]
    await hold(ann, top, child, via="one.test")
    assert await tree(ann, top) == ["top"]


async def test_restricted_rooms_for_who_may_join_them(hearth: Hearth) -> None:
    ann, ben, eve = [await hearth.user(name) for name in ("ann", "ben", "eve")]
    top = await space(ann, "top")
    (await ben.post(f"{V3}/join/{top}")).ok()
    rule = {
        "join_rule": "restricted",
        "allow": [{"type": "m.room_membership", "room_id": top}],
    }
    rules = [{"type": "m.room.join_rules", "content": rule}]
    inner = await room(ann, "inner", initial_state=rules)
    await hold(ann, top, inner)
    assert await tree(ben, top) == ["top", "inner"]
    assert await tree(eve, top) == ["top"]
    summary = (await ben.get(f"{V1}/room_summary/{inner}")).ok()
    assert (summary["join_rule"], summary["allowed_room_ids"]) == ("restricted", [top])
    assert (await eve.get(f"{V1}/room_summary/{inner}")).status == 404


@pytest.mark.parametrize(
    ("version", "rule", "is_seen"),
    [
        ("10", "knock_restricted", True),
        ("9", "knock", True),
        ("9", "restricted", False),
        ("6", "knock", False),
        ("12", "invite", False),
    ],
)
async def test_rooms_for_who_may_knock(
    hearth: Hearth, version: str, rule: str, is_seen: bool
) -> None:
    ann, eve, ben = [await hearth.user(name) for name in ("ann", "eve", "ben")]
    top = await space(ann, "top")
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": rule}}]
    inner = await room(
        ann, "inner", room_version=version, initial_state=rules, invite=[ben.user_id]
    )
    await hold(ann, top, inner)
    assert await tree(eve, top) == (["top", "inner"] if is_seen else ["top"])
    assert (await eve.get(f"{V1}/room_summary/{inner}")).status == (200 if is_seen else 404)
    assert await tree(ben, top) == ["top", "inner"], "whoever is invited may come in"


async def test_an_invitation_into_another_room_lets_nobody_in(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    top = await space(ann, "top")
    key = await room(ann, "key", preset="private_chat", invite=[ben.user_id])
    allow = [{"type": "m.room_membership", "room_id": key}]
    rules = {"join_rule": "restricted", "allow": allow}
    inner = await room(
        ann, "inner", initial_state=[{"type": "m.room.join_rules", "content": rules}]
    )
    await hold(ann, top, inner)
    assert await tree(ben, top) == ["top"]
    (await ben.post(f"{V3}/join/{key}")).ok()
    assert await tree(ben, top) == ["top", "inner"]


async def test_a_room_from_outside(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    hall = await room(ann, "Hall", room_alias_name="hall", initial_state=[encryption])
    older = "/_matrix/client/unstable/im.nheko.summary"
    for path in (
        f"{V1}/room_summary/{hall}",
        f"{V1}/room_summary/%23hall:one.test",
        f"{older}/summary/{hall}",
        f"{older}/rooms/%23hall:one.test/summary",
    ):
        summary = (await ben.get(path)).ok()
        assert summary["room_id"] == hall
        assert summary["encryption"] == "m.megolm.v1.aes-sha2"
        assert (summary["room_version"], summary["membership"]) == ("12", "leave")
        is_old = path.startswith(older)
        assert ("im.nheko.summary.version" in summary) is is_old
        assert ("im.nheko.summary.encryption" in summary) is is_old
    assert (await ann.get(f"{V1}/room_summary/{hall}")).ok()["membership"] == "join"
    assert "membership" not in (await hearth.anybody.get(f"{V1}/room_summary/{hall}")).ok()
    assert (await ben.get(f"{V1}/room_summary/!nothing:one.test")).status == 404


@pytest.mark.parametrize(
    ("content", "topic"),
    [
        ({"topic": "old"}, "old"),
        ({"topic": "old", "m.topic": {"m.text": [HTML, {"body": "new"}]}}, "new"),
        ({"topic": "old", "m.topic": {"m.text": [HTML]}}, None),
        ({"topic": "old", "m.topic": {"m.text": [5, {}, {"body": 5}]}}, None),
        ({"topic": "old", "m.topic": {"m.text": "new"}}, "old"),
        ({"topic": 5, "m.topic": []}, None),
    ],
)
async def test_topics_in_plain_text(hearth: Hearth, content: Any, topic: str | None) -> None:
    ann = await hearth.user("ann")
    hall = await room(ann, "Hall", initial_state=[{"type": "m.room.topic", "content": content}])
    summary = (await ann.get(f"{V1}/room_summary/{hall}")).ok()
    assert summary.get("topic") == topic


async def test_across_servers(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    top = await space(ann, "top")
    open_room = await room(ann, "open")
    secret = await room(ann, "secret", preset="private_chat")
    wanted = await room(ann, "wanted", preset="private_chat", invite=[ben.user_id])
    for child in (open_room, secret, wanted):
        await hold(ann, top, child)
    mine = await space(ben, "mine")
    path = f"{V3}/rooms/{mine}/state/m.space.child/{top}"
    (await ben.put(path, {"via": [here.name]})).ok()
    assert await tree(ben, mine) == ["mine", "top", "open", "wanted"]
    eve = await there.user("eve")
    (await eve.post(f"{V3}/join/{mine}")).ok()
    assert await tree(eve, mine) == ["mine", "top", "open"], "who is invited is another"
    fay = await there.user("fay")
    assert (await fay.get(f"{V1}/rooms/{open_room}/hierarchy")).status == 403
    via = {"org.matrix.msc4235.via": here.name}
    assert await tree(fay, open_room, **via) == ["open"]
    wrong = await fay.get(f"{V1}/rooms/{secret}/hierarchy", **{"org.matrix.msc4235.via": "!"})
    assert (wrong.status, wrong.errcode) == (400, "M_INVALID_PARAM")
    assert (await fay.get(f"{V1}/rooms/{secret}/hierarchy", **via)).status == 403
    summary = (await ben.get(f"{V1}/room_summary/{open_room}", via=here.name)).ok()
    assert (summary["name"], summary["num_joined_members"]) == ("open", 1)
    assert (await ben.get(f"{V1}/room_summary/{secret}", via=here.name)).status == 404
