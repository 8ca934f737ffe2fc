"""The extension MCP Apps: that it is declared, and the page that it shows."""

from collections.abc import Mapping
from typing import Any, Final

from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.types import Resource

from reflexio_mcp.explorer.document import document, uri

__all__ = ["DeclareApps", "page_contents", "page_resource"]

_UI: Final[dict[str, Any]] = {"ui": {"csp": {}, "prefersBorder": False}}
"""The page asks for no domain at all."""


class DeclareApps:
    """Puts the extension into the reply to `initialize`, from which the SDK drops it before revision 2026-07-28.

    A piece of SDK middleware.
    """

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method != "initialize" or not isinstance(result, Mapping):
            return result
        capabilities: Mapping[str, Any] = result.get("capabilities") or {}
        extensions: Mapping[str, Any] = capabilities.get("extensions") or {}
        declared: dict[str, Any] = {EXTENSION_ID: {}, **extensions}
        return {**result, "capabilities": {**capabilities, "extensions": declared}}


def page_resource() -> Resource:
    """The explorer's page, as a list of resources names it."""
    return Resource(
        uri=uri(),
        name="explorer",
        title="Explorer",
        description="The page that explore_traffic shows.",
        mime_type=APP_MIME_TYPE,
        _meta=_UI,
    )


def page_contents() -> ReadResourceContents:
    """The explorer's page itself."""
    return ReadResourceContents(content=document(), mime_type=APP_MIME_TYPE, meta=_UI)
