"""What is found in a line that no parser takes, and what the end of input waits for."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp import types
from mcp.shared.message import SessionMessage

from reflexio_mcp.server.stdio_stream import Answers, StdioStream, top_level


@pytest.mark.parametrize(
    "message",
    [
        {"id": 7, "method": "m"},
        {"params": {"id": 1, "a": [{"id": 2}, "}{", '"id": 3']}, "id": "seven", "method": "m"},
        {"a": '"', "b": "\\", "c": "\\\\", "id": 7},
        {'"id"': 1, "id": 7},
        {"id": {"id": 1}},
        {},
    ],
)
def test_the_keys_of_the_outermost_object_are_found(message: dict[str, object]) -> None:
    for line in (json.dumps(message), json.dumps(message, indent=1), json.dumps(message) + " trailing"):
        found = top_level(line)
        assert len(found) == len(message)
        if isinstance(message.get("id"), int | str):
            assert found["id"] == json.dumps(message["id"])


@pytest.mark.parametrize("piece", ['"', '\\"', "\\", "[", "{", '{"', '":', "a", "a ", '"a":', "\n"])
def test_a_long_line_takes_time_in_proportion(piece: str) -> None:
    def seconds(times: int) -> float:
        line = '{"id":7,"a":"' + piece * times
        began = time.process_time()
        top_level(line)
        return time.process_time() - began

    short, long = seconds(100_000), seconds(400_000)
    assert long < 0.05 + 12 * short


def message(**fields: Any) -> SessionMessage:
    """One line of a client or of the server."""
    return SessionMessage(types.jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **fields}))


class Piped:
    """A stream over lines that a test sends, which is read to its end, and what answers them."""

    def __init__(self) -> None:
        self.lines, self.incoming = anyio.create_memory_object_stream[SessionMessage | Exception](9)
        self.outgoing, self.sent = anyio.create_memory_object_stream[SessionMessage](9)
        self.answers = Answers(self.outgoing)
        self.ended = False

    async def read(self) -> None:
        async for _ in StdioStream(self.incoming, self.answers):
            pass
        self.ended = True

    async def send_all(self, *messages: SessionMessage) -> None:
        """Send these, and end the input."""
        for one in messages:
            await self.lines.send(one)
        await self.lines.aclose()
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
async def piped() -> AsyncIterator[Piped]:
    piped = Piped()
    yield piped
    await piped.outgoing.aclose()
    piped.sent.close()
    piped.incoming.close()


@pytest.mark.anyio
async def test_the_end_of_input_comes_after_the_answers_that_are_due(piped: Piped) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(piped.read)
        await piped.send_all(
            message(id=1, method="ping"),
            message(id=2, method="ping"),
            message(method="notifications/cancelled", params={"requestId": 2}),
        )
        assert not piped.ended
        await piped.answers.send(message(id=1, result={}))
    assert piped.ended


@pytest.mark.anyio
async def test_the_end_of_input_waits_for_no_call_that_asks_the_client(piped: Piped) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(piped.read)
        await piped.answers.send(message(id=1, method="elicitation/create", params={}))
        await piped.send_all(
            message(id=7, method="tools/call"),
            message(id=1, result={"action": "accept"}),
            message(id=8, method="tools/call"),
        )
        assert not piped.ended
        await piped.answers.send(message(id=7, result={}))
        await anyio.wait_all_tasks_blocked()
        assert not piped.ended
        await piped.answers.send(message(id=2, method="elicitation/create", params={}))
    assert piped.ended


@pytest.mark.anyio
async def test_an_answer_that_never_comes_holds_the_end_back_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reflexio_mcp.server.stdio_stream.ANSWER_SECONDS", 0.01)
    outgoing, sent = anyio.create_memory_object_stream[SessionMessage](1)
    async with outgoing, sent:
        answers = Answers(outgoing)
        answers.note(message(id=1, method="ping"))
        with anyio.fail_after(30):
            await answers.wait()
