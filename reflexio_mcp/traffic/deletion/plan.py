"""Plans deletions: the items, the learnings from them, and whether the deletion can be undone.

A code confirms a plan once, in a second call. A secret key binds the code to the set, the options, the caller's scope
and the time of the plan. An invented code never fits.
"""

import base64
import hashlib
import hmac
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at, shown_name, visible
from reflexio_mcp.results.deletion import (
    Change,
    Example,
    Plan,
    SharedRuleRow,
    WayBack,
    WayBackState,
    few,
    parts,
)
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress
from reflexio_mcp.state import records
from reflexio_mcp.state.records import CopyNote, Deletion, Erasure, Name, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import add_texts, in_brief
from reflexio_mcp.traffic.deletion.erasures import Naming, notes_of_copies
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    Content,
    Item,
    content_item,
    content_of,
    copy_of_learning,
    counts_of,
    interactions_said,
    item_of,
    learning_item,
    names_of,
    said_by,
    said_digest,
    sources_named,
    sources_of,
)
from reflexio_mcp.traffic.deletion.plan_facts import (
    facts_about_copies,
    facts_about_holds,
    facts_about_learnings,
)
from reflexio_mcp.traffic.deletion.plan_learnings import (
    case_of,
    earlier_rows,
    facts_about_cases,
    facts_about_words,
    learning_rows,
)
from reflexio_mcp.traffic.deletion.targets import (
    EXAMPLES,
    Correction,
    Filtered,
    Requests,
    Selected,
    Target,
    User,
    redacted,
)
from reflexio_mcp.traffic.errors import CapReached, needing_state
from reflexio_mcp.traffic.learnings.evidence import Turn
from reflexio_mcp.traffic.learnings.find import Learned, learnings_of_user, may_come_from, turns_of
from reflexio_mcp.traffic.learnings.find_and_judge import judge_learned
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.shared import SharedRule, rule_rows
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.reading.filters import INJECTIONS, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["CodeMaker", "Options", "Planned", "describe_target", "make_plan", "skipped_copies"]

CODE_SECONDS: Final = 86_400

_CODE = re.compile(r"(\d{10})-([A-Z2-7]{16})")

RULES_SHOWN: Final = 20
"""Maximum number of shared rules that a plan shows."""

USERS_COUNTED: Final = 50
"""Maximum number of users whose learnings are counted if a plan keeps the learnings."""


@dataclass(frozen=True)
class Options:
    """Options of a deletion. `reason` is only recorded, so a code is not bound to it.

    Args:
        learning_ids: learnings that go with the requests whatever they came from.
    """

    include_learnings: bool = False
    erase: bool = False
    reason: str = field(default="", repr=False)
    learning_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """A deletion that could be carried out.

    Args:
        items: stored items to delete, the newest first, and then the learnings from them.
        copied: items that only recovery copies contain, and that are erased there.
        size: number of items that a person counts (`_Chosen.counted`).
        days: how long the recovery copy is kept; 0 for no copy.
        held: number of items that a hold keeps. They are not among the items.
        requests_stay: ids of stored requests that recovery copies contain too and that are not among the items.
        at_line: the number of the last log line before an erasure looked up what is stored; 0 if this is no erasure.
        newest_copy: the number of the newest recovery copy at that time.
        copy_notes: what an erasure names of the copies. When it begins, that may be stored again, and the copies may be
            gone.
        unopened: number of copies that an erasure could not open: their rows were changed, or their key is missing.
        left_to_erase: the names of what the last call of this erasure was to erase, by user, if it did not finish.
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
    requests_stay: Sequence[str] = ()
    at_line: int = 0
    newest_copy: int = 0
    copy_notes: Sequence[CopyNote] = ()
    unopened: int = 0
    left_to_erase: Mapping[str, Sequence[Name]] = field(default_factory=dict[str, Sequence[Name]])

    @property
    def erases(self) -> dict[str, list[Name]]:
        """The names of what an erasure erases, by user, with what an earlier call of it has left."""
        names = defaultdict[str, dict[Name, None]](dict)
        for user_id, left in self.left_to_erase.items():
            names[user_id] |= dict.fromkeys(left)
        for item in (*self.items, *self.copied):
            names[item.user_id] |= dict.fromkeys(names_of(item))
        return {user_id: list(of_user) for user_id, of_user in names.items()}

    @property
    def _erased_names(self) -> list[Name]:
        """The names of the copies that an erasure removes. A copy of what a hold keeps stays."""
        if self.held:
            return [name for item in (*self.items, *self.copied) for name in names_of(item)]
        names = [name for of_user in self.erases.values() for name in of_user]
        return [*names, *self.target.every_copy_of]

    def erasure(self) -> Erasure:
        """Return what an erasure removes of the recovery copies, for one reading of them."""
        users = {item.user_id for item in (*self.items, *self.copied)} | self.left_to_erase.keys()
        if self.target.only_user:
            users.add(self.target.only_user)
        return Erasure(
            names=self._erased_names,
            newest_copy=self.newest_copy,
            means=self.naming().meant,
            # Empty means everybody: of a request that cannot be read, the user may not be known.
            users=() if "" in users else users,
            learnings=[
                copy_of_learning(item.learning) for item in (*self.items, *self.copied) if item.learning
            ],
        )

    def naming(self) -> Naming:
        """Return what an erasure names. It remembers the copies that it was given, so each reading needs a new one."""
        selected, learned = self.selected, self.selected.learned or Learned()
        read = {learning.learning_id: learning for learning in (*learned.read, *learned.learnings)}
        return Naming(
            user_id=self.target.wanted.user_id if isinstance(self.target, User) else "",
            items=[*self.items, *self.copied],
            request_id=selected.interactions.request_id if selected.interactions else "",
            interactions=frozenset(selected.interactions.ids if selected.interactions else ()),
            others_say=selected.others_say,
            of_learnings=self.target.noun == "learning",
            takes_learnings=self.takes_learnings,
            requests_stay=self.requests_stay,
            learnings_stay={
                learning_id: learning
                for learning_id, learning in read.items()
                if learning_id not in self.learnings
            },
            corrected=next(iter(self.learnings), "") if isinstance(self.target, Correction) else "",
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete.

        Without items to count, there can still be something to do. Of a whole user, something may be stored that no
        call returns. A copy that nobody can open may contain what an erasure names, so the names are recorded. An
        earlier call of this erasure may have to be finished.
        """
        if self.size or self.selected.owed:
            return False
        if self.held:
            return True
        may_be_in_copies = self.unopened > 0 and bool(self.target.every_copy_of)
        return not (may_be_in_copies or self.left_to_erase or isinstance(self.target, User))

    @property
    def stored(self) -> list[Item]:
        """The stored requests and interactions in order of arrival, which is the order of a restore."""
        stored = [item for item in self.items if item.request_id]
        return sorted(stored, key=lambda item: (item.created_at, item.interaction_ids))

    @property
    def learnings(self) -> list[str]:
        return [item.id for item in self.items if item.is_learning]

    @property
    def comes_back(self) -> list[Learning]:
        """The replaced learnings that become current again."""
        learned = self.selected.learned if self.takes_learnings else None
        back = learned.current_again_after(self.learnings) if learned else {}
        return [*back.values(), *self.selected.owed.values()]

    @property
    def _bound_learnings(self) -> dict[str, str]:
        """What a code is bound to of each learning with a case, by id: text, case, whether it goes, what comes back."""
        learned = self.selected.learned or Learned()
        going = {item.id for item in self.items}
        return {
            learning_id: f"{linked.learning.digest} {case_of(linked)} {learning_id in going} "
            + " ".join(earlier.digest for earlier in linked.earlier)
            for learning_id, linked in learned.linked.items()
            if linked.case
        }

    @property
    def takes_learnings(self) -> bool:
        return self.options.include_learnings or self.target.noun == "learning"

    @cached_property
    def bound(self) -> str:
        """The content that a code is bound to: what is done, the options, all items, and the learnings.

        Reflexio gives a playbook another id whenever it is learned again, so what a learning says is bound, not its id.
        """
        learnings = self._bound_learnings if self.takes_learnings else {}
        items = [item for item in (*self.items, *self.copied) if item.id not in learnings]
        options = f"{self.selected.decision or 'delete'} {self.target.noun} {self.options} {len(items)}"
        digests = sorted(f"{item.kind}\0{item.id}\0{item.digest}" for item in items)
        owed = sorted(learning.digest for learning in self.selected.owed.values())
        text = "\0\0".join([options, self.target.text, *digests, *sorted(set(learnings.values())), *owed])
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
    with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
        at_line = newest_copy = 0
        if options.erase:
            at_line = await in_thread(state.last_line_number)
            newest_copy = await in_thread(state.copies.newest)
        if isinstance(target, Filtered) and target.finding:
            target = replace(target, judged=await in_thread(state.judgements.of, owner))
    selected = await target.select(scope, progress)
    takes_learnings = options.include_learnings or target.noun == "learning"
    last: Deletion | None = None
    if options.erase or takes_learnings:
        with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
            last = await in_thread(state.last_unfinished, owner, call_of(target, options, owner))
    left_to_erase: Mapping[str, Sequence[Name]] = last.erases if last and options.erase else {}
    if isinstance(target, Filtered):
        left_to_erase = await _left_of_selection(scope, selected, left_to_erase)
    chosen = await _choose(scope, target, options, selected, state, owner, left_to_erase)
    erased_ids = {item.id for item in chosen.erased}
    if target.noun == "interaction":  # what is erased is the copy of the whole request
        erased_ids = {str(number) for item in chosen.erased for number in item.interaction_ids}
    selected.not_found = [item_id for item_id in selected.not_found if item_id not in erased_ids]
    requests_stay = [] if isinstance(target, User) else await _restored_before(scope, target, chosen)
    if stay := [*requests_stay, *_playbooks_restored_before(selected, chosen)]:
        names = few(stay, scope.shown_id)
        selected.facts.append(Fact(code=FactCode.RESTORED_BEFORE, number=len(stay), names=names))
    days = state.copies.days if target.restorable and not options.erase else 0
    skipped: list[Fact] = []
    if options.erase:
        with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
            skipped = await skipped_copies(state, damaged=chosen.damaged)
    if last and takes_learnings:
        selected.owed = await _owed(scope, selected, last)
    plan = await _describe(scope, target, options, selected, chosen, days)
    if skipped:  # then no plan can promise that no copy is left
        plan = plan.model_copy(update={"facts": [*plan.facts, *skipped], "way_back": WayBack(state="off")})
    with within_cap(chosen.number):
        if chosen.held:
            kept = [f"{hold.describe()}: {number:,}" for hold, number in chosen.held.items()]
            number = chosen.held.total()
            await in_thread(state.note_held, owner, describe_target(target, words=False), kept, number)
        await in_thread(state.check_room, owner, chosen.number)
    planned = Planned(
        target=target,
        options=replace(options, reason=shown_name(redacted(options.reason))),
        selected=selected,
        items=[*chosen.stored, *chosen.learnings],
        copied=chosen.erased,
        size=len(chosen.counted),
        plan=plan,
        owner=owner,
        days=days,
        held=chosen.held.total(),
        requests_stay=requests_stay,
        at_line=at_line,
        newest_copy=newest_copy,
        unopened=sum(fact.number or 0 for fact in skipped),
        left_to_erase=left_to_erase,
    )
    if not options.erase:
        return planned
    with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
        return replace(planned, copy_notes=await in_thread(notes_of_copies, state, owner, planned.erasure()))


class _HoldFilter:
    """Leaves out items that a hold keeps, and counts them by hold."""

    def __init__(self, scope: Scope, state: State, owner: Owner) -> None:
        self._scope = scope
        self._state = state
        self._owner = owner
        self.held = Counter[Hold]()

    async def not_held(self, items: Sequence[Item]) -> list[Item]:
        holds = await holds_on(self._scope, items, self._state, self._owner)
        self.held.update(holds.values())
        return [item for item in items if item.id not in holds]


@dataclass(frozen=True)
class _Chosen:
    """What of a selection goes.

    Args:
        stored: stored items, the newest first.
        learnings: the learnings from them that go too.
        copied: items that only recovery copies contain.
        erased: those of `copied` that are erased.
        alike: copied interactions that say what erased ones say, as the requests that an undo makes of them.
        said: the `said_digest` of each copied request, and of each of `alike`, by id.
        damaged: how many copies could not be opened, because their rows were changed.
        held: how many items each hold keeps.
    """

    stored: Sequence[Item]
    learnings: Sequence[Item]
    copied: Sequence[Item]
    erased: Sequence[Item]
    alike: Sequence[Item]
    said: Mapping[str, str]
    damaged: int
    held: Counter[Hold]

    @property
    def counted(self) -> Sequence[Item]:
        """The items that a person counts, the newest first; learnings only if there is nothing else."""
        return sorted([*self.stored, *self.erased], key=_created_at, reverse=True) or self.learnings

    @property
    def number(self) -> int:
        """How many items the hourly cap counts."""
        return len(self.stored) + len(self.learnings) + len(self.erased)


async def _choose(
    scope: Scope,
    target: Target,
    options: Options,
    selected: Selected,
    state: State,
    owner: Owner,
    left_to_erase: Mapping[str, Sequence[Name]],
) -> _Chosen:
    """Find what goes, without what holds keep. The learnings are noted in `selected`.

    Args:
        left_to_erase: the names of what an unfinished call of this erasure was to erase, by user.
    """
    hold_filter = _HoldFilter(scope, state, owner)
    stored = sorted(await hold_filter.not_held(selected.items), key=_created_at, reverse=True)
    # A target that selects learnings has read them. For any other, what its requests taught is read here.
    takes_taught = options.include_learnings and selected.learned is None
    lacks_items = bool(selected.not_found) or not stored  # then copies may have what is missing
    copied: list[Item] = []
    copied_requests: list[RequestWithInteractions] = []
    damaged = 0
    if options.erase or takes_taught or lacks_items:
        with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
            only_copied, damaged = await in_thread(
                _only_in_copies, selected, state, owner, options, left_to_erase
            )
        copied = await hold_filter.not_held(list(map(content_item, only_copied)))
        copied_requests = [content for content in only_copied if isinstance(content, RequestWithInteractions)]
    if isinstance(target, User):
        if not hold_filter.held and (hold := target.hold(scope, selected)):
            hold_filter.held[hold] += 1
        if hold_filter.held:  # one call deletes everything of a user, and every copy
            stored, copied = [], []
    if selected.learned is None:
        # An unfinished deletion may have left learnings of requests that only copies contain by now.
        selected.sources = sources_of([*stored, *copied] if takes_taught else stored)
        selected.named_learnings = frozenset(options.learning_ids) if takes_taught else frozenset()
        if takes_taught and left_to_erase and scope.learns:
            await _take_unfinished(scope, selected, left_to_erase)
        selected.learned = await _learned(scope, selected, options, copied_requests)
    if left_to_erase and selected.learned:  # a learning that is stored is planned as such, not as a copy
        read = {learning.learning_id for learning in selected.learned.read}
        copied = [item for item in copied if item.id not in read]
    names_requests = target.noun != "learning" and not isinstance(target, User)
    if options.erase and names_requests and (stored or copied):
        known = {item.id for item in copied}
        unlisted = await _copied_learnings(scope, selected, [*stored, *copied], state, owner)
        unlisted += await in_thread(_learnings_led_to, selected, [*stored, *copied], state, owner)
        new = {item.id: item for item in unlisted if item.id not in known}
        copied += await hold_filter.not_held(list(new.values()))
    taught: list[Item] = []
    if selected.learned and takes_taught:
        taught = await hold_filter.not_held(list(map(learning_item, selected.learned.going)))
        selected.not_found += [
            learning_id for learning_id in options.learning_ids if learning_id not in selected.learned.linked
        ]
    alike: list[RequestWithInteractions] = []
    if options.erase and not isinstance(target, User):
        alike = await in_thread(_interactions_alike, selected, [*stored, *copied], state, owner)
    said = {request.request.request_id: said_digest(request) for request in (*copied_requests, *alike)}
    return _Chosen(
        stored=stored,
        learnings=taught,
        copied=copied,
        erased=copied if options.erase else [],
        alike=list(map(item_of, alike)),
        said=said,
        damaged=damaged,
        held=hold_filter.held,
    )


async def _left_of_selection(
    scope: Scope, selected: Selected, left_to_erase: Mapping[str, Sequence[Name]]
) -> Mapping[str, Sequence[Name]]:
    """Leave out, of what an unfinished erasure has left, the stored requests that the same filter does not select now.

    What a filter selects can change: a retention is prolonged, or somebody finds that a finding is no problem. If such
    requests stay, so do the learnings that were to go because of them. Learnings from requests that are gone are found
    by their sources, so all names of learnings are left out then.
    """
    chosen = {item.request_id for item in selected.items}
    names = {name for of_user in left_to_erase.values() for name in of_user}
    ids = sorted(name.id for name in names if name.kind == "request" and name.id not in chosen)
    stays = set[Name]()

    async def take(requests: list[RequestWithInteractions]) -> None:
        for stored in requests:
            if stored.request.user_id in left_to_erase:
                stays.update(names_of(item_of(stored)))

    await read_set(scope, ids, take, filters=[TrafficFilter(user_id) for user_id in left_to_erase])
    if not stays:
        return left_to_erase
    left = {
        user_id: [name for name in of_user if name.kind in ("request", "interaction") and name not in stays]
        for user_id, of_user in left_to_erase.items()
    }
    return {user_id: of_user for user_id, of_user in left.items() if of_user}


async def _take_unfinished(
    scope: Scope, selected: Selected, left_to_erase: Mapping[str, Sequence[Name]]
) -> None:
    """Select what an unfinished call of an erasure has left of the learnings that it was to delete."""
    sources = dict(selected.sources)
    for user_id, names in left_to_erase.items():
        left, erased = sources_named(names), frozenset(names)
        sources[user_id] = sources[user_id].united(left) if user_id in sources else left
        selected.named_learnings |= {
            learning.learning_id
            for learning in await learnings_of_user(scope, user_id)
            if erased.issuperset(names_of(learning_item(learning)))
        }
    selected.sources = sources


async def _owed(scope: Scope, selected: Selected, last: Deletion) -> dict[str, Learning]:
    """Return the replaced learnings that the last call of this deletion should have made current again, and has not."""
    going = {learning.learning_id for learning in selected.learned.going} if selected.learned else set[str]()
    owed: dict[str, Learning] = {}
    for user_id in {user_id for _, user_id in last.back if scope.covers(user_id)}:
        ids = {learning_id for learning_id, of_user in last.back if of_user == user_id} - going
        stored = await learnings_of_user(scope, user_id)
        lineage = Lineage(stored)
        in_use = [learning for learning in stored if learning.state == "current"]
        for learning in stored:
            if learning.learning_id not in ids or not learning.is_replaced:
                continue
            successors = lineage.current_successors(learning)
            successors_go = going.issuperset(later.learning_id for later in successors)
            is_back = any(other.is_same_as(learning) for other in in_use)  # perhaps under another id
            if successors_go and not is_back:
                owed[learning.learning_id] = learning
    back = selected.learned.current_again_after(going) if selected.learned else {}
    return {learning_id: learning for learning_id, learning in owed.items() if learning_id not in back}


async def _describe(
    scope: Scope, target: Target, options: Options, selected: Selected, chosen: _Chosen, days: int
) -> Plan:
    """Make the plan that a caller reads. `days` is how long a recovery copy will be kept."""
    counted = chosen.counted
    times = [item.created_at for item in counted if item.created_at]
    # Planted words address the assistant that reads the plan, so passages have dots for blanks.
    planted = isinstance(target, Filtered) and target.wanted.finding in INJECTIONS
    shown = [item for item in counted if item.id in selected.openings] or counted[:EXAMPLES]
    going = {item.id for item in (*chosen.stored, *chosen.learnings) if item.is_learning}
    held_unread = sum(item.unreadable for item in selected.items) - sum(
        item.unreadable for item in chosen.stored
    )
    by_requests = target.noun in ("request", "interaction")
    whole_user = isinstance(target, User)  # no other request of the user is left
    inside = {interaction_id for item in chosen.stored for interaction_id in item.interaction_ids}
    # The change of a correction shows its learning already.
    tells_of_learnings = (going or options.include_learnings) and not target.text
    taught = selected.learned if tells_of_learnings else None
    changes_rules = selected.decision in ("approve", "reject")
    has_way_back = counted and not changes_rules  # another decision undoes these
    return Plan(
        target=describe_target(target),
        selected=counts_of([*chosen.stored, *chosen.learnings], chosen.erased),
        corrects=bool(target.text) or changes_rules,
        change=selected.change,
        decision=selected.decision,
        users=parts((item.user_id for item in counted if item.kind != "agent_playbook"), scope.shown_id),
        sessions=parts((item.session_id for item in counted if item.session_id), scope.shown_id),
        first=at(min(times)) if times else None,
        last=at(max(times)) if times else None,
        examples=await examples(scope, shown, {} if scope.masked else selected.openings, whole=planted),
        earlier=await anyio.to_thread.run_sync(earlier_rows, scope, list(selected.owed.values())),
        learnings=await learning_rows(scope, taught, going, with_texts=not planted) if taught else [],
        shared_rules=await rules_shown(scope, selected.rules),
        not_found=few(selected.not_found, scope.shown_id),
        not_found_count=len(selected.not_found),
        facts=[
            *selected.facts,
            *([Fact(code=FactCode.LEARNINGS_OWED, number=len(selected.owed))] if selected.owed else []),
            *facts_about_learnings(
                selected.learned,
                by_requests=by_requests,
                included=options.include_learnings,
                found=bool(chosen.stored),
            ),
            *(facts_about_cases(scope, taught, going, erases=options.erase) if taught else []),
            *(await facts_about_words(scope, taught, going, inside) if taught and not whole_user else []),
            *facts_about_copies(
                chosen.stored,
                len(chosen.copied) - len(chosen.erased),
                erases=options.erase,
                of_interactions=target.noun == "interaction",
            ),
            *facts_about_holds(scope, chosen.held, held_unread),
        ],
        way_back=_way_back(scope, selected.change, options, days) if has_way_back else None,
    )


SKIPPED_COPIES: Final = frozenset((FactCode.COPIES_SEALED, FactCode.COPIES_DAMAGED))


async def skipped_copies(state: State, deletion: int = 0, *, damaged: int | None = None) -> list[Fact]:
    """Name copies that are left out. Raises `StateUnusable`.

    Copies of every owner are counted: nobody can see whose they are.

    Args:
        deletion: name copies of this deletion alone; 0 for those of every deletion.
        damaged: number of copies whose rows were changed; `None` to count them here.
    """
    sealed = await in_thread(state.copies.count_unreadable, deletion)
    if damaged is None:
        damaged = await in_thread(state.copies.count_changed, deletion)
    counts = {FactCode.COPIES_SEALED: sealed, FactCode.COPIES_DAMAGED: damaged}
    return [Fact(code=code, number=number) for code, number in counts.items() if number]


async def rules_shown(scope: Scope, rules: Sequence[SharedRule]) -> list[SharedRuleRow]:
    if not rules:
        return []
    return await anyio.to_thread.run_sync(list, rule_rows(scope, rules[:RULES_SHOWN]))


def _created_at(item: Item) -> int:
    return item.created_at


def _way_back(scope: Scope, change: Change | None, options: Options, days: int) -> WayBack:
    if options.erase:
        return WayBack(state="erased")
    return WayBack(state=kept_form(scope, change), days=days) if days else WayBack(state="off")


def kept_form(scope: Scope, change: Change | None) -> WayBackState:
    """Return how much of an item its recovery copy restores."""
    if change:
        return "text"
    return "whole" if scope.embedded else "words"


@contextmanager
def within_cap(number: int) -> Generator[None]:
    """Refuse the deletion if the cap has no room for it, or if the state cannot be used.

    Args:
        number: how many items the cap counts.
    """
    try:
        with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
            yield
    except records.CapReached as error:
        advice = Fact(code=FactCode.DELETE_LESS)
        if number <= error.limit:
            advice = Fact(code=FactCode.ROOM_IN_MINUTES, number=max(1, math.ceil(error.wait / 60)))
        raise CapReached(
            Fact(code=FactCode.NOTHING_DELETED),
            Fact(code=FactCode.OVER_THE_CAP, number=number),
            Fact(code=FactCode.CAP, number=error.limit),
            Fact(code=FactCode.ROOM_LEFT, number=error.room),
            advice,
        ) from None


async def _learned(
    scope: Scope, selected: Selected, options: Options, copied: Sequence[RequestWithInteractions]
) -> Learned | None:
    """Return what was learned from the selection; `None` if it cannot be read, unless the learnings are deleted, too.

    Args:
        copied: selected requests that only recovery copies contain.
    """
    try:
        return await judge_learned(
            scope,
            selected.sources,
            before=Learned(
                inside={
                    user: turns_of(item for item in copied if item.request.user_id == user)
                    for user in selected.sources
                }
            ),
            named=selected.named_learnings,
            most_users=None if options.include_learnings else USERS_COUNTED,
        )
    except ReflexioError:
        if options.include_learnings:
            raise
        return None


def _only_in_copies(
    selected: Selected,
    state: State,
    owner: Owner,
    options: Options,
    left_to_erase: Mapping[str, Sequence[Name]],
) -> tuple[list[Content], int]:
    """Return what of a target only recovery copies contain, and how many of the copies cannot be opened.

    Args:
        left_to_erase: the names of what an unfinished call of this erasure was to erase, by user.
    """
    stored = {item.id for item in selected.items}
    found: dict[str, Content] = {}
    reading = state.copies.read(owner, names=selected.copy_names, erasing=options.erase)
    for copied in reading:
        content = content_of(copied)
        item = content_item(content)
        if item.id not in stored and selected.means(copied, content):
            found[item.id] = content
    left = [name for names in left_to_erase.values() for name in names]
    if left:
        for copied in state.copies.read(owner, names=left, erasing=True):
            content = content_of(copied)
            item = content_item(content)
            if item.id not in stored and copied.user in left_to_erase:
                found[item.id] = content
    return list(found.values()), reading.damaged


async def _copied_learnings(
    scope: Scope, selected: Selected, items: Sequence[Item], state: State, owner: Owner
) -> list[Item]:
    """Return learnings in recovery copies that may come from what is erased, even if no name of it leads to them.

    Stored learnings are left out: they are planned as such, not as copies.

    Raises:
        NotRecorded: the copies cannot be read.
        ReflexioError: what is stored cannot be read.
    """
    found: dict[str, Item] = {}
    stored = _stored_learnings(selected)
    for user_id, sources in sources_of(items).items():
        if selected.interactions:  # the copy of their request has others, too
            sources = replace(sources, interaction_ids=frozenset(selected.interactions.ids))
        learnings, requests = await in_thread(_copied_of, state, owner, user_id)
        inside, others = dict[int, Turn](), dict[int, Turn]()
        for number, turn in turns_of(requests).items():
            if number in sources.interaction_ids:
                inside[number] = turn
            else:
                others[number] = turn
        only_copied = [learning for learning in learnings if learning.learning_id not in stored]
        if only_copied:
            erased = await may_come_from(scope, user_id, only_copied, sources, selected=inside, others=others)
            found |= {learning.learning_id: learning_item(learning) for learning in erased}
    return list(found.values())


def _learnings_led_to(selected: Selected, items: Sequence[Item], state: State, owner: Owner) -> list[Item]:
    """Return learnings that only recovery copies contain, and that names of erased items lead to.

    An erasure that removes the copy of a request also removes the copy of each learning that lists its interactions,
    even if the learning only quotes others. Another user may have had a request with the same id: what was learned from
    that one stays.

    Raises `NotRecorded`: the copies cannot be read.
    """
    stored, users = _stored_learnings(selected), {item.user_id for item in items}
    names = {name for item in items for name in names_of(item)}
    with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
        contents = map(content_of, state.copies.read(owner, names=names, erasing=True))
        return [
            learning_item(learning)
            for learning in contents
            if isinstance(learning, Learning)
            and learning.learning_id not in stored
            and learning.user_id in users
        ]


def _interactions_alike(
    selected: Selected, items: Sequence[Item], state: State, owner: Owner
) -> list[RequestWithInteractions]:
    """Return copied interactions of erased requests that say what erased interactions say.

    Each is as the request that an undo makes of it. If that is stored, it stays.

    Raises `NotRecorded`: the copies cannot be read.
    """
    requests = {(item.user_id, item.request_id) for item in items if item.request_id}
    if not requests:
        return []
    erased = {digest for item in items for digest in item.said}
    if selected.interactions:
        erased = set(said_by(items, selected.interactions.ids).values())
    names = {Name.of("request", request_id) for _, request_id in requests}
    with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
        contents = [
            content_of(copied)
            for copied in state.copies.read(owner, names=names, erasing=True)
            if copied.kind == "interaction" and (copied.user, copied.names[0].id) in requests
        ]
    return [
        content
        for content in contents
        if isinstance(content, RequestWithInteractions) and erased.issuperset(interactions_said(content))
    ]


def _stored_learnings(selected: Selected) -> set[str]:
    """Return the ids of the learnings that were read, which are planned as such."""
    return {learning.learning_id for learning in selected.learned.read} if selected.learned else set()


def _copied_of(
    state: State, owner: Owner, user_id: str
) -> tuple[list[Learning], list[RequestWithInteractions]]:
    """Return what recovery copies contain of a user. Raises `NotRecorded`."""
    learnings, requests = list[Learning](), list[RequestWithInteractions]()
    with needing_state(FactCode.NOTHING_DELETED, FactCode.STATE_UNUSABLE):
        for copied in state.copies.read(owner, having={Name.of("user", user_id)}, erasing=True):
            content = content_of(copied)
            if isinstance(content, Learning):
                learnings.append(content)
            else:
                requests.append(content)
    return learnings, requests


async def _restored_before(scope: Scope, target: Target, chosen: _Chosen) -> list[str]:
    """Return the requests among the erased copies that are stored and that the target does not include.

    A restored interaction is such a request: it has an id of its own. Another request can have the id of a copy, so
    what they say is compared.
    """
    looked_for = set(target.ids) if isinstance(target, Requests) else set[str]()
    copied = {item.id: item for item in (*chosen.erased, *chosen.alike) if item.kind == "request"}
    ids = [item_id for item_id in copied if item_id not in looked_for]
    found: list[str] = []

    async def take(requests: list[RequestWithInteractions]) -> None:
        # The target includes what its filter picks, even if this was stored after the selection.
        picked = target.wanted.pick(requests) if isinstance(target, Filtered) else []
        found.extend(
            stored.request.request_id
            for stored in requests
            if stored not in picked and said_digest(stored) == chosen.said[stored.request.request_id]
        )

    users = sorted({item.user_id for item in copied.values()})
    await read_set(scope, ids, take, filters=[TrafficFilter(user) for user in users])
    return found


def _playbooks_restored_before(selected: Selected, chosen: _Chosen) -> list[str]:
    """Return the stored playbooks that stay and that are restored ones of the erased copies, under ids of their own."""
    going = {item.id for item in (*chosen.stored, *chosen.learnings)}
    erased = [item.learning for item in chosen.erased if item.learning]
    read = selected.learned.read if selected.learned else ()
    return [
        stored.learning_id
        for stored in read
        if stored.kind == "user_playbook"
        and stored.learning_id not in going
        and any(stored.is_same_as(learning) for learning in erased)
    ]


def describe_target(target: Target, *, words: bool = True) -> str:
    """Describe the target, with secrets redacted."""
    return shown_name(redacted(target.name(words=words)))


def call_of(target: Target, options: Options, owner: Owner) -> str:
    """Return all that makes a call the same as an earlier one, which it then finishes.

    That is what selects items, and the options that change what goes.
    """
    user = target.only_user or owner.user
    chosen = [options.include_learnings, options.erase, sorted(options.learning_ids)]
    return json.dumps([type(target).__name__, user, target.asked_for(), chosen])


async def examples(
    scope: Scope, items: Sequence[Item], openings: Mapping[str, str], *, whole: bool = False
) -> list[Example]:
    """Return examples of items.

    Args:
        openings: their beginnings by id; secrets in them are redacted here.
        whole: show all of an opening.
    """

    def first_words() -> dict[str, str]:
        return {
            id_: visible(redacted(text) if whole else in_brief(redacted(text)))
            for id_, text in openings.items()
        }

    words = await anyio.to_thread.run_sync(first_words) if openings else {}
    return [
        Example(
            id=scope.shown_id(item.id),
            user_id=scope.shown_id(item.user_id),
            created_at=at(item.created_at) if item.created_at else None,
            first_words=words.get(item.id, ""),
        )
        for item in items
    ]


class CodeMaker:
    """Makes and checks the codes of one scope.

    Args:
        key: secret bytes, equal in every process whose codes are accepted.
        scope: the backend, caller and user that codes are bound to.
        others: further accepted keys, while keys are being changed.
    """

    def __init__(self, key: bytes, scope: str, *others: bytes) -> None:
        self._keys = [
            hashlib.sha256(b"reflexio-mcp plan code\0" + secret).digest() for secret in (key, *others)
        ]
        self.scope = scope

    def make(self, bound: str, *, now: float) -> str:
        """Return the code for a set: the time, and a seal of the time and the set."""
        time = f"{int(now):010d}"
        return f"{time}-{self._seal(self._keys[0], time, bound)}"

    def time_of(self, code: str) -> int:
        """Return when a code says that it was made, in epoch seconds; 0 for another text. `check` proves it."""
        match = _CODE.fullmatch(code.strip())
        return int(match[1]) if match else 0

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

    def _seal(self, key: bytes, *texts: str) -> str:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *texts))
        return base64.b32encode(digest.digest()[:10]).decode()
