"""Deletions on the real server after it has learned: what the plan says, what goes, and what is true afterwards."""

import time
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.rest.models import LearningStatus, RequestQuery
from tests.deletion.support import Caller
from tests.support.real_learning import Corner
from tests.support.scripted_model import MERGE, PROFILES

pytestmark = [pytest.mark.anyio, pytest.mark.live]

NOTHING = "No profile or user playbook was learned from it."


async def a_lane_and_its_window(corner: Corner) -> None:
    """A fact in the first of three requests; the third closes the window."""
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    await corner.say("a", "I live at 12 Secret Lane")
    await corner.say("b", "What is the weather?")
    await corner.say("c", "Thank you", force_extraction=True)


async def test_what_the_first_request_of_a_window_taught_goes_with_it(corner: Corner) -> None:
    await a_lane_and_its_window(corner)
    async with corner.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id=corner.name("a"))
        assert NOTHING not in plan["survives"]
        assert plan["plan"]["learned"]["profiles"] == 1
        assert plan["plan"]["learned"]["other_requests"] == 2
        done = await caller.confirmed("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert done["status"] == "complete"
    assert done["learned_deleted"]["profiles"] == 1
    assert not await corner.profiles()


async def test_what_is_generated_anew_meanwhile_does_not_bring_it_back(corner: Corner) -> None:
    await a_lane_and_its_window(corner)
    asked = len(corner.model.asked)
    deleted = dict[str, Any]()

    def asked_anew() -> bool:
        return any(one.schema == PROFILES for one in corner.model.asked[asked:])

    async with corner.connect() as caller, anyio.create_task_group() as tasks:
        with corner.model.holding(PROFILES):
            user = {"user_id": corner.name("ada")}
            assert (await corner.ask("rerun_profile_generation", user))["success"]
            with anyio.fail_after(30):
                while not asked_anew():  # noqa: ASYNC110 - the model tells nobody in this task
                    await anyio.sleep(0.1)

            async def delete() -> None:
                deleted.update(
                    await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
                )

            tasks.start_soon(delete)
            with anyio.fail_after(30):
                while await corner.interactions("a"):  # noqa: ASYNC110 - so does the server
                    await anyio.sleep(0.1)
    assert deleted["status"] == "complete"
    assert deleted["learned_deleted"]["profiles"] == 2
    assert not await corner.profiles()


async def test_the_list_names_the_turns_that_taught_something(corner: Corner) -> None:
    await a_lane_and_its_window(corner)
    async with corner.connect() as caller:
        facts = await caller.call("list_learnings", request_id=corner.name("a"))
    [learned] = facts["learnings"]
    assert learned["content"] == "Lives at 12 Secret Lane"
    assert learned["quotes"] == "I live at 12 Secret Lane"
    assert learned["from_requests"] == [f"{corner.name(one)} (turn 1)" for one in ("a", "b", "c")]


async def test_what_stays_is_counted_and_the_sentence_is_true(corner: Corner) -> None:
    await a_lane_and_its_window(corner)
    async with corner.connect() as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"))
        assert done["learned_left"]["profiles"] == 1
        assert len(await corner.profiles()) == 1
        later = await corner.say("d", "Something else", force_extraction=True)
        assert later.learning_status == "done"
        done = await caller.call("delete_request", request_id=corner.name("d"))
    assert done["survives"].startswith(NOTHING)


async def test_a_playbook_is_found_by_the_turn_it_cites(corner: Corner) -> None:
    corner.learn("in metric", playbook="Answer in metric units")
    await corner.say("a", "Always answer in metric units")
    await corner.say("b", "Thank you", force_extraction=True)
    [playbook] = await corner.playbooks()
    assert playbook.request_id == corner.name("b")
    async with corner.connect() as caller:
        done = await caller.call("delete_request", request_id=corner.name("b"), include_learnings=True)
        assert done["survives"].startswith(NOTHING)
        assert len(await corner.playbooks()) == 1
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert done["learned_deleted"]["user_playbooks"] == 1
    assert not await corner.playbooks()


async def test_two_users_of_one_session_lose_what_was_learned_from_each(corner: Corner) -> None:
    corner.learn("I am Ada", profile="Is called Ada")
    corner.learn("I am Bob", profile="Is called Bob")
    await corner.say("a", "Hello, I am Ada", user="ada", force_extraction=True)
    await corner.say("b", "Hello, I am Bob", user="bob", force_extraction=True)
    async with corner.connect(REFLEXIO_USER_ID=corner.name("ada")) as caller:
        done = await caller.call("delete_session", session_id=corner.name("s"), include_learnings=True)
    assert done["learned_deleted"]["profiles"] == 1
    assert not await corner.profiles("ada")
    assert len(await corner.profiles("bob")) == 1
    async with corner.connect() as caller:
        done = await caller.call("delete_session", session_id=corner.name("s"), include_learnings=True)
    assert done["learned_deleted"]["profiles"] == 1
    assert not await corner.profiles("bob")


async def test_a_merge_and_what_it_superseded_both_go(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk")
    corner.learn("two sugars", profile="Takes two sugars in the milk")
    corner.model.merges["milk"] = "Takes oat milk and two sugars"
    await corner.say("a", "I take oat milk", force_extraction=True)
    await corner.say("b", "And two sugars", session="t", force_extraction=True)
    stored = await corner.profiles()
    assert [one.content for one in stored if one.status is None] == ["Takes oat milk and two sugars"]
    assert "Takes oat milk" in [one.content for one in stored if one.status == "superseded"]
    async with corner.connect() as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert done["learned_deleted"]["profiles"] == len(stored)
    assert not await corner.profiles()


async def test_a_profile_that_was_forgotten_in_conversation_still_holds_its_text_and_goes(
    corner: Corner,
) -> None:
    corner.learn("oat milk", profile="Takes oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)
    corner.model.rules.clear()
    corner.learn("forget my drink", forget="oat milk")
    await corner.say("b", "Please forget my drink", force_extraction=True)
    [profile] = await corner.profiles()
    assert (profile.status, profile.content) == ("superseded", "Takes oat milk")
    async with corner.connect() as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert done["learned_deleted"]["profiles"] == 1
    assert not await corner.profiles()


async def test_a_request_that_is_deleted_while_it_is_learned_from_leaves_nothing(corner: Corner) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
    with corner.model.holding(PROFILES):
        reply = await corner.say("a", "I live at 12 Secret Lane", force_extraction=True, wait=False)
        assert reply.learning_status == "deferred"
        await anyio.to_thread.run_sync(corner.model.wait_for, PROFILES, "12 Secret Lane")
        async with corner.connect() as caller:
            done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert done["status"] == "complete"
    assert not await corner.profiles()


async def test_a_merge_under_way_is_waited_for_and_its_profile_goes_too(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner.learn("oat milk", profile="Takes oat milk")
    corner.learn("two sugars", profile="Takes two sugars in the milk")
    corner.model.merges["milk"] = "Takes oat milk and two sugars"
    await corner.say("a", "I take oat milk", force_extraction=True)
    waiting = anyio.Event()
    ask = corner.rest.learning_status

    async def watched(request_id: str) -> LearningStatus:
        status = await ask(request_id)
        if status.status == "processing":
            waiting.set()
        return status

    monkeypatch.setattr(corner.rest, "learning_status", watched)
    done: dict[str, Any] = {}

    async def delete(caller: Caller) -> None:
        done.update(await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True))

    async with corner.connect() as caller, anyio.create_task_group() as tasks:
        with corner.model.holding(MERGE):
            await corner.say("b", "And two sugars", session="t", force_extraction=True, wait=False)
            await anyio.to_thread.run_sync(corner.model.wait_for, MERGE, "Takes two sugars in the milk")
            tasks.start_soon(delete, caller)
            await waiting.wait()
            assert not done, "the receipt came while a merge was under way"
    assert done["status"] == "complete"
    assert "still learning" not in done["survives"]
    assert not [one.content for one in await corner.profiles() if "oat" in one.content]


async def test_one_turn_goes_with_what_it_fed_and_its_request_stays(corner: Corner) -> None:
    corner.learn("in metric", playbook="Answer in metric units")
    corner.learn("Secret Lane", playbook="Write to 12 Secret Lane")
    await corner.say("a", "Always answer in metric units", "Write to 12 Secret Lane", force_extraction=True)
    metric, lane = await corner.interactions("a")
    assert len(await corner.playbooks()) == 2
    async with corner.connect() as caller:
        wanted = {"request_id": corner.name("a"), "include_learnings": True}
        done = await caller.call("delete_request", **wanted, interaction_ids=[lane])
        assert done["learned_deleted"]["user_playbooks"] == 1
        assert await corner.interactions("a") == [metric]
        assert [one.content for one in await corner.playbooks()] == ["Answer in metric units"]
        done = await caller.call("delete_request", **wanted, interaction_ids=[metric])
        assert done["survives"].startswith("The request is empty now and stays")
        shown = await caller.call("get_request", request_id=corner.name("a"))
    assert shown["interactions"] == []
    assert not await corner.playbooks()


async def test_everything_of_a_user_goes_and_each_place_is_empty_afterwards(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk")
    corner.learn("two sugars", profile="Takes two sugars in the milk")
    corner.learn("in metric", playbook="Answer in metric units")
    corner.model.merges["milk"] = "Takes oat milk and two sugars"
    await corner.say("a", "I take oat milk, always answer in metric", force_extraction=True)
    await corner.say("b", "And two sugars", session="t", force_extraction=True)
    await corner.say("c", "Somebody else takes oat milk", user="bob", force_extraction=True)
    async with httpx.AsyncClient(
        base_url=corner.server.url, headers={"User-Agent": "reflexio-mcp/test"}
    ) as raw:
        said = {"session_id": corner.name("s"), "outcome": "success", "occurred_at": int(time.time())}
        assert (await raw.post("/api/session_outcome", json=said)).json()["recorded"]
    stored = await corner.profiles()
    assert "superseded" in [one.status for one in stored]
    # The request that taught some of it is long gone.
    await corner.rest.delete_request(corner.name("a"))
    wanted = {"user_id": corner.name("ada"), "include_learnings": True, "erase": True}
    async with corner.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_requests", **wanted)
        assert plan["plan"]["requests"] == 1
        assert plan["plan"]["session_outcomes"] == 1
        assert plan["plan"]["learned"]["profiles"] == len(stored)
        done = await caller.call("delete_requests", **wanted, confirm=plan["confirm"])
        assert done["status"] == "complete", done
        assert (await caller.call("list_learnings", user_id=corner.name("ada")))["learnings"] == []
    assert "Nothing of this user is listed any more" in done["survives"]
    assert done["learned_deleted"]["profiles"] == len(stored)
    assert not await corner.profiles()
    assert not await corner.playbooks()
    assert not await corner.rest.get_session_outcomes(corner.name("ada"))
    page = await corner.rest.get_requests(RequestQuery(user_id=corner.name("ada")))
    assert not page.sessions
    assert await corner.profiles("bob")
