"""Renewing tokens: lost answers can be asked for again, stolen old tokens are worth nothing."""

import asyncio

import pytest

from homeserver.accounts.issuing import Tokens, Validity
from homeserver.accounts.refreshing import refresh
from homeserver.errors import UnknownToken, UserLocked
from tests.accounts.workers import MINUTE, House, Worker


async def renew(worker: Worker, tokens: Tokens) -> Tokens | None:
    assert tokens.refresh_token
    try:
        return await refresh(worker.process, worker.validity, tokens.refresh_token)
    except UnknownToken as error:
        return None if error.extra["soft_logout"] is True else tokens


async def must_renew(worker: Worker, tokens: Tokens) -> Tokens:
    new = await renew(worker, tokens)
    assert new
    return new


async def test_a_token_is_renewed(house: House, worker: Worker) -> None:
    first = (await worker.ann(refresh=True)).tokens
    assert first.expires_in_ms == 5 * MINUTE
    house.time.now += 5 * MINUTE
    found = await worker.who(first.access_token)
    assert isinstance(found, UnknownToken)
    assert found.extra["soft_logout"] is True
    second = await must_renew(worker, first)
    assert await worker.is_known(second.access_token)


async def test_the_old_token_is_good_until_a_new_one_is_used(worker: Worker) -> None:
    """ "If a client fails to receive the new tokens, it will be able to repeat the refresh"."""
    first = (await worker.ann(refresh=True)).tokens
    lost = await must_renew(worker, first)
    second = await must_renew(worker, first)
    assert not await worker.is_known(lost.access_token)
    assert await renew(worker, lost) is None
    assert await worker.is_known(second.access_token)
    assert await renew(worker, first) is None
    assert await renew(worker, second)


async def test_using_the_new_refresh_token_revokes_the_old_one(worker: Worker) -> None:
    first = (await worker.ann(refresh=True)).tokens
    second = await must_renew(worker, first)
    third = await must_renew(worker, second)
    assert await renew(worker, first) is None
    assert await renew(worker, second)
    assert third.access_token != second.access_token


async def test_requests_under_way_keep_the_old_access_token_until_it_expires(
    house: House, worker: Worker
) -> None:
    first = (await worker.ann(refresh=True)).tokens
    second = await must_renew(worker, first)
    await worker.sessions.get(second.access_token)
    assert await worker.is_known(first.access_token)
    house.time.now += 5 * MINUTE
    assert not await worker.is_known(first.access_token)


async def test_of_two_refreshes_at_once_one_pair_works(worker: Worker, other: Worker) -> None:
    first = (await worker.ann(refresh=True)).tokens
    pairs = await asyncio.gather(*(must_renew(p, first) for p in (worker, other) for _ in range(4)))
    good = [pair for pair in pairs if await worker.is_known(pair.access_token)]
    assert len(good) == 1
    renewed = [pair for pair in pairs if await renew(other, pair)]
    assert renewed == good
    assert await renew(worker, first) is None


async def test_a_use_and_a_refresh_at_once_have_one_winner(worker: Worker, other: Worker) -> None:
    """Whichever comes first: never are there two pairs that can be renewed."""
    first = (await worker.ann(refresh=True)).tokens
    for _ in range(10):
        second = await must_renew(worker, first)
        used, third = await asyncio.gather(
            worker.is_known(second.access_token), renew(other, first)
        )
        assert used is (third is None)
        first = third or second
        assert await worker.is_known(first.access_token)


async def test_only_the_last_tokens_are_kept(house: House, worker: Worker) -> None:
    tokens = (await worker.ann(refresh=True)).tokens
    for _ in range(10):
        house.time.now += 10 * MINUTE
        tokens = await must_renew(worker, tokens)
        await worker.sessions.get(tokens.access_token)
    async with house.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM access_tokens") <= 2
        assert await conn.fetchval("SELECT count(*) FROM refresh_tokens") == 1


@pytest.mark.parametrize("how", ["delete", "deactivate"])
async def test_no_renewal_after_logging_out(worker: Worker, how: str) -> None:
    ann = await worker.ann(refresh=True, device_id="PHONE")
    if how == "delete":
        await worker.devices.delete(ann.user, ["PHONE"])
    else:
        await worker.management.deactivate(ann.user)
    with pytest.raises(UnknownToken) as caught:
        await refresh(worker.process, worker.validity, ann.tokens.refresh_token or "")
    assert caught.value.extra["soft_logout"] is False


async def test_a_locked_account_renews_nothing_until_it_is_unlocked(worker: Worker) -> None:
    ann = await worker.ann(refresh=True)
    await worker.management.set_states(ann.user, locked=True)
    with pytest.raises(UserLocked):
        await refresh(worker.process, worker.validity, ann.tokens.refresh_token or "")
    await worker.management.set_states(ann.user, locked=False)
    assert await renew(worker, ann.tokens)


async def test_a_session_ends_however_often_it_is_renewed(house: House) -> None:
    worker = house.worker(validity=Validity(60 * MINUTE, 5 * MINUTE))
    tokens = (await worker.ann(refresh=True)).tokens
    house.time.now += 57 * MINUTE
    tokens = await must_renew(worker, tokens)
    assert tokens.expires_in_ms == 3 * MINUTE
    house.time.now += 3 * MINUTE
    assert await renew(worker, tokens) is None


@pytest.mark.parametrize("token", ["", "\0", "\ud800", "htr_x"])
async def test_nobodys_token(worker: Worker, token: str) -> None:
    with pytest.raises(UnknownToken):
        await refresh(worker.process, worker.validity, token)
