"""The main job, shown on a terminal and checked: a real server process, the SDK's client, stdio between them.

Publish, list, filter, inspect, delete with a plan and a receipt, and prove that what was deleted is gone and nothing
else is: on a throw-away embedded store, or on the configured Reflexio, in sessions that the demo removes again.
"""

import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, TextIO, cast

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import Implementation, TextContent

from reflexio_mcp import __version__
from reflexio_mcp.results.deletion import Deletion
from reflexio_mcp.results.reading import OneRequest, RequestPage, SessionPage
from reflexio_mcp.settings import Settings

__all__ = ["run_demo"]

CALL_SECONDS: Final = 60
"""How long the demo waits for one answer."""

SHOWN_CHARS: Final = 60
"""Characters of one argument that are shown."""


class _StepError(Exception):
    """A step did not do what it said."""


async def run_demo(settings: Settings, *, live: bool = False, out: TextIO | None = None) -> int:
    """Show the main job.

    Args:
        live: work on the configured Reflexio instead of a throw-away embedded store.

    Returns:
        The exit code: 0 when every step did what it said, 1 when a step did not, 2 when no Reflexio is configured.
    """
    show = _Show(out or sys.stdout)
    if live and settings.embedded:
        show.say("No Reflexio is configured: set REFLEXIO_URL or REFLEXIO_API_KEY, or leave out --live.")
        return 2
    where = settings.base_url if live else "a throw-away store in a temporary folder"
    show.say(f"reflexio-mcp {__version__} demo: a real server process, spoken to over stdio, on {where}.")
    with tempfile.TemporaryDirectory(prefix="reflexio-mcp-demo-", ignore_cleanup_errors=True) as folder:
        try:
            async with Client(
                _server(settings if live else None, Path(folder)),
                client_info=Implementation(name="reflexio-mcp-demo", version=__version__),
                read_timeout_seconds=CALL_SECONDS,
            ) as show.client:
                await _main_job(show, settings.user_id if live else "", live=live)
        except* (_StepError, MCPError, OSError) as group:
            failure: BaseException = group
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            show.say(f"\nFAILED: {failure}")
            show.failed = True
    if not show.failed:
        show.say(f"\nAll {show.steps} steps did what they said.")
    return int(show.failed)


def _server(live: Settings | None, folder: Path) -> StdioServerParameters:
    # `preview`: the plan and its code are part of the show, whatever the operator chose.
    variables = {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_LOG_LEVEL": "WARNING"}
    if live:
        variables |= {
            "REFLEXIO_URL": live.url,
            "REFLEXIO_API_KEY": live.api_key,
            "REFLEXIO_USER_ID": live.user_id,
            "REFLEXIO_MCP_TIMEOUT": str(live.timeout),
        }
    else:
        variables["REFLEXIO_MCP_STORE"] = str(folder / "store.sqlite3")
    return StdioServerParameters(
        command=sys.executable, args=["-m", "reflexio_mcp"], env=variables, cwd=folder
    )


async def _main_job(show: "_Show", user_id: str, *, live: bool) -> None:
    tag = secrets.token_hex(4)
    trip, work = f"demo-{tag}-trip", f"demo-{tag}-work"
    chat, notes = f"demo-{tag}.chat", f"demo-{tag}.notes"
    # A server that is confined to a user takes no `user_id`.
    who: dict[str, Any] = {} if user_id else {"user_id": f"demo-{tag}-user"}
    wish = "I am flying to Lisbon in May and I cannot eat peanuts."
    try:
        show.step("Publish three requests in two sessions")
        stored: list[str] = []
        for session_id, source, said in (
            (trip, chat, wish),
            (trip, notes, "Trip notes: aisle seat, vegetarian meal, hotel near the river."),
            (work, chat, "Send the weekly report on Fridays, as a short list."),
        ):
            # On a real memory, the sentences of the demo must not be learned from.
            more = who | ({"evaluation_only": True} if live else {})
            turns = [{"role": "User", "content": said}]
            published = await show.call(
                "publish_interaction", session_id=session_id, source=source, interactions=turns, **more
            )
            stored.append(published["request_id"])
        first, second, third = stored
        show.check(len({*stored}) == 3, "three requests are stored, each with its own id")

        show.step("List the sessions")
        page = SessionPage.model_validate(await show.call("list_sessions", start_time="1h", **who))
        counts = {one.session_id: one.requests for one in page.sessions}
        show.check(
            (counts.get(trip), counts.get(work)) == (2, 1), "one session has two requests, the other one"
        )

        show.step("Filter by time: the last hour, then everything older than a day")
        await show.lists({first, second}, "the last hour has both requests", session_id=trip, start_time="1h")
        await show.lists(set(), "nothing in it is older than a day", session_id=trip, end_time="1d")

        show.step("Filter by source")
        await show.lists({first, third}, "two requests came from the chat, in two sessions", source=chat)

        show.step("Inspect one request")
        found = OneRequest.model_validate(await show.call("get_request", request_id=first))
        show.check([one.content for one in found.interactions] == [wish], "its words are there")

        show.step("Delete that request: the plan first, then with its code")
        await show.deletes({first}, "delete_request", request_id=first)

        show.step("Delete the session, with what is left in it")
        await show.deletes({second}, "delete_session", session_id=trip)

        show.step("Prove that both are gone, and nothing else")
        await show.lists(set(), "the session is empty", session_id=trip)
        await show.lists({third}, "the other session is as it was", session_id=work)
        if live:
            show.step("Leave nothing behind")
            await show.deletes({third}, "delete_session", session_id=work)
    except BaseException:
        await show.tidy(trip, work)
        raise


class _Show:
    """Calls tools, shows what goes in and what a model reads of the answer, and checks it."""

    client: Client

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.steps = 0
        self.failed = False

    def say(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def step(self, title: str) -> None:
        self.steps += 1
        self.say(f"\n{self.steps}. {title}")

    def check(self, held: bool, what: str) -> None:
        if not held:
            raise _StepError(f"step {self.steps}: it should be true that {what}")
        self.say(f"   ok: {what}")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        words = [f"{name}={_shortened(value)}" for name, value in arguments.items()]
        self.say("   -> " + "  ".join([tool, *words]))
        result = await self.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        self.say("   <- " + text.replace("\n", "\n      "))
        if result.is_error or result.structured_content is None:
            raise _StepError(f"{tool} answered with an error")
        return result.structured_content

    async def lists(self, expected: set[str], what: str, **arguments: Any) -> None:
        """List requests and compare them with `expected`."""
        page = RequestPage.model_validate(await self.call("list_requests", **arguments))
        self.check({one.request_id for one in page.requests} == expected, what)

    async def deletes(self, expected: set[str], tool: str, **arguments: Any) -> None:
        """Delete in two calls, and compare the plan and the receipt with `expected`."""
        plan = Deletion.model_validate(await self.call(tool, **arguments)).plan
        planned = {one.id for one in plan.examples} if plan else set[str]()
        self.check(planned == expected, f"the plan names {len(expected)} and nothing is deleted yet")
        assert plan
        done = Deletion.model_validate(await self.call(tool, **arguments, confirm=plan.confirm))
        deleted = done.receipt.deleted if done.receipt else None
        self.check(
            done.status == "complete" and deleted == plan.goes, "the receipt says deleted, for exactly that"
        )

    async def tidy(self, *sessions: str) -> None:
        """After a failure, remove what the demo stored, as far as that still works."""
        with anyio.move_on_after(10, shield=True):
            for session_id in sessions:
                try:
                    planned = await self.client.call_tool("delete_session", {"session_id": session_id})
                    if plan := Deletion.model_validate(planned.structured_content).plan:
                        again = {"session_id": session_id, "confirm": plan.confirm}
                        await self.client.call_tool("delete_session", again)
                except Exception as error:  # noqa: BLE001 - the failure that led here is the one to report
                    self.say(f"   could not remove session {session_id} again: {error}")


def _shortened(value: Any) -> str:
    text = str(cast("Any", value)[0]["content"] if isinstance(value, list) else value)
    return f"{text[:SHOWN_CHARS]}{'...' if len(text) > SHOWN_CHARS else ''}"
