"""Rooms made past the API, for tests of what reads them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from federation.building import Draft, Place, Signer, build
from federation.identifiers import EventID, RoomID, UserID
from federation.room_versions import V12, RoomVersion
from homeserver.rooms.create import NewRoom, Preset, create_event, first_events
from homeserver.rooms.drafting import Submission, Written
from tests.servers import Client, Hearth

SECOND = 1000


@dataclass(frozen=True)
class Stage:
    """A room of a server, and what happens in it."""

    hearth: Hearth
    room_id: RoomID
    owner: Client

    @property
    def path(self) -> str:
        """Of the room, in the client-server API."""
        return f"/_matrix/client/v3/rooms/{self.room_id}"

    async def send(
        self,
        sender: Client,
        kind: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        once: tuple[int, str] | None = None,
    ) -> EventID:
        """An event; `once` is the number of a device and a transaction ID."""
        draft = Draft(kind, UserID(sender.user_id), content, state_key, self.room_id)
        used = (once[0], hashlib.sha256(once[1].encode()).digest()) if once else None
        submission = Submission([draft], once=used, txn_id=once[1] if once else None)
        answer = await self.hearth.parts.rooms.intake.submit(self.room_id, submission)
        assert isinstance(answer, Written), answer
        return answer.events[-1].event_id

    async def say(self, sender: Client, text: str) -> EventID:
        return await self.send(sender, "m.room.message", {"msgtype": "m.text", "body": text})

    async def state(self, kind: str, content: Mapping[str, Any], state_key: str = "") -> EventID:
        return await self.send(self.owner, kind, content, state_key)

    async def member(self, whom: Client, membership: str, by: Client | None = None) -> EventID:
        content = {"membership": membership}
        return await self.send(by or whom, "m.room.member", content, whom.user_id)

    async def history_visibility(self, value: str) -> EventID:
        return await self.state("m.room.history_visibility", {"history_visibility": value})

    async def texts(self, reader: Client, **query: Any) -> list[str]:
        """The messages that somebody is shown, the latest first."""
        page = (
            await reader.get(f"{self.path}/messages", **{"dir": "b", "limit": 100} | query)
        ).ok()
        return [e["content"]["body"] for e in page["chunk"] if e["type"] == "m.room.message"]


async def staged(owner: Client, version: RoomVersion = V12, **wanted: Any) -> Stage:
    """A public room of somebody's, unless told otherwise."""
    hearth = owner.hearth
    base = hearth.parts.base
    user = UserID(owner.user_id)
    new = NewRoom(user, version, **{"preset": Preset.PUBLIC, **wanted})
    room_id = None if version.room_id_is_create_id else RoomID(f"!old:{hearth.name}")
    signer = Signer(hearth.name, base.signing_key)
    draft, now = create_event(new, room_id), base.process.now()
    created = build(draft, Place(), version, signer, now=now, opaque_id="create")
    submission = Submission(first_events(new, created.room_id), created)
    answer = await hearth.parts.rooms.intake.submit(created.room_id, submission)
    assert isinstance(answer, Written), answer
    return Stage(hearth, created.room_id, owner)
