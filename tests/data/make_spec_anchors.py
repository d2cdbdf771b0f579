"""Write spec_anchors.txt: every page of the specification with the anchors on it.

    python tests/data/make_spec_anchors.py SPEC

SPEC is a folder with `prose/`, `event-schemas/` and `endpoints.json` of the version that VERSION
names. Prints the links within the specification that lead nowhere by this account: if there are
many, the site makes its anchors in a way that this script does not know.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

VERSION = "v1.19"

_HEADING = re.compile(r"^ {0,3}#{1,6} +(?P<text>.+?) *(?:\{(?:#|id=\")(?P<id>[^}\"]+)\"?\} *)?$")
_MODULE = re.compile(r"^\[Module: `(?P<path>[^`]+)`\]")
_EVENTS = re.compile(r"^\[Event schemas?: `[^`]*/schema/(?P<glob>[^`]+)\.yaml`")
_DEFINITION = re.compile(r"^\[(?:Definition|Schema): `(?P<path>[^`]+)`\]")
_EXPLICIT = re.compile(r"<a id=\"(?P<id>[^\"]+)\">")
_LINK = re.compile(r"\]\((?P<page>/[a-z0-9./-]*)?#(?P<anchor>[^)]+)\)")


def slug(text: str) -> str:
    """The anchor that the site makes of a heading."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[^\w-]", "", plain.lower().replace("\\", "").replace(" ", "-"))


def page_of(path: Path, prose: Path) -> str:
    """The address of a page, relative to the version's, with its slash at the end."""
    relative = path.relative_to(prose).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "_index" else relative.parts
    return "".join(f"{part}/" for part in parts)


def lines_of(path: Path) -> Iterator[tuple[Path, str]]:
    """The lines of a page outside of code, its modules in their places, each with its file."""
    in_code = False
    for line in path.read_text().splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif module := _MODULE.match(line):
            yield from lines_of(path.parent / module["path"])
        elif not in_code:
            yield path, line


def event_anchors(spec: Path, glob: str) -> Iterator[str]:
    """`m.room.message$m.text`, a type of message, has the heading `m.text`."""
    schemas = spec / "event-schemas" / "schema"
    for schema in schemas.glob(f"{glob}.yaml"):
        yield slug(schema.stem)
    if glob == "m.room.message":
        for schema in schemas.glob("m.room.message$*.yaml"):
            yield slug(schema.stem.partition("$")[2])


def definition_anchor(schema: Path) -> str:
    title = re.search(r"^title: *['\"]?(.+?)['\"]?$", schema.read_text(), re.MULTILINE)
    return f"definition-{slug(title[1])}" if title else ""


def anchors_of(path: Path, spec: Path) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for source, line in lines_of(path):
        if heading := _HEADING.match(line):
            anchor = heading["id"] or slug(heading["text"])
            yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
            seen[anchor] += 1
        elif events := _EVENTS.match(line):
            yield from event_anchors(spec, events["glob"])
        elif definition := _DEFINITION.match(line):
            yield definition_anchor(source.parent / definition["path"])
        yield from _EXPLICIT.findall(line)


def endpoint_anchors(spec: Path) -> Iterator[tuple[str, str]]:
    """Pairs of page and anchor."""
    for row in json.loads((spec / "endpoints.json").read_text()):
        anchor = slug(row["method"] + row["path"])
        for prose in row["prose"]:
            yield prose.split("/")[0].removesuffix(".md") + "/", anchor
    # Two operations share each of these; the site tells them apart so.
    yield "client-server-api/", "thirdparty_post_matrixclientv3roomsroomidinvite"
    yield "client-server-api/", "peeking_get_matrixclientv3events"


def collect(spec: Path) -> dict[str, set[str]]:
    prose = spec / "prose"
    pages: dict[str, set[str]] = {}
    for path in sorted(prose.rglob("*.md")):
        parts = path.relative_to(prose).with_suffix("").parts
        if not {"modules", "fragments", "unreleased"} & set(parts):
            pages[page_of(path, prose)] = set(anchors_of(path, spec)) - {""}
    for page, anchor in endpoint_anchors(spec):
        pages[page].add(anchor)
    return pages


def dangling(spec: Path, pages: dict[str, set[str]]) -> Iterator[str]:
    """Links within the specification that name an anchor which `pages` lacks."""
    prose = spec / "prose"
    for path in sorted(prose.rglob("*.md")):
        parts = path.relative_to(prose).parts
        if "fragments" in parts or "changelog" in parts:
            continue
        own = "client-server-api/" if "modules" in parts else page_of(path, prose)
        for link in _LINK.finditer(path.read_text()):
            page = link["page"].strip("/") + "/" if link["page"] else own
            if link["anchor"] not in pages.get(page.removeprefix("/"), set()):
                yield f"{path.relative_to(prose)}: {page}#{link['anchor']}"


def main(spec: Path) -> None:
    pages = collect(spec)
    lines = [f"# Pages and anchors of {VERSION}; made by {Path(__file__).name}."]
    for page, anchors in sorted(pages.items()):
        lines += [f"/{page}", *(f"  {anchor}" for anchor in sorted(anchors))]
    target = Path(__file__).with_name("spec_anchors.txt")
    target.write_text("\n".join(lines) + "\n")
    for link in dangling(spec, pages):
        print(link)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
