"""Who may do what in a room: everybody who can be somebody to it, and every operation.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from federation.identifiers import UserID
from homeserver.config.settings import AppServices
from tests.bridge import bot, registration
from tests.client_server.stage import Stage, staged
from tests.client_server.test_guests import guest_of
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Answer, Client, Hearth, eventually, federating

V3 = "/_matrix/client/v3"
ROOM = f"{V3}/rooms/{{room}}"
V1_ROOM = "/_matrix/client/v1/rooms/{room}"

SPEAKING = ("owner", "member", "remote")
IN = (*SPEAKING, "suspended")
WERE = ("left", "kicked", "banned")
ASKED = ("invited", "knocked")
OUTSIDE = ("stranger", "admin", "bridge")
KINDS = (*IN, *WERE, *ASKED, *OUTSIDE, "guest", "locked", "deactivated")
"""The remote one is in the room from another server, the bridge asks with its own token, and
administrators, who are in charge of the server, are nobody in a room that they are not in."""

FORBIDDEN = (403, "M_FORBIDDEN")
UNKNOWN = (404, "M_NOT_FOUND")
EXCLUSIVE = (400, "M_EXCLUSIVE")
SUSPENDED = (403, "M_USER_SUSPENDED")
NO_GUESTS = (403, "M_GUEST_ACCESS_FORBIDDEN")
NEVER = {"locked": (401, "M_USER_LOCKED"), "deactivated": (401, "M_UNKNOWN_TOKEN")}


@dataclass(frozen=True)
class Row:
    """An operation, and who may; `{me}` and the like are filled in."""

    method: str
    path: str
    may: Sequence[str]
    body: Any = None
    refusal: tuple[int, str] = FORBIDDEN
    otherwise: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Who is refused in another way."""
    join_rule: str = "invite"

    def expected(self, kind: str) -> Sequence[tuple[int, str | None]]:
        """What may be answered; what else guests and the suspended may ask is tested elsewhere."""
        if kind in NEVER:
            return [NEVER[kind]]
        if kind in self.may:
            return [(200, None)]
        more = {"suspended": [SUSPENDED], "guest": [NO_GUESTS]}
        return [self.otherwise.get(kind, self.refusal), *more.get(kind, [])]


READING = (
    Row("GET", f"{ROOM}/messages?dir=b", (*IN, *WERE)),
    Row("GET", f"{ROOM}/context/{{event}}", (*IN, *WERE)),
    Row("GET", f"{ROOM}/event/{{event}}", (*IN, *WERE), refusal=UNKNOWN),
    Row("GET", f"{ROOM}/state", (*IN, *WERE)),
    Row("GET", f"{ROOM}/state/m.room.create/", (*IN, *WERE)),
    Row("GET", f"{ROOM}/members", (*IN, *WERE)),
    Row("GET", f"{ROOM}/initialSync", (*IN, *WERE)),
    Row("GET", f"{V3}/events?room_id={{room}}&timeout=0", (*IN, *WERE)),
    Row("GET", f"{V3}/events/{{event}}", (*IN, *WERE), refusal=UNKNOWN),
    Row("GET", f"{ROOM}/joined_members", IN),
    Row("GET", f"{ROOM}/aliases", IN),
    Row("GET", f"{V1_ROOM}/relations/{{event}}", (*IN, *WERE)),
    Row("GET", f"{V1_ROOM}/threads", (*IN, *WERE)),
    Row("GET", f"{V1_ROOM}/timestamp_to_event?ts=0&dir=f", (*IN, *WERE)),
    Row("GET", f"{V1_ROOM}/hierarchy", (*IN, "invited")),
    Row("GET", "/_matrix/client/v1/room_summary/{room}", (*IN, "invited"), refusal=UNKNOWN),
)

_TEXT = {"msgtype": "m.text", "body": "x"}
ACTING = (
    Row("PUT", f"{ROOM}/send/m.room.message/{{kind}}", SPEAKING, _TEXT),
    Row("PUT", f"{ROOM}/state/org.example/", ["owner"], {"by": "{kind}"}),
    Row("PUT", f"{ROOM}/typing/{{me}}", IN, {"typing": True, "timeout": 1000}),
    Row("PUT", f"{ROOM}/typing/{{other}}", [], {"typing": True, "timeout": 1000}),
    Row("POST", f"{ROOM}/receipt/m.read/{{event}}", IN, {}),
    Row("POST", f"{ROOM}/read_markers", IN, {"m.fully_read": "{event}"}),
    Row("POST", f"{ROOM}/invite", SPEAKING, {"user_id": "{extra}"}),
    Row("POST", f"{ROOM}/kick", ["owner"], {"user_id": "{other}"}),
    Row("POST", f"{ROOM}/ban", ["owner"], {"user_id": "{other}"}),
    Row("POST", f"{ROOM}/unban", ["owner"], {"user_id": "{other}"}),
    Row("PUT", f"{V3}/directory/list/room/{{room}}", ["owner"], {"visibility": "public"}),
    Row(
        "PUT",
        f"{V3}/directory/room/%23{{kind}}:{{home}}",
        SPEAKING,
        {"room_id": "{room}"},
        otherwise={"bridge": EXCLUSIVE},
    ),
    Row(
        "DELETE",
        f"{V3}/directory/room/%23owner:{{here}}",
        ["owner"],
        otherwise={"remote": UNKNOWN, "bridge": EXCLUSIVE},
    ),
    Row("POST", f"{ROOM}/report/{{event}}", SPEAKING, {}, UNKNOWN),
    Row("PUT", f"{ROOM}/redact/{{event}}/{{kind}}", ["owner"], {}),
    Row("POST", f"{ROOM}/upgrade", ["owner"], {"new_version": "11"}),
)
COMING = (
    Row("POST", f"{ROOM}/join", (*SPEAKING, "invited"), {}),
    Row(
        "PUT",
        f"{ROOM}/state/m.room.member/{{me}}",
        (*SPEAKING, "invited"),
        {"membership": "join"},
    ),
    Row(
        "POST",
        f"{ROOM}/join",
        (*SPEAKING, *ASKED, "left", "kicked", *OUTSIDE),
        {},
        join_rule="public",
    ),
    Row("POST", f"{V3}/knock/{{room}}", ["knocked"], {}),
    Row(
        "POST",
        f"{V3}/knock/{{room}}",
        ("knocked", "left", "kicked", *OUTSIDE),
        {},
        join_rule="knock",
    ),
    Row("POST", f"{ROOM}/leave", (*IN, *ASKED, "left", "kicked"), {}),
    Row("POST", f"{ROOM}/forget", WERE, {}, refusal=(400, "M_UNKNOWN")),
)
"""Each in a room of its own."""


@dataclass(frozen=True)
class World:
    """Everybody, and somebody on whom things are tried."""

    hearth: Hearth
    people: Mapping[str, Client]
    other: Client
    extra: Client

    async def room(self, join_rule: str) -> tuple[Stage, str]:
        """A room to which everybody is what they are called, and what the owner said in it."""
        owner, people = self.people["owner"], self.people
        stage = await staged(owner)
        for kind in ("member", "suspended", *WERE, "locked"):
            await stage.member(people[kind], "join")
        await stage.member(self.other, "join")
        remote = people["remote"]
        (await remote.post(f"{V3}/join/{stage.room_id}", server_name=self.hearth.name)).ok()
        event = str(await stage.say(owner, "hello"))
        await stage.member(people["left"], "leave")
        await stage.member(people["kicked"], "leave", owner)
        await stage.member(people["invited"], "invite", owner)
        await stage.state("m.room.join_rules", {"join_rule": "knock"})
        await stage.member(people["knocked"], "knock")
        if join_rule != "knock":
            await stage.state("m.room.join_rules", {"join_rule": join_rule})
        await stage.member(people["banned"], "ban", owner)
        return stage, event

    async def ask(self, row: Row, kind: str, **names: str) -> Answer:
        who = self.people[kind]
        known = {
            "kind": kind,
            "me": who.user_id,
            "home": who.hearth.name,
            "here": self.hearth.name,
            "other": self.other.user_id,
            "extra": self.extra.user_id,
            **names,
        }

        def filled(text: str) -> str:
            return re.sub(r"\{(\w+)\}", lambda found: known[found[1]], text)

        body = None if row.body is None else filled(json.dumps(row.body)).encode()
        return await who.ask(row.method, filled(row.path), raw=body)

    async def surprises(self, row: Row, **names: str) -> list[object]:
        """Where the answers are otherwise than the row says; who may comes last."""
        found: list[object] = []
        for kind in sorted(KINDS, key=lambda kind: kind in row.may):
            answer = await self.ask(row, kind, **names)
            got = (answer.status, answer.errcode)
            if got not in row.expected(kind):
                found.append((row.method, row.path, kind, got, answer.json))
        return found


@pytest.fixture
async def world(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[World]:
    file = tmp_path / "irc.yaml"
    file.write_text(json.dumps(registration(None)), encoding="utf-8")
    async with AsyncExitStack() as stack:
        services = AppServices(files=(file,))
        serving = federating(postgres, tmp_path, loopback_authority, 1, appservices=services)
        here = await stack.enter_async_context(serving)
        there = await stack.enter_async_context(
            federating(postgres, tmp_path, loopback_authority, 2)
        )
        plain = ("owner", "member", *WERE, *ASKED, "stranger", "suspended", "locked", "deactivated")
        people = {kind: await here.user(kind) for kind in plain}
        people["admin"] = await here.user("admin", is_admin=True)
        people["remote"] = await there.user("remote")
        people["guest"] = await guest_of(here)
        people["bridge"] = bot(here)
        accounts, number_of = here.parts.accounts, here.parts.base.process.number_of

        async def nid(kind: str) -> Any:
            return await number_of(UserID(people[kind].user_id))

        await accounts.management.set_states(await nid("locked"), locked=True)
        await accounts.management.set_states(await nid("suspended"), suspended=True)
        await accounts.management.deactivate(await nid("deactivated"), erase=False)
        yield World(here, people, await here.user("other"), await here.user("extra"))


async def test_who_may_read_and_act(world: World) -> None:
    stage, event = await world.room("invite")
    path = f"{stage.path}/event/{event}"

    async def arrived() -> bool:
        return (await world.people["remote"].get(path)).status == 200

    await eventually(arrived)
    found: list[object] = []
    for row in (*READING, *ACTING):
        found += await world.surprises(row, room=stage.room_id, event=event)
    assert not found, "\n".join(map(str, found))


async def test_who_may_come_and_go(world: World) -> None:
    found: list[object] = []
    for row in COMING:
        stage, _ = await world.room(row.join_rule)
        found += await world.surprises(row, room=stage.room_id)
    assert not found, "\n".join(map(str, found))
