"""The stage in which somebody shows that they are no program, in their client or in a browser.

https://spec.matrix.org/v1.19/client-server-api/#google-recaptcha
"""

from html import escape

from homeserver.accounts.interactive import Attempt, InteractiveAuth, Passed
from homeserver.accounts.pages import page
from homeserver.accounts.stages import RECAPTCHA, Refusal
from homeserver.peers.captchas import CaptchaService

_LONGEST = 16_384
"""Characters of an answer; they grow."""
_DONE = (
    "if (window.onAuthDone) { window.onAuthDone(); } "
    "else if (window.opener && window.opener.postMessage) "
    '{ window.opener.postMessage("authDone", "*"); }'
)
"""As the specification has it."""


class CaptchaCheck:
    """Checks answers.

    Args:
        service: knows which are right; `None` where nobody is asked for one.

    """

    def __init__(self, service: CaptchaService | None) -> None:
        self._service = service

    async def __call__(self, attempt: Attempt) -> Passed | Refusal:
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


class Captchas:
    """The stage on a page of ours, where clients have none.

    Args:
        interactive: has the sessions.

    """

    def __init__(self, interactive: InteractiveAuth) -> None:
        self._interactive = interactive

    async def awaits(self, session: str) -> bool:
        """Whether there is such a session of somebody who registers."""
        return await self._interactive.is_going_on(session, "register")

    async def complete(self, session: str, answer: str) -> Refusal | None:
        """Complete the stage, which is the first of them; or why not.

        Raises:
            NotFound: there is no such session.
            BadGateway: the service cannot be asked.

        """
        given = {"response": answer}
        return await self._interactive.complete_first(session, "register", RECAPTCHA, given)


def riddle_page(site_key: str, script_url: str, nonce: str) -> bytes:
    """The riddle, as its maker shows it."""
    script = f'<script nonce="{nonce}" src="{escape(script_url)}" async defer></script>'
    widget = f'<span class="g-recaptcha" data-sitekey="{escape(site_key)}"></span>'
    button = '<button type="submit">Go on</button>'
    form = f'<form method="post">{script}{widget}<p>{button}</form>'
    return page("Are you a person?", ["Show that you are a person, to make an account.", form])


def done_page(nonce: str) -> bytes:
    """After it was solved; the client is told."""
    script = f'<script nonce="{nonce}">{_DONE}</script>'
    return page("Thank you", ["You can close this page and go back to your app.", script])
