"""What tools show of a memory on the real server: evidence, what replaced what, and the memory behind an answer."""

import time

import pytest

from reflexio_mcp.rest.models import Interaction, RetrievedLearning
from tests.support.real_learning import Corner
from tests.support.stories import CAT, chain_story, peanut_story

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_each_learning_of_a_shared_window_names_only_the_request_that_taught_it(corner: Corner) -> None:
    await peanut_story(corner, merged=False)
    async with corner.connect() as caller:
        page = await caller.call("list_learnings", user_id=corner.name("ada"))
    said = {
        one["content"]: {each["request_id"] for each in one["evidence"]}
        for one in page["learnings"]
        if one["learning_id"].startswith("profile:")
    }
    assert said == {
        "Cannot eat peanuts": {corner.name("real-1")},
        "Favourite colour: test-blue": {corner.name("blue")},
        "Has a cat": {corner.name("real-2")},
        "Loves peanut butter": {corner.name("butter")},
    }
    assert all("from_requests" not in one for one in page["learnings"])


async def test_a_merged_fact_shows_what_each_conversation_said_and_what_it_replaced(corner: Corner) -> None:
    await chain_story(corner)
    async with corner.connect() as caller:
        page = await caller.call("list_learnings", user_id=corner.name("ada"))
    current, *replaced = page["learnings"]
    assert [each["request_id"] for each in current["evidence"]] == [
        corner.name(f"sugar-{number}") for number in (2, 1, 0)
    ]
    assert [one["content"] for one in current["replaced"]] == [
        "Takes sugar, as said 2 times",
        "Says about sugar: I take sugar in my tea",
    ]
    assert {one["replaced_by"]["content"] for one in replaced} == {"Takes sugar, as said 3 times"}
    assert current["known_since"] <= current["changed_at"]


async def test_one_call_says_which_memory_shaped_an_answer_and_where_it_comes_from(corner: Corner) -> None:
    await peanut_story(corner, merged=True)
    profiles = {one.content: one.profile_id for one in await corner.profiles()}
    used = [
        RetrievedLearning(kind="profile", learning_id=profiles[text])
        for text in ("Has a cat", "Cannot eat peanuts")
    ]
    answer = Interaction(role="Assistant", content="A cake for you and the cat", retrieved_learnings=used)
    await corner.say("answer", answer, session="real")
    body = {"user_id": corner.name("ada"), "session_id": corner.name("real"), "outcome": "success"}
    await corner.ask("session_outcome", body | {"occurred_at": int(time.time())})
    async with corner.connect() as caller:
        found = await caller.call("get_request", request_id=corner.name("answer"))
        taught = await caller.call("get_request", request_id=corner.name("real-2"))
        sessions = await caller.call("list_sessions", user_id=corner.name("ada"))
    cat, nuts = found["used"]
    assert [(one["quote"], one["request_id"]) for one in cat["learning"]["evidence"]] == [
        (CAT, corner.name("real-2"))
    ]
    assert nuts["learning"]["state"] == "superseded"
    assert nuts["learning"]["replaced_by"]["content"] == "Loves peanuts"
    assert [one["quote"] for one in nuts["learning"]["evidence"]] == ["I cannot eat peanuts"]
    assert [one["content"] for one in taught["learned"]] == ["Has a cat"]
    assert [one["outcome"] for one in found["outcomes"]] == ["success"]
    outcomes = {one["session_id"]: one.get("outcomes", []) for one in sessions["sessions"]}
    assert [one["outcome"] for one in outcomes[corner.name("real")]] == ["success"]
    assert outcomes[corner.name("ci-run-7")] == []
    assert "verdicts_not_read" not in {one["code"] for one in found.get("facts", [])}
