"""Edits, reactions, references and threads.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

import json
from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth, eventually

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"


async def relate(
    stage: Stage, who: Client, rel_type: str, parent: str, kind: str = "m.room.message", **more: Any
) -> str:
    relation = {"rel_type": rel_type, "event_id": parent}
    content: dict[str, Any] = {"body": "x", "msgtype": "m.text", **more}
    if rel_type == "m.annotation":
        relation["key"] = content.pop("key")
    if rel_type == "m.replace":
        content.setdefault("m.new_content", {"body": content["body"], "msgtype": "m.text"})
    return str(await stage.send(who, kind, {**content, "m.relates_to": relation}))


async def bundle(stage: Stage, reader: Client, event_id: str) -> dict[str, Any]:
    event = (await reader.get(f"{stage.path}/event/{event_id}")).ok()
    found: dict[str, Any] = event["unsigned"].get("m.relations", {})
    return found


async def related(stage: Stage, reader: Client, path: str, **query: Any) -> list[str]:
    """The IDs that all pages hold, in their order."""
    found: list[str] = []
    start: dict[str, str] = {}
    for _ in range(20):
        url = f"{V1}/rooms/{stage.room_id}/relations/{path}"
        page = (await reader.get(url, limit=2, **query, **start)).ok()
        found += [event["event_id"] for event in page["chunk"]]
        if "next_batch" not in page:
            return found
        start = {"from": page["next_batch"]}
    raise AssertionError("the list has no end")


@pytest.fixture
async def stage(hearth: Hearth) -> Stage:
    return await staged(await hearth.user("ann"))


async def test_edits_by_the_author_only(hearth: Hearth, stage: Stage) -> None:
    ann, ben = stage.owner, await hearth.user("ben")
    await stage.member(ben, "join")
    original = await stage.say(ann, "first")
    assert await bundle(stage, ann, original) == {}
    first = await relate(stage, ann, "m.replace", original, body="second")
    last = await relate(stage, ann, "m.replace", original, body="third")
    await relate(stage, ben, "m.replace", original, body="not mine")
    await relate(stage, ann, "m.replace", original, kind="m.other")
    await stage.send(
        ann,
        "m.room.message",
        {
            "msgtype": "m.text",
            "body": "no new content",
            "m.relates_to": {"rel_type": "m.replace", "event_id": original},
        },
    )
    found = await bundle(stage, ben, original)
    assert found["m.replace"]["event_id"] == last
    assert found["m.replace"]["content"]["m.new_content"]["body"] == "third"
    edit = await relate(stage, ann, "m.replace", first, body="edit of an edit")
    assert await bundle(stage, ann, first) == {}
    assert edit in await related(stage, ann, first)
    (await ann.put(f"{stage.path}/redact/{last}/1")).ok()
    assert (await bundle(stage, ben, original))["m.replace"]["event_id"] == first
    (await ann.put(f"{stage.path}/redact/{original}/2")).ok()
    assert await bundle(stage, ben, original) == {}


async def test_edits_of_what_is_encrypted(stage: Stage) -> None:
    ann = stage.owner
    cipher = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "s"}
    original = str(await stage.send(ann, "m.room.encrypted", {**cipher, "ciphertext": "1"}))
    relation = {"rel_type": "m.replace", "event_id": original}
    changed = {**cipher, "ciphertext": "2", "m.relates_to": relation}
    edit = await stage.send(ann, "m.room.encrypted", changed)
    assert (await bundle(stage, ann, original))["m.replace"]["event_id"] == edit


async def test_references_and_ignored_people(hearth: Hearth, stage: Stage) -> None:
    ann, ben = stage.owner, await hearth.user("ben")
    await stage.member(ben, "join")
    event = await stage.say(ann, "question")
    first = await relate(stage, ann, "m.reference", event)
    second = await relate(stage, ben, "m.reference", event)
    assert (await bundle(stage, ann, event))["m.reference"] == {
        "chunk": [{"event_id": first}, {"event_id": second}]
    }
    ignored: Any = {"ignored_users": {ben.user_id: {}}}
    path = f"{V3}/user/{ann.user_id}/account_data/m.ignored_user_list"
    (await ann.put(path, ignored)).ok()
    assert (await bundle(stage, ann, event))["m.reference"] == {"chunk": [{"event_id": first}]}


async def test_threads(hearth: Hearth, stage: Stage) -> None:
    ann, ben, eve = stage.owner, await hearth.user("ben"), await hearth.user("eve")
    for who in (ben, eve):
        await stage.member(who, "join")
    roots = [await stage.say(ann, f"root {n}") for n in range(3)]
    for root in roots:
        await relate(stage, ben, "m.thread", root, body="reply")
    last = await relate(stage, ben, "m.thread", roots[0], body="last")
    edit = await relate(stage, ben, "m.replace", last, body="edited")
    for who, took_part in ((ann, True), (ben, True), (eve, False)):
        thread = (await bundle(stage, who, roots[0]))["m.thread"]
        assert (thread["count"], thread["current_user_participated"]) == (2, took_part)
        assert thread["latest_event"]["event_id"] == last
        inner = thread["latest_event"]["unsigned"]["m.relations"]
        assert inner["m.replace"]["event_id"] == edit
    url = f"{V1}/rooms/{stage.room_id}/threads"
    page = (await eve.get(url, limit=2)).ok()
    assert [event["event_id"] for event in page["chunk"]] == [roots[0], roots[2]]
    assert page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 2
    page = (await eve.get(url, limit=2, **{"from": page["next_batch"]})).ok()
    assert [event["event_id"] for event in page["chunk"]] == [roots[1]]
    assert "next_batch" not in page
    assert (await eve.get(url, include="participated")).ok()["chunk"] == []
    await relate(stage, eve, "m.thread", roots[1], body="me too")
    mine = (await eve.get(url, include="participated")).ok()["chunk"]
    assert [event["event_id"] for event in mine] == [roots[1]]
    assert len((await ann.get(url, include="participated")).ok()["chunk"]) == 3


async def test_threads_of_a_room_that_was_left(hearth: Hearth, stage: Stage) -> None:
    ben = await hearth.user("ben")
    await stage.member(ben, "join")
    first, second = [await stage.say(stage.owner, text) for text in ("first", "second")]
    for root in (second, first):
        await relate(stage, stage.owner, "m.thread", root)
    await stage.member(ben, "leave")
    late = await relate(stage, stage.owner, "m.thread", second)
    await relate(stage, stage.owner, "m.thread", await stage.say(stage.owner, "third"))
    url = f"{V1}/rooms/{stage.room_id}/threads"
    page = (await ben.get(url)).ok()["chunk"]
    assert [event["event_id"] for event in page] == [first, second]
    assert late not in str(page)
    assert late not in await related(stage, ben, str(second))


async def bundles(stage: Stage, reader: Client, event_id: str) -> list[dict[str, Any]]:
    """What is told with an event wherever somebody who has left finds it; a thread's root."""
    leave = json.dumps({"room": {"include_leave": True, "timeline": {"limit": 14}}})
    left = (await reader.get(f"{V3}/sync", timeout=0, filter=leave)).ok()["rooms"]["leave"]
    assert left[stage.room_id]["timeline"]["limited"]
    pages = [
        left[stage.room_id]["timeline"]["events"],
        (await reader.get(f"{stage.path}/messages", dir="b")).ok()["chunk"],
        (await reader.get(f"{V1}/rooms/{stage.room_id}/threads")).ok()["chunk"],
        [(await reader.get(f"{stage.path}/context/{event_id}", limit=0)).ok()["event"]],
        [(await reader.get(f"{stage.path}/event/{event_id}")).ok()],
    ]
    shown = [event for page in pages for event in page if event["event_id"] == event_id]
    assert len(shown) == len(pages)
    return [event["unsigned"]["m.relations"] for event in shown]


async def of_every_kind(stage: Stage, parent: str) -> tuple[str, ...]:
    """A reply, an edit of it, a reference and an edit."""
    ann = stage.owner
    reply = await relate(stage, ann, "m.thread", parent)
    return (
        reply,
        await relate(stage, ann, "m.replace", reply, body="reply"),
        await relate(stage, ann, "m.reference", parent),
        await relate(stage, ann, "m.replace", parent, body="edit"),
    )


def told(bundle: dict[str, Any]) -> tuple[Any, ...]:
    """How many replies, whether the reader gave one, and the others as `of_every_kind` does."""
    thread = bundle["m.thread"]
    reply = thread["latest_event"]
    return (
        thread["count"],
        thread["current_user_participated"],
        reply["event_id"],
        reply["unsigned"]["m.relations"]["m.replace"]["event_id"],
        [one["event_id"] for one in bundle["m.reference"]["chunk"]],
        bundle["m.replace"]["event_id"],
    )


async def test_what_is_related_ends_where_the_reader_left(hearth: Hearth, stage: Stage) -> None:
    """What came later is neither counted nor named, and hides nothing of what was before."""
    ann, ben = stage.owner, await hearth.user("ben")
    await stage.member(ben, "join")
    parent = str(await stage.say(ann, "parent"))
    await relate(stage, ben, "m.thread", parent)
    reply, changed, reference, edit = await of_every_kind(stage, parent)
    await stage.member(ben, "leave", by=ann)
    later = await of_every_kind(stage, parent)
    await relate(stage, ann, "m.replace", reply, body="edited later")
    await stage.member(ben, "ban", by=ann)
    for bundle_of in await bundles(stage, ben, parent):
        assert told(bundle_of) == (2, True, reply, changed, [reference], edit)
    assert await bundle(stage, ben, reference) == {}
    await relate(stage, ann, "m.reference", reference)
    assert await bundle(stage, ben, reference) == {}
    await stage.member(ben, "leave", by=ann)
    await stage.member(ben, "join")
    now = (3, True, *later[:2], [reference, later[2]], later[3])
    assert told(await bundle(stage, ben, parent)) == now


async def test_what_is_related_goes_on_where_all_may_look(hearth: Hearth, stage: Stage) -> None:
    ann, ben = stage.owner, await hearth.user("ben")
    await stage.history_visibility("world_readable")
    await stage.member(ben, "join")
    parent = str(await stage.say(ann, "parent"))
    _, _, reference, _ = await of_every_kind(stage, parent)
    await stage.member(ben, "leave")
    later = await of_every_kind(stage, parent)
    now = (2, False, *later[:2], [reference, later[2]], later[3])
    for reader in (ann, ben):
        expected = (2, reader is ann, *now[2:])
        assert told(await bundle(stage, reader, parent)) == expected


async def test_lists_of_relations(stage: Stage) -> None:
    ann = stage.owner
    event = str(await stage.say(ann, "parent"))
    reactions = [
        await relate(stage, ann, "m.annotation", event, "m.reaction", key=key) for key in "abcde"
    ]
    reply = await relate(stage, ann, "m.thread", event)
    indirect = await relate(stage, ann, "m.annotation", reply, "m.reaction", key="x")
    everything = [*reactions, reply]
    assert await related(stage, ann, event, dir="f") == everything
    assert await related(stage, ann, event) == everything[::-1]
    assert await related(stage, ann, f"{event}/m.annotation") == reactions[::-1]
    assert await related(stage, ann, f"{event}/m.annotation/m.reaction") == reactions[::-1]
    assert await related(stage, ann, f"{event}/m.annotation/m.room.message") == []
    assert await related(stage, ann, event, recurse="true") == [indirect, *everything[::-1]]
    assert await related(stage, ann, f"{event}/m.annotation", recurse="true") == reactions[::-1]
    answer = await ann.get(f"{V1}/rooms/{stage.room_id}/relations/{event}", recurse="true")
    assert answer.ok()["recursion_depth"] >= 3
    (await ann.put(f"{stage.path}/redact/{reactions[0]}/1")).ok()
    assert await related(stage, ann, event, dir="f") == everything[1:]


async def test_who_may_look(hearth: Hearth, stage: Stage) -> None:
    eve = await hearth.user("eve")
    event = await stage.say(stage.owner, "parent")
    for path in (f"relations/{event}", "threads"):
        answer = await eve.get(f"{V1}/rooms/{stage.room_id}/{path}")
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    answer = await stage.owner.get(f"{V1}/rooms/{stage.room_id}/relations/$nothing")
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


async def test_what_may_not_be_sent(stage: Stage) -> None:
    ann = stage.owner
    event = str(await stage.say(ann, "parent"))

    async def send(txn: str, kind: str, relation: dict[str, str]) -> Any:
        path = f"{stage.path}/send/{kind}/{txn}"
        return await ann.put(path, {"msgtype": "m.text", "body": "x", "m.relates_to": relation})

    thumb = {"rel_type": "m.annotation", "event_id": event, "key": "+"}
    first = (await send("1", "m.reaction", thumb)).ok()
    assert (await send("1", "m.reaction", thumb)).ok() == first, "a repeat is no second one"
    answer = await send("2", "m.reaction", thumb)
    assert (answer.status, answer.errcode) == (400, "M_DUPLICATE_ANNOTATION")
    (await send("3", "m.reaction", {**thumb, "key": "-"})).ok()
    (await ann.put(f"{stage.path}/redact/{first['event_id']}/4")).ok()
    (await send("5", "m.reaction", thumb)).ok()
    reply = {"rel_type": "m.thread", "event_id": event}
    inside = (await send("6", "m.room.message", reply)).ok()["event_id"]
    answer = await send("7", "m.room.message", {**reply, "event_id": inside})
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    (await send("8", "m.room.message", {**reply, "event_id": "\0 odd"})).ok()


async def test_bundles_where_a_timeline_is_limited(stage: Stage) -> None:
    ann = stage.owner
    event = await stage.say(ann, "parent")
    edit = await relate(stage, ann, "m.replace", str(event), body="edited")
    sync = (await ann.get(f"{V3}/sync", timeout=0, filter='{"room":{"timeline":{"limit":2}}}')).ok()
    timeline = sync["rooms"]["join"][stage.room_id]["timeline"]
    assert timeline["limited"]
    shown = next(e for e in timeline["events"] if e["event_id"] == event)
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    page = (await ann.get(f"{stage.path}/messages", dir="b")).ok()["chunk"]
    shown = next(e for e in page if e["event_id"] == event)
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit


async def test_across_servers_and_in_history(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    stage = await staged(await here.user("ann"))
    ben = await there.user("ben")
    event = await stage.say(stage.owner, "before")
    edit = await relate(stage, stage.owner, "m.replace", str(event), body="edited")
    (await ben.post(f"{V3}/join/{stage.room_id}", server_name=here.name)).ok()
    page = (await ben.get(f"{stage.path}/messages", dir="b", limit=50)).ok()["chunk"]
    shown = next(e for e in page if e["event_id"] == event)
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    reply = await relate(stage, stage.owner, "m.thread", str(event))

    async def arrived() -> bool:
        return reply in await related(stage, ben, str(event))

    await eventually(arrived)
    assert (await bundle(stage, ben, str(event)))["m.thread"]["count"] == 1


@pytest.mark.parametrize("prefix", ["", "org.matrix.msc3874."])
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"rel_types": ["m.thread"]}, ["reply"]),
        ({"rel_types": ["m.thread", "m.annotation"]}, ["reply", "reaction"]),
        ({"rel_types": []}, []),
        ({"not_rel_types": ["m.thread"]}, ["root", "reaction"]),
        ({"rel_types": ["m.thread"], "not_rel_types": ["m.thread"]}, []),
    ],
)
async def test_filters_by_relation(
    stage: Stage, prefix: str, wanted: dict[str, list[str]], shown: list[str]
) -> None:
    """On `/messages` and in `/sync` alike."""
    ann = stage.owner
    root = await stage.say(ann, "root")
    names = {
        root: "root",
        await relate(stage, ann, "m.thread", root, body="reply"): "reply",
        await relate(stage, ann, "m.annotation", root, "m.reaction", key="+"): "reaction",
    }
    only = {prefix + name: types for name, types in wanted.items()}
    chosen = json.dumps({**only, "types": ["m.room.message", "m.reaction"]})
    path = f"/_matrix/client/v3/rooms/{stage.room_id}/messages"
    page = (await ann.get(path, dir="f", filter=chosen)).ok()["chunk"]
    assert [names[event["event_id"]] for event in page] == shown
    whole = json.dumps({"room": {"timeline": json.loads(chosen)}})
    rooms = (await ann.get("/_matrix/client/v3/sync", filter=whole)).ok()["rooms"]["join"]
    timeline = rooms[stage.room_id]["timeline"]["events"]
    assert [names[event["event_id"]] for event in timeline] == shown


async def test_a_nul_in_what_a_thread_is_about(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await staged(ann)
    (await ben.post(f"{room.path}/join")).ok()
    path = f"{room.path}/send/m.room.message"
    root = (await ann.put(f"{path}/1", {"msgtype": "m.text", "body": "\x00"})).ok()["event_id"]
    relation = {"rel_type": "m.thread", "event_id": root}
    content = {"msgtype": "m.text", "body": "x", "m.relates_to": relation}
    (await ben.put(f"{path}/2", content)).ok()
    threads = room.path.replace("/v3/", "/v1/") + "/threads"
    found = (await ann.get(threads, include="participated")).ok()["chunk"]
    assert [event["event_id"] for event in found] == [root]


async def test_nothing_is_related_across_rooms(stage: Stage) -> None:
    """Whoever knows an event's ID cannot add to what is told with it from elsewhere."""
    ann, other = stage.owner, await staged(stage.owner)
    parent = str(await stage.say(ann, "parent"))
    own = await of_every_kind(stage, parent)
    before = await bundle(stage, ann, parent)
    await of_every_kind(other, parent)
    after = await bundle(stage, ann, parent)
    assert told(after) == told(before) == (1, True, *own[:2], [own[2]], own[3])
    thumb = {"rel_type": "m.annotation", "event_id": parent, "key": "once"}
    for room in (other, stage):
        sent = await ann.put(f"{room.path}/send/m.reaction/once", {"m.relates_to": thumb})
        assert sent.status == 200


async def test_filters_see_no_relation_across_rooms(stage: Stage) -> None:
    ann, other = stage.owner, await staged(stage.owner)
    mine, elsewhere = str(await stage.say(ann, "mine")), str(await stage.say(ann, "elsewhere"))
    await relate(stage, ann, "m.thread", mine, body="reply")
    await relate(other, ann, "m.thread", elsewhere, body="reply")
    wanted = json.dumps({"related_by_rel_types": ["m.thread"]})
    page = (await ann.get(f"{stage.path}/messages", dir="b", filter=wanted)).ok()["chunk"]
    assert [event["event_id"] for event in page] == [mine]
