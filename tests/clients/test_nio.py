"""matrix-nio, a client library that people write bots with, unmodified and with encryption."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nio  # type: ignore[import-untyped]
import pytest

from tests.servers import PASSWORD, Hearth


@asynccontextmanager
async def logged_in(hearth: Hearth, name: str, folder: Path) -> AsyncIterator[nio.AsyncClient]:
    """A bot with an account and a store of keys."""
    await hearth.parts.accounts.new_accounts.add(name, PASSWORD)
    store = folder / name
    store.mkdir()
    config = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
    client = nio.AsyncClient(
        hearth.url, f"@{name}:{hearth.name}", store_path=str(store), config=config, ssl=False
    )
    try:
        answer = await client.login(PASSWORD, device_name="a bot")
        assert isinstance(answer, nio.LoginResponse), answer
        yield client
    finally:
        await client.close()


async def sync(*clients: nio.AsyncClient) -> None:
    """What a bot does again and again: keys up, sync, keys of others, what waits to be sent."""
    for client in clients:
        answer = await client.sync(timeout=0)
        assert isinstance(answer, nio.SyncResponse), answer
        if client.should_upload_keys:
            assert isinstance(await client.keys_upload(), nio.KeysUploadResponse)
        if client.should_query_keys:
            assert isinstance(await client.keys_query(), nio.KeysQueryResponse)
        if client.should_claim_keys:
            wanted = client.get_users_for_key_claiming()
            assert isinstance(await client.keys_claim(wanted), nio.KeysClaimResponse)
        await client.send_to_device_messages()


class Heard:
    """What a client was told in a room."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self.texts: list[tuple[str, str, bool]] = []
        client.add_event_callback(self._hear, nio.RoomMessageText)

    async def _hear(self, room: Any, event: Any) -> None:
        self.texts.append((event.sender, event.body, event.decrypted))


async def say(client: nio.AsyncClient, room_id: str, text: str) -> None:
    content = {"msgtype": "m.text", "body": text}
    answer = await client.room_send(
        room_id, "m.room.message", content, ignore_unverified_devices=True
    )
    assert isinstance(answer, nio.RoomSendResponse), answer


async def talk(ann: nio.AsyncClient, bob: nio.AsyncClient) -> None:
    """Two bots in an encrypted room, each of whom reads the other."""
    heard = {client.user_id: Heard(client) for client in (ann, bob)}
    await sync(ann, bob)
    made = await ann.room_create(
        invite=[bob.user_id],
        preset=nio.RoomPreset.private_chat,
        initial_state=[nio.EnableEncryptionBuilder().as_dict()],
    )
    assert isinstance(made, nio.RoomCreateResponse), made
    for _ in range(50):
        await sync(bob)
        if made.room_id in bob.invited_rooms:
            break
    joined = await bob.join(made.room_id)
    assert isinstance(joined, nio.JoinResponse), joined
    for _ in range(50):
        await sync(ann, bob)
        if all(len(c.rooms[made.room_id].users) == 2 for c in (ann, bob) if c.rooms):
            break
    await sync(ann, bob)
    await say(ann, made.room_id, "hello Bob")
    for _ in range(50):
        await sync(bob)
        if heard[bob.user_id].texts:
            break
    await say(bob, made.room_id, "hello Ann")
    for _ in range(50):
        await sync(ann, bob)
        if len(heard[ann.user_id].texts) == 2:
            break
    assert heard[bob.user_id].texts[0] == (ann.user_id, "hello Bob", True)
    assert (bob.user_id, "hello Ann", True) in heard[ann.user_id].texts


async def test_two_bots_on_one_server(hearth: Hearth, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(logged_in(hearth, "ann", tmp_path))
        bob = await stack.enter_async_context(logged_in(hearth, "bob", tmp_path))
        await talk(ann, bob)


async def test_two_bots_on_two_servers(pair: tuple[Hearth, Hearth], tmp_path: Path) -> None:
    one, two = pair
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(logged_in(one, "ann", tmp_path))
        bob = await stack.enter_async_context(logged_in(two, "bob", tmp_path))
        await talk(ann, bob)


async def test_everyday_calls(hearth: Hearth, tmp_path: Path) -> None:
    """What a bot without encryption does in its first minutes."""
    async with logged_in(hearth, "ann", tmp_path) as ann:
        assert isinstance(await ann.set_displayname("Ann"), nio.ProfileSetDisplayNameResponse)
        profile = await ann.get_profile()
        assert isinstance(profile, nio.ProfileGetResponse)
        assert profile.displayname == "Ann"
        made = await ann.room_create(name="A room", topic="of bots", alias="bots")
        assert isinstance(made, nio.RoomCreateResponse), made
        resolved = await ann.room_resolve_alias(f"#bots:{hearth.name}")
        assert isinstance(resolved, nio.RoomResolveAliasResponse)
        assert resolved.room_id == made.room_id
        await sync(ann)
        assert ann.rooms[made.room_id].name == "A room"
        await say(ann, made.room_id, "one")
        messages = await ann.room_messages(made.room_id, limit=5)
        assert isinstance(messages, nio.RoomMessagesResponse), messages
        assert messages.chunk[0].source["type"] == "m.room.message"
        members = await ann.joined_members(made.room_id)
        assert isinstance(members, nio.JoinedMembersResponse)
        assert [member.user_id for member in members.members] == [ann.user_id]
        file = (tmp_path / "file").write_bytes(b"some bytes")
        with (tmp_path / "file").open("rb") as opened:
            uploaded, _ = await ann.upload(opened, "text/plain", "file", filesize=file)
        assert isinstance(uploaded, nio.UploadResponse), uploaded
        fetched = await ann.download(uploaded.content_uri)
        assert isinstance(fetched, nio.MemoryDownloadResponse), fetched
        assert fetched.body == b"some bytes"
        left = await ann.room_leave(made.room_id)
        assert isinstance(left, nio.RoomLeaveResponse)
        assert isinstance(await ann.room_forget(made.room_id), nio.RoomForgetResponse)
        assert isinstance(await ann.logout(), nio.LogoutResponse)


async def good(asking: Awaitable[Any]) -> Any:
    """An answer that is no error."""
    answer = await asking
    assert not isinstance(answer, nio.ErrorResponse), answer
    return answer


async def told(client: nio.AsyncClient, room_id: str, kind: type) -> Any:
    """Sync until a room's timeline has an event of a kind."""
    for _ in range(100):
        answer = await good(client.sync(timeout=200))
        room = answer.rooms.join.get(room_id)
        found = [event for event in room.timeline.events if isinstance(event, kind)] if room else []
        if found:
            return found[-1]
    raise AssertionError(f"there was no {kind}")


async def plain(client: nio.AsyncClient, room_id: str, text: str, **more: Any) -> str:
    content = {"msgtype": "m.text", "body": text, **more}
    return str((await good(client.room_send(room_id, "m.room.message", content))).event_id)


async def test_the_life_of_a_room(pair: tuple[Hearth, Hearth], tmp_path: Path) -> None:
    """All that a bot on another server does in a room, and sees of it."""
    one, two = pair
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(logged_in(one, "ann", tmp_path))
        bob = await stack.enter_async_context(logged_in(two, "bob", tmp_path))
        public = {"visibility": nio.RoomVisibility.public, "preset": nio.RoomPreset.public_chat}
        hall = (
            await good(ann.room_create(alias="hall", name="Hall", room_version="10", **public))
        ).room_id
        space = (await good(ann.room_create(alias="top", space=True, **public))).room_id
        await good(ann.room_put_state(space, "m.space.child", {"via": [one.name]}, hall))
        # Found and joined from elsewhere.
        listed = await good(bob.list_public_rooms(server=one.name))
        assert hall in [room.room_id for room in listed.public_rooms]
        await good(bob.join(f"#top:{one.name}"))
        tree = await good(bob.space_get_hierarchy(space))
        assert [room["room_id"] for room in tree.rooms] == [space, hall]
        await good(bob.join(f"#hall:{one.name}"))
        # Talked in.
        await sync(ann, bob)
        first = await plain(ann, hall, "first")
        assert (await told(bob, hall, nio.RoomMessageText)).event_id == first
        related = {"rel_type": "m.thread", "event_id": first}
        reply = await plain(bob, hall, "reply", **{"m.relates_to": related})
        while (await told(ann, hall, nio.RoomMessageText)).event_id != reply:
            pass
        found = [one async for one in ann.room_get_event_relations(hall, first)]
        assert [event.event_id for event in found] == [reply]
        threads = [one async for one in ann.room_get_threads(hall)]
        assert [event.event_id for event in threads] == [first]
        await good(ann.update_receipt_marker(hall, reply, thread_id=first))
        await good(ann.room_read_markers(hall, first, first))
        await good(bob.room_typing(hall, True))
        around = await good(bob.room_context(hall, first))
        assert around.event.event_id == first
        assert (await good(bob.room_get_event(hall, first))).event.body == "first"
        await good(ann.room_redact(hall, first, "a slip"))
        assert (await told(bob, hall, nio.RedactionEvent)).redacts == first
        # Named, and moderated.
        await good(ann.room_put_alias(f"#also:{one.name}", hall))
        await good(ann.room_update_aliases(hall, f"#hall:{one.name}", [f"#also:{one.name}"]))
        await good(ann.room_delete_alias(f"#also:{one.name}"))
        named = await good(ann.room_get_state_event(hall, "m.room.canonical_alias"))
        assert named.content == {"alias": f"#hall:{one.name}", "alt_aliases": []}
        assert (await good(ann.room_get_visibility(hall))).visibility == "public"
        for act, kind in ((ann.room_kick, "leave"), (ann.room_ban, "ban")):
            await good(act(hall, bob.user_id, "why"))
            state = await good(ann.room_get_state_event(hall, "m.room.member", bob.user_id))
            assert state.content["membership"] == kind
        await good(ann.room_unban(hall, bob.user_id))
        # Knocked at.
        await good(ann.room_enable_knocking(hall))
        knocked = await bob.room_knock(f"#hall:{one.name}", "please")
        assert isinstance(knocked, nio.RoomKnockResponse), knocked
        await good(ann.room_invite(hall, bob.user_id))
        for _ in range(100):
            await good(bob.sync(timeout=200))
            if hall in bob.invited_rooms:
                break
        await good(bob.join(hall))
        # Replaced by hand: the client itself makes the new room, and ends the old one.
        upgraded = await good(ann.room_upgrade(hall, "11"))
        ended = await told(bob, hall, nio.RoomUpgradeEvent)
        assert ended.replacement_room == upgraded.room_id
        resolved = await good(bob.room_resolve_alias(f"#hall:{one.name}"))
        assert resolved.room_id == upgraded.room_id
        await good(ann.room_invite(upgraded.room_id, bob.user_id))


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
