import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.errors import InvalidParam
from homeserver.storage.stream_tokens import StreamToken

tokens = st.builds(
    StreamToken,
    epoch=st.integers(0, 10**9 - 1),
    pos=st.integers(0, 10**11 - 1),
    to_device=st.integers(0, 10**11 - 1),
    ephemeral=st.integers(0, 10**15 - 1),
    order=st.none() | st.integers(-(10**18) + 1, 10**18 - 1),
    sticky=st.none() | st.integers(0, 10**11 - 1),
)


@given(tokens)
def test_what_is_written_is_read(token: StreamToken) -> None:
    assert StreamToken.parse(str(token)) == token
    assert -(2**63) <= token.room_order < 2**63


def test_a_token_is_behind_the_events_of_its_position() -> None:
    assert StreamToken(1, 5).room_order >= 5 << 24
    assert StreamToken(1, 5).room_order < 6 << 24
    assert StreamToken(1, 5, order=7).room_order == 7


@pytest.mark.parametrize(
    "text",
    [
        *("", "h", "h1", "h1.2", "h1.2.3", "h1.2.3.4.", "h1.2.3.4.5.6", "h-1.2.3.4", "s1_2_3"),
        *(
            "h1.2.3.4\n",
            "h1.2.3.x",
            "h1.999999999999.3.4",
            "h\u0661.2.3.4",
            "h1.2.3.4.9999999999999999999",
        ),
    ],
)
def test_nothing_else_is_a_token(text: str) -> None:
    with pytest.raises(InvalidParam):
        StreamToken.parse(text)
