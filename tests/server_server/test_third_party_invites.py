"""Invitations by address: by an identity server, on one server and between two.

https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from aiohttp import web

from federation.identifiers import ServerName
from homeserver.config.settings import Accounts
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.identity_server import Identity, identifying
from tests.server_server.answering import peering
from tests.servers import Answer, Client, Hearth, eventually, federating

V1 = "/_matrix/federation/v1"
V3 = "/_matrix/client/v3"
BOB = "bob@example.org"
VALIDITY = "/pubkey/isvalid"


class World(NamedTuple):
    """Two servers and an identity server that both may ask; Ann, of the first, owns a room."""

    one: Hearth
    other: Hearth
    identity: Identity
    ann: Client
    room: str

    async def invite(self, address: str = BOB, by: Client | None = None, **more: Any) -> Answer:
        body = {**self.identity.invitation(address), **more}
        return await (by or self.ann).post(f"{V3}/rooms/{self.room}/invite", body)

    async def issued(self) -> dict[str, Any]:
        """The invitations by address in the room, by token."""
        state = (await self.ann.get(f"{V3}/rooms/{self.room}/state")).ok()
        return {e["state_key"]: e for e in state if e["type"] == "m.room.third_party_invite"}

    async def member(self, user: str) -> Any:
        path = f"{V3}/rooms/{self.room}/state/m.room.member/{user}"
        return (await self.ann.get(path)).json


@pytest.fixture
async def world(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(identifying(loopback_authority))
        accounts = Accounts(identity_servers=(ServerName(identity.name),))
        one, other = [
            await stack.enter_async_context(
                federating(postgres, tmp_path, loopback_authority, n, accounts=accounts)
            )
            for n in (1, 2)
        ]
        ann = await one.user("ann")
        wanted = {"preset": "private_chat", "name": "Tea"}
        room = (await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
        yield World(one, other, identity, ann, room)


async def _rooms(user: Client, kind: str) -> Any:
    return (await user.get(f"{V3}/sync")).ok()["rooms"].get(kind, {})


async def test_somebody_whom_the_identity_server_knows(world: World) -> None:
    bob = await world.one.user("bob")
    world.identity.bound[("email", BOB)] = bob.user_id
    (await world.invite("Bob@Example.ORG")).ok()
    assert world.identity.asked == ["/hash_details", "/lookup"]
    assert (await world.member(bob.user_id))["membership"] == "invite"
    assert not await world.issued()


async def test_somebody_who_comes_later(world: World) -> None:
    """Of the same server: nobody else has to be asked for the invitation."""
    (await world.invite()).ok()
    ((token, event),) = (await world.issued()).items()
    told = world.identity.stored[token]
    assert told["room_name"] == "Tea"
    assert told["sender"] == world.ann.user_id
    assert event["content"]["display_name"] == "f...@b..."
    assert BOB not in str(event)
    key = event["content"]["public_keys"][0]
    assert event["content"].items() >= key.items()

    bob = await world.one.user("bob")
    assert await world.identity.bind(BOB, bob.user_id, world.one) == (200, {})
    member = await world.member(bob.user_id)
    assert member["membership"] == "invite"
    assert member["third_party_invite"]["signed"]["token"] == token
    (await bob.post(f"{V3}/join/{quote(world.room)}")).ok()
    # Once more changes nothing.
    assert (await world.identity.bind(BOB, bob.user_id, world.one))[0] == 200
    assert (await world.member(bob.user_id))["membership"] == "join"


async def test_somebody_of_another_server(world: World) -> None:
    """Its server asks ours for the invitation, and then all goes on as usual."""
    (await world.invite()).ok()
    bob = await world.other.user("bob")
    assert await world.identity.bind(BOB, bob.user_id, world.other) == (200, {})
    invited = await _rooms(bob, "invite")
    assert list(invited) == [world.room]
    (await bob.post(f"{V3}/join/{quote(world.room)}")).ok()

    async def is_there() -> bool:
        return bool((await world.member(bob.user_id))["membership"] == "join")

    await eventually(is_there)


async def test_a_server_in_the_room_invites_its_own(world: World) -> None:
    """In the name of somebody of another server, which learns of it."""
    cat, bob = await world.other.user("cat"), await world.other.user("bob")
    path = f"{V3}/rooms/{world.room}"
    (await world.ann.post(f"{path}/invite", {"user_id": cat.user_id})).ok()
    (await cat.post(f"{V3}/join/{quote(world.room)}")).ok()
    (await world.invite()).ok()
    (token,) = await world.issued()

    async def has_come() -> bool:
        state = f"{path}/state/m.room.third_party_invite/{token}"
        return (await cat.get(state)).status == 200

    await eventually(has_come)
    assert (await world.identity.bind(BOB, bob.user_id, world.other))[0] == 200

    async def is_invited() -> bool:
        return bool((await world.member(bob.user_id)).get("membership") == "invite")

    await eventually(is_invited)


async def test_what_was_taken_back_or_is_not_signed(world: World) -> None:
    (await world.invite()).ok()
    (token,) = await world.issued()
    bob, eve = await world.one.user("bob"), await world.one.user("eve")

    async def redeemed(user: Client, signed: dict[str, Any]) -> tuple[int, str | None]:
        invite = {
            "room_id": world.room,
            "sender": world.ann.user_id,
            "mxid": user.user_id,
            "signed": signed,
        }
        body = {"medium": "email", "address": BOB, "mxid": user.user_id, "invites": [invite]}
        answer = await world.one.anybody.put(f"{V1}/3pid/onbind", body)
        return answer.status, answer.errcode

    good = world.identity.sign(token, bob.user_id)
    forbidden = (403, "M_FORBIDDEN")
    assert await redeemed(eve, good) == forbidden
    assert await redeemed(eve, {**good, "mxid": eve.user_id}) == forbidden
    assert await redeemed(bob, world.identity.sign("other", bob.user_id)) == forbidden
    world.identity.is_key_valid = False
    assert await redeemed(bob, good) == forbidden
    world.identity.is_key_valid = True
    # Whoever does not say that the key is good says nothing.
    for silence in (web.Response(status=500), web.Response(text="valid"), web.json_response([])):
        world.identity.fails[VALIDITY] = silence
        assert await redeemed(bob, good) == forbidden
    del world.identity.fails[VALIDITY]
    path = f"{V3}/rooms/{world.room}/state/m.room.third_party_invite/{token}"
    (await world.ann.put(path, {})).ok()
    assert await redeemed(bob, good) == forbidden
    assert (await world.member(bob.user_id))["errcode"] == "M_NOT_FOUND"


async def test_a_client_that_joins_with_what_was_signed(world: World) -> None:
    (await world.invite()).ok()
    (token,) = await world.issued()
    bob = await world.other.user("bob")
    signed = world.identity.sign(token, bob.user_id, sender=world.ann.user_id)
    path = f"{V3}/join/{quote(world.room)}?via={world.one.name}"
    assert (await bob.post(path)).errcode == "M_FORBIDDEN"
    (await bob.post(path, {"third_party_signed": signed})).ok()
    assert world.room in await _rooms(bob, "join")


async def test_who_may_not_invite_tells_nobody(world: World) -> None:
    eve = await world.one.user("eve")
    assert (await world.invite(by=eve)).errcode == "M_FORBIDDEN"
    (await world.ann.post(f"{V3}/rooms/{world.room}/invite", {"user_id": eve.user_id})).ok()
    (await eve.post(f"{V3}/join/{quote(world.room)}")).ok()
    assert (await world.invite(by=eve)).errcode == "M_FORBIDDEN"
    answer = await world.invite(id_server="identity.example.org")
    assert (answer.status, answer.errcode) == (400, "M_SERVER_NOT_TRUSTED")
    assert (await world.invite("not an address")).errcode == "M_INVALID_PARAM"
    answer = await world.invite(medium="pigeon")
    assert answer.errcode == "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    body = world.identity.invitation(BOB)
    del body["id_access_token"]
    answer = await world.ann.post(f"{V3}/rooms/{world.room}/invite", body)
    assert answer.errcode == "M_MISSING_PARAM"
    assert not world.identity.asked


async def test_what_an_identity_server_says_is_wrong(world: World) -> None:
    answer = await world.invite(id_access_token="another")
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    terms = {"errcode": "M_TERMS_NOT_SIGNED", "error": "read them"}
    world.identity.fails["/store-invite"] = web.json_response(terms, status=403)
    answer = await world.invite()
    assert (answer.status, answer.errcode) == (403, "M_TERMS_NOT_SIGNED")
    world.identity.fails["/lookup"] = web.Response(text="<html>")
    assert (await world.invite()).status == 502
    world.identity.algorithms = ["none"]
    world.identity.asked.clear()
    assert (await world.invite()).status == 502
    assert world.identity.asked == ["/hash_details"]


async def test_a_new_room_with_people_by_address(world: World) -> None:
    bob = await world.other.user("bob")
    world.identity.bound[("email", BOB)] = bob.user_id
    by_address = [world.identity.invitation(a) for a in (BOB, "cat@example.org")]
    made = await world.ann.post(f"{V3}/createRoom", {"invite_3pid": by_address})
    there = world._replace(room=made.ok()["room_id"])
    assert (await there.member(bob.user_id))["membership"] == "invite"
    assert len(await there.issued()) == 1
    refused = {"invite_3pid": [{**by_address[0], "id_server": "elsewhere.test"}]}
    answer = await world.ann.post(f"{V3}/createRoom", refused)
    assert answer.errcode == "M_SERVER_NOT_TRUSTED"


async def test_another_server_asks_for_what_is_not_theirs(
    world: World, loopback_authority: Authority
) -> None:
    (await world.invite()).ok()
    (token,) = await world.issued()
    async with peering(world.one, loopback_authority) as peer:
        eve = peer.user("eve")

        async def ask(user: str = eve, **more: Any) -> tuple[int, str]:
            signed = world.identity.sign(token, user)
            content = {
                "membership": "invite",
                "third_party_invite": {"display_name": "", "signed": signed},
            }
            body = {
                "type": "m.room.member",
                "room_id": world.room,
                "sender": world.ann.user_id,
                "state_key": user,
                "content": content,
                **more,
            }
            path = f"{V1}/exchange_third_party_invite/{quote(world.room)}"
            status, answer = await peer.ask("PUT", path, body)
            return status, answer.get("errcode", "")

        bob = await world.one.user("bob")
        assert await ask(bob.user_id) == (403, "M_FORBIDDEN")
        assert await ask(sender=bob.user_id) == (403, "M_FORBIDDEN")
        assert await ask(room_id="!other:x") == (400, "M_INVALID_PARAM")
        assert await ask(content={"membership": "invite", "third_party_invite": {}}) == (
            400,
            "M_BAD_JSON",
        )
        assert await ask(content={"membership": "join", "third_party_invite": {}}) == (
            400,
            "M_INVALID_PARAM",
        )
        peer.lies["invite"] = lambda _: {}  # It does not sign: nobody is invited.
        assert (await ask())[0] == 502
        assert (await world.member(eve))["errcode"] == "M_NOT_FOUND"
        del peer.lies["invite"]
        assert await ask() == (200, "")
        assert (await world.member(eve))["membership"] == "invite"
