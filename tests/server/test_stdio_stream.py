"""What is repaired in a line, which lines are refused, and what the end of input waits for."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from reflexio_mcp.server.stdio_stream import Answers, StdioStream, mended

pytestmark = pytest.mark.anyio


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


def refused(line: str) -> ValidationError:
    """What the SDK's stream gives for a line that it cannot parse."""
    with pytest.raises(ValidationError) as failure:
        types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    return failure.value


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
    with anyio.fail_after(60):
        await piped.read()
    assert piped.ended


BROKEN_LINES: list[tuple[str, Any]] = [
    ('{"jsonrpc":"1.0","id":1,"method":"ping"}', 1),
    ('{"jsonrpc":"2.0","id":"a","method":"ping","params":5}', "a"),
    ('{"jsonrpc":"2.0","id":1,"method":7}', 1),
    ('{"jsonrpc":"2.0","id":1}', 1),
]
"""Each line with the id under which it is refused."""

WITHOUT_AN_ANSWER = [
    '{"jsonrpc":"2.0","method":"notifications/x","params":5}',
    '{"jsonrpc":"2.0","id":[],"method":"ping","params":5}',
    '{"jsonrpc":"2.0","id":true,"method":7}',
    "hello",
    "{",
    "[]",
    "",
]


@pytest.mark.parametrize(("line", "id_"), BROKEN_LINES, ids=range(len(BROKEN_LINES)))
async def test_a_line_that_cannot_be_read_is_refused_and_the_next_one_is_read(
    piped: Piped, line: str, id_: Any
) -> None:
    stream = StdioStream(piped.incoming, piped.answers)
    await piped.lines.send(refused(line))
    await piped.lines.send(message(id=2, method="ping"))
    read = await stream.receive()
    assert isinstance(read, SessionMessage)
    assert isinstance(read.message, types.JSONRPCRequest)
    answer = piped.sent.receive_nowait().message
    assert isinstance(answer, types.JSONRPCError)
    assert answer.id == id_
    assert "Nothing was done" in answer.error.message


async def test_each_request_of_a_batch_is_refused(piped: Piped) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "x"},
        {"jsonrpc": "2.0", "id": "b", "method": "y"},
    ]
    await piped.lines.send(refused(json.dumps(batch)))
    await piped.lines.aclose()
    await piped.read()
    answers = [piped.sent.receive_nowait().message for _ in range(2)]
    assert [one.id for one in answers if isinstance(one, types.JSONRPCError)] == [1, "b"]


@pytest.mark.parametrize("line", WITHOUT_AN_ANSWER)
async def test_a_line_without_an_id_is_not_answered(piped: Piped, line: str) -> None:
    await piped.lines.send(refused(line))
    await piped.lines.aclose()
    await piped.read()
    with pytest.raises(anyio.WouldBlock):
        piped.sent.receive_nowait()


@pytest.mark.parametrize("start", ["", "\ufeff"])
async def test_half_a_character_is_read_as_a_sign_for_it(piped: Piped, start: str) -> None:
    line = start + r'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"b\ud83d"}}'
    await piped.lines.send(refused(line))
    read = await StdioStream(piped.incoming, piped.answers).receive()
    assert isinstance(read, SessionMessage)
    assert isinstance(read.message, types.JSONRPCRequest)
    assert read.message.params == {"a": "b\ufffd"}
