"""What was learned from a set: counted, kept or removed, and checked by reading again."""

import pytest

from tests.deletion.support import BY_IDS, World, text_of

pytestmark = pytest.mark.anyio


async def learned(world: World) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    world.backend.profiles |= {"p1": ("ada", "r1"), "p2": ("bob", "r2"), "p3": ("ada", "other")}
    world.backend.playbooks |= {1: ("ada", "r1"), 2: ("ada", "other")}


async def test_plan_and_receipt_count_what_stays(world: World, era: str) -> None:
    await learned(world)
    async with world.connect(era) as caller:
        plan = await caller.result("delete_session", session_id="s")
        assert plan.structured_content
        assert plan.structured_content["plan"]["learned"] == {"profiles": 2, "user_playbooks": 1}
        assert "2 profiles and 1 user playbook learned from it stay" in text_of(plan)
        assert "Agent playbooks" in text_of(plan)
        done = await caller.call("delete_session", session_id="s", confirm=plan.structured_content["confirm"])
    assert "stay" in done["survives"]
    assert done["learned_left"] == {"profiles": 2, "user_playbooks": 1}
    assert set(world.backend.profiles) == {"p1", "p2", "p3"}


async def test_include_learnings_removes_exactly_what_came_from_the_set(world: World, era: str) -> None:
    await learned(world)
    async with world.connect(era) as caller:
        facts = await caller.confirmed("delete_session", session_id="s", include_learnings=True)
    assert facts["status"] == "complete"
    assert facts["learned_deleted"] == {"profiles": 2, "user_playbooks": 1}
    assert "checked by reading again" in facts["survives"]
    assert set(world.backend.profiles) == {"p3"}
    assert set(world.backend.playbooks) == {2}


async def test_what_is_learned_while_the_requests_go_is_removed_too(world: World, era: str) -> None:
    await learned(world)

    async def late() -> None:
        world.backend.profiles["late"] = ("ada", "r1")

    world.backend.before[BY_IDS] = [late]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["learned_deleted"]["profiles"] == 3
    assert set(world.backend.profiles) == {"p3"}


async def test_learnings_that_will_not_go_are_named_and_the_requests_stay_to_find_them_again(
    world: World, era: str
) -> None:
    await learned(world)
    world.backend.failing["/api/delete_profiles_by_ids"] = (0, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
        assert facts["status"] == "incomplete"
        assert facts["deleted"] == 0
        assert await world.ids(session_id="s") == {"r1", "r2"}
        world.backend.failing.clear()
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["status"] == "complete"
    assert set(world.backend.profiles) == {"p3"}


async def test_learnings_that_cannot_be_read_do_not_stop_a_deletion_that_leaves_them(
    world: World, era: str
) -> None:
    await learned(world)
    world.backend.failing["/api/get_profiles"] = (0, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        said = await caller.refused("delete_session", session_id="s", include_learnings=True)
        assert "Nothing was changed" in said
        facts = await caller.call("delete_session", session_id="s")
    assert facts["deleted"] == 2
    assert "could not be read" in facts["survives"]


async def test_another_users_learnings_are_out_of_reach(world: World, era: str) -> None:
    await learned(world)
    world.backend.profiles["theirs"] = ("bob", "r1")
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["learned_deleted"] == {"profiles": 1, "user_playbooks": 1}
    assert set(world.backend.profiles) == {"p2", "p3", "theirs"}


async def test_where_nothing_is_learned_the_option_is_not_offered() -> None:
    from reflexio_mcp.settings import load
    from reflexio_mcp.tools.catalog import offered

    for tool in offered(load({})):
        assert "include_learnings" not in tool.parameters["properties"]
        assert "erase" not in tool.parameters["properties"]
        assert tool.name != "restore_requests"
