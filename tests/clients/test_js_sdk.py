"""matrix-js-sdk, which Element Web is made of, with its encryption in Rust; across two servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.federation.net.loopback import Authority
from tests.node.driving import Driven, driven, needs_node
from tests.servers import Hearth, eventually

pytestmark = needs_node
PASSWORD = "correct horse battery"


@dataclass
class Person:
    """Somebody with a client."""

    driven: Driven
    name: str
    user_id: str

    async def do(self, verb: str, **args: Any) -> Any:
        return await self.driven.do(verb, **args)

    async def reads(self, body: str) -> Any:
        """Wait for a message; it was encrypted."""
        told = await self.driven.until(
            "event",
            lambda one: one["content"].get("body") == body and one["sender"] != self.user_id,
        )
        assert told["encrypted"]
        return told

    async def sees(self, seen: str, **fields: Any) -> Any:
        return await self.driven.until(
            seen, lambda one: all(one.get(name) == value for name, value in fields.items())
        )

    async def call(self, method: str, *args: Any) -> Any:
        """What the client has a method for."""
        return await self.do("call", method=method, args=args)

    async def say(self, room: str, body: str, **more: Any) -> str:
        content = {"msgtype": "m.text", "body": body, **more}
        event_id: str = await self.do("send", room=room, content=content)
        return event_id


@dataclass
class Couple:
    """Ann and Ben, each on a server of their own."""

    ann: Person
    ben: Person

    async def meet(self) -> str:
        """In an encrypted room of Ann's; its ID."""
        room: str = await self.ann.do(
            "createRoom",
            preset="private_chat",
            name="Tea",
            invite=[self.ben.user_id],
            initial_state=[
                {
                    "type": "m.room.encryption",
                    "state_key": "",
                    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
                }
            ],
        )
        await self.ben.sees("membership", room=room, membership="invite")
        await self.ben.do("join", room=room)
        joined = {"type": "m.room.member", "sender": self.ben.user_id, "room": room}
        await self.ann.sees("event", **joined)
        await self.ben.sees("membership", room=room, membership="join")
        return room


@pytest.fixture(params=["v3", "sliding"])
async def couple(
    request: pytest.FixtureRequest, pair: tuple[Hearth, Hearth], loopback_authority: Authority
) -> AsyncIterator[Couple]:
    trusted = str(loopback_authority.file)
    async with AsyncExitStack() as stack:
        people = []
        for hearth, name in zip(pair, ("ann", "ben"), strict=True):
            script = driven("js_sdk.mjs", node_extra_ca_certs=trusted)
            client = await stack.enter_async_context(script)
            login = {"url": hearth.url, "name": name, "password": PASSWORD}
            made = await client.do("register", sliding=request.param == "sliding", **login)
            await client.do("crossSign", name=name, password=PASSWORD)
            people.append(Person(client, name, made["user"]))
        yield Couple(*people)


async def test_a_conversation(couple: Couple) -> None:
    ann, ben = couple.ann, couple.ben
    room = await couple.meet()
    await ann.say(room, "hello ben")
    hello = await ben.reads("hello ben")
    answer = await ben.say(room, "hello ann")
    await ann.reads("hello ann")
    # Edits, answers in a thread, reactions, redactions.
    relation = {"rel_type": "m.replace", "event_id": answer}
    new = {"msgtype": "m.text", "body": "good morning"}
    await ben.say(room, "* good morning", **{"m.new_content": new, "m.relates_to": relation})
    await ann.reads("* good morning")
    thread = {"rel_type": "m.thread", "event_id": hello["event"]}
    threaded = await ben.say(room, "about tea", **{"m.relates_to": thread})
    await ann.reads("about tea")
    found = await ann.do("relations", room=room, event=hello["event"], type="m.thread")
    assert found == [threaded]
    annotation = {"rel_type": "m.annotation", "event_id": hello["event"], "key": "+1"}
    reaction = {"m.relates_to": annotation}
    event = await ben.do("send", room=room, type="m.reaction", content=reaction)
    await ann.sees("event", event=event)
    await ben.do("redact", room=room, event=event)
    await ann.sees("redaction", redacts=event)
    # What is told now or never, and what was read.
    await ben.do("typing", room=room, typing=True)
    await ann.sees("typing", user=ben.user_id, typing=True)
    await ben.do("read", room=room, event=hello["event"])
    await ann.driven.until("receipt", lambda one: ben.user_id in str(one["content"]))
    uri = await ann.do("upload", text="a note")
    assert await ben.do("download", uri=uri) == "a note"
    bodies = await ben.do("history", room=room)
    assert bodies[:2] == ["hello ben", "good morning"]


async def test_they_make_sure_who_they_are(couple: Couple) -> None:
    """By comparing emoji: messages to devices and in the room, and signatures, across servers."""
    ann, ben = couple.ann, couple.ben
    room = await couple.meet()
    await ann.say(room, "hello")
    await ben.reads("hello")
    assert not await ann.do("trusts", user=ben.user_id)
    await ann.do("verify", room=room, user=ben.user_id)
    await ben.sees("verification", **{"from": ann.user_id})
    await ben.do("accept")
    ours, theirs = await ann.sees("sas"), await ben.sees("sas")
    assert ours["emoji"] == theirs["emoji"]
    await ann.sees("verified")
    await ben.sees("verified")
    await eventually(lambda: ann.do("trusts", user=ben.user_id))
    await eventually(lambda: ben.do("trusts", user=ann.user_id))


@pytest.mark.parametrize("couple", ["v3"], indirect=True)
async def test_the_life_of_a_room(couple: Couple, pair: tuple[Hearth, Hearth]) -> None:
    """All but talking: spaces, knocks, searches, threads, moderation, upgrades."""
    ann, ben = couple.ann, couple.ben
    here = pair[0].name
    space = await ann.do("createRoom", preset="public_chat", creation_content={"type": "m.space"})
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    hall = await ann.do(
        "createRoom",
        name="Hall",
        room_alias_name="hall",
        visibility="public",
        initial_state=[{"type": "m.room.join_rules", "content": rule}],
    )
    await ann.call("sendStateEvent", space, "m.space.child", {"via": [here]}, hall)
    # He finds the space, and by it may come into the room, over federation.
    await ben.do("join", room=space, via=[here])
    tree = await ben.call("getRoomHierarchy", space)
    assert [room.get("name") for room in tree["rooms"]] == [None, "Hall"]
    assert (await ben.call("getRoomSummary", f"#hall:{here}"))["join_rule"] == "restricted"
    listed = await ben.call("publicRooms", {"server": here})
    assert [room["room_id"] for room in listed["chunk"]] == [hall]
    await ben.do("join", room=f"#hall:{here}")
    await ann.sees("event", type="m.room.member", sender=ben.user_id, room=hall)
    await ben.sees("membership", room=hall, membership="join")
    # Talk that can be searched, threads with receipts of their own, polls.
    first = await ann.say(hall, "what about oranges")
    await ben.sees("event", event=first)
    assert await ben.do("search", words="oranges", room=hall) == [first]
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": first}}
    reply = await ben.say(hall, "I like them", **thread)
    await ann.sees("event", event=reply)
    key = {"rel_type": "m.annotation", "event_id": reply, "key": "+1"}
    await ann.do("send", room=hall, type="m.reaction", content={"m.relates_to": key})
    found = await ben.call("fetchRelations", hall, first, None, None, {"recurse": True})
    assert {event["type"] for event in found["chunk"]} >= {"m.room.message"}
    assert await ann.do("threads", room=hall) == [[first, 1, True]]
    await ann.do("read", room=hall, event=reply)
    await ben.driven.until("receipt", lambda one: f"'thread_id': '{first}'" in str(one["content"]))
    start: Any = {"org.matrix.msc3381.poll.start": {"question": {"body": "?"}, "answers": []}}
    poll = await ben.do("send", room=hall, type="org.matrix.msc3381.poll.start", content=start)
    vote = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll}}
    await ann.sees("event", event=poll)
    await ann.do("send", room=hall, type="org.matrix.msc3381.poll.response", content=vote)
    later = await ben.call(
        "_unstable_sendDelayedEvent",
        *(hall, {"delay": 600_000}, None, "m.room.message", {"msgtype": "m.text", "body": "late"}),
    )
    await ben.call("_unstable_updateDelayedEvent", later["delay_id"], "send")
    await ann.driven.until("event", lambda one: one["content"].get("body") == "late")
    moment = await ben.call("timestampToEvent", hall, 0, "f")
    assert moment["event_id"].startswith("$")
    # What is one's own.
    await ben.call("setRoomTag", hall, "m.favourite", {"order": 0.5})
    await ben.call("reportEvent", hall, first, -100, "just so")
    await ben.call("reportRoom", hall, "just so")
    assert await ben.call("_unstable_getSharedRooms", ann.user_id) == [space, hall]
    people = await ben.call("searchUserDirectory", {"term": "ann"})
    assert [one["user_id"] for one in people["results"]] == [ann.user_id]
    # A room that is knocked at.
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    club = await ann.do("createRoom", name="Club", initial_state=[knock])
    await ben.call("knockRoom", club, {"reason": "please", "viaServers": [here]})
    await ann.sees("event", type="m.room.member", sender=ben.user_id, room=club)
    await ann.call("invite", club, ben.user_id)
    await ben.sees("membership", room=club, membership="invite")
    await ben.do("join", room=club)
    await ann.call("kick", club, ben.user_id, "enough")
    await ben.sees("membership", room=club, membership="leave")
    # Who is ignored is heard no more, and invites nobody.
    await ben.call("setIgnoredUsers", [ann.user_id])
    await ann.call("invite", club, ben.user_id)
    seen = len(ben.driven.seen)
    await ann.say(hall, "nobody hears me")
    await ann.call("setRoomTopic", hall, "State is everybody's")
    await ben.sees("event", type="m.room.topic", room=hall)
    assert "nobody hears me" not in str(ben.driven.seen[seen:])
    assert {"seen": "membership", "room": club, "membership": "invite"} not in ben.driven.seen[
        seen:
    ]
    await ben.call("setIgnoredUsers", [])
    # A room that is replaced.
    new = (await ann.call("upgradeRoom", hall, "11"))["replacement_room"]
    await ben.sees("event", type="m.room.tombstone", room=hall)
    await ben.do("join", room=new, via=[here])
    await ben.sees("membership", room=new, membership="join")
    assert (await ben.call("getRoomTags", new))["tags"] == {"m.favourite": {"order": 0.5}}
    assert (await ben.call("getRoomIdForAlias", f"#hall:{here}"))["room_id"] == new
    shown = await ben.call("roomInitialSync", new, 5)
    assert shown["membership"] == "join"


@pytest.mark.parametrize("couple", ["v3"], indirect=True)
async def test_what_is_said_while_somebody_is_logged_in_nowhere(
    couple: Couple, pair: tuple[Hearth, Hearth], loopback_authority: Authority
) -> None:
    """A dehydrated device gets the keys, and the next login reads with them what was said."""
    ann, ben = couple.ann, couple.ben
    room = await couple.meet()
    key = await ann.do("dehydrate")
    await ann.do("logOut")

    async def only_that_is_left() -> bool:
        devices = await ben.do("devices", user=ann.user_id)
        return [dehydrated for _, dehydrated in devices] == [True]

    await eventually(only_that_is_left, 20)
    await ben.say(room, "while you were away")
    trusted = str(loopback_authority.file)
    async with driven("js_sdk.mjs", node_extra_ca_certs=trusted) as client:
        await client.do("logIn", url=pair[0].url, name="ann", password=PASSWORD)
        assert await client.do("rehydrate", key=key) == 1
        assert await client.do("history", room=room) == ["while you were away"]
