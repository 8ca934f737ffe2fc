"""Commands with a plan, a question and a receipt; `receipt` writes a stored receipt to files."""

import json
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from reflexio_mcp import __version__, private_files
from reflexio_mcp.backend import open_scope, open_state, owner_of
from reflexio_mcp.consent.policy import number_to_type
from reflexio_mcp.read_commands import Screen, check_allowed, check_new_file, check_store, filter_of
from reflexio_mcp.render.blocks import sentence
from reflexio_mcp.render.deletion import receipt_page
from reflexio_mcp.render.words import SHELL
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import structured
from reflexio_mcp.results.deletion import Deletion, PlanStatus, Receipt, Restored
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.screen import Refusal, TerminalProgress, agreed, print_written, refusal_of
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.tools.catalog import deletes
from reflexio_mcp.traffic.archive import import_requests, requests_in
from reflexio_mcp.traffic.deletion.erasures import ErasuresBesideImport, take_out_waiting
from reflexio_mcp.traffic.deletion.execute import Origin, begin, carry_out
from reflexio_mcp.traffic.deletion.past import last_deletions, not_listed
from reflexio_mcp.traffic.deletion.plan import Options, Planned, describe_target, make_plan, skipped_copies
from reflexio_mcp.traffic.deletion.restore import Undo, begin_restore, plan_restore, restore
from reflexio_mcp.traffic.deletion.targets import Correction, Filtered, Requests, Target
from reflexio_mcp.traffic.errors import NotStored, TrafficError, needing_state
from reflexio_mcp.traffic.policy import current_policy
from reflexio_mcp.traffic.reading.filters import EXPIRED
from reflexio_mcp.traffic.scope import Scope

RESTORE_SECONDS: Final = 3600.0

Done = TypeVar("Done")
Work = Callable[[Scope, State, Owner], Awaitable[Done]]


class Job:
    """One long command: who asks, how far it is, and what Ctrl-C leaves."""

    def __init__(self, arguments: Namespace) -> None:
        self.program = f"reflexio-mcp {arguments.command} {__version__}"
        self.consent_mode = "off" if arguments.yes else "ask"
        self.progress = TerminalProgress()
        self.undoable = 0
        """The number of the running deletion if it keeps copies; 0 if it keeps none, and before it has begun."""

    async def note_refusal(
        self, scope: Scope, state: State, owner: Owner, *, tool: str, target: str, why: Refusal
    ) -> None:
        """Log that the person did not agree. A log that cannot be written changes nothing: nothing was done."""
        with suppress(StateUnusable):
            await in_thread(state.note_refusal, owner, tool, target, why, self.program)

    @contextmanager
    def running(self, go_on: str = "") -> Generator[None]:
        """Say after Ctrl-C how much of the block is done.

        Args:
            go_on: how to finish it; empty if nothing has changed.
        """
        self.progress.last = ""  # what an earlier block counted is not done by this one
        try:
            yield
        except KeyboardInterrupt:
            done, following = "", "Nothing was changed."
            if go_on:
                done = f"{self.progress.last}." if self.progress.last else ""
                following = f"{go_on}."
                if self.undoable:
                    undo = f"`reflexio-mcp restore {self.undoable}` to undo what has a copy"
                    following = f"{go_on}, or {undo}."
            sys.stderr.write(f"\nInterrupted: {sentence(done, following)}\n")
            raise


def _status_of_empty(planned: Planned) -> PlanStatus:
    return "held" if planned.held else "not_found"


def run_delete(arguments: Namespace, settings: Settings) -> int:
    """Show the plan, ask, delete, and show the receipt.

    Returns:
        1 if nobody agreed, an id was not found, an item was not deleted, also because of a hold, or the receipt says to
        call again; else 0, also if nothing matched, this is a dry run, or a hold keeps what expired.
    """
    _check_may_change(arguments, settings, "delete_requests")
    if not arguments.erase:  # Recovery copies to erase may exist without a store.
        check_store(settings)

    if arguments.learning_ids and not arguments.include_learnings:
        raise ConfigurationError("--learning needs --include-learnings.")
    options = Options(
        arguments.include_learnings, arguments.erase, arguments.reason, tuple(arguments.learning_ids)
    )
    if arguments.filter.get("finding") == EXPIRED:
        # Expiry has a cap of its own.
        if "delete_cap" in arguments.flags:
            raise ConfigurationError(
                "For what has expired, `cap` in the policy file counts; leave out --delete-cap."
            )
        settings = replace(settings, delete_cap=current_policy().cap)
    return _plan_ask_and_act(
        arguments, settings, "delete_requests", partial(_target, arguments, settings), options, "Delete"
    )


def run_correct(arguments: Namespace, settings: Settings) -> int:
    """Give a learning a new text, with the same steps as `run_delete`."""
    if settings.embedded:
        raise ConfigurationError("The embedded store does not learn. Set REFLEXIO_URL, or give --url.")
    _check_may_change(arguments, settings, "correct_learning")

    def target(scope: Scope) -> Target:
        may_have_secrets = settings.publish_secrets == "warn"
        user_id, learning_id = arguments.filter.get("user_id", ""), arguments.learning_id
        return Correction.of(
            scope, user_id, learning_id, arguments.content, may_have_secrets=may_have_secrets
        )

    return _plan_ask_and_act(
        arguments,
        settings,
        "correct_learning",
        target,
        Options(erase=arguments.erase, reason=arguments.reason),
        "Change",
    )


def _plan_ask_and_act(
    arguments: Namespace,
    settings: Settings,
    tool: str,
    target: Callable[[Scope], Target],
    options: Options,
    verb: str,
) -> int:
    job = Job(arguments)

    def plan(scope: Scope, state: State, owner: Owner) -> Awaitable[Planned]:
        return make_plan(scope, target(scope), options, state, owner, progress=job.progress)

    async def act(scope: Scope, state: State, owner: Owner) -> Receipt:
        number = await begin(planned, Origin(tool, job.program, job.consent_mode), state)
        if planned.plan.way_back and planned.plan.way_back.has_copy:
            job.undoable = number
        return await carry_out(scope, planned, state, number, job.progress)

    expires = arguments.filter.get("finding") == EXPIRED
    # What expires counts against a cap of its own, as if another caller deleted it.
    caller = EXPIRED if expires else ""
    with job.running():
        planned = _run(plan, settings, caller, job.progress)
    status = _status_of_empty(planned) if planned.is_empty else "planned"
    answer = Deletion(status=status, plan=planned.plan)
    screen = Screen(settings, quiet=arguments.json)
    _show_plan(screen, planned)
    if planned.is_empty:
        screen.say(SHELL.status(status, corrects=planned.plan.corrects))
        screen.end(answer)
        failed = planned.plan.not_found or (planned.held and not expires)
        return 1 if failed else 0
    done = "changed" if planned.plan.corrects else "deleted"
    if arguments.dry_run:
        screen.say(f"Nothing was {done} (--dry-run).")
        screen.end(answer)
        return 0
    if not arguments.yes and (refusal := refusal_of(verb, number_to_type(settings, planned))):
        if refusal == "wrong_number":
            screen.say(SHELL.status(refusal, corrects=planned.plan.corrects))
        else:
            screen.say(f"Nothing was {done}.")
        target_name = describe_target(planned.target, words=False)
        _run(partial(job.note_refusal, tool=tool, target=target_name, why=refusal), settings, caller)
        return 1
    with job.running("Run the command again to finish"):
        receipt = _run(act, settings, caller, job.progress)
    _show_receipt(screen, planned, receipt)
    kept_by_hold = bool(planned.held) and not expires
    did_all = receipt.finished and not (receipt.not_deleted or planned.plan.not_found or kept_by_hold)
    return 0 if did_all else 1


def _show_plan(screen: Screen, planned: Planned) -> None:
    screen.show(planned.plan)
    shown, selected = len(planned.plan.examples), planned.plan.selected
    total = selected.requests or selected.interactions
    if 0 < shown < total:
        screen.say(f"(the first {shown:,} of {total:,})")
    screen.say(SHELL.say(planned.plan.facts))
    screen.say(SHELL.undo(planned.plan.way_back))


def _show_receipt(screen: Screen, planned: Planned, receipt: Receipt) -> None:
    screen.say("\nThe receipt:")
    screen.show(receipt)
    screen.say(SHELL.say(receipt.facts))
    screen.say(SHELL.undo(receipt.way_back, receipt.number))
    status = "complete" if receipt.finished else "incomplete"
    screen.end(Deletion(status=status, plan=planned.plan, receipt=receipt))


def run_restore(arguments: Namespace, settings: Settings) -> int:
    check_store(settings)
    screen = Screen(settings, quiet=arguments.json)
    if arguments.deletion is None:
        listed = _run(_restorable, settings)
        if arguments.json:
            screen.end(listed)
        else:
            nothing = "" if listed.deletions else "No deletion has a recovery copy."
            screen.rows(listed, nothing, SHELL.say(listed.facts))
        return 0
    _check_may_change(arguments, settings, "restore_requests")
    undo = Undo(
        arguments.deletion,
        frozenset(arguments.request_ids),
        evaluation_only=arguments.evaluation_only,
        seconds=RESTORE_SECONDS,
    )
    job = Job(arguments)
    with job.running():
        planned = _run(partial(plan_restore, undo=undo), settings)

    async def act(scope: Scope, state: State, owner: Owner) -> Restored:
        number = await begin_restore(
            planned, Origin("restore_requests", job.program, job.consent_mode), state
        )
        return await restore(scope, state, planned, number, job.progress)

    screen.show(planned.plan)
    screen.say(SHELL.say(planned.plan.facts))
    if not arguments.yes and (refusal := refusal_of("Restore", None)):
        screen.say("Nothing was restored.")
        target_name = f"restore of deletion {undo.number}"
        _run(partial(job.note_refusal, tool="restore_requests", target=target_name, why=refusal), settings)
        return 1
    with job.running("Run the command again to restore the rest"):
        done = _run(act, settings, progress=job.progress)
    return _show_restored(screen, done)


async def _restorable(scope: Scope, state: State, owner: Owner) -> Restored:
    found = await last_deletions(scope, state, owner, restorable=True)
    facts = [*await not_listed(state, owner, found), *await skipped_copies(state)]
    return Restored(status="listed", deletions=found, facts=facts)


def run_import(arguments: Namespace, settings: Settings) -> int:
    """Store the requests of an export that are not stored."""
    _check_may_change(arguments, settings, "publish_interaction")
    lines = requests_in(Path(arguments.file), settings.user_id)
    screen = Screen(settings, quiet=arguments.json)
    remark = FactCode.ONLY_REQUESTS_IMPORTED if settings.embedded else FactCode.IMPORT_IS_LEARNED
    screen.say(f"{len(lines):,} requests are in {arguments.file}. {SHELL.of(Fact(code=remark))}")
    if not arguments.yes and not agreed("Import"):
        screen.say("Nothing was imported.")
        return 1

    job = Job(arguments)

    async def act(scope: Scope, state: State, owner: Owner) -> Restored:
        with needing_state(FactCode.STATE_UNUSABLE):
            await in_thread(state.check)  # what cannot be logged is not stored
        erasures = ErasuresBesideImport(scope, state, owner)
        return await import_requests(scope, lines, job.progress, erasures)

    with job.running("Run the command again to import the rest"):
        done = _run(act, settings, progress=job.progress)
    exit_code = _show_restored(screen, done)
    # For a restore, it is no failure to leave out what was erased. An import was asked to store the whole file.
    left_out_erased = any(exception.why == "erased" for exception in done.not_restored)
    return 1 if left_out_erased else exit_code


def run_receipt(arguments: Namespace, settings: Settings) -> int:
    """Write the receipt of a deletion as JSON and as a page, never over a file that exists."""
    check_store(settings)
    found = _run(partial(last_deletions, number=arguments.deletion), settings)
    if found and found[0].damaged and not found[0].receipt:
        raise NotStored(
            f"The record of deletion {arguments.deletion} was changed, or its key is missing, so its receipt "
            "cannot be read."
        )
    if found and found[0].restores:
        raise NotStored(
            f"{arguments.deletion} is the restore of deletion {found[0].restores}. It has no receipt."
        )
    if not found or not found[0].receipt:
        raise NotStored(
            f"Deletion {arguments.deletion} has no receipt on record. `reflexio-mcp log` lists all deletions."
        )
    files = {
        Path(f"{arguments.output}.json"): json.dumps(structured(found[0]), indent=2, ensure_ascii=False)
        + "\n",
        Path(f"{arguments.output}.html"): receipt_page(found[0], found[0].receipt),
    }
    for path in files:
        check_new_file(path)
    for path, text in files.items():
        try:
            private_files.write_new(path, text.encode())
        except OSError as error:
            raise TrafficError(f"{path} cannot be written: {error.strerror}.") from None
    print_written(files, as_json=arguments.json)
    return 0


def _check_may_change(arguments: Namespace, settings: Settings, tool: str) -> None:
    check_allowed(settings, tool)
    is_dry_run = getattr(arguments, "dry_run", False)  # not every command has it
    asks = not arguments.yes and not is_dry_run
    if arguments.json and asks:
        raise ConfigurationError("--json asks no question. Add --yes, or see the plan first without --json.")
    if settings.confirm == "ask" and arguments.yes:
        raise ConfigurationError("REFLEXIO_MCP_CONFIRM=ask needs a person's answer. Leave out --yes.")


def _target(arguments: Namespace, settings: Settings, scope: Scope) -> Target:
    typed: dict[str, Any] = arguments.filter
    if arguments.request_ids:
        if any(name != "user_id" for name in typed):
            raise ConfigurationError("Give either ids or a filter. With ids, only --user-id is allowed.")
        return Requests.of(scope, arguments.request_ids, typed.get("user_id", ""))
    narrowing = typed.keys() - {"user_id", "contains", "finding", "evaluation_only"}
    is_narrow = bool(narrowing) or typed.get("finding") == EXPIRED
    if not is_narrow and not arguments.everything:
        raise ConfigurationError(
            "Which requests? Add their ids, or a filter such as --source, --session-id or --start-time. All requests "
            "of a user, or all that --contains, --finding or --evaluation-only selects, need --everything."
        )
    wanted = filter_of(typed, settings)
    erase_with_learnings = arguments.erase and arguments.include_learnings
    return Filtered.of(scope, wanted, erase_with_learnings=erase_with_learnings)


def _run(
    work: Work[Done], settings: Settings, caller: str = "", progress: TerminalProgress | None = None
) -> Done:
    async def run() -> Done:
        state = open_state(settings)
        try:
            with suppress(StateUnusable):  # `work` reports it
                await in_thread(state.prune)
            async with open_scope(settings) as scope:
                owner = await owner_of(scope, settings)
                await _take_out_again(scope, state, owner, settings)
                return await work(scope, state, replace(owner, caller=caller))
        finally:
            state.database.close()

    with (progress or TerminalProgress()).shown():
        return anyio.run(run)


async def _take_out_again(scope: Scope, state: State, owner: Owner, settings: Settings) -> None:
    """Delete again what an interrupted restore has stored although it was erased for good."""
    if not deletes(settings):
        return
    with suppress(StateUnusable, ReflexioError, TrafficError):  # the next command tries again
        taken = await take_out_waiting(scope, state, owner)
        if taken.gone:
            number = len({note.id for note in taken.gone})
            sys.stderr.write(f"reflexio-mcp: {SHELL.of(Fact(code=FactCode.DELETED_AGAIN, number=number))}\n")


def _show_restored(screen: Screen, done: Restored) -> int:
    screen.say("\nThe receipt:")
    screen.show(done)
    screen.say(SHELL.say(done.facts))
    screen.end(done)
    failed = any(exception.why not in ("already_there", "erased") for exception in done.not_restored)
    return int(failed or done.status != "complete")
