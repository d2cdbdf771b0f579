"""What holds for every endpoint alike: who is let in, and what becomes of bad input.

The rows come from the tables that are served, so a new endpoint is tested without a line here.
"""

import inspect
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from homeserver.app.tables import ADMIN, CLIENT, FEDERATION
from homeserver.http.routes import Auth, Route
from tests.servers import Client, Hearth

ROUTES = [route for table in (*CLIENT, *ADMIN) for route in table]
FEDERATION_ROUTES = [route for table in FEDERATION for route in table]

KNOWN = {
    "roomId": "!nowhere:one.test",
    "roomIdOrAlias": "!nowhere:one.test",
    "roomAlias": "#nothing:one.test",
    "userId": "@nobody:one.test",
    "eventId": "$nothing",
    "eventType": "m.room.name",
    "serverName": "elsewhere.test",
}
"""Well-formed names of what there is not."""

MALFORMED = ("%00", "%F0%9F%92%A9", "!", "x" * 600, "%2F%2F", "@:", "-1", "{}")
BODIES: tuple[bytes, ...] = (
    b"",
    b"not json",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"NaN",
    b'{"a": NaN}',
    b'"text"',
    b"{" * 3000,
    b'{"a":' * 600 + b"1" + b"}" * 600,
    b'{"a": 1e999, "limit": 1e400}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\u0000"}',
    b'{"room_id": 5, "user_id": [], "messages": 1, "device_keys": 1, "one_time_keys": 1,'
    b' "auth": 5, "type": {}, "password": [], "username": {}, "invite": {}, "preset": 1,'
    b' "rooms": 7, "content": 1, "events": 1, "sessions": 2, "timeout": "x", "typing": "y",'
    b' "displayname": {}, "avatar_url": 5, "reason": [], "membership": 3, "room_version": 9,'
    b' "initial_state": {}, "creation_content": [], "name": [], "topic": {}, "devices": 5,'
    b' "algorithm": 1, "auth_data": [], "master_key": 1, "edus": 1, "pdus": {}, "origin": 1}',
    json.dumps({"content": {"n": 2**70}, "n": 2**70, "limit": 2**70}).encode(),
    json.dumps({"user_id": "@\u0000:x", "room_id": "!\u0000", "type": "\u0000"}).encode(),
)


def names(path: str) -> list[str]:
    return re.findall(r"\{(\w+)[?*]?\}", path)


def filled(path: str, value: str | None = None, **known: str) -> str:
    """The path with well-formed names, or with one value for all."""
    known = {**KNOWN, **known}

    def fill(found: "re.Match[str]") -> str:
        return value if value is not None else known.get(found[1], "something").replace("#", "%23")

    return re.sub(r"\{(\w+)[?*]?\}", fill, path)


def label(route: Route) -> str:
    return f"{route.method} {route.operation}"


def is_open(route: Route) -> bool:
    return route.auth in {Auth.NONE, Auth.OPTIONAL, Auth.FEDERATION}


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def test_without_a_token_nobody_gets_in(hearth: Hearth) -> None:
    for route in ROUTES:
        if not is_open(route):
            answer = await hearth.anybody.ask(route.method, filled(route.path), {})
            if route.method != "HEAD":
                assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN"), label(route)


async def test_with_an_unknown_token_nobody_gets_in(hearth: Hearth) -> None:
    stranger = Client(hearth, "hth_none")
    for route in ROUTES:
        if not is_open(route) and route.auth is not Auth.APPSERVICE:
            answer = await stranger.ask(route.method, filled(route.path), {})
            assert (answer.status, answer.errcode) == (401, "M_UNKNOWN_TOKEN"), label(route)


async def test_with_a_token_that_ended_nobody_gets_in(hearth: Hearth, ann: Client) -> None:
    out, expired = await ann.log_in_again(), await ann.log_in_again()
    (await out.post("/_matrix/client/v3/logout")).ok()
    async with hearth.parts.base.process.database.reader() as conn:
        end = """
            UPDATE access_tokens t SET expires_ts = 1 FROM devices d
             WHERE d.device_nid = t.device_nid AND d.device_id = $1
        """
        await conn.execute(end, expired.device_id)
    for route in ROUTES:
        if not is_open(route) and route.auth is not Auth.APPSERVICE:
            for who in (out, expired):
                answer = await who.ask(route.method, filled(route.path), {})
                assert (answer.status, answer.errcode) == (401, "M_UNKNOWN_TOKEN"), label(route)
                assert answer.json.get("soft_logout", False) is (who is expired), label(route)


async def test_no_server_gets_in_unsigned(hearth: Hearth) -> None:
    for route in FEDERATION_ROUTES:
        if route.auth is Auth.FEDERATION:
            answer = await hearth.anybody.ask(route.method, filled(route.path), {})
            assert answer.status in {401, 403}, label(route)
            assert answer.errcode in {"M_UNAUTHORIZED", "M_FORBIDDEN"}, label(route)


def unfit(route: Route) -> bool:
    """What waits, or ends the session that asks."""
    return route.operation in {"sync", "logout", "logout_all", "deactivate_account", "get_events"}


async def test_bad_bodies_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    for route in [r for r in ROUTES if r.method in {"POST", "PUT", "DELETE"} and not unfit(r)]:
        for body in BODIES:
            answer = await ann.ask(route.method, filled(route.path), raw=body)
            assert answer.status < 500, (label(route), body[:60], answer.json)
            # Pages for people say in words what is wrong.
            if answer.status >= 400 and answer.headers["Content-Type"] == "application/json":
                assert answer.errcode or answer.status == 401, (label(route), body[:60])


def fields(route: Route) -> Sequence[msgspec.inspect.Field]:
    """What a handler reads of a body, where it says so."""
    wanted = inspect.signature(route.handler, eval_str=True).parameters.get("body")
    kinds = getattr(wanted and wanted.annotation, "__args__", ()) or [wanted and wanted.annotation]
    structs = [
        kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ]
    found = msgspec.inspect.type_info(structs[0]) if structs else None
    return found.fields if isinstance(found, msgspec.inspect.StructType) else ()


VALUES: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 2**63, "", "x" * 70_000, "\0", "\ud800", "@a:b", "!a:b"),
    *([], [1], ["x"] * 2000, {}, {"x": {}}, {"x" * 1000: [None]}, {"@a:one.test": ["D"]}),
)


async def test_bad_fields_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    """Each that a handler names, with all kinds of values, and left out."""
    room, said = await a_room(ann)
    known = {"roomId": room, "roomIdOrAlias": room, "userId": ann.user_id, "eventId": said}
    for route in [r for r in ROUTES if fields(r) and not unfit(r)]:
        names = [field.encode_name for field in fields(route)]
        good = dict.fromkeys(names, "something")
        bodies = [{**good, name: value} for name in names for value in VALUES]
        bodies += [{other: "x" for other in names if other != name} for name in names]
        for body in bodies:
            answer = await ann.ask(route.method, filled(route.path, **known), body)
            assert answer.status < 500, (label(route), str(body)[:200], answer.json)
            assert answer.status < 400 or answer.errcode or answer.status == 401, label(route)


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_large_bodies_are_refused(hearth: Hearth, ann: Client) -> None:
    body = b'{"a": "' + b"x" * 10_000_000 + b'"}'
    for route in [r for r in ROUTES if r.method in {"POST", "PUT"} and not unfit(r)]:
        is_read = "body" in inspect.signature(route.handler).parameters
        if is_read and route.body_kind == "client" and route.auth is Auth.ACCESS_TOKEN:
            answer = await ann.ask(route.method, filled(route.path), raw=body, version="1")
            assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE"), label(route)


async def a_room(ann: Client) -> tuple[str, str]:
    """A private one, and something that was said in it."""
    v3, message = "/_matrix/client/v3", {"msgtype": "m.text", "body": "x"}
    wanted = {"preset": "private_chat", "room_alias_name": "secret"}
    room = (await ann.post(f"{v3}/createRoom", wanted)).ok()["room_id"]
    said = (await ann.put(f"{v3}/rooms/{room}/send/m.room.message/1", message)).ok()["event_id"]
    return room, said


OPEN_TO_OUTSIDERS = {
    # What is public, or of the caller's own.
    *("get_room_visibility_on_directory", "get_presence", "get_user_profile", "get_profile_field"),
    # Is judged when it is sent, and tells nothing.
    "schedule_delayed_event",
    # Of rooms and users that one sees from outside.
    *("report_room", "report_user", "query_user_by_protocol"),
}


async def test_outsiders_get_nothing_of_a_room_or_account(hearth: Hearth, ann: Client) -> None:
    """Whatever is forgotten to be asked for is so found here."""
    eve, (room, said) = await hearth.user("eve"), await a_room(ann)
    known = {"roomId": room, "roomIdOrAlias": room, "userId": ann.user_id, "eventId": said}
    known |= {"deviceId": ann.device_id, "roomAlias": "#secret:one.test"}
    body = {
        "user_id": ann.user_id,
        "new_version": "11",
        "reason": "x",
        "visibility": "public",
        "typing": False,
        "delay_ms": 10_000,
        "content": {},
        "m.read": said,
        "room_id": room,
        "displayname": "x",
        "membership": "join",
        "presence": "online",
        "action": "cancel",
    }
    for route in [r for r in ROUTES if {"roomId", "userId"} & set(names(r.path)) and not unfit(r)]:
        path = filled(route.path, **known)
        answer = await eve.ask(route.method, path, body)
        is_open = route.operation in OPEN_TO_OUTSIDERS
        assert answer.status >= 400 or is_open, (label(route), answer.json)


async def test_bad_names_in_paths_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    for route in [r for r in ROUTES if names(r.path) and not unfit(r)]:
        for value in MALFORMED:
            path = filled(route.path, value)
            answer = await ann.ask(route.method, path, raw=b"{}")
            assert answer.status < 500, (label(route), value, answer.json)


async def test_bad_queries_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    queries = (
        "limit=x&from=y&to=z&dir=q&filter=%7B&since=nonsense&at=1",
        "limit=-1&from=h1.99999999999.0.0&dir=b&since=h9.1.1.1&timeout=-5",
        "limit=99999999999999999999&from=h1.1.1.1.-999999999999999999&dir=f",
        "filter=%00&from=%00&since=%00&server_name=%00&via=%FF&version=%00",
        "&".join(f"a{n}=1" for n in range(2000)),
        "filter=[]&set_presence=never&full_state=perhaps",
    )
    for route in [r for r in ROUTES if r.method == "GET" and not unfit(r)]:
        for query in queries:
            answer = await ann.ask("GET", f"{filled(route.path)}?{query}")
            assert answer.status < 500, (label(route), query[:60], answer.json)


async def test_other_methods_are_refused(hearth: Hearth) -> None:
    known: dict[str, set[str]] = {}
    for route in [*ROUTES, *FEDERATION_ROUTES]:
        known.setdefault(filled(route.path), set()).add(route.method)
    for path, methods in known.items():
        if "PATCH" not in methods:
            answer = await hearth.anybody.ask("PATCH", path)
            assert (answer.status, answer.errcode) == (405, "M_UNRECOGNIZED"), path


async def test_every_answer_may_be_read_by_browsers(hearth: Hearth) -> None:
    for route in ROUTES:
        for method in ("OPTIONS", route.method):
            answer = await hearth.anybody.ask(method, filled(route.path), raw=b"{}")
            assert answer.headers["Access-Control-Allow-Origin"] == "*", label(route)


FLAGS = {
    "im.nheko.summary": "org.matrix.msc3266",
    "org.matrix.msc3814.v1": "org.matrix.msc3814",
    "io.element.msc4306": "org.matrix.msc4306",
    "io.element.msc4308": "org.matrix.msc4306",
    "uk.half-shot.msc2666": "uk.half-shot.msc2666.query_mutual_rooms",
}
"""Where they are not called like the paths."""
UNFLAGGED = {
    "org.matrix.msc4143",  # clients just ask
    "fi.mau.msc2659",  # bridges do
    "hearth.email",  # of mails
    # What was there before there were flags.
    *("rooms", "keys"),
}


async def test_flags_tell_of_unstable_paths(hearth: Hearth) -> None:
    told = (await hearth.anybody.get("/_matrix/client/versions")).ok()["unstable_features"]
    paths = " ".join(path for route in ROUTES for path in route.paths)
    for name in set(re.findall(r"/unstable/([^/ ]+)/", paths)) - UNFLAGGED:
        assert told.get(FLAGS.get(name, name)) is True, name
