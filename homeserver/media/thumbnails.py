"""Smaller pictures of pictures.

https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from homeserver.storage.media import Shape

CROPPED = (Shape(32, 32, True), Shape(96, 96, True))
SCALED = (Shape(320, 240, False), Shape(640, 480, False), Shape(800, 600, False))

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""What is read; others may have holes."""
TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class Made(NamedTuple):
    """A thumbnail."""

    data: bytes
    content_type: str


def shape_for(width: int, height: int, *, is_cropped: bool) -> Shape:
    """The size that is made for a wish: the smallest that is no smaller, or the largest.

    "the server MAY provide a larger one"
    """
    shapes = CROPPED if is_cropped else SCALED
    for shape in (*shapes, *SCALED):
        if shape.width >= width and shape.height >= height:
            return Shape(shape.width, shape.height, is_cropped)
    return Shape(SCALED[-1].width, SCALED[-1].height, is_cropped)


def make(file: Path, shape: Shape, most_pixels: int) -> Made | None:
    """Make a thumbnail; `None` if this is no picture, or one too large to unfold."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > most_pixels:
                return None
            upright = ImageOps.exif_transpose(picture)
            return _written(_fitted(upright, shape), is_photo=picture.format == "JPEG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _fitted(picture: Image.Image, shape: Shape) -> Image.Image:
    """Never larger than the picture was."""
    size = min(shape.width, picture.width), min(shape.height, picture.height)
    if picture.mode not in {"RGB", "RGBA", "L"}:
        picture = picture.convert("RGBA")
    if shape.is_cropped:
        return ImageOps.fit(picture, size)
    picture.thumbnail(size)
    return picture


def _written(picture: Image.Image, *, is_photo: bool) -> Made:
    out = io.BytesIO()
    if is_photo:
        picture.convert("RGB").save(out, "JPEG", quality=80)
        return Made(out.getvalue(), "image/jpeg")
    picture.save(out, "PNG")
    return Made(out.getvalue(), "image/png")
