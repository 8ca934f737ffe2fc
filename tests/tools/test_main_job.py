"""The main job through the tools, in both protocol eras."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, cast
from urllib.parse import quote

import anyio
import jsonschema
import pytest
from markdown_it import MarkdownIt
from mcp.client.client import Client
from mcp.types import CallToolResult

from tests.support.embedded import START, Clock
from tests.support.facts import text_of
from tests.tools.conftest import Connect

pytestmark = pytest.mark.anyio


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """Call a tool; a success must carry the same facts in both forms and keep to its output schema."""
    with anyio.fail_after(60):
        result = await client.call_tool(tool, arguments)
    if result.is_error:
        assert result.structured_content is None
        return result
    schemas = {one.name: one.output_schema for one in (await client.list_tools()).tools}
    schema = schemas[tool]
    assert schema is not None
    jsonschema.validate(result.structured_content, schema)
    return result


def facts(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def publish(
    client: Client, request_id: str, session: str = "s1", text: str = "hello", **more: Any
) -> None:
    interactions = [{"content": text}, {"role": "Assistant", "content": "noted"}]
    stored = await call(
        client,
        "publish_interaction",
        **{
            "user_id": "ada",
            "session_id": session,
            "interactions": interactions,
            "request_id": request_id,
            **more,
        },
    )
    assert facts(stored)["status"] == "stored"


async def test_published_requests_are_listed_inspected_and_gone_after_a_confirmed_deletion(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as client:
        for index, session in enumerate(["s1", "s1", "s2"]):
            clock.now = START + index
            await publish(client, f"r{index}", session, f"words {index}", source="ide")
        clock.now = START + 60

        sessions = facts(await call(client, "list_sessions"))["sessions"]
        assert [(row["session_id"], row["requests"], row["interactions"]) for row in sessions] == [
            ("s2", 1, 2),
            ("s1", 2, 4),
        ]
        listed = facts(await call(client, "list_requests", session_id="s1"))
        assert [one["request_id"] for one in listed["sessions"][0]["requests"]] == ["r1", "r0"]
        one = facts(await call(client, "get_request", request_id="r1"))
        assert [interaction["content"] for interaction in one["interactions"]] == ["words 1", "noted"]
        assert one["learning"]["status"] == "not_tracked"

        plan = facts(await call(client, "delete_request", request_id="r1"))
        assert (plan["status"], plan["plan"]["selected"]["requests"]) == ("planned", 1)
        assert facts(await call(client, "get_request", request_id="r1"))["request_id"] == "r1"
        done = facts(await call(client, "delete_request", request_id="r1", confirm=plan["plan"]["confirm"]))
        assert (done["status"], done["receipt"]["deleted"]["requests"]) == ("complete", 1)
        assert (await call(client, "get_request", request_id="r1")).is_error

        plan = facts(await call(client, "delete_session", session_id="s1"))
        done = facts(await call(client, "delete_session", session_id="s1", confirm=plan["plan"]["confirm"]))
        assert done["receipt"]["deleted"]["requests"] == 1
        left = facts(await call(client, "list_sessions"))["sessions"]
        assert [row["session_id"] for row in left] == ["s2"]


async def test_filters_by_time_source_version_and_words_find_what_they_name(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as client:
        for index, source in enumerate(["ide", "cli:1", "ide"]):
            clock.now = START + 3600 * index
            await publish(
                client, f"r{index}", source=source, agent_version=f"v{index}", text=f"Fruit {index}"
            )

        async def ids(**filters: Any) -> list[str]:
            found = facts(await call(client, "list_requests", **filters))
            return [one["request_id"] for group in found["sessions"] for one in group["requests"]]

        assert await ids(source="ide") == ["r2", "r0"]
        assert await ids(agent_version="v1") == ["r1"]
        assert await ids(contains="fRUIT 2") == ["r2"]
        assert await ids(start_time="2026-09-21T13:53:20Z", end_time="2026-09-21T14:30:00+00:00") == ["r0"]
        assert await ids(user_id="nobody") == []


async def test_publishing_the_same_id_again_stores_nothing_twice_and_says_so(connect: Connect) -> None:
    async with connect() as client:
        await publish(client, "r1")
        again = await call(
            client,
            "publish_interaction",
            user_id="ada",
            session_id="s1",
            interactions=[{"content": "something else"}],
            request_id="r1",
        )
        assert again.is_error
        assert "request_id" in text_of(again)
        assert "Nothing was changed" in text_of(again)
        assert facts(await call(client, "list_requests"))["returned"] == 1


async def test_every_field_of_an_interaction_can_be_published_and_read_back(connect: Connect) -> None:
    interaction = {
        "role": "Buyer",
        "content": "look",
        "created_at": START,
        "user_action": "click",
        "user_action_description": "pressed buy",
        "interacted_image_url": "https://example.com/cart.png",
        "shadow_content": "shadow words",
        "expert_content": "expert words",
        "tools_used": [{"tool_name": "cart", "tool_data": {"item": 3}, "status": "ok"}],
        "citations": [{"kind": "profile", "real_id": "p1"}],
        "retrieved_learnings": [{"kind": "profile", "learning_id": "p1"}],
    }
    image = {"role": "User", "image_encoding": "aGVsbG8="}
    async with connect() as client:
        await publish(client, "r1", interactions=[interaction, image])
        shown = facts(await call(client, "get_request", request_id="r1"))["interactions"]
        for key in ("role", "content", "user_action", "user_action_description", "interacted_image_url"):
            assert shown[0][key] == interaction[key]
        assert (shown[0]["shadow_content"], shown[0]["expert_content"]) == ("shadow words", "expert words")
        assert '"item":3' in shown[0]["tools_used"][0]
        assert "p1" in shown[0]["retrieved_learnings"][0]


async def test_a_scoped_server_shows_and_takes_its_own_users_traffic_only(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as everybody:
        await publish(everybody, "mine", "shared")
        await publish(everybody, "theirs", "shared", user_id="ben")
        clock.now += 60
        async with connect(REFLEXIO_USER_ID="ada", REFLEXIO_MCP_CONFIRM="off") as scoped:
            for tool in (await scoped.list_tools()).tools:
                assert "user_id" not in tool.input_schema["properties"], tool.name
            assert (await call(scoped, "get_request", request_id="theirs")).is_error
            listed = facts(await call(scoped, "list_requests"))
            assert [one["request_id"] for one in listed["sessions"][0]["requests"]] == ["mine"]
            assert "not found" in text_of(await call(scoped, "delete_request", request_id="theirs"))
            refused = await call(scoped, "list_requests", user_id="ben")
            assert refused.is_error
            assert "fixed by the configuration" in text_of(refused)
            stored = await call(
                scoped, "publish_interaction", session_id="x", interactions=[{"content": "a"}]
            )
            assert facts(stored)["user_id"] == "ada"
            gone = facts(await call(scoped, "delete_session", session_id="shared"))
            assert gone["receipt"]["deleted"]["requests"] == 1
        left = facts(await call(everybody, "list_requests", session_id="shared"))
        assert [one["request_id"] for one in left["sessions"][0]["requests"]] == ["theirs"]


async def test_a_read_only_server_offers_and_runs_reading_tools_alone(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_READ_ONLY="1") as client:
        tools = (await client.list_tools()).tools
        assert {"list_requests", "get_request", "get_status"} <= {tool.name for tool in tools}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        refused = await call(client, "delete_request", request_id="r1")
        assert refused.is_error
        assert "There is no tool 'delete_request'" in text_of(refused)


async def test_an_id_with_a_hidden_character_is_found_and_forgotten_as_it_was_shown(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_CONFIRM="off") as client:
        await publish(client, "r\u202e1", "s\u200b")
        [group] = facts(await call(client, "list_requests"))["sessions"]
        assert group["session_id"] == "s\\u200b"
        shown = group["requests"][0]["request_id"]
        assert shown == "r\\u202e1"
        assert facts(await call(client, "get_request", request_id=shown))["request_id"] == shown
        done = facts(await call(client, "delete_session", session_id=group["session_id"]))
        assert done["receipt"]["deleted"]["requests"] == 1


KEY = "ghp_" + "Zx7Qw9Er2Ty5Ui8Op1As4Df6Gh3Jk0Lq7Wn2"


async def test_a_key_in_an_id_or_a_name_is_covered_and_the_id_can_still_be_used(connect: Connect) -> None:
    async with connect() as client:
        names = {
            "user_id": f"u-{KEY}",
            "session_id": f"s-{KEY}",
            "agent_version": KEY,
            "request_id": f"r-{KEY}",
        }
        interactions = [{"role": KEY, "content": "x"}]
        await call(client, "publish_interaction", **names, interactions=interactions)
        for tool, more in (
            ("list_sessions", {}),
            ("list_requests", {}),
            ("list_requests", {"detail": "masked"}),
            ("list_requests", {"detail": "full"}),
            ("explore_traffic", {}),
            ("explorer_data", {"view": "rows"}),
            ("explorer_data", {"view": "rows", "uncovered": True}),
        ):
            # The tool of the page is not listed to a client that shows none.
            asking = client.call_tool(tool, more) if tool == "explorer_data" else call(client, tool, **more)
            shown = await asking
            assert not shown.is_error
            assert KEY not in text_of(shown) + json.dumps(facts(shown))
        [session] = facts(await call(client, "list_requests"))["sessions"]
        [row] = session["requests"]
        assert "[redacted: " in row["request_id"]
        found = await call(client, "list_requests", session_id=session["session_id"], user_id=row["user_id"])
        assert facts(found)["returned"] == 1
        address = f"reflexio://requests/{quote(row['request_id'], safe='')}"
        assert (await client.read_resource(address)).contents
        plan = facts(await call(client, "delete_request", request_id=row["request_id"]))
        assert plan["plan"]["selected"]["requests"] == 1


async def test_an_id_works_in_the_address_of_a_request_as_it_is_shown(connect: Connect) -> None:
    async with connect() as client:
        await publish(client, "r\u200b1", "s\u200b1")
        for address in ("requests/r\\u200b1", "sessions/s\\u200b1"):
            assert (await client.read_resource(f"reflexio://{quote(address)}")).contents


LINKS = (
    "![x](https://evil.example/p.png)",
    "[x](//evil.example)",
    "[x](&#104;ttps://evil.example)",
    "![x][y]\n\n[y]: https://evil.example/p.png",
    "<https://evil.example/p>",
    "![x][y]\n\n[y]: https:evil.example/p.png",
    "![x][y]\n\n[y]: \\\\evil.example/p.png",
    "![x][y]\n\n[y]:\n  &#104;ttps:evil.example/p.png",
    '<img src="https://evil.example/p.png">',
    "<img src=https:evil.example/p.png>",
    "<img src=\\\\evil.example/p.png>",
    '<img src="/\t/evil.example/p.png">',
    "<img src='/\n/evil.example/p.png'>",
    "<details open ontoggle=location='evil.example'>",
    "</p><svg/onload=location='evil.example'>",
    "<!-- evil.example -->",
    "<?evil.example>",
)


class Opened(HTMLParser):
    """What a browser would fetch, run or hide in a text that a host shows as Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(MarkdownIt("commonmark").render(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}={value}" for name, value in attrs if "evil" in f"{value}"]

    def handle_comment(self, data: str) -> None:
        self.found.append(data)

    def handle_pi(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("link", LINKS)
async def test_no_link_or_image_of_a_stored_text_is_one_in_an_answer(connect: Connect, link: str) -> None:
    assert Opened(link).found
    async with connect() as client:
        await publish(client, link, link, interactions=[{"content": f"{link}\n\n{link}"}])
        for tool, more in (
            ("list_sessions", {}),
            ("list_requests", {"detail": "full"}),
            ("get_request", {"request_id": link}),
            ("delete_session", {"session_id": link}),
        ):
            shown = await call(client, tool, **more)
            assert Opened(text_of(shown)).found == []
            assert [text for text in leaves(facts(shown)) if Opened(text).found] == []


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(cast("dict[str, Any]", value).values()))
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from leaves(one)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ("the pass\xadword", "password"),
        ("the pass\u200bword", "password"),
        ("the password", "pass\u200bword"),
        ("İstanbul", "istanbul"),
        ("ISTANBUL", "İstanbul"),
    ],
)
async def test_contains_folds_what_nobody_sees_or_tells_apart(
    connect: Connect, stored: str, words: str
) -> None:
    async with connect() as client:
        await publish(client, "r1", text=stored)
        assert facts(await call(client, "list_requests", contains=words))["returned"] == 1
        assert facts(await call(client, "list_requests", contains="\u200bx"))["returned"] == 0


async def test_contains_looks_into_everything_that_get_request_would_show(connect: Connect) -> None:
    interaction = {
        "content": "look",
        "interacted_image_url": "https://example.com/cart.png",
        "tools_used": [{"tool_name": "login", "tool_data": {"deep": [{"password": "Hunter2"}]}}],
    }
    async with connect() as client:
        await publish(client, "r1", interactions=[interaction])
        for words in ("hunter2", "LOGIN", "cart.png", "password"):
            assert facts(await call(client, "list_requests", contains=words))["returned"] == 1, words
        assert facts(await call(client, "list_requests", contains="hunter3"))["returned"] == 0


WORDS = [
    ("lisbon", ["r1", "r2"]),
    ("LISBON hotel", ["r1"]),
    ("hotel lisbon", ["r1"]),
    ("hot lis", ["r1"]),
    ('"hotel in lisbon"', ["r1"]),
    ("“hotel in lisbon”", ["r1"]),
    ('"lisbon hotel"', []),
    ('flight "to lisbon"', ["r2"]),
    ("hotel flight", []),
    ("STRASSE", ["r3"]),
    ("ﬁne", ["r3"]),
    ("r2", ["r2"]),
    ("rule:duplicate", ["r3"]),
    ("size>5", ["r3"]),
    ('lisbon"', ["r1", "r2"]),
    ("Lisbon, hotel?", ["r1"]),
    ("(to) flight!", ["r2"]),
    ("¿lisbon, hotel…", ["r1"]),
    ("size>5:", ["r3"]),
    ("42", []),
    ("ab42", []),
    ("e7f0", []),
    ("e7f0ab42-1111-4bed-8dad-0c1742aa42bb", ["e7f0ab42-1111-4bed-8dad-0c1742aa42bb"]),
    ("e7f0ab42-1111", ["e7f0ab42-1111-4bed-8dad-0c1742aa42bb"]),
    ("north", ["r2"]),
    ("of-north", ["r2"]),
    ("orth", []),
]


@pytest.mark.parametrize(("contains", "found"), WORDS, ids=[words for words, _ in WORDS])
async def test_contains_is_all_of_its_words_in_any_order_and_case(
    connect: Connect, contains: str, found: list[str]
) -> None:
    async with connect() as client:
        await publish(client, "r1", text="A hotel in\nLisbon, please")
        await publish(client, "r2", text="The flight to Lisbon", session_id="talks-of-North")
        await publish(client, "r3", text="Fine: Straße size>5 rule:duplicate")
        await publish(client, "e7f0ab42-1111-4bed-8dad-0c1742aa42bb", text="tomatoes")
        listed = facts(await call(client, "list_requests", contains=contains))
    rows = [row["request_id"] for session in listed["sessions"] for row in session["requests"]]
    assert sorted(rows) == found


@pytest.mark.parametrize(
    ("arguments", "says_what"),
    [
        ({"contains": '""'}, "contains has no word in it"),
        ({"finding": "no-such"}, "finding must be one of "),
    ],
)
async def test_a_search_that_cannot_be_meant_is_refused_with_what_can(
    connect: Connect, arguments: dict[str, str], says_what: str
) -> None:
    async with connect() as client:
        result = await client.call_tool("list_requests", arguments)
    assert result.is_error
    assert says_what in text_of(result)
