"""How often somebody may invite, in whatever way: by itself, as state, or with a new room.

https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
"""

from collections.abc import Collection, Hashable

from homeserver.client_server.house import House
from homeserver.http import Request


def count_invitations(
    request: Request, house: House, targets: Collection[Hashable], room_id: str | None = None
) -> None:
    """Count that the caller invites these, into a new room or an old one.

    Raises:
        LimitExceeded: they invite too many, or one of these is invited too often.

    """
    caller = request.caller
    if caller is None or not caller.is_limited or not targets:
        return
    house.limits.check("invites_by_sender", caller.key, len(targets))
    if room_id is not None:
        house.limits.check("invites_per_room", room_id, len(targets))
    for target in targets:
        house.limits.check("invites_to_user", target)
