"""What the end of input waits for, and that a hostile line takes no longer than its length."""

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp import types
from mcp.shared.message import SessionMessage

from reflexio_mcp.server.stdio_stream import Answers, StdioStream, _top_level, mended

pytestmark = pytest.mark.anyio


@pytest.mark.ci
@pytest.mark.parametrize("piece", ['"', '\\"', "\\", "[", "{", '{"', '":', "a", "a ", '"a":', "\n"])
def test_a_long_line_takes_time_in_proportion(piece: str) -> None:
    def seconds(times: int) -> float:
        line = '{"id":7,"a":"' + piece * times
        began = time.process_time()
        _top_level(line)
        return time.process_time() - began

    short, long = seconds(100_000), seconds(400_000)
    assert long < 0.05 + 12 * short


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("\ufeff{}", "{}"),
        (r'"\ud83d\ude00"', r'"\ud83d\ude00"'),
        (r'"\ud83d!"', r'"\ufffd!"'),
        (r'"\\ud83d"', r'"\\ud83d"'),
    ],
)
def test_half_a_character_and_a_byte_order_mark_are_repaired(line: str, whole: str) -> None:
    assert mended(line) == whole


def message(**fields: Any) -> SessionMessage:
    """One line of a client or of the server."""
    return SessionMessage(types.jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **fields}))


class Piped:
    """A stream over messages that a test sends, which is read to its end, and what answers them."""

    def __init__(self) -> None:
        self.lines, self.incoming = anyio.create_memory_object_stream[SessionMessage | Exception](9)
        self.outgoing, self.sent = anyio.create_memory_object_stream[SessionMessage](9)
        self.answers = Answers(self.outgoing)
        self.ended = False

    async def read(self) -> None:
        async for _ in StdioStream(self.incoming, self.answers):
            pass
        self.ended = True


@pytest.fixture
async def piped() -> AsyncIterator[Piped]:
    piped = Piped()
    yield piped
    for stream in (piped.outgoing, piped.sent, piped.incoming):
        stream.close()


async def test_the_end_of_input_comes_after_the_answers_that_are_due(piped: Piped) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(piped.read)
        await piped.lines.send(message(id=1, method="ping"))
        await piped.lines.send(message(id=2, method="ping"))
        await piped.lines.send(message(method="notifications/cancelled", params={"requestId": 2}))
        await piped.lines.aclose()
        await anyio.wait_all_tasks_blocked()
        assert not piped.ended
        await piped.answers.send(message(id=1, result={}))
    assert piped.ended


async def test_the_end_of_input_does_not_wait_for_ever(piped: Piped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflexio_mcp.server.stdio_stream.ANSWER_SECONDS", 0.01)
    await piped.lines.send(message(id=1, method="ping"))
    await piped.lines.aclose()
    with anyio.fail_after(30):
        await piped.read()
    assert piped.ended
