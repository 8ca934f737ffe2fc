"""The log holds up no call, and nothing in it repeats what was sent or stored, at any level."""

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from reflexio_mcp.logs import StderrHandler, log_to_stderr
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings
from tests.support.serving import connected, events, serving_process
from tests.support.stdio import MODERN, REVISIONS, SERVER, Revision, RpcError, environment, open_session

pytestmark = pytest.mark.anyio

WORD = "zanzibar-parrot"
DEEP = "[" * 300 + "]" * 300


def publish(number: int = 0) -> dict[str, Any]:
    """A publish whose every part of content has the word."""
    return {
        "user_id": f"{WORD}-user",
        "session_id": f"{WORD}-session",
        "request_id": f"{WORD}-{number}",
        "interactions": [{"content": f"It is {WORD}.", "expert_content": WORD}],
    }


@pytest.mark.ci
async def test_a_host_that_reads_no_stderr_gets_all_its_answers_and_an_exit(tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:", REFLEXIO_MCP_LOG_LEVEL="DEBUG")
    async with open_session(MODERN, env=env, reads_stderr=False, command=SERVER) as session:
        for number in range(400):  # each call writes more than 200 bytes, and a pipe takes 65,536
            await session.call("get_request", {"request_id": f"none-{number}"})
        assert await session.end_input() == 0


def test_lines_nobody_reads_are_counted_and_the_count_is_told() -> None:
    reading, writing = os.pipe()
    handler = StderrHandler(writing)

    def say(text: str) -> None:
        handler.handle(logging.LogRecord("reflexio_mcp", 20, "", 1, text, None, None))

    for number in range(4000):
        say(f"{number:04} " + "x" * 95)
    flushing = threading.Thread(target=handler.flush, daemon=True)
    flushing.start()
    flushing.join(60)
    assert not flushing.is_alive(), "it is not waited for"
    kept, lost, text = list[int](), 0, ""
    while len(kept) + lost < 4000:
        text += os.read(reading, 65536).decode()
        *lines, text = text.split("\n")
        kept += [int(line[:4]) for line in lines if "were lost" not in line]
        lost += sum(
            int(line.partition(" ")[0].replace(",", ""))
            for line in lines
            if line.endswith("nobody read stderr.")
        )
    assert kept == sorted(set(kept))
    assert lost > 1000
    say("read again")
    handler.flush()
    assert os.read(reading, 100) == b"read again\n"
    os.close(reading)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_nothing_that_was_sent_is_in_the_log_of_a_pipe(revision: Revision, tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:", REFLEXIO_MCP_LOG_LEVEL="DEBUG")
    async with open_session(revision, env=env, command=SERVER) as session:
        await session.call("publish_interaction", publish())
        await session.call("publish_interaction", publish() | {"session_id": 7})
        await session.call("publish_interaction", {WORD: 1})
        await session.call("get_request", {"request_id": f"{WORD}-none"})
        await session.call("list_requests", {"contains": WORD, "start_time": WORD})
        await session.call("delete_session", {"session_id": f"{WORD}-session", "confirm": WORD})
        await session.request("resources/read", {"uri": f"reflexio://sessions/{WORD}-session"})
        for method, params in (
            ("resources/read", {"uri": f"reflexio://requests/{WORD}-none"}),
            ("resources/read", {"uri": f"no-scheme/{WORD}"}),
            ("prompts/get", {"name": WORD}),
            ("prompts/get", {"name": "forget_conversation", "arguments": {WORD: WORD}}),
            ("tools/call", {"name": WORD, "arguments": WORD}),
            (WORD, {WORD: WORD}),
        ):
            with pytest.raises(RpcError):
                await session.request(method, params)
        await session.send_line(f'{{"method":"{WORD}","params":{DEEP}}}')
        await session.send_line(
            f'{{"jsonrpc":"2.0","method":"notifications/{WORD}","params":{{"a":"{WORD}"}}}}'
        )
        await session.send_line(WORD)
        await session.send_request_line(9000, f'{{"id":9000,"method":"{WORD}","params":["{WORD}"]}}')
        assert not (await session.call("get_status")).get("isError")
        await session.end_input()
        assert '"event":"call"' in session.stderr()
        assert WORD not in session.stderr()


async def test_nothing_that_was_sent_is_in_the_log_of_http(tmp_path: Path) -> None:
    async with serving_process(tmp_path, REFLEXIO_MCP_LOG_LEVEL="DEBUG", command=SERVER) as served:
        for sse in (False, True):
            async with connected(served.url, served.headers, sse=sse) as client:
                await client.call_tool("publish_interaction", publish())
                await client.call_tool("get_request", {"request_id": f"{WORD}-0"})
                await client.call_tool("get_request", {"request_id": f"{WORD}-none"})
        async with httpx.AsyncClient(base_url=served.url, headers=served.headers, timeout=60) as web:
            for body in (WORD, json.dumps({"jsonrpc": "2.0", "id": 1, "method": WORD, "params": [WORD]})):
                await web.post(
                    "/mcp",
                    content=body,
                    headers={
                        "content-type": "application/json",
                        "accept": "application/json, text/event-stream",
                    },
                )
            await web.get(f"/{WORD}")
        await served.terminate()
        assert '"event":"call"' in served.stderr()
        assert WORD not in served.stderr()


def test_an_error_of_a_library_keeps_its_kind_and_place_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    log_to_stderr("WARNING")
    try:
        raise ValueError(WORD)
    except ValueError:
        logging.getLogger("sse_starlette.sse").exception("chunk: %s", WORD)
    (record,) = caplog.records
    said = caplog.handler.format(record)
    assert "at test_logs.py:" in said
    assert said.endswith("(ValueError)")
    assert WORD not in said + str(vars(record))


async def test_the_last_lines_are_written_before_the_process_ends(tmp_path: Path) -> None:
    async with serving_process(tmp_path, command=SERVER) as served:
        await served.terminate()
        assert '"event":"stopping"' in served.stderr()


@pytest.mark.parametrize("kind", ["tool", "resource"])
async def test_what_a_stopping_server_does_not_answer_is_logged_as_such(
    caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO, logger="reflexio_mcp.events")
    server = ReflexioServer(Settings(store=":memory:"))
    async with Client(server) as client:
        server.limiter.refuse_new()
        if kind == "tool":
            assert (await client.call_tool("get_status", {})).is_error
        else:
            with pytest.raises(MCPError, match="stopping"):
                await client.read_resource("reflexio://guide")
    assert [line["outcome"] for line in events(caplog, "call")] == ["stopping"]
