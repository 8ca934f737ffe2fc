"""What a model reads when the service fails under a tool, and that nothing is given away or claimed."""

import gc
import logging
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client.client import Client
from mcp.types import CallToolResult

from reflexio_mcp.render.words import words_for_model
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.failures import failure_facts
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.primitives.conftest import outside_the_fence
from tests.rest.helpers import KEY, PAYLOAD, FakeTime, client_over
from tests.rest.test_faults import FAULTS, Fault
from tests.support.facts import fact_of, text_of
from tests.support.store_app import StoreApp

pytestmark = pytest.mark.anyio

CALLS: list[tuple[str, dict[str, Any]]] = [
    (
        "publish_interaction",
        {"user_id": "ada", "session_id": "s", "interactions": [{"content": PAYLOAD}]},
    ),
    ("list_sessions", {}),
    ("list_requests", {"contains": PAYLOAD}),
    ("get_request", {"request_id": "r1"}),
    ("delete_request", {"request_id": "r1"}),
    ("delete_session", {"session_id": "s"}),
]


def safe(text: str, caplog: pytest.LogCaptureFixture) -> None:
    for place in (text, caplog.text):
        for secret in (KEY, "canary/reflexio", "Traceback", 'File "', "<html"):
            assert secret not in place


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize(("tool", "arguments"), CALLS, ids=[tool for tool, _ in CALLS])
async def test_a_failure_is_a_sentence_about_what_happened_what_changed_and_what_to_do(
    fault: Fault, tool: str, arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "reflexio_mcp")

    def reply(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(fault.status, content=fault.content, headers=fault.headers)

    rest = client_over(reply)
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_CONFIRM": "off"}), client=rest)) as client:
        with anyio.fail_after(60):
            result = await client.call_tool(tool, arguments)
    text = text_of(result)
    assert result.is_error
    assert result.structured_content is None
    # What the service says stands behind the sentence, in a fence of its own.
    sentence = outside_the_fence(text).rstrip("\n")
    assert len(sentence) <= 500
    assert sentence.endswith(".")
    assert "\n" not in sentence
    if tool == "publish_interaction":
        assert ("Nothing was changed" in text) == (fault.effect == "none")
        assert ("not known" in text) == (fault.effect == "unknown")
        # Elsewhere the fault's words are the service's own: nothing that was sent holds them.
        assert PAYLOAD not in text
    if tool.startswith("delete"):
        # The plan failed: only reads had been sent.
        assert "not known" not in text
    safe(text, caplog)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_an_error_is_gone_when_its_call_is_answered(fault: Fault) -> None:
    """And with it what the frames in its traceback hold: the collector may not come by for a long time."""
    calls = [
        *CALLS,
        ("list_learnings", {"user_id": "ada"}),
        ("audit_traffic", {}),
        ("delete_requests", {"request_ids": ["r1", "r2"]}),
        ("get_status", {}),
    ]
    rest = client_over(lambda _: httpx.Response(fault.status, content=fault.content, headers=fault.headers))
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_CONFIRM": "off"}), client=rest)) as client:
        gc.collect()
        gc.disable()
        # What failed in other tests may be kept by theirs.
        others = {id(one) for one in gc.get_objects() if isinstance(one, ReflexioError)}
        try:
            for tool, arguments in calls:
                await client.call_tool(tool, arguments)
                await anyio.wait_all_tasks_blocked()
                errors = [one for one in gc.get_objects() if isinstance(one, ReflexioError)]
                left = [one for one in errors if id(one) not in others]
                del errors
                assert left == [], tool
        finally:
            gc.enable()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_the_status_says_that_the_service_is_not_reachable_and_why(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    rest = client_over(lambda _: httpx.Response(fault.status, content=fault.content, headers=fault.headers))
    async with Client(ReflexioServer(load({}), client=rest)) as client:
        result = await client.call_tool("get_status", {})
    assert not result.is_error
    assert result.structured_content is not None
    if fault.name != "JSON of another shape":
        assert result.structured_content["backend"]["reachable"] is False
        happened = result.structured_content["facts"][0]
        assert happened["code"] == failure_facts(fault.kind())[0].code
        assert words_for_model(()).facts[happened["code"]] in text_of(result)
    safe(text_of(result), caplog)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_deletion_that_fails_in_the_act_claims_only_what_it_saw(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    store = StoreApp(":memory:")
    inner = httpx.ASGITransport(app=store)

    async def reply(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(fault.status, content=fault.content, headers=fault.headers)
        return await inner.handle_async_request(request)

    time = FakeTime()
    rest = ReflexioClient(
        "http://store", api_key=KEY, transport=httpx.MockTransport(reply), sleep=time.sleep, clock=time.clock
    )
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_CONFIRM": "off"}), client=rest)) as client:
        interactions = [{"content": "words"}]
        await client.call_tool(
            "publish_interaction",
            {"user_id": "ada", "session_id": "s", "interactions": interactions, "request_id": "r1"},
        )
        result = await client.call_tool("delete_request", {"request_id": "r1"})
    await store.aclose()
    said = result.structured_content
    assert said is not None
    receipt = said["receipt"]
    assert (said["status"], receipt["deleted"]) == ("incomplete", {})
    assert receipt["not_deleted"][0]["why"] == "still_present"
    assert fact_of(receipt, "repeat_call")
    assert "Call again with the same arguments to finish." in text_of(result)
    safe(text_of(result), caplog)


async def test_no_connection_is_said_with_the_setting_to_look_at() -> None:
    rest = ReflexioClient("http://127.0.0.1:9", timeout=30)
    async with Client(ReflexioServer(load({"REFLEXIO_URL": "http://127.0.0.1:9"}), client=rest)) as client:
        result = await client.call_tool("list_sessions", {})
    assert result.is_error
    assert "could not be reached" in text_of(result)
    assert "REFLEXIO_URL" in text_of(result)
    await rest.aclose()


async def test_the_status_says_why_a_store_or_its_record_cannot_be_used(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    store.write_bytes(b"no database at all" * 99)
    (tmp_path / "state.db").write_bytes(b"nor this one" * 99)
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": str(store)}))) as client:
        result = await client.call_tool("get_status", {})
    assert isinstance(result, CallToolResult)
    assert result.structured_content
    said = fact_of(result.structured_content, "service_said")
    assert said is not None
    assert said["names"][0].startswith("The store file is not a database")
    assert "notice" in result.structured_content
    assert "service said: The store file is not a database" in text_of(result)
    assert "check state.db (next to the store's file" in text_of(result)
