"""Whatever an administrator's tool sends, the answer is an error and never a failure."""

import pytest

from homeserver.app.tables import ADMIN
from tests.client_server.test_every_endpoint import BODIES, MALFORMED, filled, label, names
from tests.servers import Client, Hearth

ROUTES = [route for table in ADMIN for route in table]
QUERIES = (
    "limit=x&from=y&dir=q&order_by=nonsense",
    "limit=-1&from=-1&dir=b",
    "limit=99999999999999999999&from=99999999999999999999",
    "limit=2147483648&from=2147483648",
    "name=%00&user_id=%00&search_term=%00&room_id=%00&event_sender_user_id=%00",
)


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


async def test_bodies(root: Client) -> None:
    for route in [r for r in ROUTES if r.method in {"POST", "PUT", "DELETE"}]:
        for body in BODIES:
            answer = await root.ask(route.method, filled(route.path), raw=body)
            assert answer.status < 500, (label(route), body[:60], answer.json)


async def test_paths(root: Client) -> None:
    for route in [r for r in ROUTES if names(r.path)]:
        for value in MALFORMED:
            answer = await root.ask(route.method, filled(route.path, value), raw=b"{}")
            assert answer.status < 500, (label(route), value, answer.json)


async def test_queries(root: Client) -> None:
    for route in [r for r in ROUTES if r.method == "GET"]:
        for query in QUERIES:
            answer = await root.ask("GET", f"{filled(route.path)}?{query}")
            assert answer.status < 500, (label(route), query, answer.json)
