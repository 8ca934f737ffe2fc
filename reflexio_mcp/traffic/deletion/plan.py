"""Planning a deletion: what would go, what was learned from it, what only recovery copies hold, and the way back."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Counts, Example, Part, Plan, WayBack, WayBackState
from reflexio_mcp.state import records
from reflexio_mcp.state.records import Copied, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import in_brief
from reflexio_mcp.traffic.deletion.items import (
    Item,
    copied_learning,
    copied_request,
    counts_of,
    learning_item,
    request_item,
)
from reflexio_mcp.traffic.deletion.targets import Filtered, Selected, Target, User
from reflexio_mcp.traffic.errors import CapReached, refusing
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.reading.filters import UNSEEN, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import shown_id, shown_name, visible

__all__ = ["USERS_COUNTED", "Options", "Planned", "about_learnings", "few", "make_plan", "over_the_cap"]

NAMED: Final = 10
"""Users and sessions that a plan names one by one."""

IDS_NAMED: Final = 20
IDS_CHARS: Final = 2_000
"""How many ids an answer names, and in how many characters."""

PLANNED: Final[dict[WayBackState, str]] = {
    "whole": "This server keeps a recovery copy for {days}; restore_requests puts it back as it was.",
    "words": "This server keeps a recovery copy for {days}; restore_requests puts it back with a new time and without "
    "base64 images and citations.",
    "off": "This cannot be undone: this server keeps no recovery copies.",
    "erased": "This cannot be undone: no recovery copy is kept, and what earlier ones hold of it is erased too.",
}
"""The way back of a plan, by what becomes of the recovery copy."""

NOT_COUNTED: Final = (
    "Nothing was deleted: what is deleted in an hour cannot be counted ({why}). Ask the operator to {advice}."
)
COPIES_AWAY: Final = (
    "Nothing was deleted: recovery copies cannot be read now ({why}). Ask the operator to {advice}."
)
UNREADABLE: Final = (
    "Reflexio fails to return {number:,} of these requests. What they hold is not known, and no recovery copy can hold "
    "them, so deleting them needs erase=true."
)
IN_COPIES: Final = (
    "Recovery copies still hold {number:,} of what is not stored: restore_requests lists them, and erase=true erases "
    "them."
)
ALL_OF_REQUEST: Final = (
    "Every recovery copy of this request is erased, with the interactions that stay stored."
)
LEARNED_UNKNOWN: Final = "What was learned from it could not be read."
UNLINKED: Final = "{number:,} learnings of these users do not say what they were learned from; they stay."
USERS_LEFT: Final = "The learnings of {number:,} further users were not looked at."
SHARED: Final = (
    "{number:,} of the learnings came from other interactions too, and can be learned again from those."
)
SESSIONS_KEPT: Final = "Session outcomes and evaluations stay."
PREFER_ERASE: Final = (
    "To be rid of {what} for good, pass erase=true: otherwise the recovery copy holds it for {days}."
)

USERS_COUNTED: Final = 50
"""Users whose learnings a plan counts when they are not to be deleted."""


@dataclass(frozen=True)
class Options:
    """What a caller chose besides the target."""

    include_learnings: bool = False
    erase: bool = False


@dataclass(frozen=True)
class Planned:
    """A deletion that could be carried out.

    Args:
        items: what goes; learnings that go with requests are in `learned`.
        learned: what was learned from it; `None` if that is not known.
        plan: what is shown of it.
        owner: whose deletion it is.
        days: how long its recovery copy is kept; 0 for none.
        stays: what stays besides, in sentences.
        not_found: ids that the caller named and that are not stored.
    """

    target: Target
    options: Options
    items: tuple[Item, ...]
    learned: Learned | None
    plan: Plan
    owner: Owner
    days: int = 0
    stays: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many go, as it is typed and as the plan's noun counts them."""
        return len(self.items)

    @property
    def learnings(self) -> Sequence[Item]:
        """The learnings that go besides the items."""
        if not self.options.include_learnings or self.learned is None or self.selects_learnings:
            return ()
        return [learning_item(one) for one in self.learned.learnings]

    @property
    def selects_learnings(self) -> bool:
        return self.target.noun in ("learning", "record")

    @property
    def users(self) -> int:
        return len({one.user_id for one in self.items})

    @property
    def bound(self) -> str:
        """What a code is bound to: the options, and everything that goes, by content."""
        chosen = f"{self.target.noun} {self.options}"
        everything = sorted(
            f"{one.kind}\0{one.id}\0{one.digest}\0{one.only_in_copies}"
            for one in (*self.items, *self.learnings)
        )
        return hashlib.sha256("\0\0".join([chosen, *everything]).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def fingerprint(self) -> str:
        """A few characters that tell two selections of the same size apart."""
        return f"{self.bound[:4]}-{self.bound[4:8]}-{self.bound[8:12]}-{self.bound[12:16]}".upper()


async def make_plan(
    scope: Scope,
    target: Target,
    options: Options,
    state: State,
    owner: Owner,
    *,
    masked: bool,
    progress: Progress,
) -> Planned:
    """Look up what a deletion would take.

    Args:
        owner: whose deletion it is.
        masked: leave stored words out.

    Raises:
        InvalidInput: the target cannot be used.
        CapReached: it is larger than what may be deleted now.
        NotRecorded: recovery copies cannot be read.
        ReflexioError: what is stored cannot be read.
    """
    selected = await target.select(scope, progress)
    learned = await _learned(scope, target, selected, options)
    days = 0 if options.erase else state.copies.days
    remains = [*selected.remains, *about_learnings(learned, options, target)]
    if unreadable := sum(one.unreadable for one in selected.items):
        remains.append(UNREADABLE.format(number=unreadable))
    if options.erase or selected.not_found or not selected.items:
        with refusing(COPIES_AWAY):
            kept = await in_thread(_held, target, selected, state, owner)
        if options.erase:
            selected.items += kept
            found = {one.id for one in kept} | {one.request_id for one in kept}
            selected.not_found = [one for one in selected.not_found if one not in found]
            remains += [ALL_OF_REQUEST] if target.noun == "interaction" else []
        elif kept:
            remains.append(IN_COPIES.format(number=len(kept)))
    # Words that were planted were written for the assistant that reads the plan.
    hidden = masked or _finding(target) == UNSEEN
    words = {} if hidden else await anyio.to_thread.run_sync(_first_words, selected)
    state_of_copy: WayBackState = (
        "erased" if options.erase else "off" if not days else "whole" if scope.exact else "words"
    )
    kept_for = f"{days:,} day{'s' * (days != 1)}"
    if days and selected.items:
        wanted = target.wanted if isinstance(target, Filtered) else TrafficFilter()
        secret = any("[redacted" in one for one in words.values()) or "secret" in _finding(target)
        if secret or (wanted.user_id and not wanted.narrows):
            what = "a secret" if secret else "a person's data"
            remains.append(PREFER_ERASE.format(what=what, days=kept_for))
    planned = Planned(
        target,
        options,
        tuple(selected.items),
        learned,
        Plan(why="", target=shown_name(target.name()), goes=Counts()),
        owner,
        days,
        tuple(selected.remains),
        tuple(selected.not_found),
    )
    await check_cap(state, owner, planned)
    way_back = WayBack(state=state_of_copy, sentence=PLANNED[state_of_copy].format(days=kept_for))
    return replace(planned, plan=_shown(planned, selected, words, remains, way_back))


async def check_cap(state: State, owner: Owner, planned: Planned) -> None:
    """Refuse a deletion that is larger than what may be deleted now.

    Raises:
        CapReached: says how much room there is, and when there is enough.
        NotRecorded: what was deleted cannot be counted.
    """
    try:
        with refusing(NOT_COUNTED):
            await in_thread(state.check_room, owner, planned.size + len(planned.learnings))
    except records.CapReached as error:
        raise over_the_cap(planned, error) from None


def over_the_cap(planned: Planned, error: records.CapReached) -> CapReached:
    """The refusal of a deletion that is larger than what may be deleted now."""
    number = planned.size + len(planned.learnings)
    minutes = max(1, round(error.wait / 60 + 0.5))
    what = f"{number:,} requests, interactions or learnings"
    said = (
        f"Nothing was deleted: this would delete {what}, and {error.limit:,} an hour are allowed ({error.room:,} "
        f"left now)."
    )
    if number > error.limit:
        return CapReached(
            f"{said} Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP."
        )
    return CapReached(f"{said} There is room for it in {minutes} min; do not retry before.")


async def _learned(scope: Scope, target: Target, selected: Selected, options: Options) -> Learned | None:
    """What was learned from the selection. Not knowing it stops only a deletion that removes it too."""
    try:
        learned = selected.learned
        if learned is None:
            most = None if options.include_learnings else USERS_COUNTED
            learned = await target.learned(scope, selected.items, None, most)
        return learned
    except ReflexioError:
        if options.include_learnings:
            raise
        return None


def about_learnings(learned: Learned | None, options: Options, target: Target) -> list[str]:
    """What of the learnings stays, in sentences."""
    if learned is None:
        return [LEARNED_UNKNOWN]
    if not learned.learns or isinstance(target, User):
        return []
    said: list[str] = []
    if learned.count and not options.include_learnings:
        number = learned.count
        stay = "learning that it fed stays" if number == 1 else "learnings that it fed stay"
        said.append(f"{number:,} {stay}; include_learnings=true deletes what was learned too.")
    shared = sum(bool(one.others) for one in learned.fed.values())
    if shared and options.include_learnings:
        said.append(SHARED.format(number=shared))
    if learned.unlinked:
        said.append(UNLINKED.format(number=learned.unlinked))
    if learned.users_left_out:
        said.append(USERS_LEFT.format(number=learned.users_left_out))
    if target.noun == "request":
        said.append(SESSIONS_KEPT)
    return said


def _held(target: Target, selected: Selected, state: State, owner: Owner) -> list[Item]:
    """What only recovery copies hold of a target."""
    names = target.copy_names()
    stored = {one.id for one in selected.items}
    copies = state.copies.read(owner, names=names)
    found: dict[str, Item] = {}
    for copied in copies:
        item = _held_item(target, copied)
        if item and item.id not in stored and (target.noun != "interaction" or not selected.items):
            found[item.id] = item
    return list(found.values())


def _held_item(target: Target, copied: Copied) -> Item | None:
    if (request := copied_request(copied)) and target.means_request(request):
        return request_item(request, only_in_copies=True)
    if (learning := copied_learning(copied)) and target.means_learning(learning):
        return learning_item(learning, only_in_copies=True)
    return None


def _first_words(selected: Selected) -> dict[str, str]:
    """The first words of the items that are shown, secrets redacted. Looking for secrets takes time."""
    from reflexio_mcp.traffic.audit.rules.redaction import (
        redact_opening,  # its patterns take a while to compile
    )

    return {one: visible(in_brief(redact_opening(text))) for one, text in selected.openings.items()}


def _finding(target: Target) -> str:
    """The finding that a target selects by, if it does."""
    return getattr(getattr(target, "wanted", None), "finding", "")


def _shown(
    planned: Planned, selected: Selected, words: dict[str, str], remains: list[str], way_back: WayBack
) -> Plan:
    items = [one for one in planned.items if not one.unreadable]
    examples = [one for one in items if one.id in words or one.id in selected.openings] or items[:5]
    times = [one.created_at for one in items if one.created_at]
    not_found = few(selected.not_found)
    return Plan(
        why="",
        target=shown_name(planned.target.name()),
        goes=counts_of((*planned.items, *planned.learnings)),
        users=_parts(one.user_id for one in planned.items),
        sessions=_parts(one.session_id for one in items if one.session_id),
        first=at(min(times)) if times else None,
        last=at(max(times)) if times else None,
        examples=[
            Example(
                id=shown_id(one.id),
                user_id=shown_name(one.user_id) if planned.users > 1 else "",
                created_at=at(one.created_at) if one.created_at else None,
                first_words=words.get(one.id, ""),
            )
            for one in examples
        ],
        not_found=not_found,
        not_found_count=len(selected.not_found),
        remains=remains,
        way_back=way_back if planned.items else None,
    )


def _parts(names: Iterable[str]) -> list[Part]:
    counts = Counter(names).most_common()
    shown = [Part(name=shown_name(name) or "(none)", count=count) for name, count in counts[:NAMED]]
    if rest := sum(count for _, count in counts[NAMED:]):
        shown.append(Part(name="(others)", count=rest))
    return shown


def few(ids: Sequence[str]) -> list[str]:
    """The first ids of a set, as they are shown, as many as an answer has room for."""
    shown: list[str] = []
    left = IDS_CHARS
    for one in map(shown_id, ids[:IDS_NAMED]):
        left -= len(one)
        if left < 0 and shown:
            break
        shown.append(one)
    return shown
