"""There is one filter: whoever asks, in a tool, a command, a follow-up call or the page, means the same fields."""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp import explorer
from reflexio_mcp.cli import build_parser
from reflexio_mcp.render.reading import session_page
from reflexio_mcp.render.words import words_for_model
from reflexio_mcp.rest.models import Interaction, PublishBody, RetrievedLearning, ToolUse
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.filter_fields import FILTER_FIELDS
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.scope import Scope
from tests.audit.stored import TOOLS, request, store

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


@pytest.mark.anyio
async def test_words_find_who_is_mentioned_and_not_what_the_person_said() -> None:
    said = [request("r1", "Hello there.", user_id="jon"), request("r2", "Jon called again.", user_id="ada")]
    async with store(*said) as client:
        page = await list_requests(Scope(client=client), TrafficFilter(contains="jon"), limit=20)
    assert [row.request_id for session in page.sessions for row in session.requests] == ["r2"]


@pytest.mark.anyio
async def test_a_persons_own_ids_are_no_mention_of_the_person() -> None:
    said = [
        request("jon-1", "Hello there.", user_id="jon", session_id="jon-chat"),
        request("about-jon", "He called again.", user_id="ada", session_id="calls"),
        request("jon-2", "Jon is what they call me.", user_id="jon", session_id="jon-chat"),
    ]
    async with store(*said) as client:
        scope = Scope(client=client)
        mentions = await list_requests(scope, TrafficFilter(contains="jon"), limit=20)
        of_session = await list_requests(scope, TrafficFilter(contains="jon-chat"), limit=20)
    assert {(row.request_id, row.matched) for row in mentions.requests} == {
        ("jon-2", None),
        ("about-jon", "request_id"),
    }
    assert {row.request_id for row in of_session.requests} == {"jon-1", "jon-2"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "beside_the_text",
    [
        {"retrieved_learnings": [RetrievedLearning(kind="profile", learning_id="walnut")]},
        {"tools_used": [ToolUse(tool_name="buy", tool_data={"item": "walnut"})]},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_words_find_the_learnings_and_tools_that_an_answer_used(
    beside_the_text: dict[str, Any],
) -> None:
    answer = Interaction(role="Assistant", content="Done.", **beside_the_text)
    body = PublishBody(user_id="ada", session_id="s", request_id="r2", interaction_data_list=[answer])
    async with store(request("r1", "Hello there.")) as client:
        await client.publish(body, minted=False)
        page = await list_requests(Scope(client=client), TrafficFilter(contains="walnut"), limit=20)
    assert [(row.request_id, row.matched) for row in page.requests] == [("r2", "tool data")]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("finding", "contains", "found"),
    [("shared-session", "walnut", "with-walnut"), ("duplicate", "second", "second-1")],
)
async def test_words_leave_out_nothing_beside_which_another_request_has_a_finding(
    finding: str, contains: str, found: str
) -> None:
    said = [
        request("first-1", "How long does a train to Lisbon take?", user_id="jon"),
        request("second-1", "How long does a train to Lisbon take?", user_id="jon"),
        request("with-walnut", "Is there a walnut in it?", user_id="ada"),
    ]
    async with store(*said) as client:
        page = await list_requests(
            Scope(client=client), TrafficFilter(finding=finding, contains=contains), limit=20
        )
    assert [row.request_id for row in page.requests] == [found]


@pytest.mark.anyio
async def test_a_session_of_several_users_says_how_many_requests_each_has() -> None:
    said = [request(f"r{number}", "Hello there.", user_id="ada" if number else "jon") for number in range(3)]
    async with store(*said) as client:
        page = await list_sessions(Scope(client=client), TrafficFilter(), limit=20)
        of_one = await list_sessions(Scope(client=client), TrafficFilter(user_id="ada"), limit=20)
    assert [(row.users, row.requests_of_users) for row in page.sessions] == [(["ada", "jon"], [2, 1])]
    assert "ada (2), jon (1)" in session_page(page, words_for_model(TOOLS)).text
    assert [row.requests_of_users for row in of_one.sessions] == [[]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("evaluation_only", "only"),
        ("evaluation_only", "never"),
        ("source", "chat"),
        ("agent_version", "2.4"),
        ("contains", "tea"),
        ("end_time", "2026-01-01"),
    ],
)
def test_a_finding_of_whole_sessions_is_refused_where_a_filter_hides_their_newest_request(
    field: str, value: str
) -> None:
    with pytest.raises(InvalidInput, match="it needs whole sessions"):
        make_filter({"finding": "temporary-session", field: value})


def test_a_filter_may_select_one_second() -> None:
    at = "2026-01-01T12:00:00Z"
    made = make_filter({"start_time": at, "end_time": at})
    assert made.start_time == made.end_time
    with pytest.raises(InvalidInput, match="must not be before"):
        make_filter({"start_time": at, "end_time": "2026-01-01T11:59:59Z"})


def test_a_date_that_ends_the_filter_includes_that_whole_day() -> None:
    day = make_filter({"start_time": "2026-11-24", "end_time": "2026-11-24"})
    assert (day.start_time, day.end_time) == (1_795_478_400, 1_795_564_799)
