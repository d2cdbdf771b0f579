"""Access tokens: whose they are, and on every process no longer than they should be."""

import asyncio

import pytest

from homeserver.accounts.issuing import Validity
from homeserver.accounts.sessions import Session
from homeserver.accounts.tokens import new_access_token, new_session
from homeserver.errors import UnknownToken
from homeserver.storage.process import DAY
from tests.accounts.workers import MINUTE, House, Worker, user_id


async def test_a_token_shows_who_asks(worker: Worker) -> None:
    ann = await worker.ann(device_id="PHONE")
    assert ann.tokens.access_token.startswith("hth_")
    session = await worker.sessions.get(ann.tokens.access_token)
    assert (session.user_id, session.device_id) == (user_id("ann"), "PHONE")
    assert not any((session.is_admin, session.is_guest, session.locked, session.suspended))


async def test_a_token_seen_before_costs_no_query(worker: Worker) -> None:
    ann = await worker.ann()
    await worker.sessions.get(ann.tokens.access_token)
    worker.queries.clear()
    await worker.sessions.get(ann.tokens.access_token)
    assert worker.queries == []


async def test_looking_up_costs_one_query_and_one_for_the_log(worker: Worker) -> None:
    ann = await worker.ann()
    worker.queries.clear()
    await worker.sessions.get(ann.tokens.access_token)
    assert len(worker.queries) == 2


async def test_many_that_wait_for_the_log_cost_one_query(worker: Worker) -> None:
    ann = await worker.ann()
    await worker.sessions.get(ann.tokens.access_token)
    await worker.ann(device_id="OTHER")
    token = ann.tokens.access_token
    await worker.sessions.get(token)
    worker.process.committed(worker.clock.position + 1)
    worker.queries.clear()
    await asyncio.gather(*(worker.sessions.get(token) for _ in range(20)))
    assert len(worker.queries) == 1


@pytest.mark.parametrize("how", ["delete", "all", "deactivate", "password", "lock"])
async def test_what_one_process_does_the_others_know_at_once(
    worker: Worker, other: Worker, how: str
) -> None:
    ann = await worker.ann(device_id="PHONE")
    token = ann.tokens.access_token
    assert await other.is_known(token)
    match how:
        case "delete":
            await worker.devices.delete(ann.user, ["PHONE"])
        case "all":
            await worker.devices.delete_all(ann.user)
        case "deactivate":
            await worker.management.deactivate(ann.user)
        case "password":
            await worker.management.change_password(ann.user, "another horse")
        case "lock":
            await worker.management.set_states(ann.user, locked=True)
    found = await other.who(token)
    if how == "lock":
        assert isinstance(found, Session)
        assert found.locked
    else:
        assert isinstance(found, UnknownToken)
        assert found.extra.get("soft_logout", False) is False


async def test_a_new_login_on_a_device_ends_its_old_token_softly(
    worker: Worker, other: Worker
) -> None:
    """ "The server will invalidate any access and refresh tokens previously assigned"."""
    old = await worker.ann(device_id="PHONE")
    await other.sessions.get(old.tokens.access_token)
    new = await worker.ann(device_id="PHONE")
    assert new.device == old.device
    for process in (worker, other):
        found = await process.who(old.tokens.access_token)
        assert isinstance(found, UnknownToken)
        assert found.extra["soft_logout"] is True
        assert await process.is_known(new.tokens.access_token)


async def test_of_two_logins_on_one_device_one_token_works(worker: Worker, other: Worker) -> None:
    await worker.ann(device_id="PHONE")
    logins = await asyncio.gather(
        *(process.ann(device_id="PHONE") for process in (worker, other) for _ in range(4))
    )
    good = [login for login in logins if await worker.is_known(login.tokens.access_token)]
    assert len(good) == 1


async def test_a_lookup_that_is_overtaken_is_not_remembered(house: House, worker: Worker) -> None:
    """A logout is read from the log while the token is being looked up."""
    ann = await worker.ann()
    other = house.worker()
    token = ann.tokens.access_token

    async def look_up() -> Session | UnknownToken:
        return await worker.who(token)

    looking = [asyncio.create_task(look_up()) for _ in range(5)]
    await other.devices.delete_all(ann.user)
    await asyncio.gather(*looking)
    assert not await worker.is_known(token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "hth_", "a" * 10_000, "\ud800", "\0" * 52, None],
    ids=["empty", "short", "start", "long", "surrogate", "zeros", "well made"],
)
async def test_nobodys_token(worker: Worker, token: str | None) -> None:
    found = await worker.who(new_access_token(new_session()).text if token is None else token)
    assert isinstance(found, UnknownToken)
    assert found.status == 401
    assert found.extra["soft_logout"] is False


async def test_a_session_ends_softly(house: House) -> None:
    worker = house.worker(validity=Validity(90 * DAY, 5 * MINUTE))
    ann = await worker.ann()
    assert ann.tokens.expires_in_ms == 90 * DAY
    assert await worker.is_known(ann.tokens.access_token)
    house.time.now += 90 * DAY
    for process in (worker, house.worker()):
        found = await process.who(ann.tokens.access_token)
        assert isinstance(found, UnknownToken)
        assert found.extra["soft_logout"] is True


async def test_the_day_is_noted_once(house: House, worker: Worker) -> None:
    ann = await worker.ann(device_id="PHONE")
    token = ann.tokens.access_token
    await worker.sessions.get(token)
    house.time.now += DAY
    worker.queries.clear()
    await worker.sessions.get(token)
    await worker.sessions.get(token)
    assert len(worker.queries) == 1
    (device,) = await worker.devices.read(ann.user)
    assert device.last_seen_ts == house.time.now // DAY * DAY


async def test_no_more_is_remembered_than_asked_for(house: House) -> None:
    worker = house.worker()
    worker.sessions._most = 2
    tokens = [(await worker.ann(device_id=f"D{n}")).tokens.access_token for n in range(3)]
    for token in tokens:
        await worker.sessions.get(token)
    assert len(worker.sessions._known) == 2
    worker.queries.clear()
    await worker.sessions.get(tokens[0])
    assert len(worker.queries) == 1
