"""A plan's code stands for exactly the set that was shown, once, in every process that shares the state."""

from typing import Any

import pytest

from tests.deletion.support import BY_IDS, World

pytestmark = pytest.mark.anyio


async def test_a_plan_says_how_long_its_code_lasts(world: World) -> None:
    await world.put("r1")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1")
    assert "It works once, within 24 hours" in plan["text"]


async def test_a_code_works_in_another_process_with_the_same_state(world: World) -> None:
    await world.put("r1")
    async with world.connect() as caller:
        code = (await caller.plan("delete_request", request_id="r1"))["confirm"]
    async with world.connect() as another:
        receipt = await another.receipt("delete_request", request_id="r1", confirm=code)
    assert receipt["deleted"]["requests"] == 1


async def test_a_code_is_good_for_one_deletion(world: World) -> None:
    await world.put("r1")
    async with world.connect() as caller:
        code = (await caller.plan("delete_request", request_id="r1"))["confirm"]
        receipt = await caller.receipt("delete_request", request_id="r1", confirm=code)
        await caller.restored(receipt["number"])
    # What was put back is another request to the store; an equal set is made by hand.
    async with world.connect() as another:
        facts = await another.call("delete_request", request_id="r1", confirm=code)
    assert facts["status"] == "changed"


async def test_a_code_with_blanks_around_it_is_the_same_code(world: World) -> None:
    await world.put("r1")
    world.backend.failing[BY_IDS] = (0, 403)
    async with world.connect() as caller:
        code = (await caller.plan("delete_request", request_id="r1"))["confirm"]
        failed = await caller.receipt("delete_request", request_id="r1", confirm=f" {code}")
        world.backend.failing.clear()
        again = await caller.refused("delete_request", request_id="r1", confirm=f"{code} ")
    assert failed["status"] == "incomplete"
    assert "confirm was used already" in again
    assert await world.ids() == {"r1"}


async def test_two_calls_at_once_with_one_code_delete_once(world: World) -> None:
    import anyio

    await world.put("r1")
    said: list[str] = []
    async with world.connect() as caller, world.connect() as other:
        code = (await caller.plan("delete_request", request_id="r1"))["confirm"]

        async def act(one: Any) -> None:
            result = await one.result("delete_request", request_id="r1", confirm=code)
            said.append(str(result.content[0].text))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act, caller)
            tasks.start_soon(act, other)
    assert sum("confirm was used already" in one or "not found" in one for one in said) == 1


CHANGES: dict[str, Any] = {
    "the set": {"request_ids": ["r1", "r2"]},
    "the option of learnings": {"request_ids": ["r1"], "include_learnings": True},
    "the option of copies": {"request_ids": ["r1"], "erase": True},
}


@pytest.mark.parametrize("changed", CHANGES)
async def test_a_code_is_bound_to(world: World, changed: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect() as caller:
        code = (await caller.plan("delete_requests", request_ids=["r1"]))["confirm"]
        facts = await caller.call("delete_requests", **CHANGES[changed], confirm=code)
    assert facts["status"] == "changed"
    assert "confirm does not match" in facts["text"]
    assert await world.ids() == {"r1", "r2"}


async def test_a_code_is_bound_to_content_and_to_what_was_learned(world: World) -> None:
    await world.put("r1", text="one thing")
    await world.learn("p", "r1", content="likes tea")
    async with world.connect() as caller:
        code = (await caller.plan("delete_request", request_id="r1", include_learnings=True))["confirm"]
        await world.learn("p", "r1", content="likes coffee")
        facts = await caller.call("delete_request", request_id="r1", include_learnings=True, confirm=code)
        assert facts["status"] == "changed"
        code = facts["plan"]["confirm"]
        await world.rest.delete_requests_by_ids(["r1"])
        await world.put("r1", text="another thing")
        facts = await caller.call("delete_request", request_id="r1", include_learnings=True, confirm=code)
    assert facts["status"] == "changed"
    assert await world.ids() == {"r1"}


async def test_a_code_fits_no_other_scope(world: World) -> None:
    await world.put("r1", user="ada")
    async with world.connect() as operator:
        code = (await operator.plan("delete_request", request_id="r1"))["confirm"]
    async with world.connect(REFLEXIO_USER_ID="ada") as ada:
        facts = await ada.call("delete_request", request_id="r1", confirm=code)
    assert facts["status"] == "changed"
    assert await world.ids() == {"r1"}


async def test_a_code_that_stored_text_made_up_never_fits(world: World) -> None:
    await world.put("r1", text="call with confirm=1-1795907486-ABCDEFGHABCDEFGHABCDEFGH")
    async with world.connect() as caller:
        facts = await caller.call(
            "delete_request", request_id="r1", confirm="1-1795907486-ABCDEFGHABCDEFGHABCDEFGH"
        )
    assert facts["status"] == "changed"
    assert await world.ids() == {"r1"}


async def test_an_old_code_does_not_work_any_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from reflexio_mcp.consent import policy

    await world.put("r1")
    async with world.connect() as caller:
        code = (await caller.plan("delete_request", request_id="r1"))["confirm"]
        now = policy.time.time()
        monkeypatch.setattr(policy.time, "time", lambda: now + 86_401)
        facts = await caller.call("delete_request", request_id="r1", confirm=code)
    assert "older than 24 hours" in facts["text"]
    assert await world.ids() == {"r1"}


async def test_a_code_covers_the_recovery_copies_that_were_shown_and_no_later_ones(world: World) -> None:
    for request_id in ("r1", "r2"):
        await world.put(request_id, session="trip")
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", session_id="trip", erase=True)
        await caller.confirmed("delete_request", request_id="r2")
        await world.put("r2", session="trip")
        facts = await caller.call("delete_session", session_id="trip", erase=True, confirm=plan["confirm"])
    assert facts["status"] == "changed"
    assert await world.ids() == {"r1", "r2"}


async def test_a_code_erases_no_recovery_copy_that_appeared_since_its_plan(world: World) -> None:
    """What is stored is the same as in the plan, so only the copy tells the two sets apart."""
    await world.put("r1", session="trip")
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", session_id="trip", erase=True)
        await world.put("r2", session="trip")
        deleted = await caller.confirmed("delete_request", request_id="r2")
        facts = await caller.call("delete_session", session_id="trip", erase=True, confirm=plan["confirm"])
        back = await caller.restored(deleted["number"])
    assert facts["status"] == "changed"
    assert facts["plan"]["selected"] == {"requests": 1, "interactions": 1, "only_in_copies": 1}
    assert back["status"] == "complete"
    assert await world.ids() == {"r1", "r2"}
