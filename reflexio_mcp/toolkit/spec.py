"""How a tool is declared, and how its published schema is kept small."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from reflexio_mcp.settings import Settings

__all__ = ["Permission", "ToolSpec", "build", "prune"]

Schema = dict[str, Any]


class Permission(StrEnum):
    """What somebody who signed in may do here; the scope of OAuth is `memory:` and this word."""

    READ = "read"
    PUBLISH = "publish"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool: what the catalogue needs to offer it.

    Args:
        fn: the function; its name is the tool's and its parameters the schema. It returns
            `Annotated[CallToolResult, Model]`: the SDK derives the output schema and checks every result.
        description: what the model reads; short, with the words a person would use.
        destructive, idempotent: as in MCP's hints; `read_only` decides also what a read-only server offers.
        adds: it only adds to what is stored, so `Permission.PUBLISH` is enough.
        needs: whether a configuration has what the tool needs, besides what the operator allows.
        needed: the same in words, for whom it is not offered to.
        opens_page: a host that shows apps opens the explorer's page for its results.
        opened_by: the tool whose page alone calls this one; it is offered where that tool is.
    """

    fn: Callable[..., Any]
    title: str
    description: str
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = True
    adds: bool = False
    needs: Callable[[Settings], bool] = lambda settings: True
    needed: str = ""
    opens_page: bool = False
    opened_by: str = ""

    @property
    def name(self) -> str:
        return self.fn.__name__

    @property
    def permission(self) -> Permission:
        """What its caller must have been granted; the most, unless its declaration says less."""
        return Permission.READ if self.read_only else Permission.PUBLISH if self.adds else Permission.DELETE

    def offered(self, settings: Settings) -> bool:
        """Whether a configuration offers the tool.

        Resources, prompts and completions are offered where a tool that shows the same is.
        """
        named = not settings.tools or (self.opened_by or self.name) in settings.tools
        return named and (self.read_only or not settings.read_only) and self.needs(settings)


def build(
    spec: ToolSpec, *, without: frozenset[str] = frozenset(), page: str = "", consent: str = ""
) -> Tool:
    """The tool as the SDK takes it.

    Args:
        spec: its declaration.
        without: parameters that the operator fixed and that leave the schema.
        page: address of the explorer's page.
        consent: what stands before its deletion, as a sentence.
    """
    tool = Tool.from_function(
        spec.fn,
        title=spec.title,
        description=f"{spec.description} {consent}" if spec.destructive else spec.description,
        annotations=ToolAnnotations(
            read_only_hint=spec.read_only,
            # Of a tool that only reads these two say nothing, by MCP's words.
            destructive_hint=None if spec.read_only else spec.destructive,
            idempotent_hint=None if spec.read_only else spec.idempotent,
            open_world_hint=False,
        ),
        meta=_app_meta(spec, page),
    )
    # What a page's own tool takes is between the two: in the list, every conversation would pay for it.
    page_only: Schema = {"type": "object", "properties": {}}
    tool.parameters = page_only if spec.opened_by else _published(tool.parameters, without)
    return tool


def _app_meta(spec: ToolSpec, page: str) -> dict[str, Any] | None:
    # The form that the MCP Apps extension defines.
    if spec.opens_page:
        return {"ui": {"resourceUri": page}}
    return {"ui": {"visibility": ["app"]}} if spec.opened_by else None


def _published(schema: Schema, without: frozenset[str]) -> Schema:
    definitions: Schema = schema.get("$defs", {})
    small = cast("Schema", prune(_inlined(schema, definitions)))
    properties = {name: value for name, value in small["properties"].items() if name not in without}
    published: Schema = {"type": "object", "properties": properties}
    if required := [name for name in small.get("required", []) if name not in without]:
        published["required"] = required
    return published | {"additionalProperties": False}


def _inlined(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    branch = cast("Schema", node)
    if reference := branch.get("$ref"):
        return _inlined(definitions[str(reference).rsplit("/", 1)[-1]], definitions) | {"description": ""}
    return {key: _inlined(value, definitions) for key, value in branch.items() if key != "$defs"}


_SAYS_LITTLE: Final = frozenset(
    {"title", "maxLength", "minLength", "maxItems", "minItems", "minimum", "additionalProperties"}
)
"""Keywords that cost tokens in every listing; a sentence answers whatever breaks them."""


def prune(node: Any, *, names: bool = False) -> Any:
    """A schema without generated titles, empty defaults and the keywords of `_SAYS_LITTLE`.

    Args:
        node: a schema, or a part of one.
        names: `node` maps property names, which are never dropped.
    """
    if isinstance(node, list):
        return [prune(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    kept: Schema = {}
    for key, value in cast("Schema", node).items():
        if not names:
            empty = key in ("default", "description") and value in ("", [], {}, None, False)
            if key in _SAYS_LITTLE or empty:
                continue
        kept[key] = prune(value, names=key == "properties" and not names)
    return kept
