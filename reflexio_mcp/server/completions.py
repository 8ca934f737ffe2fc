"""Completions of session ids, sources, users and agent versions, from recent traffic.

The newest sessions are read once and kept for some seconds, for each caller separately.
"""

from collections import OrderedDict
from typing import Final

import anyio
from mcp import types

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestPage, RequestQuery
from reflexio_mcp.results.reading import as_name
from reflexio_mcp.results.text import visible
from reflexio_mcp.server.prompts import PROMPTS
from reflexio_mcp.server.resources import templates
from reflexio_mcp.toolkit.context import App
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Completer"]

FRESH_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 1.0
SESSIONS_LOOKED_AT: Final = 50
CALLERS_KEPT: Final = 64
MOST_VALUES: Final = 100
"""The most that the protocol allows in one answer."""

VALUE_CHARS: Final = 128
VALUE_WORDS: Final = 6
"""A value of more words is a text and not a name, so it is not offered."""

FIELDS: Final = ("session_id", "source", "user_id", "agent_version", "request_id")

Values = dict[str, list[str]]


class Completer:
    """Answers completions for every caller."""

    def __init__(self) -> None:
        self._recent: OrderedDict[str, tuple[float, Values]] = OrderedDict()

    async def complete(
        self, app: App, scope: Scope, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        """Return the values that begin with what was typed."""
        values: list[str] = []
        # The values come from traffic, so they are offered only where a list shows them too.
        if app.tools & {"list_sessions", "list_requests"} and _is_offered(params.ref, app.tools):
            begins = params.argument.value.casefold()
            recent = (await self._values(scope)).get(params.argument.name, [])
            values = [one for one in recent if one.casefold().startswith(begins)]
        return types.CompleteResult(
            completion=types.Completion(
                values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
            )
        )

    async def _values(self, scope: Scope) -> Values:
        until, values = self._recent.get(scope.owner, (0.0, {}))
        if anyio.current_time() >= until:
            values = await _look(scope)
            self._recent[scope.owner] = (anyio.current_time() + FRESH_SECONDS, values)
            while len(self._recent) > CALLERS_KEPT:
                self._recent.popitem(last=False)
        return values


def _is_offered(ref: types.PromptReference | types.ResourceTemplateReference, tools: frozenset[str]) -> bool:
    if isinstance(ref, types.ResourceTemplateReference):
        return any(ref.uri == template.uri_template for template in templates(tools))
    return any(ref.name == prompt.name and prompt.needs <= tools for prompt in PROMPTS)


async def _look(scope: Scope) -> Values:
    """What the newest sessions contain; nothing if the backend is slow or down."""
    page = RequestPage(sessions=[])
    with anyio.move_on_after(LOOK_SECONDS):
        try:
            query = RequestQuery(user_id=scope.user_id or None, top_k=SESSIONS_LOOKED_AT)
            page = await scope.client.get_requests(query)
        except ReflexioError:
            return {}
    from reflexio_mcp.traffic.audit.rules.redaction import (
        secret_in_name,
    )  # its patterns take a while to compile

    requests = [item.request for group in page.sessions for item in group.requests]
    seen = [request for request in requests if scope.covers(request.user_id)]
    return {
        name: [
            value
            for value in dict.fromkeys(getattr(one, name) for one in seen)
            if _is_name(name, value) and not secret_in_name(value)
        ]
        for name in FIELDS
    }


def _is_name(field: str, value: str) -> bool:
    """Whether a value can be offered: not if it would be shown escaped or masked, or reads like a sentence."""
    return (
        0 < len(value) <= VALUE_CHARS
        and value.isprintable()
        and visible(value) == value
        and len(value.split()) <= VALUE_WORDS
        and (field != "agent_version" or as_name(value) == value)
    )
