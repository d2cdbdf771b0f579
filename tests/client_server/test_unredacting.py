"""What redacted events said, for moderators.

https://github.com/matrix-org/matrix-spec-proposals/pull/2815
"""

import re
from dataclasses import replace
from pathlib import Path

from homeserver.app.housekeeping import tidy
from homeserver.config.settings import Redaction
from homeserver.config.values import Duration
from tests.client_server.test_redaction import V3, room_of, say
from tests.database import Server
from tests.remains import remains
from tests.servers import Answer, Client, Hearth, own_database, serving
from tests.servers import test_settings as settings_for

PREFIX = "fi.mau.msc2815"


async def as_it_was(who: Client, room_id: str, event_id: str) -> Answer:
    query = {f"{PREFIX}.include_unredacted_content": "true"}
    return await who.get(f"{V3}/rooms/{room_id}/event/{event_id}", **query)


async def flags(who: Client) -> set[str]:
    return set((await who.get("/_matrix/client/versions")).ok()["unstable_features"])


async def test_as_long_as_it_is_kept(postgres: Server, tmp_path: Path) -> None:
    settings = settings_for("one.test", tmp_path)
    settings = replace(settings, redaction=Redaction(keep=Duration.parse("1d")))
    async with own_database(postgres, "unredacting") as where, serving(settings, where) as hearth:
        ann, bob, eve = [await hearth.user(name) for name in ("ann", "bob", "eve")]
        assert PREFIX in await flags(ann)
        database = hearth.parts.base.process.database
        room_id = await room_of(ann, bob)
        said = await say(bob, room_id, "regrettable")
        assert (await as_it_was(ann, room_id, said)).ok()["content"]["body"] == "regrettable"
        (await bob.put(f"{V3}/rooms/{room_id}/redact/{said}/1")).ok()
        (await ann.put(f"{V3}/rooms/{room_id}/redact/{said}/2")).ok()

        found = (await as_it_was(ann, room_id, said)).ok()
        assert found["content"]["body"] == "regrettable"
        assert found["unsigned"]["redacted_because"]["sender"] == bob.user_id
        plain = (await ann.get(f"{V3}/rooms/{room_id}/event/{said}")).ok()
        assert plain["content"] == {}
        assert (await as_it_was(bob, room_id, said)).errcode == "M_FORBIDDEN"
        assert (await as_it_was(eve, room_id, said)).errcode == "M_NOT_FOUND"
        # Administrators need no power in the room, but have to be there.
        root = await hearth.user("root", is_admin=True)
        assert (await as_it_was(root, room_id, said)).errcode == "M_NOT_FOUND"
        (await ann.post(f"{V3}/rooms/{room_id}/invite", {"user_id": root.user_id})).ok()
        (await root.post(f"{V3}/rooms/{room_id}/join")).ok()
        seen = (await as_it_was(root, room_id, said)).ok()
        assert seen["content"]["body"] == "regrettable"
        assert (await as_it_was(ann, room_id, "$no")).errcode == "M_NOT_FOUND"
        assert await remains(database, "regrettable") == {"originals.json", "sent.txn_id"}

        async with database.reader() as conn:
            await conn.execute("UPDATE originals SET until_ts = 1")
        gone = await as_it_was(ann, room_id, said)
        assert gone.status == 404
        assert gone.errcode == "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED"
        assert gone.json[f"{PREFIX}.content_keep_ms"] == 86_400_000
        await tidy(hearth.parts)
        assert await remains(database, "regrettable") == {"sent.txn_id"}


async def test_by_default_nothing_is_kept(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    assert not any(re.match(PREFIX, flag) for flag in await flags(ann))
    room_id = await room_of(ann)
    said = await say(ann, room_id, "regrettable")
    (await ann.put(f"{V3}/rooms/{room_id}/redact/{said}/1")).ok()
    assert (await as_it_was(ann, room_id, said)).ok()["content"] == {}
    assert await remains(hearth.parts.base.process.database, "regrettable") == {"sent.txn_id"}
