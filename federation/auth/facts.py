"""What the rules ask of a room's state."""

from federation.auth.selection import CREATE, JOIN_RULES, POWER_LEVELS
from federation.events import Event, StateMap
from federation.power_levels import PowerLevels


class Facts:
    """A room's state, seen through the questions of the authorisation rules.

    The state has to hold the create event; of the rest, what `selection` names for the event at
    hand suffices.
    """

    __slots__ = ("create", "levels", "power_levels", "state")

    def __init__(self, state: StateMap, create: Event) -> None:
        self.state = state
        self.create = create
        self.power_levels = state.get(POWER_LEVELS)
        self.levels = PowerLevels(create, self.power_levels)

    @classmethod
    def of(cls, state: StateMap) -> "Facts | None":
        """The facts, if there is a create event among them."""
        create = state.get(CREATE)
        return cls(state, create) if create else None

    def membership(self, user: str) -> str:
        """The user's membership; those the room never heard of count as having left."""
        member = self.state.get(("m.room.member", user))
        return (member.membership if member else None) or "leave"

    @property
    def join_rule(self) -> str:
        """The join rule; "invite" where none is set, or none that can be read."""
        event = self.state.get(JOIN_RULES)
        rule = event.content.get("join_rule", "invite") if event else "invite"
        return rule if isinstance(rule, str) else ""
