"""Deletions, restores and erasures beside each other: what was erased does not come back, and receipts are true."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.traffic.deletion import execute
from tests.deletion.support import BY_IDS, Caller, World

pytestmark = pytest.mark.anyio


async def copied(world: World) -> dict[int, dict[str, int]]:
    """What the recovery copies hold, by deletion."""
    async with world.connect(CONFIRM="off") as caller:
        listed = await caller.call("restore_requests")
    return {one["number"]: one["copied"] for one in listed.get("deletions", []) if "copied" in one}


def erasing(world: World, caller: Caller, route: str, **arguments: Any) -> list[dict[str, Any]]:
    """Erase r1 right before a route is next answered. The receipt is in the list that is returned."""
    receipts: list[dict[str, Any]] = []

    async def erase() -> None:
        receipts.append(await caller.receipt("delete_request", request_id="r1", erase=True, **arguments))

    world.backend.before[route] = [erase]
    return receipts


async def test_what_is_erased_while_a_restore_runs_is_not_left_stored(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        done = await one.receipt("delete_session", session_id="s")
        receipts = erasing(world, other, "/api/publish_interaction")
        restored = await one.call("restore_requests", deletion=done["number"])
    assert [receipt["way_back"]["state"] for receipt in receipts] == ["erased"]
    assert (restored["status"], restored["restored"]["requests"]) == ("complete", 2)
    assert restored["not_restored"] == [{"why": "erased", "count": 1, "ids": ["r1"]}]
    assert await world.ids() == {"r0", "r2"}
    assert await copied(world) == {done["number"]: {"requests": 2}}


async def test_what_it_had_taught_is_not_left_stored_either(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    await world.learn("p1", "r1")
    await world.learn(7, "r1", content="a playbook")
    await world.learn("p2", "r2", content="of the other")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        done = await one.receipt("delete_session", session_id="s", include_learnings=True)
        assert not world.backend.profiles
        erasing(world, other, "/api/add_user_profile", include_learnings=True)
        restored = await one.call("restore_requests", deletion=done["number"])
    assert set(world.backend.profiles) == {"p2"}
    assert not world.backend.playbooks
    assert restored["restored"]["learnings"] == 1
    assert await world.ids() == {"r2"}


async def test_an_erasure_that_a_restore_overtook_deletes_what_was_restored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("r1")
    await world.put("r2")
    await world.learn("p1", "r1", content="likes tea")
    await world.learn(7, "r1", content="offer tea")
    await world.learn("p2", "r2", content="likes coffee")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        done = await one.receipt("delete_session", session_id="s", include_learnings=True)
        closing = execute._Act.close

        async def restored_first(self: Any, *arguments: Any) -> Any:
            await one.call("restore_requests", deletion=done["number"])
            return await closing(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(execute._Act, "close", restored_first)
            receipt = await other.receipt(
                "delete_request", request_id="r1", erase=True, include_learnings=True
            )
    assert receipt["status"] == "complete"
    assert "3 items that were erased for good" in receipt["text"]
    assert await world.ids() == {"r2"}
    assert (set(world.backend.profiles), set(world.backend.playbooks)) == ({"p2"}, set())
    assert await copied(world) == {done["number"]: {"requests": 1, "learnings": 1}}


async def test_a_deletion_whose_copy_another_call_erased_does_not_say_that_one_is_kept(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        erasing(world, other, BY_IDS)
        receipt = await one.receipt("delete_request", request_id="r1")
    assert receipt["way_back"]["state"] == "erased"
    assert await copied(world) == {}


async def test_what_took_over_an_id_that_an_erasure_beside_a_deletion_freed_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion has read what was there before. Now it may keep no copy, so it sends nothing."""
    await world.put("r1")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        keeping = execute._Act._keep

        async def erased_first(self: Any, copies: Any) -> set[str]:
            monkeypatch.setattr(execute._Act, "_keep", keeping)
            await other.receipt("delete_request", request_id="r1", erase=True)
            await world.put("r1", text="another one")
            return await keeping(self, copies)

        monkeypatch.setattr(execute._Act, "_keep", erased_first)
        receipt = await one.receipt("delete_request", request_id="r1")
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["r1"]}]
    assert world.backend.calls[BY_IDS] == 1
    assert await world.ids() == {"r1"}


async def test_an_erasure_that_failed_does_not_say_that_earlier_copies_are_erased(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.receipt("delete_request", request_id="r1")
        await caller.restored(done["number"])
        world.backend.failing[BY_IDS] = (0, 500)
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True)
        assert receipt["way_back"]["state"] == "unknown"
        assert await copied(world) == {done["number"]: {"requests": 1}}
        del world.backend.failing[BY_IDS]
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True)
    assert receipt["way_back"]["state"] == "erased"
    assert await copied(world) == {}


async def test_the_erasure_of_a_person_counts_a_copy_that_was_made_after_its_plan_and_a_repeated_one_takes_it(
    world: World,
) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:

        async def arrive_and_go() -> None:
            await world.put("r2")
            await other.receipt("delete_request", request_id="r2")

        world.backend.before["/api/clear_user_data"] = [arrive_and_go]
        first = await one.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
        assert first["status"] == "incomplete"
        assert {"code": "later_copies", "number": 1} in first["facts"]
        again = await one.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
        assert again["status"] == "complete"
    assert await copied(world) == {}


async def test_interactions_whose_deletion_had_to_be_repeated_are_put_back_once(world: World) -> None:
    interactions = [Interaction(content=f"turn {number}") for number in range(4)]
    body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=interactions)
    await world.rest.publish(body, minted=False)
    ids = list((await world.interactions("r1"))[:3])
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/delete_interaction"] = (1, 500)
        first = await caller.receipt("delete_request", request_id="r1", interaction_ids=ids)
        del world.backend.failing["/api/delete_interaction"]
        second = await caller.receipt("delete_request", request_id="r1", interaction_ids=ids)
        assert first["deleted"]["interactions"] + second["deleted"]["interactions"] == 3
        for receipt in (first, second):
            await caller.call("restore_requests", deletion=receipt["number"])
    page = await world.rest.get_requests(RequestQuery(top_k=500))
    stored = [
        interaction.content
        for group in page.sessions
        for item in group.requests
        for interaction in item.interactions
    ]
    assert sorted(stored) == [f"turn {number}" for number in range(4)]
