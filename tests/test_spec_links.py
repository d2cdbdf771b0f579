"""Every link to the specification leads somewhere.

What is there is listed in data/spec_anchors.txt, made from the specification's text by
data/make_spec_anchors.py.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSION = "v1.19"
SITE = "https://" + "spec.matrix.org"

_LINK = re.compile(re.escape(SITE) + r"[\w./#~%-]*")


@cache
def places() -> frozenset[str]:
    """Pages as `/rooms/v12/`, anchors as `/rooms/v12/#event-format`; the version itself as ``."""
    found, page = {""}, ""
    for line in (ROOT / "tests" / "data" / "spec_anchors.txt").read_text().splitlines():
        if line.startswith("/"):
            page = line
            found.add(page)
        elif line.startswith("  "):
            found.add(f"{page}#{line.strip()}")
    return frozenset(found)


def links_in(text: str) -> Iterator[str]:
    """The links to the specification, from after its version; those to other versions whole."""
    written_out = text.replace("{_SPEC}", f"{SITE}/{VERSION}")
    for link in _LINK.findall(written_out):
        yield link.rstrip(".").removeprefix(f"{SITE}/{VERSION}")


def sources() -> list[Path]:
    return [
        path
        for folder in sorted(ROOT.iterdir())
        if not folder.name.startswith(".") and folder.name not in {"build", "dist"}
        for path in ([folder] if folder.is_file() else sorted(folder.rglob("*")))
        if path.suffix in {".py", ".md"} and path != Path(__file__)
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = links_in(path.read_text(encoding="utf-8"))
    assert [link for link in links if link not in places()] == []


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"{SITE}/{VERSION}", True),
        (f"{SITE}/{VERSION}/", True),
        (f"({SITE}/{VERSION}/appendices/#canonical-json).", True),
        (f"{SITE}/{VERSION}/server-server-api/#put_matrixfederationv1sendtxnid", True),
        (f"{SITE}/{VERSION}/server-server-api/#getwell-knownmatrixserver", True),
        (f"{SITE}/{VERSION}/server-server-api/#knocking-rooms", True),
        (f"{SITE}/{VERSION}/client-server-api/#mroomserver_acl, and more", True),
        (f"{SITE}/{VERSION}/client-server-api/#mimage", True),
        ("{_SPEC}/rooms/v12/", True),
        ("{_SPEC}/rooms/v13/", False),
        (f"<{SITE}/{VERSION}/rooms/v12/#authorisation-rules>", True),
        (f"{SITE}/{VERSION}/rooms/v13/", False),
        (f"{SITE}/{VERSION}/appendices/#no-such-section", False),
        (f"{SITE}/{VERSION}/appendices#canonical-json", False),
        (f"{SITE}/v1.18/appendices/#canonical-json", False),
        (f"{SITE}/latest/appendices/#canonical-json", False),
        (f"{SITE}/unstable/", False),
        (f"{SITE}/", False),
    ],
)
def test_this_test(text: str, good: bool) -> None:
    (link,) = links_in(text)
    assert (link in places()) is good
