"""Storing again what the recovery copy of a deletion holds: first the requests, then what was learned from them."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import anyio
import anyio.to_thread
from pydantic import ValidationError

from reflexio_mcp.rest.errors import (
    AlreadyExists,
    InvalidBody,
    NotSent,
    RateLimited,
    ReflexioError,
    explain,
)
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    StoredInteraction,
    ToolUse,
    UserPlaybook,
    UserProfile,
)
from reflexio_mcp.results.base import NOTICE, at
from reflexio_mcp.results.deletion import Counts, Example, Outcome, Restored
from reflexio_mcp.state.records import Copied, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import in_brief, opening, texts_of, turn_digest
from reflexio_mcp.traffic.deletion.execute import excepted
from reflexio_mcp.traffic.deletion.items import copied_learning, copied_request
from reflexio_mcp.traffic.errors import NotStored, Unreadable, refusing
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import shown_id, visible

__all__ = ["AWAY", "Undo", "plan_restore", "restore"]

BATCH: Final = 50
"""Copies that are opened, compared and stored at a time."""

LEARNINGS_AT_ONCE: Final = 20
EXAMPLES: Final = 5
OPENING_CHARS: Final = 2_000

AWAY: Final = (
    "Recovery copies cannot be read now ({why}); nothing was restored. Ask the operator to {advice}."
)
NO_COPY: Final = (
    "Deletion {number} has no recovery copy that you can restore. restore_requests alone lists those that "
    "have one."
)
ERASED: Final = "{number:,} of these were erased for good while they were restored, and were taken out again."
TURNS_LOST: Final = (
    "{number:,} interactions cannot be stored again: nothing but an image or a citation was in them."
)
UNSEEN: Final = "Whether they are stored could not be read: {why}"
STOPPED: Final = "It ended early: {why}"
AGAIN: Final = "Call again with the same arguments: what is back already stays, and the rest is restored."
"""What an answer says of a restore."""


@dataclass(frozen=True)
class Undo:
    """What is to be put back.

    Args:
        number: of the deletion.
        ids: only these requests, and what was learned from them; all if empty.
        evaluation_only: store them so that nothing is learned from them again.
    """

    number: int
    ids: frozenset[str] = frozenset()
    evaluation_only: bool = False


@dataclass
class _Progressed:
    """How far a restore is: what became of each id, by kind."""

    requests: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    learnings: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    back: Counts = field(default_factory=Counts)
    turns_lost: int = 0
    remains: list[str] = field(default_factory=list[str])


async def _batches(state: State, owner: Owner, undo: Undo) -> AsyncIterator[list[Copied]]:
    copies = state.copies.read(owner, deletion=undo.number)
    found = False
    with refusing(AWAY, kind=Unreadable):
        while batch := await in_thread(lambda: list(islice(copies, BATCH))):
            found = True
            yield batch
    if not found:
        raise NotStored(NO_COPY.format(number=undo.number))


def _requests(batch: Sequence[Copied], undo: Undo) -> dict[str, RequestWithInteractions]:
    """The requests of some copies that are to be put back, by id."""
    found = [request for one in batch if (request := copied_request(one))]
    return {
        one.request.request_id: one
        for one in found
        if not undo.ids
        or not undo.ids.isdisjoint({one.request.request_id, *(t.request_id for t in one.interactions)})
    }


async def plan_restore(
    scope: Scope, state: State, owner: Owner, undo: Undo, *, masked: bool
) -> tuple[Restored, str]:
    """What a restore would put back, and what its code is bound to.

    Raises:
        NotStored: there is no such copy.
        Unreadable: recovery copies cannot be read.
        ReflexioError: what is stored cannot be read.
    """
    became: dict[str, Outcome] = {}
    counts, shown, bound = Counts(), list[RequestWithInteractions](), hashlib.sha256(repr(undo).encode())
    async for batch in _batches(state, owner, undo):
        requests = _requests(batch, undo)
        there = await _compared(scope, requests)
        became |= there
        shown += [one for one in requests.values() if len(shown) < EXAMPLES][: EXAMPLES - len(shown)]
        turns = sum(len(one.interactions) for one in requests.values())
        learnings = sum(copied_learning(one) is not None for one in batch)
        counts += Counts(requests=len(requests), interactions=turns, learnings=learnings)
        for one in batch:
            bound.update(f"{one.kind}\0{one.id}\0".encode("utf-8", "surrogatepass"))
    words = [""] * len(shown) if masked else await anyio.to_thread.run_sync(_first_words, shown)
    return Restored(
        notice=NOTICE,
        status="planned",
        number=undo.number,
        planned=counts,
        not_restored=excepted(became),
        examples=[
            Example(
                id=shown_id(one.request.request_id),
                user_id=visible(one.request.user_id),
                created_at=at(one.request.created_at),
                first_words=said,
            )
            for one, said in zip(shown, words, strict=True)
        ],
    ), bound.hexdigest()


def _first_words(items: Sequence[RequestWithInteractions]) -> list[str]:
    from reflexio_mcp.traffic.audit.rules.redaction import (
        redact_opening,  # its patterns take a while to compile
    )

    return [visible(in_brief(redact_opening(opening(one, OPENING_CHARS)))) for one in items]


async def _compared(scope: Scope, requests: dict[str, RequestWithInteractions]) -> dict[str, Outcome]:
    """Those of some copied requests under whose id something is stored, and whether it is the same."""
    became: dict[str, Outcome] = {}

    async def take(items: list[RequestWithInteractions]) -> None:
        for item in items:
            one = item.request.request_id
            became[one] = "already_there" if _same(requests[one], item) else "id_taken"

    await read_set(scope, list(requests), take, whole=True)
    return became


async def restore(
    scope: Scope, state: State, owner: Owner, undo: Undo, *, seconds: float, progress: Progress
) -> Restored:
    """Store again what a recovery copy holds, under the same ids; nothing that is stored is overwritten.

    The call ends after `seconds` and names what is left; a repeat goes on there.

    Raises:
        NotStored: there is no such copy.
        Unreadable: recovery copies cannot be read.
        ReflexioError: what is stored cannot be read; nothing was restored.
    """
    began = await in_thread(state.now)
    act = _Restore(scope, state, owner, undo, progress, time.monotonic() + seconds, began)
    done, learnings = act.done, list[Learning]()
    async for batch in _batches(state, owner, undo):
        await act.requests(batch)
        for copied in batch:
            if one := copied_learning(copied):
                learnings.append(one)
                act.copies[one.learning_id] = replace(copied, content="")
    await act.learnings(learnings)
    left = [why for why in (*done.requests.values(), *done.learnings.values()) if why == "left"]
    if done.turns_lost:
        done.remains.append(TURNS_LOST.format(number=done.turns_lost))
    return Restored(
        notice=NOTICE,
        status="incomplete" if left or act.stopped else "complete",
        number=undo.number,
        restored=done.back,
        not_restored=excepted(done.requests | done.learnings),
        remains=done.remains,
        next=AGAIN if left else "",
    )


@dataclass
class _Restore:
    """One restore on its way.

    Args:
        until: when to stop, in monotonic seconds.
        began: when it began, by the state's clock.
        stopped: nothing more is stored.
        turns: the ids that restored interactions have now, by those that they had.
        copies: the copies of learnings, by their learning ids.
    """

    scope: Scope
    state: State
    owner: Owner
    undo: Undo
    progress: Progress
    until: float
    began: float
    done: _Progressed = field(default_factory=_Progressed)
    stopped: bool = False
    sources: dict[int, str] = field(default_factory=dict[int, str])
    turns: dict[int, int] = field(default_factory=dict[int, int])
    copies: dict[str, Copied] = field(default_factory=dict[str, Copied])

    async def _erased(self, copies: Iterable[Copied]) -> set[tuple[str, str]]:
        """The kind and id of copies that somebody has erased since this restore began."""
        return await in_thread(self.state.copies.erased_since, self.owner, self.began, list(copies))

    async def requests(self, batch: Sequence[Copied]) -> None:
        """Store those of some copied requests that are not stored, and look whether they are."""
        erased = await self._erased(batch)
        batch = [one for one in batch if (one.kind, one.id) not in erased]
        requests = _requests(batch, self.undo)
        self.sources |= {
            turn.interaction_id: one for one, item in requests.items() for turn in item.interactions
        }
        became = self.done.requests
        became |= await _compared(self.scope, requests)
        stored: list[str] = []
        # Oldest first: where they get a new time, a conversation keeps its order.
        for one, item in sorted(requests.items(), key=lambda pair: _age(pair[1])):
            if one not in became:
                became[one] = "left"
                if not self.stopped:
                    stored += [one] if await self._store(item) else []
                await self.progress("requests restored", len(became), None)
        await self._seen(batch, requests, stored)

    async def _store(self, item: RequestWithInteractions) -> bool:
        """Store one request, and return whether that may have taken effect."""
        became, one = self.done.requests, item.request.request_id
        while True:
            try:
                if await self._put_back(item):
                    return True
                became[one] = "not_restorable"
                return False
            except AlreadyExists:  # somebody else's, which cannot be read here, or stored a moment ago
                became[one] = "id_taken"
            except (NotSent, InvalidBody):  # it is this one that is not taken
                became[one] = "not_restorable"
            except RateLimited as error:
                pause = error.retry_after or 60.0
                if time.monotonic() + pause < self.until:
                    await anyio.sleep(pause)
                    continue
                self._stop(error)
            except ReflexioError as error:
                self._stop(error)
                return error.effect != "none"
            return False

    def _stop(self, error: ReflexioError) -> None:
        self.stopped = True
        self.done.remains.append(STOPPED.format(why=explain(error, "write")))

    async def _put_back(self, item: RequestWithInteractions) -> bool:
        request = item.request
        evaluation_only = self.undo.evaluation_only or request.evaluation_only
        if time.monotonic() >= self.until:
            self.stopped = True
            return True
        if not self.scope.covers(request.user_id):
            return False
        if self.scope.exact and request.whole:
            marked = request.model_copy(update={"evaluation_only": evaluation_only})
            await self.scope.client.put_back(item.model_copy(update={"request": marked}))
            return True
        turns = [turn for stored in item.interactions if (turn := _turn(stored))]
        if not turns:
            return False
        self.done.turns_lost += len(item.interactions) - len(turns)
        body = PublishBody(
            user_id=request.user_id,
            session_id=request.session_id,
            request_id=request.request_id,
            interaction_data_list=turns,
            source=request.source,
            agent_version=request.agent_version,
            evaluation_only=evaluation_only,
            retrieval_experiment_id=request.retrieval_experiment_id,
            retrieval_experiment_arm=request.retrieval_experiment_arm,
        )
        await self.scope.client.publish(body, minted=False)
        return True

    async def _seen(
        self, batch: Sequence[Copied], requests: dict[str, RequestWithInteractions], stored: Collection[str]
    ) -> None:
        """Look for what was stored, and take out again what was erased for good meanwhile."""
        became = self.done.requests

        async def take(items: list[RequestWithInteractions]) -> None:
            for item in items:
                one = item.request.request_id
                self._match(requests[one], item)
                if one in stored:
                    became.pop(one, None)
                    self.done.back += Counts(requests=1, interactions=len(item.interactions))

        try:
            await read_set(self.scope, list(requests), take, whole=True)
        except ReflexioError as error:
            became |= dict.fromkeys(stored, "unknown")
            self.done.remains.append(UNSEEN.format(why=explain(error, "read")))
        erased = await self._erased(batch)
        gone = [
            one
            for copied in batch
            if (copied.kind, copied.id) in erased
            for one in _requests([copied], self.undo)
        ]
        if gone := [one for one in gone if one in stored]:
            await self.scope.client.delete_requests_by_ids(gone)
            turns = sum(len(requests[one].interactions) for one in gone)
            self.done.back += Counts(requests=-len(gone), interactions=-turns)
            self.done.remains.append(ERASED.format(number=len(gone)))

    def _match(self, copied: RequestWithInteractions, stored: RequestWithInteractions) -> None:
        """Note which interaction is which: what is stored again has new ids."""
        left = [(turn.interaction_id, turn_digest(turn)) for turn in copied.interactions]
        for turn in stored.interactions:
            digest = turn_digest(turn)
            if same := next((one for one in left if one[1] == digest), None):
                left.remove(same)
                self.turns[same[0]] = turn.interaction_id

    async def learnings(self, learnings: Sequence[Learning]) -> None:
        """Store those of the learnings that are not stored."""
        own = Sources(frozenset(self.done.requests), frozenset(self.sources))
        by_user: defaultdict[str, list[Learning]] = defaultdict(list)
        for one in learnings:
            if self.undo.ids and not own.fed(one):
                continue
            over = isinstance(one.row, UserProfile) and 0 < one.row.expiration_timestamp <= time.time()
            storable = self.scope.covers(one.user_id) and (one.content or one.trigger) and not over
            self.done.learnings[one.learning_id] = "left" if storable else "not_restorable"
            if storable:
                by_user[one.user_id].append(one)
        if self.stopped:
            return
        try:
            for user_id, of_user in by_user.items():
                await self._of_user(user_id, of_user)
        except ReflexioError as error:
            self._stop(error)

    async def _of_user(self, user_id: str, learnings: Sequence[Learning]) -> None:
        became = self.done.learnings
        there = await learnings_of_user(self.scope, user_id)
        digests = {one.learning_id: one.digest for one in there}
        # A repeat finds a playbook that it has stored under another id.
        elsewhere = Counter(one.digest for one in there)
        missing: list[Learning] = []
        for one in learnings:
            if one.learning_id in digests:
                became[one.learning_id] = (
                    "already_there" if digests[one.learning_id] == one.digest else "id_taken"
                )
            elif elsewhere[one.digest]:
                became[one.learning_id] = "already_there"
            else:
                missing.append(one)
        erased = await self._erased_learnings()
        missing = [one for one in missing if one.learning_id not in erased]
        for start in range(0, len(missing), LEARNINGS_AT_ONCE):
            if time.monotonic() < self.until:
                await self._store_learnings(missing[start : start + LEARNINGS_AT_ONCE])
        if missing:
            # What is said to be restored was seen.
            stored = await learnings_of_user(self.scope, user_id)
            erased = await self._erased_learnings()
            unwanted = {one.digest for one in missing if one.learning_id in erased}
            back = [one for one in stored if one.digest in unwanted and one.learning_id not in digests]
            await self._take_out(back)
            seen = Counter(one.digest for one in stored if one not in back)
            for one in missing:
                if seen[one.digest]:
                    seen[one.digest] -= 1
                    del became[one.learning_id]
                    self.done.back += Counts(learnings=1)

    async def _store_learnings(self, learnings: Sequence[Learning]) -> None:
        rows = [self._renewed(one) for one in learnings]
        if profiles := [row for row in rows if isinstance(row, UserProfile)]:
            await self.scope.client.add_profiles(profiles)
        if playbooks := [row for row in rows if isinstance(row, UserPlaybook)]:
            await self.scope.client.add_user_playbooks(playbooks)

    async def _erased_learnings(self) -> set[str]:
        """The ids of copied learnings that somebody has erased since this restore began."""
        erased = await self._erased(self.copies.values())
        found = {one for one, copied in self.copies.items() if (copied.kind, copied.id) in erased}
        self.done.learnings |= dict.fromkeys(found, "not_restorable")
        return found

    async def _take_out(self, learnings: Sequence[Learning]) -> None:
        if profiles := [one.number for one in learnings if one.kind == "profile"]:
            await self.scope.client.delete_profiles(profiles)
        if playbooks := [one.number for one in learnings if one.kind == "user_playbook"]:
            await self.scope.client.delete_user_playbooks(playbooks)
        if learnings:
            self.done.remains.append(ERASED.format(number=len(learnings)))

    def _renewed(self, learning: Learning) -> UserProfile | UserPlaybook:
        """A learning that names its sources by the ids that they have now."""
        assert learning.row
        ids = [self.turns.get(one, one) for one in learning.row.source_interaction_ids]
        return learning.row.model_copy(update={"source_interaction_ids": ids})


def _same(copied: RequestWithInteractions, stored: RequestWithInteractions) -> bool:
    """Whether what is stored is what a restore of the copy stores."""
    return _said(copied) == _said(stored)


def _said(item: RequestWithInteractions) -> tuple[object, ...]:
    turns = [
        (turn_digest(turn), turn.user_action, turn.interacted_image_url)
        for turn in item.interactions
        if _turn(turn)
    ]
    return item.request.user_id, item.request.session_id, turns


_NOT_PUBLISHED: Final = {"interaction_id", "user_id", "request_id", "citations", "image_encoding"}


def _turn(stored: StoredInteraction) -> Interaction | None:
    """A stored interaction as it is published again; `None` if nothing but an image was in it."""
    if not (
        any(text.strip() for text in texts_of(stored)) or stored.interacted_image_url or stored.tools_used
    ):
        return None
    try:
        return Interaction.model_validate(
            {
                **stored.model_dump(exclude=_NOT_PUBLISHED),
                "tools_used": [_known(tool, ToolUse) for tool in stored.tools_used],
                "retrieved_learnings": [_known(one, RetrievedLearning) for one in stored.retrieved_learnings],
            }
        )
    except ValidationError:
        return None


def _known(item: dict[str, object], model: type[ToolUse] | type[RetrievedLearning]) -> dict[str, object]:
    return {name: value for name, value in item.items() if name in model.model_fields and value is not None}


def _age(item: RequestWithInteractions) -> tuple[int, int]:
    """Sorts requests as they arrived; those of one second by the ids of their interactions, which only rise."""
    return item.request.created_at, min((turn.interaction_id for turn in item.interactions), default=0)
