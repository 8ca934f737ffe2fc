"""Completions of ids, sources, users and agent versions, from the newest sessions."""

from contextlib import aclosing, suppress
from typing import Final

import anyio
from mcp import types

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import shown_id
from reflexio_mcp.results.reading import as_name
from reflexio_mcp.server.prompts import PROMPTS
from reflexio_mcp.server.resources import templates
from reflexio_mcp.toolkit.context import App
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.turns import give_way

LOOK_SECONDS: Final = 1.0
SESSIONS_LOOKED_AT: Final = 50
MOST_VALUES: Final = 100
"""The protocol's maximum number of values."""

VALUE_CHARS: Final = 128
VALUE_WORDS: Final = 6
"""Maximum number of words of a name."""

FIELDS: Final = ("session_id", "source", "user_id", "agent_version", "request_id")


async def complete(app: App, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Return values that begin with the typed text; no values if the backend is slow or down."""
    field, typed = params.argument.name, params.argument.value.casefold()
    scope, seen = app.scope(), dict[str, None]()
    if field in FIELDS and _is_offered(params.ref, app.tools):
        pager = SessionPager(scope, TrafficFilter(user_id=scope.user_id), batch=SESSIONS_LOOKED_AT)
        with anyio.move_on_after(LOOK_SECONDS), suppress(ReflexioError):
            async with aclosing(pager.parts()) as parts:
                left = SESSIONS_LOOKED_AT
                async for session in parts:
                    seen |= dict.fromkeys(getattr(item.request, field) for item in session.requests)
                    left -= 1
                    if not left:
                        break
    meant = [value for value in seen if value.casefold().startswith(typed)]
    values = await anyio.to_thread.run_sync(_names, field, meant)
    found = types.Completion(
        values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
    )
    return types.CompleteResult(completion=found)


def _is_offered(ref: types.PromptReference | types.ResourceTemplateReference, tools: frozenset[str]) -> bool:
    # A caller who may not list traffic sees no ids here.
    if not tools & {"list_sessions", "list_requests"}:
        return False
    if isinstance(ref, types.ResourceTemplateReference):
        return ref.uri in [template.uri_template for template in templates(tools)]
    return any(ref.name == prompt.name and prompt.needs <= tools for prompt in PROMPTS)


def _names(field: str, values: list[str]) -> list[str]:
    names: list[str] = []
    for value in values:
        give_way()
        if _is_name(field, value):
            names.append(value)
    return names


def _is_name(field: str, value: str) -> bool:
    """Whether lists show a value unchanged, and it is not a sentence."""
    from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name

    if not 0 < len(value) <= VALUE_CHARS or len(value.split()) > VALUE_WORDS:
        return False
    shown = as_name(value) if field == "agent_version" else shown_id(value)
    return shown == value and not secret_in_name(value)
