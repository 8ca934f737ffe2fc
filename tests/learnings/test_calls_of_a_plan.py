"""How many calls of Reflexio a plan with learnings makes, as benchmarks/plans.md says."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from tests.deletion.support import Known, World

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "benchmarks" / "plans.md").read_text(encoding="utf-8")

PLANS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("delete_request", {"request_id": "r5"}),
    ("delete_session", {"session_id": "s0"}),
    ("delete_requests", {"user_id": "ada"}),
    ("delete_requests", {"user_id": "ada", "erase": True}),
)
"""The columns of the table."""

ROW = re.compile(
    r"^\| ([\d,]+) in ([\d,]+) \| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE
)

ROWS = [tuple(int(cell.replace(",", "")) for cell in row) for row in ROW.findall(PAGE)]
"""Requests, sessions, learnings, and the calls of each plan."""


async def filled(world: World, requests: int, sessions: int, learnings: int) -> None:
    """A user with sessions, and learnings each from a window of ten interactions."""
    for number in range(requests):
        world.clock.now += 1
        body = PublishBody(
            user_id="ada",
            session_id=f"s{number * sessions // requests}",
            request_id=f"r{number}",
            interaction_data_list=[Interaction(content=f"I like number {number}")],
        )
        await world.rest.publish(body, minted=False)
    for number in range(learnings):
        first = number * 10
        world.backend.profiles[f"p{number}"] = Known(
            "ada",
            f"r{first + 9}",
            tuple(range(first + 1, first + 11)),  # ids of interactions begin at 1
            None,
            f"Likes {first}",
            f"I like number {first}",
        )


async def calls_of(world: World, tool: str, asked: Mapping[str, object]) -> int:
    async with world.connect(DELETE_CAP="5000") as caller:
        world.rest.session_bytes.clear()  # nothing was read before
        world.backend.calls.clear()
        assert (await caller.plan(tool, **asked, include_learnings=True))["status"] == "planned"
        return world.backend.calls.total()


def test_the_table_has_a_row_of_a_thousand_requests_with_a_hundred_learnings() -> None:
    assert len(ROWS) == 3
    large = [row for row in ROWS if (row[0], row[2]) == (1_000, 100)]
    assert len(large) == 2
    for row in large:
        *plans, erasure = row[3:]
        assert max(plans) <= 7
        assert erasure <= 8


@pytest.mark.parametrize("row", ROWS)
async def test_a_plan_makes_as_many_calls_as_the_table_says(world: World, row: tuple[int, ...]) -> None:
    requests, sessions, learnings, *calls = row
    await filled(world, requests, sessions, learnings)
    assert [await calls_of(world, tool, asked) for tool, asked in PLANS] == calls
