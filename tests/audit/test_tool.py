"""`audit_traffic` as a client sees it: small, complete in both forms, with calls that work, and no content."""

import base64
import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.render.result import BUDGET
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.traffic.audit import run
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.reading import filters, listing
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.rules import duplicates, secrets
from reflexio_mcp.traffic.rules.catalog import RULES, Rule, rule
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled
from reflexio_mcp.traffic.rules.duplicates import Duplicates
from reflexio_mcp.traffic.rules.selection import detector_types
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.times import iso
from tests.audit.corpus import (
    FAULTS,
    Deployment,
    Maker,
    endless,
    hashed_versions,
    imported,
    nobody,
    personal,
    to_come,
    unsure,
    wrong_turns,
)
from tests.audit.measuring import EVERY_TOOL
from tests.audit.stocking import stocked
from tests.audit.talk import Turn
from tests.primitives.conftest import call, facts, text_of

pytestmark = pytest.mark.anyio


def everything_wrong() -> Deployment:
    """A deployment with every fault at once."""
    make = Maker(4711, int(time.time()))
    make.ordinary()
    for fault in (
        *FAULTS, imported, personal, nobody, hashed_versions, wrong_turns, to_come, endless, unsure,
    ):  # fmt: skip
        fault(make)
    return make.finish()


@asynccontextmanager
async def connected(made: Deployment, folder: Path, **env: str) -> AsyncGenerator[Client]:
    async with stocked(made, folder) as rest, Client(ReflexioServer(load(env), client=rest)) as client:
        yield client


@pytest.fixture
def made() -> Deployment:
    return everything_wrong()


async def test_both_forms_tell_the_same_and_fit(made: Deployment, tmp_path: Path) -> None:
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic")
    text, said = text_of(result), facts(result)
    assert len(text) <= BUDGET
    found = {one["id"] for one in said["findings"]}
    of_other_stores = {"no-source", "user-per-session", "only-evaluation", "one-version"}
    assert len(found) >= len([rule for rule in RULES if rule.unit != "learning"]) - len(of_other_stores) - 3
    assert "findings_left_out" not in said
    assert said["requests"] == len(made.rows)
    assert said["sessions"] == made.sessions
    assert sum(said["per_day"]["requests"]) == said["requests"]
    for key in ("by_source", "by_agent_version", "by_user"):
        shown = sum(one["count"] for one in said[key]["top"])
        assert shown + said[key].get("others_requests", 0) == said["requests"]
        assert len(said[key]["top"]) <= 10
    for one in said["findings"]:
        assert f"[{one['severity']}] {one['id']}:" in text
        assert one.get("why", "") in text
        assert one.get("advice", "") in text
        assert len(one.get("examples", [])) <= 5
        if following := one.get("next"):
            arguments = json.dumps(following["arguments"], ensure_ascii=False, separators=(",", ":"))
            assert "look" not in one or following["tool"].startswith("delete_")
            assert f"next: {following['tool']} {arguments}" in text
    assert said["look_first"] in text


async def test_before_a_deletion_an_audit_names_the_call_that_shows_the_same(
    made: Deployment, tmp_path: Path
) -> None:
    async with connected(made, tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        assert said["look_first"] == (
            "list_requests with the same arguments shows what delete_requests takes, where there is no look."
        )
        looks = [one for one in said["findings"] if one.get("next", {}).get("tool", "").startswith("delete_")]
        [planted] = [one for one in looks if one["id"] == "planted-instructions"]
        # A whole call, so that nobody reads planted words by leaving a part out.
        assert planted["look"]["arguments"] == planted["next"]["arguments"] | {"detail": "masked"}
        for one in looks:
            following = one["next"]
            same = {"tool": "list_requests", "arguments": following["arguments"]}
            look = one.get("look", same)
            if look["tool"] != "list_requests" or "session_id" in look["arguments"]:
                await call(client, look["tool"], **look["arguments"])
                continue
            assert following["tool"] == "delete_requests"
            rows = await listed_through_all_pages(client, "list_requests", look["arguments"])
            plan = facts(await call(client, "delete_requests", **following["arguments"]))["plan"]
            assert len(rows) == plan["requests"], one["id"]


async def test_what_speaks_of_secrets_and_has_none_is_counted_beside_the_finding(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for text in (
        "my wifi password is Tulpenzwiebel-77, please remember it",
        "How long should a passphrase be?",
        "Do I need two API keys?",
        "Which opinion do you have on tokenism and spinning?",
        "Hello, the STRIPE_SECRET_KEY is zx81Kq93LmPw02Yv7Rt5",
    ):
        make.put([Turn("User", text)], f"s{len(text)}", "ada", make.when())
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
        said = facts(result)["speak_of_secrets"]
        told = {one["id"]: one["count"] for one in facts(result)["findings"]}
        secret = await call(client, "list_requests", finding="probable-secret")
    assert told["probable-secret"] == facts(secret)["returned"] == 1
    assert (said["requests"], len(said["first"])) == (3, 3)
    assert "passphrase" in said["words"]
    counted = f"\nwith one of the words {said['words']} and no secret found: 3"
    assert f"{counted} ({', '.join(said['first'])})" in text_of(result)


async def test_who_asks_for_probable_secrets_is_told_that_possible_ones_are_a_finding_of_their_own(
    tmp_path: Path,
) -> None:
    make = Maker(3, int(time.time()))
    make.put([Turn("User", "TWILIO_AUTH_TOKEN=6c4f1de0a93b75e28fd0416c5b7a9e32")], "s1", "ada", make.when())
    make.put([Turn("User", "my password is Tr0ub4dor&3x9")], "s2", "bob", make.when())
    told = "found as probable-secret, not as possible-secret, a less sure finding of its own"
    async with connected(make.finish(), tmp_path) as client:
        for tool in ("list_requests", "list_sessions", "delete_requests"):
            for user in ("ada", "bob"):  # who has a possible one, and who has a probable one
                result = await client.call_tool(tool, {"finding": "probable-secret", "user_id": user})
                assert told in text_of(result)
                assert told in str(result.structured_content)
                result = await client.call_tool(tool, {"finding": "possible-secret", "user_id": user})
                assert "found as possible-secret" in text_of(result)
                assert "probable-secret" not in text_of(result)


async def test_where_nothing_is_learned_no_reason_speaks_of_learning(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for number in range(12):
        make.put(
            [Turn("User", f"ping test {number}")],
            "s",
            "ada",
            make.when(),
            source="ci.e2e",
            agent_version="agent-v0",
        )
    async with connected(make.finish(), tmp_path) as client:
        findings = {one["id"]: one for one in facts(await call(client, "audit_traffic"))["findings"]}
    assert findings["test-traffic"]["why"] == rule("test-traffic").why_unlearned
    assert "evaluation_only=true, or keep it in a store of its own" in findings["test-traffic"]["advice"]
    assert findings["unversioned"]["notes"] == [
        "12 requests of agent-v0, the version of those that name none"
    ]


@pytest.mark.parametrize("one", [one for one in RULES if one.detector], ids=lambda one: one.id)
def test_no_rule_speaks_of_learning_where_there_is_none(one: Rule) -> None:
    said = " ".join(one.reasons(learns=False))
    assert not re.search("learn|teach|production|recalled", said), said
    assert all(len(each) <= 160 and each.endswith(".") for each in one.reasons(learns=False))
    assert one.reasons(learns=True) == (one.why, one.advice)


async def test_an_audit_from_the_beginning_leaves_the_beginning_out_of_its_calls(
    made: Deployment, tmp_path: Path
) -> None:
    async with connected(made, tmp_path) as client:
        findings = facts(await call(client, "audit_traffic"))["findings"]
        since = facts(await call(client, "audit_traffic", start_time="2000-01-01"))["findings"]
    calls = {
        one["id"]: one["next"]["arguments"]
        for one in findings
        if "finding" in one.get("next", {}).get("arguments", {})
    }
    judged_whole = {"copied-session", "temporary-session"}
    assert {one for one, arguments in calls.items() if "start_time" in arguments} == judged_whole
    assert all("start_time" in one["next"]["arguments"] for one in since if one["id"] in calls)


async def test_no_stored_word_is_in_an_audit(made: Deployment, tmp_path: Path) -> None:
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic")
    said = text_of(result) + json.dumps(result.structured_content, ensure_ascii=False)
    contents = {turn.content for row in made.rows for turn in row.turns if len(turn.content) > 25}
    assert contents
    assert not [content for content in contents if content[:25] in said]


def not_looked_for(said: dict[str, Any]) -> set[str]:
    """The rules that an audit did not run."""
    return {rule_id for one in said["not_run"] for rule_id in one["ids"]}


async def clean_up(client: Client, findings: list[dict[str, Any]]) -> None:
    for one in findings:
        following = one.get("next")
        if not following:
            continue
        result = await call(client, following["tool"], **following["arguments"])
        if following["tool"] not in ("delete_requests", "delete_session"):
            continue
        if one["unit"] == "request" and "plan" in facts(result):
            # What an earlier finding took with it is gone already.
            assert facts(result)["plan"]["requests"] <= one["count"]
            assert "selects" not in following
        if code := facts(result).get("confirm"):
            receipt = await call(client, following["tool"], **following["arguments"], confirm=code)
            assert facts(receipt)["status"] == "complete"


async def test_the_calls_of_the_findings_leave_nothing_that_could_be_deleted(
    made: Deployment, tmp_path: Path
) -> None:
    async with connected(made, tmp_path, REFLEXIO_MCP_CONFIRM="preview") as client:
        # What had no room in the first answer is in the second.
        for _ in range(2):
            await clean_up(client, facts(await call(client, "audit_traffic"))["findings"])
        left = {one["id"] for one in facts(await call(client, "audit_traffic"))["findings"]}
    assert not left & {one.id for one in RULES if one.remedy == "delete"}


async def test_a_read_only_server_names_calls_that_look(made: Deployment, tmp_path: Path) -> None:
    async with connected(made, tmp_path, REFLEXIO_MCP_READ_ONLY="1") as client:
        findings = facts(await call(client, "audit_traffic"))["findings"]
        tools = {one["next"]["tool"] for one in findings if "next" in one}
        assert tools
        assert tools <= {"list_requests", "list_sessions", "get_request"}
        for one in findings:
            if "next" in one:
                await call(client, one["next"]["tool"], **one["next"]["arguments"])


async def test_inside_a_scope_only_its_user_is_counted(made: Deployment, tmp_path: Path) -> None:
    user = made.rows[0].user_id
    async with connected(made, tmp_path, REFLEXIO_USER_ID=user) as client:
        said = facts(await call(client, "audit_traffic"))
        assert said["each"]["user_id"] == user
        assert "by_user" not in said
        assert not [
            one for one in said["findings"] for example in one.get("examples", ()) if "user_id" in example
        ]
        assert said["requests"] == sum(row.user_id == user for row in made.rows)
        assert "shared-session" in not_looked_for(said)
        arguments = [one["next"]["arguments"] for one in said["findings"] if "next" in one]
        assert arguments
        assert not [one for one in arguments if "user_id" in one]


async def test_what_is_not_looked_for_without_the_vendors_formats_is_said(
    made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "available", lambda: False)
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic")
        (said,) = [one for one in facts(result)["not_run"] if "probable-secret" in one["ids"]]
        assert "kingfisher-secret-scanner does not run on this platform" in said["reason"]
        assert said["reason"] in text_of(result)
        listed = await client.call_tool("list_requests", {"finding": "probable-secret"})
        assert not listed.is_error


async def test_an_empty_period_says_so(tmp_path: Path) -> None:
    async with connected(Deployment(1, int(time.time())), tmp_path) as client:
        result = await call(client, "audit_traffic", start_time="1h")
    assert facts(result)["requests"] == 0
    assert "Nothing to audit" in text_of(result)


async def test_very_many_and_very_long_names_still_fit(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for fault in FAULTS:
        fault(make)
    for index in range(60):
        long = f"{index}-" + "ü" * 400
        make.put([Turn("User", ".")], f"tmp-{long}", f"u{long}", make.when(5, 30 * 3600), agent_version=long)
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    assert len(text_of(result)) <= BUDGET
    assert facts(result)["findings"]


class Endless(httpx.AsyncBaseTransport):
    """Pages without end, each as long as the last, none kept: 5 sessions of 4 requests."""

    def __init__(self) -> None:
        self.pages = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        self.pages += 1
        offset: int = asked.get("offset", 0)
        now = int(time.time())
        sessions: list[dict[str, Any]] = []
        for session in range(offset, offset + asked["top_k"]):
            requests = [
                {
                    "request": {
                        "request_id": f"r{session}-{one}", "user_id": "ada", "session_id": f"s{session}",
                        "created_at": now - session * 10 - one, "source": "ide", "agent_version": "1",
                    },
                    "interactions": [{"interaction_id": 1, "role": "User", "content": f"words {session} {one}"}],
                }
                for one in range(4)
            ]  # fmt: skip
            sessions.append({"session_id": f"s{session}", "requests": requests})
        return httpx.Response(
            200, json={"success": True, "sessions": sessions, "has_more": True}, request=request
        )


async def test_cancelling_ends_an_audit_at_once_and_progress_was_told() -> None:
    endless = Endless()
    rest = ReflexioClient("http://store.invalid", transport=lambda: endless)
    told: list[int] = []
    scope = anyio.CancelScope()

    async def progress(what: str, done: int, total: int | None) -> None:
        told.append(done)
        if done >= 3_000:
            scope.cancel()

    with anyio.fail_after(30), scope:
        await run_audit(Scope(rest), TrafficFilter(), offer=EVERY_TOOL, progress=progress)
    pages = endless.pages
    await anyio.lowlevel.checkpoint()
    await rest.aclose()
    assert scope.cancelled_caught
    assert told == sorted(told)
    assert told[-1] < 4_000
    assert endless.pages == pages


async def test_names_that_look_alike_when_clipped_are_counted_apart(tmp_path: Path) -> None:
    make = Maker(5, int(time.time()))
    shared = "organization/acme-corporation-worldwide/department/of-research-and-development/"
    for index in range(3):
        make.put(make.talk.exchange(), f"s{index}", f"{shared}user-{index}", make.when(), "ide")
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
    assert said["users"] == 3
    assert [one["count"] for one in said["by_user"]["top"]] == [1, 1, 1]


async def test_an_example_says_whose_it_is_and_what_was_found_in_it(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for user, text in (
        ("ada", "AWS_ACCESS_KEY_ID=AKIAQX7T2M5RZ4WJ6PKD"),
        ("bob", "write to jo.hill@mail.example.org"),
    ):
        make.put([Turn("User", text)], f"s-{user}", user, make.when(), "web")
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    found = {one["id"]: one for one in facts(result)["findings"]}
    assert found["probable-secret"]["notes"] == ["1 AWS key"], "which is what was found in the one example"
    (example,) = found["probable-secret"]["examples"]
    assert (example["user_id"], example["session_id"]) == ("ada", "s-ada")
    assert "· user ada · session s-ada ·" in text_of(result)
    assert "AKIA" not in text_of(result)


async def test_a_store_is_looked_at_whole_however_many_sessions_it_has(
    made: Deployment, tmp_path: Path
) -> None:
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic")
        assert facts(result)["requests"] == len(made.rows)
        assert "left_out" not in facts(result)
    make = Maker(3, int(time.time()))
    for number in range(1_200):
        at = make.made.now - 20 * 86_400 + number
        make.put([Turn("User", "Water the roses.")], f"tmp-{number}", "ada", at, "web")
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        assert said["requests"] == 1_200
        assert "left_out" not in said
        (found,) = [one for one in said["findings"] if one["id"] == "temporary-session"]
        assert found["count"] == 1_200


async def test_calls_that_go_on_look_at_each_request_once_and_say_what_they_do_not_look_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of one second were left out, those at the boundary looked at twice."""
    make = Maker(3, int(time.time()))
    begun = make.made.now - 3 * 86_400
    rows = [make.put([Turn("User", ".")], f"tmp-{number}", "ada", begun, "web") for number in range(5)]
    rows += [make.put([Turn("User", ".")], "tmp-71", "ada", begun, "web") for _ in range(4)]
    rows.append(make.put([Turn("User", ".")], "tmp-72", "ada", begun - 60, "web"))
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        arguments = dict[str, Any]()
        counts: Counter[str] = Counter()
        said = dict[str, Any]()
        asked: list[str] = []
        for _ in range(len(rows)):
            result = await call(client, "audit_traffic", **arguments)
            said = facts(result)
            counts["requests"] += said["requests"]
            counts["sessions"] += said["sessions"]
            assert ("go_on" not in said) == ("left_out" not in said)
            # A call that goes on never was all, however far it came.
            assert said["complete"] is False
            assert "Audit of all" not in text_of(result)
            assert ("rest_of" in said) == bool(arguments)
            assert said.get("rest_of", "") in text_of(result)
            missed = {one_id for one in said["not_run"] for one_id in one["ids"]}
            comparing = {"copied-session", "copied-request", "split-conversation"}
            assert comparing <= missed
            [line] = [one for one in text_of(result).splitlines() if one.startswith("Not looked for: ")]
            assert all(re.search(rf"\b{one}\b", line) for one in comparing)
            assert not comparing & set(re.split(r", | \(", said.get("nothing_found", "")))
            assert "temporary-session" in missed or not arguments
            for one in said["findings"]:
                counts[one["id"]] += one["count"]
                if one["id"] == "nearly-empty":
                    asked += one["next"]["arguments"]["request_ids"]
            if "go_on" not in said:
                break
            arguments = said["go_on"]["arguments"]
            assert str(arguments["cursor"]) in text_of(result)
        assert "go_on" not in said
        assert counts["requests"] == counts["nearly-empty"] == len(rows)
        assert counts["sessions"] == 7
        assert sorted(asked) == sorted(row.request_id for row in rows)
        refused = await client.call_tool("list_requests", {"cursor": arguments["cursor"]})
        assert refused.is_error


OTHER_TWINS = "Other requests with question and answer, word for word in two sessions of one user"


def greeted(*sessions: str, user: str = "ada") -> Maker:
    """The same greeting in each of some sessions."""
    make = Maker(3, int(time.time()))
    for number, session in enumerate(sessions):
        at = make.made.now - 9_000 + 1_000 * number
        make.put(
            [Turn("User", f"What is {session} about?"), Turn("Assistant", "A bicycle.")],
            session,
            user,
            at,
            "web",
        )
        make.put(
            [Turn("User", "Hello!"), Turn("Assistant", "Hello, how are you?")], session, user, at + 60, "web"
        )
    return make


async def test_what_short_exchanges_stand_in_two_sessions_is_said_and_none_of_them_is_a_finding(
    tmp_path: Path,
) -> None:
    made = greeted("first", "second", "third", "fourth").finish()
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic")
        said = facts(result)["word_for_word_in_two_sessions"]
        first, *others = (row.request_id for row in made.rows if row.turns[0].content == "Hello!")
        assert said == {
            "beside_findings": 3,
            "examples": [
                {"request_id": others[2], "session_id": "fourth", "same_as": first, "in_session": "first"},
                {"request_id": others[1], "session_id": "third", "same_as": first, "in_session": "first"},
            ],
            "look": {"tool": "get_request", "arguments": {"request_id": others[2], "detail": "masked"}},
        }
        told = (
            f"o{OTHER_TWINS[1:]}: 3 ({others[2]} of fourth as {first} of first; {others[1]} of third as {first} of "
            f'first); people ask the same again\n look: get_request {{"request_id":"{others[2]}","detail":"masked"}}\n'
            "<<end"
        )
        assert told in text_of(result)
        assert "Hello" not in text_of(result)
        assert not [
            one for one in facts(result)["findings"] if one.get("next", {}).get("tool") == "delete_requests"
        ]
        shown = text_of(await call(client, said["look"]["tool"], **said["look"]["arguments"]))
        assert others[2] in shown
        assert "Hello" not in shown, "planted words may stand in two sessions too"


async def test_a_filter_that_may_hide_a_turn_between_two_says_what_is_not_judged(
    made: Deployment, tmp_path: Path
) -> None:
    said = "duplicate where each turn is a request of its own (the filter may hide"
    async with connected(made, tmp_path) as client:
        for given in ({"source": "travel-desk"}, {"contains": "a OR e"}):
            assert said in text_of(await call(client, "audit_traffic", **given)), given
        assert said not in text_of(await call(client, "audit_traffic"))


async def test_that_nothing_else_stands_in_two_sessions_is_said_only_where_all_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = greeted("first")
    make.put(
        [Turn("User", "Hello!"), Turn("Assistant", "Hello, how are you?")], "s", "bob", make.when(), "web"
    )
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
        assert facts(result)["word_for_word_in_two_sessions"] == {"beside_findings": 0}
        assert text_of(result).endswith(f"\n{OTHER_TWINS}: none. Two users are not compared.")
        assert f"{OTHER_TWINS}: none." in text_of(await call(client, "audit_traffic", user_id="ada"))
        for narrower in (
            {"session_id": "first"}, {"source": "web"}, {"contains": "bicycle"}, {"end_time": "1h"}
        ):  # fmt: skip
            result = await call(client, "audit_traffic", **narrower)
            assert "word_for_word_in_two_sessions" not in facts(result)
            assert OTHER_TWINS not in text_of(result)
            assert {"copied-session", "copied-request"} <= not_looked_for(facts(result))
        monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
        arguments, calls = dict[str, Any](), 0
        while calls < 5:
            calls += 1
            result = await call(client, "audit_traffic", **arguments)
            assert "word_for_word_in_two_sessions" not in facts(result)
            assert OTHER_TWINS not in text_of(result)
            assert run.OTHER_TWINS in not_looked_for(facts(result))
            if "go_on" not in facts(result):
                break
            arguments = facts(result)["go_on"]["arguments"]
        assert 1 < calls < 5
        monkeypatch.undo()
        monkeypatch.setattr(duplicates, "REQUESTS_KEPT", 1)
        result = await call(client, "audit_traffic")
        [missed] = [one for one in facts(result)["not_run"] if run.OTHER_TWINS in one["ids"]]
        assert missed["reason"] == "2 requests were too many to compare"
        assert OTHER_TWINS not in text_of(result)


async def test_a_list_that_looks_through_long_texts_stops_before_its_client_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5_000
    rows = [make.put([Turn("User", ".")], f"s{number}", "ada", begun + number, "web") for number in range(4)]
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        for tool in ("list_requests", "list_sessions"):
            ids: list[str] = []
            said = dict[str, Any]()
            arguments: dict[str, Any] = {"finding": "nearly-empty", "detail": "masked"}
            for _ in rows:
                result = await call(client, tool, **arguments)
                said = facts(result)
                ids += re.findall(r"\bs\d\b", str(said["sessions"]))
                if "cursor" not in said:
                    break
                assert "the time for looking through texts" in said["not_all_because"]
                assert said["not_all_because"] in text_of(result)
                assert said["requests_looked_at"] == 1
                arguments = {"cursor": said["cursor"]}
            assert "cursor" not in said
            assert sorted(ids) == ["s0", "s1", "s2", "s3"]
        said = facts(await call(client, "list_sessions", finding="nearly-empty", order="longest"))
        assert "the time for looking through texts" in said["not_all_because"]
        assert "total" not in said
        assert facts(await call(client, "list_requests"))["complete"], "nothing is looked for in a text"


@pytest.mark.parametrize("search", [{"finding": "nearly-empty"}, {"contains": "."}])
async def test_a_list_of_requests_stops_inside_a_session_of_long_texts_and_goes_on_there(
    search: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5_000
    texts = [".", "..", "no dot here", "...", "."]
    rows = [
        make.put([Turn("User", text)], "s1", "ada", begun + number, "web")
        for number, text in enumerate(texts)
    ]
    # An older session on the same page: what is left is not counted as if it were all.
    rows.append(make.put([Turn("User", ".")], "s0", "ada", begun - 10, "web"))
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        ids: list[str] = []
        arguments: dict[str, Any] = dict(search)
        for number, row in enumerate(sorted(rows, key=lambda one: -one.created_at)):
            result = await call(client, "list_requests", **arguments)
            said = facts(result)
            found = [one.request_id for one in rows if one.request_id in text_of(result)]
            assert found == ([row.request_id] if row.created_at != begun + 2 else [])
            ids += found
            if number == 5:
                assert "cursor" not in said
                break
            assert "the time for looking through texts" in said["not_all_because"]
            assert said["requests_looked_at"] == 1
            assert "total" not in said
            assert "more_in_last_session" not in said
            arguments = {"cursor": said["cursor"]}
        assert len(ids) == len(set(ids)) == 5


def said_thrice(**ago: int) -> Maker:
    """Sessions of three requests with the same words, by the seconds since each began."""
    make = Maker(3, int(time.time()))
    text = "Where does the parcel of the customer in Hamburg stay for so long?"
    for session, begun in ago.items():
        for number in range(3):
            make.put([Turn("User", text)], session, "ada", make.made.now - begun + number, "web")
    return make


async def test_a_list_that_takes_whole_sessions_looks_at_all_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = said_thrice(s1=5_000)
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "list_requests", finding="duplicate"))
        assert said["complete"]
        assert said["returned"] == 2


async def test_a_list_of_sessions_stops_inside_one_of_long_texts_and_counts_the_rest_on_the_next_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5_000
    for number, text in enumerate(("no full stop", "One.", "Two.")):
        make.put([Turn("User", text)], "s1", "ada", begun + number, "web")
    make.put([Turn("User", "Three.")], "s0", "ada", begun - 10, "web")
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        arguments: dict[str, Any] = {"contains": "."}
        rows: list[tuple[str, int]] = []
        first = "The first row counts what the page before had not looked through of that session."
        for left in (2, 1, 0, None):
            result = await call(client, "list_sessions", **arguments)
            said = facts(result)
            rows += [(one["session_id"], one["requests"]) for one in said["sessions"]]
            assert said["requests_looked_at"] == 1
            notes = said.get("notes", [])
            if left and said["returned"]:
                requests = "2 requests were" if left == 2 else "1 request was"
                assert any(f"Of the last session {requests} not looked through" in one for one in notes)
            assert (first in notes) == (left == 1)
            assert all(one in text_of(result) for one in notes)
            if left is None:
                break
            assert "the time for looking through texts" in said["not_all_because"]
            arguments = {"cursor": said["cursor"]}
        assert said["total"] == 2
        assert "cursor" not in said
        assert rows == [("s1", 1), ("s1", 1), ("s0", 1)]


async def test_a_session_that_takes_too_long_to_be_judged_is_named_and_the_list_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = said_thrice(s1=5_000, s0=9_000)
    judge = Duplicates.session

    def slow(self: Duplicates, seen: SessionSeen) -> None:
        until = time.monotonic() + 20
        while seen.session_id == "s1" and time.monotonic() < until:
            stop_if_cancelled()
        judge(self, seen)

    monkeypatch.setattr(Duplicates, "session", slow)
    monkeypatch.setattr(listing, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(filters, "WHOLE_SECONDS", 0.1)
    async with connected(make.finish(), tmp_path) as client:
        for tool in ("list_requests", "list_sessions"):
            result = await call(client, tool, finding="duplicate")
            said = facts(result)
            assert said["returned"] == 0
            (note,) = [one for one in said["notes"] if "Not looked through" in one]
            assert "session s1, whose 3 requests took too long to be judged together" in note
            assert note in text_of(result)
            assert "among those looked through so far" in text_of(result)
            rest = facts(await call(client, tool, cursor=said["cursor"]))
            assert rest["returned"] == (2 if tool == "list_requests" else 1)
            assert "cursor" not in rest
        longest = facts(await call(client, "list_sessions", finding="duplicate", order="longest"))
        assert "the time for looking through texts" in longest["not_all_because"]
        assert longest["requests_looked_at"] == 0


async def test_a_session_that_takes_too_long_behind_others_has_the_next_page_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = said_thrice(s1=5_000, s0=9_000)
    judge, calls = Duplicates.session, list[str]()

    def slow_once(self: Duplicates, seen: SessionSeen) -> None:
        calls.append(seen.session_id)
        until = time.monotonic() + 20
        while calls.count("s0") == 1 and seen.session_id == "s0" and time.monotonic() < until:
            stop_if_cancelled()
        judge(self, seen)

    monkeypatch.setattr(Duplicates, "session", slow_once)
    monkeypatch.setattr(listing, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(filters, "WHOLE_SECONDS", 0.1)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "list_sessions", finding="duplicate"))
        assert said["returned"] == 1
        assert not [one for one in said["notes"] if "Not looked through" in one]
        rest = facts(await call(client, "list_sessions", cursor=said["cursor"]))
        assert [one["session_id"] for one in rest["sessions"]] == ["s0"]


async def test_what_an_audit_compared_of_an_enormous_session_is_named_by_its_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    text = "Where does the parcel of the customer in Hamburg stay for so long?"
    rows = [
        make.put([Turn("User", text)], session, "ada", make.made.now - begun, "web")
        for session, begun in (("s2", 4_000), ("s2", 4_030), ("s1", 9_000), ("s1", 9_030))
    ]
    judge = Duplicates.session

    def late(self: Duplicates, seen: SessionSeen) -> None:
        self.until = 0 if seen.session_id == "s1" else self.until
        judge(self, seen)

    monkeypatch.setattr(Duplicates, "session", late)
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "duplicate"]
        assert found["next"]["arguments"] == {"request_ids": [rows[0].request_id]}
        (missed,) = [one for one in facts(result)["not_run"] if "duplicate" in one["ids"]]
        assert missed["ids"] == ["duplicate", "near-duplicate"]
        assert missed["reason"] == "of a session with very much in it only the oldest part was compared"
        assert missed["reason"] in text_of(result)


async def test_a_request_of_the_future_is_within_the_window_that_counts_it(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    make.put([Turn("User", "Water the roses.")], "s1", "ada", make.made.now + 7_200, "web")
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        assert said["requests"] == 1
        assert said["to"] >= said["newest"]


async def test_an_audit_names_the_window_that_it_looked_at_and_not_only_what_was_in_it(
    tmp_path: Path,
) -> None:
    make = Maker(3, int(time.time()))
    at = make.made.now - 5 * 86_400
    make.put([Turn("User", "Water the roses.")], "s1", "ada", at, "web")
    make.put([Turn("User", "Prune the vine.")], "s2", "ada", at + 60, "web")
    async with connected(make.finish(), tmp_path) as client:
        asked = {"start_time": "2020-01-01", "end_time": "2d"}

        async def window_of_a_list() -> list[str]:
            return re.findall(r"\d{4}-\S+Z", facts(await call(client, "list_requests", **asked))["filter"])

        # An age is counted from the second of each call.
        begin, before = await window_of_a_list()
        result = await call(client, "audit_traffic", **asked)
        said, (_, after) = facts(result), await window_of_a_list()
        assert said["from"] == begin == "2020-01-01T00:00:00Z"
        assert before <= said["to"] <= after
        assert [said["oldest"], said["newest"]] == [iso(at), iso(at + 60)]
        assert f"Audit of all 2 requests from {said['from']} to {said['to']}" in text_of(result)
        result = await call(client, "audit_traffic")
        assert "from" not in facts(result)
        assert f"Audit of all 2 requests from the beginning to {facts(result)['to']}" in text_of(result)
        of_ada = await call(client, "audit_traffic", user_id="ada")
        assert text_of(of_ada).startswith("Audit of all 2 requests (user ada) from the beginning to ")
        assert datetime.fromisoformat(facts(result)["to"]).timestamp() == pytest.approx(time.time(), abs=60)


async def test_an_audit_stops_before_its_client_gives_up_and_says_where_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5000
    for number in range(6):
        make.put([Turn("User", ".")], f"s{number}", "ada", begun + number * 60, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        ids: list[str] = []
        arguments = dict[str, Any]()
        for _ in range(5):
            result = await call(client, "audit_traffic", **arguments)
            said = facts(result)
            (found,) = [one for one in said["findings"] if one["id"] == "nearly-empty"]
            # A filter would select what was not looked at too.
            ids += found["next"]["arguments"]["request_ids"]
            assert "the time for one call" in said["left_out"]
            assert said["left_out"] in text_of(result)
            arguments = said["go_on"]["arguments"]
        result = await call(client, "audit_traffic", **arguments)
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "nearly-empty"]
        assert found["count"] == 1
        assert "left_out" not in facts(result)
        assert "go_on" not in facts(result)
    assert len(ids) == len(set(ids)) == 5


async def test_an_audit_that_found_no_request_never_says_that_there_is_none_before_it_looked_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    for number in range(130):
        make.put(
            [Turn("User", "The kettle is old.")], f"s{number}", "ada", make.made.now - 100 - number, "web"
        )
    make.put([Turn("User", "And the zebra knows it.")], "old", "ada", make.made.now - 9_000, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic", contains="zebra")
        said = facts(result)
        assert (said["requests"], said["complete"]) == (0, False)
        assert text_of(result).startswith(f"Not all: {said['left_out']}. Go on with audit_traffic ")
        assert said["next"] == "Nothing to audit (containing “zebra”) in what this call looked at."
        for _ in range(131):
            if said["requests"]:
                break
            said = facts(await call(client, "audit_traffic", **said["go_on"]["arguments"]))
        assert said["requests"] == 1


async def test_an_audit_whose_rest_was_deleted_does_not_say_that_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    make.put([Turn("User", "Please book the table.")], "new", "ada", make.made.now - 100, "web")
    older = make.put([Turn("User", "And the theatre.")], "older", "ada", make.made.now - 5_000, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        planned = facts(await call(client, "delete_request", request_id=older.request_id))
        await call(client, "delete_request", request_id=older.request_id, confirm=planned["confirm"])
        rest = await call(client, "audit_traffic", **said["go_on"]["arguments"])
        assert text_of(rest) == "Nothing more to audit: what there was is in the answers before this one."


async def test_what_falls_behind_the_cursor_by_a_deletion_is_counted_again_and_the_audit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    now = make.made.now
    newest = make.put([Turn("User", ".")], "long", "ada", now - 100, "web")
    make.put([Turn("User", "..")], "long", "ada", now - 5_000, "web")
    make.put([Turn("User", "Please book the table.")], "mid", "ada", now - 3_000, "web")
    make.put([Turn("User", "Please book the train.")], "old", "ada", now - 9_000, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        counted = 1
        for number in range(5):
            if number == 2:
                planned = facts(await call(client, "delete_request", request_id=newest.request_id))
                await call(client, "delete_request", request_id=newest.request_id, confirm=planned["confirm"])
            if "go_on" not in said:
                break
            said = facts(await call(client, "audit_traffic", **said["go_on"]["arguments"]))
            counted += said["requests"]
            assert "deleted meanwhile, both may count a request" in said["rest_of"]
        assert counted == 5


def test_every_rule_that_is_judged_when_all_was_seen_is_named_where_a_call_saw_a_part() -> None:
    by_request = {"assistant-as-user", "future-time", "inline-image"}
    at_the_end = {
        found.rule.id
        for kind in detector_types()
        if kind.finish is not Detector.finish
        for found in kind().founds
    }
    assert at_the_end - by_request == {*run.COMPARING, *run.OF_ALL, *run.OF_TOTALS}


async def test_what_is_judged_by_all_of_the_traffic_is_not_judged_by_the_part_of_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    now = make.made.now
    make.put([Turn("User", "Please look at the map.")], "first", "ada", now - 100, "web")
    for number in range(25):
        turn = Turn("User", f"What is the capital of country number {number}?")
        make.put([turn], f"ev{number}", "ada", now - 9_000 - number * 600, "web", evaluation_only=True)
    async with connected(make.finish(), tmp_path) as client:
        whole = facts(await call(client, "audit_traffic"))
        assert "only-evaluation" in whole["nothing_found"]
        monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
        first = facts(await call(client, "audit_traffic"))
        monkeypatch.setattr(run, "AUDIT_SECONDS", 35.0)
        rest = facts(await call(client, "audit_traffic", **first["go_on"]["arguments"]))
        assert rest["requests"] == 25
        for said in (first, rest):
            assert "only-evaluation" not in {one["id"] for one in said["findings"]}
            missed = {one_id for one in said["not_run"] for one_id in one["ids"]}
            assert missed >= {*run.OF_ALL, *run.OF_TOTALS}
            assert not missed & set(said["nothing_found"].split(", "))


async def test_what_the_part_of_one_call_shows_is_not_said_to_be_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    for number in range(30):
        turn = Turn("User", f"What is the capital of country number {number}?")
        when = make.made.now - 100 - number * 600
        make.put([turn], f"s{number}", "ada", when, "web", agent_version="agent-v0")
    async with connected(make.finish(), tmp_path) as client:
        monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
        first = facts(await call(client, "audit_traffic", user_id="ada"))
        monkeypatch.setattr(run, "AUDIT_SECONDS", 35.0)
        rest = facts(await call(client, "audit_traffic", **first["go_on"]["arguments"]))
    assert "unversioned" in {one["id"] for one in rest["findings"]}
    missed = {one_id: one["reason"] for one in rest["not_run"] for one_id in one["ids"]}
    assert "unversioned" not in missed
    # It is an audit of one user.
    assert missed["copied-request"] == run.MAY_GO_ON
    assert missed["copied-session"] == missed["temporary-session"] == run.MAY_GO_ON + run.BY_A_LIST


async def test_no_session_that_may_have_gone_on_is_offered_for_deletion_by_a_call_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    now = make.made.now
    make.put([Turn("User", "Please look at the map.")], "first", "ada", now - 100, "web")
    talk = [
        Turn("User", "Where do I keep the spare key of the garden shed, by the way?"),
        Turn("Assistant", "You told me that it hangs behind the kitchen door."),
        Turn("User", "And which paint did we choose for the fence last spring?"),
        Turn("Assistant", "A dark green one, number 6005."),
        Turn("User", "Who is going to water the plants in August?"),
    ]
    for session, begun in (("original", now - 9_000), ("copy", now - 5_000)):
        for number, turn in enumerate(talk):
            make.put([turn], session, "ada", begun + number * 30, "web")
    make.put([Turn("User", "Only for today.")], "tmp-7", "ada", now - 9 * 86_400, "web")
    async with connected(make.finish(), tmp_path) as client:
        whole = facts(await call(client, "audit_traffic"))
        judged = {"copied-session", "temporary-session"}
        assert judged <= {one["id"] for one in whole["findings"]}
        monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
        first = facts(await call(client, "audit_traffic"))
        words = [{"role": "User", "content": "Something new: the boiler man comes on Tuesday at nine."}]
        for session in ("copy", "tmp-7"):
            await call(client, "publish_interaction", user_id="ada", session_id=session, interactions=words)
        monkeypatch.setattr(run, "AUDIT_SECONDS", 35.0)
        rest = await call(client, "audit_traffic", **first["go_on"]["arguments"])
        assert "delete_session" not in text_of(rest)
        (said,) = [one for one in facts(rest)["not_run"] if "copied-session" in one["ids"]]
        assert judged == set(said["ids"])
        assert "may have gone on since this audit's first call" in said["reason"]
        # A list reads them anew: of the two copies the one that went on stays.
        assert said["reason"].endswith("list_requests with that finding looks at all sessions")
        for finding, count in (("copied-session", 5), ("temporary-session", 0)):
            listed = facts(await call(client, "list_requests", finding=finding))
            assert listed["returned"] == listed["total"] == count
            assert listed["complete"]


async def test_what_shows_only_in_a_whole_session_is_not_said_to_be_missing_from_one_that_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    text = "Please remember that the boiler man comes on Tuesday at nine and that he needs the key of the cellar."
    for number in range(4):
        make.put([Turn("User", text)], "long", "ada", make.made.now - 100 - number * 60, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        for _ in range(3):
            (missed,) = [one for one in said["not_run"] if "duplicate" in one["ids"]]
            assert missed["reason"] == "in a session that this call did not read to its end"
            assert {"near-duplicate", "shared-session", "endless-session"} <= set(missed["ids"])
            assert "duplicate" not in said["nothing_found"]
            said = facts(await call(client, "audit_traffic", **said["go_on"]["arguments"]))
        (found,) = [one for one in said["findings"] if one["id"] == "duplicate"]
        assert found["count"] == 3


async def test_no_cursor_holds_a_key_that_somebody_used_as_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "ghp_1A2b3C4d5E6f7G8h9I0jK1l2M3n4O5p6Q7r8"
    make = Maker(3, int(time.time()))
    now = make.made.now
    for number in range(3):
        make.put([Turn("User", ".")], key, "ada", now - 100 - number, "web")
    for number in range(3):
        make.put([Turn("User", ".")], f"s{number}", "ada", now - 5_000 - number, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    monkeypatch.setattr(run, "SAYABLE_SECONDS", 600.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        # On to the first place that can be said.
        assert said["requests"] == 4
        cursor = said["go_on"]["arguments"]["cursor"]
        raw = zlib.decompress(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        assert b'"s0"' in raw
        assert key.encode() not in raw
        said = facts(await call(client, "audit_traffic", cursor=cursor))
        assert said["requests"] == 1
        monkeypatch.setattr(run, "SAYABLE_SECONDS", 0.0)
        result = await call(client, "audit_traffic")
        said = facts(result)
        assert said["requests"] == 1
        assert "go_on" not in said
        assert "no cursor goes on from there" in said["left_out"]
        assert key not in text_of(result)


async def test_an_audit_stops_in_the_middle_of_a_session_that_takes_too_long_and_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5000
    rows = [make.put([Turn("User", ".")], "long", "ada", begun + number * 60, "web") for number in range(6)]
    beside = make.put([Turn("User", ".")], "beside", "ada", begun + 270, "web")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
        assert said["requests"] == 1
        assert "of a session with long texts the 5 oldest requests were not" in said["left_out"]
        assert f"sessions whose last request is from {iso(beside.created_at)} or before" in said["left_out"]
        found: set[str] = set()
        for _ in range(12):
            found |= {
                request_id
                for one in said["findings"]
                if one["id"] == "nearly-empty"
                for request_id in one["next"]["arguments"].get(
                    "request_ids", [one["examples"][0]["request_id"]]
                )
            }
            if "go_on" not in said:
                break
            said = facts(await call(client, "audit_traffic", **said["go_on"]["arguments"]))
        assert "go_on" not in said
    assert found == {row.request_id for row in (*rows, beside)}


async def test_what_is_nearly_the_same_is_shown_and_never_said_to_stay(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5000
    first = make.put([Turn("User", "Please book the usual table near the window")], "s", "ada", begun, "web")
    make.put([Turn("User", "Please book the usual table near the windwo")], "s", "ada", begun + 30, "web")
    async with connected(make.finish(), tmp_path) as client:
        audit = await call(client, "audit_traffic")
        (found,) = facts(audit)["findings"]
        assert (found["id"], found["next"]["tool"]) == ("near-duplicate", "list_requests")
        assert f"nearly repeats {first.request_id}" in text_of(audit)
        assert "which stays" not in text_of(audit)
        plan = await call(client, "delete_requests", finding="near-duplicate", user_id="ada")
        assert "which stays" not in text_of(plan)


async def test_a_short_text_that_comes_again_word_for_word_is_said_to_be_the_same(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 5000
    first, _ = (
        make.put([Turn("User", "Please book the usual table.")], "s", "ada", begun + seconds, "web")
        for seconds in (0, 30)
    )
    async with connected(make.finish(), tmp_path) as client:
        audit = await call(client, "audit_traffic")
    (found,) = facts(audit)["findings"]
    assert found["id"] == "near-duplicate"
    assert "or word for word in a short text" in text_of(audit)
    assert "(1 word for word, too short to be sure)" in text_of(audit)
    assert f" · repeats {first.request_id}\n" in text_of(audit)
    assert found["examples"][0]["repeats"] == first.request_id
    assert "nearly_repeats" not in found["examples"][0]


async def test_the_list_of_a_finding_has_all_of_it_through_all_its_pages(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    begun = make.made.now - 90_000
    expected: dict[str, set[str]] = {"duplicate": set(), "shared-session": set(), "near-duplicate": set()}
    for number in range(75):
        text = f"Question number {number}: how do I look after the plant in room {number}, which has {number} leaves?"
        make.put([Turn("User", text)], "copies", "ada", begun + number * 40, "web")
        copy = make.put([Turn("User", text)], "copies", "ada", begun + number * 40 + 9, "web")
        expected["duplicate"].add(copy.request_id)
    for number in range(150):
        row = make.put(
            [Turn("User", f"Message {number} of the room")], "shared", f"u{number % 2}", begun + number, "web"
        )
        expected["shared-session"].add(row.request_id)
    for number in range(40):
        question = f"Which of the {number} trains to the {number} towns leaves first?"
        at = begun + number * 1000
        row = make.put([Turn("User", question)], "answered", "bob", at, "web")
        make.put(
            [Turn("User", question), Turn("Assistant", f"Number {number}.")], "answered", "bob", at + 5, "web"
        )
        expected["duplicate"].add(row.request_id)
    for number in range(40):
        text = f"Which of the trains to the {number} stations leaves first?"
        at = begun + number * 1000
        make.put([Turn("User", text)], "misspelt", "bob", at, "web")
        misspelt = text.replace("stations", "statoins")
        expected["near-duplicate"].add(
            make.put([Turn("User", misspelt)], "misspelt", "bob", at + 5, "web").request_id
        )
    async with connected(make.finish(), tmp_path) as client:
        for finding, ids in expected.items():
            listed: list[str] = []
            arguments: dict[str, Any] = {"finding": finding, "limit": 17}
            for _ in range(100):
                said = facts(await call(client, "list_requests", **arguments))
                listed += [one["request_id"] for each in said["sessions"] for one in each["requests"]]
                if "cursor" not in said:
                    break
                arguments = {"cursor": said["cursor"], "limit": 17}
            assert len(listed) == len(ids)
            assert set(listed) == ids


@pytest.mark.parametrize(
    "narrow", [{"source": "a"}, {"end_time": "30h"}, {"agent_version": "1"}, {"contains": "garden"}]
)
async def test_a_temporary_session_that_goes_on_outside_the_filter_is_not_called_over(
    tmp_path: Path, narrow: dict[str, str]
) -> None:
    make = Maker(6, int(time.time()))
    for source, hours in (("a", 50), ("b", 0)):
        turns = [Turn("User", "a note about the garden wall"), Turn("Assistant", "kept")]
        version = "1" if source == "a" else "2"
        make.put(turns if source == "a" else make.talk.exchange(), "tmp-77", "me",
                 make.made.now - hours * 3600, source, agent_version=version)  # fmt: skip
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic", **narrow))
        assert "temporary-session" not in {one["id"] for one in said["findings"]}
        assert {"copied-session", "temporary-session"} <= not_looked_for(said)
        if "contains" not in narrow:
            for tool in ("list_requests", "delete_requests"):
                refused = await client.call_tool(tool, {**narrow, "finding": "temporary-session"})
                assert refused.is_error
                assert "end_time" in text_of(refused)


async def test_what_was_not_looked_for_comes_before_what_was_found(made: Deployment, tmp_path: Path) -> None:
    async with connected(made, tmp_path) as client:
        result = await call(client, "audit_traffic", user_id=made.rows[0].user_id)
    assert list(facts(result))[-1] == "findings"
    text = text_of(result)
    assert text.splitlines()[1].startswith("Not looked for: shared-session")
    assert text.index("Not looked for") < text.index("[high]")


@pytest.mark.parametrize(
    ("narrow", "env", "expected"),
    [
        ({}, {}, {"orphaned-learning", "stale-learning"}),
        ({"source": "web"}, {}, {"only-evaluation", "orphaned-learning", "copied-session"}),
        ({"user_id": "ada"}, {}, {"shared-session", "user-per-session"}),
        ({}, {"REFLEXIO_MCP_PERSONAL_DATA": "0"}, {"personal-data"}),
    ],
)
async def test_nothing_is_said_to_be_looked_for_in_vain_that_was_not_looked_for(
    narrow: dict[str, str], env: dict[str, str], expected: set[str], tmp_path: Path
) -> None:
    make = Maker(5, int(time.time()))
    for number in range(3):
        make.put(make.talk.exchange(), f"s{number}", "ada", make.when(), "web")
    async with connected(make.finish(), tmp_path, **env) as client:
        result = await call(client, "audit_traffic", **narrow)
    said, text = facts(result), text_of(result)
    not_run = not_looked_for(said)
    assert expected <= not_run
    if not said["findings"]:
        assert max(map(text.index, expected)) < text.index("Nothing was found of what was looked for.")
    assert all(re.search(rf"^Not looked for: .*{one}\b", text, re.MULTILINE) for one in expected)
    assert f"Looked for and not found: {said['nothing_found']}.\n" in f"{text}\n"
    found = {one["id"] for one in said["findings"]}
    personal = {rule.id for rule in RULES if rule.id.startswith("personal-")}
    if "personal-data" in not_run:
        not_run |= personal
    assert said["nothing_found"] == ", ".join(
        f"{rule.id} ({rule.within})" if rule.within else rule.id
        for rule in RULES
        if rule.id not in not_run | found
    )


async def test_a_sample_of_the_requests_whose_learning_was_asked_about_is_called_one(tmp_path: Path) -> None:
    make = Maker(5, int(time.time()))
    for number in range(70):
        row = make.put(make.talk.exchange(), f"s{number}", "ada", make.when(), "web")
        make.made.learning[row.request_id] = "done"
    async with connected(make.finish(), tmp_path) as client:
        text = text_of(await call(client, "audit_traffic"))
    assert "learning-failed, learning-unfinished (the service was asked about 60 of 70" in text


async def test_sources_that_differ_in_an_id_only_are_counted_as_one(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for number in range(5):
        make.put(
            [Turn("User", f"Report number {number}")],
            f"s{number}",
            "ada",
            make.when(),
            f"job-{10**9 + number}",
        )
    make.put([Turn("User", "Hello there, what is new?")], "s", "ada", make.when(), "web")
    async with connected(make.finish(), tmp_path) as client:
        said = facts(await call(client, "audit_traffic"))
    assert said["by_source"]["top"] == [{"name": "job-*", "count": 5}, {"name": "web", "count": 1}]


async def test_a_copy_is_shown_with_what_stays(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    turns = [
        Turn("User", "When does the museum open on Sundays?"),
        Turn("Assistant", "At ten, " + "and " * 30),
    ]
    at = make.when()
    first, second = (make.put(turns, "s", "ada", at + later, "web") for later in (0, 5))
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    (found,) = [one for one in facts(result)["findings"] if one["id"] == "duplicate"]
    assert found["examples"][0]["request_id"] == second.request_id
    assert found["examples"][0]["word_for_word_in_kept"] == first.request_id
    assert f"word for word in {first.request_id}, which stays" in text_of(result)


async def test_a_request_of_another_session_that_comes_again_is_shown_and_not_deleted(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    turns = [Turn("User", "When are you open?"), Turn("Assistant", "On Sundays from ten, " + "and " * 40)]
    at = make.when()
    first, second = (
        make.put(turns, session, "ada", at + later, "web") for session, later in (("s", 0), ("t", 90))
    )
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    (found,) = [one for one in facts(result)["findings"] if one["id"] == "copied-request"]
    assert found["next"] == {
        "tool": "get_request",
        "arguments": {"request_id": second.request_id, "detail": "masked"},
    }
    assert f"the same as {first.request_id}" in text_of(result)


async def listed_through_all_pages(
    client: Client, tool: str, arguments: dict[str, Any]
) -> list[dict[str, Any]]:
    """The requests, or for `list_sessions` the sessions, of every page of a list."""
    rows: list[dict[str, Any]] = []
    for _ in range(200):
        said = facts(await call(client, tool, **arguments, limit=7))
        for each in said["sessions"]:
            rows += each["requests"] if tool == "list_requests" else [each]
        if "cursor" not in said:
            return rows
        arguments = {"cursor": said["cursor"]}
    raise AssertionError("the list has no end")


async def test_each_call_that_lists_has_exactly_what_it_says_through_all_its_pages(
    made: Deployment, tmp_path: Path
) -> None:
    by_id = {row.request_id: row for row in made.rows}
    async with connected(made, tmp_path, REFLEXIO_MCP_READ_ONLY="1") as client:
        findings = facts(await call(client, "audit_traffic"))["findings"]
        looked: set[str] = set()
        for one in findings:
            following = one.get("next", {"tool": ""})
            if following["tool"] != "list_requests" or one["unit"] == "period":
                continue
            rows = await listed_through_all_pages(client, "list_requests", following["arguments"])
            ids = [row["request_id"] for row in rows]
            assert len(ids) == len(set(ids)), one["id"]
            units = {getattr(by_id[request_id], UNIT_FIELDS[one["unit"]]) for request_id in ids}
            assert len(units) == following.get("selects", one["count"]), one["id"]
            assert "selects" not in following or one["id"] in COVERED_IN_PART
            looked.add(one["id"])
    assert {"probable-secret", "shared-session", "volatile-source", "duplicate", "copied-session"} <= looked


UNIT_FIELDS = {
    "request": "request_id",
    "session": "session_id",
    "source": "source",
    "user": "user_id",
    "version": "agent_version",
}
COVERED_IN_PART = {"split-conversation", "unversioned", "copied-request"}
"""No filter selects all of these at once; their call says how many it covers."""


async def test_the_call_about_volatile_sources_lists_every_one_of_them(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    sources = [f"job-{10**9 + number}" for number in range(14)]
    sources += [f"sync-{number:02}-2026-0{1 + number % 9}-11" for number in range(3)]
    for source in [*sources, "web", "model-20250514"]:
        for _ in range(2):
            make.conversation(1, source=source)
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "volatile-source"]
        assert found["count"] == len(sources)
        assert "selects" not in found["next"]
        assert "of them)" not in text_of(result).partition("volatile-source")[2].split("e.g.")[0]
        rows = await listed_through_all_pages(client, found["next"]["tool"], found["next"]["arguments"])
    listed = {row["request_id"] for row in rows}
    assert listed == {row.request_id for row in make.made.rows if row.source in sources}


async def test_what_the_examples_of_a_finding_have_in_common_is_said_once(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    words = "Please put the quarterly numbers for the north region into one table."
    first = make.put([Turn("User", words)], "report", "bob", make.when(), "web")
    for second in (10, 20):
        make.put([Turn("User", words)], "report", "bob", first.created_at + second, "web")
    make.put([Turn("User", "Hello there, what is new?")], "s", "ada", make.when(), "chat")
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    (found,) = [one for one in facts(result)["findings"] if one["id"] == "duplicate"]
    shared = {
        "user_id": "bob",
        "session_id": "report",
        "source": "web",
        "word_for_word_in_kept": first.request_id,
    }
    assert found["each"] == shared
    assert [one.keys() for one in found["examples"]] == 2 * [{"request_id", "created_at"}]
    said = f" e.g. each user bob · session report · source web · word for word in {first.request_id}, which stays: "
    assert said in text_of(result)
    assert text_of(result).count("session report") == 1


async def test_a_name_that_all_requests_have_stands_whole_and_one_of_a_shape_is_no_name(
    tmp_path: Path,
) -> None:
    user = "u" * 90
    make = Maker(3, int(time.time()))
    for number in range(6):
        make.put([Turn("User", f"Report {number}")], f"s{number}", user, make.when(), f"job-{10**9 + number}")
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
    assert facts(result)["each"]["user_id"] == user
    assert f"each: user {user}" in text_of(result)
    assert "source" not in facts(result)["each"], "each has a source of its own"
    assert facts(result)["by_source"]["top"] == [{"name": "job-*", "count": 6}]


def lines_of_a_bus(make: Maker, number: int) -> list[list[Turn]]:
    """A conversation of four requests with two turns each."""
    return [
        [
            Turn("User", f"Where does line {number} end on {day}, and when does it go back to town?"),
            Turn("Assistant", f"Line {number} ends at the harbour on {day} and goes back every ten minutes."),
        ]
        for day in ("Mondays", "Fridays", "Saturdays", "Sundays")
    ]


def copied_conversations(make: Maker, count: int) -> set[str]:
    """Conversations that were imported again, each request three days later; the ids of what repeats another."""
    copies: set[str] = set()
    for number in range(count):
        at = make.made.now - 900_000 + number * 10_000
        for index, turns in enumerate(lines_of_a_bus(make, number)):
            make.put(turns, f"first-{number}", "ada", at + index * 60, "web")
            changed = number % 3 == 2 and index == 2
            again = (
                [turns[0], Turn("Assistant", f"It changed: line {number} ends at the zoo.")]
                if changed
                else turns
            )
            row = make.put(again, f"copy-{number}", "ada", at + 259_200 + index * 60, "web")
            # What follows on another answer is none either.
            copies |= set() if number % 3 == 2 and index >= 2 else {row.request_id}
    return copies


async def test_the_call_about_copied_sessions_takes_them_all_and_nothing_that_stands_nowhere_else(
    tmp_path: Path,
) -> None:
    """One of many was deleted, with the turns that it alone had and with what it had before the window."""
    make = Maker(3, int(time.time()))
    copies = copied_conversations(make, 12)
    make.put([Turn("User", "I moved to Bremen.")], "copy-1", "ada", make.made.now - 90 * 86_400, "web")
    said = {turn.content for row in make.made.rows for turn in row.turns}
    async with connected(make.finish(), tmp_path, REFLEXIO_MCP_CONFIRM="preview") as client:
        window = {"start_time": "30d"}
        result = await call(client, "audit_traffic", **window)
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "copied-session"]
        assert found["count"] == 12
        part, whole = "are in first-11; 2 of its 4 requests stay", "word for word in first-10, which stays"
        assert {one.get("note", "") for one in found["examples"]} == {"", f"all but 1 of its 8 turns {part}"}
        assert part in text_of(result)
        assert whole in text_of(result)
        following = found["next"]
        assert following["tool"] == "delete_requests"
        assert "selects" not in following
        arguments = following["arguments"]
        assert arguments.keys() == {"finding", "start_time"}
        rows = await listed_through_all_pages(client, "list_requests", arguments)
        assert sorted(row["request_id"] for row in rows) == sorted(copies)
        rows = await listed_through_all_pages(client, "list_sessions", arguments)
        assert sorted(row["session_id"] for row in rows) == sorted(f"copy-{number}" for number in range(12))
        one = facts(await call(client, "list_requests", session_id="copy-2", **arguments))
        assert one["total"] == 2
        longest = facts(await call(client, "list_sessions", order="longest", **arguments))
        assert longest["total"] == 12
        planned = facts(await call(client, "delete_requests", **arguments))
        assert planned["plan"]["requests"] == len(copies) == 40
        stays = {row.request_id for row in make.made.rows if row.session_id.startswith("first-")}
        assert {each["word_for_word_in_kept"] for each in planned["plan"]["examples"]} <= stays
        done = facts(await call(client, "delete_requests", **arguments, confirm=planned["confirm"]))
        assert done["status"] == "complete"
        left = await listed_through_all_pages(client, "list_requests", {"detail": "full"})
        assert said == {turn["content"] for row in left for turn in row["interactions"]}
        assert "copied-session" in facts(await call(client, "audit_traffic", **window))["nothing_found"]


async def test_the_pages_of_a_list_of_copies_name_no_request_with_its_original(tmp_path: Path) -> None:
    """Somebody goes on in the copy meanwhile, which then holds more; then something of the original goes."""
    make = Maker(3, int(time.time()))
    said = [
        Turn("User", f"Which of the {number} lighthouses of the coast is the oldest?") for number in range(9)
    ]
    for name, begins in (("first", 8000), ("copy", 2000)):
        for number, turn in enumerate(said[:6]):
            make.put([turn], name, "ada", make.made.now - begins + number * 60, "web")
    made = make.finish()
    asked = {"finding": "copied-session", "limit": 2}
    async with connected(made, tmp_path, REFLEXIO_MCP_CONFIRM="off") as client:
        page = facts(await call(client, "list_requests", **asked))
        await call(
            client,
            "publish_interaction",
            user_id="ada",
            session_id="copy",
            interactions=[{"role": "User", "content": said[8].content}],
        )
        listed = [one["session_id"] for one in page["sessions"]]
        page = facts(await call(client, "list_requests", cursor=page["cursor"], limit=2))
        listed += [one["session_id"] for one in page["sessions"]]
        assert set(listed) == {"copy"}
        assert page["total"] == 6
        last = next(row for row in made.rows if row.session_id == "first")
        await call(client, "delete_request", request_id=last.request_id)
        refused = await client.call_tool("list_requests", {"cursor": page["cursor"]})
        assert refused.is_error
        assert "goes on with copies that are others by now" in text_of(refused)


async def test_a_comparison_that_is_too_large_says_so_and_a_deletion_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(3, int(time.time()))
    copies = copied_conversations(make, 2)
    async with connected(make.finish(), tmp_path) as client:
        monkeypatch.setattr(listing, "COMPARED_SECONDS", 0.0)
        for tool in ("list_requests", "list_sessions"):
            refused = await client.call_tool(tool, {"finding": "copied-session"})
            assert refused.is_error
            assert "compares all sessions with each other, and there are more than could be read" in text_of(
                refused
            )
            assert "Name a user_id or a later start_time." in text_of(refused)
        planned = facts(await call(client, "delete_requests", finding="copied-session", user_id="ada"))
        assert planned["plan"]["requests"] == len(copies)
        # Where not all turns could be compared, an audit names what it found and no filter.
        monkeypatch.setattr(duplicates, "TURNS_KEPT", 12)
        refused = await client.call_tool("delete_requests", {"finding": "copied-session", "user_id": "ada"})
        assert refused.is_error
        assert "than are compared (" in text_of(refused)
        said = facts(await call(client, "audit_traffic"))
        (found,) = [one for one in said["findings"] if one["id"] == "copied-session"]
        assert found["next"]["arguments"].keys() == {"request_ids"}
        assert set(found["next"]["arguments"]["request_ids"]) < copies


async def test_all_sessions_that_are_deleted_one_by_one_are_named(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    copied_conversations(make, 30)
    tools = {"REFLEXIO_MCP_TOOLS": "audit_traffic,list_requests,delete_session"}
    async with connected(make.finish(), tmp_path, **tools) as client:
        result = await call(client, "audit_traffic")
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "copied-session"]
        assert found["next"]["tool"] == "delete_session"
        # The others have a turn of their own.
        assert found["next"]["arguments"]["session_id"] == "copy-28"
        assert found["count"] == len(found["which"]) == 30
        assert all(one in text_of(result) for one in found["which"])
        # What these sessions had before that is not looked at: a session does not go whole.
        since = facts(await call(client, "audit_traffic", start_time="30d"))
        (found,) = [one for one in since["findings"] if one["id"] == "copied-session"]
        assert found["next"]["tool"] == "list_requests"


async def test_kinds_that_are_not_named_are_counted_and_the_most_frequent_are(tmp_path: Path) -> None:
    make = Maker(3, int(time.time()))
    for number in range(11):
        for _ in range(number + 1):
            turn = Turn("User", f"Write to reader{number}@library.example.net, please.")
            make.put([turn], f"s{number}", f"user-{number}", make.when(), "web")
    async with connected(make.finish(), tmp_path) as client:
        result = await call(client, "audit_traffic")
        (found,) = [one for one in facts(result)["findings"] if one["id"] == "personal-email"]
        assert found["notes"][:2] == ["11 of user-10", "10 of user-9"]
        assert found["notes"][8:] == ["3 others (6)"]
        assert "4 of user-3, 3 others (6)" in text_of(result)


async def test_a_key_as_the_name_of_a_user_a_source_or_a_version_is_not_shown(tmp_path: Path) -> None:
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    make = Maker(3, int(time.time()))
    for number in range(3):
        make.put([Turn("User", ".")], f"s{number}", key, make.when(), "web", agent_version=key)
    make.put([Turn("User", ".")], "s9", "ada", make.when(), "api")
    async with connected(make.finish(), tmp_path) as client:
        for arguments in ({}, {"source": "web"}):
            result = await call(client, "audit_traffic", **arguments)
            assert key not in text_of(result)
            assert key not in str(result.structured_content)
            assert "[redacted: github-pat in an id or a name]" in text_of(result)


async def test_other_calls_go_on_while_sessions_are_compared(
    made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(secrets.Secrets, "finish", lambda _: threads.append(threading.get_ident()))
    async with connected(made, tmp_path) as client:
        await call(client, "audit_traffic")
    assert threads
    assert threading.get_ident() not in threads
