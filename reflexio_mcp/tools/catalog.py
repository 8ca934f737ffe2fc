"""Which tools there are, and which of them are offered."""

from mcp.server.mcpserver.tools import Tool

from reflexio_mcp.explorer.document import uri
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.toolkit.spec import ToolSpec, build
from reflexio_mcp.tools import delete, explore, learnings, publish, read, status

__all__ = ["CATALOG", "deletes", "offered"]

CATALOG: tuple[ToolSpec, ...] = (
    *publish.SPECS,
    *read.SPECS,
    *explore.SPECS,
    *delete.SPECS,
    *learnings.SPECS,
    *status.SPECS,
)
"""Every tool, in the order in which they are listed."""


PLAN_FIRST = "Shows a plan first."
AT_ONCE = "Acts at once and shows no plan."

LEARNED_FROM = (
    "session_finished",
    "override_learning_stall",
    "retrieval_experiment_id",
    "retrieval_experiment_arm",
)
"""Arguments of a publish that mean something only where it is learned from."""


def deletes(settings: Settings) -> bool:
    """Whether this configuration offers a tool that deletes."""
    return any(spec.destructive and spec.offered(settings) for spec in CATALOG)


def offered(settings: Settings) -> list[Tool]:
    """The tools this configuration offers; what is not offered cannot be called.

    Raises:
        ConfigurationError: a name that is not a tool's.
    """
    names = [spec.name for spec in CATALOG if not spec.opened_by]
    for number, name in enumerate(settings.tools, 1):
        if name not in names:
            # The name itself is not repeated: it may be a key in the wrong place.
            raise ConfigurationError(
                f"--tools / REFLEXIO_MCP_TOOLS: name {number} of {len(settings.tools)} is no tool. "
                f"The tools are {', '.join(names)}."
            )
    chosen = [spec for spec in CATALOG if spec.offered(settings)]
    # What the operator fixed, or what means nothing here, leaves every schema.
    without = frozenset(
        name
        for name, gone in (
            ("user_id", bool(settings.user_id)),
            ("include_learnings", settings.embedded),
            *((name, settings.embedded) for name in LEARNED_FROM),
        )
        if gone
    )
    page = uri() if any(spec.opens_page for spec in chosen) else ""
    consent = AT_ONCE if settings.confirm == "off" else PLAN_FIRST
    return [build(spec, without=without, page=page, consent=consent) for spec in chosen]
