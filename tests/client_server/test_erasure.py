"""What people said who wanted to be erased.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
"""

from typing import Any

from tests.client_server.stage import staged
from tests.servers import Hearth

V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"


async def test_who_comes_later_sees_nothing_of_it(hearth: Hearth) -> None:
    """ "Users which had visibility on those events prior to the erasure" see them as they were."""
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    cat, root = await hearth.user("cat"), await hearth.user("root", is_admin=True)
    stage = await staged(ann)
    await stage.member(ben, "join")
    root_event = await stage.say(ann, "a thread")
    said = await stage.say(ben, "secret words")
    content: dict[str, Any] = {"msgtype": "m.text", "body": "secret reply"}
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root_event}}
    reply = await stage.send(ben, "m.room.message", content | relation)
    erase = f"/_synapse/admin/v1/deactivate/{ben.user_id}"
    (await root.post(erase, {"erase": True})).ok()
    (await cat.post(f"{stage.path}/join")).ok()
    thread = f"{V1}/rooms/{stage.room_id}/relations/{root_event}"
    search = {"search_categories": {"room_events": {"search_term": "secret"}}}
    for reader, sees in ((ann, True), (cat, False)):
        answers = {
            "messages": await reader.get(f"{stage.path}/messages", dir="b", limit=50),
            "sync": await reader.get(f"{V3}/sync"),
            "event": await reader.get(f"{stage.path}/event/{said}"),
            "context": await reader.get(f"{stage.path}/context/{root_event}", limit=10),
            "thread": await reader.get(thread),
            "threads": await reader.get(f"{V1}/rooms/{stage.room_id}/threads"),
            "root": await reader.get(f"{stage.path}/event/{root_event}"),
            "initialSync": await reader.get(f"{stage.path}/initialSync"),
            "search": await reader.post(f"{V3}/search", search),
        }
        for name, answer in answers.items():
            answer.ok()
            assert (b"secret" in answer.body.replace(b'["secret"]', b"")) == sees, (name, sees)
    assert (await cat.get(f"{stage.path}/event/{reply}")).ok()["content"].get("body") is None
