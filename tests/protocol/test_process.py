"""The server as a process: how it ends, what it survives, and sharing its store with others."""

import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.stdio import (
    MODERN,
    REVISIONS,
    SERVER,
    WAIT,
    Revision,
    RpcError,
    ServerEndedError,
    StdioSession,
    environment,
    open_session,
)

pytestmark = pytest.mark.anyio


def small_publish(number: int, session_id: str = "s") -> dict[str, Any]:
    """The arguments of one small publish."""
    return {
        "user_id": "u",
        "session_id": session_id,
        "interactions": [{"role": "User", "content": f"turn {number}"}],
        "request_id": f"{session_id}-{number}",
    }


def params(session_id: str, number: int = 0) -> dict[str, Any]:
    """The parameters of a `tools/call` that publishes it."""
    return {"name": "publish_interaction", "arguments": small_publish(number, session_id)}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose store is one file, with deletions that act at once."""
    return environment(
        tmp_path, REFLEXIO_MCP_STORE=str(tmp_path / "store.sqlite3"), REFLEXIO_MCP_CONFIRM="off"
    )


@pytest.mark.parametrize("revision", REVISIONS)
async def test_end_of_input_ends_the_process_with_exit_code_0(
    revision: Revision, env: dict[str, str]
) -> None:
    async with open_session(revision, env=env, command=SERVER) as session:
        await session.call("publish_interaction", small_publish(1))
        assert await session.end_input() == 0
        assert "Traceback" not in session.stderr()


async def test_end_of_input_before_any_message_ends_it_with_exit_code_0(env: dict[str, str]) -> None:
    async with open_session("2025-11-25", env=env, handshake=False, command=SERVER) as session:
        assert await session.end_input() == 0
        assert "Traceback" not in session.stderr()


async def test_calls_that_a_script_pipes_in_are_answered(env: dict[str, str]) -> None:
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "sh", "version": "1"},
    }
    lines: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": params("piped")},
        {"id": 2, "method": "tools/list"},
    ]
    piped = "".join(f"{json.dumps({'jsonrpc': '2.0', **one})}\n" for one in lines).encode()
    with anyio.fail_after(WAIT):
        ended = await anyio.run_process(SERVER, input=piped, env=env)
    answers = {one["id"]: one for one in map(json.loads, ended.stdout.splitlines())}
    assert answers.keys() == {0, 1, 2}
    assert "piped-0" in answers[1]["result"]["content"][0]["text"]
    assert answers[2]["result"]["tools"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("revision", REVISIONS)
async def test_ctrl_c_ends_the_process_promptly_and_without_a_traceback(
    revision: Revision, env: dict[str, str]
) -> None:
    async with open_session(revision, env=env, command=SERVER) as session:
        await session.interrupt(timeout=15)
        assert "Traceback" not in session.stderr()


@pytest.mark.ci
@pytest.mark.parametrize("ending", ["end_input", "interrupt"])
async def test_a_scheduled_deletion_is_finished_before_the_process_is_gone(
    ending: str, env: dict[str, str]
) -> None:
    if ending == "interrupt" and sys.platform == "win32":
        pytest.skip("Windows has no SIGINT for another process")
    async with open_session(MODERN, env=env, command=SERVER) as session:
        for number in range(3):
            await session.call("publish_interaction", small_publish(number))
        # While somebody else holds the file, the deletion cannot be done before the end is asked for.
        with closing(sqlite3.connect(env["REFLEXIO_MCP_STORE"], isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            scheduled = await session.call("delete_session", {"session_id": "s", "wait_for_response": False})
            assert not scheduled.get("isError"), scheduled
            seen = await session.call("get_request", {"request_id": "s-0"})
            assert not seen.get("isError"), seen
            if ending == "interrupt":
                session.process.send_signal(signal.SIGINT)
            else:
                await session.close_input()
            holder.execute("ROLLBACK")
        await session.exit_code()
    async with open_session(MODERN, env=env, command=SERVER) as session:
        listed = await session.call("list_requests", {"session_id": "s"})
        assert listed["structuredContent"]["returned"] == 0


async def test_a_broken_line_does_not_end_the_session(session: StdioSession) -> None:
    for line in (b"this is not JSON", b"{", b"[]", b"\xff\xfe", b"", b'{"jsonrpc":"2.0"}'):
        await session.send_line(line)
        assert not (await session.call("get_status")).get("isError"), line
    await session.send_request_line(6000, b'{"id":6000}')
    assert not (await session.call("get_status")).get("isError")


async def test_a_line_that_is_no_request_is_refused_under_its_id(session: StdioSession) -> None:
    await session.send_request_line(
        7000, '{"id":7000,"jsonrpc":"2.0","method":"tools/call","params":["get_status"]}'
    )
    with pytest.raises(RpcError, match="Nothing was done"):
        await session.reply(7000)
    assert not (await session.call("get_status")).get("isError")


async def test_an_answer_that_cannot_be_read_ends_the_question_it_belongs_to(tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session("2025-11-25", env=env, capabilities={"elicitation": {}}) as session:
        await session.call("publish_interaction", small_publish(1))
        for content in ("[true]", "7"):
            asked = len(session.requests)
            number = await session.send(
                "tools/call", {"name": "delete_session", "arguments": {"session_id": "s"}}
            )
            with anyio.fail_after(WAIT):
                while len(session.requests) == asked:
                    session._sort(await session._message())
            question = session.requests[-1]["id"]
            await session.send_line(f'{{"jsonrpc":"2.0","id":{question},"result":{content}}}')
            answer = await session.reply(number)
            assert answer["structuredContent"]["status"] == "declined"


async def test_half_a_character_is_stored_as_a_replacement_instead_of_losing_the_call(
    session: StdioSession,
) -> None:
    for number, content in enumerate(
        ("cut \ud83d", "\ude00 cut", "\ud83d\ude00 whole, and \\ud83d spelled out")
    ):
        arguments = small_publish(number, "half") | {"interactions": [{"content": content}]}
        assert not (await session.call("publish_interaction", arguments)).get("isError")
    stored = [await session.call("get_request", {"request_id": f"half-{number}"}) for number in range(3)]
    contents = [one["structuredContent"]["interactions"][0]["content"] for one in stored]
    assert contents == ["cut \ufffd", "\ufffd cut", "\U0001f600 whole, and \\ud83d spelled out"]


@pytest.mark.ci
async def test_a_line_of_many_megabytes_is_answered_and_the_session_lives_on(session: StdioSession) -> None:
    interactions = [{"content": "x", "image_encoding": "A" * 11_000_000}]
    refused = await session.call(
        "publish_interaction", small_publish(0, "long") | {"interactions": interactions}
    )
    assert refused["isError"]
    assert "10 MiB" in refused["content"][0]["text"]
    interactions = [{"content": "word " * 199_999} for _ in range(5)]
    assert not (
        await session.call("publish_interaction", small_publish(1, "long") | {"interactions": interactions})
    ).get("isError")
    shown = await session.call("get_request", {"request_id": "long-1"})
    assert len(shown["content"][0]["text"]) < 10_000


async def test_an_unknown_method_is_an_error_and_the_session_lives_on(session: StdioSession) -> None:
    await session.send_line('{"jsonrpc":"2.0","method":"notifications/unheard_of"}')
    await session.send_line('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}')
    assert not (await session.call("get_status")).get("isError")


STRAY = """
import os, pathlib, subprocess, sys, threading, time

def talk():
    while not pathlib.Path("talk").exists():
        time.sleep(0.005)
    print("stray text from a print", flush=True)
    sys.stdout.write("stray text from a write\\n")
    sys.stdout.flush()
    os.write(1, b"stray bytes from a library in C\\n")
    subprocess.run([sys.executable, "-S", "-c", "print('stray text from a child')"], check=True)
    pathlib.Path("talked").touch()

if "reflexio_mcp" in " ".join(sys.orig_argv):
    threading.Thread(target=talk, daemon=True).start()
"""


async def test_stray_prints_while_tools_run_stay_off_the_wire(tmp_path: Path, env: dict[str, str]) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text(STRAY, encoding="utf-8")
    async with open_session(MODERN, env=env | {"PYTHONPATH": str(library)}, command=SERVER) as session:
        await session.call("publish_interaction", small_publish(0))
        (tmp_path / "talk").touch()
        number = 0
        with anyio.fail_after(60):
            while not (tmp_path / "talked").exists():
                number += 1
                await session.call("publish_interaction", small_publish(number))
        # Each message since has been parsed and checked: none was torn or strange.
        assert await session.end_input() == 0
        logged = session.stderr()
    for kind in ("from a print", "from a write", "in C", "from a child"):
        assert kind in logged


async def test_two_processes_share_one_store_at_the_same_time(env: dict[str, str]) -> None:
    async with (
        open_session("2025-06-18", env=env) as first,
        open_session(MODERN, env=env) as second,
    ):
        await first.call("publish_interaction", small_publish(0, "early"))
        seen = await second.call("get_request", {"request_id": "early-0"})
        assert not seen.get("isError"), seen

        async def publish_all(session: Any, session_id: str) -> None:
            for number in range(25):
                result = await session.call("publish_interaction", small_publish(number, session_id))
                assert not result.get("isError"), result

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish_all, first, "one")
            tasks.start_soon(publish_all, second, "two")
        for session in (first, second):
            for request_id in ("one-0", "one-24", "two-0", "two-24"):
                found = await session.call("get_request", {"request_id": request_id})
                assert not found.get("isError"), found
        await second.call("delete_session", {"session_id": "one"})
        gone = await first.call("get_request", {"request_id": "one-3"})
        assert gone.get("isError"), gone


async def test_two_processes_may_be_the_first_to_use_a_store_at_once(env: dict[str, str]) -> None:
    async with (
        open_session("2025-06-18", env=env) as first,
        open_session(MODERN, env=env) as second,
    ):
        calls = [
            (one, await one.send("tools/call", params(name))) for one, name in ((first, "a"), (second, "b"))
        ]
        for session, request_id in calls:
            result = await session.reply(request_id)
            assert not result.get("isError"), result
        listed = await first.call("list_sessions")
        assert listed["structuredContent"]["returned"] == 2


async def test_what_was_acknowledged_before_a_kill_is_there_after_a_restart(env: dict[str, str]) -> None:
    in_flight = 300
    acknowledged: list[str] = []
    async with open_session(MODERN, env=env) as session:
        sent = {
            await session.send(
                "tools/call", {"name": "publish_interaction", "arguments": small_publish(number)}
            ): number
            for number in range(in_flight)
        }
        waiting = iter(sent)
        while len(acknowledged) < 40:
            request_id = next(waiting)
            result = await session.reply(request_id)
            assert not result.get("isError"), result
            acknowledged.append(small_publish(sent[request_id])["request_id"])
        session.process.kill()
        # What the pipe still held was acknowledged as well.
        for request_id in waiting:
            try:
                await session.reply(request_id)
            except ServerEndedError:
                break
            acknowledged.append(small_publish(sent[request_id])["request_id"])
        assert await session.exit_code() == (1 if os.name == "nt" else -9)
    assert 40 <= len(acknowledged) < in_flight, "the kill has to come in the middle"
    async with open_session(MODERN, env=env) as session:
        for request_id in acknowledged:
            found = await session.call("get_request", {"request_id": request_id})
            assert not found.get("isError"), f"{request_id} was acknowledged and is gone"
