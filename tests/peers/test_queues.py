"""What is known of queues without a look."""

from homeserver.peers import queues
from homeserver.peers.queues import Queues
from homeserver.storage.numbers import ServerNid
from homeserver.storage.outgoing import QueuedEvent
from homeserver.storage.state_groups import EventNid

ONE, TWO = ServerNid(1), ServerNid(2)


def _event(pos: int) -> QueuedEvent:
    return QueuedEvent(pos, EventNid(pos), b"{}")


def _positions(known: Queues, server: ServerNid) -> list[int] | None:
    waiting = known.waiting(server)
    return None if waiting is None else [event.pos for event in waiting]


def test_a_queue_is_known_from_when_it_was_empty() -> None:
    known = Queues()
    known.add(ONE, _event(1))
    assert known.waiting(ONE) is None
    known.note_empty(ONE)
    assert _positions(known, ONE) == []
    for pos in (2, 3, 4):
        known.add(ONE, _event(pos))
    # To be empty once more, it would have to be seen: this is what is known by now.
    known.note_empty(ONE)
    assert _positions(known, ONE) == [2, 3, 4]
    known.note_sent(ONE, 3)
    assert _positions(known, ONE) == [4]
    known.note_sent(ONE, None)
    assert _positions(known, ONE) == [4]
    assert known.waiting(TWO) is None


def test_in_doubt_nothing_is_known() -> None:
    known = Queues()
    for server in (ONE, TWO):
        known.note_empty(server)
    known.doubt(ONE)
    known.add(ONE, _event(1))
    assert known.waiting(ONE) is None
    assert _positions(known, TWO) == []
    known.clear()
    assert known.waiting(TWO) is None


def test_long_queues_are_not_remembered() -> None:
    known = Queues()
    known.note_empty(ONE)
    for pos in range(queues._MOST_EVENTS):
        known.add(ONE, _event(pos))
    assert len(known.waiting(ONE) or ()) == queues._MOST_EVENTS
    known.add(ONE, _event(pos + 1))
    assert known.waiting(ONE) is None
