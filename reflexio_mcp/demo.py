"""The main job, shown on a terminal and checked: a real server process, the SDK's client, stdio between them.

Publish, list, filter, inspect, delete with a plan and a receipt, and prove that what was deleted is gone and
nothing else is. On a throw-away embedded store, or on the configured Reflexio, where it works in sessions of
its own and removes them again.
"""

import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO, cast

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult, Implementation, TextContent

from reflexio_mcp import __version__
from reflexio_mcp.render.result import whole
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
        The exit code: 0 when every step did what it said, 1 when one did not, 2 when none was possible.
    """
    screen = _Screen(out or sys.stdout)
    if live and settings.embedded:
        screen.say("No Reflexio is configured: set REFLEXIO_URL or REFLEXIO_API_KEY, or leave out --live.")
        return 2
    with tempfile.TemporaryDirectory(prefix="reflexio-mcp-demo-", ignore_cleanup_errors=True) as folder:
        where = settings.base_url if live else "a throw-away store in a temporary folder"
        screen.say(
            f"reflexio-mcp {__version__} demo: a real server process, spoken to over stdio, on {where}."
        )
        failures: list[BaseException] = []
        try:
            async with Client(
                _server(live, settings, Path(folder)),
                client_info=Implementation(name="reflexio-mcp-demo", version=__version__),
                read_timeout_seconds=CALL_SECONDS,
            ) as client:
                await _show(client, screen, live=live)
        except* (_StepError, MCPError, OSError) as group:
            failures += _leaves(group)
        for failure in failures:
            screen.say(f"\nFAILED: {failure}")
        if failures:
            return 1
    screen.say(f"\nAll {screen.steps} steps did what they said.")
    return 0


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for one in group.exceptions for leaf in _leaves(one)]


def _server(live: bool, settings: Settings, folder: Path) -> StdioServerParameters:
    # `preview`: the plan and its code are part of the show, whatever the operator chose.
    variables = {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_LOG_LEVEL": "WARNING"}
    if live:
        configured = {
            "REFLEXIO_URL": settings.url,
            "REFLEXIO_API_KEY": settings.api_key,
            "REFLEXIO_USER_ID": settings.user_id,
            "REFLEXIO_MCP_TIMEOUT": str(settings.timeout),
        }
        variables |= {variable: value for variable, value in configured.items() if value}
    else:
        variables["REFLEXIO_MCP_STORE"] = str(folder / "store.sqlite3")
    return StdioServerParameters(
        command=sys.executable, args=["-m", "reflexio_mcp"], env=variables, cwd=folder
    )


async def _show(client: Client, screen: "_Screen", *, live: bool) -> None:
    tag = secrets.token_hex(4)
    trip, work = f"demo-{tag}-trip", f"demo-{tag}-work"
    chat, notes = f"demo-{tag}.chat", f"demo-{tag}.notes"
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    # A server that belongs to one user has no `user_id` anywhere.
    scoped = "user_id" not in tools["publish_interaction"].input_schema["properties"]
    who: dict[str, Any] = {} if scoped else {"user_id": f"demo-{tag}-user"}
    # On a real memory the demo's sentences must not be learned from.
    flags = {"evaluation_only": True} if live else {}
    stage = _Stage(client, screen)
    stored: list[str] = []

    try:
        screen.step("Publish three requests in two sessions")
        for session_id, source, said in (
            (trip, chat, "I am flying to Lisbon in May and I cannot eat peanuts."),
            (trip, notes, "Trip notes: aisle seat, vegetarian meal, hotel near the river."),
            (work, chat, "Send the weekly report on Fridays, as a short list."),
        ):
            turns = [{"role": "User", "content": said}]
            facts = await stage.call(
                "publish_interaction",
                **who, session_id=session_id, source=source, interactions=turns, **flags,
            )  # fmt: skip
            stored.append(str(facts.get("request_id", "")))
        screen.check(all(stored) and len(set(stored)) == 3, "three requests are stored, each with its own id")
        first, second, third = stored

        screen.step("List the sessions")
        facts = await stage.call("list_sessions", **who, start_time="1h")
        rows = {row["session_id"]: row["requests"] for row in facts["sessions"]}
        screen.check(
            (rows.get(trip), rows.get(work)) == (2, 1), "one session has two requests, the other one"
        )

        screen.step("Filter by time: the last hour, then everything older than a day")
        facts = await stage.call("list_requests", session_id=trip, start_time="1h")
        screen.check(_ids(facts) == {first, second}, "the last hour holds both requests of the session")
        facts = await stage.call("list_requests", session_id=trip, end_time="1d")
        screen.check(_ids(facts) == set(), "nothing in it is older than a day")

        screen.step("Filter by source")
        facts = await stage.call("list_requests", source=chat)
        screen.check(_ids(facts) == {first, third}, "two requests came from the chat, in two sessions")

        screen.step("Inspect one request")
        facts = await stage.call("get_request", request_id=first)
        contents = [turn.get("content") for turn in facts["interactions"]]
        screen.check(
            contents == ["I am flying to Lisbon in May and I cannot eat peanuts."], "its words are there"
        )

        screen.step("Delete that request: the plan first, then with its code")
        await stage.delete("delete_request", {first}, request_id=first)

        screen.step("Delete the session, with what is left in it")
        await stage.delete("delete_session", {second}, session_id=trip)

        screen.step("Prove that both are gone, and nothing else")
        await stage.refused("get_request", request_id=first)
        facts = await stage.call("list_requests", session_id=trip)
        screen.check(_ids(facts) == set(), "the session is empty")
        facts = await stage.call("list_requests", session_id=work)
        screen.check(_ids(facts) == {third}, "the other session is as it was")
    except BaseException:
        if stored:
            await _tidy(stage, screen, (trip, work))
        raise
    if live:
        screen.step("Leave nothing behind")
        await stage.delete("delete_session", {third}, session_id=work)


async def _tidy(stage: "_Stage", screen: "_Screen", sessions: tuple[str, ...]) -> None:
    """After a failure, remove what the demo stored, as far as that still works."""
    with anyio.move_on_after(10, shield=True):
        for session_id in sessions:
            try:
                plan = await stage.quietly("delete_session", session_id=session_id)
                if code := plan.get("plan", {}).get("confirm"):
                    await stage.quietly("delete_session", session_id=session_id, confirm=code)
            except Exception as error:  # noqa: BLE001 - the failure that led here is the one to report
                screen.say(f"   could not remove session {session_id} again: {error}")


def _ids(facts: Mapping[str, Any]) -> set[str]:
    return {request["request_id"] for session in facts["sessions"] for request in session["requests"]}


class _Stage:
    """Calls tools and shows what goes in and what a model reads of what comes out."""

    def __init__(self, client: Client, screen: "_Screen") -> None:
        self._client = client
        self._screen = screen

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, show it and return its structured content, with rows as objects."""
        result = await self._shown(tool, arguments)
        if result.is_error or result.structured_content is None:
            raise _StepError(f"{tool} answered with an error")
        return whole(result.structured_content)

    async def refused(self, tool: str, **arguments: Any) -> None:
        """Call a tool that must find nothing."""
        result = await self._shown(tool, arguments)
        said = _text(result)
        self._screen.check(
            bool(result.is_error) and said.startswith("No request"), "it is not there any more"
        )

    async def delete(self, tool: str, expected: set[str], **arguments: Any) -> None:
        """Delete in two calls, and hold the plan and the receipt to `expected`."""
        plan = (await self.call(tool, **arguments))["plan"]
        self._screen.check(
            {one["id"] for one in plan["examples"]} == expected and plan["goes"]["requests"] == len(expected),
            f"the plan names {len(expected)} and nothing is deleted yet",
        )
        done = await self.call(tool, **arguments, confirm=plan["confirm"])
        self._screen.check(
            done["status"] == "complete" and done["receipt"]["deleted"] == plan["goes"],
            "the receipt says deleted, for exactly that",
        )

    async def quietly(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return (await self._client.call_tool(tool, arguments)).structured_content or {}

    async def _shown(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        self._screen.show("->", f"{tool}  {_words(arguments)}")
        result = await self._client.call_tool(tool, arguments)
        self._screen.show("<-", _text(result))
        return result


def _text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def _words(arguments: Mapping[str, Any]) -> str:
    words: list[str] = []
    for name, value in arguments.items():
        shown = value[0]["content"] if name == "interactions" else str(value)
        words.append(f"{name}={shown[:SHOWN_CHARS]}{'...' if len(shown) > SHOWN_CHARS else ''}")
    return "  ".join(words)


class _Screen:
    """Numbered steps, what was called, and what was checked."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.steps = 0

    def say(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def step(self, title: str) -> None:
        self.steps += 1
        self.say(f"\n{self.steps}. {title}")

    def show(self, mark: str, text: str) -> None:
        self.say(f"   {mark} " + text.replace("\n", "\n      "))

    def check(self, held: bool, what: str) -> None:
        if not held:
            raise _StepError(f"step {self.steps}: it should be true that {what}")
        self.say(f"   ok: {what}")
