"""What a tool finds around it: the caller's reach, the operator's decisions, the promises still running."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from reflexio_mcp.render.words import Rendered
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.watching import Watchers
from reflexio_mcp.traffic.acting import Safeguards
from reflexio_mcp.traffic.codes import CodeMaker
from reflexio_mcp.traffic.reach import Reach
from reflexio_mcp.traffic.scheduling import Schedule

__all__ = ["App", "Call", "Doors", "answer", "app_of", "hides", "reach_of"]


class Doors(Protocol):
    """How a call finds its caller: one reach for all of them, or each its own."""

    def reach(self, headers: Any) -> Reach:
        """The reach of a call with these HTTP headers (`None` on stdio)."""
        ...

    def codes(self, reach: Reach) -> CodeMaker:
        """The plan codes of a reach."""
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
        watchers: who is told when a session or request changes.
    """

    settings: Settings
    doors: Doors
    schedule: Schedule
    tasks: TaskGroup
    where: str = ""
    watchers: Watchers = field(default_factory=Watchers)


Call: TypeAlias = Context[App, Any]


def app_of(call: Call) -> App:
    return call.request_context.lifespan_context


def reach_of(call: Call) -> Reach:
    """The reach of whoever made this call."""
    return app_of(call).doors.reach(call.headers)


def hides(call: Call, detail: str = "") -> bool:
    """Whether this call must not show stored content: it asks not to, or the operator decided so for all."""
    return detail == "masked" or app_of(call).settings.mask


def answer(result: Rendered) -> CallToolResult:
    """A result in both forms."""
    return CallToolResult(
        content=[TextContent(type="text", text=result.text)], structured_content=dict(result.structured)
    )
