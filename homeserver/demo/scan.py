"""Looking for texts in every byte of a folder, in all the forms that programs store text in."""

import base64
import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """A text was there after all."""

    text: str
    form: str
    """How it was written."""
    file: Path


def forms(text: str) -> dict[str, bytes]:
    """The ways in which a text may be written, by name."""
    plain = text.encode()
    found = {
        "utf-8": plain,
        "utf-16, little-endian": text.encode("utf-16-le"),
        "utf-16, big-endian": text.encode("utf-16-be"),
        "JSON": json.dumps(text)[1:-1].encode(),
        "hexadecimal": plain.hex().encode(),
        "hexadecimal, upper case": plain.hex().upper().encode(),
    }
    for offset in range(3):
        # What stands at the ends depends on the neighbours; what is between does not.
        whole = base64.b64encode(bytes(offset) + plain)
        inner = whole[-(-offset * 8 // 6) : len(whole) // 4 * 4 - 4]
        found[f"base64, offset {offset}"] = inner
        found[f"base64 for URLs, offset {offset}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return found


def scan(folder: Path, texts: Iterable[str]) -> Iterator[Found]:
    """All the texts that are in files of the folder."""
    wanted = [(text, name, form) for text in texts for name, form in _distinct(text).items()]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and file.stat().st_size:
            with (
                file.open("rb") as opened,
                mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                for text, name, form in wanted:
                    if content.find(form) >= 0:
                        yield Found(text, name, file)


def size(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _distinct(text: str) -> dict[str, bytes]:
    """Each form once, however many names it has."""
    named = {form: name for name, form in reversed(forms(text).items())}
    return {name: form for form, name in named.items()}
