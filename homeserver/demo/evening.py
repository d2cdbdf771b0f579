"""The whole demo: servers up, people talk, servers down, disks read."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeserver.demo.conversation import SECRETS, Outcome, Say, converse
from homeserver.demo.scan import Found, scan, size
from homeserver.demo.servers import Server, two_servers


@dataclass(frozen=True, slots=True)
class Disk:
    """What the operator of one server has."""

    name: str
    bytes: int
    secrets: tuple[Found, ...]
    """What they should not be able to read."""
    known: tuple[str, ...]
    """What they can read, and have to."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    disks: tuple[Disk, ...]
    expected: int
    """How much of what cannot be hidden each scan must find, or it would prove nothing."""

    @property
    def holds(self) -> bool:
        """Whether no operator can read what was said, by a scan that finds what is there."""
        return not any(disk.secrets for disk in self.disks) and all(
            len(disk.known) == self.expected for disk in self.disks
        )

    def lines(self) -> Iterator[str]:
        """For people."""
        for disk in self.disks:
            megabytes = disk.bytes // 1024**2
            yield f"\nThe operator of {disk.name} has {megabytes} MB: database, log, media"
            yield f"  can read: {', '.join(disk.known)}; who sent what when, and the reaction"
            yield f"  can read of what was said: {len(disk.secrets)} of {len(SECRETS)} texts"
            for found in disk.secrets:
                yield f"    {found.text!r} as {found.form} in {found.file}"
        yield "It holds." if self.holds else "It does NOT hold."

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "holds": self.holds,
            "servers": [
                {
                    "name": disk.name,
                    "bytes": disk.bytes,
                    "readable": list(disk.known),
                    "leaked": [[f.text, f.form, str(f.file)] for f in disk.secrets],
                }
                for disk in self.disks
            ],
        }


async def spend(folder: Path, say: Say) -> Report:
    """Have the evening in this folder.

    Raises:
        DemoError: something did not arrive, or could not be decrypted.

    """
    with two_servers(folder) as (one, two):
        say(f"Two servers: {one.name} and {two.name}, with data of their own")
        outcome = await converse(one, two, say)
        for server in (one, two):
            await asyncio.to_thread(server.stop)
        say("Both servers have ended; every byte that they leave behind is looked at")
        disks = [await asyncio.to_thread(_read, server, outcome) for server in (one, two)]
    return Report(tuple(disks), len(_unhidden(outcome)))


def _read(server: Server, outcome: Outcome) -> Disk:
    known = {found.text for found in scan(server.data, _unhidden(outcome))}
    return Disk(
        server.name,
        size(server.data),
        tuple(scan(server.data, SECRETS)),
        tuple(text for text in _unhidden(outcome) if text in known),
    )


def _unhidden(outcome: Outcome) -> tuple[str, ...]:
    """What a server must know to do its work."""
    return (outcome.room_id, *outcome.people)
