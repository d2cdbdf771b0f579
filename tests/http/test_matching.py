import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.errors import InvalidParam, MethodNotAllowed, Unrecognized
from homeserver.http.matching import Match, Matcher

TEMPLATES = (
    "/query/directory",
    "/query/{queryType}",
    "/keys/{a}/fixed",
    "/keys/special/{b}",
    "/rooms/{roomId}/state",
    "/rooms/{roomId}/state/{type}/{key?}",
    "/rules/",
    "/rules/{rest*}",
    "/rules/global/one",
)


@pytest.fixture
def matcher() -> Matcher[str]:
    built: Matcher[str] = Matcher()
    for template in TEMPLATES:
        built.add("GET", template, template)
    built.add("PUT", "/query/{other}", "put")
    return built


@pytest.mark.parametrize(
    ("path", "template", "values"),
    [
        ("/query/directory", "/query/directory", {}),
        ("/query/%64irectory", "/query/directory", {}),
        ("/query/profile", "/query/{queryType}", {"queryType": "profile"}),
        ("/keys/x/fixed", "/keys/{a}/fixed", {"a": "x"}),
        ("/keys/special/x", "/keys/special/{b}", {"b": "x"}),
        # What looked like the literal leads nowhere, so it was a parameter.
        ("/keys/special/fixed", "/keys/special/{b}", {"b": "fixed"}),
        ("/rooms/r/state", "/rooms/{roomId}/state", {"roomId": "r"}),
        ("/rooms/r/state/t", "/rooms/{roomId}/state/{type}/{key?}", {"roomId": "r", "type": "t", "key": ""}),  # noqa: E501
        ("/rooms/r/state/t/", "/rooms/{roomId}/state/{type}/{key?}", {"roomId": "r", "type": "t", "key": ""}),  # noqa: E501
        ("/rooms/r/state/t/k", "/rooms/{roomId}/state/{type}/{key?}", {"roomId": "r", "type": "t", "key": "k"}),  # noqa: E501
        ("/rooms/a%2Fb/state", "/rooms/{roomId}/state", {"roomId": "a/b"}),
        ("/rules/", "/rules/", {}),
        ("/rules/a%2Fb/c", "/rules/{rest*}", {"rest": "a%2Fb/c"}),
        ("/rules/global/one", "/rules/global/one", {}),
        ("/rules/global/two", "/rules/{rest*}", {"rest": "global/two"}),
    ],
)  # fmt: skip
def test_finding(matcher: Matcher[str], path: str, template: str, values: dict[str, str]) -> None:
    assert matcher.find("GET", path) == Match(template, values)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/query", "/query/", "/query/a/b", "/keys//fixed", "/rooms//state", "/rules", "x"],
)
def test_finding_nothing(matcher: Matcher[str], path: str) -> None:
    with pytest.raises(Unrecognized) as caught:
        matcher.find("GET", path)
    assert caught.value.status == 404


def test_another_method_may_lead_elsewhere(matcher: Matcher[str]) -> None:
    assert matcher.find("PUT", "/query/directory") == Match("put", {"other": "directory"})
    with pytest.raises(MethodNotAllowed) as caught:
        matcher.find("POST", "/query/directory")
    assert caught.value.headers == {"Allow": "GET, OPTIONS, PUT"}


@pytest.mark.parametrize("value", ["%ff", "%C3", "%ED%A0%80", "\udcff", "a%80b"])
def test_what_is_not_utf8(matcher: Matcher[str], value: str) -> None:
    with pytest.raises(InvalidParam):
        matcher.find("GET", f"/query/{value}")


@pytest.mark.parametrize(
    "template",
    ["a", "/{a}/{a}", "/{a*}/b", "/{a?}/b", "/{a/b", "/query/{another}", "/query/directory"],
)
def test_templates_that_cannot_be(matcher: Matcher[str], template: str) -> None:
    with pytest.raises(ValueError):
        matcher.add("GET", template, template)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_whatever_was_encoded_comes_out(value: str) -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add("GET", "/a/{b}/c", "abc")
    encoded = "".join(f"%{byte:02x}" for byte in value.encode())
    assert matcher.find("GET", f"/a/{encoded}/c").values == {"b": value}
