"""The context of a tool: scope, settings, running work, progress and the page.

The explorer's page receives a pass in the `_meta` of its results, which hosts hide from the model, and returns it
with every call. In the mode `auto`, a person's decision in the page counts as consent. The model is told
afterwards.
"""

import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, cast

import anyio
from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ProgressNotification, ProgressNotificationParams, TextContent

from reflexio_mcp.render.blocks import Told
from reflexio_mcp.render.words import Words, words_for_model
from reflexio_mcp.render.words_of_progress import progress_words
from reflexio_mcp.results.base import structured
from reflexio_mcp.results.facts import Fact, FactCode, Result
from reflexio_mcp.results.progress import Step
from reflexio_mcp.traffic.tasks import task_group

if TYPE_CHECKING:
    from reflexio_mcp.settings import Settings
    from reflexio_mcp.state.records import Owner
    from reflexio_mcp.state.state import State
    from reflexio_mcp.traffic.deletion.jobs import Jobs
    from reflexio_mcp.traffic.deletion.plan import CodeMaker
    from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "DOWNLOADS_PATH",
    "PAGE_KEY",
    "PAGE_TOOLS",
    "App",
    "Call",
    "Downloads",
    "PageNotes",
    "ProgressReporter",
    "answer",
    "app_of",
    "from_page",
    "page_pass",
    "place_shown",
    "scope_of",
    "words_of",
]

PAGE_KEY: Final = "reflexio-mcp/page"
PAGE_TOOLS: Final = frozenset({"explorer_data", "judge_finding"})
"""The tools that only the explorer's page calls."""

PROGRESS_KEY: Final = "reflexio-mcp/progress"
"""Key of `_meta` with the step and the numbers of progress."""

_PURPOSE: Final = "explorer page"

DOWNLOADS_PATH: Final = "/downloads/"

DOWNLOAD_SECONDS: Final = 300.0

MOST_DOWNLOADS: Final = 5
"""Maximum number of open files that one owner can fetch."""

FIRST_SECONDS: Final = 2.0
"""Time before the first message about progress."""

EVERY_SECONDS: Final = 5.0
"""Time between messages while there is progress."""

SILENCE_SECONDS: Final = 10.0
"""Time between messages while there is none."""

SEND_SECONDS: Final = 1.0
"""Time limit for a client to accept a message."""

logger = logging.getLogger("reflexio_mcp")


class Downloads(dict[tuple[str, str], BinaryIO]):
    """Files that their owners can fetch for a while, by owner and token. A fetched file is removed and closed."""

    def offer(self, owner: str, file: BinaryIO, tasks: TaskGroup) -> str:
        """Keep a file for a while and return its token. If the owner then has too many files, the oldest one goes."""
        kept = [key for key in self if key[0] == owner]
        while len(kept) >= MOST_DOWNLOADS:
            self.pop(kept.pop(0)).close()
        token = secrets.token_urlsafe(32)
        self[owner, token] = file
        tasks.start_soon(self._expire, (owner, token))
        return token

    async def _expire(self, key: tuple[str, str]) -> None:
        try:
            await anyio.sleep(DOWNLOAD_SECONDS)
        finally:
            if file := self.pop(key, None):
                file.close()


@dataclass
class App:
    """The lifespan's context.

    Args:
        offered: the names of the tools that the caller may use.
        owner: asks the backend for the owner of a scope's deletions and recovery copies.
        jobs: running deletions, shared by all connections.
        tasks: runs the jobs. The lifespan waits for them.
        background: runs later work. The end of the lifespan cancels it.
        trouble: returns what is wrong with the state. The call blocks.
        where: the backend's address or file, in words.
    """

    settings: "Settings"
    offered: Callable[[], frozenset[str]]
    scope: Callable[[], "Scope"]
    codes: "Callable[[Scope], CodeMaker]"
    owner: "Callable[[Scope], Awaitable[Owner]]"
    state: "State"
    jobs: "Jobs"
    tasks: TaskGroup
    background: TaskGroup
    trouble: "Callable[[], Sequence[Fact]]"
    downloads: Downloads
    where: str = ""
    over_stdio: bool = False

    @property
    def tools(self) -> frozenset[str]:
        return self.offered()


Call: TypeAlias = Context[App, Any]


def app_of(call: Call) -> App:
    return call.request_context.lifespan_context


def scope_of(call: Call) -> "Scope":
    return app_of(call).scope()


def place_shown(call: Call) -> str:
    """The backend's address or file; if people can sign in, only for callers who see every user."""
    app = app_of(call)
    return "" if app.settings.oauth_issuer and scope_of(call).user_id else app.where


def words_of(call: Call) -> Words:
    """The words for the model that makes this call, with the names of tools that it has."""
    return words_for_model(app_of(call).tools)


def answer(result: Result, told: Told | str) -> CallToolResult:
    """Return both forms of an answer. The structured form has our own sentences of the text form in `text`."""
    if isinstance(told, str):
        text, own = told, ""
    else:
        text, own = told.text, told.own
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=structured(result.model_copy(update={"text": own})),
    )


def page_pass(call: Call) -> dict[str, Any]:
    return {PAGE_KEY: app_of(call).codes(scope_of(call)).make(_PURPOSE, now=time.time())}


def from_page(call: Call) -> bool:
    """Whether the explorer's page made this call, with a pass of this scope from the last day."""
    meta = cast("Mapping[str, Any] | None", call.request_context.meta)
    given = (meta or {}).get(PAGE_KEY)
    if not isinstance(given, str):
        return False
    return app_of(call).codes(scope_of(call)).check(given, _PURPOSE, now=time.time())


class PageNotes:
    """What people did in the page since the last answer to the model, by the scope's owner."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, Counter[FactCode]] = defaultdict(Counter)

    def add(self, owner: str, code: FactCode, number: int) -> None:
        self._numbers[owner][code] += number

    def take(self, owner: str) -> list[Fact]:
        """Return the facts, once."""
        numbers = self._numbers.pop(owner, Counter[FactCode]())
        return [Fact(code=code, number=number) for code, number in numbers.items()]


class ProgressReporter:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._sent = 0
        self._last = anyio.current_time()
        self._at: tuple[Step, int | None, int | None] = (Step.WORKING, None, None)
        # An in-process client asks for progress with a callback that the request does not show.
        context = call.request_context
        in_memory = context.request is None and not app_of(call).over_stdio
        self._token = (context.meta or {}).get("progress_token")
        self._nobody_reads = not in_memory and self._token is None

    async def __call__(self, step: Step, done: int, total: int | None) -> None:
        """Report progress; it is sent if the last message is old enough."""
        self._at = (step, done, total)
        if anyio.current_time() - self._last >= (EVERY_SECONDS if self._sent else FIRST_SECONDS):
            await self._send()

    @asynccontextmanager
    async def steady(self, step: Step = Step.WORKING) -> AsyncGenerator["ProgressReporter"]:
        """Send messages even without progress."""
        self._at = (step, None, None)
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
            if anyio.current_time() - self._last >= (SILENCE_SECONDS if self._sent else FIRST_SECONDS):
                await self._send()

    async def _send(self) -> None:
        self._last = anyio.current_time()
        if self._nobody_reads:
            return
        self._sent += 1
        # If the caller is gone, its stream blocks or breaks. The work continues without it.
        with anyio.move_on_after(SEND_SECONDS) as limit:
            try:
                await self._notify()
            except Exception as error:  # noqa: BLE001 - whatever a closed transport raises
                logger.debug("progress could not be sent: %s", type(error).__name__)
                self._nobody_reads = True
        self._nobody_reads = self._nobody_reads or limit.cancelled_caught

    async def _notify(self) -> None:
        step, done, total = self._at
        words = progress_words(step, done, total)
        if self._token is None:
            await self._call.report_progress(self._sent, None, words)
            return
        # `progress` has to grow with each message, so it counts them. The page reads the real numbers from `_meta`.
        numbers = {name: number for name, number in (("done", done), ("total", total)) if number is not None}
        told = ProgressNotificationParams(
            progress_token=self._token,
            progress=self._sent,
            message=words,
            _meta={PROGRESS_KEY: {"step": step, **numbers}},
        )
        session = self._call.request_context.session
        await session.send_notification(ProgressNotification(params=told), self._call.request_id)
