"""How much somebody has not read in all, as the number on an app's icon.

https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
"""

from federation.identifiers import UserID
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.sync.activity import Activity
from homeserver.sync.unread import Unread, room_total
from homeserver.sync.user_rooms import UserRooms


class Badges:
    """Counts over all rooms of users.

    Args:
        process: the one that this is part of.
        activity: tells what has to be counted anew.
        user_rooms: who is in which rooms.
        unread: counts.
        by_room: whether rooms are counted, and not messages.

    """

    def __init__(
        self,
        process: Process,
        activity: Activity,
        user_rooms: UserRooms,
        unread: Unread,
        *,
        by_room: bool,
    ) -> None:
        self._process = process
        self._activity = activity
        self._user_rooms = user_rooms
        self._unread = unread
        self._by_room = by_room

    async def of(self, user: UserNid, user_id: UserID) -> int:
        """How much is unread now."""
        await self._activity.catch_up()
        await self._process.tail.catch_up()
        rooms = await self._user_rooms.of(user)
        joined = [room for room in rooms if room.membership is Membership.JOIN]
        counted = await self._unread.of(user, user_id, joined, self._activity.position)
        totals = [room_total(threads).notifications for threads in counted.values()]
        return sum(1 for total in totals if total) if self._by_room else sum(totals)
