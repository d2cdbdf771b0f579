"""What many commands have in common: which file the settings are in, how the answer is written."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from homeserver import config
from homeserver.config import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="HEARTH_CONFIG",
        help="The file of settings; by default hearth.yaml here, if there is one.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


def chosen_file(file: Path | None) -> Path | None:
    """The file that was named, or the one that lies here."""
    return file or config.find_file()


def load_settings(file: Path | None) -> Settings:
    """The settings in force for a command with the option `ConfigFile`."""
    return config.load(chosen_file(file))


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def examples(*lines: str) -> str:
    """The end of a command's help; each line is one way to call it."""
    # The \b keeps the lines apart.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
