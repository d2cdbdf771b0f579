"""The stage in which somebody shows that they are no program.

https://spec.matrix.org/v1.19/client-server-api/#google-recaptcha
"""

from homeserver.accounts.interactive import Attempt, Passed
from homeserver.accounts.stages import Refusal
from homeserver.peers.captchas import CaptchaService

_LONGEST = 16_384
"""Characters of an answer; they grow."""


class Captchas:
    """Checks answers.

    Args:
        service: knows which are right; `None` where nobody is asked for one.

    """

    def __init__(self, service: CaptchaService | None) -> None:
        self._service = service

    async def check(self, attempt: Attempt) -> Passed | Refusal:
        """Check the `response` that a client brings from the service's page.

        Raises:
            BadGateway: the service cannot be asked.

        """
        answer = attempt.auth.given.get("response")
        if not isinstance(answer, str) or not 0 < len(answer) <= _LONGEST or not answer.isascii():
            return Refusal("M_CAPTCHA_NEEDED", "the answer to the captcha is missing")
        if self._service is None or not await self._service.is_right(answer):
            return Refusal("M_CAPTCHA_INVALID", "the captcha was not solved")
        return Passed()
