"""Completions of session ids, sources, users and agent versions, from recent traffic.

The newest sessions are read once and kept for some seconds, for each caller apart. A slow backend is not waited for:
nothing is offered then, and the reading continues for the next keystroke.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp import types

from reflexio_mcp.render.masking import as_name
from reflexio_mcp.render.stored_text import visible
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestPage, RequestQuery
from reflexio_mcp.toolkit.context import App
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Completer"]

WAIT_SECONDS: Final = 0.08
"""How long a keystroke waits for the reading: people notice a tenth of a second."""

FRESH_SECONDS: Final = 20.0
QUIET_SECONDS: Final = 5.0
"""How long nothing is read after a failed reading."""

LOOK_SECONDS: Final = 3.0
SESSIONS_LOOKED_AT: Final = 50
CALLERS_KEPT: Final = 64
MOST_VALUES: Final = 100
"""The most that the protocol allows in one answer."""

VALUE_CHARS: Final = 128
VALUE_WORDS: Final = 6
"""A value of more words is a text and not a name, so it is not offered."""

FIELDS: Final = ("session_id", "source", "user_id", "agent_version", "request_id")


@dataclass
class _Recent:
    """What was last read for one caller, newest first."""

    values: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    until: float = 0.0
    looking: anyio.Event | None = None


class Completer:
    """Answers completions for every caller."""

    def __init__(self) -> None:
        self._recent: OrderedDict[str, _Recent] = OrderedDict()

    async def complete(
        self, app: App, scope: Scope, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        """Return the values that begin with what was typed; none if they are not known in time."""
        name, typed = params.argument.name, params.argument.value
        values: list[str] = []
        # The values come from traffic, so they are offered only where a list shows them too.
        if (
            app.tools & {"list_sessions", "list_requests"}
            and _is_offered(params.ref, app.tools)
            and name in FIELDS
        ):
            begins = typed.casefold()
            values = [
                one for one in await self._values(app, scope, name) if one.casefold().startswith(begins)
            ]
        return types.CompleteResult(
            completion=types.Completion(
                values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES
            )
        )

    async def _values(self, app: App, scope: Scope, name: str) -> list[str]:
        recent = self._recent.setdefault(scope.owner, _Recent())
        self._recent.move_to_end(scope.owner)
        while len(self._recent) > CALLERS_KEPT:
            self._recent.popitem(last=False)
        if anyio.current_time() >= recent.until:
            if recent.looking is None:
                recent.looking = anyio.Event()
                app.tasks.start_soon(_look, scope, recent, recent.looking)
            if not recent.values:
                with anyio.move_on_after(WAIT_SECONDS):
                    await recent.looking.wait()
        return recent.values.get(name, [])


def _is_offered(ref: Any, tools: frozenset[str]) -> bool:
    if isinstance(ref, types.ResourceTemplateReference):
        from reflexio_mcp.server.resources import templates

        return any(ref.uri == template.uri_template for template in templates(tools))
    if isinstance(ref, types.PromptReference):
        from reflexio_mcp.server.prompts import PROMPTS

        return any(ref.name == prompt.name and prompt.needs <= tools for prompt in PROMPTS)
    return False


async def _look(scope: Scope, recent: _Recent, looked: anyio.Event) -> None:
    """Read the newest sessions. Raises nothing: no caller waits for it."""
    seconds = QUIET_SECONDS
    try:
        with anyio.move_on_after(LOOK_SECONDS):
            query = RequestQuery(user_id=scope.user_id or None, top_k=SESSIONS_LOOKED_AT)
            recent.values = _collect(scope, await scope.client.get_requests(query))
            seconds = FRESH_SECONDS
    except (ReflexioError, RuntimeError, OSError):
        # A backend that is down, or a client that was closed meanwhile: nothing is offered.
        recent.values = {}
    finally:
        recent.until = anyio.current_time() + seconds
        recent.looking = None
        looked.set()


def _collect(scope: Scope, page: RequestPage) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {name: {} for name in FIELDS}
    for group in page.sessions:
        for item in group.requests:
            request = item.request
            if not scope.covers(request.user_id):
                continue
            for name in FIELDS:
                value = getattr(request, name)
                if value not in found[name] and _offerable(name, value):
                    found[name][value] = None
    return {name: list(values) for name, values in found.items()}


def _offerable(name: str, value: str) -> bool:
    # Not offered: values that would have to be shown escaped or masked, and values that read like a sentence.
    return (
        0 < len(value) <= VALUE_CHARS
        and visible(value) == value
        and "\n" not in value
        and "\t" not in value
        and len(value.split()) <= VALUE_WORDS
        and (name != "agent_version" or as_name(value) == value)
    )
