import pytest

from federation.net.proxies import Proxy, ProxyRule, choose_proxy

TOR = Proxy.parse("socks5h://127.0.0.1:9050")
OFFICE = Proxy.parse("http://ann:p%40ss@proxy.example:8080")
RULES = [
    ProxyRule("*.onion", TOR),
    ProxyRule("direct.example", None),
    ProxyRule("*.example", OFFICE),
]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("abc.onion",), TOR),
        (("ABC.Onion",), TOR),
        (("abc.onion", "direct.example"), TOR),
        (("direct.example",), None),
        (("matrix.example", "direct.example"), None),
        (("matrix.example",), OFFICE),
        (("example",), None),
        (("elsewhere.org",), None),
    ],
)
def test_the_first_rule_that_matches_decides(
    names: tuple[str, ...], expected: Proxy | None
) -> None:
    assert choose_proxy(RULES, *names) == expected


def test_parse() -> None:
    assert Proxy("http", "proxy.example", 8080, "ann", "p@ss") == OFFICE
    assert Proxy("socks5", "::1", 1080) == Proxy.parse("socks5://[::1]")
    assert "p@ss" not in repr(OFFICE)


@pytest.mark.parametrize("url", ["", "ftp://x", "https://x", "http://", "socks5://x:99999"])
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(ValueError):
        Proxy.parse(url)


def test_who_resolves_names() -> None:
    assert [Proxy.parse(f"{s}://x").resolves_names for s in ("http", "socks5h", "socks5")] == [
        True,
        True,
        False,
    ]
