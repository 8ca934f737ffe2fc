"""Shared rules are shown to operators with what they rest on, and to a person as far as they rest on theirs."""

import pytest

from tests.deletion.support import World
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def test_an_operator_sees_what_each_shared_rule_rests_on_and_how_often_it_was_applied(
    world: World,
) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob", "bob"], 2: []}
    async with world.connect() as caller:
        page = await caller.call("list_learnings", shared=True)
    untraced, traced = page["shared_rules"]
    assert (traced["rule_id"], traced["content"], traced["approval"]) == (
        "agent_playbook:1",
        "rule 1",
        "pending",
    )
    assert (traced["users"], traced["playbooks"], traced["applied"]) == (["ada", "bob"], 3, 4)
    assert (untraced["traced"], untraced.get("users")) == (False, None)
    assert "rests on 3 playbooks of ada, bob" in page["text"] or fact_of(page, "shared_rules_return")


async def test_a_person_sees_the_rules_that_rest_on_theirs_and_nobody_else(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"], 3: []}
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        page = await caller.call("list_learnings", shared=True)
    assert page["total"] == 1
    [rule] = page["shared_rules"]
    assert rule["content"] == "rule 1"
    assert "bob" not in str(page)
    assert (fact_of(page, "shared_rules_untraced") or {})["number"] == 1


async def test_shared_rules_are_selected_by_no_filter_of_requests(world: World) -> None:
    async with world.connect() as caller:
        said = await caller.refused("list_learnings", shared=True, session_id="s")
    assert "can be combined with user_id alone" in said
