"""`reflexio-mcp demo`: shows and checks the main job on a terminal.

An SDK client calls the tools of a server in this process. The demo works on a throw-away store, or on the configured
Reflexio, from which it deletes its sessions again.
"""

import secrets
from argparse import Namespace
from dataclasses import replace
from typing import Any, Final

import anyio
from mcp import Client, MCPError
from mcp.types import TextContent

from reflexio_mcp import __version__
from reflexio_mcp.results.deletion import Deletion
from reflexio_mcp.results.reading import OneRequest, RequestPage, SessionPage
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import ConfigurationError, Settings

WISH: Final = "I am flying to Lisbon in May and I cannot eat peanuts."


class _StepError(Exception):
    pass


def run_demo(arguments: Namespace, settings: Settings) -> int:
    if not arguments.live:
        settings = Settings(store=":memory:")
    elif settings.embedded:
        raise ConfigurationError(
            "No Reflexio is configured. Set REFLEXIO_URL or REFLEXIO_API_KEY, or leave out --live."
        )
    elif settings.read_only:
        raise ConfigurationError(
            "REFLEXIO_MCP_READ_ONLY allows no demo with --live: it publishes and deletes."
        )
    user_id = settings.user_id or f"demo-{secrets.token_hex(4)}-user"
    # The demo shows a plan and its code, whatever the operator chose.
    chosen = replace(settings, user_id=user_id, confirm="preview", tools=())
    return anyio.run(_demo, chosen)


async def _demo(settings: Settings) -> int:
    print(f"reflexio-mcp {__version__} demo, on {settings.base_url or 'a throw-away store'}.")
    async with Client(ReflexioServer(settings)) as client:
        steps = _Steps(client)
        try:
            await _main_job(steps, settings)
        except (_StepError, MCPError) as error:
            # If the clean-up failed, too, the error of the step is the context of that of the clean-up.
            print(f"\nFAILED: {error.__context__ or error}")
            return 1
    print(f"\nAll {steps.number} steps did what they said.")
    return 0


async def _main_job(steps: "_Steps", settings: Settings) -> None:
    tag = secrets.token_hex(4)
    trip, work = f"demo-{tag}-trip", f"demo-{tag}-work"
    chat, notes = f"demo-{tag}.chat", f"demo-{tag}.notes"
    try:
        steps.begin("Publish three requests in two sessions")
        first = await steps.publish(WISH, session_id=trip, source=chat)
        second = await steps.publish("Trip notes: aisle seat, hotel.", session_id=trip, source=notes)
        third = await steps.publish("Send the report on Fridays.", session_id=work, source=chat)
        steps.check(len({first, second, third}) == 3, "three requests are stored, each with its own id")

        steps.begin("List the sessions")
        page = SessionPage.model_validate(await steps.call("list_sessions", start_time="1h"))
        counts = {session.session_id: session.requests for session in page.sessions}
        steps.check(
            counts.get(trip) == 2 and counts.get(work) == 1, "one session has two requests, the other has one"
        )

        steps.begin("Filter by time: the last hour, then everything older than a day")
        await steps.check_list({first, second}, session_id=trip, start_time="1h")
        await steps.check_list(set(), session_id=trip, end_time="1d")

        steps.begin("Filter by source")
        await steps.check_list({first, third}, source=chat)

        steps.begin("Inspect one request")
        found = OneRequest.model_validate(await steps.call("get_request", request_id=first))
        steps.check(
            [interaction.content for interaction in found.interactions] == [WISH],
            "the published text is there",
        )

        steps.begin("Delete that request: the plan first, then with its code")
        await steps.delete({first}, "delete_request", request_id=first)

        steps.begin("Delete the session, with what is left in it")
        await steps.delete({second}, "delete_session", session_id=trip)

        steps.begin("Prove that both requests are gone, and nothing else")
        await steps.check_list(set(), session_id=trip)
        await steps.check_list({third}, session_id=work)
    finally:
        if not settings.embedded:
            steps.begin("Delete the demo's sessions")
            for session_id in (trip, work):
                plan = await steps.call("delete_session", session_id=session_id)
                if code := plan["plan"].get("confirm"):
                    await steps.call("delete_session", session_id=session_id, confirm=code)
                await steps.check_list(set(), session_id=session_id)


class _Steps:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.number = 0

    def begin(self, title: str) -> None:
        self.number += 1
        print(f"\n{self.number}. {title}")

    def check(self, is_true: bool, claim: str) -> None:
        if not is_true:
            raise _StepError(f"step {self.number}: it should be true that {claim}")
        print(f"   ok: {claim}")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        print("   -> " + "  ".join([tool, *(f"{name}={value}" for name, value in arguments.items())]))
        result = await self._client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        print("   <- " + text.replace("\n", "\n      "))
        if result.is_error or result.structured_content is None:
            raise _StepError(f"{tool} answered with an error")
        return result.structured_content

    async def publish(self, content: str, **arguments: Any) -> str:
        # Reflexio must not learn from the demo.
        published = await self.call(
            "publish_interaction", interactions=[{"content": content}], evaluation_only=True, **arguments
        )
        return published["request_id"]

    async def check_list(self, expected: set[str], **arguments: Any) -> None:
        page = RequestPage.model_validate(await self.call("list_requests", **arguments))
        self.check({request.request_id for request in page.requests} == expected, "the list is as expected")

    async def delete(self, expected: set[str], tool: str, **arguments: Any) -> None:
        plan = Deletion.model_validate(await self.call(tool, **arguments)).plan
        named = {example.id for example in plan.examples} if plan else set[str]()
        self.check(named == expected, "the plan names the right requests and nothing is deleted yet")
        assert plan
        done = Deletion.model_validate(await self.call(tool, **arguments, confirm=plan.confirm))
        self.check(
            done.receipt is not None and done.status == "complete" and done.receipt.deleted == plan.selected,
            "the receipt agrees with the plan",
        )
