"""Both forms of an answer say the same, and stored names never become words of ours."""

import re
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.types import CallToolResult

from reflexio_mcp.render.words import words_for_model
from reflexio_mcp.results.facts import Fact
from tests.support.embedded import Clock
from tests.support.facts import ANY_OF_THEM, HOSTILE, text_of
from tests.tools.conftest import Connect

pytestmark = pytest.mark.anyio

ID, SESSION, USER, VERSION, ROLE = (HOSTILE.format(name) for name in ("r1", "s1", "ada", "v1", "bot"))

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("list_sessions", {}),
    ("list_sessions", {"user_id": USER, "contains": "hotel"}),
    ("list_sessions", {"session_id": HOSTILE.format("absent")}),
    ("list_requests", {"detail": "full"}),
    ("list_requests", {"session_id": SESSION, "agent_version": VERSION}),
    ("list_requests", {"contains": "hotel", "limit": 1}),
    ("list_requests", {"contains": HOSTILE.format("absent")}),
    ("get_request", {"request_id": ID}),
    ("get_request", {"request_id": HOSTILE.format("absent")}),
    ("audit_traffic", {}),
    ("audit_traffic", {"user_id": HOSTILE.format("nobody")}),
    ("explore_traffic", {}),
    ("export_data", {"user_id": USER}),
    ("get_status", {}),
)  # fmt: skip


async def put(client: Client, request_id: str) -> CallToolResult:
    return await client.call_tool(
        "publish_interaction",
        {
            "user_id": USER,
            "session_id": SESSION,
            "request_id": request_id,
            "agent_version": VERSION,
            "interactions": [
                {"role": ROLE, "content": f"hotel. {HOSTILE.format('x')} password: Tr0ub4dor&3x9"}
            ],
        },
    )


def ours(text: str) -> str:
    """A text without its fences."""
    return re.sub(r"(?s)<<stored text (\w+): .*?<<end \1>>", "", text)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("era", ["2026-07-28"])
async def test_a_stored_name_that_reads_like_a_sentence_is_never_one_of_ours(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as client:
        answers = [await put(client, ID), await put(client, ID), await put(client, HOSTILE.format("r2"))]
        clock.now += 60
        answers += [await client.call_tool(tool, arguments) for tool, arguments in CALLS]
    for answer in answers:
        assert ANY_OF_THEM not in ours(text_of(answer))
        assert ANY_OF_THEM not in (answer.structured_content or {}).get("text", "")
    shown = [text_of(answer) for answer in answers if ANY_OF_THEM in text_of(answer)]
    assert len(shown) > 6, "the names are shown, in a fence"


@pytest.mark.parametrize("era", ["2026-07-28"])
async def test_both_forms_say_the_same_facts(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        words = words_for_model([tool.name for tool in (await client.list_tools()).tools])
        answers = [await put(client, ID), await put(client, ID)]
        clock.now += 60
        answers += [await client.call_tool(tool, arguments) for tool, arguments in CALLS]
    said = 0
    for answer in answers:
        if (form := answer.structured_content) is None:
            assert answer.is_error
            continue
        text = flat(ours(text_of(answer)))
        for one in form.get("facts", []):
            sentence = flat(words.of(Fact.model_validate(one)))
            assert sentence in text
            assert sentence in form["text"]
            said += 1
        for part in re.split(r"(?<=\.) ", form.get("text", "")):
            assert part in text, part
    assert said > 5
