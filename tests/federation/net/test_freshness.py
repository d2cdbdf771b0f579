import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from federation.net.freshness import lifetime

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT
HOUR_LATER = "Sun, 06 Nov 1994 09:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Cache-Control": "public"}, None),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"cache-control": "Public, MAX-AGE=60"}, 60),
        ({"Cache-Control": 'max-age="60"'}, 60),
        ({"Cache-Control": "max-age=60", "Age": "20"}, 40),
        ({"Cache-Control": "max-age=60", "Age": "90"}, 0),
        ({"Cache-Control": "max-age=60", "Age": "old"}, 60),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Cache-Control": "max-age=60, no-cache"}, 0),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "max-age=60", "Expires": HOUR_LATER}, 60),
        ({"Expires": HOUR_LATER}, 3600),
        ({"Expires": HOUR_LATER, "Date": "Sun, 06 Nov 1994 09:48:37 GMT"}, 60),
        ({"Expires": HOUR_LATER, "Date": "yesterday"}, 3600),
        ({"Expires": "Sun, 06 Nov 1994 07:49:37 GMT"}, 0),
        ({"Expires": "0"}, 0),
        ({"Expires": "Sun, 06 Nov 99999 07:49:37 GMT"}, 0),
    ],
)
def test_lifetime(headers: dict[str, str], expected: float | None) -> None:
    assert lifetime(CIMultiDict(headers), NOW) == expected


@given(st.text(), st.text(), st.text())
def test_any_header_is_read(control: str, age: str, expires: str) -> None:
    headers = CIMultiDict({"Cache-Control": control, "Age": age, "Expires": expires})
    found = lifetime(headers, NOW)
    assert found is None or found >= 0
