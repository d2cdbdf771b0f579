"""What no single setting shows: those that contradict each other, and those that cost much."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import reduce

from federation.errors import IdentifierError
from federation.identifiers import new_user_id
from homeserver.config.settings import Retention, Settings
from homeserver.errors import Problem

NOT_BUILT = (
    "auth.cas",
    "media.s3",
)
"""Settings that are read and checked, and that belong to what is not built yet."""


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Settings that cannot both be meant."""
    yield from _listeners(settings)
    yield from _registration(settings)
    yield from _mail(settings)
    yield from _ranges(settings)
    yield from _notices(settings)
    yield from _calls(settings)
    if not re.fullmatch(r"[\w ,;=.*-]*", settings.previews.accept_language, re.ASCII):
        yield Problem("previews.accept_language", "not languages", example='"de, en;q=0.5"')
    limits = settings.resource_limits
    if (limits.monthly_active_users or limits.blocked) and not limits.admin_contact:
        # "admin_contact" is required in the error that such limits bring.
        reason = "missing: whoever meets a resource limit is told whom to ask"
        example = "admin_contact: mailto:admin@example.org"
        yield Problem("resource_limits.admin_contact", reason, example=example)
    if settings.captcha and not settings.captcha.verify_url.startswith("https:"):
        reason = "not https: whoever is on the way could answer that all is well"
        yield Problem("captcha.verify_url", reason, settings.captcha.verify_url)
    if settings.media.folder and settings.media.s3:
        yield Problem("media.s3", "files go to media.folder or here, not to both")


def warnings(settings: Settings) -> Iterator[str]:
    """Settings that do what they say at a price that one should know."""
    registration = settings.registration
    held_up = settings.captcha or registration.require_email
    if registration.mode == "open" and not held_up:
        yield "registration.mode: anybody, spammers too, can make accounts unhindered"
    if not settings.rate_limits.enabled:
        yield "rate_limits.enabled: anybody can guess passwords and keep the server busy"
    if settings.outgoing.unverified_names:
        yield "outgoing.unverified_names: whoever is on the way to these can read and write along"
    if any(not network.prefixlen for network in settings.outgoing.allowed_ranges):
        yield "outgoing.allowed_ranges: others can make us talk to any machine of your network"
    if settings.smtp and settings.smtp.tls == "none":
        yield "smtp.tls: whoever reads our mail on its way can reset passwords"
    if settings.logging.level == "debug":
        yield "logging.level: the log tells who speaks with whom"
    if settings.privacy.client_addresses == "stored":
        yield "privacy.client_addresses: the disk tells where people live"
    yield from _exposed(settings)
    yield from _without_effect(settings)


def _without_effect(settings: Settings) -> Iterator[str]:
    """What is not built yet: better said than found out."""
    default = Settings(server_name=settings.server_name)
    for path in NOT_BUILT:
        given, usual = (reduce(getattr, path.split("."), one) for one in (settings, default))
        if given != usual:
            yield f"{path}: nothing acts on this setting yet"


def _exposed(settings: Settings) -> Iterator[str]:
    served = {service for listener in settings.listeners for service in listener.serves}
    if settings.federation.enabled and not {"federation", "key"} <= served:
        yield "federation.enabled: no listener serves both federation and key, others need both"
    for number, listener in enumerate(settings.listeners):
        inner = {"admin", "metrics"} & set(listener.serves)
        if inner and not listener.address.is_loopback:
            names = " and ".join(sorted(inner))
            yield f"listeners[{number}].serves: {names} can be reached from other machines"


def _listeners(settings: Settings) -> Iterator[Problem]:
    places = [(listener.address, listener.port) for listener in settings.listeners]
    for (address, port), count in Counter(places).items():
        if count > 1:
            path = f"listeners[{len(places) - 1 - places[::-1].index((address, port))}]"
            reason = f"port {port} of {address} is taken by another listener"
            yield Problem(path, reason)


def _registration(settings: Settings) -> Iterator[Problem]:
    registration = settings.registration
    if registration.token and registration.mode != "token":
        reason = f"a token opens nothing while registration.mode is {registration.mode}"
        yield Problem("registration.token", reason, example="mode: token")
    if registration.require_email and settings.smtp is None:
        reason = "e-mail addresses cannot be proven without smtp"
        yield Problem("registration.require_email", reason)


def _mail(settings: Settings) -> Iterator[Problem]:
    smtp = settings.smtp
    if smtp and (smtp.username is None) != (smtp.password is None):
        missing, given = (
            ("username", "password") if smtp.username is None else ("password", "username")
        )
        yield Problem(f"smtp.{missing}", f"missing, while smtp.{given} is given")
    for number, contact in enumerate(settings.support.contacts):
        if not contact.matrix_id and not contact.email_address:
            reason = "needs a matrix_id or an email_address"
            yield Problem(f"support.contacts[{number}]", reason)


def _ranges(settings: Settings) -> Iterator[Problem]:
    federation, retention = settings.federation, settings.retention
    if federation.retry_minimum > federation.retry_maximum:
        reason = f"above federation.retry_maximum, which is {federation.retry_maximum}"
        yield Problem("federation.retry_minimum", reason, str(federation.retry_minimum))
    push = settings.push
    if push.retry_minimum > push.retry_maximum:
        reason = f"above push.retry_maximum, which is {push.retry_maximum}"
        yield Problem("push.retry_minimum", reason, str(push.retry_minimum))
    if retention.minimum and retention.maximum and retention.minimum > retention.maximum:
        reason = f"above retention.maximum, which is {retention.maximum}"
        yield Problem("retention.minimum", reason, str(retention.minimum))
    yield from _default_lifetime(retention)


def _default_lifetime(retention: Retention) -> Iterator[Problem]:
    default, least, most = retention.default, retention.minimum, retention.maximum
    if default and least and default < least:
        reason = f"below retention.minimum, which is {least}"
        yield Problem("retention.default", reason, str(default))
    if default and most and default > most:
        reason = f"above retention.maximum, which is {most}"
        yield Problem("retention.default", reason, str(default))


def _calls(settings: Settings) -> Iterator[Problem]:
    for number, uri in enumerate(settings.turn.uris if settings.turn else ()):
        if not uri.startswith(("turn:", "turns:")):
            path, example = f"turn.uris[{number}]", "uris: [turn:turn.example.org]"
            yield Problem(path, "not turn:host or turns:host", repr(uri), example=example)


def _notices(settings: Settings) -> Iterator[Problem]:
    if settings.server_notices is None:
        return
    localpart = settings.server_notices.localpart
    try:
        new_user_id(localpart, settings.server_name)
    except IdentifierError as error:
        example = "localpart: notices"
        yield Problem("server_notices.localpart", str(error), repr(localpart), example=example)
