"""Looking at what is stored without an assistant: `sessions`, `requests`, `show`, `learned` and `audit`.

Each command calls the function behind the tool of the same purpose, and prints its result as tables or as JSON.
"""

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from reflexio_mcp.rest.api_limits import is_blank
from reflexio_mcp.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from reflexio_mcp.results.audit import AuditResult, Call, Count
    from reflexio_mcp.results.base import Result
    from reflexio_mcp.results.deletion import Part
    from reflexio_mcp.results.learnings import LearningPage
    from reflexio_mcp.results.reading import OneRequest, RequestPage, SessionPage
    from reflexio_mcp.traffic.reading.filters import TrafficFilter
    from reflexio_mcp.traffic.scope import Scope

    Page = TypeVar("Page", SessionPage, RequestPage, LearningPage)

__all__ = [
    "FILTER",
    "Failed",
    "Screen",
    "checked_store",
    "filter_of",
    "reported",
    "run_read_command",
    "typed_filter",
]

FILTER: Final = {
    "user_id": "requests of this user",
    "session_id": "requests of this session",
    "source": "requests from this source",
    "agent_version": "requests of this agent version",
    "start_time": "stored at or after this time: ISO 8601 (UTC without a zone), or an age such as 24h or 7d",
    "end_time": "stored at or before this time",
    "contains": "requests with all these words, also inside longer words; quote a phrase; X OR Y",
    "finding": "requests with this finding of the audit, such as probable-secret or duplicate",
    "evaluation_only": "requests that are never learned from",
}
"""The one filter, as the tools' parameters name it, with what the flags of the commands say about it."""

COMMANDS: Final = {
    "get_request": "show",
    "list_requests": "requests",
    "list_sessions": "sessions",
    "list_learnings": "learned",
    "delete_request": "delete",
    "delete_requests": "delete",
}
"""The commands that do what a tool does."""

MOST_A_CALL: Final = 100
"""Rows of one page at most."""

SQLITE: Final = b"SQLite format 3\0"
"""The first bytes of every SQLite database."""

UNBOUNDED: Final = 100_000
"""Columns of a table that goes to a file or a pipe, where nothing is wrapped or cut."""


class Failed(Exception):
    """A command failed; its text says what happened and what to do."""


@contextmanager
def reported(action: Literal["read", "write"] = "read") -> Generator[None]:
    """Turn what the backend and the filter refuse into one sentence.

    Raises:
        ConfigurationError: what was typed cannot be used.
        Failed: the backend failed.
    """
    from reflexio_mcp.rest.errors import ReflexioError, explain
    from reflexio_mcp.traffic.errors import InvalidInput, TrafficError

    try:
        yield
    except InvalidInput as error:
        raise ConfigurationError(f"{flag(error.field)} {error.problem}") from None
    except TrafficError as error:
        raise Failed(str(error)) from None
    except ReflexioError as error:
        raise Failed(explain(error, action)) from None


def flag(name: str) -> str:
    """The flag of an argument of the tools."""
    return f"--{name.replace('_', '-')}" if name in FILTER else name


def checked_store(settings: Settings) -> Settings:
    """The configuration with a store that exists: looking makes no file.

    Raises:
        ConfigurationError: the store is something else, or cannot be read.
    """
    from reflexio_mcp.backend import place_of

    path = place_of(settings)
    if not settings.embedded or path == ":memory:":
        return settings
    try:
        with Path(path).open("rb") as file:
            found = file.read(len(SQLITE))
    except FileNotFoundError:
        return replace(settings, store=":memory:")
    except OSError as error:
        raise ConfigurationError(f"The store {path} cannot be read: {error.strerror}.") from None
    if found not in (SQLITE, b""):
        raise ConfigurationError(f"The store {path} is not a SQLite database.")
    return settings


def typed_filter(arguments: Namespace) -> dict[str, Any]:
    """The filter that was typed, as the tools' arguments.

    Raises:
        ConfigurationError: a value is blank, and would select everything.
    """
    typed = {name: getattr(arguments, f"filter_{name}", None) for name in (*FILTER, "request_id")}
    for name, value in typed.items():
        if isinstance(value, str) and is_blank(value):
            raise ConfigurationError(f"{flag(name)} is blank. Leave it out to select everything.")
    return {name: value for name, value in typed.items() if value}


def filter_of(typed: dict[str, Any], settings: Settings) -> "TrafficFilter":
    """The filter of a command.

    Raises:
        ConfigurationError: it names a user outside the configuration.
        InvalidInput: a value cannot be used.
    """
    from reflexio_mcp.traffic.reading.filters import make_filter

    if settings.user_id and typed.get("user_id", settings.user_id) != settings.user_id:
        raise ConfigurationError(
            f"REFLEXIO_USER_ID confines this configuration to {settings.user_id}; --user-id cannot name anybody else."
        )
    whose = {"user_id": typed.get("user_id", settings.user_id)}
    return make_filter(
        **{name: typed[name] for name in FILTER if name in typed} | whose, masked=settings.mask
    )


def run_read_command(arguments: Namespace, settings: Settings) -> int:
    """Run one of the commands and return its exit code.

    Raises:
        ConfigurationError: what was typed cannot be used.
        Failed: the backend could not be read.
    """
    import anyio  # a server that starts does not need it here

    with reported():
        result = anyio.run(_ask, arguments, checked_store(settings))
    if arguments.json:
        from reflexio_mcp.results.base import structured

        sys.stdout.write(json.dumps(structured(result), indent=2, ensure_ascii=False) + "\n")
    else:
        screen = Screen(settings)
        LAYOUTS[arguments.command](screen, result)
    return 0


async def _ask(arguments: Namespace, settings: Settings) -> "Result":
    from reflexio_mcp.backend import open_scope
    from reflexio_mcp.traffic.learnings.listing import list_learnings
    from reflexio_mcp.traffic.learnings.select import Selection
    from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions

    command = arguments.command
    async with open_scope(settings) as scope:
        if command == "show":
            return await _whole_request(scope, arguments.request_id)
        typed = typed_filter(arguments)
        # The words are those of the learning, not of its requests.
        words = typed.pop("contains", "") if command == "learned" else ""
        asked = filter_of(typed, settings)
        if command == "audit":
            from reflexio_mcp.traffic.audit.calls import Offer
            from reflexio_mcp.traffic.audit.run import run_audit

            offer = Offer(frozenset(COMMANDS), takes_user=not scope.user_id)
            return await run_audit(scope, asked, offer=offer, personal=settings.personal_data)
        most = sys.maxsize if arguments.all else arguments.limit
        if command == "sessions":
            return await _pages(lambda n, after: list_sessions(scope, asked, limit=n, cursor=after), most)
        if command == "requests":
            return await _pages(lambda n, after: list_requests(scope, asked, limit=n, cursor=after), most)
        if not scope.learns:
            raise Failed("The embedded store does not learn. Set REFLEXIO_URL or REFLEXIO_API_KEY.")
        chosen = Selection(asked.user_id, (), typed.get("request_id", ""), asked, words)
        return await _pages(lambda n, after: list_learnings(scope, chosen, limit=n, cursor=after), most)


async def _pages(read: "Callable[[int, str], Awaitable[Page]]", most: int) -> "Page":
    """One page from as many as it takes."""
    page = await read(min(most, MOST_A_CALL), "")
    pages = [page]
    while page.cursor and sum(one.returned for one in pages) < most:
        left = most - sum(one.returned for one in pages)
        pages.append(page := await read(min(left, MOST_A_CALL), page.cursor))
    rows = "learnings" if hasattr(page, "learnings") else "sessions"
    joined = [row for one in pages for row in getattr(one, rows)]
    return page.model_copy(update={rows: joined, "returned": sum(one.returned for one in pages)})


async def _whole_request(scope: "Scope", request_id: str) -> "OneRequest":
    """One request with all of its interactions, from as many parts as it takes."""
    from reflexio_mcp.results.base import Room
    from reflexio_mcp.traffic.reading.lookup import read_request

    found = await read_request(scope, request_id, room=Room(sys.maxsize, sys.maxsize))
    rows = list(found.interactions)
    while found.cursor:
        found = await read_request(scope, request_id, found.cursor, room=Room(sys.maxsize, sys.maxsize))
        for row in found.interactions:
            if row.content_from:
                rows[-1] = rows[-1].model_copy(
                    update={"content": rows[-1].content + row.content, "characters": None}
                )
            else:
                rows.append(row)
    return found.model_copy(update={"interactions": rows})


class Screen:
    """Tables that fit the terminal, and that are as wide as they need to be if there is none."""

    def __init__(self, settings: Settings) -> None:
        from rich.console import Console

        from reflexio_mcp.backend import place_of

        self._to_terminal = sys.stdout.isatty()
        width = None if self._to_terminal else UNBOUNDED
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)
        place = place_of(settings)
        if settings.embedded:
            exists = settings.store == ":memory:" or Path(place).exists()
            self.place = (
                f"the embedded store at {place}{'' if exists else ', a file that does not exist yet'}"
            )
        else:
            self.place = f"Reflexio at {place}"
        self.say(f"In {self.place}\n", "dim")

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=not self._to_terminal)

    def counts(self, title: str, parts: "Iterable[Part | Count]") -> None:
        """Print names and how many have each, on one line; nothing for none."""
        if named := ", ".join(f"{one.name} ({one.count:,})" for one in parts):
            self.say(f"{title}: {named}")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table. Ids are folded rather than cut, so that they can be copied; the last column is cut to fit."""
        from rich.table import Table
        from rich.text import Text

        cells = [[_words(cell) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
        for heading in headings[:-1]:
            table.add_column(heading, justify="right" if heading in NUMBERS else "left", overflow="fold")
        used = sum(2 + max(len(row[at]) for row in [headings, *cells]) for at in range(len(headings) - 1))
        room = max(20, self._console.width - used)
        table.add_column(headings[-1], no_wrap=self._to_terminal, overflow="ellipsis", max_width=room)
        for row in cells:
            table.add_row(*map(Text, row))  # `Text`, because stored text is no markup
        with self._console.capture() as printed:
            self._console.print(table)
        # Tables fill their last column with blanks, which a pipe is better without.
        sys.stdout.write("\n".join(line.rstrip() for line in printed.get().splitlines()) + "\n")


NUMBERS: Final = ("requests", "interactions", "count")
"""The headings of columns that are aligned to the right."""


def _words(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return "" if value is None else str(value)


def _show_sessions(screen: Screen, page: "SessionPage") -> None:
    rows = [
        (
            one.last or one.first,
            one.session_id,
            one.users,
            one.requests,
            one.sources,
            one.first_words or one.fingerprint,
        )
        for one in page.sessions
    ]
    _show_page(screen, page, ("last (UTC)", "session", "users", "requests", "sources", "first words"), rows)


def _show_requests(screen: Screen, page: "RequestPage") -> None:
    rows = [
        (
            one.created_at,
            one.request_id,
            group.session_id,
            one.user_id,
            one.source,
            one.interaction_count,
            one.found or one.first_words or one.fingerprint,
        )
        for group in page.sessions
        for one in group.requests
    ]
    _show_page(
        screen,
        page,
        ("time (UTC)", "request", "session", "user", "source", "interactions", "first words"),
        rows,
    )


def _show_page(
    screen: Screen,
    page: "SessionPage | RequestPage",
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    """Show the rows of a page, or why it has none.

    Args:
        headings: the second names what is listed.
    """
    noun, looked = headings[1], page.looked_at
    if rows:
        screen.table(headings, rows)
        said = f"{len(rows):,} {noun}{'' if len(rows) == 1 else 's'}, newest first."
        if page.cursor:
            said += " There are more: add --all, or a larger --limit."
        elif not looked.complete:
            said += " Some stored requests could not be read."
        screen.say(f"\n{said}", "dim")
    elif not looked.complete:
        screen.say(f"No {noun} was found, but not everything could be looked at.")
    elif looked.filter:
        screen.say(f"No {noun} matches: {looked.filter}.")
    else:
        screen.say("Nothing is stored here.")
        screen.say(
            "A client's entry may name another place. To look there: --url, --store or REFLEXIO_API_KEY.",
            "dim",
        )


def _show_request(screen: Screen, found: "OneRequest") -> None:
    facts = found.model_dump(exclude_defaults=True, exclude={"interactions", "notice", "notes", "cursor"})
    facts["learning"] = found.learning.means
    screen.table(("", ""), ((name.replace("_", " "), value) for name, value in facts.items()))
    for one in found.interactions:
        screen.say(f"\n{one.role}", "bold")
        screen.say(one.content)
        for name, value in one.model_dump(exclude_defaults=True, exclude={"role", "content"}).items():
            screen.say(f"{name.replace('_', ' ')}: {_words(value)}", "dim")


def _show_learnings(screen: Screen, page: "LearningPage") -> None:
    for one in page.learnings:
        screen.say(one.learning_id, "bold")
        hidden = f"{one.characters:,} characters" if one.characters else ""
        told = [_words(one.changed_at), one.state, one.user_id, hidden]
        screen.say(f"  {' · '.join(filter(None, told))}", "dim")
        for name, text in (("", one.content), ("when: ", one.trigger), ("quotes: ", one.quotes)):
            if text:
                screen.say(f"  {name}{text}")
        sources = [
            f"{each.request_id} (interaction {_words(each.interactions)})" for each in one.from_requests
        ]
        more = f" and {one.more_requests:,} more" if one.more_requests else ""
        screen.say(f"  from {', '.join(sources) or 'no request that is stored'}{more}\n", "dim")
    more = " There are more: add --all, or a larger --limit." if page.cursor else ""
    screen.say(f"{page.returned:,} of {page.total:,} learnings of {page.of}.{more}", "dim")
    if page.users_not_read or page.unlinked or page.unreadable:
        screen.say("Not everything could be read: there may be more.")


def _show_audit(screen: Screen, found: "AuditResult") -> None:
    traffic = found.traffic
    what = (f"{traffic.requests:,} requests", f"{traffic.sessions:,} sessions", f"{traffic.users:,} users")
    screen.say(f"{', '.join(what)}, {_words(traffic.oldest)} to {_words(traffic.newest)} UTC")
    screen.counts("Users", traffic.by_user)
    screen.counts("Sources", traffic.by_source)
    screen.counts("Agent versions", traffic.by_agent_version)
    if found.left_out:
        screen.say(f"Not all was audited: {found.left_out}")
    for one in found.not_looked_for:
        screen.say(f"Not looked for: {', '.join(one.findings)} ({one.reason}).", "dim")
    if not found.findings:
        screen.say("Nothing was found.")
    for one in found.findings:
        screen.say(f"\n{one.finding}: {one.count:,}, {one.severity}", "bold")
        screen.say(f"{one.why} {one.advice}")
        screen.counts("Kinds", one.kinds)
        places = [
            (
                each.created_at,
                each.request_id,
                each.session_id,
                each.user_id,
                each.kind,
                each.around or each.repeats,
            )
            for each in one.places
        ]
        if places:
            screen.table(("",) * 6, places)
        for verb, call in (("See them", one.show), ("Delete them", one.act)):
            if call:
                screen.say(f"  {verb}: {_command(call)}", "dim")


def _command(call: "Call") -> str:
    """The command that does what a call of a tool does."""
    words = ["reflexio-mcp", COMMANDS[call.tool]]
    for name, value in call.arguments.items():
        if name in ("request_id", "request_ids"):
            words += [value] if isinstance(value, str) else value
        elif name in FILTER:
            words += [flag(name)] if value is True else [flag(name), str(value)]
        elif value is True:
            words.append(f"--{name.replace('_', '-')}")
    return shlex.join(words)


LAYOUTS: Final[dict[str, Callable[[Screen, Any], None]]] = {
    "sessions": _show_sessions,
    "requests": _show_requests,
    "show": _show_request,
    "learned": _show_learnings,
    "audit": _show_audit,
}
