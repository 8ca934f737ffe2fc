"""`erase` and `include_learnings` for a user alone: everything of that user goes, and each place is read again."""

from typing import Any

import pytest

from tests.deletion.support import Known, Person, World, text_of

pytestmark = pytest.mark.anyio

CLEAR = "/api/clear_user_data"
WHOLE: dict[str, Any] = {"user_id": "ada", "include_learnings": True, "erase": True}
NOTHING_LISTED = "Nothing of this user is listed any more"


async def stored(world: World) -> None:
    """Two requests and three learnings of ada, one of them of a request that is gone; one request of bob."""
    await world.put("a")
    await world.put("b", session="t")
    await world.put("theirs", user="bob")
    await world.learn("new", "a")
    await world.learn(7, "b")
    world.backend.profiles["old"] = Known("ada", "gone", (999,), "superseded")
    await world.learn("his", "theirs", user="bob")
    world.backend.outcomes["s"] = "ada"


async def test_everything_goes_and_each_place_is_read_again(world: World, era: str) -> None:
    await stored(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        result = await caller.result("delete_requests", **WHOLE)
        plan = result.structured_content
        assert plan
        assert plan["plan"]["requests"] == 2
        assert plan["plan"]["session_outcomes"] == 1
        assert (plan["plan"]["learned"]["profiles"], plan["plan"]["learned"]["user_playbooks"]) == (2, 1)
        assert "and what arrives until it is done" in plan["survives"]
        assert "own run records" in plan["survives"]
        assert "erased" not in plan["survives"]
        assert await world.ids() == {"a", "b", "theirs"}
        done = await caller.call("delete_requests", **WHOLE, confirm=plan["confirm"])
    assert done["status"] == "complete"
    assert done["outcomes"] == {"deleted": ["b", "a"]}
    assert (done["learned_deleted"]["profiles"], done["learned_deleted"]["user_playbooks"]) == (2, 1)
    assert done["session_outcomes_left"] == 0
    assert done["survives"].startswith("2 profiles and 1 user playbook were deleted. " + NOTHING_LISTED)
    assert "erased" not in done["survives"]
    assert done["undo"].startswith("This cannot be undone")
    assert await world.ids() == {"theirs"}
    assert set(world.backend.profiles) == {"his"}
    assert not world.backend.playbooks
    assert world.backend.calls[CLEAR] == 1


async def test_what_is_left_of_a_user_without_requests_goes_too(world: World, era: str) -> None:
    world.backend.profiles["old"] = Known("ada", "gone", (999,), "merged")
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **WHOLE)
        assert done["status"] == "complete"
        assert done["learned_deleted"]["profiles"] == 1
        done = await caller.call("delete_requests", **WHOLE)
        assert done["status"] == "not_found"
    assert not world.backend.profiles


async def test_what_arrives_meanwhile_goes_too(world: World, era: str) -> None:
    await stored(world)

    async def arrives() -> None:
        await world.put("late")

    world.backend.before[CLEAR] = [arrives]
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **WHOLE)
    assert done["status"] == "complete"
    assert await world.ids() == {"theirs"}


async def test_what_arrives_for_ever_is_said_to_be_there(world: World, era: str) -> None:
    await stored(world)

    def keeps(asked: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        # Somebody publishes whenever the user's data was cleared.
        late.append("late")
        return reply

    async def arrives() -> None:
        if late:
            late.append("late")
            await world.put(f"late{len(late)}")

    late: list[str] = []
    world.backend.rewriting[CLEAR] = keeps
    world.backend.before["/api/get_requests"] = [arrives] * 50
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **WHOLE)
    assert done["status"] == "incomplete"
    assert done["arrived"] >= 1
    assert NOTHING_LISTED not in done["survives"]
    assert done["next"].startswith("Stop what still publishes for this user")


async def test_an_outcome_that_stays_is_said_to_be_there(world: World, era: str) -> None:
    await stored(world)
    world.backend.keeps_outcomes = True
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **WHOLE)
    assert done["status"] == "incomplete"
    assert "1 session outcome of this user is there." in done["survives"]
    assert NOTHING_LISTED not in done["survives"]


async def test_a_refusal_leaves_everything_and_says_so(world: World, era: str) -> None:
    await stored(world)
    world.backend.failing[CLEAR] = (0, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **WHOLE)
    assert done["status"] == "incomplete"
    assert done["outcomes"] == {"not_allowed": ["b", "a"]}
    assert "3 learnings of this user are there." in done["survives"]
    assert await world.ids() == {"a", "b", "theirs"}


@pytest.mark.parametrize("missing", ["include_learnings", "erase"])
async def test_one_option_alone_takes_exactly_the_requests(world: World, missing: str) -> None:
    await stored(world)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **{**WHOLE, missing: False})
    assert done["status"] == "complete"
    assert world.backend.calls[CLEAR] == 0
    assert set(world.backend.outcomes) == {"s"}
    assert "old" in world.backend.profiles


async def test_the_person_types_how_many_records(world: World, era: str) -> None:
    await stored(world)
    person = Person(lambda _: {"requests": 6})
    async with world.connect(era, person, CONFIRM_ABOVE="3") as caller:
        done = await caller.call("delete_requests", **WHOLE)
    assert person.seen[0].startswith(
        "Delete EVERYTHING of user “ada” (2 requests, 3 learnings, 1 session outcome)? This cannot be undone."
    )
    assert "type the number of records: 6" in person.seen[0]
    assert done["status"] == "complete"


async def test_a_server_of_one_user_takes_everything_of_that_user_alone(world: World, era: str) -> None:
    await stored(world)
    wanted = {"include_learnings": True, "erase": True}
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        assert "everything=true" in await caller.refused("delete_requests", **wanted)
        done = await caller.call("delete_requests", **wanted, everything=True)
    assert done["status"] == "complete"
    assert await world.ids() == {"theirs"}
    assert set(world.backend.profiles) == {"his"}


async def test_agent_playbooks_made_from_this_users_are_named_and_nobody_elses_words(
    world: World, era: str
) -> None:
    await stored(world)
    world.backend.agent_playbooks = {3: ["ada", "bob"], 4: ["bob"], 5: []}
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.result("delete_requests", **WHOLE)
    assert "1 agent playbook names playbooks of this user as a source: 3." in text_of(plan)
    assert "1 agent playbook does not say what they were made from" in text_of(plan)
    assert "secret of somebody else" not in text_of(plan)
    assert world.backend.calls["/api/get_learning_provenance"] == 3


async def test_copies_of_this_users_requests_go_too(world: World, era: str) -> None:
    await world.put("a", text="words to forget")
    await world.put("b", text="more words")
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="7") as caller:
        await caller.call("delete_request", request_id="a")
        done = await caller.call("delete_requests", **WHOLE)
    assert done["outcomes"] == {"deleted": ["b"], "erased_from_copies": ["a"]}
    folder = world.folder / "copies"
    assert not [one for one in folder.iterdir() if "words" in one.read_text(encoding="utf-8")]
