"""Settings as plain values and as YAML, for people and scripts; secrets are hidden."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import yaml

from federation.net.proxies import Proxy
from homeserver.config.scalars import SCALARS


def shown(value: Any) -> Any:
    """A setting or a section as JSON could hold it."""
    match value:
        case None | bool():
            return value
        case Proxy():
            return f"{value.scheme}://{value.host}:{value.port}"
        case tuple() | list():
            return [shown(element) for element in value]
        case Mapping():
            return {name: shown(element) for name, element in value.items()}
    if type(value) in (int, float, str):
        return value
    if is_dataclass(value) and type(value) not in SCALARS:
        return {field.name: shown(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def as_yaml(value: Any) -> str:
    """The value in one line."""
    text = yaml.safe_dump(
        shown(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def as_yaml_file(value: Any) -> str:
    """A section in as many lines as it needs."""
    return yaml.safe_dump(
        shown(value), default_flow_style=False, width=100, allow_unicode=True, sort_keys=False
    )
