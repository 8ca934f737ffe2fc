"""The read-only commands. They print results as tables or as JSON."""

import json
import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final, TypeVar, cast

import anyio

from reflexio_mcp.backend import location_of, open_scope, open_state, owner_of
from reflexio_mcp.render.blocks import hanging, quoted
from reflexio_mcp.render.deletion import counts, learning_line
from reflexio_mcp.render.reading import exported, readme
from reflexio_mcp.render.words import SHELL
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.audit import AuditResult, Call, Count, FindingRow, Found, NotLooked, Place
from reflexio_mcp.results.base import Row, visible
from reflexio_mcp.results.deletion import (
    Change,
    Counts,
    Example,
    Excepted,
    Part,
    PastDeletion,
    Plan,
    Receipt,
    Restored,
    SharedRuleRow,
    TaughtLearning,
)
from reflexio_mcp.results.facts import Fact, FactCode, Result
from reflexio_mcp.results.reading import (
    ChangeRow,
    EvidenceRow,
    Exported,
    InteractionRow,
    LearningPage,
    LearningRow,
    LearningState,
    Looked,
    Manifest,
    OtherLearning,
    RequestPage,
    RequestRow,
    SessionPage,
    SessionRequests,
    SessionRow,
)
from reflexio_mcp.screen import DIM, Output, Table, TerminalProgress, agreed, print_json
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.log import Entry, Verified, said_in
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.traffic.archive import Export, save
from reflexio_mcp.traffic.audit.calls import Offer
from reflexio_mcp.traffic.audit.judged import judged_in
from reflexio_mcp.traffic.audit.places import list_places
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.errors import InvalidInput, TrafficError, Unreadable, needing_state
from reflexio_mcp.traffic.filter_fields import SWITCHES
from reflexio_mcp.traffic.learnings.listing import list_learnings, list_shared_rules
from reflexio_mcp.traffic.learnings.listing_changes import list_changes
from reflexio_mcp.traffic.learnings.request_with_learnings import read_request
from reflexio_mcp.traffic.learnings.select import Selection
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter
from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.times import parse_time

COMMAND_OF_TOOL: Final = {
    "get_request": "show",
    "list_requests": "requests",
    "list_learnings": "learned",
    "audit_traffic": "audit",
    "delete_request": "delete",
    "delete_requests": "delete",
}

PAGE_ROWS: Final = 100
NAME_ANOTHER: Final = "Name another store with --store, or Reflexio with --url or REFLEXIO_API_KEY."
CHECK_CANNOT_SHOW: Final = "Not shown: whether somebody who has the key wrote lines, or the whole log, anew."
SQLITE_HEADER: Final = b"SQLite format 3\0"
HIDDEN: Final = {
    "status",
    "notice",
    "text",
    "facts",
    "cursor",
    "way_back",
    "confirm",
    "corrects",
    "decision",
    "lists_rules",
}
"""Fields that are said elsewhere, or that say nothing to a person."""

HIDDEN_OF_CORRECTIONS: Final = HIDDEN | {"selected", "planned", "deleted"}
"""A correction counts nothing: it has one learning, and deletes nothing."""

LABELS: Final = {
    "show": "see them",
    "act": "delete them",
    "of": "learnings of",
    "job": "record",
    "looked_at": "filter",
    "window_only": "not quoted interactions that were read at the same time",
    "words_nowhere_else": "no other stored request has one of its longer words",
    "log": "value of the audit log",
}
"""Names of fields that would not be understood as they are."""

A_LINE_EACH: Final = {"not_looked_for"}
"""Fields that are lists with a line for each part; other lists stand on one line."""

BLOCKS: Final = (Found, FindingRow, InteractionRow, LearningRow)
"""Rows that are shown with a line for each field."""

TABLES: Final[dict[type[Row], Sequence[str]]] = {
    SessionRow: (
        "first",
        "last",
        "session_id",
        "users",
        "requests",
        "sources",
        "held",
        "first_words",
        "fingerprint",
    ),
    RequestRow: (
        "created_at",
        "request_id",
        "session_id",
        "user_id",
        "source",
        "held",
        "interaction_count",
        "found",
        "first_words",
        "fingerprint",
    ),
    Place: (
        "number",
        "created_at",
        "request_id",
        "session_id",
        "user_id",
        "role",
        "points",
        "kind",
        "around",
        "repeats",
        "learning_id",
    ),
    EvidenceRow: ("quote", "near", "role", "said_at", "request_id", "interaction_id"),
    ChangeRow: (
        "at",
        "change",
        "user_id",
        "learning_id",
        "old",
        "content",
        "elsewhere",
        "maybe_deleted",
        "job",
        "selected",
        "exported",
    ),
    OtherLearning: ("learning_id", "state", "changed_at", "content"),
    SharedRuleRow: ("rule_id", "approval", "made_at", "applied", "users", "sources", "content", "trigger"),
    Example: ("created_at", "id", "user_id", "first_words"),
    PastDeletion: ("number", "at", "status", "asked", "gone", "copied", "until", "target", "damaged"),
}
"""The columns of rows that are shown as a table."""

FROM_ONE: Final = frozenset({"number", "points"})
"""Columns of numbers that begin at one. A zero says that the row has no number, and is not shown."""

CUT: Final = frozenset({"first_words", "around", "target"})
"""Columns that only give an idea of a text, which another command shows whole."""

LEARNING_COLUMNS: Final = ("learning_id", "state", "changed_at", "user_id", "content")
"""The columns of learnings in a pipe or a file. At a terminal, each is a block."""

Page = TypeVar("Page", SessionPage, RequestPage, LearningPage)


def check_store(settings: Settings) -> None:
    """Refuse an unreadable store before the embedded store would create the file.

    It is called before this process opens the store: closing the file would drop SQLite's locks on it.
    """
    path = location_of(settings)
    if not settings.embedded or path == ":memory:":
        return
    try:
        with Path(path).open("rb") as file:
            header = file.read(len(SQLITE_HEADER))
    except FileNotFoundError:
        raise ConfigurationError(f"Nothing is stored in {path} yet. {NAME_ANOTHER}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. {NAME_ANOTHER}") from None
    is_empty = not header  # SQLite takes an empty file for a database without tables
    if header != SQLITE_HEADER and not is_empty:
        raise ConfigurationError(f"{path} is not a SQLite database. {NAME_ANOTHER}")


def check_allowed(settings: Settings, tool: str) -> None:
    """Refuse a command for which this configuration offers no tool."""
    if settings.read_only or (settings.tools and tool not in settings.tools):
        raise ConfigurationError(
            f"REFLEXIO_MCP_READ_ONLY or REFLEXIO_MCP_TOOLS does not allow {tool} here. Unset it first."
        )


def filter_of(typed: dict[str, Any], settings: Settings) -> TrafficFilter:
    user_id = typed.get("user_id", settings.user_id).strip()
    if settings.user_id and user_id != settings.user_id:
        raise ConfigurationError(
            f"REFLEXIO_USER_ID confines this configuration to {settings.user_id}; --user-id cannot name anybody else."
        )
    return make_filter(typed | {"user_id": user_id}, masked=settings.mask)


def run_read_command(arguments: Namespace, settings: Settings) -> int:
    check_store(settings)
    progress = TerminalProgress()
    with progress.shown():
        result = anyio.run(_ask, arguments, settings, progress)
    screen = Screen(settings)
    if arguments.json:
        print_json(result)
    elif isinstance(result, (SessionPage, RequestPage, LearningPage)):
        nothing = "" if result.returned else "Nothing was found."
        more = "There are more: add --all, or a larger --limit." if result.cursor else ""
        screen.rows(result, nothing, SHELL.say(result.facts), more)
    else:
        screen.show(result)
        if isinstance(result, AuditResult) and not result.findings:
            screen.say("Nothing was found.")
        screen.say(SHELL.say(result.facts))
    return 0


async def _ask(arguments: Namespace, settings: Settings, progress: TerminalProgress) -> Result:
    command, typed = arguments.command, dict(arguments.filter)
    # `learned` has two more options than the filter.
    request_id, changed_since = typed.pop("request_id", ""), typed.pop("since", "")
    asked = filter_of(typed, settings)
    async with open_scope(settings) as scope:
        if command == "show":
            room = Room(sys.maxsize, sys.maxsize)
            return await read_request(scope, arguments.request_id, room=room, content_chars=sys.maxsize)
        if command == "audit":
            offer = Offer(frozenset(COMMAND_OF_TOOL), scope)
            state = open_state(settings)
            with closing(state.database):
                judged = await judged_in(state, partial(owner_of, scope, settings))
            if asked.finding:
                return await list_places(
                    scope, asked, offer=offer, progress=progress, judged=judged, to_the_end=True
                )
            personal = settings.personal_data
            return await run_audit(
                scope,
                asked,
                offer=offer,
                personal=personal,
                progress=progress,
                judged=judged,
                to_the_end=True,
            )
        most = sys.maxsize if arguments.all else arguments.limit
        if command == "sessions":
            return await _read_pages(partial(list_sessions, scope, asked), most)
        if command == "requests":
            return await _read_pages(partial(list_requests, scope, asked), most)
        if not scope.learns:
            raise TrafficError("The embedded store does not learn. Set REFLEXIO_URL or REFLEXIO_API_KEY.")
        chosen = Selection(
            user_id=asked.user_id,
            request_id=request_id,
            # The words have to be in the learning, the rest of the filter is about its requests.
            wanted=replace(asked, contains=""),
            words=asked.contains,
        )
        if changed_since and arguments.shared:
            raise InvalidInput("--since", "cannot be combined with --shared.")
        if changed_since:
            since = parse_time("--since", changed_since, now=time.time())
            state = open_state(settings)
            with closing(state.database):
                owner = await owner_of(scope, settings)
                return await _read_pages(partial(list_changes, scope, state, owner, chosen, since), most)
        read = list_shared_rules if arguments.shared else list_learnings
        return await _read_pages(partial(read, scope, chosen), most)


async def _read_pages(read: Callable[..., Awaitable[Page]], most: int) -> Page:
    """Read at most `most` rows, and return them as one page. A session on two pages is in it twice."""
    pages = [await read(limit=min(most, PAGE_ROWS))]
    while pages[-1].cursor and (left := most - sum(page.returned for page in pages)):
        pages.append(await read(limit=min(left, PAGE_ROWS), cursor=pages[-1].cursor))
    rows_field = _rows_field(pages[0])
    joined = [row for page in pages for row in getattr(page, rows_field)]
    returned = sum(page.returned for page in pages)
    return pages[-1].model_copy(update={rows_field: joined, "returned": returned})


def _rows_field(page: SessionPage | RequestPage | LearningPage) -> str:
    """Return the name of the field that has the rows of a page."""
    if not isinstance(page, LearningPage):
        return "sessions"  # a page of requests groups them by session
    if page.changed_since:
        return "changes"
    return "shared_rules" if page.lists_rules else "learnings"


def run_export(arguments: Namespace, settings: Settings) -> int:
    """Write an export. At a terminal, say what would be in it and ask first, unless `--yes` is given."""
    check_store(settings)
    check_allowed(settings, "export_data")
    if settings.mask:
        raise ConfigurationError("REFLEXIO_MCP_MASK hides what is stored, so nothing is exported.")
    path = Path(arguments.output)
    check_new_file(path)
    wanted, screen = filter_of(arguments.filter, settings), Screen(settings)
    progress = TerminalProgress()

    # As for `Export`, `redact` is `None` while it is undecided.
    async def write(file: BinaryIO, redact: bool | None, is_plan: bool) -> Manifest:
        async with open_scope(settings) as scope:
            place, personal = location_of(settings), settings.personal_data
            export = Export(scope, wanted, place, redact, readme, progress, personal=personal)
            manifest = await export.write(file)
            if not is_plan:
                await _note_export(scope, settings, wanted, manifest)
            return manifest

    def write_with_progress(file: BinaryIO, redact: bool | None, *, is_plan: bool) -> Manifest:
        try:
            with progress.shown():
                return anyio.run(write, file, redact, is_plan)
        except KeyboardInterrupt:
            done = f"{progress.last}. " if progress.last else ""
            sys.stderr.write(f"\nInterrupted: {done}{path} was not written. Run the command again.\n")
            raise

    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal and not arguments.yes and not arguments.json:
        with TemporaryFile() as file:
            plan = write_with_progress(file, arguments.redact or None, is_plan=True)
        _say_exported(screen, Exported(archive=plan))
        if not agreed(f"Write {path}"):
            screen.say("Nothing was written.")
            return 1
    with TemporaryFile() as file:
        manifest = write_with_progress(file, arguments.redact, is_plan=False)
        save(file, path)
    done = Exported(archive=manifest, file=str(path))
    if arguments.json:
        print_json(done)
    else:
        _say_exported(screen, done)
    return 0


def _say_exported(screen: "Screen", done: Exported) -> None:
    told = exported(done, SHELL)
    screen.say("\n".join([*told.stored, told.values, told.then]))


async def _note_export(scope: Scope, settings: Settings, wanted: TrafficFilter, made: Manifest) -> None:
    """Note an export in the audit log before it is given to anybody."""
    owner = await owner_of(scope, settings)
    state = open_state(settings)
    with closing(state.database), needing_state(FactCode.STATE_UNUSABLE, kind=Unreadable):
        await in_thread(state.note_export, owner, filter_in_words(wanted, words=False), made.counts)


def run_tools(arguments: Namespace, settings: Settings) -> int:
    from reflexio_mcp.tools.catalog import offered

    tools = offered(settings)
    if arguments.json:
        print_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
        return 0
    for tool in tools:
        print(f"{tool.name}\n    {tool.description}")
    return 0


def run_log_command(arguments: Namespace, settings: Settings) -> int:
    if arguments.verify is None and settings.user_id:
        raise ConfigurationError(
            f"REFLEXIO_USER_ID confines this configuration to {settings.user_id}, and the audit log names other users. "
            "Unset it to print the log; `reflexio-mcp receipt` writes this user's receipts."
        )
    state = open_state(settings)
    with closing(state.database), needing_state(FactCode.STATE_UNUSABLE, kind=TrafficError):
        if arguments.verify is None:
            _print_log(state.log.entries(), as_json=arguments.json)
            return 0
        with TerminalProgress().shown():
            found = state.log.verify(arguments.verify)
    if arguments.json:
        line = found.asked_for and found.asked_for._asdict()
        print_json(
            found._asdict() | {"missing": sorted(found.missing), "sound": found.sound, "asked_for": line}
        )
    else:
        if entry := found.asked_for:
            print(f"Row {entry.number} of the log ends with this value:\n{visible(str(entry.line))}")
        print("\n".join(_words_of_check(found)))
    return 0 if found.sound else 1


def _print_log(entries: Iterable[Entry], *, as_json: bool) -> None:
    if as_json:
        # A line that somebody changed may not be JSON any more.
        shown = [said_in(entry.line) or {"line": str(entry.line)} for entry in entries]
        # In ASCII, because ids are logged as they are stored, and their characters could act on a terminal.
        print(json.dumps(shown, indent=2, ensure_ascii=True))
        return
    for entry in entries:
        print(visible(str(entry.line)))


def _words_of_check(found: Verified) -> list[str]:
    """Say what a check of the log found, what it shows, and what it cannot show."""
    said: list[str] = []
    if found.wrong is not None:
        said.append(
            f"Row {found.wrong} of the log's table or the row before it was changed, a row between them is missing, or "
            "the key of a row is."
        )
    if found.missing:
        said.append(
            "The log lacks a line that a receipt or --verify names: its end was cut off, or the value was mistyped."
        )
    if found.end == "gone":
        said.append(
            "The log lacks the line that this machine noted as its last one: the end was cut off, or the state was "
            "removed, emptied or restored from a backup."
        )
    if found.lost:
        said.append(
            "The log lacks lines: the state has numbered lines, or its records name lines, that are not there."
        )
    if found.end == "sealed":
        said.append(
            "The file in which this machine notes the last line is sealed with a key that this server does not have."
        )
    if found.end == "damaged":
        said.append("The file in which this machine notes the last line was changed or is damaged.")
    said += [
        f"Row {number} says that lines before it were missing when it was written." for number in found.cut
    ]
    said += [
        f"The record of deletion or restore {number} was changed, or is sealed with a key that this server does not "
        "have."
        for number in found.records
    ]
    if found.has_all_lines:
        said.append(f"{found.lines:,} lines, none changed or missing.")
        said.append(
            "The last line that this machine has noted is there."
            if found.end == "there"
            else "This machine has noted no last line: what was cut off at the end is found by receipts alone."
        )
    if found.older:
        said.append(
            f"{found.older:,} lines of an earlier version do not show whether the time of the row before was changed."
        )
    return [*said, CHECK_CANNOT_SHOW]


def check_new_file(path: Path) -> None:
    """Refuse a file that exists, or a folder that does not, before anything is read or written."""
    if os.path.lexists(path):
        raise ConfigurationError(f"{path} exists, and no file is replaced. Name another one.")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path} cannot be written: its folder does not exist. Make it first.")


class Screen:
    """Shows results to a person, in fields, tables and sentences.

    Args:
        quiet: print only the JSON at the end.
    """

    def __init__(self, settings: Settings, *, quiet: bool = False) -> None:
        self._settings = settings
        self._quiet = quiet
        self._output = Output()
        store = "the embedded store" if settings.embedded else "Reflexio"
        self._where = f"In {store} at {location_of(settings)}\n"
        self._begun = False

    def say(self, text: str, style: str = "") -> None:
        if self._quiet or not text:
            return
        self._begin()
        self._output.say(text, style)

    def end(self, result: Result) -> None:
        """Print the result as JSON, if that is all that is printed."""
        if self._quiet:
            print_json(result)

    def _begin(self) -> None:
        """Say where the results are from, before the first of them."""
        if not self._begun:
            self._begun = True
            self._output.say(self._where, DIM)

    def rows(self, result: Result, *notes: str) -> None:
        """Print a list with what is said about it. Into a pipe or a file, only its rows go to stdout."""
        if self._output.is_terminal:
            self.show(result)
        else:
            rows, columns = _rows_of(result)
            self._output.rows(self._table_of(rows, columns))
        for note in notes:
            self._output.about(note)

    def show(self, row: Row) -> None:
        """Print the non-empty fields of a row: some lists as tables, the rest as lines."""
        corrects = isinstance(row, Plan | Receipt) and row.change is not None
        hidden = HIDDEN_OF_CORRECTIONS if corrects else HIDDEN
        for name, field in row:
            value: object = field
            if not value or name in hidden:
                continue
            parts = cast("list[Any]", field if isinstance(field, list) else [field])
            kind = cast("type[Row]", type(parts[0]))
            if kind is SessionRequests:
                kind, parts = RequestRow, _requests_of(parts)
            if columns := TABLES.get(kind):
                self._table(parts, columns)
                if isinstance(row, FindingRow) and kind is Place:
                    self._say_left_out(len(parts), row.place_count or row.count)
            elif kind in BLOCKS:
                for part in parts:
                    if isinstance(field, list):
                        self.say("")
                    self.show(part)
            elif kind is TaughtLearning:
                gone = "deleted" if isinstance(row, Receipt) else "goes"
                for learning in cast("list[TaughtLearning]", parts):
                    self.say(learning_line(learning, SHELL, gone=gone))
            elif name in A_LINE_EACH:
                self.say("\n".join(hanging(self._words(part)) for part in parts))
            else:
                words = self._words(value)
                if not isinstance(value, Change):  # the words of a change are on lines of their own
                    words = hanging(words)
                self.say(f"{LABELS.get(name, name.replace('_', ' '))}: {words}")

    def _say_left_out(self, shown: int, found: int) -> None:
        if shown < found:
            self.say(f"({shown:,} of {found:,} are shown)")

    def _table(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        if self._quiet:
            return
        self._begin()
        self._output.table(self._table_of(rows, columns))

    def _table_of(self, rows: Sequence[Row], columns: Sequence[str]) -> Table:
        table = Table(columns, CUT)
        for row in rows:
            table.add([self._cell(row, name) for name in columns])
        return table

    def _cell(self, row: Row, name: str) -> str:
        value = getattr(row, name)
        return "" if name in FROM_ONE and value == 0 else self._words(value)

    def _words(self, value: object) -> str:
        match value:
            case None | False:
                return ""
            case True:
                return "yes"
            case datetime():
                return f"{value:%Y-%m-%d %H:%M:%S}Z"
            case list():
                return ", ".join(map(self._words, cast("list[object]", value)))
            case Count() | Part():
                return f"{value.name} ({value.count:,})"
            case Counts():
                return counts(value)
            case Looked():
                return value.filter or "none"
            case Change():
                return f"\n  old: {quoted(value.before)}\n  new: {quoted(value.after)}"
            case Excepted():
                return f"{value.count:,} {SHELL.outcomes[value.why]} ({self._words(value.ids)})"
            case Fact():
                return SHELL.of(value)
            case NotLooked():
                return f"not looked for: {', '.join(value.findings)}. {self._words(value.because)}"
            case LearningState():
                return SHELL.of(Fact(code=value.means))
            case Call():
                return _command(value, self._settings)
            case Row():
                return " · ".join(self._words(part) for _, part in value if part)
            case _:
                return str(value)


def _requests_of(groups: Sequence[SessionRequests]) -> list[RequestRow]:
    return [
        request.model_copy(update={"session_id": group.session_id})
        for group in groups
        for request in group.requests
    ]


def _rows_of(result: Result) -> tuple[Sequence[Row], Sequence[str]]:
    """Return the rows of a list and their columns, which do not depend on what is stored."""
    match result:
        case RequestPage():
            return _requests_of(result.sessions), TABLES[RequestRow]
        case SessionPage():
            return result.sessions, TABLES[SessionRow]
        case LearningPage() if result.changed_since:
            return result.changes, TABLES[ChangeRow]
        case LearningPage(lists_rules=True):
            return result.shared_rules, TABLES[SharedRuleRow]
        case LearningPage():
            return result.learnings, LEARNING_COLUMNS
        case Restored():
            return result.deletions, TABLES[PastDeletion]
        case _:
            raise TypeError(type(result))


def _command(call: Call, settings: Settings) -> str:
    """Return the command for a call. It works in any shell, whatever memory and user that shell's settings name."""
    command, arguments = COMMAND_OF_TOOL[call.tool], dict(call.arguments)
    if settings.user_id and command != "show":
        arguments["user_id"] = settings.user_id
    words, ids = ["reflexio-mcp", command], list[str]()
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if name in ("request_id", "request_ids"):
            ids += [value] if isinstance(value, str) else value
        elif value is True or name in SWITCHES:  # such a field has the value that its option means
            words.append(flag)
        elif name != "detail":  # Commands show a request as it is stored.
            words += [flag, str(value)] if not str(value).startswith("-") else [f"{flag}={value}"]
    # With Reflexio, too, the store has to be named: the state is in its folder.
    where = {
        "--url": settings.base_url,
        "--store": location_of(settings) if settings.embedded else settings.store,
        "--policy": settings.policy,
    }
    for flag, place in where.items():
        if place:
            words += [flag, place]
    if any(request_id.startswith("-") for request_id in ids):
        words.append("--")  # after it, such an id is no option
    return shlex.join([*words, *ids])
