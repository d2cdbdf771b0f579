"""What one was notified of.

https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


class Scene:
    """Ann speaks, ben listens."""

    def __init__(self, ann: Client, ben: Client, stage: Stage) -> None:
        self.ann, self.ben, self.stage = ann, ben, stage

    async def say(self, text: str = "hello", **content: Any) -> str:
        body = {"msgtype": "m.text", "body": text, **content}
        return await self.stage.send(self.ann, "m.room.message", body)

    async def call(self, text: str = "ben!") -> str:
        """A highlight."""
        return await self.say(text, **{"m.mentions": {"user_ids": [self.ben.user_id]}})

    async def page(self, **query: Any) -> Any:
        return (await self.ben.get(f"{V3}/notifications", **query)).ok()

    async def ids(self, **query: Any) -> list[str]:
        """The events of a page."""
        found = (await self.page(**query))["notifications"]
        return [one["event"]["event_id"] for one in found]

    async def read(self, event_id: str, kind: str = "m.read", **body: Any) -> None:
        path = f"{V3}/rooms/{self.stage.room_id}/receipt/{kind}/{event_id}"
        (await self.ben.post(path, body)).ok()

    async def unread(self) -> list[str]:
        """The unread ones, the newest first."""
        found = (await self.page())["notifications"]
        return [one["event"]["event_id"] for one in found if not one["read"]]


@pytest.fixture
async def scene(hearth: Hearth) -> Scene:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    stage = await staged(ann)
    found = Scene(ann, ben, stage)
    await found.say("before")
    await stage.member(await hearth.user("cat"), "join")
    await stage.member(ben, "join")
    return found


async def test_pages(scene: Scene) -> None:
    assert await scene.page() == {"notifications": []}
    other = await staged(scene.ann)
    await other.member(scene.ben, "join")
    said = []
    for number in range(6):
        said.append(await scene.say(str(number)))
        said.append(await other.say(scene.ann, str(number)))
    await scene.say("no", msgtype="m.notice")
    await scene.stage.say(scene.ben, "own")
    said.reverse()
    first = await scene.page(limit=5)
    assert [one["event"]["event_id"] for one in first["notifications"]] == said[:5]
    assert await scene.ids(limit=5, **{"from": first["next_token"]}) == said[5:10]
    last = await scene.page(limit=20)
    assert "next_token" not in last
    one = last["notifications"][1]
    assert one["actions"] == ["notify"]
    assert one["room_id"] == scene.stage.room_id
    assert one["event"]["content"]["body"] == "5"
    assert one["ts"] == one["event"]["origin_server_ts"]
    assert last["notifications"][0]["actions"][1] == {"set_tweak": "sound", "value": "default"}


async def test_only_highlights(scene: Scene) -> None:
    await scene.say()
    called = await scene.call()
    await scene.say()
    again = await scene.call()
    assert await scene.ids(only="highlight") == [again, called]
    assert await scene.ids(only="highlight", limit=1) == [again]
    path = f"{V3}/pushrules/global/content/tea"
    rule = {"pattern": "tea", "actions": ["notify", {"set_tweak": "highlight"}]}
    (await scene.ben.put(path, rule)).ok()
    tea = await scene.say("tea")
    assert await scene.ids(only="highlight") == [tea, again, called]
    page = await scene.page(only="highlight", limit=2)
    assert await scene.ids(only="highlight", **{"from": page["next_token"]}) == [called]


@pytest.mark.parametrize("kind", ["m.read", "m.read.private"])
async def test_what_is_read(scene: Scene, kind: str) -> None:
    first, second = await scene.say(), await scene.say()
    root = await scene.say()
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    one, two = [await scene.say(str(n), **thread) for n in range(2)]
    assert await scene.unread() == [two, one, root, second, first]
    await scene.read(first, kind)
    assert await scene.unread() == [two, one, root, second]
    await scene.read(one, kind, thread_id=root)
    assert await scene.unread() == [two, root, second]
    # Whoever speaks in a thread has read what was said in it.
    await scene.stage.say(scene.ben, "aha")
    assert await scene.unread() == [two]
    last = await scene.say()
    assert await scene.unread() == [last, two]
    await scene.read(last, kind)
    assert await scene.unread() == []
    assert len(await scene.ids()) == 6


async def test_what_is_not_listed(scene: Scene) -> None:
    gone, kept = await scene.say(), await scene.say()
    (await scene.ann.put(f"{scene.stage.path}/redact/{gone}/1")).ok()
    assert await scene.ids() == [kept]
    data = f"{V3}/user/{scene.ben.user_id}/account_data/m.ignored_user_list"
    (await scene.ben.put(data, {"ignored_users": {scene.ann.user_id: {}}})).ok()
    assert await scene.ids() == []
    (await scene.ben.put(data, {"ignored_users": {}})).ok()
    await scene.stage.member(scene.ben, "leave")
    assert await scene.ids() == []


@pytest.mark.parametrize("query", [{"from": "x"}, {"limit": "x"}, {"limit": "-1"}])
async def test_what_cannot_be(scene: Scene, query: dict[str, str]) -> None:
    answer = await scene.ben.get(f"{V3}/notifications", **query)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
