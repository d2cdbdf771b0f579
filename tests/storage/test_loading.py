"""Stored events are read once, and never as they were before they were redacted."""

from federation.building import Draft, Place, Signer, build
from federation.events import Event, redacted
from federation.identifiers import RoomID, ServerName, UserID
from federation.room_versions import V10, V11
from federation.signing import SigningKey
from homeserver.storage.loading import Loading

SIGNER = Signer(ServerName("one.test"), SigningKey.from_seed("ed25519:a", bytes(32)))


def _event(text: str) -> Event:
    draft = Draft("m.x", UserID("@a:one.test"), {"body": text}, None, RoomID("!r:one.test"))
    return build(draft, Place(), V11, SIGNER, now=1, opaque_id="x")


def test_what_is_stored_is_read_once() -> None:
    loading, event = Loading(), _event("hello")
    first = loading.load(event.json, event.event_id, "11")
    assert first == event
    assert first.content == {"body": "hello"}
    assert loading.load(bytes(bytearray(event.json)), event.event_id, "11") is first


def test_a_redacted_event_is_another_one() -> None:
    loading, event = Loading(), _event("secret")
    left = redacted(event)
    assert loading.load(event.json, event.event_id, "11").content == {"body": "secret"}
    assert loading.load(left.json, event.event_id, "11").content == {}
    assert loading.used == len(left.json)
    # A connection that reads what was before the redaction's commit harms nobody after it.
    assert loading.load(event.json, event.event_id, "11").content == {"body": "secret"}
    assert loading.load(left.json, event.event_id, "11").content == {}


def test_the_room_version_counts() -> None:
    loading, event = Loading(), _event("hello")
    assert loading.load(event.json, event.event_id, "11").version is V11
    assert loading.load(event.json, event.event_id, "10").version is V10


def test_no_more_is_kept_than_may_be() -> None:
    events = [_event(str(number) * 100) for number in range(9)]
    loading = Loading(3 * len(events[0].json))
    first = [loading.load(event.json, event.event_id, "11") for event in events]
    assert loading.used == 3 * len(events[0].json)
    again = [loading.load(event.json, event.event_id, "11") for event in reversed(events)]
    kept = [one is other for one, other in zip(reversed(first), again, strict=True)]
    assert kept == [True] * 3 + [False] * 6
