"""A request that was stored again has other interaction ids: its words still show what was learned from it."""

from typing import Any

import pytest

from tests.deletion.support import World
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

ERASURE: dict[str, Any] = {"request_id": "said", "include_learnings": True, "erase": True}


async def stored_again(world: World, **fields: Any) -> None:
    """A profile that quotes a request, which was then deleted alone and restored."""
    await world.put("said", text="My sister is called Vreni")
    await world.put("other", text="Good morning")
    await world.learn("p", "said", content="her sister is Vreni", quote="sister is called Vreni", **fields)
    before = await world.interactions("said")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="said")
        await caller.restored(receipt["number"])
    assert await world.interactions("said") != before


async def test_an_erasure_takes_the_learning_that_quotes_a_restored_request(world: World) -> None:
    await stored_again(world)
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", **ERASURE)
        [learning] = plan["learnings"]
        receipt = await caller.receipt("delete_request", **ERASURE, confirm=plan["confirm"])
    assert (learning["learning_id"], learning["case"]) == ("profile:p", "only")
    assert (receipt["status"], receipt["deleted"]["learnings"]) == ("complete", 1)
    assert world.backend.profiles == {}


async def test_a_learning_that_a_request_outside_says_too_stays_and_the_plan_names_it(world: World) -> None:
    await stored_again(world)
    await world.put("outside", text="Again: my sister is called Vreni.")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", **ERASURE)
        await caller.receipt("delete_request", **ERASURE, confirm=plan["confirm"])
    [learning] = plan["learnings"]
    assert (learning["case"], learning["quoted_in"]) == ("partly", ["outside"])
    assert set(world.backend.profiles) == {"p"}


async def test_an_erasure_takes_the_learning_that_quotes_a_request_which_only_a_copy_with_other_ids_has(
    world: World,
) -> None:
    await stored_again(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="said")
        receipt = await caller.receipt("delete_request", **ERASURE)
    assert receipt["deleted"]["learnings"] == 1
    assert world.backend.profiles == {}


async def test_a_list_and_the_request_show_the_words_that_taught_it(world: World) -> None:
    await stored_again(world)
    async with world.connect() as caller:
        [of_request] = (await caller.call("list_learnings", request_id="said"))["learnings"]
        [of_user] = (await caller.call("list_learnings", user_id="ada"))["learnings"]
        [here] = (await caller.call("get_request", request_id="said"))["learned"]
        others = await caller.call("list_learnings", request_id="other")
    assert of_request["evidence"] == of_user["evidence"]
    assert of_user["evidence"][0]["request_id"] == "said"
    assert here["learning_id"] == "profile:p"
    assert others["learnings"] == []


async def test_a_receipt_for_the_learning_names_the_request_that_can_teach_it_again(world: World) -> None:
    await stored_again(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert (fact_of(receipt, "sources_stay") or {})["names"] == ["said"]


async def test_a_deletion_of_the_learnings_of_a_restored_request_takes_it(world: World) -> None:
    await stored_again(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", request_id="said")
    assert receipt["deleted"] == {"learnings": 1}


async def test_a_learning_whose_interactions_are_all_stored_is_not_linked_by_its_words(world: World) -> None:
    await world.put("taught", text="My sister is called Vreni")
    await world.put("said", text="My sister is called Vreni")
    await world.learn("p", "taught", content="her sister is Vreni", quote="My sister is called Vreni")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", **ERASURE)
    assert plan.get("learnings", []) == []


async def test_a_learning_is_not_linked_by_words_that_many_requests_contain(world: World) -> None:
    await world.put("taught", text="peanuts")
    await world.put("said", text="Where can I buy peanuts?")
    await world.learn("p", "taught", content="cannot eat peanuts", quote="peanuts")
    await world.rest.delete_requests_by_ids(["taught"])
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", **ERASURE)
    assert plan.get("learnings", []) == []


async def test_words_of_another_user_link_nothing(world: World) -> None:
    await stored_again(world)
    await world.put("bobs", user="bob", text="My sister is called Vreni")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", **ERASURE | {"request_id": "bobs"})
    assert plan.get("learnings", []) == []
