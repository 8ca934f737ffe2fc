"""What the client sends, and what it makes of what comes back."""

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from opentelemetry import trace

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import BadAddress, NotFound, NotSent, NotTheApi
from reflexio_mcp.rest.models import Interaction, RequestQuery, ToolUse
from tests.rest.helpers import KEY, URL, body, client_over
from tests.support.facts import said_of

pytestmark = pytest.mark.anyio

EMPTY_PAGE = {"success": True, "sessions": [], "has_more": False}
REFUSED_AGENT_WORDS = ("bot", "crawler", "spider", "scraper", "curl", "wget")


class Recorder:
    """Answers every request with the same JSON and keeps what was asked."""

    def __init__(self, reply: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.reply = reply
        self.headers = headers or {}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=self.reply, headers=self.headers)

    @property
    def sent(self) -> dict[str, Any]:
        return json.loads(self.requests[-1].content)


def stored(request_id: str, created_at: int) -> dict[str, Any]:
    return {"request": {"request_id": request_id, "created_at": created_at}, "interactions": []}


async def test_each_call_carries_the_key_and_an_agent_that_the_server_accepts() -> None:
    recorder = Recorder({"success": True, "org_id": "o"})
    async with client_over(recorder) as client:
        await client.whoami()
    headers = recorder.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"].startswith("reflexio-mcp/")
    assert not any(word in headers["user-agent"] for word in REFUSED_AGENT_WORDS)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(BadAddress) as caught:
        ReflexioClient(URL, api_key=key)
    assert "REFLEXIO_API_KEY" in said_of(caught.value)
    assert key not in said_of(caught.value)


async def test_a_path_prefix_of_the_address_is_kept() -> None:
    recorder = Recorder({"status": "healthy"})
    async with ReflexioClient(f"{URL}/prefix/", transport=httpx.MockTransport(recorder)) as client:
        await client.health()
    assert str(recorder.requests[0].url) == f"{URL}/prefix/health"


@pytest.mark.parametrize(
    "url",
    ["", KEY, "ftp://host", "https://", f"https://user:{KEY}@host", f"https://host/?key={KEY}", "https://host#x",
     "https://host:0", "https://host:x", "https://ho st", "https://[::1"],
)  # fmt: skip
def test_a_url_that_cannot_work_is_refused_at_construction_without_being_shown(url: str) -> None:
    with pytest.raises(BadAddress) as caught:
        ReflexioClient(url)
    assert "REFLEXIO_URL" in said_of(caught.value)
    assert KEY not in said_of(caught.value)


async def test_a_publish_sends_what_was_set_and_no_default() -> None:
    recorder = Recorder({"success": True, "request_id": "r-1"})
    full = body(source="web", evaluation_only=True)
    tool = ToolUse(tool_name="t", tool_data={"a": [1, None]})
    full.interaction_data_list = [
        Interaction(content="grüße 🦉"),
        Interaction(role="Agent", created_at=5, tools_used=[tool]),
    ]
    async with client_over(recorder) as client:
        await client.publish(full, minted=True, wait=True)
    assert recorder.requests[0].url.params["wait_for_response"] == "true"
    assert recorder.sent == {
        "user_id": "u",
        "session_id": "s",
        "request_id": "r-1",
        "source": "web",
        "evaluation_only": True,
        "interaction_data_list": [
            {"content": "grüße 🦉"},
            {
                "role": "Agent",
                "created_at": 5,
                "tools_used": [{"tool_name": "t", "tool_data": {"a": [1, None]}}],
            },
        ],
    }


async def test_what_cannot_be_sent_is_refused_before_it_is_sent() -> None:
    recorder, half = Recorder(EMPTY_PAGE), "\ud83d"
    not_a_number = body()
    not_a_number.interaction_data_list[0].tools_used = [ToolUse(tool_name="t", tool_data={"a": float("nan")})]
    async with client_over(recorder) as client:
        for call in (
            client.publish(not_a_number, minted=True),
            client.learning_status(half),
            client.get_requests(RequestQuery(user_id=half)),
            client.delete_requests_by_ids([]),
            client.delete_requests_by_ids(["id"] * 10_001),
            client.delete_user_playbooks(["not a number"]),
        ):
            with pytest.raises(NotSent):
                await call
    assert recorder.requests == []


async def test_times_are_sent_with_an_offset() -> None:
    recorder = Recorder(EMPTY_PAGE)
    async with client_over(recorder) as client:
        await client.get_requests(RequestQuery(user_id="u", start_time=0, end_time=86_400))
    assert recorder.sent == {
        "user_id": "u",
        "start_time": "1970-01-01T00:00:00+00:00",
        "end_time": "1970-01-02T00:00:00+00:00",
        "top_k": 30,
        "offset": 0,
    }


async def test_a_period_of_one_second_is_asked_for_wider_and_cut_here() -> None:
    sessions = [
        {"session_id": "a", "requests": [stored("in time", 100), stored("early", 99)]},
        {"session_id": "b", "requests": [stored("too early", 99)]},
    ]
    recorder = Recorder({"success": True, "has_more": True, "sessions": sessions})
    async with client_over(recorder) as client:
        page = await client.get_requests(RequestQuery(start_time=100, end_time=100))
    assert recorder.sent["start_time"] == "1970-01-01T00:01:39+00:00"
    [group] = page.sessions
    assert [item.request.request_id for item in group.requests] == ["in time"]
    assert not page.has_more, "what follows in the server's order is earlier still"


async def test_a_page_knows_the_servers_time_and_the_id_of_its_call() -> None:
    headers = {"date": "Tue, 24 Nov 2026 10:00:00 GMT", "x-correlation-id": "abc"}
    async with client_over(Recorder(EMPTY_PAGE, headers)) as client:
        page = await client.get_requests(RequestQuery())
    assert (page.server_time, page.correlation_id) == (1795514400, "abc")
    headers = {"date": "yesterday", "x-correlation-id": "a\tb; <script>"}
    async with client_over(Recorder(EMPTY_PAGE, headers)) as client:
        page = await client.get_requests(RequestQuery())
    assert (page.server_time, page.correlation_id) == (None, None)


async def test_a_reply_cannot_set_what_the_client_sets_and_a_null_is_the_default() -> None:
    lies = {"already_stored": True, "repeated": True, "correlation_id": "x", "warnings": None}
    async with client_over(Recorder({"success": True, **lies})) as client:
        published = await client.publish(body(), minted=True)
        deleted = await client.delete_requests_by_ids(["r-1"])
    assert not published.already_stored
    assert not deleted.repeated
    assert (published.correlation_id, published.warnings) == (None, [])


async def test_an_unknown_id_is_not_found_and_a_missing_route_is_another_server() -> None:
    for detail, kind in (("request not found", NotFound), ("Not Found", NotTheApi)):
        async with client_over(lambda _, d=detail: httpx.Response(404, json={"detail": d})) as client:
            with pytest.raises(kind):
                await client.learning_status("r-1")


async def test_learnings_of_every_status_are_asked_for() -> None:
    recorder = Recorder({"success": True, "user_profiles": [], "user_playbooks": []})
    async with client_over(recorder) as client:
        await client.get_profiles("u")
        assert recorder.sent["top_k"] is None
        await client.get_user_playbooks("u")
    assert recorder.sent["limit"] > 1_000_000
    assert {None, "superseded", "merged", "expired"} <= set(recorder.sent["status_filter"])


@pytest.mark.parametrize("items", [{"a": 1}, [{"content": "no id"}], ["text"]])
async def test_learnings_of_another_shape_are_no_empty_list(items: object) -> None:
    async with client_over(Recorder({"success": True, "user_profiles": items})) as client:
        with pytest.raises(NotTheApi, match="other JSON at user_profiles"):
            await client.get_profiles("u")


async def test_profiles_past_their_expiry_are_asked_for_by_user_and_by_when_they_were_first_stored() -> None:
    recorder = Recorder({"success": True, "user_profiles": [{"profile_id": "p", "expiration_timestamp": 7}]})
    async with client_over(recorder) as client:
        [found] = await client.get_all_profiles("a & b", created_since=1_000)
        asked = dict(recorder.requests[-1].url.params)
        await client.get_all_profiles("u")
    assert (found.profile_id, found.expiration_timestamp) == ("p", 7)
    assert int(asked.pop("limit")) > 1_000_000
    assert asked == {"user_id": "a & b", "date_field": "created_at", "start_time": "1000"}
    assert dict(recorder.requests[-1].url.params).keys() == {"user_id", "limit"}


async def test_shared_rules_are_listed_traced_judged_and_deleted_by_their_number() -> None:
    source = {"user_playbook": {"user_playbook_id": 3, "user_id": "ada"}, "source_interaction_ids": [8]}
    recorder = Recorder(
        {
            "success": True,
            "agent_playbooks": [{"agent_playbook_id": 5, "playbook_status": "approved"}],
            "provenance_status": "exact",
            "source_user_playbooks": [source],
        }
    )
    async with client_over(recorder) as client:
        [rule] = await client.get_agent_playbooks()
        assert "status_filter" not in recorder.sent
        await client.get_agent_playbooks(agent_playbook_id=5)
        assert {None, "superseded"} <= set(recorder.sent["status_filter"])
        sources = await client.agent_playbook_sources(5)
        assert recorder.sent == {"kind": "agent_playbook", "id": "5"}
        await client.set_agent_playbook_status(5, "rejected")
        assert recorder.sent == {"agent_playbook_id": 5, "playbook_status": "rejected"}
        await client.delete_agent_playbooks([5])
        assert recorder.sent == {"agent_playbook_ids": [5]}
    assert (rule.agent_playbook_id, rule.playbook_status) == (5, "approved")
    assert [one.user_playbook.user_id for one in sources.source_user_playbooks] == ["ada"]


async def test_a_list_that_the_api_cuts_says_that_it_was_cut() -> None:
    verdict = {"kind": "profile", "learning_id": "p", "is_relevant": None}
    recorder = Recorder({"success": True, "results": [verdict] * 1_000})
    async with client_over(recorder) as client:
        verdicts, all_of_them = await client.get_verdicts("u", session_id="s")
        assert recorder.sent == {"user_id": "u", "session_id": "s", "limit": 1_000}
        assert (len(verdicts), all_of_them) == (1_000, False)


async def test_a_text_that_names_what_json_does_not_have_is_sent() -> None:
    recorder = Recorder({"success": True})
    said = body("r")
    said.interaction_data_list[0].content = 'NaN, Infinity, "ü"\u2028'
    async with client_over(recorder) as client:
        await client.publish(said, minted=True)
    assert recorder.sent["interaction_data_list"][0]["content"] == said.interaction_data_list[0].content


@pytest.mark.parametrize(
    "written",
    ['{"success":true,"org_id":"\\ud800"}', '\ufeff{"success":true,"org_id":"o"}'],
    ids=["half of a pair", "byte order mark"],
)
async def test_json_is_read_as_the_service_may_write_it(written: str) -> None:
    async with client_over(lambda _: httpx.Response(200, content=written.encode())) as client:
        assert (await client.whoami()).org_id in ("\ud800", "o")


async def test_outcomes_are_never_asked_for_without_a_user_or_sessions() -> None:
    recorder = Recorder({"success": True, "session_outcomes": [{"session_id": "s"}]})
    async with client_over(recorder) as client:
        with pytest.raises(NotSent):
            await client.get_session_outcomes("")
        with pytest.raises(NotSent):
            await client.get_session_outcomes(session_ids=["s"] * 101)
        assert not recorder.requests
        await client.get_session_outcomes(session_ids=["s"])
        assert "user_id" not in recorder.sent
        assert recorder.sent["session_ids"] == ["s"]


async def test_a_closed_client_sends_nothing_and_may_be_closed_again() -> None:
    recorder = Recorder({"success": True})
    client = client_over(recorder)
    await client.aclose()
    await client.aclose()
    with pytest.raises(NotSent):
        await client.delete_requests_by_ids(["r-2"])
    assert recorder.requests == []


async def test_an_open_span_travels_with_the_call() -> None:
    recorder = Recorder({"success": True})
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    async with client_over(recorder) as client:
        with trace.use_span(trace.NonRecordingSpan(context)):
            await client.delete_requests_by_ids(["r-1"])
    assert recorder.requests[0].headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_the_client_costs_no_http_library_before_its_first_call() -> None:
    program = (
        "import sys, reflexio_mcp.rest.client as c\n"
        "c.ReflexioClient('http://localhost:8061', api_key='k')\n"
        "sys.exit(' '.join({'httpx', 'httpcore', 'opentelemetry', 'ssl'} & set(sys.modules)) or None)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
