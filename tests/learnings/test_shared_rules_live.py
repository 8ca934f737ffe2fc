"""Shared rules that the real server makes from the playbooks of several users, by both ways of making them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.rest.models import AgentPlaybook
from tests.deletion.support import Caller
from tests.support.facts import fact_of
from tests.support.real_learning import Corner, LearningReflexio, corner_of
from tests.support.scripted_model import AGGREGATION

pytestmark = [pytest.mark.anyio, pytest.mark.live]

SECONDS = 180
"""How long an automatic run is waited for: it looks every 10 s whether one is due, and for a new
version once a minute."""


@pytest.fixture
async def corner(
    sharing_reflexio: LearningReflexio, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Corner]:
    async with corner_of(sharing_reflexio, live_transport()) as corner:
        yield corner


async def taught(corner: Corner, *, skip_aggregation: bool) -> str:
    """Let two people ask for the same, and return the text of the rule that comes from it."""
    text = f"Answer in metric units {corner.tag}"
    corner.learn(f"use metric {corner.tag}", playbook=text)
    for user in ("ada", "bob"):
        await corner.say(
            f"of-{user}",
            f"Please use metric {corner.tag}",
            user=user,
            session=f"of-{user}",
            agent_version=corner.tag,
            force_extraction=True,
            skip_aggregation=skip_aggregation,
        )
    return text


async def current(corner: Corner, text: str) -> list[AgentPlaybook]:
    return [rule for rule in await corner.rest.get_agent_playbooks() if rule.content == text]


async def made_by_itself(corner: Corner, text: str) -> list[AgentPlaybook]:
    """Wait for the next automatic run, and return the rules that it has made."""
    corner.model.asked.clear()
    await anyio.to_thread.run_sync(corner.model.wait_for, AGGREGATION, corner.tag, SECONDS)
    with anyio.fail_after(SECONDS):
        while not (found := await current(corner, text)):
            await anyio.lowlevel.checkpoint()
    return found


async def shown(caller: Caller, text: str, **asked: Any) -> list[dict[str, Any]]:
    page = await caller.call("list_learnings", shared=True, limit=100, **asked)
    return [rule for rule in page.get("shared_rules", []) if rule["content"] == text]


async def run(corner: Corner) -> None:
    """Let the server make shared rules now."""
    reply = await corner.ask("run_playbook_aggregation", {"agent_version": corner.tag})
    assert reply["success"], reply


async def decide(caller: Caller, decision: str, *rules: AgentPlaybook) -> dict[str, Any]:
    ids = [f"agent_playbook:{rule.agent_playbook_id}" for rule in rules]
    receipt = await caller.confirmed("decide_shared_rules", rule_ids=ids, decision=decision)
    assert receipt["status"] == "complete", receipt["text"]
    return receipt


async def test_a_rule_of_a_run_that_was_asked_for_names_its_sources_and_returns_until_they_go(
    corner: Corner,
) -> None:
    text = await taught(corner, skip_aggregation=True)
    await run(corner)
    [rule] = await current(corner, text)
    people = [corner.name("ada"), corner.name("bob")]
    async with corner.connect(CONFIRM="preview") as operator:
        [row] = await shown(operator, text)
        assert (row["approval"], row["users"], row["playbooks"]) == ("pending", people, 2)
        assert [(one["user_id"], one["requests"]) for one in row["sources"]] == [
            (person, [corner.name(f"of-{user}")]) for person, user in zip(people, ("ada", "bob"), strict=True)
        ]
        assert await shown(operator, text, user_id=corner.name("carol")) == []
        async with corner.connect(REFLEXIO_USER_ID=people[0]) as person:
            [own] = await shown(person, text)
        assert [one["user_id"] for one in own["sources"]] == people[:1]
        assert people[1] not in str(own)

        assert (await decide(operator, "reject", rule))["corrected"] == 1
        assert [one.playbook_status for one in await current(corner, text)] == ["rejected"]
        await run(corner)
        [returned] = await current(corner, text)
        assert returned.playbook_status == "pending"
        assert returned.agent_playbook_id != rule.agent_playbook_id

        await decide(operator, "delete", returned)
        assert await current(corner, text) == []
        await run(corner)
        assert len(await current(corner, text)) == 1

        receipt = await operator.confirmed(
            "delete_requests", user_id=people[0], include_learnings=True, erase=True
        )
        [named] = [one for one in receipt["shared_rules"] if one["content"] == text]
        assert (named["users"], len(named["sources"])) == (people, 2)
        [left] = await shown(operator, text)
        assert left["users"] == people[1:]
        await operator.confirmed("delete_requests", user_id=people[1], include_learnings=True, erase=True)
        await decide(operator, "delete", *await current(corner, text))
        await run(corner)
        assert await current(corner, text) == []


async def test_a_rule_of_an_automatic_run_says_nothing_of_its_sources_and_is_decided_on(
    corner: Corner,
) -> None:
    text = await taught(corner, skip_aggregation=False)
    [rule] = await made_by_itself(corner, text)
    async with corner.connect(CONFIRM="preview") as operator:
        [row] = await shown(operator, text)
        assert (row["traced"], row.get("users"), row["approval"]) == (False, None, "pending")
        async with corner.connect(REFLEXIO_USER_ID=corner.name("ada")) as person:
            page = await person.call("list_learnings", shared=True)
            assert page["total"] == 0
            assert (fact_of(page, "shared_rules_untraced") or {})["number"] >= 1
        assert (await decide(operator, "approve", rule))["corrected"] == 1
        [approved] = await current(corner, text)
        assert (approved.agent_playbook_id, approved.playbook_status) == (rule.agent_playbook_id, "approved")
        for decision, status in (("reject", "rejected"), ("approve", "approved")):  # each undoes the other
            await decide(operator, decision, rule)
            assert [one.playbook_status for one in await current(corner, text)] == [status]
        receipt = await decide(operator, "delete", rule)
        assert receipt["deleted"] == {"shared_rules": 1}
        assert receipt["way_back"]["state"] == "off"
        assert rule.agent_playbook_id not in {one.agent_playbook_id for one in await current(corner, text)}
        await made_by_itself(corner, text)
