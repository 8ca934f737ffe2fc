"""What a tool can reach: the caller's scope, the operator's settings, the work still running."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from reflexio_mcp.results.base import Result, structured
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.toolkit.explorer_page import PAGE_KEY, has_pass, make_pass
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.deletion.codes import CodeMaker
from reflexio_mcp.traffic.deletion.jobs import Jobs
from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "App",
    "Call",
    "answer",
    "app_of",
    "from_page",
    "hides",
    "page_pass",
    "place_shown",
    "scope_of",
]


@dataclass
class App:
    """The lifespan's context.

    Args:
        settings: the operator's decisions.
        offered: returns the names of the tools that are offered to the caller.
        scope: the scope of the call that is being answered.
        codes: the plan codes of a scope.
        owner: whose the deletions and recovery copies of a scope are. It asks the backend.
        state: what limits deletions, records them and lets them be undone.
        jobs: deletions that have begun, shared by every connection.
        tasks: where the jobs of this connection run. It is waited for before the lifespan ends.
        background: where what goes on after them runs. It is cancelled when the lifespan ends.
        trouble: says why nothing can be deleted now; empty where something can. It blocks.
        where: the backend's address or file, in words.
        over_stdio: whether calls come as messages over standard input.
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
    """The backend's address or file, in words; empty where this caller has no business with it.

    Of those who sign in, operators alone see it.
    """
    app = app_of(call)
    return "" if app.settings.oauth_issuer and scope_of(call).user_id else app.where


def hides(call: Call, detail: str = "") -> Fingerprints | None:
    """The fingerprints that this call shows instead of stored content; `None` where it may show content.

    The caller asks for it with `detail`, or the operator decided so for all.
    """
    hidden = detail == "masked" or app_of(call).settings.mask
    return scope_of(call).fingerprints if hidden else None


def page_pass(call: Call) -> dict[str, Any]:
    """The pass that the explorer's page sends back with its calls, as the `_meta` of a result."""
    return make_pass(app_of(call).codes(scope_of(call)))


def from_page(call: Call) -> bool:
    """Whether this call comes from the explorer's page and not from the model."""
    meta = cast("Mapping[str, Any] | None", call.request_context.meta)
    return bool(meta and PAGE_KEY in meta) and has_pass(app_of(call).codes(scope_of(call)), meta)


def answer(result: Result, text: str) -> CallToolResult:
    """A result and its text as the SDK takes them."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured(result)
    )
