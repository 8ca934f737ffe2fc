"""The tool list is paid for in every conversation: it has to stay small, and findable by everyday words."""

import json

import pytest

from benchmarks.counting import SEEN_BUDGET, count, per_tool
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered


@pytest.fixture(scope="module")
def tools() -> list[dict[str, object]]:
    """Everything that can be offered, as a model sees it."""
    settings = Settings(recovery_days=1, url="https://reflexio.example")
    return [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in offered(settings)
    ]


def test_what_a_model_is_given_of_all_tools_stays_within_its_budget(tools: list[dict[str, object]]) -> None:
    costs = per_tool(tools)
    assert sum(costs.values()) <= SEEN_BUDGET, costs


def test_tools_are_found_by_the_words_people_use(tools: list[dict[str, object]]) -> None:
    said = " ".join(f"{tool['name']} {tool['description']}" for tool in tools).lower()
    missing = [word for word in ("forget", "remember", "clean up", "conversation") if word not in said]
    assert not missing


def test_a_number_that_may_not_be_negative_is_no_unknown_keyword(tools: list[dict[str, object]]) -> None:
    assert '"ge"' not in json.dumps(tools)


def test_a_text_is_counted_as_the_encoding_does() -> None:
    # Known values of cl100k_base.
    assert count("hello world") == 2
    assert count("antidisestablishmentarianism") == 6
