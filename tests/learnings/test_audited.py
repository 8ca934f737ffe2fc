"""What an audit says of learnings on the real server: which outlived their sources, and where it sees none."""

import pytest

from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_a_learning_whose_sources_are_deleted_is_found_and_its_call_forgets_it(corner: Corner) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    await corner.say("a", "I live at 12 Secret Lane", force_extraction=True)
    await corner.say("b", "What is the weather in the mountains?", session="later")
    user = corner.name("ada")
    async with corner.connect() as caller:
        before = await caller.call("audit_traffic", user_id=user)
        assert "orphaned-learning" in before["nothing_found"]
        await caller.call("delete_request", request_id=corner.name("a"))
        found = {one["id"]: one for one in (await caller.call("audit_traffic", user_id=user))["findings"]}
        orphaned = found["orphaned-learning"]
        assert orphaned["count"] == 1
        assert "selects" not in orphaned["next"]
        assert orphaned["next"]["tool"] == "delete_learnings"
        await caller.call("delete_learnings", **orphaned["next"]["arguments"])
        assert not await corner.profiles()
        after = await caller.call("audit_traffic", user_id=user)
        assert "orphaned-learning" in after["nothing_found"]


async def test_of_users_whose_requests_are_all_deleted_an_audit_says_that_it_sees_no_learnings(
    corner: Corner,
) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    await corner.say("a", "I live at 12 Secret Lane", force_extraction=True)
    await corner.say("b", "What is the weather in the mountains?", user="bob")
    async with corner.connect() as caller:
        await caller.call("delete_request", request_id=corner.name("a"))
        everybody = await caller.call("audit_traffic")
        assert any("orphaned-learning" in one["ids"] for one in everybody["not_run"])
        assert "orphaned-learning" not in everybody["nothing_found"]
        hers = await caller.call("audit_traffic", user_id=corner.name("ada"))
        assert "list_learnings" in hers["next"]
        assert await corner.profiles()
