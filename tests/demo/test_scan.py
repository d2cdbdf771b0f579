import base64
from pathlib import Path

import pytest

from homeserver.demo.scan import forms, scan, size

TEXT = "the meeting is at the old lighthouse \u2013 \u201cnine\u201d"


@pytest.mark.parametrize(
    "written",
    [
        TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-be"),
        TEXT.encode().hex().encode(),
        TEXT.encode().hex().upper().encode(),
        *(base64.b64encode(b"x" * offset + TEXT.encode() + b"more") for offset in range(6)),
        *(base64.urlsafe_b64encode(b"?" * offset + TEXT.encode()) for offset in range(3)),
    ],
)
def test_every_way_to_write_it_is_found(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(bytes(1000) + written + bytes(1000))
    assert [found.text for found in scan(tmp_path, [TEXT])][:1] == [TEXT]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"the meeting is somewhere else")
    (tmp_path / "empty").touch()
    assert list(scan(tmp_path, [TEXT])) == []
    assert size(tmp_path) == 29


def test_forms_are_long_enough_to_mean_something() -> None:
    assert min(map(len, forms("heliotrope").values())) >= 8
