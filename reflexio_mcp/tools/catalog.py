"""The tools as a model sees them, and which of them are offered.

The first call of a tool imports its function: importing all of them makes a start take a fifth longer.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from mcp import types
from mcp.server.mcpserver.tools import Tool

from reflexio_mcp.explorer.document import uri
from reflexio_mcp.settings import ConfigurationError, Settings

__all__ = ["CATALOG", "Permission", "deletes", "offered", "sdk_tool"]


class Permission(StrEnum):
    """Permissions of somebody who signed in; the OAuth scope is `memory:` and this word."""

    READ = "read"
    PUBLISH = "publish"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Need:
    """A condition on the configuration, and its name for a caller."""

    met: Callable[[Settings], bool]
    named: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The declaration of a tool.

    Args:
        module: the module in this folder that has the function `name`. The function's parameters are the tool's. It
            returns `Annotated[CallToolResult, Model]`: the output schema follows from the model, and the SDK checks
            every result.
        description: what the model reads.
        read_only, destructive, idempotent: MCP's hints.
        allowed_with: the permission that a caller needs. If it is left out, `read_only` decides: see `permission`.
        needs: what the configuration must have.
        opens_page: hosts with apps open the explorer's page for this tool's results.
        opened_by: for a tool that only the page calls, the tool that opens the page. `PAGE_TOOLS` lists the same tools.
    """

    module: str
    name: str
    title: str
    description: str
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = True
    allowed_with: Permission | None = None
    needs: Need | None = None
    opens_page: bool = False
    opened_by: str = ""

    @property
    def permission(self) -> Permission:
        """The permission that a caller needs: to delete, which includes all others, unless the tool changes nothing or
        is declared to need less.
        """
        if self.allowed_with:
            return self.allowed_with
        return Permission.READ if self.read_only else Permission.DELETE

    def is_offered(self, settings: Settings) -> bool:
        named = not settings.tools or (self.opened_by or self.name) in settings.tools
        return named and (self.read_only or not settings.read_only) and not self.lacks(settings)

    def lacks(self, settings: Settings) -> str:
        """Name what the tool needs and this configuration does not have; empty if nothing is missing."""
        return "" if self.needs is None or self.needs.met(settings) else self.needs.named


LEARNS: Final = Need(
    lambda settings: not settings.embedded,
    "Reflexio (REFLEXIO_URL); the embedded store learns nothing",
)

OPERATES: Final = Need(
    lambda settings: not settings.embedded and not settings.user_id,
    "Reflexio (REFLEXIO_URL), and a server that is not confined by REFLEXIO_USER_ID",
)

CATALOG: Final = (
    ToolSpec(
        "publish",
        "publish_interaction",
        "Publish interactions",
        "Remember: store interactions of a conversation as one request of a session.",
        idempotent=False,
        allowed_with=Permission.PUBLISH,
    ),
    ToolSpec(
        "publish",
        "finish_session",
        "Finish a session",
        "Say that a conversation is over, so that what it teaches is learned now.",
        allowed_with=Permission.PUBLISH,
        needs=LEARNS,
    ),
    ToolSpec(
        "read",
        "list_sessions",
        "List sessions",
        "See remembered conversations: one row each, with user, size, times, sources, first words.",
        read_only=True,
    ),
    ToolSpec(
        "read",
        "list_requests",
        "List requests",
        "See what was sent to memory: stored requests grouped by session, newest first.",
        read_only=True,
    ),
    ToolSpec(
        "read",
        "get_request",
        "Get a request",
        "Read one stored request with its interactions and the state of its learning.",
        read_only=True,
    ),
    ToolSpec(
        "read",
        "audit_traffic",
        "Audit traffic",
        "See how many requests there are, whose they are, and what is wrong with them: findings (probable-secret, "
        "possible-secret, prompt-injection, personal-data, duplicate, test-traffic, learning-waiting, ...), each "
        "with the call that shows it and the one that cleans up. With finding: all its places, to judge each.",
        read_only=True,
    ),
    ToolSpec(
        "read",
        "export_data",
        "Export data",
        "Give the person a copy of everything that is remembered about a user, or of what the filter selects, as one "
        "ZIP file: requests, learnings and session outcomes. Shows a plan first.",
        idempotent=False,
        allowed_with=Permission.READ,
        needs=Need(lambda settings: not settings.mask, "a server that shows stored content"),
    ),
    ToolSpec(
        "explore",
        "explore_traffic",
        "Explore traffic",
        "Show the person a page of what is remembered, to look through, select and delete themselves; "
        "you get the newest sessions.",
        read_only=True,
        opens_page=True,
    ),
    ToolSpec(
        "explore",
        "explorer_data",
        "Data of the explorer",
        "Only for the page of explore_traffic.",
        read_only=True,
        opened_by="explore_traffic",
    ),
    ToolSpec(
        "explore",
        "judge_finding",
        "Judge a finding",
        "Only for the page of explore_traffic.",
        opened_by="explore_traffic",
    ),
    ToolSpec(
        "delete",
        "delete_request",
        "Delete a request",
        "Forget one stored request, then check that it is gone.",
        destructive=True,
    ),
    ToolSpec(
        "delete",
        "delete_session",
        "Delete a session",
        "Forget a conversation: all stored requests of a session.",
        destructive=True,
    ),
    ToolSpec(
        "delete",
        "delete_requests",
        "Delete many requests",
        "Clean up: forget a set of stored requests, by ids or by filter.",
        destructive=True,
    ),
    ToolSpec(
        "delete",
        "restore_requests",
        "Restore deleted requests",
        "Undo a deletion: list what can be restored, and store it again.",
        destructive=True,
        needs=Need(
            lambda settings: settings.recovery_days > 0, "recovery copies (REFLEXIO_MCP_RECOVERY_DAYS)"
        ),
    ),
    ToolSpec(
        "learnings",
        "list_learnings",
        "List learnings",
        "See what was learned: profiles and playbooks of a user, or those from a request, session or filter, with the "
        "interactions they came from.",
        read_only=True,
        needs=LEARNS,
    ),
    ToolSpec(
        "learnings",
        "correct_learning",
        "Correct a learning",
        "Correct one learning that is wrong or out of date, such as an address, with a new text.",
        destructive=True,
        needs=LEARNS,
    ),
    ToolSpec(
        "learnings",
        "delete_learnings",
        "Delete learnings",
        "Forget what was learned and keep the requests, which can teach it again: by ids, or all from a "
        "request, session or filter. Deleting requests can include it.",
        destructive=True,
        needs=LEARNS,
    ),
    ToolSpec(
        "learnings",
        "decide_shared_rules",
        "Decide on shared rules",
        "For an operator: approve, reject or delete rules that are served to everybody (agent playbooks).",
        destructive=True,
        needs=OPERATES,
    ),
    ToolSpec(
        "status",
        "get_status",
        "Status",
        "See where memory is stored, whether it answers, whose it is, the limits and the last deletions.",
        read_only=True,
    ),
)
"""All tools, in the order of listings."""

OF_LEARNING = frozenset(
    {
        "include_learnings",
        "learning_ids",
        "session_finished",
        "override_learning_stall",
        "retrieval_experiment_id",
        "retrieval_experiment_arm",
    }
)
"""Parameters that matter only if the backend learns."""


def deletes(settings: Settings) -> bool:
    return any(spec.destructive and spec.is_offered(settings) for spec in CATALOG)


def offered(settings: Settings) -> list[types.Tool]:
    """Return the offered tools; other tools cannot be called.

    Raises:
        ConfigurationError: a tool's name is unknown.
    """
    names = [spec.name for spec in CATALOG if not spec.opened_by]
    for number, name in enumerate(settings.tools, 1):
        if name not in names:
            # The name may be a misplaced key, so it is not repeated.
            raise ConfigurationError(
                f"--tools / REFLEXIO_MCP_TOOLS: name {number} of {len(settings.tools)} is not a tool. "
                f"The tools are {', '.join(names)}."
            )
    # Parameters that the operator fixed, or that mean nothing here, are in no schema.
    without = OF_LEARNING if settings.embedded else frozenset[str]()
    if settings.user_id:
        without |= {"user_id"}
    consent = "Acts at once and shows no plan." if settings.confirm == "off" else "Shows a plan first."
    return [_listed(spec, without, consent) for spec in CATALOG if spec.is_offered(settings)]


@functools.cache
def sdk_tool(name: str) -> Tool:
    """Make the SDK's tool of this name, with all parameters. The first time, its function is imported."""
    spec = next(spec for spec in CATALOG if spec.name == name)
    tool = Tool.from_function(getattr(import_module(f"reflexio_mcp.tools.{spec.module}"), name))
    for plan in tool.resolver_plans.values():
        # A client sees this key beside the question; the SDK's own is the path of a Python function.
        plan.wire_key = plan.fn.__name__
    return tool


def _listed(spec: ToolSpec, without: frozenset[str], consent: str) -> types.Tool:
    schemas = _schemas()[spec.name]
    accepted = dict(schemas["inputSchema"])
    accepted |= {
        "properties": {name: schema for name, schema in accepted["properties"].items() if name not in without}
    }
    if "required" in accepted:
        accepted["required"] = [name for name in accepted["required"] if name not in without]
    meta = {"ui": {"visibility": ["app"]}} if spec.opened_by else None
    if spec.opens_page:
        # Hosts of before 2026 read the flat key.
        meta = {"ui": {"resourceUri": uri()}, "ui/resourceUri": uri()}
    return types.Tool(
        name=spec.name,
        title=spec.title,
        description=f"{spec.description} {consent}" if spec.destructive else spec.description,
        input_schema=accepted,
        output_schema=schemas["outputSchema"],
        annotations=types.ToolAnnotations(
            read_only_hint=spec.read_only,
            # MCP gives these hints no meaning for tools that only read.
            destructive_hint=None if spec.read_only else spec.destructive,
            idempotent_hint=None if spec.read_only else spec.idempotent,
            open_world_hint=False,
        ),
        _meta=meta,
    )


@functools.cache
def _schemas() -> dict[str, dict[str, Any]]:
    """The schemas of all tools with all parameters, by name; `scripts/docs.py` derives them from the functions."""
    return json.loads(Path(__file__).with_name("schemas.json").read_text(encoding="utf-8"))
