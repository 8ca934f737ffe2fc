"""What a user may meet on the real server: every state of a learning, expert answers, thousands, a return."""

import sqlite3
import time
from contextlib import closing
from typing import Any

import anyio
import pytest

from reflexio_mcp.rest.models import Interaction
from tests.deletion.support import text_of
from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]

MANY = 3_000


def change(corner: Corner, statement: str, *values: Any) -> int:
    """Change rows in the server's own file, as no call of its API does; returns how many where that is known."""
    (path,) = (corner.server.home / ".reflexio" / "data").glob("*.db")
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        # The server's own function, without which its triggers fail: it prepares words for its search.
        connection.create_function("reflexio_unicode_lexical_index", -1, lambda text, *_: text)
        return connection.execute(statement, values).rowcount


def states(facts: dict[str, Any]) -> list[str]:
    return sorted(one["state"] for one in facts["learnings"])


async def oat_milk(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)


async def test_a_learning_is_found_and_goes_in_every_state_that_the_service_lists(corner: Corner) -> None:
    await oat_milk(corner)
    user = {"user_id": corner.name("ada")}

    async def generate_again() -> None:
        before = len(await corner.profiles())
        assert (await corner.ask("rerun_profile_generation", user))["success"]
        with anyio.fail_after(30):
            while len(await corner.profiles()) == before:  # noqa: ASYNC110 - nobody is told when it has learned
                await anyio.sleep(0.1)

    await generate_again()
    await corner.ask("upgrade_all_profiles", user)
    await generate_again()
    source = {"request_id": corner.name("a")}
    async with corner.connect() as caller:
        facts = await caller.call("list_learnings", **source)
        assert states(facts) == ["archived", "current", "pending"]
        assert {one["quotes"] for one in facts["learnings"]} == {"I take oat milk"}
        assert {one["source"] for one in facts["learnings"]} == {"recorded"}
        # The states that pass in a moment, and those that other calls of the API do not make of a profile alone.
        for state in ("archive_in_progress", "superseded", "merged", "expired"):
            changed = "UPDATE profiles SET status = ? WHERE user_id = ? AND status NOT IN ('archived')"
            assert change(corner, changed, state, user["user_id"]) == 1
            assert states(await caller.call("list_learnings", **source)) == sorted(
                ["archived", "current", state]
            )
        done = await caller.call("delete_request", **source, include_learnings=True)
    assert done["learned_deleted"]["profiles"] == 3
    assert not await corner.profiles()


async def test_a_profile_past_its_time_to_live_is_said_not_to_be_looked_for(corner: Corner) -> None:
    await oat_milk(corner)
    of_user = "profiles WHERE user_id = ?"
    assert change(
        corner, f"UPDATE {of_user.replace('WHERE', 'SET expiration_timestamp = 1 WHERE')}", corner.name("ada")
    )
    async with corner.connect() as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
    assert "profiles past their time to live are not listed and were not looked for" in done["survives"]
    assert change(corner, f"DELETE FROM {of_user}", corner.name("ada")) == 1


async def test_what_an_experts_answer_taught_is_found_by_every_turn_of_its_window(corner: Corner) -> None:
    corner.learn("in metric", playbook="Answer in metric units")
    await corner.say("a", "Hello")
    told = Interaction(role="Assistant", content="Ten miles", expert_content="16 km, in metric units")
    await corner.say("b", "How far is it?", told, force_extraction=True)
    async with corner.connect() as caller:
        [learned] = (await caller.call("list_learnings", request_id=corner.name("a")))["learnings"]
        assert learned["content"] == "Answer in metric units"
        assert learned["from_requests"] == [f"{corner.name('a')} (turn 1)", f"{corner.name('b')} (turn 1, 2)"]
        done = await caller.call("delete_request", request_id=corner.name("b"), include_learnings=True)
    assert "Reflexio names 1 other request, which stays, as a source of it" in done["survives"]
    assert not await corner.playbooks()


async def test_a_learning_comes_back_while_its_source_lives_as_was_said(corner: Corner) -> None:
    await oat_milk(corner)
    user = {"user_id": corner.name("ada")}
    async with corner.connect() as caller:
        done = await caller.call("delete_learnings", **user)
        assert "can be learned again" in done["survives"]
        assert not await corner.profiles()
        await corner.say("b", "Thank you", force_extraction=True)
        [back] = (await caller.call("list_learnings", **user))["learnings"]
        assert back["content"] == "Takes oat milk"
        assert back["learning_id"] not in done["deleted_ids"]
        for request in ("a", "b"):
            await caller.call("delete_request", request_id=corner.name(request))
        done = await caller.call("delete_learnings", **user)
        assert done["deleted_ids"] == [back["learning_id"]]
        assert "learned again" not in done["survives"]
        await corner.say("c", "Good morning", force_extraction=True)
    assert not await corner.profiles()


async def test_a_user_with_thousands_of_learnings(corner: Corner) -> None:
    await oat_milk(corner)
    await corner.say("b", "What is the weather?")
    [(turn,)] = [one.source_interaction_ids for one in await corner.profiles()]
    [other] = await corner.interactions("b")
    # Learning so many takes the server minutes: they are copies of the one that it learned.
    columns = "user_id, content, last_modified_timestamp, generated_from_request_id, source_span"
    change(
        corner,
        f"""
        WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < ?)
        INSERT INTO profiles (profile_id, {columns}, source_interaction_ids)
        SELECT 'copy-' || i || '-' || ?, {columns}, '[' || iif(i % 100, ?, ?) || ']' FROM profiles, counter
        WHERE user_id = ?
        """,
        MANY,
        corner.tag,
        other,
        turn,
        corner.name("ada"),
    )
    async with corner.connect(CONFIRM="preview", DELETE_CAP="0") as caller:
        seen: list[str] = []
        page = await caller.call("list_learnings", user_id=corner.name("ada"), limit=100)
        assert page["total"] == MANY
        for _ in range(2):
            seen += [one["learning_id"] for one in page["learnings"]]
            page = await caller.call(
                "list_learnings", user_id=corner.name("ada"), limit=100, cursor=page["cursor"]
            )
        assert len(set(seen)) == len(seen)
        plan = await caller.result("delete_request", request_id=corner.name("a"), include_learnings=True)
        assert plan.structured_content
        assert plan.structured_content["plan"]["learned"]["profiles"] == MANY // 100
        assert f"{MANY // 100 - 5} more" in text_of(plan)
        done = await caller.call(
            "delete_request",
            request_id=corner.name("a"),
            include_learnings=True,
            confirm=plan.structured_content["confirm"],
        )
        assert done["learned_deleted"]["profiles"] == MANY // 100
        assert len(await corner.profiles()) == MANY - MANY // 100
        done = await caller.confirmed("delete_learnings", user_id=corner.name("ada"))
    assert done["deleted"] == MANY - MANY // 100
    assert not await corner.profiles()


async def test_what_no_call_removes_is_there_after_everything_of_a_user_went(corner: Corner) -> None:
    """Each kind that the receipt names is looked for where the server keeps it."""
    corner.model.failure_reason = "It forgot the oat milk"
    corner.learn("in metric", playbook="Answer in metric units")
    await oat_milk(corner)
    await corner.say("b", "Always answer in metric units", force_extraction=True, agent_version="1")
    session = {"session_id": corner.name("s")}
    outcome = {**session, "outcome": "success", "occurred_at": int(time.time())}
    assert (await corner.ask("session_outcome", outcome))["recorded"]
    graded = await corner.ask("evaluations/grade_on_demand", {**session, "agent_version": "1"})
    assert graded["result_id"], graded
    before = corner.kept()
    async with corner.connect() as caller:
        done = await caller.call(
            "delete_requests", user_id=corner.name("ada"), include_learnings=True, erase=True
        )
        listed = await caller.call("list_learnings", user_id=corner.name("ada"))
    assert done["status"] == "complete"
    assert done["session_outcomes_left"] == 0
    assert listed["total"] == 0
    # Of all that is tied to the user by name these are left, and each is named.
    assert before.keys() >= {"profiles", "user_playbooks", "interactions", "requests", "session_outcomes"}
    left = ("agent_success_evaluation_result", "_agent_runs")
    assert corner.kept() == {table: before[table] for table in left}
    assert "evaluations and verdicts of sessions" in done["survives"]
    assert "own run records, which hold conversations word for word" in done["survives"]
    assert "no longer listed or searchable, but not gone everywhere" in done["survives"]
    evaluations = await corner.ask("get_agent_success_evaluation_results", {"limit": 100})
    assert "It forgot the oat milk" in str(evaluations)


async def test_an_agent_playbook_made_from_two_users_is_named_without_the_others_words(
    corner: Corner,
) -> None:
    corner.learn("in metric", playbook="Answer in metric units")
    for user, said in (("ada", "In metric please"), ("bob", "Bob's secret: in metric")):
        await corner.say(f"of-{user}", said, user=user, session=user, force_extraction=True)
    [hers], [his] = await corner.playbooks(), await corner.playbooks("bob")
    # Reflexio makes them with scikit-learn, which its server here goes without: stored by its own call, and its
    # sources are written as it writes them.
    row = {"agent_version": "v1", "content": "Use metric units", "playbook_name": corner.name("units")}
    assert (await corner.ask("add_agent_playbook", {"agent_playbooks": [row]}))["success"]
    made = max(one.agent_playbook_id for one in await corner.rest.get_agent_playbooks())
    link = (
        "INSERT INTO agent_playbook_source_user_playbooks "
        "(agent_playbook_id, user_playbook_id, source_interaction_ids) VALUES (?, ?, ?)"
    )
    for source in (hers, his):
        turns = str(source.source_interaction_ids)
        change(corner, link, made, source.user_playbook_id, turns)
    raw = await corner.ask("get_learning_provenance", {"kind": "agent_playbook", "id": str(made)})
    assert raw["provenance_status"] == "exact"
    assert "Bob's secret" in str(raw)
    everything = {"user_id": corner.name("ada"), "include_learnings": True, "erase": True}
    async with corner.connect(CONFIRM="preview") as caller:
        plan = await caller.result("delete_requests", **everything)
        assert plan.structured_content
        done = await caller.result(
            "delete_requests", **everything, confirm=plan.structured_content["confirm"]
        )
    for told in (plan, done):
        assert f"1 agent playbook names playbooks of this user as a source: {made}." in text_of(told)
        assert "secret" not in text_of(told) + str(told.structured_content)
        assert corner.name("bob") not in text_of(told) + str(told.structured_content)
    assert [one.content for one in await corner.playbooks("bob")] == ["Answer in metric units"]
