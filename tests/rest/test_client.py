"""What the client sends, how it reads replies, and what it costs before the first call."""

import inspect
import json
import ssl
import subprocess
import sys
from typing import Any

import anyio.lowlevel
import httpx
import pytest
from opentelemetry import trace

import reflexio_mcp
from reflexio_mcp.rest import api_limits, models
from reflexio_mcp.rest import client as client_module
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import BadAddress, NotFound, NotSent, NotTheApi, Unreachable, explain
from reflexio_mcp.rest.models import (
    Citation,
    Interaction,
    PublishBody,
    PublishReply,
    RequestQuery,
    RetrievedLearning,
    ToolUse,
)
from tests.contract.calls import REFUSED_AGENT_WORDS
from tests.rest.helpers import KEY, URL, body, client_over
from tests.support.wire import answering, serve

pytestmark = pytest.mark.anyio


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


OK = {"success": True}
EMPTY_PAGE = {"success": True, "sessions": [], "has_more": False}


def stored(request_id: str, created_at: int) -> dict[str, Any]:
    return {"request": {"request_id": request_id, "created_at": created_at}, "interactions": []}


async def test_each_call_carries_the_key_and_an_agent_that_the_server_accepts() -> None:
    recorder = Recorder(OK)
    async with client_over(recorder) as client:
        await client.delete_request("r-1")
    headers = recorder.requests[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"] == f"reflexio-mcp/{reflexio_mcp.__version__}"
    assert not any(word in headers["user-agent"] for word in REFUSED_AGENT_WORDS)


async def test_without_a_key_no_authorization_is_sent() -> None:
    recorder = Recorder(OK)
    async with client_over(recorder, api_key=None) as client:
        await client.delete_request("r-1")
    assert "authorization" not in recorder.requests[0].headers


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(BadAddress) as caught:
        ReflexioClient(URL, api_key=key)
    assert "REFLEXIO_API_KEY" in str(caught.value)
    assert key not in explain(caught.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:8061", "http://localhost:8061"),
        (" http://localhost:8061// ", "http://localhost:8061"),
        ("https://host.test/memory/v1/", "https://host.test/memory/v1"),
        ("http://[::1]:8061/", "http://[::1]:8061"),
    ],
)
async def test_the_base_url_keeps_its_prefix_and_drops_the_slash(given: str, kept: str) -> None:
    recorder = Recorder({"status": "healthy"})
    async with ReflexioClient(given, transport=httpx.MockTransport(recorder)) as client:
        assert client.base_url == kept
        await client.health()
    assert str(recorder.requests[0].url) == f"{kept}/health"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8061",
        "ftp://host.test",
        "http://",
        "http://:8061",
        "http://host.test:99999",
        "http://[::1",
        f"https://user:{KEY}@host.test",
        f"https://{KEY}@host.test",
        f"https://host.test/?key={KEY}",
        f"https://host.test/#{KEY}",
        "https://host .test",
        "https://höst.test",
        KEY,
    ],
)
def test_a_url_that_cannot_work_is_refused_at_construction_without_being_shown(url: str) -> None:
    with pytest.raises(BadAddress) as caught:
        ReflexioClient(url)
    text = explain(caught.value)
    assert "REFLEXIO_URL" in text
    assert KEY not in text


async def test_a_publish_sends_every_field_that_was_set_and_no_default() -> None:
    recorder = Recorder({"success": True, "request_id": "r-1"})
    full = PublishBody(
        user_id="u",
        session_id="s",
        request_id="r-1",
        source="web",
        agent_version="v2",
        skip_aggregation=True,
        force_extraction=True,
        evaluation_only=True,
        session_finished=True,
        override_learning_stall=True,
        retrieval_experiment_id="e",
        retrieval_experiment_arm="holdout",
        interaction_data_list=[
            Interaction(content="grüße 🦉"),
            Interaction(
                role="Agent",
                created_at=5,
                user_action="click",
                user_action_description="the button",
                interacted_image_url="https://host.test/i.png",
                shadow_content="shadow",
                expert_content="expert",
                tools_used=[ToolUse(tool_name="t", tool_data={"a": [1, None]}, status="ok")],
                citations=[Citation(kind="profile", real_id="p")],
                retrieved_learnings=[RetrievedLearning(kind="profile", learning_id="p")],
            ),
            Interaction(image_encoding="aGk="),
        ],
    )
    async with client_over(recorder) as client:
        await client.publish(full, minted=True)
    assert recorder.sent == {
        "user_id": "u",
        "session_id": "s",
        "request_id": "r-1",
        "source": "web",
        "agent_version": "v2",
        "skip_aggregation": True,
        "force_extraction": True,
        "evaluation_only": True,
        "session_finished": True,
        "override_learning_stall": True,
        "retrieval_experiment_id": "e",
        "retrieval_experiment_arm": "holdout",
        "interaction_data_list": [
            {"content": "grüße 🦉"},
            {
                "role": "Agent",
                "created_at": 5,
                "user_action": "click",
                "user_action_description": "the button",
                "interacted_image_url": "https://host.test/i.png",
                "shadow_content": "shadow",
                "expert_content": "expert",
                "tools_used": [{"tool_name": "t", "tool_data": {"a": [1, None]}, "status": "ok"}],
                "citations": [{"kind": "profile", "real_id": "p"}],
                "retrieved_learnings": [{"kind": "profile", "learning_id": "p"}],
            },
            {"image_encoding": "aGk="},
        ],
    }
    async with client_over(recorder) as client:
        await client.publish(body("r-2", content="hi"), minted=True)
    assert recorder.sent == {
        "user_id": "u",
        "session_id": "s",
        "request_id": "r-2",
        "interaction_data_list": [{"content": "hi"}],
    }


@pytest.mark.parametrize(("wait", "query"), [(False, ""), (True, "wait_for_response=true")])
async def test_waiting_is_asked_for_in_the_query(wait: bool, query: str) -> None:
    recorder = Recorder(OK)
    async with client_over(recorder) as client:
        reply = await client.publish(body(), minted=True, wait=wait)
    assert recorder.requests[0].url.query.decode() == query
    assert reply.request_id == "r-1"


@pytest.mark.parametrize(
    ("wait", "given", "allowed"), [(False, None, 30), (True, None, 270), (True, 45.0, 45), (False, 7.0, 7)]
)
async def test_a_publish_that_waits_has_the_time_the_server_takes(
    wait: bool, given: float | None, allowed: float
) -> None:
    recorder = Recorder(OK)
    async with client_over(recorder) as client:
        await client.publish(body(), minted=True, wait=wait, timeout=given)
    assert recorder.requests[0].extensions["timeout"]["read"] == allowed


@pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"a": object()}])
async def test_what_json_cannot_say_is_refused_before_it_is_sent(data: dict[str, Any]) -> None:
    recorder = Recorder(OK)
    sent = body()
    sent.interaction_data_list = [Interaction(tools_used=[ToolUse(tool_name="t", tool_data=data)])]
    async with client_over(recorder) as client:
        with pytest.raises(NotSent):
            await client.publish(sent, minted=True)
    assert recorder.requests == []


async def test_an_id_that_is_no_text_is_refused_before_it_is_sent() -> None:
    recorder = Recorder(EMPTY_PAGE)
    half = "\ud83d"
    async with client_over(recorder) as client:
        for call in (
            lambda: client.learning_status(half),
            lambda: client.get_requests(RequestQuery(user_id=half)),
            lambda: client.get_requests(RequestQuery(request_id=half)),
            lambda: client.delete_request(half),
            lambda: client.get_profiles(half),
        ):
            with pytest.raises(NotSent, match="surrogate"):
                await call()
    assert recorder.requests == []


async def test_both_times_are_sent_with_an_offset() -> None:
    recorder = Recorder(EMPTY_PAGE)
    async with client_over(recorder) as client:
        await client.get_requests(
            RequestQuery(user_id="u", start_time=0, end_time=86_400, top_k=5, offset=10)
        )
    assert recorder.sent == {
        "user_id": "u",
        "start_time": "1970-01-01T00:00:00+00:00",
        "end_time": "1970-01-02T00:00:00+00:00",
        "top_k": 5,
        "offset": 10,
    }


async def test_a_period_of_one_second_is_asked_for_wider_and_cut_here() -> None:
    page = {
        "success": True,
        "has_more": True,
        "sessions": [
            {"session_id": "a", "requests": [stored("in time", 100), stored("early", 99)]},
            {"session_id": "b", "requests": [stored("too early", 99)]},
        ],
    }
    recorder = Recorder(page)
    async with client_over(recorder) as client:
        result = await client.get_requests(RequestQuery(start_time=100, end_time=100))
    assert recorder.sent["start_time"] == "1970-01-01T00:01:39+00:00"
    assert recorder.sent["end_time"] == "1970-01-01T00:01:40+00:00"
    assert [
        (group.session_id, [item.request.request_id for item in group.requests]) for group in result.sessions
    ] == [("a", ["in time"])]
    # What follows in the server's order is earlier still.
    assert not result.has_more


@pytest.mark.parametrize(
    "query",
    [
        RequestQuery(start_time=2, end_time=1),
        RequestQuery(start_time=10**18),
        RequestQuery(end_time=-(10**18)),
        RequestQuery(top_k=0),
        RequestQuery(offset=-1),
    ],
)
async def test_a_query_that_the_server_would_choke_on_is_not_sent(query: RequestQuery) -> None:
    recorder = Recorder(EMPTY_PAGE)
    async with client_over(recorder) as client:
        with pytest.raises(NotSent):
            await client.get_requests(query)
    assert recorder.requests == []


async def test_numbers_beyond_the_servers_integers_are_lowered_to_what_it_takes() -> None:
    recorder = Recorder(EMPTY_PAGE)
    async with client_over(recorder) as client:
        await client.get_requests(RequestQuery(top_k=2**80, offset=2**80))
    assert recorder.sent["top_k"] < 2**63
    assert recorder.sent["offset"] < 2**63


async def test_a_page_knows_the_servers_time_and_the_id_of_its_call() -> None:
    headers = {"date": "Tue, 24 Nov 2026 10:00:00 GMT", "x-correlation-id": "abc"}
    async with client_over(Recorder(EMPTY_PAGE, headers)) as client:
        page = await client.get_requests(RequestQuery())
    assert page.server_time == 1795514400
    assert page.correlation_id == "abc"
    assert "correlation_id" not in page.model_dump()


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday", "x-correlation-id": "a\tb; <script>"}])
async def test_a_page_without_usable_headers_has_neither(headers: dict[str, str]) -> None:
    async with client_over(Recorder(EMPTY_PAGE, headers)) as client:
        page = await client.get_requests(RequestQuery())
    assert page.server_time is None
    assert page.correlation_id is None


async def test_a_reply_cannot_set_what_the_client_sets() -> None:
    forged = {
        "success": True,
        "already_stored": True,
        "repeated": True,
        "correlation_id": "x",
        "server_time": 1,
    }
    async with client_over(Recorder({**forged, "sessions": []})) as client:
        published = await client.publish(body(), minted=True)
        deleted = await client.delete_request("r-1")
        page = await client.get_requests(RequestQuery())
    assert not published.already_stored
    assert not deleted.repeated
    assert page.server_time is None
    assert page.correlation_id is None


async def test_a_null_in_a_reply_stands_for_the_default() -> None:
    reply = {**OK, "org_id": "o", "storage_type": None, "storage_label": None, "something_new": [1]}
    async with client_over(Recorder(reply)) as client:
        assert (await client.whoami()).storage_type == ""


async def test_an_unknown_id_is_not_found_and_a_missing_route_is_another_server() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        detail = "request not found" if request.url.params["request_id"] == "gone" else "Not Found"
        return httpx.Response(404, json={"detail": detail})

    async with client_over(answer) as client:
        with pytest.raises(NotFound):
            await client.learning_status("gone")
        with pytest.raises(NotTheApi):
            await client.learning_status("elsewhere")


async def test_learnings_of_every_status_are_asked_for() -> None:
    recorder = Recorder({"success": True, "user_profiles": [{"profile_id": "p", "status": "merged"}]})
    async with client_over(recorder) as client:
        profiles = await client.get_profiles("u")
    assert recorder.sent["top_k"] is None
    assert recorder.sent["status_filter"][:3] == [None, "pending", "archived"]
    assert [(profile.profile_id, profile.status) for profile in profiles] == [("p", "merged")]

    recorder = Recorder({"success": True, "user_playbooks": [{"user_playbook_id": 3, "request_id": "r"}]})
    async with client_over(recorder) as client:
        playbooks = await client.get_user_playbooks("u")
    assert recorder.sent["limit"] >= 1_000_000
    assert [playbook.user_playbook_id for playbook in playbooks] == [3]


@pytest.mark.parametrize(
    "items",
    [
        "none",
        [{"no": "id"}],
        ["text"],
        [None],
        [{"profile_id": "p", "source_interaction_ids": "12"}],
        [{"profile_id": "p", "source_interaction_ids": [[1]]}],
    ],
)
async def test_learnings_of_another_shape_are_no_empty_list(items: object) -> None:
    async with client_over(Recorder({"success": True, "user_profiles": items})) as client:
        for turns in (None, {7}):
            with pytest.raises(NotTheApi):
                await client.get_profiles("u", turns=turns)


async def test_only_learnings_that_list_other_turns_are_left_out() -> None:
    listed = {"a": [1, 2], "b": [2, 3], "c": [3], "none": [], "d": [4]}
    rows = [{"profile_id": one, "source_interaction_ids": turns} for one, turns in listed.items()]
    reply = {
        "success": True,
        "user_profiles": [*rows, {"profile_id": "null", "source_interaction_ids": None}],
    }
    async with client_over(Recorder(reply)) as client:
        chosen = await client.get_profiles("u", turns={2}, also={"d"})
        assert [one.profile_id for one in chosen] == ["a", "b", "none", "d", "null"]
        assert len(await client.get_profiles("u")) == 6
    numbered = [{"user_playbook_id": number, "source_interaction_ids": [number]} for number in (1, 2, 3)]
    async with client_over(Recorder({"success": True, "user_playbooks": numbered})) as client:
        kept = await client.get_user_playbooks("u", turns={2}, also={"3"})
    assert [one.user_playbook_id for one in kept] == [2, 3]


async def test_playbook_ids_are_sent_as_the_numbers_they_are() -> None:
    recorder = Recorder({"success": True, "deleted_count": 2})
    async with client_over(recorder) as client:
        await client.delete_user_playbooks(["1", "22"])
        assert recorder.sent == {"user_playbook_ids": [1, 22]}
        with pytest.raises(NotSent):
            await client.delete_user_playbooks(["one"])
    assert len(recorder.requests) == 1


@pytest.mark.parametrize("count", [0, api_limits.MAX_DELETE_IDS + 1])
async def test_a_set_that_the_server_refuses_is_not_sent(count: int) -> None:
    recorder = Recorder(OK)
    async with client_over(recorder) as client:
        with pytest.raises(NotSent):
            await client.delete_requests_by_ids([str(number) for number in range(count)])
    assert recorder.requests == []


async def test_a_closed_client_sends_nothing_and_may_be_closed_again() -> None:
    recorder = Recorder(OK)
    client = client_over(recorder)
    await client.delete_request("r-1")
    await client.aclose()
    await client.aclose()
    with pytest.raises(NotSent):
        await client.delete_request("r-2")
    assert len(recorder.requests) == 1


async def test_an_open_span_travels_with_the_call() -> None:
    recorder = Recorder(OK)
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    async with client_over(recorder) as client:
        with trace.use_span(trace.NonRecordingSpan(context)):
            await client.delete_request("r-1")
        await client.delete_request("r-2")
    inside, outside = recorder.requests
    assert inside.headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert "traceparent" not in outside.headers


def test_the_client_costs_no_http_library_before_its_first_call() -> None:
    program = (
        "import sys, reflexio_mcp.rest.client as c\n"
        "c.ReflexioClient('http://localhost:8061', api_key='k')\n"
        "heavy = {'httpx', 'httpcore', 'anyio', 'opentelemetry', 'ssl'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(heavy)) or None)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


async def test_what_is_trusted_is_held_once_for_all_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []

    def context(**options: Any) -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", context)
    # As an operator sets it; it also keeps this test from what others have opened before.
    for name in ("first.pem", "second.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", name)
        for number in range(3):
            # Without the waits between its tries.
            client = ReflexioClient(
                "https://127.0.0.1:9", api_key=f"key-{number}", sleep=lambda _: anyio.lowlevel.checkpoint()
            )
            async with client:
                with pytest.raises(Unreachable):
                    await client.whoami()
    assert len(made) == 2


async def test_a_proxy_that_needs_what_is_not_installed_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    async with ReflexioClient("https://reflexio.example") as client:
        with pytest.raises(BadAddress, match="ALL_PROXY"):
            await client.whoami()


def test_the_public_names_are_those_listed() -> None:
    assert client_module.__all__ == ["ReflexioClient"]
    here = {
        name
        for name, value in vars(models).items()
        if inspect.isclass(value) and value.__module__ == models.__name__
    }
    assert set(models.__all__) == here - {"Read", "Reply", "Sent"}
    assert models.__all__ == sorted(models.__all__)
    assert PublishReply.__doc__


async def test_a_call_over_the_network_looks_for_no_module_once_one_has_been_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            looked_for.append(name)

    async with (
        serve(answering(200, b'{"status": "healthy"}')) as server,
        ReflexioClient(server.url) as client,
    ):
        await client.health()
        monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
        await client.health()
    assert not looked_for
