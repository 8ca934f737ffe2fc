"""What a deletion would remove, looked up in the store."""

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Final

import anyio.to_thread

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions, UnreadableRequest
from reflexio_mcp.state.recovery_copies import RecoveryCopy
from reflexio_mcp.traffic.content import add_texts, in_brief, opening, turn_digest
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import Learned, find_learned
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.turns import with_other_requests
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.gaps import Gap
from reflexio_mcp.traffic.reading.lookup import Progress, read_set, require_id, untold
from reflexio_mcp.traffic.reading.paging import SESSIONS_AT_ONCE, SessionPager, place_of
from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "OPENING_CHARS",
    "USERS_COUNTED",
    "WORDS_SHOWN",
    "Plan",
    "PlannedRequest",
    "Progress",
    "mark_of",
    "newest_first",
    "opening_words",
    "plan_filter",
    "plan_ids",
    "plan_session",
    "planned_request",
    "read_matching",
    "with_first_words",
    "with_learned",
    "with_others",
]

USERS_COUNTED: Final = 50
"""Users whose learnings a plan counts when they are not to be removed."""

WORDS_SHOWN: Final = 5
"""Requests whose first words a plan shows."""

SESSIONS_OF_OTHERS: Final = 10
"""So many sessions of a user a plan names one by one, and looks into for what others have there."""

SECONDS_FOR_OTHERS: Final = 5.0
"""A session that many share may be large."""

OPENING_CHARS: Final = 2_000
"""Characters in which secrets are looked for."""


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request that would go.

    Args:
        created_at: epoch seconds.
        opening: how its text begins, as it is stored; empty where it is not to be shown.
        first_words: the same in a few words, secrets redacted; set by `with_first_words`.
    """

    request_id: str
    user_id: str
    session_id: str
    source: str
    agent_version: str
    created_at: int
    interaction_ids: tuple[int, ...]
    mark: str
    """What tells the request apart from another one that took its id, as `mark_of`."""
    opening: str = ""
    first_words: str = ""
    copy_of: str = ""
    """Of a set of copies: the id of the request, or session, that has its words and stays. Known of those that are
    shown."""
    unreadable: bool = False
    """The service fails to return it: nothing is known of it but its id."""

    @property
    def interactions(self) -> int:
        """How many interactions it has."""
        return len(self.interaction_ids)


def mark_of(item: RequestWithInteractions) -> str:
    """Return what tells a stored request apart from another one that took its id, and from itself put back."""
    request, digest = item.request, hashlib.sha256()
    arrival = "" if request.arrival is None else f" {request.arrival}"
    add_texts(digest, (f"{request.created_at}{arrival}", request.user_id, request.session_id))
    for turn in item.interactions:
        # The ids alone would do where a service never uses one again; not every one may keep to that.
        add_texts(digest, (str(turn.interaction_id), turn_digest(turn)))
    return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """Exactly what a deletion would remove.

    Args:
        what: the target in words.
        unsaid: the same without the words that it was searched for by; empty where it was not.
        requests: the stored requests, newest first.
        kept: requests that only recovery copies still hold; they are removed from there.
        kept_learnings: learnings that only recovery copies still hold; they are removed from there.
        not_found: ids that were asked for and that this caller cannot see.
        wanted: the filter that selects the set, when it was not given by ids.
        user_is_fixed: the scope is confined to one user, so no call names it.
        ids_of: the user whose the ids had to be, where the call names one: others of them count as not found.
        everything: the caller asked for all there is.
        include_learnings: what was learned from the set goes too.
        erase: no recovery copy is kept.
        learned: what was learned from the set; `None` when that could not be read.
        recovery_days: how many days a recovery copy is kept; 0 means that the deletion is final.
        exact: what is deleted can be put back as it was, as `Scope.exact`.
        copies: recovery copies that hold some of the set, where nothing of it is stored.
        copies_until: where no copy is made, until when the last earlier one is kept, epoch seconds; 0 where there is
            none.
        deleted_before: where ids were asked for and none is found, the number of the deletion that is on record as the
            one that deleted them all, and when that began, epoch seconds.
        unreadable_copies: recovery copies that could not be read; they may hold some of the set.
        gaps: what the service could not return while the set was looked up. It is not in the set.
        not_matching: where the filter has words, the other requests of the same sessions that it selects without them.
        of_others: where one user's part of some sessions goes, how many requests others have in those that they share;
            `None` where it is not known.
    """

    what: str
    requests: tuple[PlannedRequest, ...]
    kept: tuple[PlannedRequest, ...] = ()
    kept_learnings: tuple[Learning, ...] = ()
    not_found: tuple[str, ...] = ()
    wanted: TrafficFilter | None = None
    user_is_fixed: bool = False
    ids_of: str = ""
    everything: bool = False
    include_learnings: bool = False
    erase: bool = False
    learned: Learned | None = None
    recovery_days: int = 0
    exact: bool = False
    copies: tuple[RecoveryCopy, ...] = ()
    copies_until: int = 0
    deleted_before: tuple[int, float] | None = None
    unreadable_copies: tuple[RecoveryCopy, ...] = ()
    gaps: tuple[Gap, ...] = ()
    not_matching: int = 0
    of_others: Mapping[str, int] | None = None
    unsaid: str = ""

    noun: ClassVar[str] = "request"
    """What it counts."""

    found_with: ClassVar[str] = "list_requests"
    """The tool that shows the ids of what it counts."""

    copied: ClassVar[bool] = True
    """Whether recovery copies hold what it is about under the same ids."""

    @property
    def on_record(self) -> str:
        """The target in words, for what outlives the call: words that were searched for may be what shall be gone."""
        return self.unsaid or self.what

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of what is stored of it."""
        return tuple(item.request_id for item in self.requests)

    @property
    def goes(self) -> tuple[PlannedRequest, ...]:
        """Everything that would be removed, from the store or from recovery copies."""
        return (*self.requests, *self.kept)

    @property
    def counted(self) -> Sequence[PlannedRequest | Learning]:
        """What it counts, each with its user."""
        return self.goes

    @property
    def size(self) -> int:
        """How many would go."""
        return len(self.counted)

    @property
    def learnings_to_go(self) -> int:
        """How many learnings go with what it counts."""
        return self.learned.count if self.include_learnings and self.learned else 0

    @property
    def stored(self) -> int:
        """How many of them are stored, and not in recovery copies alone."""
        return len(self.requests)

    @property
    def arrivals(self) -> list[int]:
        """When each of them arrived, epoch seconds."""
        return [item.created_at for item in self.goes]

    @property
    def interactions(self) -> int:
        return sum(item.interactions for item in self.goes)

    @cached_property
    def unreadable(self) -> tuple[str, ...]:
        """Ids of requests that go although the service fails to return them."""
        return tuple(item.request_id for item in self.requests if item.unreadable)

    @property
    def _readable(self) -> list[PlannedRequest]:
        return [item for item in self.goes if not item.unreadable]

    @property
    def first(self) -> int | None:
        """When the oldest request arrived, epoch seconds; `None` when that is known of none."""
        return min((item.created_at for item in self._readable), default=None)

    @property
    def last(self) -> int | None:
        """When the newest request arrived."""
        return max((item.created_at for item in self._readable), default=None)

    @property
    def users(self) -> int:
        """How many users lose something."""
        return len({item.user_id for item in self.counted})

    @cached_property
    def marks(self) -> dict[str, str]:
        """Each id with what tells the request apart from another one that took its id."""
        return {item.request_id: item.mark for item in self.requests} | {
            item.request_id: f"kept {item.mark}" for item in self.kept
        }

    @property
    def flags(self) -> str:
        """The options that were agreed to and must not change."""
        chosen = (("learnings", self.include_learnings), ("erase", self.erase))
        return ",".join(name for name, given in chosen if given)

    def bound(self, flags: str) -> str:
        """What a code is bound to besides the requests: the options, and what was learned where that goes too."""
        if "learnings" not in flags or self.learned is None:
            return flags
        names = "\0".join(sorted(f"{one.learning_id}\0{one.digest}" for one in self.learned.learnings))
        return f"{flags} {hashlib.sha256(names.encode('utf-8', 'surrogatepass')).hexdigest()}"

    @property
    def fingerprint(self) -> str:
        """A digest of the set, its options and its learnings, to tell two plans of the same size apart."""
        parts = [self.bound(self.flags), *sorted(f"{one}\0{mark}" for one, mark in self.marks.items())]
        digest = hashlib.sha256("\0\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return f"{digest[:4]}-{digest[4:8]}-{digest[8:12]}-{digest[12:16]}".upper()

    def sources(self, taken: Collection[str] = ()) -> dict[str, Sources]:
        """Its requests as the sources of learnings, by user; `taken` are ids that other requests have by now."""
        by_user: defaultdict[str, list[PlannedRequest]] = defaultdict(list)
        for item in self._readable:
            by_user[item.user_id].append(item)
        return {
            user: Sources(
                frozenset(item.request_id for item in items if item.request_id not in taken),
                frozenset(one for item in items for one in item.interaction_ids),
            )
            for user, items in by_user.items()
        }

    @cached_property
    def places(self) -> list[TrafficFilter]:
        """The filters that select the set and as little else as can be told: by time, or by session."""
        readable = [item for item in self.requests if not item.unreadable]
        if not readable:
            return []
        times = [item.created_at for item in readable]
        bounded = replace(
            self.wanted or TrafficFilter(),
            start=min(times),
            end=max(times),
            agent_version="",
            contains="",
            finding="",
        )
        spans: dict[str, tuple[int, int]] = {}
        for item in readable:
            low, high = spans.get(item.session_id, (item.created_at, item.created_at))
            spans[item.session_id] = (min(low, item.created_at), max(high, item.created_at))
        # A set given by ids tells nothing about what else lies in its time; its sessions do.
        if self.wanted is None and len(spans) * SESSIONS_AT_ONCE <= len(self.requests):
            return [TrafficFilter(session_id=one, start=low, end=high) for one, (low, high) in spans.items()]
        if len({item.user_id for item in readable}) == 1:
            bounded = replace(bounded, user_id=readable[0].user_id)
        return [bounded]

    def part(self, ids: Collection[str]) -> "Plan":
        """The plan of some of its stored requests."""
        return replace(
            self,
            requests=tuple(item for item in self.requests if item.request_id in ids),
            kept=(),
            not_found=(),
        )

    def knowing(self, learned: Learned) -> "Plan":
        """The same plan with what was learned from its set."""
        return replace(self, learned=learned)

    def count_by(self, name: str) -> list[tuple[str, int]]:
        """How many a `user_id`, `session_id`, `source` or `agent_version` has, the most first."""
        counts: Counter[str] = Counter(getattr(item, name) for item in self.counted)
        return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


async def _originals(wanted: TrafficFilter, requests: Sequence[RequestWithInteractions]) -> Mapping[str, str]:
    from reflexio_mcp.traffic.rules.selection import originals  # loads the detectors

    listed = [item for item in requests if wanted.matches_request(item.request)]
    return await anyio.to_thread.run_sync(originals, wanted.finding, listed)


def planned_request(
    item: RequestWithInteractions, *, words: bool = True, copy_of: str = ""
) -> PlannedRequest:
    """Return what a plan keeps of a request.

    Args:
        words: whether its first words may be shown.
        copy_of: the id of the request that it repeats, or of the session.
    """
    request = item.request
    return PlannedRequest(
        request_id=request.request_id,
        user_id=request.user_id,
        session_id=request.session_id,
        source=request.source,
        agent_version=request.agent_version,
        created_at=request.created_at,
        interaction_ids=tuple(turn.interaction_id for turn in item.interactions),
        mark=mark_of(item),
        opening=opening(item, OPENING_CHARS) if words else "",
        copy_of=copy_of,
        unreadable=isinstance(item, UnreadableRequest),
    )


def newest_first(items: Iterable[PlannedRequest]) -> tuple[PlannedRequest, ...]:
    """As `place_of` orders the requests of a session."""

    def place(item: PlannedRequest) -> tuple[int, int, str]:
        return item.created_at, min(item.interaction_ids, default=0), item.request_id

    return tuple(sorted(items, key=place, reverse=True))


async def plan_ids(
    scope: Scope,
    request_ids: Sequence[str],
    *,
    user_id: str = "",
    what: str = "",
    progress: Progress = untold,
) -> Plan:
    """Look up a set of ids.

    Args:
        user_id: only requests of this user; others count as not found. Empty for every user.
        what: the set in words.

    Raises:
        InvalidInput: none, blank ones, or more than 10,000; or a user outside the scope.
    """
    user_id = scope.user(user_id)
    ids = list(dict.fromkeys(require_id("request_ids", one) for one in request_ids))
    if not 1 <= len(ids) <= MAX_DELETE_IDS:
        raise InvalidInput("request_ids", f"takes 1 to {MAX_DELETE_IDS:,} ids; nothing was deleted.")
    found: dict[str, PlannedRequest] = {}

    async def take(items: list[RequestWithInteractions]) -> None:
        of_user = [item for item in items if not user_id or item.request.user_id == user_id]
        found.update((item.request.request_id, planned_request(item)) for item in of_user)

    await read_set(scope, ids, take, progress=progress)
    missing = tuple(one for one in ids if one not in found)
    ids_of = "" if scope.user_id else user_id
    what = what or f"{len(ids):,} request id{'s' * (len(ids) != 1)}"
    what += f" of user {user_id}" if user_id else ""
    return Plan(what, newest_first(found.values()), not_found=missing, ids_of=ids_of)


async def plan_session(
    scope: Scope, session_id: str, user_id: str = "", *, progress: Progress = untold
) -> Plan:
    """Look up a session: the requests of every user in it, or of one user."""
    session_id = require_id("session_id", session_id)
    wanted = TrafficFilter(session_id=session_id, user_id=scope.user(user_id))
    whose = f" of user {wanted.user_id}" if wanted.user_id else ""
    plan = await with_others(scope, await plan_filter(scope, wanted, progress=progress))
    return replace(plan, what=f"session {session_id}{whose}")


async def plan_filter(scope: Scope, wanted: TrafficFilter, *, progress: Progress = untold) -> Plan:
    """Look up everything a filter selects."""
    found, gaps, others = await read_matching(scope, wanted, progress=progress)
    return Plan(
        "every request" if wanted == TrafficFilter() else f"every request: {wanted.describe()}",
        newest_first(found),
        wanted=wanted,
        user_is_fixed=bool(scope.user_id),
        gaps=gaps,
        not_matching=others if wanted.contains else 0,
        unsaid=f"every request: {wanted.describe(words=False)}" if wanted.contains else "",
    )


async def with_others(scope: Scope, plan: Plan) -> Plan:
    """Add what other users have in the sessions of a plan that takes one user's part of them.

    Nothing is added where the caller may not see others, where the sessions are more than a plan names or not all
    known, and where reading them fails or takes long: the deletion does not need it.
    """
    wanted = plan.wanted
    if plan.gaps:
        return plan
    if scope.user_id or wanted is None or not wanted.user_id or (wanted.narrows and not wanted.session_id):
        return plan
    sessions = {item.session_id for item in plan.requests}
    if not 0 < len(sessions) <= SESSIONS_OF_OTHERS:
        return plan
    shared: dict[str, int] = {}
    try:
        with anyio.fail_after(SECONDS_FOR_OTHERS):
            for session_id in sorted(sessions):
                pager = SessionPager(scope, TrafficFilter(session_id=session_id))
                async for session_slice in pager.slices():
                    if others := sum(
                        item.request.user_id != wanted.user_id for item in session_slice.requests
                    ):
                        shared[session_id] = shared.get(session_id, 0) + others
                if pager.gaps:
                    return plan
    except (ReflexioError, TimeoutError):
        return plan
    return replace(plan, of_others=shared)


async def with_first_words(plan: Plan) -> Plan:
    """Add the first words of the requests that a plan shows, secrets redacted.

    Looking for secrets takes time, so this runs in a worker thread.
    """

    def shown(items: Sequence[PlannedRequest], number: int) -> tuple[PlannedRequest, ...]:
        return tuple(
            replace(item, opening="", first_words=opening_words(item.opening) if index < number else "")
            for index, item in enumerate(items)
        )

    def add() -> Plan:
        left = max(0, WORDS_SHOWN - len(plan.requests))
        return replace(plan, requests=shown(plan.requests, WORDS_SHOWN), kept=shown(plan.kept, left))

    return await anyio.to_thread.run_sync(add)


def opening_words(text: str) -> str:
    """The first words of a text, secrets covered. Looking for them takes time."""
    from reflexio_mcp.traffic.rules.secrets import redact_opening  # its patterns take a while to compile

    return in_brief(redact_opening(text))


async def with_learned(scope: Scope, plan: Plan) -> Plan:
    """Add what was learned from the requests of a plan.

    Raises:
        ReflexioError: it could not be read, and is to be removed too.
    """
    if plan.learned is not None or not plan.goes:
        return plan
    most = None if plan.include_learnings else USERS_COUNTED
    try:
        learned = await find_learned(scope, plan.sources(), most_users=most)
        return plan.knowing(await with_other_requests(scope, learned))
    except ReflexioError:
        if plan.include_learnings:
            raise
        return plan


async def read_matching(
    scope: Scope, wanted: TrafficFilter, *, progress: Progress = untold
) -> tuple[list[PlannedRequest], tuple[Gap, ...], int]:
    """Read everything that a filter selects; contents are dropped as they are read.

    Returns:
        The requests, what the service could not return, and how many requests of the same sessions do not match.
    """
    found: list[PlannedRequest] = []
    newest: list[tuple[int, int, str]] = []
    others = 0
    pager = SessionPager(scope, wanted)
    async for session_slice in pager.slices():
        matching = await wanted.pick_in_thread(session_slice.requests)
        # The words of the newest alone are ever shown. They may be in any session: several can share a second.
        places = [place_of(item) for item in matching[:WORDS_SHOWN]]
        newest = heapq.nlargest(WORDS_SHOWN, newest + places)
        shown = sum(place in newest for place in places)
        others += len(session_slice.requests) - len(matching) if matching else 0
        copies: Mapping[str, str] = {}
        if shown and wanted.finding:
            copies = await _originals(wanted, session_slice.requests)
        found += [
            planned_request(item, words=index < shown, copy_of=copies.get(item.request.request_id, ""))
            for index, item in enumerate(matching)
        ]
        await progress("requests looked up", pager.requests_seen, None)
    return found, pager.gaps, others
