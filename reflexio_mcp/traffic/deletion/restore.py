"""Storing again what a recovery copy holds: first the requests, then what was learned from them."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio
import anyio.to_thread
from pydantic import ValidationError

from reflexio_mcp.rest.errors import (
    AlreadyExists,
    BadAddress,
    Closed,
    InvalidBody,
    NotSent,
    RateLimited,
    ReflexioError,
)
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    StoredInteraction,
    StoredRequest,
    ToolUse,
    UserPlaybook,
    UserProfile,
)
from reflexio_mcp.state.recovery_copies import CopiedLearning, RecoveryCopies, RecoveryCopy
from reflexio_mcp.traffic.content import texts_of, turn_digest
from reflexio_mcp.traffic.errors import NotStored, Unreadable, refusing
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources, learning_of
from reflexio_mcp.traffic.reading.lookup import Progress, read_set, require_id, untold
from reflexio_mcp.traffic.scope import Scope

__all__ = ["AWAY", "Became", "Restored", "restore"]

Became = Literal["restored", "already_there", "id_taken", "not_restorable", "not_in_copy", "left"]
"""What became of one id. `id_taken` is one under which something else is stored by now, which stays, or something that
cannot be read here. `left` means that the call ended before its turn: a repeat goes on there."""

LEARNINGS_AT_ONCE: Final = 20
"""Learnings in one call: each takes the service a tenth of a second."""

AWAY: Final = (
    "Recovery copies cannot be read now ({why}); nothing was restored. Ask the operator to {advice}."
)
UNREADABLE: Final = "The recovery copy cannot be read; nothing was restored. See the server's log."


@dataclass
class Restored:
    """What a restore did.

    Args:
        copy: the recovery copy.
        outcomes: what became of each id.
        in_part: how many requests were stored again by their words alone, without their time, images and citations:
            their copies do not hold these, or the backend takes no time.
        turns_lost: interactions that cannot be stored again in the form in which the API returned them.
        waiting: seconds until the service accepts more, when its rate limit ended the call.
        failure: what else ended the call early.
        refused: why the first of those that were refused, and are not restorable, was.
        stored: the requests that were stored again.
        learned: what became of each learning, by its id in the copy.
        new_ids: the ids of those that have another one now.
        checked: what is said to be restored was seen by reading again.
        interactions: how many interactions were seen of it.
        differs: those in which something else was read than the copy has.
    """

    copy: RecoveryCopy
    outcomes: dict[str, Became] = field(default_factory=dict[str, Became])
    in_part: int = 0
    turns_lost: int = 0
    waiting: float | None = None
    failure: ReflexioError | None = None
    refused: ReflexioError | None = None
    stored: list[StoredRequest] = field(default_factory=list[StoredRequest])
    learned: dict[str, Became] = field(default_factory=dict[str, Became])
    new_ids: dict[str, str] = field(default_factory=dict[str, str])
    checked: bool = False
    interactions: int = 0
    differs: list[str] = field(default_factory=list[str])

    def ids(self, became: Became) -> list[str]:
        return [one for one, what in self.outcomes.items() if what == became]

    def stopped_by(self, error: ReflexioError) -> None:
        if isinstance(error, RateLimited):
            self.waiting = error.retry_after or 60.0
        else:
            self.failure = self.failure or error


async def restore(
    scope: Scope,
    copies: RecoveryCopies,
    owner: str,
    copy_id: str,
    request_ids: Sequence[str] = (),
    *,
    evaluation_only: bool = False,
    seconds: float = 45.0,
    progress: Progress = untold,
) -> Restored:
    """Store the requests of a copy again under their own ids, oldest first, then its learnings.

    They are put back as they were where the backend takes that, and their copy holds all that was stored. Else they are
    published again.

    Nothing that is stored is overwritten. The call ends after `seconds`, or when the service's rate limit is reached,
    and names what is left; a repeat goes on there.

    Args:
        request_ids: only these, and the learnings that they fed; all when empty.
        evaluation_only: store them so that nothing is learned from them again.

    Raises:
        InvalidInput: an id is blank.
        NotStored: there is no such copy in this scope, or it cannot be read.
        Unreadable: it is not known which copies there are.
        ReflexioError: what is already stored could not be read; nothing was restored.
    """
    with refusing(AWAY, kind=Unreadable):
        copy = await anyio.to_thread.run_sync(copies.find, owner, copy_id.strip())
    if copy is None:
        raise NotStored("No recovery copy has this copy_id. List the copies with restore_requests alone.")
    try:
        held = await anyio.to_thread.run_sync(copies.contents, copy)
        learnings = await anyio.to_thread.run_sync(copies.learnings_in, copy) if copy.learnings else []
    except (OSError, ValueError) as error:
        raise NotStored(UNREADABLE) from error
    chosen = list(dict.fromkeys(require_id("request_ids", one) for one in request_ids)) or list(held)
    done = Restored(copy, {one: "left" if one in held else "not_in_copy" for one in chosen})
    wanted = [one for one in held if one in done.outcomes]

    def as_copied(item: RequestWithInteractions) -> bool:
        return _same(copies.read_at(copy, held[item.request.request_id]), item)

    def compare(items: list[RequestWithInteractions]) -> None:
        for item in items:
            with suppress(OSError, ValueError):
                same = as_copied(item)
                done.outcomes[item.request.request_id] = "already_there" if same else "id_taken"

    async def there(items: list[RequestWithInteractions]) -> None:
        await anyio.to_thread.run_sync(compare, items)

    await read_set(scope, wanted, there, whole=True, progress=progress)
    until = time.monotonic() + seconds
    for one in wanted:
        if time.monotonic() >= until:
            break
        if done.outcomes[one] != "left":
            continue
        try:
            item = await anyio.to_thread.run_sync(copies.read_at, copy, held[one])
        except (OSError, ValueError):
            done.outcomes[one] = "not_restorable"
            continue
        try:
            await _store_again(scope, item, evaluation_only, done)
        except AlreadyExists:
            # Stored since it was looked for, or somebody else's, which cannot be read here.
            done.outcomes[one] = "id_taken"
            try:
                await read_set(scope, [one], there, whole=True)
            except ReflexioError as error:
                done.outcomes[one] = "left"
                done.stopped_by(error)
                break
        except (BadAddress, Closed) as error:
            done.stopped_by(error)
            break
        except (NotSent, InvalidBody) as error:
            # It is this one that is not taken, in this form and at any time.
            done.outcomes[one] = "not_restorable"
            done.refused = done.refused or error
        except ReflexioError as error:
            done.stopped_by(error)
            break
        await progress("requests restored", len(chosen) - len(done.ids("left")), len(chosen))
    await _read_back(scope, done, as_copied)
    if learnings:
        back = _Learnings(scope, copies, done, lambda: time.monotonic() < until, progress)
        try:
            await back.restore(learnings, [held[one] for one in wanted], some=bool(request_ids))
        except ReflexioError as error:
            done.stopped_by(error)
        except (OSError, ValueError):
            # The copy was there a moment ago: its days are over, or somebody has removed it.
            done.learned = {learning_of(row).learning_id: "not_restorable" for row in learnings}
    return done


async def _read_back(
    scope: Scope, done: Restored, as_copied: Callable[[RequestWithInteractions], bool]
) -> None:
    """Look for what was stored: what is not there is left to do, and what cannot be read is not said to be seen."""
    missing = set(done.ids("restored"))
    interactions = 0

    async def seen(items: list[RequestWithInteractions]) -> None:
        nonlocal interactions
        interactions += sum(len(item.interactions) for item in items)
        missing.difference_update(item.request.request_id for item in items)
        await anyio.to_thread.run_sync(compare, items)

    def compare(items: list[RequestWithInteractions]) -> None:
        done.differs += [item.request.request_id for item in items if not as_copied(item)]

    try:
        await read_set(scope, list(missing), seen, whole=True)
    except (ReflexioError, OSError, ValueError):  # of the service, or of the copy
        return
    done.checked, done.interactions = True, interactions
    done.outcomes.update(dict.fromkeys(missing, "left"))


@dataclass
class _Learnings:
    """The learnings of a copy on their way back."""

    scope: Scope
    copies: RecoveryCopies
    done: Restored
    in_time: Callable[[], bool]
    """Whether another call may begin."""
    progress: Progress

    async def restore(self, rows: Sequence[CopiedLearning], places: Sequence[int], *, some: bool) -> None:
        """Store what is not there.

        Args:
            rows: what the copy holds.
            places: where it holds the requests that are restored.
            some: leave out learnings that these requests did not feed.

        Raises:
            OSError, ValueError: the copy can no longer be read.
        """
        done, turns = self.done, _Turns()
        for place in places:
            turns.add(await anyio.to_thread.run_sync(self.copies.read_at, done.copy, place))
        own = Sources(frozenset(done.outcomes), frozenset(turns.requests))
        by_user: defaultdict[str, list[CopiedLearning]] = defaultdict(list)
        now = time.time()
        for row in rows:
            one = learning_of(row)
            if some and not own.fed(one):
                continue
            over = isinstance(row, UserProfile) and 0 < row.expiration_timestamp <= now
            storable = self.scope.covers(one.user_id) and (one.content or one.trigger) and not over
            done.learned[one.learning_id] = "left" if storable else "not_restorable"
            if storable:
                by_user[one.user_id].append(row)
        if done.ids("left") or done.failure or done.waiting:
            return
        await read_set(self.scope, list(done.outcomes), turns.see)
        for user_id, of_user in by_user.items():
            await self._of_user(user_id, [turns.renewed(row) for row in of_user])

    async def _of_user(self, user_id: str, rows: Sequence[CopiedLearning]) -> None:
        learned = self.done.learned
        there = await learnings_of_user(self.scope, user_id)
        texts = {one.learning_id: one.digest for one in there}
        ids = texts.keys()
        own = {learning_of(row).learning_id for row in rows}
        # A repeat finds a playbook that it has stored under another id.
        elsewhere = Counter((one.digest, one.state) for one in there if one.learning_id not in own)
        missing: list[CopiedLearning] = []
        for row in rows:
            one = learning_of(row)
            if one.learning_id in ids:
                same = texts[one.learning_id] == one.digest
                learned[one.learning_id] = "already_there" if same else "id_taken"
            elif elsewhere[one.digest, one.state]:
                elsewhere[one.digest, one.state] -= 1
                learned[one.learning_id] = "already_there"
            else:
                missing.append(row)
        failure: ReflexioError | None = None
        for start in range(0, len(missing), LEARNINGS_AT_ONCE):
            if failure or not self.in_time():
                break
            try:
                await self._store(missing[start : start + LEARNINGS_AT_ONCE])
            except ReflexioError as error:
                failure = error
            stored = min(start + LEARNINGS_AT_ONCE, len(missing))
            await self.progress("learnings restored", stored, len(missing))
        if missing:
            # What is said to be restored was seen, also where a reply was lost.
            found = [
                one for one in await learnings_of_user(self.scope, user_id) if one.learning_id not in ids
            ]
            self._note(missing, found)
        if failure:
            raise failure

    async def _store(self, rows: Sequence[CopiedLearning]) -> None:
        if profiles := [row for row in rows if isinstance(row, UserProfile)]:
            await self.scope.client.add_profiles(profiles)
        if playbooks := [row for row in rows if isinstance(row, UserPlaybook)]:
            await self.scope.client.add_user_playbooks(playbooks)

    def _note(self, rows: Sequence[CopiedLearning], found: Sequence[Learning]) -> None:
        new: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for one in found:
            new[one.digest, one.state].append(one.learning_id)
        for row in rows:
            one = learning_of(row)
            if same := new[one.digest, one.state]:
                now = one.learning_id if one.learning_id in same else same[0]
                same.remove(now)
                self.done.learned[one.learning_id] = "restored"
                if now != one.learning_id:
                    self.done.new_ids[one.learning_id] = now


class _Turns:
    """Which stored interaction is which of a copy: what is stored again has new ids."""

    def __init__(self) -> None:
        self.requests: dict[int, str] = {}
        self._digests: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._now: dict[int, int] = {}

    def add(self, copied: RequestWithInteractions) -> None:
        request_id = copied.request.request_id
        for turn in copied.interactions:
            self.requests[turn.interaction_id] = request_id
            self._digests[request_id].append((turn.interaction_id, turn_digest(turn)))

    async def see(self, stored: list[RequestWithInteractions]) -> None:
        """Match the interactions of stored requests with those of the copy, in their order."""
        for item in stored:
            left = list(self._digests[item.request.request_id])
            for turn in item.interactions:
                digest = turn_digest(turn)
                place = next((place for place, (_, said) in enumerate(left) if said == digest), None)
                if place is not None:
                    self._now[left.pop(place)[0]] = turn.interaction_id

    def renewed(self, row: CopiedLearning) -> CopiedLearning:
        """A learning that names the interactions by the ids that they have now."""
        ids = [self._now.get(one, one) for one in row.source_interaction_ids]
        return row.model_copy(update={"source_interaction_ids": ids})


async def _store_again(
    scope: Scope, item: RequestWithInteractions, evaluation_only: bool, done: Restored
) -> None:
    request = item.request
    evaluation_only = evaluation_only or request.evaluation_only
    exactly = scope.exact and request.whole
    turns = [] if exactly else [turn for stored in item.interactions if (turn := _turn(stored))]
    done.outcomes[request.request_id] = "not_restorable"
    if not (turns or exactly) or not scope.covers(request.user_id):
        return
    try:
        if exactly:
            marked = request.model_copy(update={"evaluation_only": evaluation_only})
            await scope.client.put_back(item.model_copy(update={"request": marked}))
        else:
            await _publish(scope, request, turns, evaluation_only)
    except ReflexioError:
        done.outcomes[request.request_id] = "left"
        raise
    done.outcomes[request.request_id] = "restored"
    done.stored.append(request)
    if not exactly:
        done.in_part += 1
        done.turns_lost += len(item.interactions) - len(turns)


async def _publish(
    scope: Scope, request: StoredRequest, turns: list[Interaction], evaluation_only: bool
) -> None:
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
    await scope.client.publish(body, minted=False)


def _same(copied: RequestWithInteractions, stored: RequestWithInteractions) -> bool:
    """Whether what is stored is what a restore of the copy stores."""
    if copied.request.whole and stored.request.whole:
        return _all_of(copied) == _all_of(stored)
    return _said(copied) == _said(stored)


def _all_of(item: RequestWithInteractions) -> tuple[object, ...]:
    """All that is stored of a request but what a restore may change: the store's own numbers, and `evaluation_only`."""
    request = item.request.model_dump(exclude={"arrival", "evaluation_only"})
    return request, [turn.model_dump(exclude={"interaction_id", "request_id"}) for turn in item.interactions]


def _said(item: RequestWithInteractions) -> tuple[object, ...]:
    """Whose a request is, where it stands, and the words of all turns that a restore brings back."""
    turns = [
        (turn_digest(turn), turn.user_action, turn.interacted_image_url)
        for turn in item.interactions
        if _turn(turn)
    ]
    return item.request.user_id, item.request.session_id, turns


_NOT_PUBLISHED: Final = {"interaction_id", "user_id", "request_id", "citations", "image_encoding"}


def _turn(stored: StoredInteraction) -> Interaction | None:
    # Without its image an interaction may have nothing left.
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
