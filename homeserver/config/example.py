"""`config.example.yaml`, made from the declarations.

Sections stand as they are, empty; each setting in them is commented out with its default, or with
an example where the default is that there is none. In prose, one space follows the `#`.
"""

import textwrap
from collections.abc import Iterator

from homeserver.config.declaring import Declared, Kind, declared, doc_of
from homeserver.config.reading import example_of
from homeserver.config.settings import Settings
from homeserver.config.showing import as_yaml

_WIDTH = 94

_HEADER = """
All settings of Hearth. What is commented out shows the default, or an example where the default is
that there is none. Only server_name has to be given. `hearth config check` tells what is wrong.

Durations are written 30s, 5m, 12h or 1d; sizes 512K, 50M or 2G; rates 10/1m, which is ten at once
and ten more per minute. Passwords and other secrets may stand in a file: {file: path}.

Each setting can also be given by a variable, which wins over the file: HEARTH__SERVER_NAME or
HEARTH__FEDERATION__RETRY_MAXIMUM; lists in variables are YAML or JSON.

This file is made by `hearth config example`; its home is homeserver/config/settings.py.
"""


def example_file() -> str:
    """The whole text of `config.example.yaml`."""
    lines = [*_prose(_HEADER.strip()), "", *_settings(Settings)]
    return "\n".join(lines) + "\n"


def _settings(section: type, *, live: bool = False) -> Iterator[str]:
    """The lines for all that a section holds; `live` ones are not commented out."""
    for number, setting in enumerate(declared(section)):
        if number:
            yield ""
        yield from _setting(setting, live=live)


def _setting(setting: Declared, *, live: bool) -> Iterator[str]:
    kind = setting.kind
    if kind.is_section:
        yield from _prose(doc_of(kind.type))
        yield f"{setting.name}:"
        yield from _indented(_settings(kind.type), "  ")
        return
    yield from _prose(setting.doc)
    lines = _sections_in_list(setting) if _lists_sections(kind) else _value(setting)
    yield from lines if live else _indented(lines, "#")


def _value(setting: Declared) -> Iterator[str]:
    if setting.is_required or setting.default is None:
        yield f"{setting.name}: {example_of(setting)}"
    elif setting.kind.example is not None:
        yield f"{setting.name}: {as_yaml(setting.default)}  # for example: {setting.kind.example}"
    else:
        yield f"{setting.name}: {as_yaml(setting.default)}"


def _sections_in_list(setting: Declared) -> Iterator[str]:
    """A list with one element, all of whose settings are live once the list is."""
    yield f"{setting.name}:"
    first, *rest = _settings(setting.kind.element, live=True)
    yield f"  - {first}"
    yield from _indented(rest, "    ")


def _lists_sections(kind: Kind) -> bool:
    return kind.element is not None and Kind.of(kind.element).is_section


def _indented(lines: Iterator[str] | list[str], by: str) -> Iterator[str]:
    return (f"{by}{line}".rstrip() for line in lines)


def _prose(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield "#"
        yield from textwrap.wrap(
            paragraph, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
