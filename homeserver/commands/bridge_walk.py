"""Walking a bridge through all that a homeserver asks of it, a step at a time.

https://spec.matrix.org/v1.19/application-service-api/#homeserver--gt-application-service-api
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

import orjson
from yarl import URL

from federation.identifiers import ServerName
from homeserver.accounts.app_services import AppService, Namespace, Namespaces
from homeserver.appservices.bridges import Answer, Bridges
from homeserver.commands.own_server import NoDeviceError, bridge_device
from homeserver.config.values import Secret
from homeserver.demo.olm import Device
from homeserver.errors import MatrixError

_V1 = ("_matrix", "app", "v1")
_SECONDS = 15.0
_REFUSED = frozenset({401, 403})
_UNKNOWN = frozenset({404, 405})
_NAMES = ("hearth_test", "hearth-test", "hearthtest", "0", "")
"""What may follow the beginning of a ghost's name, whichever its namespace takes."""
_LITERAL = re.compile(r"(?:[\w@#!:=/-]|\\[^\w])*", re.ASCII)
"""The beginning of a regex that stands for itself."""


class Verdict(Enum):
    """What came of a step."""

    GOOD = "ok"
    WRONG = "FAIL"
    SKIPPED = "skip"


class Step(NamedTuple):
    """One step, and what came of it."""

    name: str
    verdict: Verdict
    told: str
    """In words."""


class Walk:
    """Asks a bridge what a homeserver would.

    Args:
        service: which bridge.
        server: in whose name it is asked.
        bridges: the way there.
        url: where that server answers clients; `None` if it does not.

    """

    def __init__(
        self, service: AppService, server: ServerName, bridges: Bridges, url: URL | None
    ) -> None:
        self._url = url
        self._service = service
        self._server = server
        self._bridges = bridges

    async def steps(self) -> AsyncIterator[Step]:
        """Take all steps; without an answer to the first, no other."""
        first = await self._ping()
        yield first
        if first.verdict is Verdict.WRONG:
            return
        steps: Sequence[Callable[[], Awaitable[Step]]] = (
            self._stranger,
            self._user,
            self._alias,
            self._protocols,
            self._transaction,
            self._ephemeral,
            self._to_device,
            self._encrypted,
        )
        for step in steps:
            yield await step()

    async def _ping(self) -> Step:
        """https://spec.matrix.org/v1.19/application-service-api/#pinging"""
        name, began = "ping", asyncio.get_running_loop().time()
        try:
            answer = await self._ask("POST", "ping", body={"transaction_id": _name()})
        except MatrixError as error:
            return Step(name, Verdict.WRONG, error.message)
        took = round((asyncio.get_running_loop().time() - began) * 1000)
        if answer.status in _UNKNOWN:
            return Step(name, Verdict.SKIPPED, f"it is there ({took} ms), and knows no ping")
        return _judged(name, answer, f"it answers after {took} ms")

    async def _stranger(self) -> Step:
        """A request with a wrong token, which must be refused."""
        name = "wrong hs_token"
        stranger = replace(self._service, hs_token=Secret(secrets.token_hex(32)))
        try:
            answer = await self._ask(
                "PUT", "transactions", _name(), body={"events": []}, service=stranger
            )
        except MatrixError as error:
            return Step(name, Verdict.WRONG, error.message)
        if answer.status in _REFUSED:
            return Step(name, Verdict.GOOD, f"it refuses ({answer.status})")
        if answer.is_success:
            reason = "it takes what it is told from whoever knows its address"
            return Step(name, Verdict.WRONG, reason)
        return Step(name, Verdict.WRONG, f"it answers {answer.status}, not 401 or 403")

    async def _user(self) -> Step:
        """https://spec.matrix.org/v1.19/application-service-api/#querying"""
        return await self._query("user query", "users", self._service.users, "@")

    async def _alias(self) -> Step:
        """https://spec.matrix.org/v1.19/application-service-api/#querying"""
        return await self._query("alias query", "rooms", self._service.aliases, "#")

    async def _query(self, name: str, kind: str, namespaces: Namespaces, sigil: str) -> Step:
        sample = next((s for n in namespaces if (s := _sample(n, sigil, self._server))), None)
        if not namespaces:
            return Step(name, Verdict.SKIPPED, "it has no such namespace")
        if sample is None:
            return Step(name, Verdict.SKIPPED, "no name could be made up for its namespaces")
        try:
            answer = await self._ask("GET", kind, sample)
        except MatrixError as error:
            return Step(name, Verdict.WRONG, error.message)
        if answer.status in _UNKNOWN:
            return Step(name, Verdict.GOOD, f"{sample} is nobody's ({answer.status})")
        return _judged(name, answer, f"it has {sample}, or has made it")

    async def _protocols(self) -> Step:
        """https://spec.matrix.org/v1.19/application-service-api/#third-party-networks"""
        name, answers = "protocols", []
        if not self._service.protocols:
            return Step(name, Verdict.SKIPPED, "it names none")
        for protocol in self._service.protocols:
            try:
                answer = await self._ask("GET", "thirdparty", "protocol", protocol)
            except MatrixError as error:
                return Step(name, Verdict.WRONG, f"{protocol}: {error.message}")
            if not answer.is_success and answer.status not in _UNKNOWN:
                return Step(name, Verdict.WRONG, f"{protocol}: it answers {answer.status}")
            told = "it tells of it" if answer.is_success else "it has nothing to tell"
            answers.append(f"{protocol}: {told}")
        return Step(name, Verdict.GOOD, "; ".join(answers))

    async def _transaction(self) -> Step:
        """An event of a kind that nothing acts on; told twice, as after a lost answer."""
        event = {
            "type": "org.hearth.test",
            "event_id": f"${secrets.token_urlsafe(32)}",
            "room_id": f"!{_name()}:{self._server}",
            "sender": f"@hearth-test:{self._server}",
            "origin_server_ts": 0,
            "content": {},
            "unsigned": {"age": 0},
        }
        return await self._tell("transaction", {"events": [event]})

    async def _ephemeral(self) -> Step:
        """https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data"""
        if not self._service.wants_ephemeral:
            return Step("ephemeral", Verdict.SKIPPED, "it does not want to hear of it")
        typing = {
            "type": "m.typing",
            "room_id": f"!{_name()}:{self._server}",
            "content": {"user_ids": []},
        }
        told = {"ephemeral": [typing], "de.sorunome.msc2409.ephemeral": [typing]}
        return await self._tell("ephemeral", {"events": [], **told})

    async def _to_device(self) -> Step:
        """A message to a device of the bridge's own user, and news of keys if it wants them."""
        if not self._service.wants_ephemeral:
            return Step("to-device", Verdict.SKIPPED, "it does not want to hear of it")
        message = {
            "type": "m.dummy",
            "sender": f"@hearth-test:{self._server}",
            "to_user_id": self._service.sender,
            "to_device_id": "HEARTHTEST",
            "content": {},
        }
        told: dict[str, Any] = {
            "to_device": [message],
            "de.sorunome.msc2409.to_device": [message],
        }
        if self._service.wants_encryption:
            told |= _keys(self._service.sender)
        return await self._tell("to-device", {"events": [], **told})

    async def _encrypted(self) -> Step:
        """A message that only a device of the bridge's own user can read; it says nothing.

        https://spec.matrix.org/v1.19/client-server-api/#mdummy
        """
        name = "encrypted"
        if not self._service.wants_encryption:
            return Step(name, Verdict.SKIPPED, "it does not want to hear of it")
        if self._url is None:
            return Step(name, Verdict.SKIPPED, "the server has no listener for clients")
        try:
            found = await bridge_device(self._url, self._service)
        except NoDeviceError as error:
            return Step(name, Verdict.SKIPPED, str(error))
        stranger = Device(f"@hearth-test:{self._server}", "HEARTHTEST")
        message = {
            "type": "m.room.encrypted",
            "sender": stranger.user_id,
            "to_user_id": self._service.sender,
            "to_device_id": found.keys["device_id"],
            "content": stranger.encrypt_olm(found.keys, found.one_time_key, "m.dummy", {}),
        }
        told = {"to_device": [message], "de.sorunome.msc2409.to_device": [message]}
        step = await self._tell(name, {"events": [], **told})
        if step.verdict is Verdict.GOOD:
            told_to = f"it takes what only its device {found.keys['device_id']} can read"
            return step._replace(told=told_to)
        return step

    async def _tell(self, name: str, body: dict[str, Any]) -> Step:
        txn_id = f"hearth-test-{_name()}"
        try:
            for told in ("it takes it", "it takes it, and again"):
                answer = await self._ask("PUT", "transactions", txn_id, body=body)
                if not answer.is_success:
                    return _judged(name, answer, told)
        except MatrixError as error:
            return Step(name, Verdict.WRONG, error.message)
        return Step(name, Verdict.GOOD, told)

    async def _ask(
        self, method: str, *path: str, body: Any = None, service: AppService | None = None
    ) -> Answer:
        written = None if body is None else orjson.dumps(body)
        return await self._bridges.ask(
            service or self._service,
            method,
            (*_V1, *path),
            written,
            seconds=_SECONDS,
            legacy=None if path[0] == "ping" else path,
        )


def _judged(name: str, answer: Answer, told: str) -> Step:
    if answer.is_success:
        return Step(name, Verdict.GOOD, told)
    if answer.status in _REFUSED:
        return Step(name, Verdict.WRONG, f"it refuses our hs_token ({answer.status})")
    return Step(name, Verdict.WRONG, f"it answers {answer.status}")


def _keys(sender: str) -> dict[str, Any]:
    """Changes of device lists and counts of keys, under the names that bridges read."""
    lists: dict[str, Any] = {"changed": [], "left": []}
    counts = {sender: {"HEARTHTEST": {"signed_curve25519": 50}}}
    fallback = {sender: {"HEARTHTEST": ["signed_curve25519"]}}
    return {
        "device_lists": lists,
        "device_one_time_keys_count": counts,
        "device_unused_fallback_key_types": fallback,
        "org.matrix.msc3202.device_lists": lists,
        "org.matrix.msc3202.device_one_time_keys_count": counts,
        # COMPAT(mautrix-python) as it was once misspelt, and still is read.
        "org.matrix.msc3202.device_one_time_key_counts": counts,
        "org.matrix.msc3202.device_unused_fallback_key_types": fallback,
    }


def _sample(namespace: Namespace, sigil: str, server: ServerName) -> str | None:
    """A name that nobody has, in a namespace; `None` if none is found."""
    found = _LITERAL.match(namespace.regex.pattern.lstrip("^("))
    start = re.sub(r"\\(.)", r"\1", found[0]) if found else ""
    start = start.partition(":")[0]
    for name in _NAMES:
        sample = f"{start if start.startswith(sigil) else sigil}{name}:{server}"
        if namespace.includes(sample):
            return sample
    return None


def _name() -> str:
    return secrets.token_urlsafe(9)
