"""Plans deletions: the items, the learnings from them, and whether the deletion can be undone.

A code confirms a plan once, in a second call. A secret key binds the code to the set, the options, the caller's scope
and the time of the plan. An invented code never fits.
"""

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import at, shown_name, visible
from reflexio_mcp.results.deletion import Change, Example, Plan, WayBack, WayBackState, few, parts
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state import records
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import add_texts, in_brief
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    Item,
    counts_of,
    item_for,
    learning_item,
    opened,
    sources_of,
)
from reflexio_mcp.traffic.deletion.targets import EXAMPLES, Filtered, Selected, Target, User, covered
from reflexio_mcp.traffic.errors import CapReached, refusing
from reflexio_mcp.traffic.learnings.find import Learned, find_learned
from reflexio_mcp.traffic.learnings.records import Sources
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.reading.filters import INJECTIONS
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Scope

__all__ = ["CodeMaker", "Options", "Planned", "make_plan", "sealed_copies"]

CODE_SECONDS: Final = 86_400

PATH_CHARS: Final = 1_000
"""Limit of a file's path."""

_CODE = re.compile(r"(\d{10})-([A-Z2-7]{16})")

USERS_COUNTED: Final = 50
"""Maximum number of users whose learnings are counted if a plan keeps the learnings."""

STATE_AWAY: Final = (
    "Nothing was deleted: the state of this server cannot be used now ({why}). Ask the operator to {advice}."
)
LEARNED_UNKNOWN: Final = "The learnings from this selection could not be read."
NOTHING_LEARNED: Final = "Nothing was learned from this selection."
NOTHING_KNOWN: Final = "No learning from this selection is known."
LEARNINGS_STAY: Final = "The learnings from this selection stay ({number:,}) unless this call includes them."
SHARED: Final = (
    "{number:,} of the learnings also came from other interactions; if stored, these can teach them again."
)
UNLINKED: Final = "{number:,} learnings of users in this selection name no source interactions; they stay."
USERS_LEFT: Final = "The learnings of {number:,} further users were not looked at."
SESSIONS_KEPT: Final = "Session outcomes and evaluations stay."


@dataclass(frozen=True)
class Options:
    """Options of a deletion. `reason` is only recorded, so a code is not bound to it."""

    include_learnings: bool = False
    erase: bool = False
    reason: str = field(default="", repr=False)


@dataclass(frozen=True)
class Planned:
    """A deletion that could be carried out.

    Args:
        items: stored items to delete, the newest first, and then the learnings from them.
        copied: items that only recovery copies contain, and that are erased there.
        size: number of items; learnings count only for a whole user or if there is nothing else.
        days: how long the recovery copy is kept; 0 for no copy.
        held: number of items that a hold keeps. They are not among the items.
    """

    target: Target
    options: Options
    selected: Selected
    items: Sequence[Item]
    copied: Sequence[Item]
    size: int
    plan: Plan
    owner: Owner
    days: int
    held: int = 0

    @property
    def stored(self) -> list[Item]:
        """The stored requests and interactions in order of arrival, which is the order of a restore."""
        stored = [one for one in self.items if one.request_id]
        return sorted(stored, key=lambda one: (one.created_at, one.interaction_ids))

    @property
    def learnings(self) -> list[str]:
        return [one.id for one in self.items if one.is_learning]

    @property
    def takes_learnings(self) -> bool:
        return self.options.include_learnings or self.target.noun == "learning"

    @cached_property
    def bound(self) -> str:
        """The content that a code is bound to: the options, and all items with their digests."""
        options = f"{self.target.noun} {self.options} {len(self.items)}"
        digests = sorted(f"{one.kind}\0{one.id}\0{one.digest}" for one in (*self.items, *self.copied))
        text = "\0\0".join([options, self.target.text, *digests])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def make_plan(
    scope: Scope,
    target: Target,
    options: Options,
    state: State,
    owner: Owner,
    *,
    progress: Progress,
) -> Planned:
    """Look up what would be deleted.

    Raises:
        InvalidInput: the target cannot be used.
        CapReached: the set is larger than the hourly cap allows now.
        NotRecorded: recovery copies or the hourly count cannot be read.
        ReflexioError: what is stored cannot be read.
    """
    selected = await target.select(scope, progress)
    held = Counter[Hold]()

    async def free(items: Sequence[Item]) -> list[Item]:
        holds = await holds_on(scope, items, state, owner)
        held.update(holds.values())
        return [one for one in items if one.id not in holds]

    stored = sorted(await free(selected.items), key=_age, reverse=True)
    takes_taught = options.include_learnings and selected.learned is None
    copied: list[Item] = []
    if options.erase or takes_taught or selected.not_found or not stored:
        with refusing(STATE_AWAY):
            copied = await in_thread(_only_in_copies, selected, state, owner)
        copied = await free(copied)
    if held and isinstance(target, User):  # one call deletes everything of a user, and every copy
        stored, copied = [], []
    if selected.learned is None:
        # Copies name the sources of learnings that an unfinished deletion has left.
        selected.sources = sources_of([*stored, *(copied if takes_taught else ())])
        selected.learned = await _learned(scope, selected.sources, options)
    learned = selected.learned
    taught = await free(list(map(learning_item, learned.learnings))) if learned and takes_taught else []
    erased = copied if options.erase else []
    counted = sorted([*stored, *erased], key=_age, reverse=True) or taught
    found = {one.id for one in erased}
    if target.noun == "interaction":  # a copy of its request has it, too
        found = {str(number) for one in erased for number in one.interaction_ids}
    selected.not_found = [one for one in selected.not_found if one not in found]
    days = 0 if options.erase else state.copies.days
    # Planted words address the assistant that reads the plan.
    planted = isinstance(target, Filtered) and target.wanted.finding in INJECTIONS
    first = [one for one in counted if one.id in selected.openings] or counted[:EXAMPLES]
    shown = await examples(scope, first, {} if scope.masked or planted else selected.openings)
    said = _about_learnings(learned, target, included=options.include_learnings, found=bool(stored))
    facts: list[Fact] = []
    if unreadable := sum(one.unreadable for one in stored):
        facts.append(Fact(code=FactCode.UNREADABLE, number=unreadable))
    if options.erase and target.noun == "interaction":
        facts.append(Fact(code=FactCode.COPIES_OF_REQUEST_GO))
    if options.erase:
        facts.append(Fact(code=FactCode.EXPORTS_STAY))
        with refusing(STATE_AWAY):
            facts += await sealed_copies(state)
    if only_in_copies := len(copied) - len(erased):
        facts.append(Fact(code=FactCode.ONLY_IN_COPIES, number=only_in_copies))
    if days and counted:
        facts.append(Fact(code=FactCode.COPY_HAS_SECRETS))
    facts += [_held_fact(hold, number) for hold, number in held.items()]
    facts += _about_holds(scope, held)
    items = [*stored, *taught]
    times = [one.created_at for one in counted if one.created_at]
    plan = Plan(
        why="",
        target=named(target),
        selected=counts_of(items, erased),
        change=selected.change,
        users=parts((one.user_id for one in counted), scope.shown_id),
        sessions=parts((one.session_id for one in counted if one.session_id), scope.shown_id),
        first=at(min(times)) if times else None,
        last=at(max(times)) if times else None,
        examples=shown,
        not_found=few(selected.not_found, scope.shown_id),
        not_found_count=len(selected.not_found),
        facts=facts,
        remains=[
            *selected.remains,
            *(sentence.format(number=number) for sentence, number in said.items() if number),
        ],
        way_back=_way_back(scope, selected.change, options, days) if counted else None,
    )
    with recording(len(items) + len(erased)):
        if held:
            kept = [f"{hold.describe()}: {number:,}" for hold, number in held.items()]
            await in_thread(state.note_held, named(target, words=False), kept)
        await in_thread(state.check_room, owner, len(items) + len(erased))
    options = replace(options, reason=shown_name(covered(options.reason)))
    return Planned(target, options, selected, items, erased, len(counted), plan, owner, days, held.total())


async def sealed_copies(state: State) -> list[Fact]:
    """Name the copies, of whatever owner, that no server with these keys can read. Raises `StateUnusable`."""
    number = await in_thread(state.copies.unreadable)
    return [Fact(code=FactCode.COPIES_SEALED, number=number)] if number else []


def _age(item: Item) -> int:
    return item.created_at


def _held_fact(hold: Hold, number: int) -> Fact:
    return Fact(code=FactCode.ON_HOLD, number=number, names=[shown_name(hold.reason)], until=hold.ends_at)


def _about_holds(scope: Scope, held: Collection[Hold]) -> list[Fact]:
    """Return where the holds are set, and whom to ask. Callers of a shared server see only the file's name."""
    policy = scope.policy
    if not held or not policy.path:
        return []
    file = policy.path.name if scope.caller else str(policy.path)
    contacts = {contact: None for hold in held if (contact := hold.contact or policy.now().contact)}
    facts = [Fact(code=FactCode.HOLD_FILE, names=[shown_name(file, PATH_CHARS)])]
    if contacts:
        facts.append(Fact(code=FactCode.HOLD_CONTACT, names=list(map(shown_name, contacts))))
    return facts


def _way_back(scope: Scope, change: Change | None, options: Options, days: int) -> WayBack:
    if options.erase:
        return WayBack(state="erased")
    return WayBack(state=kept_form(scope, change), days=days) if days else WayBack(state="off")


def kept_form(scope: Scope, change: Change | None) -> WayBackState:
    """Return how much of an item its recovery copy restores."""
    if change:
        return "text"
    return "whole" if scope.exact else "words"


@contextmanager
def recording(number: int) -> Generator[None]:
    """Turn a full cap or an unusable state into a refusal."""
    try:
        with refusing(STATE_AWAY):
            yield
    except records.CapReached as error:
        wait = max(1, round(error.wait / 60 + 0.5))
        following = (
            f"There is room in {wait} min; do not retry before."
            if number <= error.limit
            else "Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP, or for expired "
            "requests the policy's cap."
        )
        raise CapReached(
            f"Nothing was deleted: the call would delete or change {number:,} requests, interactions or learnings, and "
            f"{error.limit:,} an hour are allowed ({error.room:,} left now).",
            following,
            never_fits=number > error.limit,
        ) from None


async def _learned(scope: Scope, sources: Mapping[str, Sources], options: Options) -> Learned | None:
    """A failure stops only a deletion that includes learnings."""
    try:
        return await find_learned(
            scope, sources, most_users=None if options.include_learnings else USERS_COUNTED
        )
    except ReflexioError:
        if options.include_learnings:
            raise
        return None


def _about_learnings(
    learned: Learned | None, target: Target, *, included: bool, found: bool
) -> dict[str, int]:
    """Return sentences about the learnings, each with its number. A sentence with 0 is not shown."""
    if learned is None:
        return {LEARNED_UNKNOWN: 1}
    requests = target.noun in ("request", "interaction")
    return {
        NOTHING_KNOWN if learned.learns else NOTHING_LEARNED: requests and found and not learned.count,
        LEARNINGS_STAY: 0 if included else learned.count,
        SHARED: sum(bool(one.others) for one in learned.linked.values()) if included and requests else 0,
        UNLINKED: learned.unlinked,
        USERS_LEFT: learned.users_left_out,
        SESSIONS_KEPT: learned.learns and requests,
    }


def _only_in_copies(selected: Selected, state: State, owner: Owner) -> list[Item]:
    """Return the items of a target that only recovery copies contain."""
    stored = {one.id for one in selected.items}
    found: dict[str, Item] = {}
    for copied in state.copies.read(owner, names=selected.copy_names):
        content = opened(copied)
        item = item_for(content)
        if item.id not in stored and selected.means(copied, content):
            found[item.id] = item
    return list(found.values())


def named(target: Target, *, words: bool = True) -> str:
    """Describe the target, with secrets redacted."""
    return shown_name(covered(target.name(words=words)))


async def examples(scope: Scope, items: Sequence[Item], openings: Mapping[str, str]) -> list[Example]:
    """Return examples of items. `openings` are their beginnings by id; secrets in them are redacted here."""

    def redacted() -> dict[str, str]:
        return {one: visible(in_brief(covered(text))) for one, text in openings.items()}

    words = await anyio.to_thread.run_sync(redacted) if openings else {}
    return [
        Example(
            id=scope.shown_id(one.id),
            user_id=scope.shown_id(one.user_id),
            created_at=at(one.created_at) if one.created_at else None,
            first_words=words.get(one.id, ""),
        )
        for one in items
    ]


class CodeMaker:
    """Makes and checks the codes of one scope.

    Args:
        key: secret bytes, equal in every process whose codes are accepted.
        scope: the backend, caller and user that codes are bound to.
        others: further accepted keys, while keys are being changed.
    """

    def __init__(self, key: bytes, scope: str, *others: bytes) -> None:
        self._keys = [hashlib.sha256(b"reflexio-mcp plan code\0" + one).digest() for one in (key, *others)]
        self.scope = scope

    def make(self, bound: str, *, now: float) -> str:
        """Return the code for a set: the time, and a seal of the time and the set."""
        time = f"{int(now):010d}"
        return f"{time}-{self._seal(self._keys[0], time, bound)}"

    def fingerprint(self, bound: str) -> str:
        """Return a fingerprint of a set. Nobody can compute it from guessed contents."""
        return self._seal(self._keys[0], "fingerprint", bound)

    def check(self, code: str, bound: str, *, now: float) -> bool:
        """Return whether a code was made for this set and is not too old. Compares in constant time."""
        match = _CODE.fullmatch(code.strip())
        if not match:
            return False
        time, seal = match.groups()
        fits = any(hmac.compare_digest(seal, self._seal(key, time, bound)) for key in self._keys)
        return fits and now - int(time) < CODE_SECONDS

    def _seal(self, key: bytes, *parts: str) -> str:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *parts))
        return base64.b32encode(digest.digest()[:10]).decode()
