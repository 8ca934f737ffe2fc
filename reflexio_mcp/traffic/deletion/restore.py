"""Lists deletions, and restores a recovery copy: first the requests, then the learnings from them."""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

import anyio
from pydantic import ValidationError

from reflexio_mcp.rest.errors import AlreadyExists, InvalidBody, NotSent, ReflexioError, explain
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    StoredInteraction,
    UserProfile,
)
from reflexio_mcp.results.base import NOTICE, at, shown_name
from reflexio_mcp.results.deletion import Counts, Outcome, PastDeletion, Receipt, Restored, excepted
from reflexio_mcp.state.records import Copied, Deletion, Owner, RecoveryCopy
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import interaction_digest, opening, texts_of
from reflexio_mcp.traffic.deletion.items import (
    LEARNINGS,
    Content,
    Item,
    counts_of,
    item_for,
    item_of,
    kinds_counted,
    learning_item,
    opened,
)
from reflexio_mcp.traffic.deletion.jobs import Jobs
from reflexio_mcp.traffic.deletion.plan import examples
from reflexio_mcp.traffic.deletion.targets import OPENING_CHARS
from reflexio_mcp.traffic.errors import NotStored, Unreadable, quoted, refusing
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import delete_by_id, update_text
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["AWAY", "Restoring", "Undo", "last_deletions", "plan_restore", "restore"]

BATCH: Final = 50

PUBLISH_SECONDS: Final = 90.0
"""Time limit of storing one request, longer than a rate limit of a minute."""

LOOK_SECONDS: Final = 20.0
"""Time limit of counting what an interrupted deletion deleted."""

MOST: Final = 10
"""Maximum number of last deletions, and of receipts in a longer list."""

SHOWN: Final = 50
"""Maximum number of deletions to choose from, and of requests in the plan of a restore."""

AWAY: Final = (
    "Recovery copies cannot be read now ({why}); nothing more was restored. Ask the operator to {advice}."
)
NO_COPY: Final = (
    "Deletion {number} has no recovery copy{of} that you can restore. A restore without a number lists the "
    "deletions that have a copy."
)
ERASED: Final = (
    "{number:,} items were erased for good while they were restored. They were deleted again, unless the restore "
    "ended early."
)
MORE: Final = f"The {SHOWN} oldest of {{number:,}} requests are shown. The audit log has the ids of all."
INTERACTIONS_LOST: Final = (
    "{number:,} interactions cannot be stored again: they contain only an image or a citation, or too much."
)
AGAIN: Final = "Call again with the same arguments to restore the rest; restored items stay."


async def last_deletions(
    scope: Scope,
    state: State,
    owner: Owner,
    jobs: Jobs | None = None,
    *,
    number: int = 0,
    restorable: bool = False,
) -> list[PastDeletion]:
    """Return the last deletions of an owner, newest first, with what can be restored. Raises `StateUnusable`.

    Args:
        number: only this deletion.
        restorable: only deletions with a recovery copy.
    """
    jobs = jobs or Jobs()
    running = jobs.running
    most = SHOWN if restorable else MOST
    deletions = await in_thread(state.last, owner, most, number, restorable=restorable)
    running |= jobs.running
    copies = await in_thread(state.copies.listed, owner)  # also those of deletions that ended meanwhile
    past = [
        await _past(scope, one, copies.get(one.number), one.number in running)
        for one in deletions
        if one.number in copies or (one.own and not restorable)
    ]
    return past[:MOST] + [one.model_copy(update={"receipt": None}) for one in past[MOST:]]


async def _past(scope: Scope, one: Deletion, copy: RecoveryCopy | None, running: bool) -> PastDeletion:
    if copy and not one.own:  # nothing else of that deletion is shown
        number = copy.counts.total()
        one = one._replace(target="deleted by an operator", asked=number, gone=number, planned=[], receipt="")
    gone = one.gone
    if one.finished:
        status = one.outcome or "incomplete"
    elif running:
        status = "running"
    else:
        status, gone = "unfinished", max(gone, await _gone(scope, one.planned))
    return PastDeletion(
        number=one.number,
        at=at(one.at),
        target=shown_name(one.target),
        status=status,
        asked=one.asked,
        gone=gone,
        copied=kinds_counted(copy.counts) if copy else None,
        until=at(copy.until) if copy else None,
        receipt=_receipt(one) if one.receipt else None,
    )


def _receipt(one: Deletion) -> Receipt:
    receipt = Receipt.model_validate_json(one.receipt)
    # Its recovery copy may have changed since.
    return receipt.model_copy(update={"log": one.chain, "way_back": None})


async def _gone(scope: Scope, ids: list[str]) -> int:
    """Count the requests of an interrupted deletion that are gone; 0 if they cannot be read in time."""
    stored: list[str] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        stored.extend(one.request.request_id for one in items)

    try:
        with anyio.fail_after(LOOK_SECONDS):
            await read_set(scope, ids, take)
    except (ReflexioError, TimeoutError):
        return 0
    return len(ids) - len(stored)


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


async def _opened(state: State, owner: Owner, undo: Undo) -> AsyncIterator[dict[str, tuple[Copied, Content]]]:
    """Open the copies of a deletion in batches, by the ids under which they are restored, the oldest first.

    Raises:
        NotStored: there are no copies.
        Unreadable: they cannot be read.
    """
    names = [f"r:{one}" for one in undo.ids] or None
    reading = state.copies.read(owner, deletion=undo.number, names=names)
    found = False
    with refusing(AWAY, kind=Unreadable):
        while copies := await in_thread(lambda: list(islice(reading, BATCH))):
            found = True
            contents = [(one, opened(one)) for one in copies]
            yield {item_for(content).id: (one, content) for one, content in contents}
    if not found:
        raise NotStored(NO_COPY.format(number=undo.number, of=" of these requests" if undo.ids else ""))


async def plan_restore(scope: Scope, state: State, owner: Owner, undo: Undo) -> tuple[Restored, str]:
    """Return what a restore would put back, and what its code is bound to. Raises as `_opened` does."""
    counts, first = Counts(), list[RequestWithInteractions]()
    bound = hashlib.sha256(repr((undo.number, sorted(undo.ids), undo.evaluation_only)).encode())
    missing = {f"r:{one}" for one in undo.ids}
    async for batch in _opened(state, owner, undo):
        missing.difference_update(*(copied.names for copied, _ in batch.values()))
        contents = [content for _, content in batch.values()]
        counts += counts_of(map(item_for, contents))
        requests = [one for one in contents if isinstance(one, RequestWithInteractions)]
        first += requests[: SHOWN - len(first)]
        bound.update("\0".join(batch).encode("utf-8", "surrogatepass"))
    if missing:
        raise NotStored(NO_COPY.format(number=undo.number, of=f" of request {quoted(min(missing)[2:])}"))
    openings = {} if scope.masked else {one.request.request_id: opening(one, OPENING_CHARS) for one in first}
    return Restored(
        notice=NOTICE,
        status="planned",
        number=undo.number,
        planned=counts,
        remains=[MORE.format(number=counts.requests)] * (counts.requests > SHOWN),
        examples=await examples(scope, [item_of(one) for one in first], openings),
    ), bound.hexdigest()


async def restore(
    scope: Scope, state: State, owner: Owner, undo: Undo, *, seconds: float, progress: Progress
) -> Restored:
    """Restore a recovery copy. Only the text of a corrected learning is overwritten.

    The call ends after `seconds` and names what is left; a repeated call continues. Raises as `_opened` does.
    """
    began = await in_thread(state.now)
    act = Restoring(scope, undo.evaluation_only, time.monotonic() + seconds)
    learnings: dict[str, Learning] = {}
    async for batch in _opened(state, owner, undo):
        act.copies |= {key: replace(copied, content="") for key, (copied, _) in batch.items()}
        learnings |= {key: one for key, (_, one) in batch.items() if isinstance(one, Learning)}
        await act.requests(
            {key: one for key, (_, one) in batch.items() if isinstance(one, RequestWithInteractions)}
        )
        await progress("requests restored", len(act.back), None)
    await act.learnings(learnings)
    erased = await in_thread(state.copies.erased_since, owner, began, list(act.copies.values()))
    await act.take_out(key for key, one in act.copies.items() if (one.kind, one.id) in erased)
    done = act.receipt(undo.number)
    facts = {
        "tool": "restore_requests",
        "outcome": done.status,
        "ids": [*act.back],
        "not_restored": act.became,
    }
    all_of_it = not undo.ids and set(act.became.values()) <= {"already_there"}
    await in_thread(
        state.note_restored,
        owner,
        undo.number,
        some_of_it=bool(act.back),
        all_of_it=all_of_it,
        facts=facts,
    )
    return done


@dataclass
class Restoring:
    """One running restore.

    Args:
        until: when to stop, in monotonic seconds.
        copies: the copies so far, without content.
        became: the outcome of each id that is not back.
        back: the restored items as they are stored now, by the id in the copy.
        interactions: the ids that restored interactions have now, by the ids that they had.
    """

    scope: Scope
    evaluation_only: bool = False
    until: float = math.inf
    became: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    back: dict[str, Item] = field(default_factory=dict[str, Item])
    copies: dict[str, Copied] = field(default_factory=dict[str, Copied])
    interactions: dict[int, int] = field(default_factory=dict[int, int])
    interactions_lost: int = 0
    remains: list[str] = field(default_factory=list[str])
    stopped: bool = False

    def receipt(self, number: int = 0) -> Restored:
        if self.interactions_lost:
            self.remains.append(INTERACTIONS_LOST.format(number=self.interactions_lost))
        unfinished = self.stopped or not {"left", "unknown"}.isdisjoint(self.became.values())
        return Restored(
            notice=NOTICE if self.became else "",
            status="incomplete" if unfinished else "complete",
            number=number,
            restored=counts_of(self.back.values()),
            not_restored=excepted(self.became, self.scope.shown_id),
            remains=self.remains,
            next=AGAIN if unfinished else "",
        )

    def _stop(self, error: ReflexioError) -> None:
        self.stopped = True
        self.remains.append(f"The call ended early: {explain(error, 'read')}")

    @contextmanager
    def _stopping(self) -> Generator[None]:
        """Let a failure end the restore early."""
        try:
            yield
        except ReflexioError as error:
            self._stop(error)

    async def requests(self, requests: Mapping[str, RequestWithInteractions]) -> None:
        self.became |= dict.fromkeys(requests, "left")
        # An interaction whose deletion failed is still in its request.
        single = {key: one for key in requests if (one := self.copies.get(key)) and one.kind == "interaction"}
        with self._stopping():
            for key, item in (await self._stored(requests, single)).items():
                self.became[key] = "already_there" if item else "id_taken"
            for key, one in requests.items():
                if self.became[key] == "left":
                    self.became[key] = await self._store(one)
        sent = {key: one for key, one in requests.items() if self.became[key] == "unknown"}
        with self._stopping():
            stored = await self._stored(sent)
            self.became |= {key: "id_taken" if key in stored else "left" for key in sent}
            self._is_back({key: item for key, item in stored.items() if item})

    def _is_back(self, items: Mapping[str, Item]) -> None:
        self.back |= items
        for key in items:
            del self.became[key]

    async def _stored(
        self, requests: Mapping[str, RequestWithInteractions], single: Mapping[str, Copied] | None = None
    ) -> dict[str, Item | None]:
        """Return the stored requests and `single` interactions; `None` if another request has the id."""
        single = single or {}
        found: dict[str, Item | None] = {}

        async def take(items: list[RequestWithInteractions]) -> None:
            for stored in items:
                there = {str(one.interaction_id) for one in stored.interactions}
                found.update((key, item_of(stored)) for key, one in single.items() if one.id in there)
                if restored := requests.get(key := stored.request.request_id):
                    before, now = _said(restored), _said(stored)
                    same = list(before.values()) == list(now.values())
                    found[key] = item_of(stored) if same else None
                    # Restored interactions have new ids.
                    self.interactions |= dict(zip(before, now, strict=True)) if same else {}

        # The first name of a copy names the request.
        ids = dict.fromkeys([*requests, *(one.names[0][2:] for one in single.values())])
        await read_set(self.scope, list(ids), take, whole=True)
        return found

    async def _store(self, item: RequestWithInteractions) -> Outcome:
        """Store one request. The outcome is `unknown` until the request is read again."""
        if self.stopped or (seconds := self.until - time.monotonic()) <= 0:
            self.stopped = True
            return "left"
        request = item.request.model_copy(
            update={"evaluation_only": self.evaluation_only or item.request.evaluation_only}
        )
        interactions = [one for stored in item.interactions if (one := _published(stored))]
        try:
            if self.scope.exact and request.whole:
                await self.scope.client.put_back(item.model_copy(update={"request": request}))
            elif interactions:
                self.interactions_lost += len(item.interactions) - len(interactions)
                whole = {**request.model_dump(), "interaction_data_list": interactions}
                body = PublishBody.model_validate(whole, extra="ignore")
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
        self.became |= dict.fromkeys(learnings, "left")
        by_user: defaultdict[str, dict[str, Learning]] = defaultdict(dict)
        for key, one in learnings.items():
            by_user[one.user_id][key] = one
        with self._stopping():
            for user_id, of_user in by_user.items():
                if not self.stopped:
                    await self._of_user(user_id, of_user)

    async def _of_user(self, user_id: str, learnings: Mapping[str, Learning]) -> None:
        before = await learnings_of_user(self.scope, user_id)
        ids, texts = {one.learning_id: one for one in before}, {one.digest for one in before}
        missing: defaultdict[str, list[Any]] = defaultdict(list)
        for key, one in learnings.items():
            there, row = ids.get(key), one.row
            if one.digest in texts:  # a restored playbook has another id
                self.became[key] = "already_there"
            elif isinstance(row, UserProfile) and 0 < row.expiration_timestamp <= time.time():
                self.became[key] = "not_restorable"
            elif there is None and row:
                sources = [self.interactions.get(id_, id_) for id_ in row.source_interaction_ids]
                missing[one.kind].append(row.model_copy(update={"source_interaction_ids": sources}))
            elif there is None or f"t:{there.digest}" not in self.copies[key].names:
                self.became[key] = "id_taken"
            elif learning_item(one).held_by(self.scope.policy.now()):
                self.became[key] = "held"
            else:  # the old text replaces the corrected one
                await update_text(self.scope, one, one.content)
        with self._stopping():  # a failed call may have taken effect
            if profiles := missing["profile"]:
                await self.scope.client.add_profiles(profiles)
            if playbooks := missing["user_playbook"]:
                await self.scope.client.add_user_playbooks(playbooks)
        after = {one.digest: learning_item(one) for one in await learnings_of_user(self.scope, user_id)}
        left = {key: one.digest for key, one in learnings.items() if self.became[key] == "left"}
        self._is_back({key: after[text] for key, text in left.items() if text in after})

    async def take_out(self, keys: Iterable[str]) -> None:
        """Delete restored items that another call has erased meanwhile."""
        gone = [key for key in keys if key in self.back or self.became[key] == "unknown"]
        if not gone:
            return
        out = [self.back.pop(key, None) for key in gone]
        learned = [one.id for one in out if one and one.is_learning]
        requests = [key for key in gone if self.copies[key].kind not in LEARNINGS]
        self.became |= dict.fromkeys(gone, "not_restorable")
        with self._stopping():
            if requests:
                await self.scope.client.delete_requests_by_ids(requests)
            await delete_by_id(self.scope, learned, set())
        self.remains.append(ERASED.format(number=len(gone)))


def _said(item: RequestWithInteractions) -> dict[int, object]:
    """Return the content that a restore preserves, by interaction id."""
    whose = (item.request.user_id, item.request.session_id)
    interactions = [one for one in item.interactions if _published(one)]
    said: dict[int, object] = {0: whose}
    return said | {one.interaction_id: (interaction_digest(one), one.user_action) for one in interactions}


def _published(stored: StoredInteraction) -> Interaction | None:
    """Return an interaction for publishing again; `None` if that is not possible."""
    said = any(text.strip() for text in texts_of(stored))
    if not (said or stored.interacted_image_url or stored.tools_used):
        return None
    with suppress(ValidationError):
        whole = stored.model_dump(exclude={"citations", "image_encoding"})
        return Interaction.model_validate(whole, extra="ignore")
