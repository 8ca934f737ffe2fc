"""The tools, and which of them are offered."""

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
"""All tools, in the order of listings."""


PLAN_FIRST = "Shows a plan first."
AT_ONCE = "Acts at once and shows no plan."

OF_LEARNING = frozenset(
    {
        "include_learnings",
        "session_finished",
        "override_learning_stall",
        "retrieval_experiment_id",
        "retrieval_experiment_arm",
    }
)
"""Parameters that matter only if the backend learns."""


def deletes(settings: Settings) -> bool:
    """Whether a deleting tool is offered."""
    return any(spec.destructive and spec.offered(settings) for spec in CATALOG)


def offered(settings: Settings) -> list[Tool]:
    """Return the offered tools; other tools cannot be called.

    Raises:
        ConfigurationError: unknown name of a tool.
    """
    names = [spec.name for spec in CATALOG if not spec.opened_by]
    for number, name in enumerate(settings.tools, 1):
        if name not in names:
            # The name may be a misplaced key, so it is not repeated.
            raise ConfigurationError(
                f"--tools / REFLEXIO_MCP_TOOLS: name {number} of {len(settings.tools)} is no tool. "
                f"The tools are {', '.join(names)}."
            )
    chosen = [spec for spec in CATALOG if spec.offered(settings)]
    # Parameters that the operator fixed, or that mean nothing here, are in no schema.
    without = OF_LEARNING if settings.embedded else frozenset[str]()
    if settings.user_id:
        without |= {"user_id"}
    page = uri() if any(spec.opens_page for spec in chosen) else ""
    consent = AT_ONCE if settings.confirm == "off" else PLAN_FIRST
    return [build(spec, without=without, page=page, consent=consent) for spec in chosen]
