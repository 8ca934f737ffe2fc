"""Resources, prompts, completions and subscriptions on the server; each is imported when it is first asked for.

The SDK's managers are passed by: what is offered depends on the caller, and building models at the start would be
paid for by every client on every start.
"""

from collections.abc import Mapping
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_REQUEST,
    CompleteRequestParams,
    CompleteResult,
    EmptyResult,
    GetPromptResult,
    Prompt,
    Resource,
    ResourceTemplate,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from reflexio_mcp.explorer.document import uri as page_uri
from reflexio_mcp.server.middleware import caller_of
from reflexio_mcp.server.runtime import Runtime
from reflexio_mcp.toolkit.context import App
from reflexio_mcp.toolkit.subscriptions import ScopedBus, Subscriber

__all__ = ["Primitives"]

Ctx = ServerRequestContext[Any, Any]


class Primitives(MCPServer[App]):
    """The part of the server that is not tools. `runtime` is set before the constructor runs."""

    runtime: Runtime

    @property
    def opens_page(self) -> bool:
        """Whether the explorer's page is offered."""
        return self._tool_manager.get_tool("explore_traffic") is not None

    def offer_primitives(self) -> None:
        """Register what the SDK has no method to override for."""
        low = self._lowlevel_server
        low.add_request_handler("completion/complete", CompleteRequestParams, self._complete)
        low.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)
        low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listen)

    async def list_resources(self) -> list[Resource]:
        from reflexio_mcp.server.resources import RESOURCES

        if not self.opens_page:
            return list(RESOURCES)
        from reflexio_mcp.server.apps import page_resource

        return [*RESOURCES, page_resource()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        from reflexio_mcp.server.resources import TEMPLATES

        return list(TEMPLATES)

    async def read_resource(self, uri: Any, context: Any = None) -> Any:
        if self.opens_page and str(uri) == page_uri():
            from reflexio_mcp.server.apps import page_contents

            return [page_contents()]
        from reflexio_mcp.server.resources import read

        return await read(context, str(uri))

    async def list_prompts(self) -> list[Prompt]:
        from reflexio_mcp.server.prompts import listed
        from reflexio_mcp.tools.catalog import offered_names

        settings = self.runtime.settings
        return listed(offered_names(settings), scoped=bool(settings.user_id))

    async def get_prompt(
        self, name: str, arguments: Mapping[str, Any] | None = None, context: Any = None
    ) -> GetPromptResult:
        from reflexio_mcp.server.prompts import get

        return get(context, name, arguments)

    async def _complete(self, ctx: Ctx, params: CompleteRequestParams) -> CompleteResult:
        app = cast("App", ctx.lifespan_context)
        return await self.runtime.completer().complete(app, self.runtime.scope(), params)

    def _subscriber(self, ctx: Ctx) -> Subscriber:
        caller = caller_of(ctx) or self.runtime.local_caller()
        if caller is None:
            raise MCPError(INVALID_REQUEST, "This call names no caller; nothing is watched.")
        return Subscriber(caller.key_id, caller.user_id)

    async def _subscribe(self, ctx: Ctx, params: SubscribeRequestParams) -> EmptyResult:
        app = cast("App", ctx.lifespan_context)
        self.runtime.subscriptions.stand(
            _connection(ctx), self._subscriber(ctx), str(params.uri), ctx.session, app.tasks
        )
        return EmptyResult()

    async def _unsubscribe(self, ctx: Ctx, params: UnsubscribeRequestParams) -> EmptyResult:
        self.runtime.subscriptions.leave(_connection(ctx), str(params.uri))
        return EmptyResult()

    async def _listen(self, ctx: Ctx, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        # One handler a stream: its bus is the caller's part of what happens.
        return await ListenHandler(ScopedBus(self.runtime.subscriptions, self._subscriber(ctx)))(ctx, params)


def _connection(ctx: Ctx) -> Any:
    # The SDK gives handlers no public way to the connection, which knows when it ends.
    return cast("Any", ctx.session)._connection
