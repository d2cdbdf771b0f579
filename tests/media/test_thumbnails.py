import io
from pathlib import Path

import pytest
from PIL import Image

from homeserver.media.thumbnails import make, shape_for
from homeserver.storage.media import Shape

MANY = 10**7


def picture(folder: Path, kind: str, size: tuple[int, int], mode: str = "RGB") -> Path:
    file = folder / f"picture.{kind}"
    Image.new(mode, size, 128).save(file, kind)
    return file


@pytest.mark.parametrize(
    ("width", "height", "cropped", "shape"),
    [
        (1, 1, True, Shape(32, 32, True)),
        (33, 1, True, Shape(96, 96, True)),
        (97, 97, True, Shape(320, 240, True)),
        (1, 1, False, Shape(320, 240, False)),
        (320, 241, False, Shape(640, 480, False)),
        (10_000, 10_000, False, Shape(800, 600, False)),
    ],
)
def test_sizes(width: int, height: int, cropped: bool, shape: Shape) -> None:
    assert shape_for(width, height, is_cropped=cropped) == shape


@pytest.mark.parametrize(
    ("kind", "mode", "content_type"),
    [
        ("jpeg", "RGB", "image/jpeg"),
        ("png", "RGBA", "image/png"),
        ("png", "P", "image/png"),
        ("gif", "P", "image/png"),
        ("webp", "RGB", "image/png"),
        ("jpeg", "CMYK", "image/jpeg"),
    ],
)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (Shape(320, 240, False), (320, 160)),
        (Shape(96, 96, True), (96, 96)),
        (Shape(4000, 4000, False), (1000, 500)),
    ],
)
def test_pictures(
    tmp_path: Path, kind: str, mode: str, content_type: str, shape: Shape, size: tuple[int, int]
) -> None:
    made = make(picture(tmp_path, kind, (1000, 500), mode), shape, MANY)
    assert made
    assert made.content_type == content_type
    assert Image.open(io.BytesIO(made.data)).size == size


def test_what_is_no_picture(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for data in (b"", b"text", b"\x89PNG\r\n\x1a\n broken", b"<svg/>"):
        file.write_bytes(data)
        assert make(file, Shape(32, 32, True), MANY) is None


def test_a_picture_that_unfolds_too_far(tmp_path: Path) -> None:
    assert make(picture(tmp_path, "png", (1000, 500)), Shape(32, 32, True), 1000 * 500 - 1) is None
