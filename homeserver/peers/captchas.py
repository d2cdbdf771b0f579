"""Asking whoever makes riddles whether one was solved, as reCAPTCHA is asked.

https://developers.google.com/recaptcha/docs/verify
"""

from urllib.parse import urlencode

import orjson

from federation.errors import RequestError
from federation.net.transport import Limits
from homeserver.config.settings import Captcha as Settings
from homeserver.errors import BadGateway
from homeserver.peers.peers import Peers

_LIMITS = Limits(total=15.0, connect=10.0, idle=10.0, body=64 * 1024)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class CaptchaService:
    """Asks it. It is told the answer, not whose it is.

    Args:
        peers: the way to it.
        settings: where it is, and the key that it knows us by.

    """

    def __init__(self, peers: Peers, settings: Settings) -> None:
        self._peers = peers
        self._settings = settings

    async def is_right(self, answer: str) -> bool:
        """Whether an answer is right, and was not given before.

        Raises:
            BadGateway: nobody says.

        """
        fields = {"secret": self._settings.secret_key.reveal(), "response": answer}
        url, body = self._settings.verify_url, urlencode(fields).encode()
        try:
            asked = self._peers.ask("POST", url, _LIMITS, content=body, headers=_FORM)
            async with asked as reply:
                said = orjson.loads(await reply.read())
        except (RequestError, orjson.JSONDecodeError) as error:
            raise BadGateway("it cannot be checked now whether the captcha is right") from error
        return isinstance(said, dict) and said.get("success") is True
