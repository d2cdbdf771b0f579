"""A server that is closed for a while."""

from pathlib import Path

from homeserver.config.settings import Registration, ResourceLimits
from tests.database import Server
from tests.servers import PASSWORD, Client, own_database, serving
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
