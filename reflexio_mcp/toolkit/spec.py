"""Declares tools, and keeps their schemas small."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast, get_args

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from reflexio_mcp.results.base import Result
from reflexio_mcp.settings import Settings

__all__ = ["LEARNS", "Need", "Permission", "ToolSpec", "build"]

Schema = dict[str, Any]


class Permission(StrEnum):
    """Permissions of somebody who signed in; the OAuth scope is `memory:` and this word."""

    READ = "read"
    PUBLISH = "publish"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a tool needs of the configuration, and its name for a caller."""

    met: Callable[[Settings], bool]
    named: str


LEARNS: Final = Need(
    lambda settings: not settings.embedded,
    "a Reflexio that learns (REFLEXIO_URL); the embedded store does not",
)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The declaration of a tool.

    Args:
        fn: the function, with the tool's name and parameters. It returns `Annotated[CallToolResult, Model]`: the
            output schema follows from the model, and the SDK checks every result.
        description: what the model reads.
        read_only, destructive, idempotent: MCP's hints.
        adds: it only adds to what is stored, so `Permission.PUBLISH` is enough.
        needs: what the configuration must have.
        opens_page: hosts with apps open the explorer's page for its results.
        opened_by: the tool whose page alone calls this one.
    """

    fn: Callable[..., Any]
    title: str
    description: str
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = True
    adds: bool = False
    needs: Need | None = None
    opens_page: bool = False
    opened_by: str = ""

    @property
    def name(self) -> str:
        return self.fn.__name__

    @property
    def result(self) -> type[Result]:
        return get_args(self.fn.__annotations__["return"])[1]

    @property
    def permission(self) -> Permission:
        """The permission that a caller needs: the highest, unless the declaration allows less."""
        return Permission.READ if self.read_only else Permission.PUBLISH if self.adds else Permission.DELETE

    def offered(self, settings: Settings) -> bool:
        named = not settings.tools or (self.opened_by or self.name) in settings.tools
        return named and (self.read_only or not settings.read_only) and not self.lacks(settings)

    def lacks(self, settings: Settings) -> str:
        """Name what the tool needs and this configuration does not have; empty for nothing."""
        return "" if self.needs is None or self.needs.met(settings) else self.needs.named


def build(
    spec: ToolSpec, *, without: frozenset[str] = frozenset(), page: str = "", consent: str = ""
) -> Tool:
    """Make the tool for the SDK.

    Args:
        without: parameters that the operator fixed.
        page: address of the explorer's page.
        consent: a sentence about what precedes a deletion.
    """
    tool = Tool.from_function(
        spec.fn,
        title=spec.title,
        description=f"{spec.description} {consent}" if spec.destructive else spec.description,
        annotations=ToolAnnotations(
            read_only_hint=spec.read_only,
            # MCP gives these hints no meaning for tools that only read.
            destructive_hint=None if spec.read_only else spec.destructive,
            idempotent_hint=None if spec.read_only else spec.idempotent,
            open_world_hint=False,
        ),
        meta=_app_meta(spec, page),
        structured_output=False,
    )
    # The SDK would derive the schema at every start, which would take as long as all our imports.
    tool.fn_metadata.output_model = spec.result
    tool.fn_metadata.output_schema = _output_schemas()[spec.result.__name__]
    # The arguments of the page's tool are private: in the list, they would cost tokens in every conversation.
    page_only: Schema = {"type": "object", "properties": {}}
    tool.parameters = page_only if spec.opened_by else _published(tool.parameters, without)
    return tool


@functools.cache
def _output_schemas() -> dict[str, Schema]:
    """The output schemas by the name of their model; `scripts/docs.py` derives them."""
    path = Path(__file__).parent.parent / "results" / "schemas.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _app_meta(spec: ToolSpec, page: str) -> dict[str, Any] | None:
    if spec.opens_page:
        return {"ui": {"resourceUri": page}}
    return {"ui": {"visibility": ["app"]}} if spec.opened_by else None


def _published(schema: Schema, without: frozenset[str]) -> Schema:
    small = cast("Schema", _small(schema, schema.get("$defs", {})))
    properties = {name: value for name, value in small["properties"].items() if name not in without}
    published: Schema = {"type": "object", "properties": properties}
    if required := [name for name in small.get("required", []) if name not in without]:
        published["required"] = required
    return published | {"additionalProperties": False}


_SAYS_LITTLE: Final = frozenset(
    {"$defs", "title", "maxLength", "minLength", "maxItems", "minItems", "minimum", "additionalProperties"}
)
"""Keywords that cost tokens in every listing; a refusal explains violations."""


def _small(node: Any, definitions: Schema, *, names: bool = False) -> Any:
    """Resolve references, and remove empty defaults and the keywords of `_SAYS_LITTLE`.

    Args:
        names: `node` maps property names, which are never removed.
    """
    if isinstance(node, list):
        return [_small(item, definitions) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    branch = cast("Schema", node)
    if reference := branch.get("$ref"):
        branch = definitions[str(reference).rsplit("/", 1)[-1]] | {"description": ""}
    return {
        key: _small(value, definitions, names=key == "properties" and not names)
        for key, value in branch.items()
        if names or not (key in _SAYS_LITTLE or (key in ("default", "description") and not value))
    }
