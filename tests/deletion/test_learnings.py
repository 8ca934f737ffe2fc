"""What was learned from a set: counted, kept or removed, and checked by reading again."""

from dataclasses import replace
from typing import Any

import pytest

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.deletion import execute as execution
from reflexio_mcp.traffic.deletion.execute import execute
from reflexio_mcp.traffic.deletion.plan import plan_ids, with_learned
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.remove import delete_learnings
from reflexio_mcp.traffic.learnings.turns import find_turns
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import BY_IDS, Known, Person, World, text_of

pytestmark = pytest.mark.anyio

NOTHING = "No profile or user playbook was learned from it."


async def learned(world: World) -> None:
    """Two users in a session `s`; `later` is another request of one of them, in another session."""
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    await world.put("later", user="ada", session="t")
    await world.learn("p1", "r1")
    await world.learn("p2", "r2", user="bob")
    await world.learn("p3", "later")
    await world.learn(1, "r1")
    await world.learn(2, "later")


async def test_plan_and_receipt_count_what_stays(world: World, era: str) -> None:
    await learned(world)
    async with world.connect(era) as caller:
        plan = await caller.result("delete_session", session_id="s")
        assert plan.structured_content
        told = plan.structured_content["plan"]["learned"]
        assert (told["status"], told["profiles"], told["user_playbooks"]) == ("these", 2, 1)
        assert {one["learning_id"] for one in told["shown"]} == {
            "profile:p1",
            "profile:p2",
            "user_playbook:1",
        }
        said = "2 profiles and 1 user playbook learned from conversations this was part of stay"
        assert said in text_of(plan)
        assert "Agent playbooks" in text_of(plan)
        done = await caller.call("delete_session", session_id="s", confirm=plan.structured_content["confirm"])
    assert "stay" in done["survives"]
    assert (done["learned_left"]["profiles"], done["learned_left"]["user_playbooks"]) == (2, 1)
    assert set(world.backend.profiles) == {"p1", "p2", "p3"}


async def test_include_learnings_removes_exactly_what_came_from_the_set(world: World, era: str) -> None:
    await learned(world)
    async with world.connect(era) as caller:
        facts = await caller.confirmed("delete_session", session_id="s", include_learnings=True)
    assert facts["status"] == "complete"
    assert (facts["learned_deleted"]["profiles"], facts["learned_deleted"]["user_playbooks"]) == (2, 1)
    assert facts["learned_left"] == {"status": "none"}
    assert "checked by reading again" in facts["survives"]
    assert set(world.backend.profiles) == {"p3"}
    assert set(world.backend.playbooks) == {2}


async def test_a_learning_is_found_by_the_turns_of_its_window_and_not_by_its_last_request(
    world: World, era: str
) -> None:
    for name in ("a", "b", "c"):
        await world.put(name)
    await world.learn("lane", "a", "b", "c")
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="a", include_learnings=True)
        assert not world.backend.profiles
        assert NOTHING not in facts["survives"]
        assert "if one of those says the same, it can be learned again from there." in facts["survives"]
        facts = await caller.call("delete_request", request_id="c")
    assert facts["survives"].startswith(NOTHING)


async def test_a_playbook_that_does_not_cite_the_last_request_of_its_window_stays_with_it(
    world: World, era: str
) -> None:
    await world.put("a")
    await world.put("c")
    world.backend.playbooks[1] = Known("ada", "c", await world.interactions("a"))
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="c", include_learnings=True)
    assert facts["survives"].startswith(NOTHING)
    assert set(world.backend.playbooks) == {1}


@pytest.mark.parametrize("status", ["pending", "archived", "archive_in_progress", "merged", "superseded"])
async def test_learnings_that_are_no_longer_current_hold_the_text_and_go_too(
    world: World, status: str
) -> None:
    await world.put("r1")
    await world.learn("old", "r1", status=status)
    async with world.connect(CONFIRM="preview") as caller:
        facts = await caller.confirmed("delete_request", request_id="r1", include_learnings=True)
    assert facts["learned_deleted"]["profiles"] == 1
    assert not world.backend.profiles


async def test_what_else_fed_a_learning_is_named_in_the_plan(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("other", session="t")
    await world.learn("p", "r1", "other", content="Lives in Lisbon")
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.result("delete_request", request_id="r1")
    assert plan.structured_content
    [shown] = plan.structured_content["plan"]["learned"]["shown"]
    assert shown == {
        "learning_id": "profile:p",
        "state": "current",
        "content": "Lives in Lisbon",
        "also_from": ["other"],
    }
    assert "Reflexio names 1 other request, which stays, as a source of it. " in text_of(plan)


async def test_sources_that_are_gone_are_not_named(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("gone")
    await world.learn("p", "r1", "gone")
    await world.rest.delete_request("gone")
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r1")
    assert "also" not in plan["survives"]


async def test_planning_one_request_takes_at_most_two_calls_more_than_reading_it_and_its_learnings(
    world: World,
) -> None:
    await world.put("r1")
    await world.put("other", session="t")
    await world.learn("p", "r1", "other")
    async with world.connect(CONFIRM="preview") as caller:
        world.backend.calls.clear()
        await caller.call("delete_request", request_id="r1")
    assert sum(world.backend.calls.values()) <= 3 + 2, world.backend.calls


async def test_learnings_that_do_not_say_what_they_came_from_make_it_not_known(
    world: World, era: str
) -> None:
    await world.put("r1")
    world.backend.profiles["manual"] = Known("ada", "manual_12345678")
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r1", include_learnings=True)
    assert plan["plan"]["learned"]["status"] == "not_known"
    assert NOTHING not in plan["survives"]
    assert "1 more learning there does not say what it was learned from" in plan["survives"]


async def test_learnings_without_turns_are_found_by_the_request_they_name(world: World, era: str) -> None:
    await world.put("r1")
    world.backend.profiles["old"] = Known("ada", "r1")
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r1")
        assert plan["plan"]["learned"]["shown"][0]["known"] == "reconstructed"
        await caller.confirmed("delete_request", request_id="r1", include_learnings=True)
    assert not world.backend.profiles


async def test_what_is_learned_while_the_requests_go_is_removed_too(world: World, era: str) -> None:
    await learned(world)

    async def late() -> None:
        await world.learn("late", "r1")

    world.backend.before[BY_IDS] = [late]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["learned_deleted"]["profiles"] == 3
    assert set(world.backend.profiles) == {"p3"}


async def test_what_is_learned_between_plan_and_deletion_is_counted_as_left(world: World, era: str) -> None:
    await world.put("r1")

    async def late() -> None:
        await world.learn("late", "r1")

    world.backend.before[BY_IDS] = [late]
    async with world.connect(era) as caller:
        facts = await caller.confirmed("delete_request", request_id="r1")
    assert "1 profile learned from conversations this was part of stays" in facts["survives"]


async def test_a_code_is_bound_to_the_learnings_that_the_plan_showed(world: World, era: str) -> None:
    await learned(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r1", include_learnings=True)
        await world.learn("new", "r1")
        again = await caller.result(
            "delete_request", request_id="r1", include_learnings=True, confirm=plan["confirm"]
        )
        assert again.structured_content
        assert again.structured_content["status"] == "changed"
        assert "what was learned from these requests has changed since" in text_of(again)
        assert set(world.backend.profiles) == {"p1", "p2", "p3", "new"}
        # Where they stay, their number does not matter to what was agreed.
        plan = await caller.call("delete_request", request_id="r1")
        await world.learn("newer", "r1")
        done = await caller.call("delete_request", request_id="r1", confirm=plan["confirm"])
    assert done["deleted"] == 1


async def test_learnings_go_when_nothing_is_being_learned_any_more(world: World, era: str) -> None:
    await learned(world)
    busy = [{"status": "processing", "reason": "extracting"}, {"status": "pending", "reason": "queued"}]
    world.backend.learning = [*busy, {"status": "pending", "reason": "waiting_for_window"}]

    async def asked() -> None:
        assert not world.backend.learning, "learnings were deleted while something was being learned"

    world.backend.before["/api/delete_profiles_by_ids"] = [asked]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="r1", include_learnings=True)
    assert facts["status"] == "complete"
    assert "still learning" not in facts["survives"]


async def test_a_deletion_is_not_complete_while_something_is_still_being_learned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.LEARNING_WAIT_SECONDS", 0)
    await learned(world)
    scope = Scope(world.rest)
    plan = replace(await plan_ids(scope, ["r1"]), include_learnings=True)
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 2
    done = await execute(scope, await with_learned(scope, plan))
    assert done.outcomes == {"r1": "deleted"}
    assert done.learned_left is not None
    assert not done.learned_left.count
    assert set(done.still_learning) == {"ada"}
    assert not done.complete


async def test_learnings_stay_when_their_requests_could_not_be_deleted(world: World, era: str) -> None:
    await learned(world)
    before = set(world.backend.profiles)
    world.backend.failing[BY_IDS] = (0, 422)
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["status"] == "incomplete"
    assert facts["deleted"] == 0
    assert set(world.backend.profiles) == before


async def test_learnings_count_as_sent_where_a_call_that_failed_may_have_taken_them(world: World) -> None:
    await learned(world)
    scope = Scope(world.rest)
    world.backend.failing["/api/delete_profiles_by_ids"] = (0, 500)
    sent: set[str] = set()
    with pytest.raises(ReflexioError):
        await delete_learnings(scope, await learnings_of_user(scope, "ada"), sent)
    assert sent == {"profile:p1", "profile:p3"}


async def test_sources_that_the_service_fails_to_return_do_not_count_as_deleted(world: World) -> None:
    await learned(world)
    ids = await world.interactions("later")
    world.backend.unreturned = {"later"}
    found = await find_turns(Scope(world.rest), "ada", ids)
    assert (found.turns, found.whole) == ({}, False)


async def test_a_merge_that_brings_a_learning_back_is_deleted_again(world: World, era: str) -> None:
    await learned(world)
    both = await world.interactions("r1", "later")

    async def merged() -> None:
        world.backend.profiles["merged"] = Known("ada", "later", both)

    world.backend.before["/api/delete_user_playbooks_by_ids"] = [merged]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="r1", include_learnings=True)
    assert facts["status"] == "complete"
    assert set(world.backend.profiles) == {"p2", "p3"}


async def test_learnings_that_will_not_go_are_named(world: World, era: str) -> None:
    await learned(world)
    world.backend.failing["/api/delete_profiles_by_ids"] = (0, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["status"] == "incomplete"
    assert facts["deleted"] == 2
    assert not await world.ids(session_id="s")
    assert "are still there" in facts["survives"]
    assert set(facts["learnings_still_there"]) == {"profile:p1", "profile:p2", "user_playbook:1"}


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
    assert facts["learned_left"] == {"status": "not_known"}


async def test_another_users_learnings_are_out_of_reach(world: World, era: str) -> None:
    await learned(world)
    await world.learn("theirs", "r1", user="bob")
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert (facts["learned_deleted"]["profiles"], facts["learned_deleted"]["user_playbooks"]) == (1, 1)
    assert set(world.backend.profiles) == {"p2", "p3", "theirs"}


async def test_where_nothing_is_learned_the_option_is_not_offered() -> None:
    from reflexio_mcp.settings import load
    from reflexio_mcp.tools.catalog import offered

    for tool in offered(load({})):
        assert "include_learnings" not in tool.parameters["properties"]
        assert tool.name != "restore_requests"


@pytest.mark.parametrize("known", ["none", "these", "not_known", "unread"])
async def test_every_deletion_of_a_session_says_that_its_outcome_stays(
    world: World, era: str, known: str
) -> None:
    await world.put("r1")
    if known == "these":
        await world.learn("p", "r1")
    if known == "not_known":
        world.backend.profiles["manual"] = Known("ada", "manual_12345678")
    if known == "unread":
        world.backend.failing["/api/get_profiles"] = (0, 403)
    said = "session outcomes and evaluations"
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_session", session_id="s")
        assert said in plan["survives"]
        done = await caller.call("delete_session", session_id="s", confirm=plan["confirm"])
    assert said in done["survives"]


async def test_the_question_about_a_session_says_that_its_outcome_stays(world: World, era: str) -> None:
    await world.put("r1")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_session", session_id="s")
    assert "Session outcomes and evaluations stay." in person.seen[0]


async def test_what_else_fed_it_is_looked_up_again_for_the_receipt(world: World) -> None:
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a", "b")
    wanted = {"request_id": "a", "include_learnings": True}
    async with world.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", **wanted)
        assert (
            "Reflexio names 1 other request, which stays, as a source of it; if that one" in plan["survives"]
        )
        await world.rest.delete_request("b")
        done = await caller.call("delete_request", **wanted, confirm=plan["confirm"])
    assert done["learned_deleted"]["profiles"] == 1
    assert "learned again" not in done["survives"]


async def test_where_nothing_is_left_nobody_is_told_that_something_is(world: World) -> None:
    await world.put("a")
    await world.learn("p", "a")

    async def gone_with_an_error() -> None:
        del world.backend.profiles["p"]
        world.backend.failing["/api/delete_profiles_by_ids"] = (0, 400)

    world.backend.before["/api/learning_status"] = []
    world.backend.before["/api/delete_profiles_by_ids"] = [gone_with_an_error]
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("delete_request", request_id="a", include_learnings=True)
    assert done["learned_left"]["status"] == "none"
    assert "Look with list_learnings and their user_id for what is left" in done["next"]


@pytest.mark.parametrize(
    ("run", "waits"),
    [
        ({"request_params": {"user_id": "ada"}}, True),
        ({"request_params": {"user_id": None}}, True),
        ({"request_params": {"user_id": "bob"}}, False),
        ({"processed_user_ids": ["ada"]}, False),
    ],
)
async def test_what_is_generated_anew_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, run: dict[str, Any], waits: bool
) -> None:
    if waits:
        monkeypatch.setattr(execution, "LEARNING_WAIT_SECONDS", 0.05)
    await world.put("a")
    await world.learn("p", "a")
    world.backend.generating = [{"status": "in_progress", **run}] * 1000
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("delete_request", request_id="a", include_learnings=True)
    assert ("still learning from traffic of 1 user (generating_anew)" in done["survives"]) == waits
    assert (done["status"] == "incomplete") == waits
