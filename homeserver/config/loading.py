"""Where settings come from: one file, and the environment over it."""

import os
from collections.abc import Mapping
from pathlib import Path

from homeserver.config.checks import contradictions
from homeserver.config.reading import WRONG, Reader
from homeserver.config.settings import Settings
from homeserver.config.tree import Node, Scalar, overlay, read_yaml
from homeserver.errors import ConfigError, Problem

DEFAULT_FILE = Path("hearth.yaml")
"""Read where no other file is named, if it is there."""


def find_file() -> Path | None:
    """The file in the current folder, if there is one."""
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings from `file` (none if `None`) and the environment, which wins.

    Variables are named `HEARTH__SECTION__KEY`; lists and sections in them are YAML or JSON.
    Relative paths start at the file's folder, without a file at the current one.

    Raises:
        ConfigError: naming all that is wrong.

    """
    problems: list[Problem] = []
    root: Node = Scalar("", "the environment", is_null=True)
    if file is not None:
        root = read_yaml(_text_of(file), str(file), problems)
    root = overlay(root, os.environ if environ is None else environ, problems)
    folder = (Path() if file is None else file.parent).absolute()
    settings = Reader(Settings, folder, problems).section(Settings, root)
    if problems or settings is WRONG or not isinstance(settings, Settings):
        raise ConfigError(problems)
    if found := list(contradictions(settings)):
        raise ConfigError(found)
    return settings


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    raise ConfigError([Problem("", f"{file} {reason}")])
