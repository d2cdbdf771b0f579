from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import ResponseFormatError
from homeserver.media.multipart import boundary_in, end_of_answer, head_of_answer, second_part


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def answer(file: bytes, boundary: str = "b0", **headers: str) -> bytes:
    return head_of_answer(boundary, headers) + file + end_of_answer(boundary)


async def read(data: bytes, size: int, boundary: bytes = b"b0") -> tuple[dict[str, str], bytes]:
    part = await second_part(pieces(data, size), boundary)
    return dict(part.headers), b"".join([chunk async for chunk in part.chunks])


@given(
    file=st.binary(max_size=300) | st.sampled_from([b"\r\n--b", b"\r\n--b1", b"--b0", b"\r\n"]),
    size=st.integers(1, 80),
)
async def test_what_is_written_is_read(file: bytes, size: int) -> None:
    if b"\r\n--b0" not in b"\r\n" + file:
        found = await read(answer(file, Name="x.png"), size)
        assert found == ({"name": "x.png"}, file)


@pytest.mark.parametrize(
    "data",
    [b"", b"--b0\r\n", answer(b"file")[:-12], answer(b"file", "other"), b"x" * 20_000],
)
async def test_half_an_answer_is_none(data: bytes) -> None:
    with pytest.raises(ResponseFormatError):
        await read(data, 10)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=abc", b"abc"),
        ('Multipart/Mixed; charset=x; boundary="a b c"', b"a b c"),
        ("multipart/mixed", None),
        ("image/png; boundary=abc", None),
        ("", None),
    ],
)
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    if boundary is not None:
        assert boundary_in(content_type) == boundary
    else:
        with pytest.raises(ResponseFormatError):
            boundary_in(content_type)
