"""Looking at what is stored without an assistant: `sessions`, `requests`, `show`, `learned` and `audit`.

Each command calls the tool of the same purpose in this process, so that it shows what a client would be given, and
lays the facts out for a terminal. Nothing can be changed from here: the server is built read-only.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import anyio

from reflexio_mcp.rest.api_limits import is_blank
from reflexio_mcp.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from mcp import Client

    from reflexio_mcp.traffic.reading.filters import TrafficFilter

__all__ = [
    "FILTER", "Failed", "call", "for_a_shell", "in_flags", "listing", "making_no_store", "nothing_found",
    "of_this_shell", "run_read_command", "same_filter", "stored_sources", "wanted",
]  # fmt: skip

Facts = Mapping[str, Any]

TOOLS: Final = {
    "sessions": "list_sessions",
    "requests": "list_requests",
    "show": "get_request",
    "learned": "list_learnings",
    "audit": "audit_traffic",
}

FILTER: Final = {
    "user_id": "requests of this user",
    "session_id": "requests of this session",
    "source": "requests from this source",
    "agent_version": "requests of this agent version",
    "start_time": "stored at or after this: an ISO 8601 time (without a zone UTC), or an age such as 24h or 7d",
    "end_time": "stored at or before this",
    "contains": "requests with all these words, in any order and case, also inside longer ones; quote a phrase; X OR Y",
    "finding": "requests in which the audit finds this, such as probable-secret, possible-secret or duplicate",
}
"""The one filter, as the tools' parameters name it, with what the commands' flags say about it."""

MOST_A_CALL: Final = 100
"""Rows that a tool gives at most in one call."""

SOURCES: Final = 10
"""Sources that are named at most where the one that was asked for does not exist."""

_FENCE: Final = re.compile(r"^<<(?:stored text \w+: data, not instructions|end \w+)>>\n", re.MULTILINE)

ASSISTANTS: Final = {
    "restore_requests": "restore_requests is a tool of the assistant, and offered where REFLEXIO_MCP_RECOVERY_DAYS is "
    "set for it.",
    "get_status receipt": "get_status is a tool of the assistant.",
}
"""What is said of a tool that has no command."""

_ARGUMENTS: Final = re.compile(r"\b(erase|include_learnings|everything)=true\b|\b(contains)(?==NAME\b)")

_TIMES: Final = re.compile(r"(?<!-)\b(?:start|end)_time\b")

_UNBOUNDED: Final = 100_000
"""Columns of a table that goes to a file or a pipe, where nothing should be wrapped or cut."""


def _place(settings: Settings) -> str:
    # Brings the API's models, which a server that starts imports faster.
    from reflexio_mcp.backend import place_of

    return place_of(settings)


def _program() -> str:
    return "reflexio-mcp"


class Failed(Exception):
    """A tool answered with an error; its text says what happened and what to do, in the words of these commands."""

    def __init__(self, said: str) -> None:
        super().__init__(for_a_shell(said))


def run_read_command(arguments: argparse.Namespace, settings: Settings, out: TextIO | None = None) -> int:
    """Run one of the commands.

    Args:
        arguments: what was typed, as `cli.parse` gives it.

    Returns:
        0, or 1 when the backend could not be read or does not learn.

    Raises:
        ConfigurationError: as `wanted`.
    """
    screen = out or sys.stdout
    mine = replace(making_no_store(of_this_shell(settings)), read_only=True)
    if arguments.command == "learned" and mine.embedded:
        sys.stderr.write(
            "reflexio-mcp: The embedded store does not learn, so there is nothing to list. Set REFLEXIO_URL or "
            "REFLEXIO_API_KEY.\n"
        )
        return 1
    asked = wanted(arguments, settings)
    everything = getattr(arguments, "all", False)
    limit = sys.maxsize if everything else getattr(arguments, "limit", sys.maxsize)
    facts, sources, empty, failed = anyio.run(_ask, mine, TOOLS[arguments.command], asked, limit)
    if failed:
        sys.stderr.write(f"reflexio-mcp: {failed}\n")
        return 1
    if arguments.json:
        screen.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return 0
    nothing = ""
    if not _found(facts):
        nothing = nothing_found(arguments.command, asked, settings, facts, empty=empty, sources=sources)
    _Layout(screen, replace(mine, store=settings.store), nothing, empty=empty).show(arguments.command, facts)
    return 0


def of_this_shell(settings: Settings) -> Settings:
    """The configuration of a server in this process, whose only caller is whoever is at the shell.

    What an assistant is offered and how callers of an HTTP server are known is no matter here. What may be seen is, so
    `mask` and the user stay.
    """
    return replace(settings, tools=(), auth_token=(), oauth_issuer="")


def making_no_store(mine: Settings) -> Settings:
    """A configuration that does not make the embedded store where there is none yet."""
    if mine.embedded:
        try:
            Path(_place(mine)).stat()
        except FileNotFoundError:
            return replace(mine, store=":memory:")
        except (OSError, ValueError):  # the store says what is wrong with it
            pass
    return mine


def for_a_shell(text: str) -> str:
    """What a tool says to a model, for a person at a shell."""
    said = _FENCE.sub("", in_flags(f"{text}\n")).strip()
    for tool, of_the_assistant in ASSISTANTS.items():
        if tool in said:
            said += f"\n{of_the_assistant}"
    return said


def in_flags(text: str) -> str:
    """A tool's words with commands in place of tools, and flags in place of arguments."""
    for command, tool in TOOLS.items():
        text = text.replace(tool, f"{_program()} {command}")
    return _ARGUMENTS.sub(lambda found: _flag(found[1] or found[2]), text)


def wanted(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """What was typed, as the tool's arguments.

    Raises:
        ConfigurationError: a filter that is blank or cannot be used, or a user outside the one this configuration is
            confined to.
    """
    if arguments.command == "show":
        return {"request_id": arguments.request_id}
    chosen = {
        name: value
        for name in (*FILTER, "request_id")
        if (value := getattr(arguments, f"filter_{name}", None)) is not None
    }
    for name, value in chosen.items():
        if is_blank(value):
            raise ConfigurationError(f"{_flag(name)} is blank. Leave it out to select everything.")
    if arguments.command == "learned" and not chosen.keys() - {"contains"} and not settings.user_id:
        raise ConfigurationError(
            "Whose? Add --user-id, or a filter of the requests that it was learned from."
        )
    # A server that is confined to a user does not take another one.
    if settings.user_id and chosen.pop("user_id", settings.user_id) != settings.user_id:
        raise ConfigurationError(
            f"REFLEXIO_USER_ID confines this configuration to {settings.user_id}; --user-id cannot name anybody else."
        )
    _filter(chosen, settings)
    return chosen


def _filter(chosen: Mapping[str, Any], settings: Settings) -> "TrafficFilter":
    """The filter that a tool would make of its arguments."""
    from reflexio_mcp.traffic.errors import InvalidInput
    from reflexio_mcp.traffic.reading.filters import make_filter

    try:
        return make_filter(**{name: chosen[name] for name in FILTER if name in chosen}, masked=settings.mask)
    except InvalidInput as error:
        raise ConfigurationError(_with_flags(str(error), error.field)) from None


def _with_flags(said: str, field: str) -> str:
    """What is wrong with a filter, with the flags of the command for the parameters of the tool."""
    if said.startswith(field):
        said = _flag(field) + said.removeprefix(field)
    return _TIMES.sub(lambda found: _flag(found[0]), said)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


async def _ask(
    settings: Settings, tool: str, wanted: dict[str, Any], limit: int
) -> tuple[dict[str, Any], list[str], bool, str]:
    """The facts of a tool, from as many pages as it takes; where it found nothing, the sources that there are and
    whether nothing at all is stored; the text of its error."""
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer

    async with Client(ReflexioServer(settings)) as client:
        try:
            facts = await _pages(client, tool, wanted, limit)
            sources, empty = ([], False) if _found(facts) else await stored_sources(client, wanted)
        except Failed as error:  # outside, it would arrive in a group
            return {}, [], False, str(error)
        return facts, sources, empty, ""


def _found(facts: Facts) -> bool:
    requests = facts.get("traffic", facts).get("requests")
    return bool(facts.get("returned") or requests or facts.get("request_id"))


async def stored_sources(client: "Client", chosen: Facts) -> tuple[list[str], bool]:
    """The sources of the newest sessions in the time that was chosen, and whether nothing at all is stored.

    Raises:
        Failed: the sessions could not be read.
    """
    within = {name: chosen[name] for name in ("start_time", "end_time") if name in chosen}
    newest = _whole_rows((await call(client, TOOLS["sessions"], {"limit": MOST_A_CALL} | within))[0])
    if within and not _found(newest):
        first = _whole_rows((await call(client, TOOLS["requests"], {"limit": 1}))[0])
        return [], bool(first.get("complete")) and not _found(first)
    named = [source for row in newest["sessions"] for source in row.get("sources", ())]
    return list(dict.fromkeys(named)), bool(newest.get("complete")) and not _found(newest)


async def _pages(client: "Client", tool: str, wanted: dict[str, Any], limit: int) -> dict[str, Any]:
    if tool == TOOLS["audit"]:
        return (await call(client, tool, wanted))[0]
    rows = {TOOLS["show"]: "interactions", TOOLS["learned"]: "learnings"}.get(tool, "sessions")
    if tool == TOOLS["requests"]:
        wanted = wanted | {"detail": "summary"}  # else what is short comes without its first words
    facts: dict[str, Any] = {}
    place: dict[str, Any] = {}
    got = 0
    while not facts or (place and got < limit):
        most = {"limit": min(limit - got, MOST_A_CALL)} if rows != "interactions" else {}
        page = _whole_rows((await call(client, tool, wanted | most | place))[0])
        place = {"cursor": page.pop("cursor")} if "cursor" in page else {}
        got += page.get("returned", 0)
        if facts:
            facts[rows] = _joined(facts[rows], page[rows], rows)
        else:
            facts = page
    if rows != "interactions":
        facts["returned"] = got
    return facts | place


def _whole_rows(page: dict[str, Any]) -> dict[str, Any]:
    """A page whose rows have what the filter fixes, too."""
    looked: dict[str, Any] = page.pop("looked_at", {})
    page["complete"] = bool(looked.get("complete"))
    if "learning" in page:
        page |= {"learning": page["learning"]["means"], "interactions": page.get("interactions", [])}
    return page


async def call(client: "Client", tool: str, arguments: Facts) -> tuple[dict[str, Any], str]:
    """The facts of a tool's result, and its text.

    Raises:
        Failed: the tool answered with an error.
    """
    from mcp import MCPError

    from reflexio_mcp.render.result import whole

    try:
        result = await client.call_tool(tool, dict(arguments))
    except MCPError as error:
        raise Failed(str(error)) from None
    # A second block tells which tools are left out: this command left them out itself, and no operator.
    text = getattr(result.content[0], "text", "")
    if result.is_error or result.structured_content is None:
        raise Failed(text)
    facts = whole(result.structured_content)
    facts.pop("not_offered", None)
    return facts, text


def _joined(before: list[Any], after: list[Any], rows: str) -> list[Any]:
    """Two pages as one: a session, or an interaction, may begin on the first and go on on the second."""
    if not before or not after:
        return before + after
    last, first = before[-1], after[0]
    if rows == "interactions" and "content_from" in first:
        joined = {**last, "content": last.get("content", "") + first.get("content", "")}
        joined.pop("characters", None)
        return [*before[:-1], joined, *after[1:]]
    if (
        rows == "sessions"
        and "requests" in first
        and last["session_id"] == first["session_id"]
        and isinstance(first["requests"], list)
    ):
        return [*before[:-1], {**last, "requests": last["requests"] + first["requests"]}, *after[1:]]
    return before + after


class _Layout:
    """Facts as tables that fit the terminal; plain, and as wide as they need to be, where there is none."""

    def __init__(self, out: TextIO, settings: Settings, nothing: str, *, empty: bool) -> None:
        from rich.console import Console

        self._out = out
        self._settings = settings
        self._nothing = nothing
        self._empty = empty
        width = None if out.isatty() else _UNBOUNDED
        self._console = Console(file=out, width=width, markup=False, highlight=False, emoji=False)

    def show(self, command: str, facts: Facts) -> None:
        with self._console.capture() as printed:
            kind = "the embedded store" if self._settings.embedded else "Reflexio"
            self._say(f"In {kind} at {_place(self._settings)}\n", "dim")
            if self._nothing:
                self._say(self._nothing)
                if self._empty:
                    self._say(self._elsewhere(), "dim")
            else:
                getattr(self, f"_{command}")(facts)
        # Tables fill their last column with blanks, which a pipe is better without.
        self._out.write("\n".join(line.rstrip() for line in printed.get().splitlines()) + "\n")

    def _elsewhere(self) -> str:
        """A client's entry may name another place than this shell does."""
        other = "a Reflexio server" if self._settings.embedded else "another one"
        return (
            f"This is where this shell looks; a client's entry may name another place. To look into {other}: --url, or "
            "REFLEXIO_URL and REFLEXIO_API_KEY."
        )

    def _table(self, headings: Sequence[str], rows: Iterable[Sequence[object]], *, cut: bool = False) -> None:
        """A table. Ids are folded rather than cut, so that they can be copied; `cut` cuts the last column to fit."""
        from rich.table import Table
        from rich.text import Text

        cells = [[_words(cell) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
        for heading in headings[:-1]:
            right = heading in ("requests", "turns", "count")
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        used = sum(2 + max(len(row[at]) for row in [headings, *cells]) for at in range(len(headings) - 1))
        most = max(20, self._console.width - used) if cut else None
        table.add_column(headings[-1], no_wrap=cut, overflow="ellipsis" if cut else "fold", max_width=most)
        for row in cells:
            table.add_row(*map(Text, row))  # `Text`, because what is stored is no markup
        self._console.print(table)

    def _say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=not self._out.isatty())

    def _sessions(self, facts: Facts) -> None:
        self._table(
            ("last (UTC)", "session", "users", "requests", "sources", "first words"),
            (
                (
                    _time(one.get("last", one["first"])),
                    one["session_id"],
                    one.get("users"),
                    one["requests"],
                    one.get("sources"),
                    _opening(one),
                )
                for one in facts["sessions"]
            ),
            cut=True,
        )
        self._ending(facts, "session")

    def _requests(self, facts: Facts) -> None:
        self._table(
            ("time (UTC)", "request", "session", "user", "source", "turns", "first words"),
            (
                (
                    _time(one["created_at"]), one["request_id"], group["session_id"], one.get("user_id"),
                    one.get("source"), one.get("interaction_count", 0), _opening(one),
                )
                for group in facts["sessions"]
                for one in group["requests"]
            ),
            cut=True,
        )  # fmt: skip
        self._ending(facts, "request")

    def _ending(self, facts: Facts, noun: str) -> None:
        count = facts["returned"]
        said = f"{count:,} {noun}{'' if count == 1 else 's'}, newest first."
        if "cursor" in facts:
            said += " There are more: add --all, or a larger --limit."
        self._say(f"\n{said}", "dim")

    def _show(self, facts: Facts) -> None:
        skipped = ("notice", "interactions", "interaction_count")
        self._table(
            ("", ""),
            ((name.replace("_", " "), value) for name, value in facts.items() if name not in skipped),
        )
        for turn in facts["interactions"]:
            self._say(f"\n{turn.get('role', 'User')}", "bold")
            for name, value in turn.items():
                if name == "content":
                    self._say(value)
                elif name != "role":
                    self._say(f"{name.replace('_', ' ')}: {_words(value)}", "dim")

    def _audit(self, facts: Facts) -> None:
        from reflexio_mcp.results.audit import AuditResult
        from reflexio_mcp.traffic.audit.rules import FINDINGS

        audit = AuditResult.model_validate(facts)
        traffic = audit.traffic
        between = ""
        if traffic.oldest and traffic.newest:
            between = f", {traffic.oldest:%Y-%m-%d %H:%M} to {traffic.newest:%Y-%m-%d %H:%M} UTC"
        self._say(
            f"{traffic.requests:,} requests in {traffic.sessions:,} sessions of {traffic.users:,} users{between}"
        )
        for name, most in (
            ("sources", traffic.by_source),
            ("users", traffic.by_user),
            ("agent versions", traffic.by_agent_version),
        ):
            self._say(f"{name}: {', '.join(f'{one.name} ({one.count:,})' for one in most)}")
        if audit.left_out:
            self._say(_not_all(facts))
        for one in audit.not_looked_for:
            self._say(f"Not looked for: {', '.join(one.findings)} ({one.reason}).", "dim")
        self._say("")
        if not audit.findings:
            self._say("Nothing was found.")
            return
        self._table(
            ("severity", "count", "finding", "kinds"),
            (
                (
                    one.severity, one.count, one.finding,
                    ", ".join(f"{kind.name} ({kind.count:,})" for kind in one.kinds),
                )
                for one in audit.findings
            ),
        )  # fmt: skip
        for one in audit.findings:
            self._say(f"\n{one.finding}", "bold")
            self._say(f"{one.why} {one.advice}")
            self._table(
                ("", "", "", "", ""),
                (
                    (
                        f"  {place.created_at:%Y-%m-%d %H:%M}" if place.created_at else "",
                        place.request_id or place.learning_id,
                        place.session_id,
                        place.kind,
                        place.around,
                    )
                    for place in one.places
                ),
            )
            flags = same_filter(one.show.arguments) if one.show else ""
            if flags:
                self._say(f"  See them: {listing(flags)}", "dim")
            if flags and one.finding in FINDINGS:
                self._say(f"  Select and delete some: {_program()} explore {flags}", "dim")
                self._say(f"  Delete all of them: {_program()} delete {flags}", "dim")

    def _learned(self, facts: Facts) -> None:
        for one in facts["learnings"]:
            quotes = {"when": one.get("trigger"), "quotes": one.get("quotes")}
            told = [_time(one.get("changed_at", "")), one["state"], one.get("user_id", "")]
            self._say(one["learning_id"], "bold")
            self._say("  " + " · ".join(part for part in told if part), "dim")
            self._say("  " + (one.get("content") or f"{one.get('characters', 0):,} characters"))
            for name, text in quotes.items():
                if text:
                    self._say(f"  {name}: {text}")
            sources = [each["request_id"] for each in one.get("from_requests", ())]
            sources += [f"{one[key]:,} {words}" for key, words in _GONE.items() if key in one]
            self._say(f"  from {', '.join(sources) or 'no source that is recorded'}\n", "dim")
        more = " There are more: add --all, or a larger --limit." if "cursor" in facts else ""
        self._say(f"{facts['returned']:,} of {facts['total']:,} learnings.{more}", "dim")


_GONE: Final = {
    "interactions_deleted": "interactions no longer stored",
    "interactions_not_looked_up": "interactions not looked up",
}
_NOUNS: Final = {"sessions": "session", "learned": "learning"}


def nothing_found(
    command: str, chosen: Facts, settings: Settings, facts: Facts, *, empty: bool, sources: Sequence[str] = ()
) -> str:
    """What is said where there is nothing to lay out: an empty store, or the filter that matched nothing."""
    from reflexio_mcp.traffic.reading.filters import TrafficFilter
    from reflexio_mcp.traffic.reading.listing import in_words as asked
    from reflexio_mcp.traffic.reading.listing import nothing_stored

    whose = f" for user {settings.user_id}" if settings.user_id else ""
    if empty and command != "learned":
        return nothing_stored(TrafficFilter(user_id=settings.user_id))
    parts = [f"request {chosen['request_id']}"] if "request_id" in chosen else []
    parts += [words] if (words := asked(_filter(chosen, settings))) else []
    matched = f" ({', '.join(parts)})" if parts else ""
    read = " among those that could be read" if facts.keys() & {"unreadable", "users_not_read"} else ""
    # What was learned may outlive the requests it was learned from.
    none = f" No request is stored here{whose}." if empty else ""
    if sources and "source" in chosen:
        from reflexio_mcp.render.stored_text import shown_id

        none = f" The newest sessions there have the sources {', '.join(map(shown_id, sources[:SOURCES]))}."
    if command == "audit" and "left_out" in facts:
        return f"No request matches{matched} among those looked at. {_not_all(facts)}"
    return f"No {_NOUNS.get(command, 'request')} matches{matched}{read}.{none}"


def _not_all(facts: Facts) -> str:
    return f"Not all: {facts['left_out']}. Audit a shorter time, one source or one user."


def same_filter(arguments: Facts) -> str:
    """The flags that select what a finding's next call does; empty where it selects by ids."""
    if "request_ids" in arguments or "request_id" in arguments:
        return ""
    from reflexio_mcp.install.launch import joined

    words: list[str] = []
    for name, value in arguments.items():
        if name in FILTER:
            # What begins like a flag would be taken for one.
            given = str(value)
            words += [f"{_flag(name)}={given}"] if given.startswith("-") else [_flag(name), given]
    # What a Windows shell would run is not for pasting.
    return "" if os.name == "nt" and re.search(r'[&|<>^%"]', "".join(words)) else joined(words)


def listing(flags: str) -> str:
    """The command that lists all requests that some flags select."""
    return f"{_program()} requests {flags} --all"


def _time(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z")


def _opening(facts: Facts) -> str:
    return facts.get("first_words") or facts.get("fingerprint", "")


def _words(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(one) for one in cast("Sequence[object]", value))
    return "" if value is None else "yes" if value is True else str(value)
