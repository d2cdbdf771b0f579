"""Proving to another service who one is."""

from homeserver.accounts.openid import LASTS
from tests.servers import Client, Hearth

USERINFO = "/_matrix/federation/v1/openid/userinfo"


async def issued(who: Client) -> str:
    answer = (await who.post(f"/_matrix/client/v3/user/{who.user_id}/openid/request_token")).ok()
    token = answer.pop("access_token")
    assert answer == {
        "token_type": "Bearer",
        "matrix_server_name": who.hearth.name,
        "expires_in": LASTS,
    }
    return str(token)


async def test_a_service_learns_who_somebody_is(hearth: Hearth) -> None:
    ann, nobody = await hearth.user("ann"), Client(hearth)
    token = await issued(ann)
    assert (await nobody.get(USERINFO, access_token=token)).ok() == {"sub": ann.user_id}
    # It opens nothing else.
    thief = Client(hearth, token)
    assert (await thief.get("/_matrix/client/v3/account/whoami")).status == 401
    # And nothing else opens it.
    refused = await nobody.get(USERINFO, access_token=ann.token)
    assert (refused.status, refused.errcode) == (401, "M_UNKNOWN_TOKEN")
    assert (await nobody.get(USERINFO)).status == 400


async def test_it_ends(hearth: Hearth) -> None:
    ann, nobody = await hearth.user("ann"), Client(hearth)
    process = hearth.parts.base.process
    token = await issued(ann)
    async with process.database.reader() as conn:
        assert token not in str(await conn.fetch("SELECT * FROM openid_tokens"))
        await conn.execute("UPDATE openid_tokens SET expires_ts = $1", process.now() - 1)
    assert (await nobody.get(USERINFO, access_token=token)).errcode == "M_UNKNOWN_TOKEN"
    other = await issued(ann)
    await hearth.parts.accounts.management.set_states(
        (await hearth.parts.accounts.moderation.account(ann.user_id)).user,  # type: ignore[arg-type]
        locked=True,
    )
    assert (await nobody.get(USERINFO, access_token=other)).errcode == "M_UNKNOWN_TOKEN"


async def test_only_for_oneself(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    path = f"/_matrix/client/v3/user/{ann.user_id}/openid/request_token"
    assert (await ben.post(path)).errcode == "M_FORBIDDEN"
    assert (await Client(hearth).post(path)).status == 401
