"""Restores a recovery copy: first the requests, then the learnings from them."""

import hashlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from reflexio_mcp.rest.errors import AlreadyExists, InvalidBody, NotSent, ReflexioError, explain
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    StoredInteraction,
    ToolUse,
    UserProfile,
)
from reflexio_mcp.results.base import NOTICE
from reflexio_mcp.results.deletion import Counts, Outcome, Restored, excepted
from reflexio_mcp.state.records import Copied, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import opening, texts_of, turn_digest
from reflexio_mcp.traffic.deletion.items import counts_of, item_of, learning_item, opened
from reflexio_mcp.traffic.deletion.plan import examples
from reflexio_mcp.traffic.deletion.targets import EXAMPLES, OPENING_CHARS
from reflexio_mcp.traffic.errors import NotStored, Unreadable, refusing
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.remove import delete_by_id, update_text
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["AWAY", "Restoring", "Undo", "plan_restore", "restore"]

BATCH: Final = 50

PUBLISH_SECONDS: Final = 90.0
"""Time limit of storing one request, longer than a rate limit of a minute."""

AWAY: Final = (
    "Recovery copies cannot be read now ({why}); nothing was restored. Ask the operator to {advice}."
)
NO_COPY: Final = (
    "Deletion {number} has no recovery copy that you can restore. A restore without a number lists those that "
    "have one."
)
ERASED: Final = "{number:,} of these were erased for good while they were restored, and were deleted again."
NOT_TAKEN_OUT: Final = "{number:,} of these were erased for good while they were restored; delete them again."
TURNS_LOST: Final = (
    "{number:,} interactions cannot be stored again: nothing but an image or a citation was in them."
)
STOPPED: Final = "It ended early: {why}"
AGAIN: Final = "Call again with the same arguments: what is back already stays, and the rest is restored."


@dataclass(frozen=True)
class Undo:
    """What is to be restored.

    Args:
        ids: only these requests and the learnings from them; all if empty.
        evaluation_only: store them so that nothing is learned from them again.
    """

    number: int
    ids: frozenset[str] = frozenset()
    evaluation_only: bool = False


@dataclass(frozen=True)
class _Batch:
    """Opened copies by the ids under which they are restored, the oldest first."""

    copies: Mapping[str, Copied]
    requests: Mapping[str, RequestWithInteractions]
    learnings: Mapping[str, Learning]


async def _batches(state: State, owner: Owner, undo: Undo) -> AsyncIterator[_Batch]:
    """Open the copies of a deletion.

    Raises:
        NotStored: there are no copies.
        Unreadable: they cannot be read.
    """
    reading = state.copies.read(owner, deletion=undo.number)
    found, ids, turns = False, set[str](), set[int]()
    chosen = {f"r:{one}" for one in undo.ids}
    with refusing(AWAY, kind=Unreadable):
        while batch := await in_thread(lambda: list(islice(reading, BATCH))):
            copies: dict[str, Copied] = {}
            requests: dict[str, RequestWithInteractions] = {}
            learnings: dict[str, Learning] = {}
            for one in batch:
                content = opened(one)
                if isinstance(content, Learning):
                    if undo.ids and not Sources(frozenset(ids), frozenset(turns)).fed(content):
                        continue
                    key = content.learning_id
                    learnings[key] = content
                elif not undo.ids or not chosen.isdisjoint(one.names):
                    key = content.request.request_id
                    requests[key] = content
                    ids |= {name[2:] for name in one.names if name.startswith("r:")}
                    turns |= {turn.interaction_id for turn in content.interactions}
                else:
                    continue
                copies[key] = replace(one, content="")
            found = found or bool(copies)
            yield _Batch(copies, requests, learnings)
    if not found:
        raise NotStored(NO_COPY.format(number=undo.number))


async def plan_restore(scope: Scope, state: State, owner: Owner, undo: Undo) -> tuple[Restored, str]:
    """Return what a restore would put back, and what its code is bound to. Raises as `_batches` does."""
    counts, first = Counts(), list[RequestWithInteractions]()
    bound = hashlib.sha256(repr((undo.number, sorted(undo.ids), undo.evaluation_only)).encode())
    async for batch in _batches(state, owner, undo):
        counts += counts_of(map(item_of, batch.requests.values()))
        counts += counts_of(map(learning_item, batch.learnings.values()))
        first += list(batch.requests.values())[: EXAMPLES - len(first)]
        bound.update("\0".join(batch.copies).encode("utf-8", "surrogatepass"))
    openings = {} if scope.masked else {one.request.request_id: opening(one, OPENING_CHARS) for one in first}
    return Restored(
        notice=NOTICE,
        status="planned",
        number=undo.number,
        planned=counts,
        examples=await examples(scope, [item_of(one) for one in first], openings),
    ), bound.hexdigest()


async def restore(
    scope: Scope, state: State, owner: Owner, undo: Undo, *, seconds: float, progress: Progress
) -> Restored:
    """Restore a recovery copy under the same ids. Nothing stored is overwritten.

    The call ends after `seconds` and names what is left; a repeated call continues. Raises as `_batches` does.
    """
    began = await in_thread(state.now)
    act = Restoring(scope, undo.evaluation_only, time.monotonic() + seconds)
    learnings: dict[str, Learning] = {}
    async for batch in _batches(state, owner, undo):
        act.copies |= batch.copies
        learnings |= batch.learnings
        await act.requests(batch.requests, batch.copies)
        await progress("requests restored", len(act.back), None)
    await act.learnings(learnings)
    erased = await in_thread(state.copies.erased_since, owner, began, list(act.copies.values()))
    await act.take_out([key for key, one in act.copies.items() if (one.kind, one.id) in erased])
    return act.receipt(undo.number)


@dataclass
class Restoring:
    """One running restore.

    Args:
        until: when to stop, in monotonic seconds.
        copies: the copies so far, without content.
        became: what became of each id that is not back.
        back: what is back, by its id.
        learned: the learnings that are back, as they are stored now.
        stored: what was found under each id.
        turns: the ids that restored interactions have now, by the ids that they had.
    """

    scope: Scope
    evaluation_only: bool = False
    until: float = math.inf
    became: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    back: dict[str, Counts] = field(default_factory=dict[str, Counts])
    learned: dict[str, Learning] = field(default_factory=dict[str, Learning])
    copies: dict[str, Copied] = field(default_factory=dict[str, Copied])
    turns: dict[int, int] = field(default_factory=dict[int, int])
    stored: dict[str, Counts] = field(default_factory=dict[str, Counts])
    turns_lost: int = 0
    remains: list[str] = field(default_factory=list[str])
    stopped: bool = False

    def receipt(self, number: int = 0) -> Restored:
        if self.turns_lost:
            self.remains.append(TURNS_LOST.format(number=self.turns_lost))
        unfinished = self.stopped or not {"left", "unknown"}.isdisjoint(self.became.values())
        return Restored(
            notice=NOTICE if self.became else "",
            status="incomplete" if unfinished else "complete",
            number=number,
            restored=sum(self.back.values(), Counts()),
            not_restored=excepted(self.became, self.scope.shown_id),
            remains=self.remains,
            next=AGAIN if unfinished else "",
        )

    def _stop(self, error: ReflexioError) -> None:
        self.stopped = True
        self.remains.append(STOPPED.format(why=explain(error, "read")))

    async def requests(
        self, requests: Mapping[str, RequestWithInteractions], copies: Mapping[str, Copied] | None = None
    ) -> None:
        """Store the missing requests, and read them again."""
        self.became |= dict.fromkeys(requests, "left")
        try:
            self.became |= await self._compared(requests) | await self._never_gone(copies or {})
            for key, item in requests.items():
                if self.became[key] == "left":
                    self.became[key] = await self._store(item)
        except ReflexioError as error:
            self._stop(error)
        sent = {key: item for key, item in requests.items() if self.became[key] == "unknown"}
        try:
            there = await self._compared(sent)
        except ReflexioError as error:
            self._stop(error)
            return
        for key in sent:
            self.became[key] = there.get(key, "left")
            if self.became[key] == "already_there":
                del self.became[key]
                self.back[key] = self.stored[key]

    async def _compared(self, requests: Mapping[str, RequestWithInteractions]) -> dict[str, Outcome]:
        """Return the ids under which a request is stored, and whether it is the same request."""
        found: dict[str, Outcome] = {}

        async def take(items: list[RequestWithInteractions]) -> None:
            for stored in items:
                key = stored.request.request_id
                before, now = _said(requests[key]), _said(stored)
                same = list(before.values()) == list(now.values())
                self.stored[key] = counts_of([item_of(stored)])
                found[key] = "already_there" if same else "id_taken"
                # Restored interactions have new ids.
                self.turns |= dict(zip(before, now, strict=True)) if same else {}

        await read_set(self.scope, list(requests), take, whole=True)
        return found

    async def _never_gone(self, copies: Mapping[str, Copied]) -> dict[str, Outcome]:
        """Return which interactions are still in their request, because their deletion failed."""
        single = {key: one for key, one in copies.items() if one.kind == "interaction"}
        there: set[str] = set()

        async def take(items: list[RequestWithInteractions]) -> None:
            there.update(str(turn.interaction_id) for one in items for turn in one.interactions)

        # The first name of a copy names the request.
        await read_set(self.scope, list({one.names[0][2:]: None for one in single.values()}), take)
        return {key: "already_there" for key, one in single.items() if one.id in there}

    async def _store(self, item: RequestWithInteractions) -> Outcome:
        """Store one request. The outcome is `unknown` until it is read again."""
        if self.stopped or (seconds := self.until - time.monotonic()) <= 0:
            self.stopped = True
            return "left"
        request = item.request.model_copy(
            update={"evaluation_only": self.evaluation_only or item.request.evaluation_only}
        )
        turns = [turn for stored in item.interactions if (turn := _turn(stored))]
        try:
            if self.scope.exact and request.whole:
                await self.scope.client.put_back(item.model_copy(update={"request": request}))
            elif turns:
                self.turns_lost += len(item.interactions) - len(turns)
                names = PublishBody.model_fields.keys() & type(request).model_fields.keys()
                body = PublishBody(interaction_data_list=turns, **request.model_dump(include=set(names)))
                await self.scope.client.publish(body, minted=False, timeout=min(seconds, PUBLISH_SECONDS))
            else:
                return "not_restorable"
        except AlreadyExists:  # another user has this id, or it was stored a moment ago
            return "id_taken"
        except (NotSent, InvalidBody):  # only this request is refused
            return "not_restorable"
        except ReflexioError as error:
            self._stop(error)
            return "left" if error.effect == "none" else "unknown"
        return "unknown"

    async def learnings(self, learnings: Mapping[str, Learning]) -> None:
        """Store the missing learnings."""
        by_user: defaultdict[str, dict[str, Learning]] = defaultdict(dict)
        for key, one in learnings.items():
            over = isinstance(one.row, UserProfile) and 0 < one.row.expiration_timestamp <= time.time()
            self.became[key] = "not_restorable" if over else "left"
            if not over:
                by_user[one.user_id][key] = one
        try:
            for user_id, of_user in by_user.items():
                if not self.stopped:
                    await self._of_user(user_id, of_user)
        except ReflexioError as error:
            self._stop(error)

    async def _of_user(self, user_id: str, learnings: Mapping[str, Learning]) -> None:
        before = await learnings_of_user(self.scope, user_id)
        ids, texts = {one.learning_id: one for one in before}, {one.digest for one in before}
        corrected: set[str] = set()
        missing: list[Any] = []
        for key, one in learnings.items():
            if one.digest in texts:  # a restored playbook has another id
                self.became[key] = "already_there"
            elif key in ids and learning_item(one).held_by(self.scope.policy.now()):
                self.became[key] = "held"
            elif key in ids and f"t:{ids[key].digest}" in self.copies[key].names:
                corrected.add(key)
                await update_text(self.scope, one, one.content)
            elif key in ids:
                self.became[key] = "id_taken"
            elif one.row:
                turns = [self.turns.get(turn, turn) for turn in one.row.source_interaction_ids]
                missing.append(one.row.model_copy(update={"source_interaction_ids": turns}))
        try:
            if profiles := [row for row in missing if isinstance(row, UserProfile)]:
                await self.scope.client.add_profiles(profiles)
            if playbooks := [row for row in missing if not isinstance(row, UserProfile)]:
                await self.scope.client.add_user_playbooks(playbooks)
        except ReflexioError as error:  # it may have taken effect
            self._stop(error)
        after = await learnings_of_user(self.scope, user_id)
        added = Counter(
            one.digest
            for key, one in learnings.items()
            if self.became[key] == "left" and key not in corrected
        )
        doubles = _doubles([one for one in after if one.learning_id not in ids], added)
        await delete_by_id(self.scope, doubles, set())
        after = [one for one in after if one not in doubles]
        stored = {
            one.digest: one for one in after if one.learning_id in corrected or one.learning_id not in ids
        }
        for key, one in learnings.items():
            if self.became[key] == "left" and one.digest in stored:
                del self.became[key]
                self.back[key] = Counts(learnings=1)
                self.learned[key] = stored[one.digest]

    async def take_out(self, keys: Sequence[str]) -> None:
        """Delete restored items that another call has erased meanwhile."""
        gone = [key for key in keys if self.back.pop(key, None) or self.became.get(key) == "unknown"]
        if not gone:
            return
        self.became |= dict.fromkeys(gone, "not_restorable")
        learned = [self.learned[key] for key in gone if key in self.learned]
        try:
            if requests := [key for key in gone if key not in self.learned]:
                await self.scope.client.delete_requests_by_ids(requests)
            await delete_by_id(self.scope, learned, set())
        except ReflexioError as error:
            self._stop(error)
            self.remains.append(NOT_TAKEN_OUT.format(number=len(gone)))
        else:
            self.remains.append(ERASED.format(number=len(gone)))


def _doubles(new: Sequence[Learning], added: Counter[str]) -> list[Learning]:
    """Return playbooks that another restore stored at the same time: each call keeps those with the lowest ids."""
    doubles: list[Learning] = []
    playbooks = [one for one in new if one.kind == "user_playbook" and one.digest in added]
    for one in sorted(playbooks, key=lambda one: int(one.number)):
        added[one.digest] -= 1
        if added[one.digest] < 0:
            doubles.append(one)
    return doubles


def _said(item: RequestWithInteractions) -> dict[int, object]:
    """Return the content that a restore preserves, by interaction id."""
    whose = (item.request.user_id, item.request.session_id)
    turns = [turn for turn in item.interactions if _turn(turn)]
    said: dict[int, object] = {0: whose}
    return said | {turn.interaction_id: (turn_digest(turn), turn.user_action) for turn in turns}


_NOT_PUBLISHED: Final = {"interaction_id", "user_id", "request_id", "citations", "image_encoding"}


def _turn(stored: StoredInteraction) -> Interaction | None:
    """Return an interaction for publishing again; `None` if it only had an image."""
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
