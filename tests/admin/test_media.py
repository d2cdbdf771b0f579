"""Files in quarantine."""

import io

import pytest
from PIL import Image

from tests.client_server.stage import staged
from tests.servers import Client, Hearth

V1 = "/_synapse/admin/v1"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


def picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(written, "PNG")
    return written.getvalue()


async def upload(who: Client) -> str:
    """A picture; the path of its name."""
    made = (await who.post("/_matrix/media/v3/upload", raw=picture())).ok()
    return str(made["content_uri"]).removeprefix("mxc://")


async def statuses(who: Client, file: str) -> tuple[int, int]:
    small = await who.get(f"{THUMBNAIL}/{file}", width=32, height=32)
    return (await who.get(f"{DOWNLOAD}/{file}")).status, small.status


async def test_a_file_is_given_out_no_more_and_again(root: Client, ann: Client) -> None:
    file = await upload(ann)
    assert await statuses(ann, file) == (200, 200)
    assert (await root.post(f"{V1}/media/quarantine/{file}")).ok() == {}
    assert await statuses(ann, file) == (404, 404)
    assert await statuses(root, file) == (404, 404)
    assert (await root.post(f"{V1}/media/unquarantine/{file}")).ok() == {}
    assert await statuses(ann, file) == (200, 200)
    assert (await ann.post(f"{V1}/media/quarantine/{file}")).errcode == "M_FORBIDDEN"
    assert (await root.post(f"{V1}/media/quarantine/one.test/nothing")).status == 404


async def test_all_of_a_user_but_what_is_protected(root: Client, ann: Client) -> None:
    first, second = await upload(ann), await upload(ann)
    own = await upload(root)
    media_id = second.rpartition("/")[2]
    assert (await root.post(f"{V1}/media/protect/{media_id}")).ok() == {}
    found = (await root.post(f"{V1}/user/{ann.user_id}/media/quarantine")).ok()
    assert found == {"num_quarantined": 1}
    assert [(await statuses(ann, f))[0] for f in (first, second, own)] == [404, 200, 200]
    refused = await root.post(f"{V1}/media/quarantine/{second}")
    assert refused.errcode == "M_FORBIDDEN"
    assert (await root.post(f"{V1}/media/unprotect/{media_id}")).ok() == {}
    (await root.post(f"{V1}/media/quarantine/{second}")).ok()
    assert (await statuses(ann, second))[0] == 404


async def test_all_in_a_room(root: Client, ann: Client) -> None:
    files = [await upload(ann) for _ in range(4)]
    elsewhere = await upload(ann)
    room = await staged(ann)
    uris = [f"mxc://{file}" for file in files]
    image = {"msgtype": "m.image", "body": "x"}
    await room.send(ann, "m.room.message", {**image, "url": uris[0]})
    await room.send(ann, "m.room.message", {**image, "info": {"thumbnail_url": uris[1]}})
    await room.send(ann, "m.room.message", {**image, "file": {"url": uris[2]}})
    hidden = {"info": {"thumbnail_file": {"url": uris[3]}}, "url": ["x"]}
    await room.send(ann, "m.room.message", {**image, **hidden})
    await room.send(ann, "m.room.message", {**image, "url": "mxc://other.test/abc"})
    await room.send(ann, "m.room.message", {**image, "url": "mxc://%%/$$", "info": 5})
    path = f"{V1}/room/{room.room_id}/media/quarantine"
    assert (await root.post(path)).ok() == {"num_quarantined": 5}
    assert (await root.post(path)).ok() == {"num_quarantined": 0}
    assert {(await statuses(ann, file))[0] for file in files} == {404}
    assert (await statuses(ann, elsewhere))[0] == 200
    assert (await root.post(f"{V1}/room/!no:one.test/media/quarantine")).status == 404


async def test_other_servers(pair: tuple[Hearth, Hearth]) -> None:
    """A file in quarantine is neither fetched nor given to others, and cleaning forgets nothing."""
    one, other = pair
    root = await one.user("root", is_admin=True)
    zoe = await other.user("zoe")
    theirs, ours = await upload(zoe), await upload(root)
    (await root.post(f"{V1}/media/quarantine/{theirs}")).ok()
    (await root.post(f"{V1}/media/quarantine/{ours}")).ok()
    await one.parts.federating.media.clean()
    assert (await statuses(root, theirs))[0] == 404
    assert (await statuses(zoe, ours))[0] == 404
    assert (await statuses(zoe, theirs))[0] == 200
    (await root.post(f"{V1}/media/unquarantine/{theirs}")).ok()
    (await root.post(f"{V1}/media/unquarantine/{ours}")).ok()
    assert (await statuses(root, theirs))[0] == 200
    assert (await statuses(zoe, ours))[0] == 200
