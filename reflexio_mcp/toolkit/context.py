"""What a tool can reach: the caller's scope, the operator's settings, the running work, progress and the page.

The explorer's page gets a pass in the `_meta` of its results, which hosts keep from the model, and sends it back with
every call. A person's decision in the page then counts as consent, and the model is told afterwards.
"""

import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import anyio
from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from reflexio_mcp.results.base import Result, structured
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion.jobs import Jobs
from reflexio_mcp.traffic.deletion.plan import CodeMaker
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import task_group

__all__ = [
    "PAGE_KEY",
    "App",
    "Call",
    "PageNotes",
    "ProgressReporter",
    "answer",
    "app_of",
    "from_page",
    "page_pass",
    "place_shown",
    "scope_of",
]

PAGE_KEY: Final = "reflexio-mcp/page"
"""Key of `_meta`, in results and in calls."""

_PURPOSE: Final = "explorer page"

NOTES_KEPT: Final = 20

EVERY_SECONDS: Final = 5.0
"""Between two messages."""

SILENCE_SECONDS: Final = 10.0
"""The longest silence."""

SEND_SECONDS: Final = 1.0
"""How long a client has to accept a message."""

logger = logging.getLogger("reflexio_mcp")


@dataclass
class App:
    """The lifespan's context.

    Args:
        offered: the names of the tools that are offered to the caller.
        owner: whose the deletions and recovery copies of a scope are. It asks the backend.
        jobs: deletions that have begun, shared by every connection.
        tasks: where the jobs of this connection run. It is waited for before the lifespan ends.
        background: where work after the jobs runs. It is cancelled when the lifespan ends.
        trouble: says why nothing can be deleted now, or nothing. It blocks.
        where: the backend's address or file, in words.
    """

    settings: Settings
    offered: Callable[[], frozenset[str]]
    scope: Callable[[], Scope]
    codes: Callable[[Scope], CodeMaker]
    owner: Callable[[Scope], Awaitable[Owner]]
    state: State
    jobs: Jobs
    tasks: TaskGroup
    background: TaskGroup
    trouble: Callable[[], str]
    where: str = ""
    over_stdio: bool = False

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools that are offered to the caller."""
        return self.offered()


Call: TypeAlias = Context[App, Any]


def app_of(call: Call) -> App:
    """The context of the lifespan that this call belongs to."""
    return call.request_context.lifespan_context


def scope_of(call: Call) -> Scope:
    """The scope of whoever made this call."""
    return app_of(call).scope()


def place_shown(call: Call) -> str:
    """The backend's address or file, in words; empty for callers who sign in and are no operators."""
    app = app_of(call)
    return "" if app.settings.oauth_issuer and scope_of(call).user_id else app.where


def answer(result: Result, text: str) -> CallToolResult:
    """A result and its text as the SDK takes them."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured(result)
    )


def page_pass(call: Call) -> dict[str, Any]:
    """The pass that the explorer's page sends back with its calls, as the `_meta` of a result."""
    return {PAGE_KEY: app_of(call).codes(scope_of(call)).make(_PURPOSE, now=time.time())}


def from_page(call: Call) -> bool:
    """Whether this call comes from the explorer's page, with a pass of this scope that is not older than a day."""
    meta = cast("Mapping[str, Any] | None", call.request_context.meta)
    given = (meta or {}).get(PAGE_KEY)
    if not isinstance(given, str):
        return False
    return app_of(call).codes(scope_of(call)).check(given, _PURPOSE, now=time.time()) is None


class PageNotes:
    """What people did in the page since the model was last answered, by the scope's owner."""

    def __init__(self) -> None:
        self._notes: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, owner: str, done: str) -> None:
        """Note something, such as `3 requests were deleted`."""
        notes = self._notes[owner]
        notes.append(done)
        del notes[:-NOTES_KEPT]

    def take(self, owner: str) -> str:
        """The notes, as one sentence; empty if there are none. They are told once."""
        notes = self._notes.pop(owner, [])
        return f"Since then, {' and '.join(notes)} in the explorer." if notes else ""


class ProgressReporter:
    """Progress notifications of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sent = 0
        self._last = anyio.current_time()
        self._words = "working"
        # A caller in memory asks for progress by a callback, which nothing shows.
        context = call.request_context
        in_memory = context.request is None and not app_of(call).over_stdio
        self._nobody_reads = not (in_memory or "progress_token" in (context.meta or {}))

    async def __call__(self, what: str, done: int, total: int | None) -> None:
        """Note how far the work is, and send that if the last message is old enough."""
        self._words = f"{what}: {done:,}{f' of {total:,}' if total is not None else ''}"
        if anyio.current_time() - self._last >= EVERY_SECONDS:
            await self._send()

    @asynccontextmanager
    async def steady(self, words: str = "working") -> AsyncGenerator["ProgressReporter"]:
        """Send messages while no progress is noted, too; `words` say what is being done."""
        self._words = words
        if self._nobody_reads:
            yield self
            return
        async with task_group() as tasks:
            tasks.start_soon(self._send_regularly)
            yield self
            tasks.cancel_scope.cancel()

    async def _send_regularly(self) -> None:
        while True:
            await anyio.sleep(1)
            if anyio.current_time() - self._last >= SILENCE_SECONDS:
                await self._send()

    async def _send(self) -> None:
        self._last = anyio.current_time()
        if self._nobody_reads:
            return
        self._sent += 1
        # If the caller has gone away, its stream blocks or breaks. The work goes on without it.
        with anyio.move_on_after(SEND_SECONDS) as limit:
            try:
                await self._call.report_progress(self._sent, None, self._words)
            except Exception as error:  # noqa: BLE001 - whatever a closed transport raises
                logger.debug("progress could not be sent: %s", type(error).__name__)
                self._nobody_reads = True
        self._nobody_reads = self._nobody_reads or limit.cancelled_caught
