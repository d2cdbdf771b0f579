"""Events that are sent later (MSC4140): in both ways of asking, and across a restart."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeserver.app.housekeeping import tidy
from homeserver.config.settings import DelayedEvents, Rooms
from homeserver.config.values import Duration
from homeserver.storage import delayed_events
from tests.database import Server
from tests.servers import Client, Hearth, eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
MSC = "/_matrix/client/unstable/org.matrix.msc4140"
DELAY = "org.matrix.msc4140.delay"
LONG = 600_000


async def room_of(ann: Client, **more: Any) -> str:
    body = {"preset": "public_chat", **more}
    room_id: str = (await ann.post(f"{V3}/createRoom", body)).ok()["room_id"]
    return room_id


async def schedule(who: Client, room: str, txn: str = "t", delay: int = LONG, **more: Any) -> str:
    """As the proposal has it."""
    body = {"delay_ms": delay, "content": {"body": "later", "msgtype": "m.text"}, **more}
    path = f"{MSC}/rooms/{room}/delayed_event/m.room.message/{txn}"
    delay_id: str = (await who.put(path, body)).ok()["delay_id"]
    return delay_id


async def one(who: Client, delay_id: str) -> Any:
    return (await who.get(f"{MSC}/delayed_events/{delay_id}")).ok()


async def listed(who: Client) -> list[Any]:
    found: list[Any] = (await who.get(f"{MSC}/delayed_events")).ok()["delayed_events"]
    return found


async def finalised(who: Client, delay_id: str) -> Any:
    async def outcome() -> Any:
        found = await one(who, delay_id)
        return found if "finalised_ts" in found else None

    return await eventually(outcome)


async def messages(who: Client, room: str) -> list[Any]:
    chunk = (await who.get(f"{V3}/rooms/{room}/messages", dir="b")).ok()["chunk"]
    return [event for event in chunk if event["type"] == "m.room.message"]


async def test_it_is_sent_when_it_is_due_and_only_the_sender_reads_its_id(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await room_of(ann)
    (await ben.post(f"{V3}/join/{room}")).ok()
    delay_id = await schedule(ann, room, delay=50)
    found = await finalised(ann, delay_id)
    assert found["finalised_ts"] >= found["scheduled_at"] + found["delay_ms"]
    assert (found["room_id"], found["type"]) == (room, "m.room.message")
    assert found["content"] == {"body": "later", "msgtype": "m.text"}
    assert "state_key" not in found
    for who, is_told in ((ann, True), (await ann.log_in_again(), True), (ben, False)):
        (event,) = await messages(who, room)
        assert event["event_id"] == found["event_id"]
        assert (event["unsigned"].get("org.matrix.msc4140.delay_id") == delay_id) is is_told
        assert "transaction_id" not in event["unsigned"]
    assert await listed(ann) == []


async def test_asked_for_by_parameter(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)
    body = {"body": "later", "msgtype": "m.text"}
    path = f"{V3}/rooms/{room}/send/m.room.message/t1"
    first = (await ann.put(path, body, **{DELAY: LONG})).ok()
    assert (await ann.put(path, body, **{DELAY: LONG})).ok() == first
    state = f"{V3}/rooms/{room}/state/test.state/key"
    second = (await ann.put(state, {"a": 1}, **{DELAY: 50})).ok()
    sent = await finalised(ann, second["delay_id"])
    assert sent["state_key"] == "key"
    event = (await ann.get(state, format="event")).ok()
    assert (event["content"], event["event_id"]) == ({"a": 1}, sent["event_id"])
    (waiting,) = await listed(ann)
    assert (waiting["delay_id"], waiting["delay"]) == (first["delay_id"], LONG)
    assert waiting["running_since"] == waiting["scheduled_at"]
    assert await messages(ann, room) == []


@pytest.mark.parametrize("with_body", [True, False])
async def test_actions_need_no_token(hearth: Hearth, *, with_body: bool) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)

    async def act(delay_id: str, action: str, who: Client | None = None) -> tuple[int, Any]:
        path = f"{MSC}/delayed_events/{delay_id}"
        asking = who or hearth.anybody
        if with_body:
            answer = await asking.post(path, {"action": action})
        else:
            answer = await asking.post(f"{path}/{action}")
        return answer.status, answer.errcode

    sent, cancelled = [await schedule(ann, room, txn=txn) for txn in ("a", "b")]
    before = (await one(ann, sent))["scheduled_at"]
    assert await act(sent, "restart") == (200, None)
    assert (await one(ann, sent))["scheduled_at"] >= before
    for _ in range(2):
        assert await act(sent, "send") == (200, None)
        assert await act(cancelled, "cancel") == (200, None)
    found = await one(ann, sent)
    assert found["finalised_ts"] < found["scheduled_at"] + found["delay_ms"]
    assert [event["event_id"] for event in await messages(ann, room)] == [found["event_id"]]
    assert not {"event_id", "error"} & (await one(ann, cancelled)).keys()
    assert await act(sent, "cancel") == (409, "M_UNKNOWN")
    assert await act(sent, "restart") == (404, "M_NOT_FOUND")
    for action in ("send", "restart"):
        assert await act(cancelled, action) == (409, "M_UNKNOWN")
    for action in ("send", "restart", "cancel"):
        assert await act("nothing", action) == (404, "M_NOT_FOUND")
    other = await schedule(ann, room, txn="c")
    assert await act(other, "cancel", await hearth.user("ben")) == (404, "M_NOT_FOUND")
    assert await act(other, "eat") == (400, "M_INVALID_PARAM")


async def test_nobody_reads_anothers(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    delay_id = await schedule(ann, await room_of(ann))
    answer = await ben.get(f"{MSC}/delayed_events/{delay_id}")
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
    assert await listed(ben) == []
    answer = await hearth.anybody.get(f"{MSC}/delayed_events/{delay_id}")
    assert answer.status == 401


async def test_power_is_judged_when_it_is_sent(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await room_of(ann)
    delay_id = await schedule(ben, room)
    action = f"{MSC}/delayed_events/{delay_id}/send"
    answer = await ben.post(action)
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert "finalised_ts" not in await one(ben, delay_id)
    late = await finalised(ben, await schedule(ben, room, txn="u", delay=1))
    assert late["error"]["errcode"] == "M_FORBIDDEN"
    assert "event_id" not in late
    (await ben.post(f"{V3}/join/{room}")).ok()
    (await ben.post(action)).ok()
    assert (await one(ben, delay_id))["event_id"]
    answer = await ben.post(f"{MSC}/delayed_events/{late['delay_id']}/cancel")
    assert answer.ok() == {}


async def test_a_newer_state_event_does_not_cancel_it(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)
    path = f"{V3}/rooms/{room}/state/test.state/"
    delay_id = (await ann.put(path, {"by": "delay"}, **{DELAY: LONG})).ok()["delay_id"]
    (await ann.put(path, {"by": "hand"})).ok()
    (await ann.post(f"{MSC}/delayed_events/{delay_id}/send")).ok()
    assert (await ann.get(path)).ok() == {"by": "delay"}


async def test_state_that_is_so_already_is_no_new_event(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)
    path = f"{V3}/rooms/{room}/state/test.state/"
    before = (await ann.put(path, {"a": 1})).ok()["event_id"]
    delay_id = (await ann.put(path, {"a": 1}, **{DELAY: LONG})).ok()["delay_id"]
    send = ann.post(f"{MSC}/delayed_events/{delay_id}/send")
    message = ann.put(
        f"{V3}/rooms/{room}/send/m.room.message/t", {"msgtype": "m.text", "body": "x"}
    )
    for answer in await asyncio.gather(send, message):
        answer.ok()
    assert (await one(ann, delay_id))["event_id"] == before


@pytest.mark.parametrize(
    ("change", "status", "errcode"),
    [
        ({"delay_ms": 0}, 400, "M_INVALID_PARAM"),
        ({"delay_ms": -1}, 400, "M_INVALID_PARAM"),
        ({"delay_ms": 2**60}, 400, "M_INVALID_PARAM"),
        ({"delay_ms": "soon"}, 400, "M_BAD_JSON"),
        ({"delay_ms": 40 * 86_400_000}, 403, "M_FORBIDDEN"),
        ({"content": 5}, 400, "M_BAD_JSON"),
        ({"content": {"n": 1.5}}, 400, "M_BAD_JSON"),
        ({"content": {"body": "x" * 70_000}}, 413, "M_TOO_LARGE"),
        ({"state_key": "x" * 256}, 400, "M_INVALID_PARAM"),
    ],
)
async def test_refused(hearth: Hearth, change: dict[str, Any], status: int, errcode: str) -> None:
    ann = await hearth.user("ann")
    body = {"delay_ms": 1, "content": {}, **change}
    path = f"{MSC}/rooms/!a:b/delayed_event/m.room.message/t"
    answer = await ann.put(path, body)
    assert (answer.status, answer.errcode) == (status, errcode)


async def test_limits(postgres: Server, tmp_path: Path) -> None:
    """What may be scheduled is told beforehand, and in the error that clients of today read."""
    settings = test_settings("one.test", tmp_path)
    limits = DelayedEvents(max_delay=Duration(1_200_000), max_scheduled=2)
    settings = replace(settings, rooms=Rooms(delayed_events=limits))
    async with own_database(postgres, "delay_limits") as where, serving(settings, where) as hearth:
        ann = await hearth.user("ann")
        told = (await ann.get(f"{V3}/capabilities")).ok()["capabilities"]
        limits_told = {"max_delay_ms": 1_200_000, "max_scheduled": 2}
        assert told["org.matrix.msc4140.delayed_events"] == limits_told
        path = f"{V3}/rooms/!a:b/state/t/"
        answer = await ann.put(path, {}, **{DELAY: 1_200_001})
        assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
        assert answer.json["org.matrix.msc4140.errcode"] == "M_MAX_DELAY_EXCEEDED"
        assert answer.json["org.matrix.msc4140.max_delay"] == 1_200_000
        first = await schedule(ann, "!a:b", "1")
        await schedule(ann, "!a:b", "2", 1_200_000)
        assert await schedule(ann, "!a:b", "1") == first
        answer = await ann.put(path, {}, **{DELAY: 1})
        assert (answer.status, answer.errcode) == (429, "M_LIMIT_EXCEEDED")
        assert 590 < int(answer.headers["Retry-After"]) <= 600
        (await ann.post(f"{MSC}/delayed_events/{first}/cancel")).ok()
        await schedule(ann, "!a:b", "3")


async def test_a_restart_loses_and_repeats_nothing(postgres: Server, tmp_path: Path) -> None:
    """What was due meanwhile is sent in order; what was sent and not noted is not sent again."""
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, "delay_restart") as where:
        async with serving(settings, where) as hearth:
            ann = await hearth.user("ann")
            room = await room_of(ann)
            ids = [await schedule(ann, room, str(n), LONG - 5000 * n) for n in range(3)]
            (await ann.post(f"{MSC}/delayed_events/{ids[2]}/send")).ok()
            async with hearth.parts.base.process.database.reader() as conn:
                # As it was while the last one was being sent, and later.
                await conn.execute("UPDATE delayed_events SET finalised_ts = NULL, event_id = NULL")
                await conn.execute("UPDATE delayed_events SET due_ts = due_ts - 600000")
        async with serving(settings, where) as hearth:
            ann = await hearth.log_in("@ann:one.test")
            outcomes = [await finalised(ann, delay_id) for delay_id in ids]
            shown = [event["event_id"] for event in await messages(ann, room)]
            assert shown == [outcomes[n]["event_id"] for n in (0, 1, 2)]


async def test_every_worker_can_wake_the_one_that_sends(postgres: Server, tmp_path: Path) -> None:
    settings = test_settings("one.test", tmp_path, workers=2)
    async with (
        own_database(postgres, "delay_workers") as where,
        serving(settings, where, workers=2) as hearth,
    ):
        ann = await hearth.user("ann")
        room = await room_of(ann)
        ids = [await schedule(ann, room, str(n), 1 + n) for n in range(10)]
        outcomes = [await finalised(ann, delay_id) for delay_id in ids]
        shown = [event["event_id"] for event in await messages(ann, room)]
        assert sorted(shown) == sorted(outcome["event_id"] for outcome in outcomes)


async def test_who_may_not_speak_any_more_does_not(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)
    delay_id = await schedule(ann, room)
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        await conn.execute("UPDATE accounts SET suspended = true")
    answer = await hearth.anybody.post(f"{MSC}/delayed_events/{delay_id}/send")
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")


async def test_what_was_finalised_is_forgotten_in_time(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await room_of(ann)
    old, kept, waiting = [await schedule(ann, room, txn) for txn in ("a", "b", "c")]
    for delay_id in (old, kept):
        (await ann.post(f"{MSC}/delayed_events/{delay_id}/cancel")).ok()
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("UPDATE delayed_events SET finalised_ts = 5 WHERE delay_id = $1", old)
    await tidy(hearth.parts)
    assert (await ann.get(f"{MSC}/delayed_events/{old}")).status == 404
    assert await one(ann, kept)
    assert [event["delay_id"] for event in await listed(ann)] == [waiting]
    async with hearth.parts.base.process.database.reader() as conn:
        await delayed_events.forget_finalised(conn, 0, 0)
    assert (await ann.get(f"{MSC}/delayed_events/{kept}")).status == 404


async def test_versions_tell_of_it(hearth: Hearth) -> None:
    versions = (await hearth.anybody.get("/_matrix/client/versions")).ok()
    assert versions["unstable_features"]["org.matrix.msc4140"] is True
