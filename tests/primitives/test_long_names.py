"""An error repeats a long name in part: whatever names it, nobody reads it back whole."""

from collections.abc import Awaitable, Callable

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

from tests.primitives.conftest import Connect

pytestmark = pytest.mark.anyio

LONG = "n" * 100_000

CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "tool": lambda client: client.call_tool(LONG, {}),
    "prompt": lambda client: client.get_prompt(LONG, {}),
    "prompt argument": lambda client: client.get_prompt("forget_conversation", {LONG: "x"}),
    "completion": lambda client: client.complete(
        PromptReference(name=LONG), {"name": "source", "value": "i"}
    ),
}


@pytest.mark.parametrize("what", CALLS)
async def test_a_long_name_is_repeated_in_part(connect: Connect, what: str) -> None:
    async with connect() as client:
        try:
            answer = str(await CALLS[what](client))
        except MCPError as error:
            answer = f"{error.error.message} {error.error.data}"
        assert len(answer) < 3_000
