"""What a tool finds around it: the caller's scope, the operator's settings, the work still running."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from reflexio_mcp.render.text import Rendered
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.jobs import Schedule
from reflexio_mcp.toolkit.page import PageNotes, has_pass, make_pass
from reflexio_mcp.toolkit.subscriptions import Subscriptions
from reflexio_mcp.traffic.deletion.plan_codes import CodeMaker
from reflexio_mcp.traffic.deletion.run import Safeguards
from reflexio_mcp.traffic.scope import Scope

__all__ = ["App", "Call", "Doors", "answer", "app_of", "from_page", "hides", "page_pass", "scope_of"]


class Doors(Protocol):
    """How a call finds its caller: one scope for all of them, or each its own."""

    def scope(self, headers: Any) -> Scope:
        """The scope of a call with these HTTP headers (`None` on stdio)."""
        ...

    def codes(self, scope: Scope) -> CodeMaker:
        """The plan codes of a scope."""
        ...

    @property
    def safeguards(self) -> Safeguards:
        """What stands around every deletion of this process."""
        ...


@dataclass
class App:
    """The lifespan's context.

    Args:
        settings: the operator's decisions.
        doors: from a call to its caller.
        schedule: promised work, shared by every connection.
        tasks: where promised work of this connection runs; it is waited for before the lifespan ends.
        where: the backend's address or file, in words.
        subscriptions: who is told when a session or request changes.
        page_notes: what people did in the explorer since the model was last answered.
    """

    settings: Settings
    doors: Doors
    schedule: Schedule
    tasks: TaskGroup
    where: str = ""
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    page_notes: PageNotes = field(default_factory=PageNotes)


Call: TypeAlias = Context[App, Any]


def app_of(call: Call) -> App:
    return call.request_context.lifespan_context


def scope_of(call: Call) -> Scope:
    """The scope of whoever made this call."""
    return app_of(call).doors.scope(call.headers)


def hides(call: Call, detail: str = "") -> bool:
    """Whether this call must not show stored content: it asks not to, or the operator decided so for all."""
    return detail == "masked" or app_of(call).settings.mask


def page_pass(call: Call) -> dict[str, Any]:
    """The pass that the explorer's page sends back with its calls, as the `_meta` of a result."""
    return make_pass(app_of(call).doors.codes(scope_of(call)))


def from_page(call: Call) -> bool:
    """Whether this call comes from the explorer's page and not from the model."""
    return has_pass(app_of(call).doors.codes(scope_of(call)), cast("Any", call.request_context.meta))


def answer(result: Rendered) -> CallToolResult:
    """A result in both forms."""
    return CallToolResult(
        content=[TextContent(type="text", text=result.text)], structured_content=dict(result.structured)
    )
