"""A bridge on mautrix-python's framework, encrypted in application service mode, unmodified."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nio  # type: ignore[import-untyped]
import pytest
from mautrix.appservice import AppService
from mautrix.appservice.state_store import FileASStateStore
from mautrix.client import Client
from mautrix.crypto import OlmMachine
from mautrix.crypto.store import (
    MemoryCryptoStore,
    StateStore,
)
from mautrix.types import (
    EncryptionAlgorithm,
    EventType,
    Membership,
    MessageType,
    RoomEncryptionStateEventContent,
    TextMessageEventContent,
)
from mautrix.util.logging import TraceLogger
from yarl import URL

from homeserver.commands.bridge_walk import Verdict, Walk
from homeserver.config.settings import AppServices
from tests.app.processes import free_port
from tests.bridge import AS_TOKEN, HS_TOKEN, registration
from tests.clients.test_nio import Heard, logged_in, say, sync
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Hearth, federating

# It is written for older versions of aiohttp.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def their_loggers() -> Iterator[None]:
    """It wants loggers of its own kind, whatever kind other tests wanted before."""
    before = logging.getLoggerClass()
    logging.setLoggerClass(TraceLogger)
    yield
    logging.setLoggerClass(before)


BOT = "_irc_bot"


class Rooms(StateStore):  # type: ignore[misc]
    """Every room is encrypted."""

    def __init__(self, joined: set[str]) -> None:
        self._joined = joined

    async def is_encrypted(self, room_id: str) -> bool:
        return bool(room_id)

    async def get_encryption_info(self, room_id: str) -> Any:
        assert room_id
        return RoomEncryptionStateEventContent(algorithm=EncryptionAlgorithm.MEGOLM_V1)

    async def find_shared_rooms(self, user_id: str) -> list[str]:
        assert user_id
        return list(self._joined)


class EchoBridge:
    """Joins where it is invited, and says again what it reads, encrypted."""

    def __init__(self, hearth: Hearth, folder: Path) -> None:
        self.joined: set[str] = set()
        self.read: list[str] = []
        self.failed: list[Exception] = []
        self.service = AppService(
            server=hearth.url,
            domain=hearth.name,
            as_token=AS_TOKEN,
            hs_token=HS_TOKEN,
            bot_localpart=BOT,
            id="irc",
            verify_ssl=False,
            state_store=FileASStateStore(path=str(folder / "state.json"), binary=False),
            ephemeral_events=True,
            encryption_events=True,
        )
        self._hearth = hearth
        self._store = MemoryCryptoStore("", "key")
        self.service.matrix_event_handler(self._hear)

    async def start(self, port: int) -> None:
        """Listen, make a device without logging in, and publish its keys."""
        await self.service.start("127.0.0.1", port)
        assert await self.service.ping_self() >= 0
        self.client = Client(
            mxid=self.service.bot_mxid,
            base_url=self._hearth.url,
            token=AS_TOKEN,
            client_session=self.service.http_session,
            state_store=self.service.state_store,
        )
        self.crypto = OlmMachine(self.client, self._store, Rooms(self.joined))
        self.service.otk_handler = self.crypto.handle_as_otk_counts
        self.service.device_list_handler = self.crypto.handle_as_device_lists
        self.service.to_device_handler = self.crypto.handle_as_to_device_event
        await self.client.create_device_msc4190(device_id="BRIDGE", initial_display_name="bridge")
        await self.crypto.load()
        await self.crypto.share_keys()

    async def has_sessions(self) -> bool:
        """Whether somebody sent something to its device that it could decrypt."""
        return bool(self._store._olm_sessions)

    async def _hear(self, event: Any) -> None:
        try:
            await self._take(event)
        except Exception as error:  # noqa: BLE001 - the framework would only log it
            self.failed.append(error)

    async def _take(self, event: Any) -> None:
        if event.type == EventType.ROOM_MEMBER:
            mine = event.state_key == self.service.bot_mxid
            if mine and event.content.membership == Membership.INVITE:
                await self.service.intent.join_room(event.room_id)
                self.joined.add(event.room_id)
            else:
                await self.crypto.handle_member_event(event)
        if event.type == EventType.ROOM_ENCRYPTED and event.sender != self.service.bot_mxid:
            await self._echo(event)

    async def _echo(self, event: Any) -> None:
        if not await self._store.has_group_session(event.room_id, event.content.session_id):
            await self.crypto.wait_for_session(event.room_id, event.content.session_id, timeout=10)
        decrypted = await self.crypto.decrypt_megolm_event(event)
        self.read.append(decrypted.content.body)
        answer = TextMessageEventContent(
            msgtype=MessageType.TEXT, body=f"you said: {decrypted.content.body}"
        )
        await self.crypto.share_group_session(event.room_id, [event.sender])
        encrypted = await self.crypto.encrypt_megolm_event(
            event.room_id, EventType.ROOM_MESSAGE, answer
        )
        await self.client.send_message_event(event.room_id, EventType.ROOM_ENCRYPTED, encrypted)


@asynccontextmanager
async def bridging(hearth: Hearth, port: int, folder: Path) -> AsyncIterator[EchoBridge]:
    """The bridge, for as long as it is used."""
    bridge = EchoBridge(hearth, folder)
    try:
        await bridge.start(port)
        yield bridge
    finally:
        await bridge.service.stop()


async def test_it_reads_and_answers_over_federation(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Ann is on another server than the bridge; all is encrypted."""
    port = free_port()
    wanted = {"receive_ephemeral": True, "org.matrix.msc3202": True, "io.element.msc4190": True}
    file = tmp_path / "registration.yaml"
    file.write_text(json.dumps(registration(port, **wanted)))
    async with AsyncExitStack() as stack:
        services = AppServices(files=(file,))
        one = await stack.enter_async_context(
            federating(postgres, tmp_path, loopback_authority, 1, appservices=services)
        )
        two = await stack.enter_async_context(federating(postgres, tmp_path, loopback_authority, 2))
        ann = await stack.enter_async_context(logged_in(two, "ann", tmp_path))
        bridge = await stack.enter_async_context(bridging(one, port, tmp_path))
        heard = Heard(ann)
        await sync(ann)
        made = await ann.room_create(
            invite=[bridge.service.bot_mxid],
            preset=nio.RoomPreset.private_chat,
            initial_state=[nio.EnableEncryptionBuilder().as_dict()],
        )
        assert isinstance(made, nio.RoomCreateResponse), made
        for _ in range(100):
            await sync(ann)
            if bridge.joined and len(ann.rooms[made.room_id].users) == 2:
                break
            await asyncio.sleep(0.05)
        await sync(ann)
        await say(ann, made.room_id, "hello bridge")
        for _ in range(100):
            await sync(ann)
            if any(body.startswith("you said") for _, body, _ in heard.texts) or bridge.failed:
                break
            await asyncio.sleep(0.05)
        assert bridge.failed == []
        assert bridge.read == ["hello bridge"]
        assert (bridge.service.bot_mxid, "you said: hello bridge", True) in heard.texts


async def test_what_is_told_in_secret_arrives(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """`hearth appservice test` has a message decrypted."""
    port = free_port()
    wanted = {"receive_ephemeral": True, "org.matrix.msc3202": True, "io.element.msc4190": True}
    file = tmp_path / "registration.yaml"
    file.write_text(json.dumps(registration(port, **wanted)))
    settings = AppServices(files=(file,))
    async with (
        federating(postgres, tmp_path, loopback_authority, appservices=settings) as hearth,
        bridging(hearth, port, tmp_path) as bridge,
    ):
        [service] = hearth.parts.base.app_services
        bridges = hearth.parts.bridging.bridges
        walk = Walk(service, hearth.name, bridges, URL(hearth.url))
        steps = {step.name: step async for step in walk.steps()}
        assert steps["encrypted"].verdict is Verdict.GOOD, steps
        assert "BRIDGE" in steps["encrypted"].told
        assert await bridge.has_sessions()
