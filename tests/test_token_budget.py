"""The tool list is paid for in every conversation: it has to stay small, and findable by everyday words."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from benchmarks.counting import LIST_BUDGET, SEEN_BUDGET, SEEN_IN_ALL, count, per_tool
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered
from tests.support.stdio import environment, open_session

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tools(tmp_path: Path) -> list[dict[str, Any]]:
    async with open_session("2026-07-28", env=environment(tmp_path)) as session:
        return await session.list_tools()


async def test_the_whole_tool_list_stays_within_its_budget(tools: list[dict[str, Any]]) -> None:
    assert count({"tools": tools}) <= LIST_BUDGET


async def test_what_a_model_is_given_of_a_tool_stays_within_its_budget(tools: list[dict[str, Any]]) -> None:
    costs = per_tool(tools)
    assert mean(tool.seen for tool in costs) <= SEEN_BUDGET, costs


def test_everything_that_can_be_offered_stays_within_both_budgets() -> None:
    tools = [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": tool.parameters,
            "outputSchema": tool.output_schema,
            "annotations": tool.annotations.model_dump(by_alias=True, exclude_none=True)
            if tool.annotations
            else {},
        }
        for tool in offered(Settings(recovery_days=1, url="https://reflexio.example"))
    ]
    assert count({"tools": tools}) <= LIST_BUDGET
    assert sum(tool.seen for tool in per_tool(tools)) <= SEEN_IN_ALL


async def test_tools_are_found_by_the_words_people_use(tools: list[dict[str, Any]]) -> None:
    said = " ".join(tool["name"] + " " + tool["description"] for tool in tools).lower()
    missing = [word for word in ("forget", "remember", "clean up", "conversation") if word not in said]
    assert not missing


def test_a_text_is_counted_as_the_encoding_does() -> None:
    # Known values of cl100k_base.
    assert count("hello world") == 2
    assert count("antidisestablishmentarianism") == 6
