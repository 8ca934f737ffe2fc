"""`reflexio-mcp delete` and `restore`: a plan, a question and a receipt, from a shell or from CI.

The plan, the hourly cap, the audit log, recovery copies and the receipt are those of the tools.
"""

import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

import anyio

from reflexio_mcp import __version__
from reflexio_mcp.backend import open_scope, open_state, owner_of
from reflexio_mcp.consent.policy import number_to_type
from reflexio_mcp.read_commands import Screen, checked_store, filter_of, reported, typed_filter
from reflexio_mcp.render.deletion import STATUS, WHY, counts
from reflexio_mcp.results.deletion import (
    Counts,
    Example,
    Excepted,
    PastDeletion,
    Plan,
    Receipt,
    Restored,
    WayBack,
)
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion.execute import Origin, begin, carry_out
from reflexio_mcp.traffic.deletion.history import last_deletions
from reflexio_mcp.traffic.deletion.plan import Options, Planned, make_plan
from reflexio_mcp.traffic.deletion.restore import Undo, plan_restore, restore
from reflexio_mcp.traffic.deletion.targets import Filtered, Requests, Target, User
from reflexio_mcp.traffic.reading.lookup import untold
from reflexio_mcp.traffic.scope import Scope

__all__ = ["run_delete", "run_restore"]

RESTORE_SECONDS: Final = 3600.0
"""How long a restore goes on. It names what is left then."""

Done = TypeVar("Done")
Work = Callable[[Scope, State, Owner], Awaitable[Done]]


def run_delete(arguments: Namespace, settings: Settings) -> int:
    """Show what would go, ask, delete it and say what is really gone.

    Returns:
        0 if nothing that was chosen is left, also if a filter chose nothing; 1 if something is or may be, an id was
        not found, or nobody agreed.

    Raises:
        ConfigurationError: nothing is chosen, a filter cannot be used, or the configuration does not allow this.
    """
    _check_allowed(arguments, settings, "delete_requests")
    store = checked_store(settings)
    # Recovery copies to erase may be there though there is no store.
    mine = settings if arguments.erase else store
    typed = typed_filter(arguments)
    options = Options(arguments.include_learnings, arguments.erase)
    screen = Screen(settings)

    async def plan(scope: Scope, state: State, owner: Owner) -> Planned:
        target = _target(arguments, typed, settings, scope)
        return await make_plan(scope, target, options, state, owner, masked=settings.mask, progress=untold)

    planned = _run(plan, mine)
    _show_plan(screen, planned.plan)
    if not planned.size:
        screen.say("Nothing was found, and nothing was deleted.")
        return 1 if arguments.request_ids else 0
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _agreed("Delete", number_to_type(settings, planned)):
        screen.say("Nothing was deleted.")
        return 1

    async def act(scope: Scope, state: State, owner: Owner) -> Receipt:
        mode = "off" if arguments.yes else "ask"
        origin = Origin("delete_requests", f"reflexio-mcp delete {__version__}", mode)
        number = await begin(planned, origin, state)
        return await carry_out(scope, planned, state, number, untold)

    with _finished_first("deletion"):
        receipt = _run(act, mine)
    _show_receipt(screen, receipt)
    return 1 if receipt.next or receipt.not_deleted or planned.plan.not_found else 0


def run_restore(arguments: Namespace, settings: Settings) -> int:
    """List the deletions that can be undone, or undo one.

    Returns:
        0 if everything is back, or was listed; 1 otherwise.

    Raises:
        ConfigurationError: the configuration does not allow this.
    """
    checked_store(settings)
    screen = Screen(settings)
    if arguments.deletion is None:
        _show_deletions(screen, _run(last_deletions, settings))
        return 0
    _check_allowed(arguments, settings, "restore_requests")
    undo = Undo(arguments.deletion)

    async def plan(scope: Scope, state: State, owner: Owner) -> Restored:
        return (await plan_restore(scope, state, owner, undo, masked=settings.mask))[0]

    async def act(scope: Scope, state: State, owner: Owner) -> Restored:
        return await restore(scope, state, owner, undo, seconds=RESTORE_SECONDS, progress=untold)

    planned = _run(plan, settings)
    screen.say(f"The recovery copy of deletion {planned.number}: {counts(planned.planned or Counts())}")
    _show_examples(screen, planned.examples)
    _show_rest(screen, planned.not_restored, planned.remains)
    if not arguments.yes and not _agreed("Restore", None):
        screen.say("Nothing was restored.")
        return 1
    with _finished_first("restore"):
        done = _run(act, settings)
    screen.say(f"\nRestored: {counts(done.restored or Counts())}, checked by reading again.")
    _show_rest(screen, done.not_restored, done.remains)
    return 0 if done.status == "complete" else 1


def _check_allowed(arguments: Namespace, settings: Settings, tool: str) -> None:
    if settings.read_only or (settings.tools and tool not in settings.tools):
        raise ConfigurationError(
            f"REFLEXIO_MCP_READ_ONLY or REFLEXIO_MCP_TOOLS does not allow {tool} here. Unset it first."
        )
    if settings.confirm == "ask" and arguments.yes:
        raise ConfigurationError("REFLEXIO_MCP_CONFIRM=ask wants a person's answer. Leave out --yes.")


def _target(arguments: Namespace, typed: dict[str, Any], settings: Settings, scope: Scope) -> Target:
    if arguments.request_ids:
        if typed.keys() - {"user_id"}:
            raise ConfigurationError("Give either ids or a filter. Beside ids, only --user-id is allowed.")
        return Requests.of(scope, arguments.request_ids, typed.get("user_id", ""))
    if not arguments.everything and not typed.keys() - {"user_id", "contains", "finding", "evaluation_only"}:
        raise ConfigurationError(
            "Which requests? Add their ids, or a filter such as --source, --session-id or --start-time. All requests "
            "of a user, or all that --contains, --finding or --evaluation-only selects, take --everything."
        )
    wanted = filter_of(typed, settings)
    whole = wanted.user_id and not wanted.narrows
    if whole and arguments.erase and arguments.include_learnings and scope.learns:
        return User(wanted.user_id)
    return Filtered(wanted, everything=not wanted.narrows and not wanted.user_id)


def _run(work: Work[Done], settings: Settings) -> Done:
    """Do something with what the configuration reaches."""

    async def run() -> Done:
        state = open_state(settings)
        try:
            async with open_scope(settings) as scope:
                return await work(scope, state, await owner_of(scope, settings))
        finally:
            state.database.close()

    with reported("write"):
        return anyio.run(run)


def _agreed(verb: str, number: int | None) -> bool:
    """Whether the person at the terminal agrees: by yes, or by typing the number."""
    try:
        answer = input(
            f"\n{verb}? [y/N] " if number is None else f"\nType {number:,} to {verb.lower()} them: "
        )
    except EOFError:
        sys.stderr.write("\nreflexio-mcp: Nobody answered. If nobody can, add --yes.\n")
        return False
    except KeyboardInterrupt:
        sys.stderr.write("\nreflexio-mcp: Interrupted. Nothing was done.\n")
        raise
    said = answer.strip().lower()
    return said in ("y", "yes") if number is None else said.replace(",", "") == str(number)


@contextmanager
def _finished_first(what: str) -> Generator[None]:
    """Let Ctrl-C wait for what has begun; a second Ctrl-C ends it at once."""

    def wait(number: int, frame: FrameType | None) -> None:
        sys.stderr.write(f"\nThe {what} has begun and is finished first. Ctrl-C again ends it at once.\n")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# --- what is shown ---


def _show_plan(screen: Screen, plan: Plan) -> None:
    screen.say(f"{plan.target}: {counts(plan.goes)}")
    screen.counts("Users", plan.users)
    screen.counts("Sessions", plan.sessions)
    _show_examples(screen, plan.examples)
    if plan.not_found:
        screen.say(f"Not found: {', '.join(plan.not_found)}")
    for sentence in plan.remains:
        screen.say(sentence)
    _show_way_back(screen, plan.way_back, "NUMBER")


def _show_receipt(screen: Screen, receipt: Receipt) -> None:
    screen.say(f"\nDeletion {receipt.number}: {counts(receipt.deleted)} deleted, checked by reading again.")
    _show_rest(screen, receipt.not_deleted, receipt.remains)
    _show_way_back(screen, receipt.way_back, str(receipt.number))


def _show_way_back(screen: Screen, way_back: WayBack | None, undo: str) -> None:
    if way_back and way_back.state in ("whole", "words"):
        until = f" until {way_back.until:%Y-%m-%d %H:%M} UTC" if way_back.until else ""
        screen.say(f"A recovery copy is kept{until}. To undo: reflexio-mcp restore {undo}")
    elif way_back:
        screen.say(way_back.sentence)


def _show_examples(screen: Screen, examples: Iterable[Example]) -> None:
    rows = [(one.created_at, one.id, one.user_id, one.first_words) for one in examples]
    if rows:
        screen.table(("time (UTC)", "id", "user", "first words"), rows)


def _show_rest(screen: Screen, excepted: Iterable[Excepted], remains: Iterable[str]) -> None:
    for one in excepted:
        screen.say(f"{one.count:,} {WHY[one.why]}: {', '.join(one.ids)}")
    for sentence in remains:
        screen.say(sentence)


def _show_deletions(screen: Screen, deletions: list[PastDeletion]) -> None:
    if not deletions:
        screen.say("No deletion is on record.")
        return
    screen.table(
        ("number", "time (UTC)", "status", "recovery copy", "until (UTC)", "what"),
        (
            (
                one.number,
                one.at,
                STATUS[one.status].format(gone=one.gone, asked=one.asked),
                counts(one.copied) if one.copied else "none",
                one.until,
                one.target,
            )
            for one in deletions
        ),
    )
