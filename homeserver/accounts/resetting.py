"""A new password for somebody who has forgotten theirs.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
"""

from collections.abc import Mapping
from typing import Any

from homeserver.accounts.interactive import AuthData, InteractiveAuth, Operation
from homeserver.accounts.stages import EMAIL, Challenge, Flow
from homeserver.errors import MissingToken
from homeserver.storage.numbers import UserNid

_FLOWS: tuple[Flow, ...] = ((EMAIL,),)


class Resetting:
    """Finds out whose password it is, without a session of theirs.

    Args:
        auth: asks for stages.
        is_possible: whether mail can be sent.

    """

    def __init__(self, auth: InteractiveAuth, *, is_possible: bool) -> None:
        self._auth = auth
        self._is_possible = is_possible

    async def identify(
        self, asked: Mapping[str, Any], auth: AuthData | None
    ) -> UserNid | Challenge:
        """Who asks for another password; or what is still to be answered.

        Raises:
            MissingToken: nobody can show who they are but by a session.
            Forbidden: the authentication was begun for another request.

        """
        if not self._is_possible:
            raise MissingToken
        operation = Operation("change_password", asked)
        found = await self._auth.confirm(operation, _FLOWS, auth)
        if isinstance(found, Challenge):
            return found
        if found.user is None:
            raise MissingToken
        return found.user
