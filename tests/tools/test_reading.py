"""What lists and single requests say, in the text and in the structured form."""

import json
from typing import Any

import pytest
from mcp.types import CallToolResult

from tests.support.embedded import START, Clock
from tests.support.facts import text_of
from tests.tools.conftest import Connect

pytestmark = pytest.mark.anyio


async def put(client: Any, request_id: str, content: str = "words", session: str = "s1", **more: Any) -> None:
    given = {"user_id": "ada", "session_id": session, "request_id": request_id, **more}
    given.setdefault("interactions", [{"content": content}])
    assert not (await client.call_tool("publish_interaction", given)).is_error


async def call(client: Any, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, text_of(result)
    return text_of(result), result.structured_content or {}


def ids(page: dict[str, Any]) -> list[str]:
    return [one["request_id"] for session in page["sessions"] for one in session["requests"]]


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests", "explore_traffic"])
async def test_an_empty_store_is_told_from_a_filter_that_matches_nothing(connect: Connect, tool: str) -> None:
    async with connect() as client:
        text, page = await call(client, tool)
        assert "Nothing is stored." in text
        assert page["facts"][0] == {"code": "nothing_stored"}
        await put(client, "r1")
        text, page = await call(client, tool, user_id="Ada")
        assert "matches (user Ada).\n" in text
        assert "Ids are case-sensitive." in text
        text, page = await call(client, tool, contains="absent", source="ide")
        assert "matches (" in text.splitlines()[0]
        assert "source ide, containing “absent”" in text
        assert "put OR between alternatives" in text
        assert page["looked_at"]["complete"] is True
        assert page["sessions"] == []


async def test_a_part_says_of_how_many_and_a_whole_list_says_so(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        for number in range(5):
            clock.now += 60
            await put(client, f"r{number}", session=f"s{number}")
        clock.now += 60
        text, page = await call(client, "list_requests", limit=2)
        assert f"cursor={page['cursor']}" in text
        assert page["looked_at"]["complete"] is False
        assert "cut_by_size" not in page
        text, page = await call(client, "list_requests", limit=9, cursor=page["cursor"])
        assert ids(page) == ["r2", "r1", "r0"]
        assert page["total"] == 5
        assert "3 of 5 requests." in text
        assert text.endswith("That is all.")


async def test_times_of_the_filter_are_resolved_and_said_in_utc(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        await put(client, "r1")
        text, _ = await call(
            client, "list_requests", start_time="2026-01-02", end_time="2036-01-02T00:00:00Z"
        )
        assert "from 2026-01-02T00:00:00Z" in text


async def test_evaluation_only_selects_what_is_never_learned_from_or_the_rest(connect: Connect) -> None:
    async with connect() as client:
        await put(client, "r1", evaluation_only=True)
        await put(client, "r2")
        assert ids((await call(client, "list_requests", evaluation_only="only"))[1]) == ["r1"]
        assert ids((await call(client, "list_requests", evaluation_only="never"))[1]) == ["r2"]
        assert len(ids((await call(client, "list_requests"))[1])) == 2
        plan = await client.call_tool("delete_requests", {"evaluation_only": "only"})
        assert "1 request" in text_of(plan)


async def test_requests_of_the_same_session_that_do_not_match_are_counted(connect: Connect) -> None:
    async with connect() as client:
        await put(client, "r1", "a hotel")
        await put(client, "r2", "a flight")
        text, page = await call(client, "list_requests", contains="hotel")
        assert page["sessions"][0]["not_matching"] == 1
        assert "session s1 (1 request not matching)" in text
        text, page = await call(client, "list_sessions", contains="hotel")
        assert page["sessions"][0]["requests"] == page["sessions"][0]["not_matching"] == 1
        assert "1 request of 2" in text
        assert "Only matching requests are counted" in text


async def test_rows_of_a_part_of_a_session_say_so_before_it_is_deleted(connect: Connect) -> None:
    async with connect() as client:
        await put(client, "r1")
        for times in ({"end_time": "2036-01-01"}, {"start_time": "2006-01-01"}):
            text, _ = await call(client, "list_sessions", **times)
            assert "delete_session deletes the whole session" in text
        text, _ = await call(client, "list_sessions", user_id="ada")
        assert "delete_session deletes the whole session" in text


async def test_one_request_is_listed_by_its_id_if_the_filter_lets_it(connect: Connect) -> None:
    async with connect() as client:
        await put(client, "r1")
        await put(client, "r2")
        assert ids((await call(client, "list_requests", request_id="r2"))[1]) == ["r2"]
        text, _ = await call(client, "list_requests", request_id="r2", source="ide")
        assert text.startswith("No request matches (request r2, source ide).")
        text, _ = await call(client, "list_requests", request_id="r3")
        assert text.startswith("No request matches (request r3).")
        assert "Ids are case-sensitive." in text


async def test_top_k_counts_sessions(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        for number in range(6):
            clock.now += 60
            await put(client, f"r{number}", session=f"s{number // 2}")
        clock.now += 60
        _, page = await call(client, "list_requests", top_k=2)
        assert ids(page) == ["r5", "r4", "r3", "r2"]
        assert ids((await call(client, "list_requests", cursor=page["cursor"]))[1]) == ["r1", "r0"]


@pytest.mark.parametrize("detail", ["full", "masked"])
async def test_a_cursor_carries_its_detail(connect: Connect, clock: Clock, detail: str) -> None:
    async with connect() as client:
        for number in range(2):
            clock.now += 60
            await put(client, f"r{number}", "private words", session=f"s{number}")
        clock.now += 60
        _, page = await call(client, "list_requests", detail=detail, limit=1)
        text, page = await call(client, "list_requests", cursor=page["cursor"])
        [row] = page["sessions"][0]["requests"]
        assert ("interactions" in row) is (detail == "full")
        assert ("private" in text) is (detail == "full")


async def test_long_content_is_read_to_its_end(connect: Connect) -> None:
    long = "".join(f"{index:05},\n" for index in range(4000))
    async with connect() as client:
        await put(client, "r1", interactions=[{"content": long}, {"content": "second"}])
        read, cursor = "", ""
        for _ in range(40):
            text, found = await call(
                client, "get_request", request_id="r1", **({"cursor": cursor} if cursor else {})
            )
            assert len(text) <= 9_000
            assert len(json.dumps(found, ensure_ascii=False, separators=(",", ":"))) <= 12_000
            read += "".join(interaction["content"] for interaction in found["interactions"])
            if not (cursor := found.get("cursor", "")):
                break
        assert read == long + "second"


async def test_a_cursor_of_another_request_is_refused(connect: Connect) -> None:
    async with connect() as client:
        for name in ("r1", "r2"):
            await put(client, name, "x" * 30_000)
        _, found = await call(client, "get_request", request_id="r1")
        refused = await client.call_tool("get_request", {"request_id": "r2", "cursor": found["cursor"]})
        assert refused.is_error


async def test_an_interaction_shows_when_it_was_said_if_that_was_at_another_time(connect: Connect) -> None:
    async with connect() as client:
        interactions = [
            {"content": "old", "created_at": 1_700_000_000},
            {"content": "new", "created_at": START},
        ]
        await put(client, "r1", interactions=interactions)
        text, found = await call(client, "get_request", request_id="r1")
        old, new = found["interactions"]
        assert old["created_at"] == "2023-11-14T22:13:20Z"
        assert old["created_at"] in text
        assert "created_at" not in new


async def test_secrets_are_replaced_in_lists_and_shown_in_a_request(connect: Connect) -> None:
    key = "ghp_" + "Zx7Qw9Er2Ty5Ui8Op1As4Df6Gh3Jk0Lq7Wn2"
    async with connect() as client:
        await put(client, "r1", f"my token is {key}")
        for tool, more in (
            ("list_sessions", {}),
            ("list_requests", {}),
            ("list_requests", {"detail": "full"}),
        ):
            text, page = await call(client, tool, **more)
            assert key not in text + json.dumps(page)
            assert "get_request shows a request as it is stored" in text
        assert key in (await call(client, "get_request", request_id="r1"))[0]


async def test_a_caller_who_names_a_number_of_rows_reads_99_short_requests_in_full_at_once(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as client:
        for number in range(99):
            clock.now += 1
            await put(client, f"r{number}", f"Remember {number}.", session=f"s{number % 9}")
        clock.now += 60
        text, page = await call(client, "list_requests", limit=100, detail="full")
        assert (page["returned"], page["total"], page.get("cursor")) == (99, 99, None)
        assert all(f"Remember {number}." in text for number in range(99))
        text, page = await call(client, "list_sessions", limit=100)
        assert len(page["sessions"]) == 9
        text, page = await call(client, "list_requests", detail="full")
        assert page["returned"] == 20
        assert len(text) <= 9_000


async def test_no_answer_is_longer_than_its_budget_however_much_is_stored(
    connect: Connect, clock: Clock
) -> None:
    async with connect() as client:
        for number in range(40):
            clock.now += 1
            interactions = [{"content": 'x\n"\\' * 2_000} for _ in range(12)]
            await put(
                client,
                f"r{number}",
                session=f"s{number}",
                source=f"source-{number}",
                interactions=interactions,
            )
        await put(client, "hidden", "\u202e" * 20_000)
        await put(client, "i" * 1_000, session="d" * 1_000, user_id="u" * 1_000)
        clock.now += 60
        for tool, arguments in (
            ("list_requests", {"detail": "full", "limit": 100}),
            ("list_requests", {"limit": 100, "contains": "x"}),
            ("list_requests", {"detail": "full"}),
            ("list_requests", {}),
            ("list_sessions", {"limit": 100}),
            ("list_sessions", {}),
            ("list_requests", {"source": "none", "contains": "x" * 1_000}),
            ("get_request", {"request_id": "r3"}),
            ("get_request", {"request_id": "hidden"}),
            ("get_request", {"request_id": "r3", "detail": "masked"}),
        ):
            text, found = await call(client, tool, **arguments)
            long = "limit" in arguments
            assert len(text) <= (30_000 if long else 9_000), (tool, arguments)
            size = len(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
            assert size <= (30_000 if long else 12_000), (tool, arguments)
            if arguments.get("detail") == "full":
                assert ", cut by size" in text.splitlines()[0], (tool, arguments)
                assert found["cut_by_size"]
