"""The server, which connects all parts."""

import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from mcp import types
from mcp.server import CacheHint
from mcp.server.apps import Apps
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.request_state import RequestStateSecurity
from mcp.server.stdio import stdio_server

from reflexio_mcp import __version__
from reflexio_mcp.render.blocks import sentence
from reflexio_mcp.render.instructions import instructions
from reflexio_mcp.render.words import Words, words_for_model
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import structured
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import Action
from reflexio_mcp.server.callers import current_caller
from reflexio_mcp.server.calls import LIST_SECONDS, LISTS, CallLimiter, Ctx, KeptTools, caller_of
from reflexio_mcp.server.runtime import FormSealing, Runtime
from reflexio_mcp.server.sdk import add_outside_sealing, check, lowlevel
from reflexio_mcp.server.skills import MARKDOWN, Skill, Skills
from reflexio_mcp.server.stdio_stream import Answers, StdioStream
from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.context import PAGE_TOOLS, App, from_page
from reflexio_mcp.tools.catalog import CATALOG, deletes, offered, sdk_tool
from reflexio_mcp.traffic.errors import TrafficError, facts_of, quoted

if TYPE_CHECKING:
    from reflexio_mcp.rest.client import ReflexioClient

__all__ = ["ReflexioServer"]

NAME: Final = "reflexio-mcp"
TITLE: Final = "Reflexio memory"
WEBSITE: Final = "https://github.com/reflexio-mcp/reflexio-mcp"
ICON: Final = types.Icon(
    src=f"{WEBSITE}/raw/main/packaging/mcpb/icon.png", mime_type="image/png", sizes=["256x256"]
)

FACTS_KEY: Final = "reflexio-mcp/facts"
"""Key of `_meta` with the facts of a failure, for the explorer's page."""

NOT_OFFERED: Final = (
    "Not offered here: {}. The operator decides that, with REFLEXIO_MCP_TOOLS or REFLEXIO_MCP_READ_ONLY, or the "
    "permissions of your sign-in."
)
logger = logging.getLogger("reflexio_mcp")


class ReflexioServer(MCPServer[App]):
    """The SDK's server with this project's arguments, failures, resources and prompts.

    Resources, prompts and completions depend on the caller, so they bypass the SDK's managers. Their modules are
    imported at the first use.

    Args:
        client: replaces the configured backend, and is never closed here.

    Raises:
        ConfigurationError: the settings name an unknown tool, or the installed SDK cannot be used.
    """

    def __init__(self, settings: Settings, client: "ReflexioClient | None" = None) -> None:
        self._catalog = {tool.name: tool for tool in offered(settings)}
        self.tool_permissions = {spec.name: spec.permission for spec in CATALOG if spec.name in self._catalog}
        self._needed = {spec.name: lack for spec in CATALOG if (lack := spec.lacks(settings))}
        self.runtime = Runtime(settings, lambda: frozenset(self._tools), client)
        self._skills = Skills(lambda: frozenset(self._tools), self._skill_file)
        super().__init__(
            NAME,
            title=TITLE,
            website_url=WEBSITE,
            icons=[ICON],
            version=__version__,
            instructions=instructions(
                self._catalog,
                deletes=deletes(settings),
                confirm=settings.confirm,
                recovery_days=settings.recovery_days,
            ),
            lifespan=lambda _: self.runtime.open(),
            subscriptions=False,
            cache_hints=dict.fromkeys(LISTS, CacheHint(LIST_SECONDS * 1000, "private")),
            extensions=[self._skills, *([Apps()] if "explore_traffic" in self._catalog else [])],
            request_state_security=RequestStateSecurity(
                codec=FormSealing(self.runtime), bind_principal=self._principal
            ),
        )
        check(self)
        self.limiter = CallLimiter(self.runtime, frozenset(self._catalog))
        kept_tools = KeptTools(lambda: self._tools)
        add_outside_sealing(self, self.limiter)
        add_outside_sealing(self, kept_tools)
        lowlevel(self).add_request_handler("tools/list", types.PaginatedRequestParams, kept_tools.list_new)
        lowlevel(self).add_request_handler("completion/complete", types.CompleteRequestParams, self._complete)

    @property
    def _tools(self) -> Mapping[str, types.Tool]:
        caller = current_caller.get()
        if caller is None or caller.permissions is None:
            return self._catalog
        permissions = caller.permissions
        return {
            name: tool for name, tool in self._catalog.items() if self.tool_permissions[name] in permissions
        }

    def _principal(self, ctx: Ctx) -> str:
        """Bind a form to its caller, backend and user."""
        caller = caller_of(ctx)
        return f"{caller.name if caller else ''}\0{self.runtime.codes(self.runtime.scopes.current()).scope}"

    async def list_tools(self) -> list[types.Tool]:
        return [*self._tools.values()]

    async def run_stdio_async(self) -> None:
        self.runtime.over_stdio = True
        async with stdio_server() as (incoming, outgoing):
            low = lowlevel(self)
            answers = Answers(outgoing)
            stream = StdioStream(incoming, answers)
            await low.run(stream, answers, low.create_initialization_options())

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Answer a call. A failure becomes one or two sentences."""
        from reflexio_mcp.toolkit.parameters import prepared_arguments  # not needed at startup

        tool = self._tools.get(name)
        if tool is None:
            return _failed(self._why_not_offered(name))
        function = sdk_tool(name)
        try:
            given = prepared_arguments(
                tool, function.fn_metadata.arg_model.model_fields, arguments, self.runtime.scopes.current()
            )
            result = await function.run(given, context, convert_result=True)
        except (TrafficError, ToolError) as error:
            result = _failed(_explained(tool, error, words_for_model(self._tools)))
            if from_page(context):
                result = result.model_copy(update={"meta": {FACTS_KEY: _facts_of(tool, error)}})
        if isinstance(result, types.InputRequiredResult):
            return result
        owner = self.runtime.scopes.current().owner
        if from_page(context):
            self._note_call_of_page(owner, result)
            return result
        if tool.name in PAGE_TOOLS or result.is_error:
            return result
        return _with_facts(result, self.runtime.page_notes.take(owner), words_for_model(self._tools))

    def _why_not_offered(self, name: str) -> str:
        names = ", ".join(tool for tool in self._tools if tool not in PAGE_TOOLS)
        reason = ""
        if needed := self._needed.get(name):
            reason = f"It needs {needed}. "
        elif any(spec.name == name for spec in CATALOG):
            reason = f"{NOT_OFFERED.format(name)} "
        others = f"The tools are {names}." if names else "You may call no tools."
        return f"There is no tool {quoted(name)} here; nothing was done. {reason}{others}"

    def _note_call_of_page(self, owner: str, result: types.CallToolResult) -> None:
        """Note what a call of the explorer's page did, for the next result that the model reads."""
        done: dict[str, Any] = result.structured_content or {}
        deleted, restored = done.get("receipt", {}).get("deleted", {}), done.get("restored", {})
        numbers = {
            FactCode.DELETED_IN_PAGE: deleted.get("requests", 0),
            FactCode.LEARNINGS_DELETED_IN_PAGE: deleted.get("learnings", 0),
            FactCode.RESTORED_IN_PAGE: restored.get("requests", 0),
            FactCode.LEARNINGS_RESTORED_IN_PAGE: restored.get("learnings", 0),
        }
        for code, number in numbers.items():
            if number:
                self.runtime.page_notes.add(owner, code, number)

    async def list_resources(self) -> list[types.Resource]:
        from reflexio_mcp.server.resources import listed

        return [*listed(frozenset(self._tools)), *self._skills.files()]

    async def list_resource_templates(self) -> list[types.ResourceTemplate]:
        from reflexio_mcp.server.resources import templates

        return templates(frozenset(self._tools))

    async def read_resource(self, uri: Any, context: Any = None) -> Any:
        from reflexio_mcp.server.resources import read

        if (skill := self._skills.read(str(uri))) is not None:
            return [ReadResourceContents(content=skill, mime_type=MARKDOWN)]
        return [await read(context, str(uri))]

    def _skill_file(self, skill: Skill) -> str:
        scope = self.runtime.scopes.current()
        return skill.file(self._tools, confirm=self.runtime.settings.confirm, learns=scope.learns)

    async def list_prompts(self) -> list[types.Prompt]:
        from reflexio_mcp.server.prompts import listed

        return listed(frozenset(self._tools), scoped=bool(self.runtime.scopes.current().user_id))

    async def get_prompt(
        self, name: str, arguments: Mapping[str, Any] | None = None, context: Any = None
    ) -> types.GetPromptResult:
        from reflexio_mcp.server.prompts import get

        return get(context, name, arguments or {})

    async def _complete(self, ctx: Ctx, params: types.CompleteRequestParams) -> types.CompleteResult:
        from reflexio_mcp.server.completions import complete

        return await complete(cast("App", ctx.lifespan_context), params)


def _explained(tool: types.Tool, error: TrafficError | ToolError, words: Words) -> str:
    from reflexio_mcp.toolkit.parameters import describe

    cause = error.__cause__ if isinstance(error, ToolError) else error
    if cause is None:
        return str(error)
    known = isinstance(cause, ReflexioError | TrafficError | TimeoutError)
    if isinstance(error, UnexpectedToolError) and not known:
        # The message may contain stored text, so it is not logged.
        place = traceback.extract_tb(cause.__traceback__)[-1]
        logger.error(
            "tool %s failed: %s at %s:%s", tool.name, type(cause).__name__, place.filename, place.lineno
        )
    return describe(cause, words, _action(tool))


def _action(tool: types.Tool) -> Action:
    return "read" if tool.annotations is not None and tool.annotations.read_only_hint else "write"


def _facts_of(tool: types.Tool, error: TrafficError | ToolError) -> list[dict[str, Any]]:
    """Return the facts of a failure, which the explorer's page has words for."""
    cause = error.__cause__ if isinstance(error, ToolError) else error
    facts = facts_of(cause, _action(tool)) if isinstance(cause, ReflexioError | TrafficError) else []
    return [fact.model_dump(mode="json", exclude_defaults=True) for fact in facts]


def _with_facts(result: types.CallToolResult, facts: list[Fact], words: Words) -> types.CallToolResult:
    """Add facts to both forms of a result."""
    if not facts or result.structured_content is None:
        return result
    said = words.say(facts)
    form = result.structured_content
    form = {
        **form,
        "facts": [*form.get("facts", []), *map(structured, facts)],
        "text": sentence(form.get("text", ""), *map(words.of, facts)),
    }
    content = [*result.content, types.TextContent(type="text", text=said)]
    return result.model_copy(update={"content": content, "structured_content": form})


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
