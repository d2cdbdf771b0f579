"""The rig itself: servers that answer."""

from tests.servers import Hearth


async def test_a_server_answers(hearth: Hearth) -> None:
    answer = await hearth.anybody.get("/_matrix/client/v3/nothing")
    assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")


async def test_two_servers_have_names_of_their_own(pair: tuple[Hearth, Hearth]) -> None:
    one, two = pair
    ann, bob = await one.user("ann"), await two.user("bob")
    assert ann.user_id != bob.user_id
    assert ann.token
    assert bob.token
