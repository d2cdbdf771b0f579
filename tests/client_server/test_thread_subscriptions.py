"""Threads that people follow: endpoints, push rules, and what sliding sync tells of them.

https://github.com/matrix-org/matrix-spec-proposals/pull/4306
https://github.com/matrix-org/matrix-spec-proposals/pull/4308
"""

import asyncio
from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.client_server.test_sliding_sync import sliding
from tests.client_server.test_unread_counts import Follower, mention
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
CHANGES = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"
EXTENSION = "io.element.msc4308.thread_subscriptions"
RULE = f"{V3}/pushrules/global/postcontent/.io.element.msc4306.rule."


@pytest.fixture
async def stage(hearth: Hearth) -> Stage:
    return await staged(await hearth.user("ann"))


@pytest.fixture
async def ben(hearth: Hearth, stage: Stage) -> Client:
    ben = await hearth.user("ben")
    await stage.member(ben, "join")
    return ben


def path(stage: Stage, root: str) -> str:
    room = f"rooms/{stage.room_id}/thread/{root}/subscription"
    return f"/_matrix/client/unstable/io.element.msc4306/{room}"


async def reply(stage: Stage, root: str, **more: Any) -> str:
    content = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}, **more}
    return str(
        await stage.send(
            stage.owner, "m.room.message", {"msgtype": "m.text", "body": "x", **content}
        )
    )


async def test_following_by_hand_and_of_itself(stage: Stage, ben: Client) -> None:
    root, other = str(await stage.say(stage.owner, "a")), str(await stage.say(stage.owner, "b"))
    thread = path(stage, root)
    assert (await ben.get(thread)).status == 404
    first = await reply(stage, root)
    (await ben.put(thread, {"automatic": first})).ok()
    assert (await ben.get(thread)).ok() == {"automatic": True}
    (await ben.put(thread)).ok()
    assert (await ben.get(thread)).ok() == {"automatic": False}
    # What a person wants is not undone by what a client does.
    (await ben.put(thread, {"automatic": first})).ok()
    assert (await ben.get(thread)).ok() == {"automatic": False}
    for cause in (root, other, "$nothing"):
        refused = await ben.put(thread, {"automatic": cause})
        assert (refused.status, refused.errcode) == (400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD")
    assert (await stage.owner.get(thread)).status == 404
    for bad in (5, "", "nonsense"):
        assert (await ben.put(thread, {"automatic": bad})).status == 400


async def test_what_was_given_up_comes_back_only_for_what_is_new(stage: Stage, ben: Client) -> None:
    root = str(await stage.say(stage.owner, "a"))
    thread, old = path(stage, root), await reply(stage, root)
    for _ in range(2):
        assert (await ben.delete(thread)).ok() == {}
        assert (await ben.get(thread)).status == 404
    refused = await ben.put(thread, {"automatic": old})
    conflict = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
    assert (refused.status, refused.errcode) == (409, conflict)
    (await ben.put(thread, {"automatic": await reply(stage, root)})).ok()
    (await ben.delete(thread)).ok()
    (await ben.put(thread)).ok()
    assert (await ben.get(thread)).ok() == {"automatic": False}


async def test_who_may_not_see_a_thread_finds_none(hearth: Hearth, stage: Stage) -> None:
    await stage.history_visibility("joined")
    thread = path(stage, str(await stage.say(stage.owner, "a")))
    stranger = await hearth.user("cat")
    for there in (thread, path(stage, "$nothing")):
        for ask in (stranger.get, stranger.put, stranger.delete):
            answer = await ask(there)
            assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


async def test_threads_notify_who_follows_them(stage: Stage, ben: Client) -> None:
    root, other = str(await stage.say(stage.owner, "a")), str(await stage.say(stage.owner, "b"))
    follower = Follower(stage, ben)
    assert await follower.counts() == (2, 0)
    # A client that knows nothing of following is told of all threads, as the specification has it.
    await reply(stage, root)
    assert await follower.counts() == (3, 0)
    assert (await ben.get(f"{RULE}unsubscribed_thread/enabled")).ok() == {"enabled": False}
    (await ben.put(path(stage, other))).ok()
    assert (await ben.get(f"{RULE}unsubscribed_thread/enabled")).ok() == {"enabled": True}
    assert await follower.anew() == (2, 0)
    await reply(stage, root)
    await reply(stage, other)
    assert await follower.counts() == await follower.anew() == (3, 0)
    # A mention is told all the same; and a followed thread in a room that is muted.
    relation = {"rel_type": "m.thread", "event_id": root}
    await mention(stage, ben.user_id, **{"m.relates_to": relation})
    assert await follower.counts() == (4, 1)
    (await ben.put(f"{V3}/pushrules/global/room/{stage.room_id}", {"actions": []})).ok()
    assert await follower.anew() == (2, 1)
    listed = (await ben.get(f"{V3}/notifications", limit=10)).ok()["notifications"]
    assert [one["event"]["content"]["m.relates_to"]["event_id"] for one in listed] == [root, other]
    (await ben.delete(path(stage, other))).ok()
    assert await follower.anew() == (1, 1)
    # Who wants to hear of all threads chooses so.
    (await ben.put(f"{RULE}unsubscribed_thread/enabled", {"enabled": False})).ok()
    (await ben.delete(f"{V3}/pushrules/global/room/{stage.room_id}")).ok()
    assert await follower.anew() == (6, 1)
    (await ben.put(path(stage, other))).ok()
    assert (await ben.get(f"{RULE}unsubscribed_thread/enabled")).ok() == {"enabled": False}


async def test_nobody_has_such_rules_of_their_own(ben: Client) -> None:
    rule = f"{V3}/pushrules/global/postcontent/mine"
    refused = await ben.put(rule, {"actions": ["notify"], "conditions": []})
    assert (refused.status, refused.errcode) == (400, "M_INVALID_PARAM")


async def test_in_sliding_sync(stage: Stage, ben: Client) -> None:
    asking = {"extensions": {EXTENSION: {"enabled": True, "limit": 2}}}
    first = await sliding(ben, asking)
    assert first["extensions"] == {}
    roots = [str(await stage.say(stage.owner, f"{n}")) for n in range(4)]
    waiting = asyncio.create_task(sliding(ben, asking, first["pos"], timeout="20000"))
    await stage.hearth.is_waited_on()
    (await ben.put(path(stage, roots[0]))).ok()
    async with asyncio.timeout(5):
        second = await waiting
    told = second["extensions"][EXTENSION]
    assert told["subscribed"][stage.room_id][roots[0]]["automatic"] is False
    stamp = told["subscribed"][stage.room_id][roots[0]]["bump_stamp"]
    for root in roots[1:]:
        (await ben.put(path(stage, root))).ok()
    (await ben.delete(path(stage, roots[0]))).ok()
    third = await sliding(ben, asking, second["pos"])
    told = third["extensions"][EXTENSION]
    assert list(told["subscribed"][stage.room_id]) == [roots[3]]
    assert told["unsubscribed"][stage.room_id][roots[0]]["bump_stamp"] > stamp
    more = {"dir": "b", "from": told["prev_batch"], "to": second["pos"]}
    page = (await ben.get(CHANGES, **more, limit=1)).ok()
    assert list(page["subscribed"][stage.room_id]) == [roots[2]]
    page = (await ben.get(CHANGES, **more | {"from": page["end"]})).ok()
    assert list(page["subscribed"][stage.room_id]) == [roots[1]]
    assert "end" not in page
    assert (await sliding(ben, asking, third["pos"]))["extensions"] == {}
    # Another device is told all; so is one that has not asked before.
    everything = (await ben.get(CHANGES, dir="b")).ok()
    assert everything["subscribed"][stage.room_id].keys() == {*roots[1:]}
    later = await sliding(ben, {})
    found = await sliding(ben, {"extensions": {EXTENSION: {"enabled": True}}}, later["pos"])
    assert found["extensions"][EXTENSION] == everything
    assert (await stage.owner.get(CHANGES, dir="b")).ok() == {}
    for bad in ({"dir": "f"}, {"dir": "b", "limit": 0}, {"dir": "b", "from": "x"}, {}):
        assert (await ben.get(CHANGES, **bad)).status == 400


async def test_an_account_that_ends_follows_nothing(stage: Stage, ben: Client) -> None:
    (await ben.put(path(stage, str(await stage.say(stage.owner, "a"))))).ok()
    parts = stage.hearth.parts
    users, process = parts.accounts, parts.base.process
    async with process.database.reader() as conn:
        nid = (await process.numbers.users.find(conn, [ben.user_id]))[ben.user_id]
        await users.management.deactivate(nid, erase=False)
        assert not await conn.fetch("SELECT 1 FROM thread_subscriptions WHERE user_nid = $1", nid)
