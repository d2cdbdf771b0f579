"""A server that is closed for a while, or full."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from federation.identifiers import RoomID, UserID
from homeserver.accounts.resource_limits import Person
from homeserver.app.housekeeping import tidy
from homeserver.config.settings import Registration, ResourceLimits, ServerNotices, Settings
from homeserver.errors import ResourceLimitExceeded
from tests.database import Server
from tests.servers import PASSWORD, Answer, Client, Hearth, own_database, serving
from tests.servers import test_settings as settings_for

V3 = "/_matrix/client/v3"


async def test_nobody_but_administrators_can_use_it(postgres: Server, tmp_path: Path) -> None:
    given = {"registration": Registration(mode="open", guests=True)}
    limits = ResourceLimits(blocked="Moving house", admin_contact="mailto:admin@one.test")
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        async with serving(settings_for("one.test", tmp_path, **given), where) as hearth:
            people = [await hearth.user("ann"), await hearth.user("root", is_admin=True)]
            await hearth.parts.accounts.new_accounts.add("bob", PASSWORD)
            assert (await people[0].get(f"{V3}/sync")).status == 200
        closed = settings_for("one.test", tmp_path, resource_limits=limits, **given)
        async with serving(closed, where) as hearth:
            ann, root = [Client(hearth, who.token, who.user_id) for who in people]
            new = {"username": "new", "password": "long enough", "auth": {"type": "m.login.dummy"}}
            bob = {"type": "m.login.password", "user": "bob"}
            for refused in (
                await ann.get(f"{V3}/sync"),
                await ann.post(f"{V3}/createRoom"),
                await ann.post(f"{V3}/account/password", {}),
                await hearth.anybody.post(f"{V3}/login", {**bob, "password": PASSWORD}),
                await hearth.anybody.post(f"{V3}/register", new),
                await hearth.anybody.post(f"{V3}/register", {}, kind="guest"),
            ):
                assert (refused.status, refused.errcode) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
                assert refused.json["error"] == "Moving house"
                assert refused.json["admin_contact"] == "mailto:admin@one.test"
            # Who guesses passwords learns nothing.
            wrong = await hearth.anybody.post(f"{V3}/login", {**bob, "password": "wrong"})
            assert wrong.errcode == "M_FORBIDDEN"
            assert (await hearth.anybody.get("/_matrix/client/versions")).status == 200
            assert (await root.get(f"{V3}/sync")).status == 200
            (await root.put(f"{V3}/profile/{root.user_id}/displayname", {"displayname": "R"})).ok()
            assert (await ann.post(f"{V3}/logout")).status == 200


MANY = "M_RESOURCE_LIMIT_EXCEEDED"
CONTACT = "mailto:admin@one.test"
PINNED = "m.room.pinned_events"


def limited(folder: Path, most: int | None, **more: Any) -> Settings:
    limits = ResourceLimits(monthly_active_users=most, admin_contact=CONTACT)
    notices = ServerNotices(localpart="notices")
    return settings_for("one.test", folder, resource_limits=limits, server_notices=notices, **more)


@pytest.fixture
async def where(postgres: Server, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as found:
        yield found


def refused(answer: Answer) -> bool:
    """Whether it was refused, and rightly said so."""
    if answer.errcode != MANY:
        return False
    assert answer.status == 403
    assert answer.json["admin_contact"] == CONTACT
    assert answer.json["limit_type"] == "monthly_active_user"
    return True


async def log_in(hearth: Hearth, name: str) -> Answer:
    body = {"type": "m.login.password", "user": name, "password": PASSWORD}
    return await hearth.anybody.post(f"{V3}/login", body)


async def register(hearth: Hearth, name: str, **query: Any) -> Answer:
    new = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    return await hearth.anybody.post(f"{V3}/register", new, **query)


async def pass_days(hearth: Hearth, days: int, *users: Client) -> None:
    """Have people been away for so long."""
    resource_limits = hearth.parts.accounts.resource_limits
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        names = [user.user_id for user in users]
        await conn.execute(
            """
            UPDATE active_users SET seen_day = seen_day - $2
             WHERE user_nid IN (SELECT user_nid FROM users WHERE user_id = ANY ($1))
            """,
            names,
            days,
        )
    resource_limits._day = 0


async def test_no_more_people_than_may(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(limited(tmp_path, 2), where) as hearth:
        add = hearth.parts.accounts.new_accounts.add
        for name in ("cat", "dan"):
            await add(name, PASSWORD)
        ann, ben = await hearth.user("ann"), await hearth.user("ben")
        root = await hearth.user("root", is_admin=True)
        assert refused(await log_in(hearth, "cat"))
        assert refused(await register(hearth, "new"))
        assert refused(await register(hearth, "", kind="guest"))
        # Nobody is half there.
        assert (await ann.get(f"{V3}/register/available", username="new")).status == 200
        for who in (ann, ben, root):
            assert (await who.get(f"{V3}/account/whoami")).status == 200
        # Another device is no other person.
        await ann.log_in_again()
        # Who is away for long makes place, and finds none when they come back.
        await pass_days(hearth, 29, ben)
        assert refused(await log_in(hearth, "cat"))
        await pass_days(hearth, 1, ben)
        # Administrators count, too.
        assert refused(await log_in(hearth, "cat"))
        await pass_days(hearth, 30, ann)
        assert (await log_in(hearth, "cat")).status == 200
        assert refused(await ben.get(f"{V3}/sync"))
        assert (await ben.post(f"{V3}/logout")).status == 200
        assert refused(await ann.get(f"{V3}/sync"))


async def test_many_at_the_same_time(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(limited(tmp_path, 3), where, workers=2) as hearth:
        for number in range(8):
            await hearth.parts.accounts.new_accounts.add(f"user{number}", PASSWORD)
        found = await asyncio.gather(*(log_in(hearth, f"user{number}") for number in range(8)))
        assert sorted(refused(one) for one in found) == [False] * 3 + [True] * 5


async def test_it_is_known_after_a_restart(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(limited(tmp_path, None), where) as hearth:
        people = [await hearth.user(name) for name in ("ann", "ben")]
        bot = await hearth.user("bot", appservice="bridge")
        await hearth.parts.accounts.new_accounts.add("cat", PASSWORD)
    for most, is_full in ((2, True), (3, False), (1, True)):
        async with serving(limited(tmp_path, most), where) as hearth:
            assert await hearth.parts.accounts.resource_limits.is_full() is is_full
            now = [Client(hearth, who.token, who.user_id) for who in people]
            let_in = [not refused(await who.get(f"{V3}/account/whoami")) for who in now]
            assert let_in.count(True) == min(most, 2)
            assert (await Client(hearth, bot.token).get(f"{V3}/account/whoami")).status == 200
    async with serving(limited(tmp_path, None), where) as hearth:
        await tidy(hearth.parts)
        async with hearth.parts.base.process.database.reader() as conn:
            assert await conn.fetchval("SELECT count(*) FROM active_users") == 0


async def test_bridged_people_and_guests_do_not_count(
    where: Mapping[str, Any], tmp_path: Path
) -> None:
    async with serving(limited(tmp_path, 1), where) as hearth:
        guest = (await register(hearth, "", kind="guest")).ok()
        bot = await hearth.user("bot", appservice="bridge")
        ann = await hearth.user("ann")
        for token in (guest["access_token"], bot.token, ann.token):
            assert (await Client(hearth, token).get(f"{V3}/account/whoami")).status == 200
        # A guest who becomes one of the people does.
        upgrade = {"username": "gus", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        assert refused(await hearth.anybody.post(f"{V3}/register", upgrade))
        nid = await hearth.parts.base.process.number_of(UserID(ann.user_id))
        await hearth.parts.accounts.management.deactivate(nid)
        assert (await register(hearth, "new")).status == 200


async def test_it_costs_a_query_a_day(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(limited(tmp_path, 1), where) as hearth:
        ann = await hearth.user("ann")
        limits = hearth.parts.accounts.resource_limits
        nid = await hearth.parts.base.process.number_of(UserID(ann.user_id))
        await pass_days(hearth, 0)
        assert not limits.knows(Person(nid, is_admin=False, is_counted=True))
        await ann.get(f"{V3}/account/whoami")
        assert limits.knows(Person(nid, is_admin=False, is_counted=True))
        # Nor is who is refused looked up again at once.
        await hearth.parts.accounts.new_accounts.add("ben", PASSWORD)
        ben = await hearth.parts.base.process.number_of(UserID("@ben:one.test"))
        assert refused(await log_in(hearth, "ben"))
        with pytest.raises(ResourceLimitExceeded):
            limits.knows(Person(ben, is_admin=False, is_counted=True))


async def notice_room(who: Client) -> str:
    """Where the server speaks to somebody, who joins it."""
    synced = (await who.get(f"{V3}/sync")).ok()
    (room,) = synced["rooms"]["invite"]
    (await who.post(f"{V3}/rooms/{room}/join")).ok()
    return str(room)


async def test_people_are_told(where: Mapping[str, Any], tmp_path: Path) -> None:
    """By a pinned notice, which is taken back when there is place; other pins stay."""
    async with serving(limited(tmp_path, 2), where) as hearth:
        telling = hearth.parts.writing.usage_notices
        ann = await hearth.user("ann")
        await telling.round()
        assert "rooms" not in (await ann.get(f"{V3}/sync")).ok()
        ben = await hearth.user("ben")
        await telling.round()
        await telling.round()
        room = await notice_room(ann)
        (pinned,) = (await ann.get(f"{V3}/rooms/{room}/state/{PINNED}")).ok()["pinned"]
        said = (await ann.get(f"{V3}/rooms/{room}/event/{pinned}")).ok()["content"]
        assert said["server_notice_type"] == "m.server_notice.usage_limit_reached"
        assert (said["limit_type"], said["admin_contact"]) == ("monthly_active_user", CONTACT)
        await notice_room(ben)
        speaker = UserID("@notices:one.test")
        sending = hearth.parts.writing.sending
        both = {"pinned": ["$other", pinned]}
        await sending.set_state(speaker, RoomID(room), PINNED, "", both)
        await pass_days(hearth, 30, ben)
        await tidy(hearth.parts)
        await telling.round()
        assert (await ann.get(f"{V3}/rooms/{room}/state/{PINNED}")).ok() == {"pinned": ["$other"]}
        # The next time it is said anew.
        await ben.get(f"{V3}/account/whoami")
        await telling.round()
        again = (await ann.get(f"{V3}/rooms/{room}/state/{PINNED}")).ok()["pinned"]
        assert again[0] == "$other"
        assert len(again) == 2
    # Without a limit there is nothing to be told.
    async with serving(limited(tmp_path, None), where) as hearth:
        await hearth.parts.writing.usage_notices.round()
        ann = Client(hearth, ann.token, ann.user_id)
        assert (await ann.get(f"{V3}/rooms/{room}/state/{PINNED}")).ok() == {"pinned": ["$other"]}
