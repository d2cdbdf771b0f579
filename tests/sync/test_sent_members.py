"""Which members devices were told of, in memory."""

from federation.identifiers import UserID
from homeserver.storage.numbers import RoomNid
from homeserver.storage.state_groups import EventNid
from homeserver.sync.states import SentMembers

ROOM = RoomNid(1)
ANN, BOB = UserID("@ann:one.test"), UserID("@bob:one.test")


def told(sent: SentMembers, device: int, up_to: int, *users: UserID, is_new: bool = False) -> int:
    """How many of these members are told with an answer."""
    members = {user: EventNid(number) for number, user in enumerate(users)}
    return len(sent.unsent(device, ROOM, members, up_to, is_new=is_new))


def test_only_what_the_client_got_counts() -> None:
    sent = SentMembers()
    sent.ask(1, 0)
    assert told(sent, 1, 5, ANN, BOB) == 2
    sent.ask(1, 0)  # the answer was lost
    assert told(sent, 1, 6, ANN, BOB) == 2
    sent.ask(1, 6)
    assert told(sent, 1, 7, ANN, BOB) == 0
    assert told(sent, 1, 7, ANN, BOB, is_new=True) == 2
    assert told(sent, 2, 7, ANN, BOB) == 2
    sent.ask(1, 5)  # from before what is known
    assert told(sent, 1, 8, ANN, BOB) == 2


def test_what_nobody_asks_on_from_is_forgotten_too() -> None:
    sent = SentMembers(most=10)
    for device in range(1, 100):
        sent.ask(device, 0)
        told(sent, device, 5, ANN, BOB)
    # The last ones asked on in time, the first ones did not.
    for device, unknown in ((99, 0), (98, 0), (1, 2)):
        sent.ask(device, 5)
        assert told(sent, device, 6, ANN, BOB) == unknown, device
    for device in range(1, 100):
        sent.forget(device)
    assert sent.used == 0
