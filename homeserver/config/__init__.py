"""The settings of a server: what they are, where they come from, what is wrong with them.

`settings` declares every one of them with its default and its comment; the rest reads them from
one YAML file and the environment, and writes `config.example.yaml`. Nothing here acts on them.
"""

from homeserver.config.loading import find_file, load
from homeserver.config.settings import Settings

__all__ = ["Settings", "find_file", "load"]
