"""Single interactions of a request can be deleted, restored and erased."""

import pytest

from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestQuery,
    RequestWithInteractions,
    StoredInteraction,
    StoredRequest,
)
from tests.deletion.support import World
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def talk(world: World) -> tuple[int, ...]:
    body = PublishBody(
        user_id="ada",
        session_id="s",
        request_id="r1",
        interaction_data_list=[Interaction(content=said) for said in ("hello", "my address", "goodbye")],
    )
    await world.rest.publish(body, minted=False)
    return await world.interactions("r1")


async def put_numbered(world: World, number: int, session: str, said: str) -> None:
    """Store another request under the same id, as an import from another store does."""
    request = StoredRequest(request_id="r1", user_id="ada", session_id=session, created_at=1)
    stored = RequestWithInteractions(
        request=request, interactions=[StoredInteraction(interaction_id=number, content=said)]
    )
    await world.rest.put_back(stored)


async def words(world: World) -> dict[str, list[str]]:
    page = await world.rest.get_requests(RequestQuery(top_k=500))
    return {
        one.request.request_id: [interaction.content for interaction in one.interactions]
        for group in page.sessions
        for one in group.requests
    }


async def test_the_chosen_interactions_go_and_the_request_stays(world: World) -> None:
    first, second, _ = await talk(world)
    async with world.connect() as caller:
        arguments = {"request_id": "r1", "interaction_ids": [first, second, 999]}
        plan = await caller.plan("delete_request", **arguments)
        assert plan["selected"] == {"interactions": 2}
        assert plan["not_found"] == ["999"]
        assert "The request stays, with 1 interaction." in plan["text"]
        receipt = await caller.receipt("delete_request", **arguments, confirm=plan["confirm"])
    assert receipt["deleted"] == {"interactions": 2}
    assert await words(world) == {"r1": ["goodbye"]}


async def test_the_plan_of_interactions_counts_the_learnings_that_go_with_them(world: World) -> None:
    first, *_ = await talk(world)
    await world.learn("p", "r1", quote="hello")
    async with world.connect() as caller:
        arguments = {"request_id": "r1", "interaction_ids": [first], "include_learnings": True}
        plan = await caller.plan("delete_request", **arguments)
        receipt = await caller.receipt("delete_request", **arguments, confirm=plan["confirm"])
    assert plan["selected"] == receipt["deleted"] == {"interactions": 1, "learnings": 1}


async def test_deleted_interactions_come_back_as_requests_of_their_own_and_not_twice(world: World) -> None:
    _, second, _ = await talk(world)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.receipt("delete_request", request_id="r1", interaction_ids=[second])
        back = await caller.restored(done["number"])
        again = await caller.restored(done["number"])
    assert back["restored"] == {"requests": 1, "interactions": 1}
    assert again["not_restored"][0]["why"] == "already_there"
    assert await words(world) == {"r1": ["hello", "goodbye"], f"r1-interaction-{second}": ["my address"]}


@pytest.mark.parametrize(("session", "said"), [("s", "other words"), ("another", "my address")])
async def test_an_interaction_comes_back_beside_something_else_with_its_number(
    world: World, session: str, said: str
) -> None:
    _, second, _ = await talk(world)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.receipt("delete_request", request_id="r1", interaction_ids=[second])
        await world.rest.delete_requests_by_ids(["r1"])
        await put_numbered(world, second, session, said)
        back = await caller.restored(done["number"])
    assert (back["status"], back["restored"]) == ("complete", {"requests": 1, "interactions": 1})
    assert await words(world) == {"r1": [said], f"r1-interaction-{second}": ["my address"]}


async def test_erasing_one_interaction_drops_every_copy_of_its_request_and_the_plan_says_so(
    world: World,
) -> None:
    await talk(world)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.receipt("delete_request", request_id="r1")
        await caller.restored(done["number"])
    _, second, _ = await world.interactions("r1")
    async with world.connect() as caller:
        arguments = {"request_id": "r1", "interaction_ids": [second], "erase": True}
        plan = await caller.plan("delete_request", **arguments)
        assert fact_of(plan, "copies_of_request_go")
        await caller.receipt("delete_request", **arguments, confirm=plan["confirm"])
        assert "no recovery copy" in await caller.refused("restore_requests", deletion=done["number"])
    assert await words(world) == {"r1": ["hello", "goodbye"]}


async def test_a_request_put_back_meanwhile_has_other_interactions(world: World) -> None:
    first, *_ = await talk(world)
    async with world.connect() as caller:
        arguments = {"request_id": "r1", "interaction_ids": [first]}
        plan = await caller.plan("delete_request", **arguments)
        await world.rest.delete_requests_by_ids(["r1"])
        await talk(world)
        answer = await caller.call("delete_request", **arguments, confirm=plan["confirm"])
    assert answer["status"] in ("not_found", "changed")
    assert (await words(world))["r1"] == ["hello", "my address", "goodbye"]


async def test_interactions_whose_deletion_failed_are_not_stored_a_second_time(world: World) -> None:
    first, second, third = await talk(world)
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/delete_interaction"] = (1, 500)
        done = await caller.receipt("delete_request", request_id="r1", interaction_ids=[first, second, third])
        back = await caller.restored(done["number"])
    assert back["restored"] == {"requests": 1, "interactions": 1}
    assert (back["not_restored"][0]["why"], back["not_restored"][0]["count"]) == ("already_there", 2)
    assert await words(world) == {f"r1-interaction-{first}": ["hello"], "r1": ["my address", "goodbye"]}
