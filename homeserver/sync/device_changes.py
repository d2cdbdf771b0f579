"""Whose devices a client has to look at again.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Iterable

from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import UserNid
from homeserver.sync.activity import Activity
from homeserver.sync.keys import DeviceChanges, Keys

NONE = DeviceChanges((), ())


async def device_changes(
    keys: Keys,
    activity: Activity,
    user: UserNid,
    rooms: Iterable[RoomOf],
    after: int,
    up_to: int,
) -> DeviceChanges:
    """What changed between two positions; no query where nothing can have.

    Args:
        keys: the duties of end-to-end encryption.
        activity: tells what may have changed.
        user: who is told.
        rooms: all that they have something to do with.
        after: the position up to which the client knows all.
        up_to: the position up to which is told.

    """
    joined = [room.room for room in rooms if room.membership is Membership.JOIN]
    if not (
        activity.devices_changed(after)
        or activity.user_changed(user, after)
        or activity.members_moved(joined, after)
    ):
        return NONE
    return await keys.changed_since(user, after, up_to)
