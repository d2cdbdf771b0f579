"""Files that go with the messages that named them, and those that do not."""

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from homeserver.config.settings import Redaction
from homeserver.config.values import Duration
from homeserver.media import unwanted
from homeserver.storage.media_uses import _EVERYWHERE
from homeserver.storage.pool import Database
from tests.database import Server
from tests.servers import Client, Hearth, eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwanted, "GRACE", -60_000)
    monkeypatch.setattr(unwanted, "_EVERY", 3600.0)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def room(ann: Client) -> str:
    return await room_of(ann)


async def room_of(who: Client, *others: Client) -> str:
    room = (await who.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    for other in others:
        (await other.post(f"{V3}/join/{room}", {}, server_name=who.hearth.name)).ok()
    return str(room)


def picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(written, "PNG")
    return written.getvalue()


async def upload(who: Client) -> str:
    """A picture that was looked at; its URI."""
    uri = str((await who.post("/_matrix/media/v3/upload", raw=picture())).ok()["content_uri"])
    small = await who.get(f"{THUMBNAIL}/{uri[6:]}", width=32, height=32)
    assert small.status == 200
    return uri


def image(uri: str, thumbnail: str | None = None) -> dict[str, Any]:
    info = {"thumbnail_url": thumbnail} if thumbnail else {}
    return {"msgtype": "m.image", "body": "x.png", "url": uri, "info": info}


async def send(who: Client, room: str, content: Any, kind: str = "m.room.message") -> str:
    path = f"{V3}/rooms/{room}/send/{kind}/{next(NUMBERS)}"
    return str((await who.put(path, content)).ok()["event_id"])


NUMBERS = iter(range(10**6))


async def redact(who: Client, room: str, event_id: str) -> None:
    (await who.put(f"{V3}/rooms/{room}/redact/{event_id}/{next(NUMBERS)}")).ok()


async def look(hearth: Hearth) -> None:
    await hearth.parts.federating.unwanted_media.round()


async def is_there(who: Client, uri: str) -> bool:
    status = (await who.get(f"{DOWNLOAD}/{uri[6:]}", allow_remote="false")).status
    assert status in {200, 404}
    return status == 200


def files(hearth: Hearth) -> list[Path]:
    return [path for path in hearth.settings.media_folder.rglob("*") if path.is_file()]


async def test_it_goes_with_its_thumbnails(hearth: Hearth, ann: Client, room: str) -> None:
    file, small, other = await upload(ann), await upload(ann), await upload(ann)
    event = await send(ann, room, image(file, small))
    await send(ann, room, image(other))
    assert len(files(hearth)) == 6
    await look(hearth)
    assert await is_there(ann, file)
    await redact(ann, room, event)
    await look(hearth)
    assert [await is_there(ann, uri) for uri in (file, small, other)] == [False, False, True]
    assert len(files(hearth)) == 2
    async with hearth.parts.base.process.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM unwanted_media") == 0
        assert await conn.fetchval("SELECT count(*) FROM dead_files") == 0


async def test_the_last_message_that_names_it_takes_it_along(
    hearth: Hearth, ann: Client, room: str
) -> None:
    file, elsewhere = await upload(ann), await room_of(ann)
    events = [await send(ann, room, image(file)), await send(ann, elsewhere, image(file))]
    edit = {"m.new_content": image(file), "m.relates_to": {"rel_type": "m.replace"}}
    edit["m.relates_to"]["event_id"] = events[1]
    edited = await send(ann, elsewhere, {**image(file), **edit})
    for where, event in ((room, events[0]), (elsewhere, events[1])):
        await redact(ann, where, event)
        await look(hearth)
        assert await is_there(ann, file)
    await redact(ann, elsewhere, edited)
    await look(hearth)
    assert not await is_there(ann, file)


Use = Callable[[Client, str, str], Awaitable[Any]]


async def profile(who: Client, _: str, uri: str) -> Any:
    return (await who.put(f"{V3}/profile/{who.user_id}/avatar_url", {"avatar_url": uri})).ok()


async def own_member(who: Client, room: str, uri: str) -> Any:
    path = f"{V3}/rooms/{room}/state/m.room.member/{who.user_id}"
    return (await who.put(path, {"membership": "join", "avatar_url": uri})).ok()


async def room_avatar(who: Client, room: str, uri: str) -> Any:
    return (await who.put(f"{V3}/rooms/{room}/state/m.room.avatar", {"url": uri})).ok()


async def emotes(who: Client, _: str, uri: str) -> Any:
    path = f"{V3}/user/{who.user_id}/account_data/im.ponies.user_emotes"
    return (await who.put(path, {"images": {"x": {"url": uri}}})).ok()


async def inline(who: Client, room: str, uri: str) -> Any:
    content = {"msgtype": "m.text", "body": "x", "formatted_body": f'<img src="{uri}">'}
    return await send(who, room, content)


async def later(who: Client, room: str, uri: str) -> Any:
    path = f"{V3}/rooms/{room}/send/m.room.message/{next(NUMBERS)}"
    return (await who.put(path, image(uri), **{"org.matrix.msc4140.delay": 3_600_000})).ok()


async def slashed(who: Client, room: str, uri: str) -> Any:
    """As some write JSON."""
    escaped = uri.replace("/", "\\/")
    raw = f'{{"msgtype": "m.text", "body": "{escaped}"}}'.encode()
    path = f"{V3}/rooms/{room}/send/m.room.message/{next(NUMBERS)}"
    return (await who.ask("PUT", path, raw=raw)).ok()


@pytest.mark.parametrize("use", [profile, own_member, room_avatar, emotes, inline, later, slashed])
async def test_what_is_used_elsewhere_stays(
    hearth: Hearth, ann: Client, room: str, use: Use
) -> None:
    file = await upload(ann)
    event = await send(ann, room, image(file))
    await use(ann, await room_of(ann), file)
    await redact(ann, room, event)
    await look(hearth)
    assert await is_there(ann, file)


async def test_whose_file_it_is(hearth: Hearth, ann: Client, room: str) -> None:
    """Nobody has others' files deleted, bridges' files are theirs, and stickers are used again."""
    ben = await hearth.user("ben")
    bot = await hearth.user("bot", appservice="bridge")
    for who in (ben, bot):
        (await who.post(f"{V3}/join/{room}")).ok()
    anns, bens, bots, sticker = [await upload(who) for who in (ann, ben, bot, ann)]
    events = [
        (ben, await send(ben, room, image(anns))),
        (bot, await send(bot, room, image(bots))),
        (ann, await send(ann, room, image(sticker), "m.sticker")),
    ]
    for who, event in events:
        await redact(who, room, event)
    # A moderator takes away what others brought.
    await redact(ann, room, await send(ben, room, image(bens)))
    await look(hearth)
    found = [await is_there(ann, uri) for uri in (anns, bots, sticker, bens)]
    assert found == [True, True, True, False]


async def test_what_administrators_keep(hearth: Hearth, ann: Client, room: str) -> None:
    root = await hearth.user("root", is_admin=True)
    kept, evidence = await upload(ann), await upload(ann)
    (await root.post(f"/_synapse/admin/v1/media/protect/{kept.rpartition('/')[2]}")).ok()
    (await root.post(f"/_synapse/admin/v1/media/quarantine/{evidence[6:]}")).ok()
    for uri in (kept, evidence):
        await redact(ann, room, await send(ann, room, image(uri)))
    await look(hearth)
    assert await is_there(ann, kept)
    assert len(files(hearth)) == 4


async def test_a_message_that_stands_after_all(hearth: Hearth, ann: Client, room: str) -> None:
    """What was begun and not done takes nothing away."""
    file = await upload(ann)
    event = await send(ann, room, image(file))
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute(
            """
            INSERT INTO unwanted_media
            SELECT m.media_nid, i.event_nid, 0 FROM media m, event_ids i WHERE i.event_id = $1
            """,
            event,
        )
        await look(hearth)
        assert await conn.fetchval("SELECT count(*) FROM unwanted_media") == 0
    assert await is_there(ann, file)


async def test_a_file_that_is_left_on_the_disk_goes(hearth: Hearth, ann: Client) -> None:
    """Whoever died over it had forgotten it already."""
    await upload(ann)
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("DELETE FROM thumbnails")
        await conn.execute("INSERT INTO dead_files SELECT file_id FROM media")
        await conn.execute("DELETE FROM media")
        await hearth.parts.federating.media.clean()
        assert await conn.fetchval("SELECT count(*) FROM dead_files") == 0
    assert len(files(hearth)) == 1


async def test_copies_of_other_servers_files(pair: tuple[Hearth, Hearth]) -> None:
    one, other = pair
    ann, zoe = await one.user("ann"), await other.user("zoe")
    room = await room_of(ann, zoe)
    theirs, ours = await upload(zoe), await upload(ann)
    events = [await send(zoe, room, image(theirs)), await send(zoe, room, image(ours))]

    async def arrived() -> bool:
        found = [await ann.get(f"{V3}/rooms/{room}/event/{event}") for event in events]
        return all(one.status == 200 for one in found)

    await eventually(arrived)
    (await ann.get(f"{DOWNLOAD}/{theirs[6:]}")).body.index(b"PNG")
    for event in events:
        await redact(zoe, room, event)

    async def redacted() -> bool:
        found = [await ann.get(f"{V3}/rooms/{room}/event/{event}") for event in events]
        return all(one.ok()["content"] == {} for one in found)

    await eventually(redacted)
    await look(one)
    assert [await is_there(ann, uri) for uri in (theirs, ours)] == [False, True]


async def test_as_long_as_moderators_may_read_it(postgres: Server, tmp_path: Path) -> None:
    keeping = test_settings("one.test", tmp_path, redaction=Redaction(keep=Duration(3_600_000)))
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(keeping, where) as hearth,
    ):
        ann = await hearth.user("ann")
        room, file = await room_of(ann), await upload(ann)
        await redact(ann, room, await send(ann, room, image(file)))
        await look(hearth)
        assert await is_there(ann, file)
        async with hearth.parts.base.process.database.reader() as conn:
            await conn.execute("UPDATE originals SET until_ts = 1")
            await conn.execute("UPDATE unwanted_media SET due_ts = due_ts - 3600000")
        await look(hearth)
        assert not await is_there(ann, file)


async def test_old_messages(hearth: Hearth, ann: Client, room: str) -> None:
    """With the messages that are too old, also with the last one, which is only emptied."""
    gone, last = await upload(ann), await upload(ann)
    await send(ann, room, image(gone))
    await send(ann, room, image(last))
    asked = {"max_lifetime": 1000}
    (await ann.put(f"{V3}/rooms/{room}/state/m.room.retention", asked)).ok()
    database = hearth.parts.base.process.database
    async with database.reader() as conn:
        await conn.execute("UPDATE events SET origin_server_ts = origin_server_ts - 5000")
    assert await hearth.parts.writing.expiring.round() == 2
    await look(hearth)
    assert [await is_there(ann, uri) for uri in (gone, last)] == [False, False]


async def test_who_is_put_out_with_all_they_said(hearth: Hearth, ann: Client, room: str) -> None:
    ben = await hearth.user("ben")
    (await ben.post(f"{V3}/join/{room}")).ok()
    file = await upload(ben)
    await send(ben, room, image(file))
    ban = {"user_id": ben.user_id, "org.matrix.msc4293.redact_events": True}
    (await ann.post(f"{V3}/rooms/{room}/ban", ban)).ok()

    async def gone() -> bool:
        await look(hearth)
        return not await is_there(ann, file)

    await eventually(gone)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (b'{"url": "mxc://a.test:8448/b_-1", "x": "mxc://c/d"}', ["a.test:8448/b_-1", "c/d"]),
        (b'"mxc:\\/\\/a\\/b"', ["a/b"]),
        (b'"mxc://[::1]/b"', ["[::1]/b"]),
        (b"mxc: mxc:// mxc://a mxc://a/", []),
        (b"\xff\xfemxc://a/b\xff\\u0000", ["a/b"]),
        (b"mxc://a/" + b"b" * 60_000, []),
        (b"", []),
    ],
)
async def test_reading_names(database: Database, said: bytes, names: list[str]) -> None:
    async with database.reader() as conn:
        assert sorted(await conn.fetchval("SELECT media_named($1)", said)) == names


async def test_names_are_looked_up(hearth: Hearth, ann: Client, room: str) -> None:
    """In indices: it costs no more where there is much else."""
    await send(ann, room, image(await upload(ann)))
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("SET enable_seqscan = off")
        for number in (0, 2, 3):
            query = _EVERYWHERE[number].replace("$1", "'{one.test/x}'::text[]")
            plan = await conn.fetch(f"EXPLAIN {query}")
            assert any("naming_media" in row[0] for row in plan), plan
        await conn.execute("SET enable_seqscan = on")


async def test_what_an_index_cannot_hold(hearth: Hearth, ann: Client, room: str) -> None:
    await send(ann, room, {"msgtype": "m.text", "body": "mxc://a/" + "b" * 30_000})
    many = " ".join(f"mxc://a.test/{number}" for number in range(3000))
    await send(ann, room, {"msgtype": "m.text", "body": many})
