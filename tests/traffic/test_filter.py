"""There is one filter: whoever asks, in a tool, a command, a follow-up call or the page, means the same fields."""

import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from reflexio_mcp import explorer
from reflexio_mcp.cli import build_parser
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered
from reflexio_mcp.traffic.filter_fields import FILTER_FIELDS
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter

NAMES = [field.name for field in FILTER_FIELDS]


def test_tools_commands_and_the_filter_itself_have_the_same_fields() -> None:
    assert [one.name for one in fields(TrafficFilter)] == [*NAMES, "request_id"]
    tools = {tool.name: tool.input_schema["properties"] for tool in offered(Settings())}
    for tool in ("list_sessions", "list_requests", "delete_requests", "export_data", "explore_traffic"):
        assert [name for name in tools[tool] if name in NAMES] == NAMES
    _, parsers = build_parser()
    for command in ("sessions", "requests", "export", "delete", "explore"):
        text = parsers[command].format_help()
        assert [field.name for field in FILTER_FIELDS if f"  {field.option}" not in text] == []


def test_the_page_asks_with_names_of_the_filter() -> None:
    script = (Path(explorer.__file__).parent / "page" / "actions.js").read_text(encoding="utf-8")
    listed = re.search(r"const BASE = \[(.*?)\]", script)
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) <= set(NAMES)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"user_id": "ada", "source": "ide", "contains": 'a "b c" OR d'},
        {"session_id": "s", "start_time": "2026-11-24T10:00:00Z", "end_time": "2026-11-25", "evaluation_only": "never"},
        {"agent_version": "v2", "finding": "probable-secret", "start_time": None, "contains": "  "},
    ],
)  # fmt: skip
def test_a_follow_up_call_with_the_arguments_of_a_filter_means_the_same_filter(
    given: dict[str, str | None],
) -> None:
    wanted = make_filter(given)
    assert make_filter(wanted.arguments()) == wanted
    assert set(wanted.arguments()) == {name for name, value in given.items() if value not in (None, "  ")}
    assert asdict(wanted)["request_id"] == ""
