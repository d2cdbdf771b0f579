"""What the people of the demo say and do, and what must come of it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from homeserver.demo.attachments import decrypt, encrypt
from homeserver.demo.people import V3, Person, register
from homeserver.demo.servers import DemoError, Server

Say = Callable[[str], None]

HELLO = "Hello Bob, the meeting is at the old lighthouse"
ANSWER = "Hello Ann, I shall bring the lanterns and the map"
EDITED = "Hello Bob, the meeting is at the new harbour instead"
AFTER_LEAVING = "Now that Carol has left: the password is heliotrope"
FILE_OF_ANN = "Tide tables for the harbour: high water at 04:12 and 16:40. " * 40
FILE_OF_BOB = "The map: from the church follow the brook, then the third gate. " * 40
FILE_NAME = "tide-tables-for-ann-and-bob.txt"

SECRETS = (HELLO, ANSWER, EDITED, AFTER_LEAVING, FILE_OF_ANN[:60], FILE_OF_BOB[:64], FILE_NAME)
"""What no operator may be able to read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What can be looked for on the disks afterwards."""

    room_id: str
    people: tuple[str, ...]


async def converse(one: Server, two: Server, say: Say) -> Outcome:
    """Have the conversation; raises `DemoError` where anything is not as it must be."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        ann = await register(session, one.url, one.trust, "ann")
        bob = await register(session, two.url, two.trust, "bob")
        carol = await register(session, two.url, two.trust, "carol")
        say(f"Ann is {ann.user_id}; Bob {bob.user_id} and Carol {carol.user_id} are elsewhere")
        room_id = await _gather(ann, (bob, carol), one)
        say("All three are in an encrypted room, with cross-signed devices")
        await _talk(room_id, ann, bob, carol, say)
        await _share_files(room_id, ann, bob, say)
        await _part(room_id, ann, bob, carol, say)
        return Outcome(room_id, (ann.user_id, bob.user_id, carol.user_id))


async def _gather(ann: Person, guests: tuple[Person, ...], one: Server) -> str:
    wanted = {"preset": "private_chat", "invite": [guest.user_id for guest in guests]}
    room_id = str((await ann.ask("POST", f"{V3}/createRoom", wanted))["room_id"])
    for guest in guests:
        await guest.until(lambda person: room_id in person.invites, "the invitation")
        path = f"{V3}/join/{quote(room_id)}"
        await guest.ask("POST", path, {}, server_name=one.name)
    everybody = (ann, *guests)
    for person in everybody:
        await person.until(
            lambda here: all(here.members.get(p.user_id) == "join" for p in everybody),
            "everybody to be in the room",
        )
    state = await ann.ask("GET", f"{V3}/rooms/{quote(room_id)}/state/m.room.encryption")
    if state["algorithm"] != "m.megolm.v1.aes-sha2":
        raise DemoError("the room is not encrypted")
    return room_id


async def _talk(room_id: str, ann: Person, bob: Person, carol: Person, say: Say) -> None:
    hello = await ann.say(room_id, "m.room.message", {"msgtype": "m.text", "body": HELLO})
    await _must_read(bob, hello, HELLO, say)
    await _must_read(carol, hello, HELLO, say)
    answer = await bob.say(room_id, "m.room.message", {"msgtype": "m.text", "body": ANSWER})
    await _must_read(ann, answer, ANSWER, say)
    edit = {
        "msgtype": "m.text",
        "body": EDITED,
        "m.new_content": {"msgtype": "m.text", "body": EDITED},
        "m.relates_to": {"rel_type": "m.replace", "event_id": hello},
    }
    await _must_read(bob, await ann.say(room_id, "m.room.message", edit), EDITED, say)
    # As clients send them: a reaction is not encrypted.
    relation = {"rel_type": "m.annotation", "event_id": answer, "key": "\N{THUMBS UP SIGN}"}
    reaction = await ann.send(room_id, "m.reaction", {"m.relates_to": relation})
    await bob.until(
        lambda person: any(seen.event_id == reaction for seen in person.seen), "the reaction"
    )
    say("Bob sees Ann's reaction: \N{THUMBS UP SIGN}")


async def _share_files(room_id: str, ann: Person, bob: Person, say: Say) -> None:
    for sender, reader, text in ((ann, bob, FILE_OF_ANN), (bob, ann, FILE_OF_BOB)):
        encrypted, file = encrypt(text.encode())
        file["url"] = await sender.upload(encrypted)
        content = {"msgtype": "m.file", "body": FILE_NAME, "file": file}
        event_id = await sender.say(room_id, "m.room.message", content)
        await _must_read(reader, event_id, FILE_NAME, None)
        found = next(seen.content for seen in reader.seen if seen.event_id == event_id)["file"]
        if decrypt(await reader.download(found["url"]), found) != text.encode():
            raise DemoError("the file is not what was sent")
        say(f"{reader.name} opens {sender.name}'s file, {len(text)} bytes: {text[:40]}…")


async def _part(room_id: str, ann: Person, bob: Person, carol: Person, say: Say) -> None:
    before = ann.device.outbound.session_id if ann.device.outbound else None
    await carol.ask("POST", f"{V3}/rooms/{quote(room_id)}/leave", {})
    for person in (ann, bob):
        await person.until(lambda here: here.members.get(carol.user_id) == "leave", "Carol to go")
    content = {"msgtype": "m.text", "body": AFTER_LEAVING}
    last = await ann.say(room_id, "m.room.message", content)
    after = ann.device.outbound.session_id if ann.device.outbound else None
    if after == before:
        raise DemoError("the session was not rotated when Carol left")
    await _must_read(bob, last, AFTER_LEAVING, say)
    await carol.sync()
    if carol.text_of(last) is not None:
        raise DemoError("Carol can read what was said after she left")
    say("Carol has left, the session was rotated, and she cannot read that")


async def _must_read(reader: Person, event_id: str, text: str, say: Say | None) -> None:
    await reader.until(
        lambda person: any(seen.event_id == event_id for seen in person.seen), "a message"
    )
    if reader.text_of(event_id) != text:
        raise DemoError(f"{reader.name} cannot decrypt what was sent")
    if say is not None:
        say(f"{reader.name} reads: {text}")
