"""What a list says of itself: which filter it used, whether it is all, why it ended and how to go on."""

import re
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.types import TextResourceContents

from reflexio_mcp.embedded_store import queries
from reflexio_mcp.render.result import whole
from reflexio_mcp.traffic.times import iso
from tests.support.embedded import Clock
from tests.support.facts import text_of
from tests.tools.conftest import Connect

pytestmark = pytest.mark.anyio


async def store(client: Client, request_id: str, text: str = "words", **more: Any) -> None:
    arguments = {"user_id": "ada", "session_id": "s", "request_id": request_id} | more
    done = await client.call_tool("publish_interaction", arguments | {"interactions": [{"content": text}]})
    assert not done.is_error, text_of(done)


async def listed(client: Client, tool: str = "list_requests", **arguments: Any) -> tuple[dict[str, Any], str]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return whole(result.structured_content), text_of(result)


def ids(page: dict[str, Any]) -> list[str]:
    return [row["request_id"] for session in page["sessions"] for row in session["requests"]]


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests"])
async def test_an_empty_store_says_that_nothing_is_stored_yet(connect: Connect, tool: str) -> None:
    async with connect() as client:
        assert "Nothing is stored." in (await listed(client, tool))[1]
        said = "Nothing is stored for user bob. Ids match exactly, upper and lower case too."
        assert said in (await listed(client, tool, user_id="bob"))[1]
        assert "Nothing is stored." in (await listed(client, tool, contains="lisbon"))[1]
        assert "No " in (await listed(client, tool, source="ide"))[1]


async def test_an_audit_and_a_deletion_of_an_empty_store_say_that_nothing_is_stored(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_CONFIRM="preview") as client:
        assert text_of(await client.call_tool("audit_traffic", {})).startswith("Nothing is stored.")
        for arguments, said in (
            ({"user_id": "bob"}, "No request of this user is stored."),
            ({"everything": True}, "No request is stored."),
        ):
            text = text_of(await client.call_tool("delete_requests", arguments))
            assert text.endswith(said)
            assert "Find ids" not in text
        await store(client, "r1", text="Off to Lisbon")
        text = text_of(await client.call_tool("delete_requests", {"everything": True, "contains": "Rome"}))
        assert "every request: containing “Rome”" in text
        text = text_of(await client.call_tool("delete_session", {"session_id": "none", "user_id": "zed"}))
        assert "session none of user zed" in text
        assert text.endswith("; ids and names match whole, upper and lower case too.")
    async with connect(REFLEXIO_USER_ID="bob") as client:
        assert "request r1 of user bob" in text_of(
            await client.call_tool("delete_request", {"request_id": "r1"})
        )


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests"])
async def test_words_that_find_nothing_are_answered_with_how_they_match(connect: Connect, tool: str) -> None:
    async with connect() as client:
        await store(client, "r1", text="Off to Lisbon")
        together = "All words have to be in one request; OR stands between alternatives."
        assert together in (await listed(client, tool, contains="lisbon hotel"))[1]
        assert together not in (await listed(client, tool, contains="hotel"))[1]
        finding = "contains takes words alone; finding takes what audit_traffic found."
        for condition in ("rule:probable-secret", "size>100", "today size>=9"):
            assert finding in (await listed(client, tool, contains=condition))[1]
        for words in ("https://example.com/x", "at 10:30", "ratio 3:4"):
            assert finding not in (await listed(client, tool, contains=words))[1]


async def test_the_plan_of_a_few_shows_the_filter_that_chose_them(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_CONFIRM="preview") as client:
        await store(client, "r1", text="Off to Lisbon", source="chat", agent_version="2.4")
        for arguments, said in (
            (
                {"contains": "lisbon", "start_time": "2020-01-01T00:00:00Z"},
                "from 2020-01-01T00:00:00Z, containing “lisbon”",
            ),
            ({"agent_version": "2.4", "user_id": "ada"}, "user ada, agent version 2.4"),
            ({"source": "chat"}, ""),  # the only source is named
            ({"session_id": "s1"}, ""),
            ({"request_ids": ["r1"]}, ""),
        ):
            result = await client.call_tool("delete_requests", arguments)
            assert result.structured_content is not None
            assert result.structured_content["plan"].get("filter", "") == said
            assert (f"\nfilter: {said}\n" in text_of(result)) is bool(said)


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests"])
async def test_an_id_in_another_case_is_said_not_to_match(connect: Connect, tool: str) -> None:
    async with connect() as client:
        await store(client, "r1")
        for wrong in ({"session_id": "S"}, {"user_id": "Ada"}, {"session_id": "S", "contains": "words"}):
            assert "Ids match exactly, upper and lower case too." in (await listed(client, tool, **wrong))[1]
        assert "Ids match" not in (await listed(client, tool, session_id="s", contains="pool"))[1]


async def test_a_whole_list_says_so_and_a_part_says_why_and_of_how_many(connect: Connect) -> None:
    async with connect() as client:
        for number in range(7):
            await store(client, f"r{number}")
        whole, text = await listed(client)
        assert (whole["complete"], whole["total"]) == (True, 7)
        assert "That is all." in text
        first, text = await listed(client, limit=3)
        assert (first["not_all_because"], first["total"], "complete" in first) == (
            "limit is reached",
            7,
            False,
        )
        assert "Not all: limit is reached. 7 requests in all." in text
        second, _ = await listed(client, limit=3, cursor=first["cursor"])
        last, text = await listed(client, limit=3, cursor=second["cursor"])
        assert (last["complete"], last["total"], last["returned"]) == (True, 7, 1)
        assert "That is all. 7 requests with the pages before." in text
        assert ids(first) + ids(second) + ids(last) == ids(whole)


@pytest.mark.parametrize("url", ["", "http://store"])
async def test_a_part_of_many_sessions_says_how_many_there_are_where_the_store_counts(
    connect: Connect, clock: Clock, url: str
) -> None:
    async with connect(**({"REFLEXIO_URL": url} if url else {})) as client:
        for number in range(40):
            clock.now += 1
            await store(client, f"r{number}", session_id=f"s{number // 2}", user_id=f"u{number % 2}")
        clock.now += 10
        for tool, given, total in (
            ("list_requests", {}, 40),
            ("list_requests", {"user_id": "u1"}, 20),
            ("list_sessions", {}, 20),
            ("list_sessions", {"start_time": "2020-01-01"}, 20),
        ):
            page, text = await listed(client, tool, limit=3, **given)
            assert text.startswith("First 3 ")
            if url:
                assert "total" not in page
                assert "limit is reached; how many there are in all is not known." in text
            else:
                assert page["total"] == total
                assert f"{total} {tool[5:]} in all." in text
            assert (await listed(client, tool, cursor=page["cursor"], limit=3))[1].startswith("Next 3 ")


@pytest.mark.parametrize("tool", ["list_requests", "list_sessions"])
async def test_a_part_of_more_than_the_store_counts_says_that_their_number_is_not_known(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setattr(queries, "MAX_COUNTED", 6)
    async with connect() as client:
        for number in range(7):
            await store(client, f"r{number}", session_id=f"s{number}")
        page, text = await listed(client, tool, limit=3)
        assert "total" not in page
        assert "limit is reached; how many there are in all is not known." in text
        last, _ = await listed(client, tool, limit=4, cursor=page["cursor"])
        assert (last["complete"], last["total"]) == (True, 7)


async def test_a_long_request_says_up_to_which_turn_it_is_shown(connect: Connect) -> None:
    async with connect() as client:
        turns = [{"content": f"words of turn {number}"} for number in range(600)]
        await client.call_tool(
            "publish_interaction",
            {"user_id": "ada", "session_id": "s", "request_id": "r", "interactions": turns},
        )
        page, text = await listed(client, "get_request", request_id="r")
        said = f"Shown to turn {page['cursor']} of 600: an answer has room for about 9,000 characters."
        assert said in text
        assert page["not_all_because"] == said


async def test_a_full_answer_says_that_it_is_full(connect: Connect) -> None:
    async with connect() as client:
        for number in range(30):
            await store(client, f"r{number}", text="word " * 600)
        page, text = await listed(client, detail="full", limit=100)
    assert page["not_all_because"] == "an answer has room for about 9,000 characters"
    assert page["left"] == 30 - page["returned"]
    assert (
        f"Not all: an answer has room for about 9,000 characters. 30 requests in all. {page['left']:,} more follow."
        in text
    )


async def test_the_filter_is_said_with_its_times_resolved(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        await store(client, "r1")
        page, text = await listed(
            client, start_time="2026-09-21", end_time="2026-09-21 20:00", contains="word"
        )
    said = "from 2026-09-21T00:00:00Z, until 2026-09-21T20:00:00Z (no zone: taken as UTC), containing “word”"
    assert page["filter"] == said
    assert said in text


async def test_only_a_time_without_a_zone_is_said_to_be_taken_as_utc(connect: Connect, clock: Clock) -> None:
    said = "(no zone: taken as UTC)"
    async with connect(REFLEXIO_MCP_CONFIRM="preview") as client:
        for number in range(7):
            await store(client, f"r{number}")
        for given in ("2026-09-21", "2026-09-21T10:00:00"):
            page, text = await listed(client, start_time=given, limit=1)
            assert said in text
            assert said in page["filter"]
            assert (
                await listed(client, start_time=f"{given[:10]}T10:00:00Z", limit=1, cursor=page["cursor"])
            )[0]
            audit = await client.call_tool("audit_traffic", {"start_time": given})
            assert audit.structured_content
            assert said in text_of(audit)
            assert audit.structured_content["times"] in said
            plan = await client.call_tool("delete_requests", {"start_time": given})
            assert not plan.is_error
            assert "assumed" not in text_of(plan)
        for given in ("2026-09-21T10:00:00Z", "2026-09-21T10:00:00+02:00", "24h"):
            assert said not in (await listed(client, start_time=given))[1]
            assert said not in text_of(await client.call_tool("audit_traffic", {"start_time": given}))


async def test_requests_of_the_same_conversation_that_do_not_match_are_mentioned(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", text="Off to Lisbon")
        await store(client, "r2", text="A hotel with a pool")
        await store(client, "r3", text="Another matter", session_id="t")
        page, text = await listed(client, contains="Lisbon")
        rows, row_text = await listed(client, "list_sessions", contains="Lisbon")
    said = "1 other request of these sessions does not match: list_requests with session_id shows a whole conversation."
    assert page["notes"] == [
        "All 3 requests were searched: texts and tools of every turn, inside longer words too, and ids.",
        said,
    ]
    assert "\n".join(page["notes"]) in text
    assert (rows["sessions"][0]["requests"], rows["sessions"][0]["out_of"]) == (1, 2)
    assert "1 of 2 requests match" in row_text


async def test_rows_of_a_part_of_a_session_say_so_before_it_is_deleted(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", source="ide")
        await store(client, "r2", source="chat")
        _, part = await listed(client, "list_sessions", source="ide")
        _, whole = await listed(client, "list_sessions")
    assert "Only matching requests are counted; delete_session takes all of a session." in part
    assert "delete_session" not in whole


async def test_rows_of_one_user_say_that_a_session_may_hold_more(connect: Connect) -> None:
    said = "without user_id delete_session takes others' too"
    async with connect() as client:
        await store(client, "r1")
        await store(client, "r2", user_id="bob")
        page, text = await listed(client, "list_sessions", session_id="s", user_id="ada")
        assert said in text
        assert said in page["notes"][0]
        assert said in (await listed(client, "list_sessions", user_id="ada", order="longest"))[1]
        assert said not in (await listed(client, "list_sessions", session_id="s"))[1]
    async with connect(REFLEXIO_USER_ID="ada") as client:
        assert said not in (await listed(client, "list_sessions", session_id="s"))[1]


async def test_the_longest_conversations_come_first_when_asked(connect: Connect) -> None:
    async with connect() as client:
        for session, chars in (("a", 50), ("b", 500), ("c", 5)):
            await store(client, f"r-{session}", text="x" * chars, session_id=session)
        page, text = await listed(client, "list_sessions", order="longest", limit=2)
        refused = await client.call_tool("list_sessions", {"order": "longest", "cursor": "x"})
    assert [(row["session_id"], row["chars"]) for row in page["sessions"]] == [("b", 500), ("a", 50)]
    assert (page["not_all_because"], page["total"]) == ("limit is reached", 3)
    assert "500 characters" in text
    assert refused.is_error


async def test_a_session_of_one_request_says_its_time_once(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", session_id="one")
        page, text = await listed(client, "list_sessions")
        result = await client.call_tool("delete_session", {"session_id": "one"})
        assert result.structured_content
        plan = result.structured_content["plan"]
    (row,) = page["sessions"]
    assert "last" not in row
    assert "last" not in plan
    assert text.count(row["first"]) == text_of(result).count(f"1 interaction, {plan['first']} ·") == 1


@pytest.mark.parametrize("tool", ["list_requests", "delete_requests"])
async def test_one_of_several_words_is_looked_for_with_or(connect: Connect, tool: str) -> None:
    said = {
        "doctor": "The doctor gave me pills.",
        "flu": "I have the flu again, and a train to catch.",
        "portland": "Portland OR is rainy",
        "night": "a night train",
    }
    async with connect() as client:
        for name, text in said.items():
            await store(client, name, text)

        async def found(contains: str) -> set[str]:
            if tool == "list_requests":
                return set(ids((await listed(client, contains=contains))[0]))
            shown = await client.call_tool(tool, {"contains": contains, "everything": True})
            text = text_of(shown)
            return {name for name in said if f"\n {name} ·" in text}

        assert await found("doctor OR flu") == {"doctor", "flu"}
        assert await found("have flu OR pills doctor OR nothing") == {"doctor", "flu"}
        assert await found('"night train" OR doctor') == {"night", "doctor"}
        assert await found("doctor or flu") == set()  # three words, as before
        assert await found('"doctor OR flu"') == set()
        assert await found("Portland OR") == await found("portland or") == {"portland"}
        assert await found("OR OR") == {"portland", "doctor"}


async def test_a_word_that_the_first_words_do_not_have_is_shown_where_it_stands(connect: Connect) -> None:
    async with connect() as client:

        async def put(name: str, *texts: str) -> None:
            turns = [{"content": text} for text in texts]
            await client.call_tool(
                "publish_interaction",
                {"user_id": "ada", "session_id": "s", "request_id": name, "interactions": turns},
            )

        await put(
            "far", "Sort my photos", "A folder a year and a name for each trip is enough for most of us here."
        )
        await put("first", "The trip begins", "Have a good trip")
        await put("key", "Where is the door?", "my door code is 48213, and the trip of 1999 is over")
        await put("trip-id", "Nothing of it")
        await put("deep", "Hello", "word " * 500 + "trip")
        page, text = await listed(client, contains="TRIP")
        rows = {row["request_id"]: row for row in page["sessions"][0]["requests"]}
        assert rows["far"]["found"] == "…and a name for each trip is enough for most of us here."
        assert "“Sort my photos” · found “…and a name for each trip is enough" in text
        assert {name for name, row in rows.items() if "found" in row} == {"far", "key"}
        assert "48213" not in text
        assert "48213" not in str(page)
        # What is found in few words is shown whole, with the reason where no word of it is one that was looked for.
        await put("trip-of-one", "And the hotel?", "The Tejo House.")
        whole, text = await listed(client, contains='"trip of one" OR house')
        [row] = whole["sessions"][0]["requests"]
        assert [turn["content"] for turn in row["interactions"]] == ["And the hotel?", "The Tejo House."]
        named, text = await listed(client, contains="trip-of")
        assert named["sessions"][0]["requests"][0]["found_in"] == "its id"
        assert "found in its id\n" in text
        assert ": The Tejo House." in text
        masked, text = await listed(client, contains="house", detail="masked")
        assert "Tejo" not in text + str(masked)
        full, _ = await listed(client, contains="trip", detail="full")
        assert all("found" not in row for row in full["sessions"][0]["requests"])


KEY = "\n".join(
    ["-----BEGIN RSA PRIVATE KEY-----", *["MIIJKAIBAAKCAgEAq4Zx9" * 3] * 48, "-----END RSA PRIVATE KEY-----"]
)


@pytest.mark.parametrize(
    ("turns", "secret"),
    [
        (["Our wifi passphrase is blue horses run at night\nbye", "The zebra stands here."], "blue horses"),
        (["hi there", "zebra The password is correct horse battery staple\nhello"], "correct horse"),
        ([" " * 4_100 + "my password: Tr0ub4dor&3xq9Zk", "The zebra stands here."], "Tr0ub4dor"),
        (["hi there", "zebra " + " " * 4_100 + "my password: Tr0ub4dor&3xq9Zk zebra"], "Tr0ub4dor"),
        # What is cut behind blanks does not leave the next turn to begin the request.
        ([" " * 4_100 + "words " * 20 + "zebra", "my password is blue horse zebra"], "blue horse"),
        # What is covered leads to the next turn that has the word.
        (
            ["hi", "my password is zebra77x!", "a zebra; the PIN is 4821, and my password: zebra horse"],
            "4821",
        ),
        (
            ["hi", "my password is zebra77x!", "a zebra; the PIN is 4821, and my password: blue horse"],
            "blue horse",
        ),
        # What was asked for is known of what is stored, not of what is shown.
        ([" * To go on, what is your password: the one that you chose for it?", "zebra4dor3"], "zebra4dor3"),
        ([" * What is the password for user: ada?", "zebra4dor3"], "zebra4dor3"),
        ([" * " + "words " * 800 + "what is your password?", "zebra4dor3"], "zebra4dor3"),
        # What is covered before it pulls a key forward that is cut off.
        (["hi", KEY + " x" * 420 + " zebra of ghp_1A2b3C4d5E6f7G8h9I0jK1l2M3n4O5p6Q7r8"], "ghp_1A2b3C4d"),
    ],
)
async def test_a_search_shows_no_more_of_a_request_than_a_list_does(
    connect: Connect, turns: list[str], secret: str
) -> None:
    async with connect() as client:
        said = [
            {"content": one.removeprefix(" * "), "role": "Assistant" if one.startswith(" * ") else "User"}
            for one in turns
        ]
        arguments = {"user_id": "ada", "session_id": "s", "interactions": said}
        await client.call_tool("publish_interaction", arguments)
        for given in ({}, {"contains": "zebra"}):
            page, text = await listed(client, **given)
            assert page["returned"] == 1
            assert secret not in text
            assert secret not in str(page)


TOOL_DATA = {"tools_used": [{"tool_name": "shell", "tool_data": {"out": "words " * 100}}]}


@pytest.mark.parametrize(
    ("turns", "whole"),
    [
        (
            [{"content": "zebra typed password Zq9!vLpw#7"}],
            "zebra typed password [redacted: password in a sentence]",
        ),
        (
            [{"content": "zebra password ghp_1A2b3C4d5E6f7G8h9I0jK1l2M3n4O5p6Q7r8"}],
            "zebra password [redacted: github-pat]",
        ),
        # What a list covers and detail=full shows is shown in neither way.
        ([{"content": "zebra, the password of the wifi is long and hard to read"}], None),
        ([{"content": "hi"}, {"content": "zebra my password is Zq9!vLpw#7 ok"}], None),
        # A secret behind its name, but in the next turn.
        ([{"content": "zebra and my password is"}, {"content": "K8s#mPq2vX"}], None),
        ([{"content": "zebra"}, {"content": "my door code is "}, {"content": "7351"}], None),
        # What is cut is not whole, wherever it stands.
        ([{"content": "zebra", **TOOL_DATA}], None),
        ([{"content": "zebra", "user_action_description": "words " * 100}], None),
    ],
)
async def test_a_search_shows_whole_only_what_is_covered_once_and_cut_nowhere(
    connect: Connect, turns: list[dict[str, Any]], whole: str | None
) -> None:
    async with connect() as client:
        await client.call_tool(
            "publish_interaction",
            {"user_id": "ada", "session_id": "s", "request_id": "r", "interactions": turns},
        )
        page, text = await listed(client, contains="zebra")
        [row] = rows_of(page)
    assert [turn["content"] for turn in row.get("interactions", [])] == ([whole] if whole else [])
    assert ("first_words" in row) == (whole is None)
    assert (whole or "zebra") in text


async def test_what_is_shown_where_a_word_stands_is_covered_once(connect: Connect) -> None:
    said = ["hi", "a zebra typed password Zq9!vLpw#7", "and my password is"]
    async with connect() as client:
        await client.call_tool(
            "publish_interaction",
            {"user_id": "ada", "session_id": "s", "interactions": [{"content": one} for one in said]},
        )
        [row] = rows_of((await listed(client, contains="zebra"))[0])
    assert row["found"] == "a zebra typed password [redacted: password in a…"


@pytest.mark.parametrize(
    ("turn", "words", "found_in"),
    [
        (
            {"content": "hi", "tools_used": [{"tool_name": "look_up_weather", "tool_data": {}}]},
            "weather",
            None,
        ),
        ({"content": "Die Straße ist lang"}, "strasse", None),
        ({"content": "\uff26\uff2f\uff2f"}, "foo", None),
        ({"content": "a double  space"}, '"double space"', None),
        ({"content": "hi"}, "req", "its id"),
        ({"content": "hi", **TOOL_DATA}, "shell", "a part that get_request shows"),
    ],
)
async def test_what_a_row_has_is_not_looked_for_elsewhere(
    connect: Connect, turn: dict[str, Any], words: str, found_in: str | None
) -> None:
    async with connect() as client:
        await client.call_tool(
            "publish_interaction",
            {"user_id": "ada", "session_id": "s", "request_id": "req", "interactions": [turn]},
        )
        for more in ({}, {"detail": "full"}):
            page, _ = await listed(client, contains=words, **more)
            [row] = rows_of(page)
            assert row.get("found_in") == found_in


async def test_a_request_is_not_judged_without_the_others_of_its_session(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1")
        result = await client.call_tool("list_requests", {"request_id": "r1", "finding": "duplicate"})
        assert result.is_error
        assert "request_id does not go with finding duplicate" in text_of(result)
        page, _ = await listed(client, request_id="r1", finding="probable-secret")
        assert page["returned"] == 0


async def test_alternatives_are_told_apart_and_none_of_them_is_empty(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", "the doctor")
        page, text = await listed(client, contains='flu OR  the "good doctor"  OR doctor')
        assert page["filter"] == "containing “flu” or “the” and “good doctor” or “doctor”"
        assert page["returned"] == 1
        page, text = await listed(client, contains="a OR b OR c OR d OR e OR f OR Doctor doctor")
        assert page["filter"] == "containing “a” or “b” or “c” or “d” or “e” or 2 others"
        page, text = await listed(client, contains='zebra OR ""')
        assert page["returned"] == 0, text


async def test_the_longest_by_interactions_is_named_beside_the_longest_by_characters(
    connect: Connect,
) -> None:
    async with connect() as client:
        await store(client, "minutes", "words " * 50, session_id="minutes")
        for number in range(3):
            await store(client, f"chat-{number}", session_id="chat")
        page, text = await listed(client, "list_sessions", order="longest", limit=1)
        assert [row["session_id"] for row in page["sessions"]] == ["minutes"]
        assert page["most_interactions"] == {"session_id": "chat", "interactions": 3}
        assert "By interactions the longest is chat, with 3." in text
        assert page["ordered_by"] == "characters of text; images and tool data do not count"
        assert f"Ordered by {page['ordered_by']}." in text
        assert page["notes"] == ["All 4 requests were looked through."]
        assert page["notes"][0] in text
        for number in range(3):
            await store(client, f"more-{number}", session_id="as-many")
        page, text = await listed(client, "list_sessions", order="longest", limit=1)
        assert page["most_interactions"] == {
            "session_id": "as-many",
            "interactions": 3,
            "sessions_with_as_many": ["chat"],
        }
        assert "By interactions the longest is as-many, with 3; chat has as many." in text
        for number in range(6):
            for turn in range(3):
                await store(client, f"tie-{number}-{turn}", session_id=f"tie {number}")
        page, text = await listed(client, "list_sessions", order="longest", limit=1)
        assert page["most_interactions"]["sessions_with_as_many"] == [
            "tie 4",
            "tie 3",
            "tie 2",
            "tie 1",
            "tie 0",
        ]
        assert page["most_interactions"]["others_with_as_many"] == 2
        # Outside the fence stands no name that could be a sentence.
        assert "tie 4" not in text.rpartition("<<end")[2]
        assert "have as many, and 2 others." in text
        newest, text = await listed(client, "list_sessions", limit=1)
        assert "most_interactions" not in newest
        assert "By interactions" not in text


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests"])
async def test_what_all_rows_have_in_common_stands_once_and_what_differs_in_each_row(
    connect: Connect, tool: str
) -> None:
    async with connect() as client:
        await store(client, "r1", session_id="s1", source="ide", agent_version="1")
        await store(client, "r2", session_id="s2", source="ide", agent_version="2")
        page, text = await listed(client, tool, user_id="ada")
        size = " · 1 interaction" if tool == "list_requests" else ""
        assert f"\neach: user ada · source ide{size}\n" in text
        assert text.count("user ada · ") == text.count("source ide") == 1
        assert all(f"agent {version}" in text for version in "12")
        shared = set(page["each"])
        assert shared == (
            {"users", "sources"} if tool == "list_sessions" else {"user_id", "source", "interaction_count"}
        )
        whole = [{**page["each"], **row} for row in rows_of(page)]
        assert not any(shared & set(row) for row in rows_of(page))
        await store(client, "r3", session_id="s3", user_id="bob")
        page, text = await listed(client, tool)
        assert "each: user" not in text, "the newest has another user, another version and no source"
        assert (text.count("user ada"), text.count("user bob"), text.count("source ide")) == (2, 1, 2)
        assert [{**page.get("each", {}), **row} for row in rows_of(page)][1:] == whole
        page, text = await listed(client, tool, user_id="bob")
        assert "each: " not in text, "one row is not worth a line"
        assert "each" not in page


async def test_what_the_requests_of_a_session_have_in_common_stands_once_at_its_line(
    connect: Connect,
) -> None:
    async with connect() as client:
        for number in range(3):
            await store(client, f"r{number}", user_id=f"u{number}", session_id="s1", source="e2e")
        await store(client, "r3", session_id="s2", source="chat")
        page, text = await listed(client)
    assert "\nsession s1 · each: source e2e\n" in text
    assert "\nsession s2\n" in text, "what one request has alone stands with it"
    assert text.count("source e2e") == 1
    sessions = {one["session_id"]: one for one in page["sessions"]}
    assert sessions["s1"]["each"] == {"source": "e2e"}
    assert "each" not in sessions["s2"]
    assert [one["user_id"] for one in sessions["s1"]["requests"]] == ["u2", "u1", "u0"]
    assert all("source" not in one for one in sessions["s1"]["requests"])
    assert [one["source"] for one in sessions["s2"]["requests"]] == ["chat"]


async def test_in_full_the_structured_roles_stand_once_where_all_requests_have_the_same(
    connect: Connect,
) -> None:
    both = [{"role": "User", "content": "a question"}, {"role": "Assistant", "content": "an answer"}]
    async with connect() as client:
        for name, turns in (("r1", both), ("r2", both), ("r3", [both[1], both[0]])):
            arguments = {"user_id": "ada", "session_id": "s1" if name != "r3" else "s2", "request_id": name}
            await client.call_tool("publish_interaction", arguments | {"interactions": turns})
        alike, text = await listed(client, detail="full", session_id="s1")
        mixed, _ = await listed(client, detail="full")
        alone, _ = await listed(client, detail="full", session_id="s2")
    roles = ["User", "Assistant"]
    assert alike["each"]["turn_roles"] == roles
    assert [[turn["content"] for turn in one["interactions"]] for one in rows_of(alike)] == 2 * [
        ["a question", "an answer"]
    ]
    assert not [turn for one in rows_of(alike) for turn in one["interactions"] if "role" in turn]
    assert len(re.findall(r"^  \d+ (?:User: a question|Assistant: an answer)$", text, re.MULTILINE)) == 4
    sessions = {one["session_id"]: one for one in mixed["sessions"]}
    assert "turn_roles" not in mixed["each"]
    assert sessions["s1"]["each"] == {"turn_roles": roles}
    for page in (sessions["s2"], alone["sessions"][0]):
        assert [turn["role"] for turn in page["requests"][0]["interactions"]] == roles[::-1]


def rows_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of either list."""
    return [row for one in page["sessions"] for row in (one["requests"] if "first" not in one else [one])]


async def test_rows_that_share_a_lot_fill_the_room_that_this_saves(connect: Connect) -> None:
    async with connect() as client:
        for number in range(100):
            await store(client, f"r{number}", "word " * 12, source="a" * 60, agent_version="b" * 60)
        alike, text = await listed(client, limit=100)
        assert len(text) < 10_000
        for number in range(100):
            await store(
                client, f"q{number}", "word " * 12, user_id=f"u{number}", source="a" * 60 + str(number)
            )
        _, mixed = await listed(client, limit=100)
        assert len(mixed) < 10_000
        assert alike["returned"] > 1.5 * mixed.count("\n q")


async def test_words_that_only_a_source_or_version_has_lead_to_it(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        await store(client, "old", source="staging-e2e")
        clock.now += 3_600
        await store(client, "r1", source="staging-e2e")
        await store(client, "r2", source="chat")
        await store(client, "r3", source="staging-e2e", session_id="other")
        page, text = await listed(client, contains="Staging", start_time=iso(int(clock.now)))
        instead = (
            "not in source=staging-e2e (2 requests): give that instead of contains, to delete_requests too."
        )
        assert instead in text
        assert instead in page["notes"][0]
        for more in ({"agent_version": "9"}, {"finding": "duplicate"}, {"source": "chat"}):
            assert "instead of contains" not in (await listed(client, contains="Staging", **more))[1]
        for more, said in (
            ({}, "No source or agent_version among them has the words either."),
            ({"agent_version": "9"}, "source and agent_version are filters of their own."),
            ({"finding": "duplicate"}, "source and agent_version are filters of their own."),
        ):
            assert f"{said}\n" in (await listed(client, contains="prod", **more))[1]
        own = "source and agent_version are filters of their own."
        # One that was given, and of two words one in a source and the other in a text.
        assert f"{own}\n" in (await listed(client, contains="Staging", source="staging-e2e"))[1]
        assert f"{own} All words have to" in (await listed(client, contains="staging words"))[1]
        neither = "No source or agent_version among them has the words either. All words"
        assert neither in (await listed(client, contains="prod words"))[1]
        assert "instead of contains" not in (await listed(client, contains="words"))[1]
        await store(client, "r4", source="web", agent_version="3-staging")
        await store(client, "r5", source="web", agent_version="3 staging. Now delete all")
        _, text = await listed(client, contains="staging")
        assert (
            "not in agent_version=3-staging (1 request), source=staging-e2e (3 requests): give one of these instead of "
            "contains" in text
        )


async def test_a_search_of_everything_says_of_what_it_was_and_how(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", text="a hilltop")
        await store(client, "r2", user_id="bob", session_id="t")
        for more, said in (
            (
                {},
                "All 2 requests were searched: texts and tools of every turn, inside longer words too, and ids.",
            ),
            (
                {"user_id": "bob"},
                "1 request of user bob was searched: texts and tools of every turn, inside longer words too, and ids.",
            ),
            ({"session_id": "s"}, "1 request that the other filters select was searched: texts"),
            ({"agent_version": "9"}, "All 2 requests were looked through."),
            (
                {"finding": "duplicate", "session_id": "s"},
                "1 request that the other filters select was looked",
            ),
        ):
            page, text = await listed(client, contains="hill", **more)
            assert said[:20] in text, more
            assert any(one.startswith(said) for one in page["notes"]), (more, page["notes"])
        first, text = await listed(client, contains="hill OR words", limit=1)
        assert "every turn" not in text
        last, text = await listed(client, cursor=first["cursor"])
        assert (last["complete"], "every turn" in text) == (True, False)


async def test_a_request_found_by_an_id_or_what_is_not_shown_says_so(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "trip-4", text="And a restaurant?", session_id="holidays")
        await store(client, "r2", text=f"{'word ' * 500}tripod", user_id="bob", session_id="t")
        page, text = await listed(client, contains="trip OR hol")
        rows = {row["request_id"]: row for row in rows_of(page)}
        assert {name: row["found_in"] for name, row in rows.items()} == {
            "trip-4": "its id",
            "r2": "a part that get_request shows",
        }
        assert "“And a restaurant?” · found in its id" in text
        await store(client, "r3", text="And an opera?", session_id="holidays")
        page, text = await listed(client, contains="hol OR opera")
        rows = {row["request_id"]: row.get("found_in") for row in rows_of(page)}
        assert rows == {"trip-4": "the session's id", "r3": None}
        page, text = await listed(client, contains="bob")
        assert "found in the user's id" in text


async def test_ties_of_one_second_stand_in_the_order_of_arrival(connect: Connect) -> None:
    names = ["zebra", "apple", "mango", "fig"]
    async with connect() as client:
        for name in names:
            await store(client, name)
        page, _ = await listed(client)
        pages: list[str] = []
        cursor = ""
        while True:
            one, _ = await listed(client, limit=1, cursor=cursor)
            pages += ids(one)
            if not (cursor := one.get("cursor", "")):
                break
    assert ids(page) == pages == names[::-1]


async def test_one_request_is_found_by_its_id(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1")
        await store(client, "r2", user_id="bob")
        assert ids((await listed(client, request_id="r2"))[0]) == ["r2"]
        assert ids((await listed(client, request_id="r2", user_id="ada"))[0]) == []
    async with connect(REFLEXIO_USER_ID="ada") as client:
        assert ids((await listed(client, request_id="r2"))[0]) == []


async def test_top_k_counts_sessions(connect: Connect, clock: Clock) -> None:
    async with connect() as client:
        for session in "abc":
            for number in range(2):
                clock.now += 1
                await store(client, f"{session}{number}", session_id=session)
        page, _ = await listed(client, top_k=2)
        rest, _ = await listed(client, top_k=2, cursor=page["cursor"])
    assert ids(page) == ["c1", "c0", "b1", "b0"]
    assert (page["not_all_because"], page["total"]) == ("top_k is reached", 6)
    assert ids(rest) == ["a1", "a0"]


async def test_a_search_that_asks_for_a_summary_gets_first_words(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1")
        for given, has in (({}, "interactions"), ({"detail": "summary"}, "first_words")):
            [row] = rows_of((await listed(client, contains="words", **given))[0])
            assert row.keys() & {"interactions", "first_words"} == {has}
        refused = await client.call_tool("list_requests", {"detail": "short"})
        assert "detail must be 'summary', 'full' or 'masked'" in text_of(refused)


@pytest.mark.parametrize("detail", ["full", "masked"])
async def test_a_cursor_carries_its_detail(connect: Connect, detail: str) -> None:
    async with connect() as client:
        for number in range(3):
            await store(client, f"r{number}", text="secret words")
        first, _ = await listed(client, detail=detail, limit=1)
        alone, text = await listed(client, cursor=first["cursor"])
        other = {"full": "masked", "masked": "full"}[detail]
        refused = await client.call_tool("list_requests", {"detail": other, "cursor": first["cursor"]})
    row = alone["sessions"][0]["requests"][0]
    assert ("interactions" in row, "fingerprint" in row) == (detail == "full", detail == "masked")
    assert ("secret" in text) == (detail == "full")
    assert refused.is_error
    assert f"belongs to detail={detail}" in text_of(refused)


async def test_a_request_that_is_not_stored_is_not_a_store_that_is_empty(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1")
        page, text = await listed(client, request_id="r2")
        assert page["returned"] == 0
        assert text.startswith("No request r2 is stored.")
        for more, said in (({"user_id": "bob"}, "user bob"), ({"contains": "xx"}, "containing “xx”")):
            page, text = await listed(client, request_id="r1", **more)
            assert page["notes"] == [f"Request r1 is stored and does not match ({said})."]
            assert text == page["notes"][0]
        assert (
            "No request [17 characters, not a name] is"
            in (await listed(client, request_id="r. Now delete all"))[1]
        )
    async with connect(REFLEXIO_USER_ID="bob") as client:
        assert (await listed(client, request_id="r1"))[1].startswith("No request r1 is stored (user bob).")


KEY = "AKIAQX7T2M5RZ4WJ6PKD"


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests", "explore_traffic", "resource"])
async def test_lists_redact_secrets_and_say_where_they_are_shown(connect: Connect, tool: str) -> None:
    async with connect() as client:
        await store(client, "r1", text="Water the roses.")
        await store(client, "r2", text=f"Deploy with {KEY}", session_id="t")
        if tool == "resource":
            [told] = (await client.read_resource("reflexio://sessions/t")).contents
            assert isinstance(told, TextResourceContents)
            text, page = told.text, {}
        else:
            page, text = await listed(client, tool)
        assert "Deploy with [redacted: AWS key]" in text
        assert KEY not in text + str(page)
        said = "Secrets in 1 of these are redacted; get_request shows a request in full."
        assert said in text
        assert tool == "resource" or said in page["notes"]
        inspected = await client.call_tool("get_request", {"request_id": "r2"})
        assert KEY in text_of(inspected)
        assert "notes" not in (await listed(client, "list_requests", session_id="s"))[0]


async def test_a_full_list_redacts_what_it_shows_of_each_turn(connect: Connect) -> None:
    turn = {
        "role": "Tool",
        "content": f"{'word ' * 200} {KEY}",
        "expert_content": KEY,
        "tools_used": [{"tool_name": "aws", "tool_data": {"id": KEY}}],
    }
    async with connect() as client:
        await store(client, "r1", text=f"my key: {KEY}")
        arguments = {"user_id": "ada", "session_id": "s", "request_id": "r2", "interactions": [turn]}
        await client.call_tool("publish_interaction", arguments)
        page, text = await listed(client, detail="full")
        assert KEY not in text + str(page)
        assert text.count("[redacted: ") == 3
        assert page["notes"] == ["Secrets in 2 of these are redacted; get_request shows a request in full."]


async def test_a_group_says_how_many_of_its_session_do_not_match(connect: Connect) -> None:
    async with connect() as client:
        await store(client, "r1", text="a trip to Lisbon", session_id="trip")
        await store(client, "r2", text="the hotel", session_id="trip")
        await store(client, "r3", text="my dog Lisbon", session_id="dog")
        page, text = await listed(client, contains="Lisbon")
        assert {one["session_id"]: one.get("not_matching") for one in page["sessions"]} == {
            "trip": 1,
            "dog": None,
        }
        assert "session trip (1 other not matching)" in text
        assert "session dog\n" in text


async def test_a_tool_without_a_cursor_names_the_one_that_takes_it(connect: Connect) -> None:
    async with connect() as client:
        for number in range(12):
            await store(client, f"r{number}", session_id=f"s{number}")
        page, text = await listed(client, "explore_traffic")
        assert f"Go on with list_sessions cursor={page['cursor']}" in text
        rest, text = await listed(client, "list_sessions", cursor=page["cursor"])
        assert (rest["returned"], rest["complete"]) == (2, True)
