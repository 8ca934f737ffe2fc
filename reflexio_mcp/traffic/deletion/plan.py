"""Plans deletions: what would be deleted, what was learned from it, and whether it can be undone.

A code confirms a plan in a second call. A secret key binds the code to the exact set and options, to the caller's scope
and to the time of the plan, so a code that somebody wrote into a conversation never fits. A code works once.
"""

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Final, Literal

import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import at, clip, shown_name, visible
from reflexio_mcp.results.deletion import Change, Example, Plan, WayBackState, few, parts, way_back
from reflexio_mcp.state import records
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import add_texts, in_brief
from reflexio_mcp.traffic.deletion.items import (
    Item,
    copied_item,
    counts_of,
    learning_item,
    names_of,
    sources_of,
)
from reflexio_mcp.traffic.deletion.targets import EXAMPLES, Correction, Filtered, Selected, Target, User
from reflexio_mcp.traffic.errors import CapReached, refusing
from reflexio_mcp.traffic.learnings.find import Learned, find_learned
from reflexio_mcp.traffic.learnings.records import Sources
from reflexio_mcp.traffic.reading.filters import UNSEEN, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Policy, Scope

__all__ = [
    "CODE_SECONDS",
    "CodeMaker",
    "Misfit",
    "Options",
    "Planned",
    "examples",
    "kept_form",
    "make_plan",
    "named",
    "over_the_cap",
]

CODE_SECONDS: Final = 86_400

Misfit = Literal["unknown", "old", "other"]
"""Why a code is refused: another server or scope made it, it is too old, or it is for another set."""

_CODE = re.compile(r"(\d{10})-([A-Z2-7]{8})([A-Z2-7]{16})")

USERS_COUNTED: Final = 50
"""Maximum number of users whose learnings are counted if a plan keeps the learnings."""

TEXT_CHARS: Final = 2_000

NOT_COUNTED: Final = (
    "Nothing was deleted: what is deleted in an hour cannot be counted ({why}). Ask the operator to {advice}."
)
COPIES_AWAY: Final = (
    "Nothing was deleted: recovery copies cannot be read now ({why}). Ask the operator to {advice}."
)
UNREADABLE: Final = (
    "Reflexio fails to return {number:,} of these requests. What they contain is not known, and no recovery copy can "
    "contain them, so deleting them needs erase=true."
)
IN_COPIES: Final = (
    "Recovery copies still contain what is not stored any more ({number:,}). A restore without a number lists it, and "
    "erase=true erases it."
)
ALL_OF_REQUEST: Final = (
    "Every recovery copy of this request is erased, also of interactions that stay stored."
)
PREFER_ERASE: Final = (
    "To be rid of {what} for good, pass erase=true: otherwise the recovery copy keeps it for {days} days."
)
LEARNED_UNKNOWN: Final = "What was learned from it could not be read."
NOTHING_LEARNED: Final = "Nothing was learned from it."
NOTHING_KNOWN: Final = "No learning is known to come from it."
LEARNINGS_STAY: Final = "What was learned from it stays ({number:,}); include_learnings=true deletes it too."
SHARED: Final = (
    "{number:,} of the learnings came from other interactions too, and can be learned again from those."
)
UNLINKED: Final = "{number:,} learnings of these users do not say what they were learned from; they stay."
USERS_LEFT: Final = "The learnings of {number:,} further users were not looked at."
HELD: Final = "A hold of the operator keeps {number:,} of these items ({why})."
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
        items: everything to delete, the newest first, and then the learnings from it.
        size: number of items; learnings count only if there is nothing else.
        days: how long the recovery copy is kept; 0 for none.
        stays: sentences about what is not deleted.
        held: number of items that a hold keeps. They are not among the items.
    """

    target: Target
    options: Options
    selected: Selected
    items: Sequence[Item]
    size: int
    plan: Plan
    owner: Owner
    days: int
    stays: Sequence[str]
    held: int = 0

    @property
    def stored(self) -> list[Item]:
        """The stored requests and interactions in order of arrival, in which a restore gives them new times."""
        stored = [one for one in self.items if one.request_id and not one.only_in_copies]
        return sorted(stored, key=lambda one: (one.created_at, one.interaction_ids))

    @property
    def learnings(self) -> list[str]:
        return [one.id for one in self.items if one.is_learning and not one.only_in_copies]

    @property
    def takes_learnings(self) -> bool:
        return self.options.include_learnings or self.target.noun == "learning"

    @property
    def users(self) -> int:
        return len({one.user_id for one in self.items})

    @cached_property
    def bound(self) -> str:
        """The content that a code is bound to: the options, and all items with their digests."""
        digests = sorted(f"{one.kind}\0{one.id}\0{one.digest}\0{one.only_in_copies}" for one in self.items)
        text = "\0\0".join([f"{self.target.noun} {self.options}", self.target.text, *digests])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    async def learned_now(self, scope: Scope) -> Learned:
        """Read the current learnings from the items. Learnings of the plan stay included."""
        if isinstance(self.target, User):
            return await self.target.learned(scope)
        before = self.selected.learned
        return await find_learned(scope, self.selected.sources, before=before.fed if before else None)


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
    held = Counter[str]()
    free = partial(_free, policy=scope.policy.now(), held=held, whole=isinstance(target, User))
    selected.items = free(selected.items)
    takes_taught = options.include_learnings and target.noun == "request"
    copied: list[Item] = []
    if options.erase or takes_taught or selected.not_found or not selected.items:
        with refusing(COPIES_AWAY):
            copied = free(await in_thread(_only_in_copies, target, selected, state, owner))
    if selected.learned is None:
        # Copies name the sources of learnings that an unfinished deletion has left.
        selected.sources = sources_of([*selected.items, *(copied if takes_taught else ())])
        selected.learned = await _learned(scope, selected.sources, options)
    learned = selected.learned
    taught = free(list(map(learning_item, learned.learnings))) if learned and takes_taught else []
    stays = [*selected.remains, *_about_learnings(learned, options, target, found=bool(selected.items))]
    remains = stays.copy()
    if unreadable := sum(one.unreadable for one in selected.items):
        remains.append(UNREADABLE.format(number=unreadable))
    if options.erase:
        selected.items += copied
        found, kind = {name for one in copied for name in names_of(one)}, target.noun[0]
        selected.not_found = [one for one in selected.not_found if f"{kind}:{one}" not in found]
        remains += [ALL_OF_REQUEST] * (target.noun == "interaction")
    elif copied:
        remains.append(IN_COPIES.format(number=len(copied)))
    kept = [HELD.format(number=number, why=why) for why, number in held.items()]
    stays += kept
    remains += kept
    if kept:
        with refusing(NOT_COUNTED):
            await in_thread(state.note_held, target.name(words=False), kept)
    days = 0 if options.erase else state.copies.days
    items = sorted(selected.items, key=lambda one: one.created_at, reverse=True)
    size = len(items) or len(taught)
    wanted = target.wanted if isinstance(target, Filtered) else TrafficFilter()
    # Planted words address the assistant that reads the plan.
    hidden = scope.masked or wanted.finding == UNSEEN
    change = await _change(target, selected, masked=scope.masked)
    if change:
        selected.openings = {}
    first = [one for one in items if one.id in selected.openings] or items[:EXAMPLES]
    shown = await examples(scope, first, {} if hidden else selected.openings)
    if len({one.user_id for one in items}) == 1:
        shown = [one.model_copy(update={"user_id": ""}) for one in shown]
    secret = "secret" in wanted.finding or any("[redacted" in one.first_words for one in shown)
    if days and items and (secret or (wanted.user_id and not wanted.narrows)):
        remains.append(PREFER_ERASE.format(what="a secret" if secret else "a person's data", days=days))
    items += taught
    times = [one.created_at for one in items[:size] if one.created_at]
    plan = Plan(
        why="",
        target=named(target),
        goes=counts_of(items),
        change=change,
        users=parts((one.user_id for one in items[:size]), scope.shown_id),
        sessions=parts((one.session_id for one in items[:size] if one.session_id), scope.shown_id),
        first=at(min(times)) if times else None,
        last=at(max(times)) if times else None,
        examples=shown,
        not_found=few(selected.not_found, scope.shown_id),
        not_found_count=len(selected.not_found),
        remains=remains,
        way_back=way_back(
            "erased" if options.erase else kept_form(scope, change) if days else "off",
            kept=f"for {days:,} day{'s' * (days != 1)}",
        )
        if items
        else None,
    )
    try:
        with refusing(NOT_COUNTED):
            await in_thread(state.check_room, owner, len(items))
    except records.CapReached as error:
        raise over_the_cap(len(items), error) from None
    options = replace(options, reason=_shown(options.reason))
    return Planned(target, options, selected, items, size, plan, owner, days, stays, held.total())


def kept_form(scope: Scope, change: Change | None) -> WayBackState:
    """Return how much of an item its recovery copy restores."""
    if change:
        return "text"
    return "whole" if scope.exact else "words"


def over_the_cap(number: int, error: records.CapReached) -> CapReached:
    wait = max(1, round(error.wait / 60 + 0.5))
    following = (
        f"There is room for it in {wait} min; do not retry before."
        if number <= error.limit
        else "Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP (the policy's cap for "
        "expired requests)."
    )
    return CapReached(
        f"Nothing was deleted: this would delete or change {number:,} requests, interactions or learnings, and "
        f"{error.limit:,} an hour are allowed ({error.room:,} left now). {following}"
    )


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


def _about_learnings(learned: Learned | None, options: Options, target: Target, *, found: bool) -> list[str]:
    if learned is None:
        return [LEARNED_UNKNOWN]
    if isinstance(target, User):
        return []
    if not learned.learns:
        return [NOTHING_LEARNED] * found
    goes, others = options.include_learnings, target.noun != "learning"
    taught = goes and others
    said = {
        NOTHING_KNOWN: found and others and not learned.count,
        LEARNINGS_STAY: 0 if goes else learned.count,
        SHARED: sum(bool(one.others) for one in learned.fed.values()) if taught else 0,
        UNLINKED: learned.unlinked,
        USERS_LEFT: learned.users_left_out,
    }
    sentences = [sentence.format(number=number) for sentence, number in said.items() if number]
    return sentences + [SESSIONS_KEPT] * (target.noun == "request")


def _free(items: Sequence[Item], policy: Policy, held: Counter[str], *, whole: bool) -> list[Item]:
    """Return what no hold keeps, and count what is kept, by its reason.

    Args:
        whole: one call of the API deletes everything, so a hold on a part keeps all of it.
    """
    free: list[Item] = []
    for one in items:
        if hold := one.held_by(policy):
            held[hold.describe()] += 1
        else:
            free.append(one)
    return [] if whole and held else free


async def _change(target: Target, selected: Selected, *, masked: bool) -> Change | None:
    if not isinstance(target, Correction) or not selected.items:
        return None

    def redacted() -> Change:
        from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

        texts = (selected.openings[selected.items[0].id], target.text)
        before, after = (
            f"({len(text):,} characters)" if masked else clip(redact(text), TEXT_CHARS) for text in texts
        )
        return Change(before=before, after=after)

    return await anyio.to_thread.run_sync(redacted)


def _only_in_copies(target: Target, selected: Selected, state: State, owner: Owner) -> list[Item]:
    """Return the items of a target that only recovery copies contain."""
    copies = state.copies.read(owner, names=target.copy_names())
    stored = {one.id for one in selected.items}
    held = [copied_item(one) for one in copies if target.means(one, selected)]
    return list({one.id: one for one in held if one.id not in stored}.values())


def named(target: Target, *, words: bool = True) -> str:
    """Describe the target, with secrets redacted."""
    return _shown(target.name(words=words))


def _shown(text: str) -> str:
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    return shown_name(redact(text))


async def examples(scope: Scope, items: Sequence[Item], openings: Mapping[str, str]) -> list[Example]:
    """Return examples of items. `openings` are their beginnings by id; secrets in them are redacted here."""

    def redacted() -> dict[str, str]:
        from reflexio_mcp.traffic.audit.rules.redaction import redact

        return {one: visible(in_brief(redact(text))) for one, text in openings.items()}

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
        """Return the code for a set: the time, a seal of the time, and a seal of the time and the set."""
        time, key = f"{int(now):010d}", self._keys[0]
        return f"{time}-{self._seal(key, time)[:8]}{self._seal(key, time, bound)}"

    def fingerprint(self, bound: str) -> str:
        """Return a fingerprint of a set. Nobody can compute it from guessed contents."""
        return self._seal(self._keys[0], "fingerprint", bound)

    def check(self, code: str, bound: str, *, now: float) -> Misfit | None:
        """Return why a code is refused for this set, or `None`. Compares in constant time."""
        if match := _CODE.fullmatch(code.strip()):
            time, ours, seal = match.groups()
            for key in self._keys:
                if hmac.compare_digest(ours, self._seal(key, time)[:8]):
                    fits = hmac.compare_digest(seal, self._seal(key, time, bound))
                    return "old" if now - int(time) >= CODE_SECONDS else None if fits else "other"
        return "unknown"

    def _seal(self, key: bytes, *parts: str) -> str:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *parts))
        return base64.b32encode(digest.digest()[:10]).decode()
