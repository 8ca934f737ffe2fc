"""get_request: what a request taught, which learnings its answers used, and how its session ended."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody, RetrievedLearning
from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import World, text_of
from tests.learnings.rows import merged

pytestmark = pytest.mark.anyio

VERDICTS = "/api/get_retrieved_learning_evaluation_results"
STATS = "/api/get_playbook_application_stats"


async def answered(world: World, *used: tuple[str, str]) -> int:
    """Store an answer that used these learnings; return the id of its interaction."""
    learnings = [RetrievedLearning.model_validate({"kind": kind, "learning_id": one}) for kind, one in used]
    body = PublishBody(
        user_id="ada",
        session_id="s",
        request_id="answer",
        interaction_data_list=[
            Interaction(role="Assistant", content="A salad without nuts", retrieved_learnings=learnings)
        ],
    )
    await world.rest.publish(body, minted=False)
    [interaction] = await world.interactions("answer")
    return interaction


async def read(world: World, request_id: str, **env: str) -> tuple[dict[str, Any], str]:
    async with world.connect(**env) as caller:
        result = await caller.result("get_request", request_id=request_id)
    assert not result.is_error, text_of(result)
    assert result.structured_content
    return result.structured_content, text_of(result)


def codes(facts: dict[str, Any]) -> dict[str, int | None]:
    return {one["code"]: one.get("number") for one in facts.get("facts", [])}


async def test_a_request_is_shown_with_what_its_own_words_taught(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.put("b", text="It has a cat in it")
    await world.learn("nuts", "a", "b", content="Cannot eat peanuts", quote="I cannot eat peanuts")
    await world.learn("cat", "a", "b", content="Has a cat", quote="It has a cat in it")
    await world.learn("what", "a", "b", content="Unclear")
    [interaction] = await world.interactions("a")
    facts, said = await read(world, "a")
    assert facts["learned"] == [
        {
            "learning_id": "profile:nuts",
            "state": "current",
            "content": "Cannot eat peanuts",
            "quote": "I cannot eat peanuts",
            "interaction_id": interaction,
        }
    ]
    assert codes(facts) == {"learned_beside": 1, "learned_here_perhaps": 1}
    assert f"learned from interaction {interaction}: profile:nuts" in said
    assert "quotes only other requests" in said


async def test_a_replaced_learning_is_shown_as_what_it_has_become(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.put("b", text="I love peanut butter")
    await world.learn("old", "a", content="Cannot eat", quote="I cannot eat peanuts", status="superseded")
    quote = merged("I cannot eat peanuts", "I love peanut butter")
    await world.learn("new", "a", "b", content="Loves peanuts", quote=quote)
    facts, _ = await read(world, "a")
    assert [one["learning_id"] for one in facts["learned"]] == ["profile:new"]


async def test_an_answer_is_shown_with_the_memory_behind_it_and_where_that_comes_from(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.learn("nuts", "a", content="Cannot eat peanuts", quote="I cannot eat peanuts")
    interaction = await answered(world, ("profile", "nuts"), ("profile", "gone"))
    key = {"kind": "profile", "learning_id": "nuts", "user_id": "ada", "interaction_id": interaction}
    world.backend.answering[VERDICTS] = {
        "success": True,
        "results": [{**key, "is_relevant": True, "relevance_reason": "about food", "impact": "positive"}],
    }
    world.backend.answering[STATS] = {
        "success": True,
        "stats": [{"kind": "profile", "real_id": "nuts", "applied_count": 3}],
    }
    facts, said = await read(world, "answer")
    known, gone = facts["used"]
    assert known["interaction_id"] == interaction
    assert known["learning"]["content"] == "Cannot eat peanuts"
    assert [one["request_id"] for one in known["learning"]["evidence"]] == ["a"]
    assert known["verdict"] == {
        "is_relevant": True,
        "relevance_reason": "about food",
        "impact": "positive",
    }
    assert known["applied"] == 3
    assert "learning" not in gone
    assert gone["learning_id"] == "profile:gone"
    assert "“I cannot eat peanuts” said by User · a interaction" in said
    assert "profile:gone · not found among what is stored for this user" in said


async def test_a_used_learning_that_was_replaced_names_its_successor(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.put("b", text="I love peanut butter")
    await world.learn("old", "a", content="Cannot eat", quote="I cannot eat peanuts", status="superseded")
    quote = merged("I cannot eat peanuts", "I love peanut butter")
    await world.learn("new", "a", "b", content="Loves peanuts", quote=quote)
    await answered(world, ("profile", "old"))
    facts, _ = await read(world, "answer")
    [used] = facts["used"]
    assert used["learning"]["state"] == "superseded"
    assert used["learning"]["replaced_by"]["content"] == "Loves peanuts"


async def test_another_users_learning_that_an_answer_names_is_not_shown(world: World) -> None:
    await world.put("c", user="bob", text="My key is under the mat")
    await world.learn("mat", "c", user="bob", content="Key under the mat", quote="My key is under the mat")
    await answered(world, ("profile", "mat"))
    facts, said = await read(world, "answer", REFLEXIO_USER_ID="ada")
    assert "under the mat" not in said + str(facts)


async def test_what_cannot_be_read_beside_a_request_is_said_and_the_request_is_shown(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await answered(world, ("profile", "nuts"))
    world.backend.failing["/api/get_user_playbooks"] = (0, 500)
    world.backend.failing["/api/get_session_outcomes"] = (0, 500)
    facts, said = await read(world, "answer")
    assert facts["interactions"]
    assert codes(facts) == {"beliefs_not_read": None, "outcomes_not_read": None}
    assert "could not be read" in said


async def test_a_masked_request_shows_no_text_of_its_learnings(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.learn("nuts", "a", content="Cannot eat peanuts", quote="I cannot eat peanuts")
    async with world.connect() as caller:
        result = await caller.result("get_request", request_id="a", detail="masked")
    assert result.structured_content
    assert [one["learning_id"] for one in result.structured_content["learned"]] == ["profile:nuts"]
    assert "peanuts" not in text_of(result) + str(result.structured_content)


async def test_a_key_in_an_outcome_is_redacted(world: World) -> None:
    await world.put("a")
    world.backend.outcomes, world.backend.outcome = {"s": "ada"}, GITHUB_TOKEN
    _, said = await read(world, "a")
    assert "ended: [redacted: github-pat]" in said


async def test_how_a_session_ended_is_shown_where_the_session_is(world: World) -> None:
    await world.put("a")
    await world.put("b", session="t", user="bob")
    world.backend.outcomes = {"s": "ada", "t": "bob"}
    async with world.connect() as caller:
        result = await caller.result("list_sessions")
        [of_ada] = (await caller.call("list_sessions", user_id="ada"))["sessions"]
    assert result.structured_content
    rows = {one["session_id"]: one for one in result.structured_content["sessions"]}
    assert rows["s"]["outcomes"] == [{"outcome": "success", "user_id": "ada"}]
    assert "ended: success (for user bob)" in text_of(result)
    assert of_ada["outcomes"] == [{"outcome": "success"}]
    facts, said = await read(world, "a")
    assert facts["outcomes"] == [{"outcome": "success"}]
    assert "session s · ended: success" in said


async def test_later_pages_of_the_page_show_only_how_the_sessions_of_their_user_ended(world: World) -> None:
    await world.put("a")
    await world.put("b", session="t")
    world.backend.outcomes = {"s": "bob", "t": "ada"}
    async with world.connect() as caller:
        first = await caller.call("explorer_data", view="rows", user_id="ada", limit=1)
        second = await caller.call("explorer_data", view="rows", cursor=first["cursor"])
    [t, s] = [*first["sessions"], *second["sessions"]]
    assert (t["session_id"], t["outcomes"][0]["outcome"]) == ("t", "success")
    assert (s["session_id"], s.get("outcomes", [])) == ("s", [])


async def test_a_request_with_many_learnings_keeps_its_answer_short(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts " * 20)
    for number in range(60):
        await world.learn(f"p{number}", "a", content=f"Fact {number} " * 20, quote="I cannot eat peanuts")
    facts, said = await read(world, "a")
    assert facts["interactions"][0]["content"].startswith("I cannot eat")
    assert 3 <= len(facts["learned"]) < 60
    assert codes(facts)["learned_here_more"] == 60 - len(facts["learned"])
    assert len(said) < 10_000
