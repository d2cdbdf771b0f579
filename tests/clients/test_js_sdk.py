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
