"""Any replica answers: what one begins, another goes on with."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from tests.support.replicas import HOST, NGINX, behind_nginx, replica, replicas
from tests.support.serving import (
    AUTHORIZED,
    Served,
    connected,
    interactions,
    message_of,
    modern_call,
    until,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform == "win32", reason="the processes are ended by SIGTERM"),
]
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[list[Served]]:
    async with replicas(tmp_path, 2, REFLEXIO_MCP_CONFIRM="auto") as two:
        yield two


async def post(
    served: Served, name: str, arguments: dict[str, Any], *, forms: bool = False, **params: Any
) -> dict[str, Any]:
    given, body = modern_call(name, arguments)
    if forms:
        key = "io.modelcontextprotocol/clientCapabilities"
        body["params"]["_meta"][key] = {"elicitation": {"form": {}}}
    body["params"] |= params
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED, json=body)
    answer = reply.json()
    assert "result" in answer, answer
    return answer["result"]


async def fill(served: Served, number: int = 3) -> None:
    for index in range(number):
        given = {
            "user_id": "u",
            "session_id": f"s{index}",
            "request_id": f"r{index}",
            "interactions": interactions("x"),
        }
        assert not (await post(served, "publish_interaction", given)).get("isError")


async def test_a_cursor_goes_on_at_another_replica(two: list[Served]) -> None:
    first, second = two
    await fill(first)
    page = (await post(first, "list_sessions", {"limit": 2}))["structuredContent"]
    rest = (await post(second, "list_sessions", {"limit": 2, "cursor": page["cursor"]}))["structuredContent"]
    assert all(f"s{number}" in str([page, rest]) for number in range(3))


async def test_a_deletion_is_confirmed_at_another_replica_by_its_code(two: list[Served]) -> None:
    first, second = two
    await fill(first)
    plan = (await post(first, "delete_session", {"session_id": "s1"}))["structuredContent"]
    done = await post(second, "delete_session", {"session_id": "s1", "confirm": plan["plan"]["confirm"]})
    assert done["structuredContent"]["receipt"]["deleted"]["requests"] == 1


async def test_a_form_that_one_replica_showed_is_answered_at_another(two: list[Served]) -> None:
    first, second = two
    await fill(first)
    asked = await post(first, "delete_session", {"session_id": "s1"}, forms=True)
    assert asked["resultType"] == "input_required"
    ((name, question),) = asked["inputRequests"].items()
    content = dict.fromkeys(question["params"]["requestedSchema"]["properties"], True)
    answers = {name: {"action": "accept", "content": content}}
    done = await post(
        second,
        "delete_session",
        {"session_id": "s1"},
        forms=True,
        requestState=asked["requestState"],
        inputResponses=answers,
    )
    assert done["structuredContent"]["receipt"]["deleted"]["requests"] == 1


@needs_nginx
@pytest.mark.parametrize(
    "way", [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}], ids=["2026", "2025", "sse"]
)
async def test_the_main_job_works_behind_nginx_as_the_example_has_it(
    two: list[Served], tmp_path: Path, way: dict[str, Any]
) -> None:
    async def agree(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        properties = getattr(params, "requested_schema", {})["properties"]
        return ElicitResult(action="accept", content=dict.fromkeys(properties, True))

    headers = AUTHORIZED | {"host": HOST}
    async with (
        behind_nginx(tmp_path, two) as url,
        connected(url, headers, elicitation_callback=agree, **way) as client,
    ):
        for number in range(4):
            given = {
                "user_id": "u",
                "session_id": "s",
                "request_id": f"r{number}",
                "interactions": interactions("x"),
            }
            assert not (await client.call_tool("publish_interaction", given)).is_error
        for number in range(4):
            assert not (await client.call_tool("get_request", {"request_id": f"r{number}"})).is_error
        asked = {"user_id": "u", "redact": False}
        planned = (await client.call_tool("export_data", asked)).structured_content
        assert planned
        asked["confirm"] = planned["confirm"]
        made = (await client.call_tool("export_data", asked)).structured_content
        assert made
        async with httpx.AsyncClient() as web:  # at the replica that made it, wherever it is asked for
            got = await web.get(f"{url}{urlsplit(made['link']).path}", headers=headers)
        assert got.headers["content-type"] == "application/zip", got.text
        result = await client.call_tool("delete_session", {"session_id": "s"})
        assert result.structured_content
        if plan := result.structured_content.get("plan"):
            code = plan["confirm"]
            result = await client.call_tool("delete_session", {"session_id": "s", "confirm": code})
        assert result.structured_content
        assert result.structured_content["receipt"]["deleted"]["requests"] == 4
    calls = [[line for line in one.stderr().splitlines() if '"event":"call"' in line] for one in two]
    if "sse" in way:
        assert not all(calls), "a session at /sse stays with one replica"
    else:
        assert all(calls), "requests at /mcp go to every replica"
    assert all(json.loads(line)["outcome"] in ("ok", "input_required") for lines in calls for line in lines)


@needs_nginx
async def test_no_call_fails_while_one_replica_after_the_other_starts_again(tmp_path: Path) -> None:
    numbers, answered, restarted = count(), list[str](), anyio.Event()

    async def calling(url: str) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while len(answered) < 200 or not restarted.is_set():
                number = next(numbers)
                name, arguments = "list_requests", dict[str, Any](limit=2)
                if number % 3 == 0:
                    name = "publish_interaction"
                    said = interactions(f"call {number}")
                    arguments = {"user_id": "u", "session_id": f"s{number}", "interactions": said}
                headers, body = modern_call(name, arguments)
                sent = headers | AUTHORIZED | {"host": HOST}
                reply = await client.post(f"{url}/mcp", headers=sent, json=body)
                assert reply.status_code == 200, f"{name}: {reply.status_code} {reply.text}"
                assert not message_of(reply)["result"].get("isError"), reply.text
                answered.append(name)

    async with AsyncExitStack() as stack:
        two = [await stack.enter_async_context(replica(tmp_path, index)) for index in range(2)]
        url = await stack.enter_async_context(behind_nginx(tmp_path, two))
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(calling, url)
            for index, one in enumerate(two):
                before = len(answered)
                assert await one.terminate() == 0
                await stack.enter_async_context(replica(tmp_path, index, port=one.port))
                assert len(answered) > before, "nobody called meanwhile"
            restarted.set()
    assert len(answered) >= 200


@needs_nginx
async def test_nginx_replaces_an_address_that_a_client_invents(two: list[Served], tmp_path: Path) -> None:
    async with behind_nginx(tmp_path, two) as url:
        await _refused(url)
    await until(lambda: _peers(two))
    assert _peers(two) == ["127.0.0.1"]


async def test_an_address_from_anybody_but_the_proxy_is_not_believed(tmp_path: Path) -> None:
    async with replica(tmp_path, 0, FORWARDED_ALLOW_IPS="192.0.2.1") as served:
        await _refused(served.url)
        await until(lambda: _peers([served]))
        assert _peers([served]) == ["127.0.0.1"]


async def _refused(url: str) -> None:
    """Send a token that nobody has, and an invented address."""
    headers = {"host": HOST, "authorization": "Bearer made-up", "x-forwarded-for": "203.0.113.9"}
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(f"{url}/mcp", headers=headers)).status_code == 401


def _peers(servers: list[Served]) -> list[str]:
    """The addresses of refused calls, as the log names them."""
    lines = [line for served in servers for line in served.stderr().splitlines()]
    return [json.loads(line)["peer"] for line in lines if '"event":"refused"' in line]
