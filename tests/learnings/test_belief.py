"""What our code says of evidence, lineage and cases, against the real server and its own table."""

import pytest

from reflexio_mcp.rest.models import RequestQuery
from reflexio_mcp.traffic.learnings.cases import Case, Only, Partly, Replace, Window, judge
from reflexio_mcp.traffic.learnings.evidence import Turn, Turns, evidence_of
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning, learning_of
from tests.support.real_learning import Corner
from tests.support.stories import chain_story, peanut_story, recorded_replacements

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def learnings(corner: Corner) -> list[Learning]:
    return [learning_of(row) for row in (*await corner.profiles(), *await corner.playbooks())]


async def turns(corner: Corner) -> Turns:
    page = await corner.rest.get_requests(RequestQuery(user_id=corner.name("ada"), top_k=100))
    items = [item for group in page.sessions for item in group.requests]
    return Turns(
        {
            one.interaction_id: Turn(item.request, place, one)
            for item in items
            for place, one in enumerate(item.interactions, 1)
        }
    )


async def judged(corner: Corner, *request_ids: str) -> dict[tuple[str, str, str], Case]:
    """The case of each learning, by kind, state and text, if these requests are deleted."""
    found = await learnings(corner)
    inside = await corner.interactions(*request_ids)
    lineage, stored = Lineage(found), await turns(corner)
    # An unchanged playbook has several ids in its chain, all of the same state and text.
    return {(one.kind, one.state, one.content): judge(one, lineage, stored, inside) for one in found}


async def check_lineage(corner: Corner) -> int:
    """Compare every replaced learning with the table; return how many there are."""
    found = await learnings(corner)
    lineage = Lineage(found)
    stored = {(one.kind, one.number) for one in found}
    replaced = [one for one in found if one.is_replaced]
    for one in replaced:
        recorded = recorded_replacements(corner)[one.kind, one.number]
        direct = {number for number in recorded if (one.kind, number) in stored}
        assert lineage.successors(one)[0].number in direct
    assert {one.number for one in found if lineage.successors(one)} == {one.number for one in replaced}
    return len(replaced)


async def test_in_a_window_that_nothing_merged_only_what_the_test_run_says_goes(corner: Corner) -> None:
    await peanut_story(corner, merged=False)
    cases = await judged(corner, "ping", "blue", "butter")
    assert {text: type(case) for (kind, _, text), case in cases.items() if kind == "profile"} == {
        "Cannot eat peanuts": Window,
        "Favourite colour: test-blue": Only,
        "Has a cat": Window,
        "Loves peanut butter": Only,
    }
    assert await check_lineage(corner) == 1


async def test_a_fact_that_a_test_run_merged_away_comes_back(corner: Corner) -> None:
    await peanut_story(corner, merged=True)
    cases = await judged(corner, "ping", "blue", "butter")
    case = cases["profile", "current", "Loves peanuts"]
    assert isinstance(case, Replace)
    assert [one.content for one in case.earlier] == ["Cannot eat peanuts"]
    assert isinstance(cases["profile", "superseded", "Cannot eat peanuts"], Window)
    assert isinstance(cases["profile", "current", "Has a cat"], Window)
    assert isinstance(cases["profile", "current", "Favourite colour: test-blue"], Only)
    assert await check_lineage(corner) == 2


async def test_of_a_chain_of_three_the_newest_without_the_test_run_comes_back(corner: Corner) -> None:
    await chain_story(corner)
    case = (await judged(corner, "sugar-2"))["profile", "current", "Takes sugar, as said 3 times"]
    assert isinstance(case, Replace)
    assert [one.content for one in case.earlier] == ["Takes sugar, as said 2 times"]
    first = (await judged(corner, "sugar-0"))["profile", "current", "Takes sugar, as said 3 times"]
    assert isinstance(first, Partly)
    assert await check_lineage(corner) == 2


async def test_each_request_that_a_merged_profile_quotes_is_found(corner: Corner) -> None:
    await chain_story(corner)
    stored = await turns(corner)
    [current] = [one for one in await learnings(corner) if one.state == "current"]
    evidence = evidence_of(current, stored)
    assert {turn.request_id for turn in evidence.quoted_turns} == {
        corner.name(f"sugar-{number}") for number in range(3)
    }
    assert evidence.is_complete


async def test_a_playbook_whose_id_changes_is_followed_to_the_current_one(corner: Corner) -> None:
    corner.learn("in metric", playbook="Use metric")
    await corner.say("a", "Answer in metric", force_extraction=True)
    [first] = await learnings(corner)
    for number in range(3):
        await corner.say(f"b{number}", f"What is the weather in town {number}?", force_extraction=True)
    found = await learnings(corner)
    [current] = Lineage(found).current_successors(first)
    assert (current.state, current.content) == ("current", "Use metric")
    assert current.number != first.number
    assert await check_lineage(corner) == 3
