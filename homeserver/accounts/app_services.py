"""Application services, as their registrations describe them: bridges and bots.

What they may act as, what is theirs alone, and what they want to hear of.

https://spec.matrix.org/v1.19/application-service-api/#registration
"""

import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from federation.identifiers import RoomAlias, UserID
from homeserver.accounts.tokens import hash_of
from homeserver.config.values import Secret
from homeserver.errors import Exclusive


@dataclass(frozen=True, slots=True)
class Namespace:
    """Names that an application service is interested in."""

    regex: re.Pattern[str]
    exclusive: bool

    def includes(self, name: str) -> bool:
        """Whether the name begins as the regex says: as everybody anchors them."""
        return self.regex.match(name) is not None


Namespaces = tuple[Namespace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppService:
    """One registration."""

    id: str
    url: str | None
    """Without a slash at the end; `None`: it is told nothing."""
    as_token: Secret
    hs_token: Secret
    sender: UserID
    """It acts as this user where it names nobody."""
    users: Namespaces = ()
    aliases: Namespaces = ()
    rooms: Namespaces = ()
    rate_limited: bool = True
    protocols: tuple[str, ...] = ()
    wants_ephemeral: bool = False
    """Typing, receipts, presence and to-device messages."""
    wants_encryption: bool = False
    """Changes of device lists, and counts of one-time keys: MSC3202."""
    token_in_query: bool = False
    """Whether it looks for the `hs_token` in the query, too."""
    as_token_hash: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_token_hash", hash_of(self.as_token.reveal()))

    def may_be(self, user_id: str) -> bool:
        """Whether it acts for this user, or would if there were one; of this server."""
        return user_id == self.sender or includes(self.users, user_id)

    def instance_id(self, network_id: str) -> str:
        """What a network is called here, whoever else bridges one of the same name."""
        return f"{self.id}|{network_id}"


def includes(namespaces: Namespaces, name: str) -> bool:
    """Whether one of the namespaces has the name."""
    return any(namespace.includes(name) for namespace in namespaces)


def _is_exclusive(namespaces: Namespaces, name: str) -> bool:
    return any(namespace.exclusive and namespace.includes(name) for namespace in namespaces)


class AppServices:
    """All application services of this server, as their registrations are now."""

    def __init__(self, services: Sequence[AppService] = ()) -> None:
        self._changed: list[Callable[[], None]] = []
        self.replace(services)

    def __iter__(self) -> Iterator[AppService]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def replace(self, services: Iterable[AppService]) -> None:
        """These are in force from now on, and no others."""
        self._services = tuple(services)
        self._by_id = {service.id: service for service in self._services}
        for changed in self._changed:
            changed()

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call back whenever others are in force."""
        self._changed.append(changed)

    def get(self, service_id: str | None) -> AppService | None:
        """The application service of this id."""
        return None if service_id is None else self._by_id.get(service_id)

    def by_token(self, token: str) -> AppService | None:
        """Whose `as_token` that is; as quick whether or not it is almost one."""
        given = hash_of(token)
        found = None
        for service in self._services:
            if hmac.compare_digest(service.as_token_hash, given):
                found = service
        return found

    def is_exclusive(self, user_id: UserID, asking: AppService | None = None) -> bool:
        """Whether another application service than the one that asks has the name for itself."""
        others = self._but(asking)
        return any(s.sender == user_id or _is_exclusive(s.users, user_id) for s in others)

    def owner(self, user_id: str) -> AppService | None:
        """Who has the user in an exclusive namespace."""
        owners = (one for one in self._services if _is_exclusive(one.users, user_id))
        return next(owners, None)

    def check_user(self, user_id: UserID, asking: AppService) -> None:
        """Raise `Exclusive` unless the application service may make, or be, this user."""
        if not asking.may_be(user_id) or self.is_exclusive(user_id, asking):
            raise Exclusive("the name is not in a namespace of this application service")

    def check_alias(self, alias: RoomAlias, asking: AppService | None) -> None:
        """Raise `Exclusive` if the alias is not for whoever asks to make or delete.

        https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions
        """
        if asking is not None and not includes(asking.aliases, alias):
            raise Exclusive("the alias is not in a namespace of this application service")
        if any(_is_exclusive(service.aliases, alias) for service in self._but(asking)):
            raise Exclusive("an application service has reserved this alias")

    def interested_in_user(self, user_id: str) -> Iterable[AppService]:
        """Those that have the user in a namespace."""
        return (service for service in self._services if service.may_be(user_id))

    def interested_in_alias(self, alias: str) -> Iterable[AppService]:
        """Those that have the alias in a namespace."""
        return (service for service in self._services if includes(service.aliases, alias))

    def _but(self, asking: AppService | None) -> Iterable[AppService]:
        return (service for service in self._services if service is not asking)
