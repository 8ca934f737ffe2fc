"""`reflexio-mcp delete`: delete stored requests from a shell or from CI, with a plan, a question and a receipt.

It is a client of a server in this process, with a form: the question, what has to be typed, the hourly cap, the audit
log, recovery copies and the receipt are those of the tool `delete_requests`. With `--yes` it sends the plan's code
back instead.
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from reflexio_mcp import __version__
from reflexio_mcp.backend import place_of
from reflexio_mcp.read_commands import (
    Failed,
    call,
    for_a_shell,
    listing,
    making_no_store,
    nothing_found,
    of_this_shell,
    same_filter,
    stored_sources,
    wanted,
)
from reflexio_mcp.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import ElicitRequestParams, ElicitResult

__all__ = ["run_delete_command"]

TOOL: Final = "delete_requests"

TRIES: Final = 3
"""Plans that are made with `--yes` while other requests are stored in between."""


def run_delete_command(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show what would go, ask, delete it and say what is really gone.

    Args:
        arguments: what was typed, as `cli.parse` gives it.

    Returns:
        0 when nothing that was chosen is left, also where a filter chose nothing; 1 when something is or may be, an id
        was not found, or nobody agreed.

    Raises:
        ConfigurationError: nothing is chosen, a filter cannot be used, or the configuration does not allow this.
        KeyboardInterrupt: Ctrl-C, after a sentence on what it means here.
    """
    asks = not (arguments.yes or arguments.dry_run)
    mine = replace(of_this_shell(settings), confirm="ask" if asks else "preview")
    place = place_of(mine)
    # Copies to erase may be there though there is no store.
    mine = mine if arguments.erase else making_no_store(mine)
    chosen = _chosen(arguments, settings, mine)
    sys.stdout.write(f"In {place}\n\n")
    dialogue = _Dialogue(arguments, mine, chosen)
    try:
        return anyio.run(dialogue.run)
    except KeyboardInterrupt:
        flags = same_filter(chosen)
        left = listing(flags) if flags else "look for each id"
        sys.stderr.write(
            "\nreflexio-mcp: Interrupted. A deletion that had begun goes on to its end, unless it is interrupted "
            f"again. What is left: {left}\n"
            if dialogue.begun
            else "\nreflexio-mcp: Nothing was deleted.\n"
        )
        raise


def _chosen(arguments: argparse.Namespace, settings: Settings, mine: Settings) -> dict[str, Any]:
    """The arguments of the tool."""
    from reflexio_mcp.traffic.times import iso, parse_time

    if settings.read_only:
        raise ConfigurationError(
            "REFLEXIO_MCP_READ_ONLY is set here, so nothing can be deleted. Unset it first."
        )
    if settings.tools and TOOL not in settings.tools:
        raise ConfigurationError(
            f"REFLEXIO_MCP_TOOLS is set here without {TOOL}, so nothing can be deleted. Unset it first."
        )
    if (
        settings.confirm == "ask"
        and not arguments.dry_run
        and (arguments.yes or not (sys.stdin and sys.stdin.isatty()))
    ):
        raise ConfigurationError(
            "REFLEXIO_MCP_CONFIRM=ask wants a person's answer at a terminal. Leave out --yes, or set it to auto for "
            "this command."
        )
    chosen = wanted(arguments, settings)
    for name in chosen.keys() & {"start_time", "end_time"}:
        # An age means the same time in the plan and in the deletion.
        chosen[name] = iso(parse_time(name, chosen[name], now=time.time(), end=name == "end_time"))
    if arguments.request_ids:
        if chosen.keys() - {"user_id"}:
            raise ConfigurationError("Name either ids or a filter. Beside ids only --user-id may stand.")
        chosen["request_ids"] = arguments.request_ids
    elif arguments.everything:
        chosen["everything"] = True
    elif not chosen.keys() - {"user_id", "contains", "finding"}:
        raise ConfigurationError(
            "Which requests? Add their ids, or a filter such as --source, --session-id or --start-time. All of a user, "
            "or of what --contains or --finding selects, takes --everything."
        )
    if arguments.include_learnings and mine.embedded:
        raise ConfigurationError("The embedded store does not learn. Leave out --include-learnings.")
    return chosen | {name: True for name in ("include_learnings", "erase") if getattr(arguments, name)}


@dataclass
class _Dialogue:
    """One run of the command: `mine` configures the server in this process, `chosen` are the tool's arguments.

    Once `begun`, something may have been deleted; `declined` is what is said where nobody agreed.
    """

    arguments: argparse.Namespace
    mine: Settings
    chosen: dict[str, Any]
    begun: bool = False
    declined: str = ""

    async def run(self) -> int:
        from mcp import Client
        from mcp.types import Implementation

        from reflexio_mcp.server.server import ReflexioServer

        failed = ""
        async with Client(
            ReflexioServer(self.mine),
            elicitation_callback=self._ask if self.mine.confirm == "ask" else None,
            client_info=Implementation(name="reflexio-mcp delete", version=__version__),
        ) as client:
            try:
                return await self._delete(client)
            except Failed as error:  # outside, it would arrive in a group
                failed = str(error)
        sys.stderr.write(f"reflexio-mcp: {failed}\n")
        return 1

    async def _delete(self, client: "Client") -> int:
        facts, text = await call(client, TOOL, self.chosen)
        if self.declined:
            self._say(self.declined)
            return 1
        if facts["status"] == "not_found" and self._is_nowhere(facts):
            sources, empty = await stored_sources(client, self.chosen)
            self._say(
                nothing_found("requests", self.chosen, self.mine, facts, empty=empty, sources=sources)
                + " Nothing was deleted."
            )
            return 0
        self._say(self._in_words(text, facts))
        if self.arguments.dry_run:
            return 0
        for _ in range(TRIES):
            code = facts.get("plan", {}).get("confirm")
            if not code:
                break
            self.begun = True
            facts, text = await call(client, TOOL, self.chosen | {"confirm": code})
            self._say(f"\n{self._in_words(text, facts)}")
        left = facts.get("receipt", {}).get("not_deleted", [])
        missing = any(one["why"] == "not_found" for one in left)
        return 0 if facts["status"] == "complete" and not missing else 1

    def _is_nowhere(self, facts: Mapping[str, Any]) -> bool:
        """Whether a filter chose nothing and nothing else is to be said, such as of a copy that cannot be read."""
        plan: Mapping[str, Any] = facts.get("plan", {})
        said = plan.get("next", "")
        return (
            "request_ids" not in self.chosen and not plan.get("remains") and said.startswith("Find ids with")
        )

    async def _ask(self, context: object, params: "ElicitRequestParams") -> "ElicitResult":
        """Put the form's question to whoever is at the terminal."""
        from mcp.types import ElicitRequestFormParams, ElicitResult

        assert isinstance(params, ElicitRequestFormParams)
        fields: Mapping[str, Any] = params.requested_schema["properties"]
        (name, field), *_more = fields.items()
        flags = same_filter(self.chosen)
        self._say(for_a_shell(params.message))
        if flags:
            self._say(f"All of them: {listing(flags)}")
        typed = field.get("type") != "boolean"
        answer = self._typed("\nType their number to delete them: " if typed else "\nDelete? [y/N] ")
        if answer.isdecimal() if typed else answer.lower() == "y":
            self.begun = True
            return ElicitResult(action="accept", content={name: int(answer) if typed else True})
        self.declined = self.declined or "Nothing was deleted."
        return ElicitResult(action="decline")

    def _typed(self, prompt: str) -> str:
        """What a person types; nothing where nobody can."""
        sys.stdout.write(prompt)
        sys.stdout.flush()
        # The loop's own handler would let Ctrl-C wait for the answer.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if line := sys.stdin.readline() if sys.stdin else "":
                return line.strip()
        except (OSError, ValueError):  # nothing that can be read, or is no text
            pass
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            return ""
        finally:
            signal.signal(signal.SIGINT, before)
        self.declined = "\nNothing was deleted: nobody answered. Where nobody can, add --yes."
        return ""

    def _in_words(self, text: str, facts: Mapping[str, Any]) -> str:
        """What a result says, without the code, and with commands in place of calls."""
        if "confirm" in (plan := facts.get("plan", {})):
            text = text.removesuffix(plan["next"])
        return for_a_shell(text)

    def _say(self, text: str) -> None:
        sys.stdout.write(f"{text.rstrip()}\n")
        sys.stdout.flush()
