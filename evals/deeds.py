"""What others did in a store before an assistant is asked who did what: three deletions and a correction, by three
programs, and a deletion that a person refused. Nothing that `evals.worlds` teaches is lost, but for the test run's.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp import Client
from mcp.types import (
    CallToolResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
)

from evals.worlds import FACTS
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load

CORRECTED: Final = f"{FACTS['food']} and to hazelnuts"


async def done_by_others(settings: Mapping[str, str]) -> None:
    """Carry it out, each program through a server of its own. `settings` are the variables of these servers."""
    async with _connected(settings, "nightly-cleanup") as nightly:
        test_run = {"source": "staging-e2e", "include_learnings": True, "reason": "left by the test run"}
        await _with_code(nightly, "delete_requests", **test_run)
    async with _connected(settings, "desk-assistant", agrees=True) as desk:
        await _call(desk, "delete_session", session_id="s-letters", reason="mia asked for it")
        listed = await _call(desk, "list_learnings", user_id="mia", contains="peanuts")
        (allergy,) = listed["learnings"]
        corrected = {"learning_id": allergy["learning_id"], "content": CORRECTED, "user_id": "mia"}
        await _call(desk, "correct_learning", **corrected, reason="mia said so")
    async with _connected(settings, "desk-assistant", agrees=False) as desk:
        await _call(desk, "delete_requests", user_id="tom")
    async with _connected(settings, "import-script") as script:
        await _with_code(script, "delete_request", request_id="import-3", erase=True)


@asynccontextmanager
async def _connected(
    settings: Mapping[str, str], program: str, *, agrees: bool | None = None
) -> AsyncGenerator[Client]:
    """Connect a program to a server.

    Args:
        agrees: what the person in front of it answers to every form; `None` if it can show none.
    """

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        (field,) = params.requested_schema["properties"]
        return ElicitResult(action="accept", content={field: bool(agrees)})

    async with Client(
        ReflexioServer(load(settings)),
        client_info=Implementation(name=program, version="1.0"),
        elicitation_callback=None if agrees is None else answer,
    ) as client:
        yield client


async def _with_code(client: Client, tool: str, **arguments: Any) -> None:
    plan = await _call(client, tool, **arguments)
    await _call(client, tool, **arguments, confirm=plan["plan"]["confirm"])


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content
