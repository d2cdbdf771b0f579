"""How much is unread, as `/sync` tells it.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"
APART = '{"room":{"timeline":{"unread_thread_notifications":true}}}'


class Follower:
    """A client that goes on from its last token."""

    def __init__(self, stage: Stage, client: Client) -> None:
        self.stage, self.client = stage, client
        self.since: str | None = None
        self.last = (0, 0)

    async def section(self, **query: Any) -> dict[str, Any]:
        more = {"since": self.since} if self.since else {}
        sync = (await self.client.get(f"{V3}/sync", timeout=0, **more, **query)).ok()
        self.since = sync["next_batch"]
        found: dict[str, Any] = sync.get("rooms", {}).get("join", {}).get(self.stage.room_id, {})
        return found

    async def counts(self) -> tuple[int, int]:
        """Notifications and highlights: as last told, if nothing is told."""
        section = await self.section()
        if "unread_notifications" in section:
            told = section["unread_notifications"]
            self.last = (told["notification_count"], told["highlight_count"])
        return self.last

    async def anew(self) -> tuple[int, int]:
        """What a client is told that begins."""
        other = Follower(self.stage, self.client)
        return await other.counts()


@pytest.fixture
async def stage(hearth: Hearth) -> Stage:
    return await staged(await hearth.user("ann"))


@pytest.fixture
async def ben(hearth: Hearth, stage: Stage) -> Follower:
    """Somebody who is in the room since now."""
    client = await hearth.user("ben")
    await stage.say(stage.owner, "before")
    await stage.member(client, "join")
    follower = Follower(stage, client)
    assert await follower.counts() == (0, 0)
    return follower


async def mention(stage: Stage, *users: str, **more: Any) -> str:
    mentions = {"user_ids": list(users), **({"room": True} if "room" in more else {})}
    more.pop("room", None)
    content = {"body": "x", "msgtype": "m.text", "m.mentions": mentions, **more}
    return str(await stage.send(stage.owner, "m.room.message", content))


async def read(who: Client, stage: Stage, event: str, **body: Any) -> None:
    kind = body.pop("kind", "m.read")
    (await who.post(f"{stage.path}/receipt/{kind}/{event}", body)).ok()


async def test_messages_and_mentions_come_with_their_count(stage: Stage, ben: Follower) -> None:
    await stage.say(stage.owner, "one")
    assert await ben.counts() == (1, 0)
    await mention(stage, ben.client.user_id)
    await mention(stage, "@somebody:else.test")
    assert await ben.counts() == (3, 1)
    await mention(stage, room=True)
    assert await ben.counts() == (4, 2)
    await mention(stage, ben.client.user_id, msgtype="m.notice")
    await stage.send(stage.owner, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation"}})
    await stage.state("m.room.topic", {"topic": "x"})
    assert await ben.counts() == await ben.anew() == (4, 2)


async def test_reading_and_speaking(stage: Stage, ben: Follower) -> None:
    events = [str(await stage.say(stage.owner, f"{n}")) for n in range(4)]
    assert await ben.counts() == (4, 0)
    await read(ben.client, stage, events[1])
    assert await ben.counts() == await ben.anew() == (2, 0)
    await read(ben.client, stage, events[2], kind="m.read.private")
    assert await ben.counts() == await ben.anew() == (1, 0)
    await stage.say(ben.client, "i have read it all")
    assert await ben.counts() == await ben.anew() == (0, 0)
    await stage.say(stage.owner, "more")
    assert await ben.counts() == await ben.anew() == (1, 0)


async def test_what_is_taken_back_counts_no_more(stage: Stage, ben: Follower) -> None:
    await stage.say(stage.owner, "stays")
    regretted = await mention(stage, ben.client.user_id)
    assert await ben.counts() == (2, 1)
    (await stage.owner.put(f"{stage.path}/redact/{regretted}/1")).ok()
    assert await ben.counts() == await ben.anew() == (1, 0)


async def test_edits_count_nothing(stage: Stage, ben: Follower) -> None:
    event = await stage.say(stage.owner, "first")
    edit = {
        "msgtype": "m.text",
        "body": "* second",
        "m.new_content": {"msgtype": "m.text", "body": "second"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }
    await stage.send(stage.owner, "m.room.message", edit)
    assert await ben.counts() == await ben.anew() == (1, 0)


async def test_polls(stage: Stage, ben: Follower) -> None:
    poll = "org.matrix.msc3381.poll"
    start = await stage.send(stage.owner, f"{poll}.start", {"body": "Tea?"})
    answer = {"m.relates_to": {"rel_type": "m.reference", "event_id": start}}
    await stage.send(stage.owner, f"{poll}.response", answer)
    assert await ben.counts() == await ben.anew() == (1, 0)
    await stage.send(stage.owner, f"{poll}.end", answer)
    assert await ben.counts() == await ben.anew() == (2, 0)
    # The same by rules that are looked at one by one.
    rule = {"pattern": "nothing", "actions": []}
    (await ben.client.put(f"{V3}/pushrules/global/content/own", rule)).ok()
    assert await ben.anew() == (2, 0)


async def test_who_is_called_is_told(stage: Stage, ben: Follower) -> None:
    async def call(mentions: dict[str, Any]) -> None:
        await stage.send(stage.owner, "org.matrix.msc4075.rtc.invite", {"m.mentions": mentions})

    await call({"user_ids": ["@somebody:else.test"]})
    assert await ben.counts() == await ben.anew() == (0, 0)
    await call({"user_ids": [ben.client.user_id]})
    await call({"room": True})
    assert await ben.counts() == await ben.anew() == (2, 0)
    rule = {"pattern": "nothing", "actions": []}
    (await ben.client.put(f"{V3}/pushrules/global/content/own", rule)).ok()
    assert await ben.anew() == (2, 0)


async def test_threads_are_counted_apart(stage: Stage, ben: Follower) -> None:
    root = str(await stage.say(stage.owner, "root"))
    relation = {"rel_type": "m.thread", "event_id": root}
    for _ in range(2):
        reply = await mention(stage, ben.client.user_id, **{"m.relates_to": relation})

    async def apart() -> tuple[Any, Any]:
        section = await Follower(stage, ben.client).section(filter=APART)
        return section["unread_notifications"], section.get("unread_thread_notifications", {})

    two = {"notification_count": 2, "highlight_count": 2}
    one, none = ({"notification_count": n, "highlight_count": 0} for n in (1, 0))
    assert await apart() == (one, {root: two})
    assert await ben.counts() == (3, 2)
    await read(ben.client, stage, root, thread_id="main")
    assert await apart() == (none, {root: two})
    await read(ben.client, stage, reply, thread_id=root)
    assert await apart() == (none, {})
    assert await ben.counts() == (0, 0)


async def test_rules_of_ones_own(stage: Stage, ben: Follower) -> None:
    await stage.say(stage.owner, "the secret word")
    await stage.say(stage.owner, "another")
    rules = f"{V3}/pushrules/global"
    loud = {"pattern": "secret", "actions": ["notify", {"set_tweak": "highlight"}]}
    (await ben.client.put(f"{rules}/content/mine", loud)).ok()
    assert await ben.anew() == (2, 1)
    await stage.say(stage.owner, "secret again")
    assert await ben.counts() == await ben.anew() == (3, 2)
    (await ben.client.put(f"{rules}/room/{stage.room_id}", {"actions": []})).ok()
    assert await ben.anew() == (2, 2)
    (await ben.client.put(f"{rules}/override/.m.rule.master/enabled", {"enabled": True})).ok()
    assert await ben.anew() == (0, 0)


async def test_across_servers(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    stage = await staged(await here.user("ann"))
    client = await there.user("ben")
    (await client.post(f"{V3}/join/{stage.room_id}", server_name=here.name)).ok()
    ben = Follower(stage, client)
    assert await ben.counts() == (0, 0)
    await stage.say(stage.owner, "one")
    await mention(stage, client.user_id)

    async def both() -> bool:
        return await ben.counts() == (2, 1)

    await eventually(both)
    # What came before one's own server did is history, and no news.
    (await client.get(f"{stage.path}/messages", dir="b", limit=50)).ok()
    assert await ben.anew() == (2, 1)


async def test_a_sync_costs_the_same_however_many_wait(hearth: Hearth, stage: Stage) -> None:
    people = [await hearth.user(f"u{n}") for n in range(5)]
    for one in people:
        await stage.member(one, "join")
    followers = [Follower(stage, one) for one in people]
    for follower in followers:
        await follower.counts()
    for number in range(1, 4):
        await stage.say(stage.owner, "x")
        assert [await follower.counts() for follower in followers] == [(number, 0)] * 5


async def test_in_sliding_sync_too(stage: Stage, ben: Follower) -> None:
    await mention(stage, ben.client.user_id)
    await stage.say(stage.owner, "x")
    wanted = {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []}
    path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    answer = (await ben.client.post(path, {"lists": {"all": wanted}})).ok()
    room = answer["rooms"][stage.room_id]
    assert (room["notification_count"], room["highlight_count"]) == (2, 1)
