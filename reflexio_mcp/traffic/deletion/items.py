"""What a deletion takes, one by one, and what is known of each."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from reflexio_mcp.rest.models import (
    RequestWithInteractions,
    SessionOutcome,
    StoredInteraction,
    UnreadableRequest,
    UserPlaybook,
    UserProfile,
)
from reflexio_mcp.results.deletion import Counts
from reflexio_mcp.state.records import Copied
from reflexio_mcp.traffic.content import add_texts, turn_digest
from reflexio_mcp.traffic.learnings.records import Learning, Sources, learning_of

__all__ = [
    "Item",
    "copied_learning",
    "copied_request",
    "copy_of_learning",
    "counts_of",
    "found_again",
    "interaction_item",
    "learning_item",
    "names_of",
    "outcome_item",
    "request_item",
    "sources_of",
]

Kind = Literal["request", "interaction", "profile", "user_playbook", "session_outcome"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a deletion takes.

    Args:
        digest: tells it apart from what takes its id later.
        created_at: epoch seconds.
        request_id: of an interaction, the request that it is in.
        only_in_copies: nothing but a recovery copy holds it.
        unreadable: the service fails to return it, so that nothing but its id is known.
    """

    kind: Kind
    id: str
    user_id: str
    digest: str
    created_at: int = 0
    session_id: str = ""
    request_id: str = ""
    interaction_ids: tuple[int, ...] = ()
    only_in_copies: bool = False
    unreadable: bool = False


def digest_of(item: RequestWithInteractions) -> str:
    """What tells a stored request apart from another one that took its id, and from itself put back."""
    request, digest = item.request, hashlib.sha256()
    add_texts(digest, (f"{request.created_at} {request.arrival}", request.user_id, request.session_id))
    for turn in item.interactions:
        add_texts(digest, (str(turn.interaction_id), turn_digest(turn)))
    return digest.hexdigest()


def request_item(item: RequestWithInteractions, *, only_in_copies: bool = False) -> Item:
    request = item.request
    return Item(
        "request",
        request.request_id,
        request.user_id,
        digest_of(item),
        request.created_at,
        request.session_id,
        interaction_ids=tuple(turn.interaction_id for turn in item.interactions),
        only_in_copies=only_in_copies,
        unreadable=isinstance(item, UnreadableRequest),
    )


def interaction_item(item: RequestWithInteractions, turn: StoredInteraction) -> Item:
    request = item.request
    return Item(
        "interaction",
        str(turn.interaction_id),
        request.user_id,
        f"{turn_digest(turn)} {request.arrival}",
        request.created_at,
        request.session_id,
        request.request_id,
        (turn.interaction_id,),
    )


def found_again(item: RequestWithInteractions, planned: Item) -> tuple[Item, Copied] | None:
    """What a stored request has under the id of a planned item, with its recovery copy."""
    if planned.kind == "request":
        return request_item(item), copy_of(item)
    for turn in item.interactions:
        if str(turn.interaction_id) == planned.id:
            return interaction_item(item, turn), copy_of_turn(item, turn)
    return None


def learning_item(learning: Learning, *, only_in_copies: bool = False) -> Item:
    return Item(
        learning.kind,
        learning.learning_id,
        learning.user_id,
        learning.digest,
        learning.changed_at,
        only_in_copies=only_in_copies,
    )


def outcome_item(outcome: SessionOutcome) -> Item:
    said = json.dumps([outcome.outcome, outcome.occurred_at])
    return Item("session_outcome", outcome.session_id, outcome.user_id, said, outcome.occurred_at)


def counts_of(items: Iterable[Item]) -> Counts:
    """How many of each kind; the interactions of a request count too."""
    counted = Counts()
    for item in items:
        if item.only_in_copies:
            counted += Counts(only_in_copies=1)
        elif item.kind == "request":
            counted += Counts(requests=1, interactions=len(item.interaction_ids))
        elif item.kind == "interaction":
            counted += Counts(interactions=1)
        elif item.kind == "session_outcome":
            counted += Counts(session_outcomes=1)
        else:
            counted += Counts(learnings=1)
    return counted


def sources_of(items: Iterable[Item]) -> dict[str, Sources]:
    """Requests and interactions as the sources of learnings, by user."""
    by_user: dict[str, tuple[set[str], set[int]]] = {}
    for item in items:
        if item.kind in ("request", "interaction") and not item.unreadable:
            requests, turns = by_user.setdefault(item.user_id, (set(), set()))
            turns.update(item.interaction_ids)
            if item.kind == "request":
                requests.add(item.id)
    return {user: Sources(frozenset(ids), frozenset(turns)) for user, (ids, turns) in by_user.items()}


def names_of(item: Item) -> list[str]:
    """The names by which recovery copies of an item, and of what was learned from it, are found."""
    if item.kind in ("request", "interaction"):
        own = f"r:{item.request_id or item.id}"
        return [own, *(f"i:{one}" for one in item.interaction_ids)]
    return [f"l:{item.id}", f"t:{item.digest}"]


def copy_of(item: RequestWithInteractions) -> Copied:
    """The recovery copy of a whole request."""
    names = [f"r:{item.request.request_id}", *(f"i:{turn.interaction_id}" for turn in item.interactions)]
    names += {f"r:{turn.request_id}" for turn in item.interactions if turn.request_id}
    request = item.request
    return Copied("request", request.request_id, request.user_id, names, item.model_dump_json())


def copy_of_turn(item: RequestWithInteractions, turn: StoredInteraction) -> Copied:
    """The recovery copy of one interaction. It is restored as a request of its own: the service adds none to a request.

    Its id follows from the interaction's, so that nothing is restored twice.
    """
    request, number = item.request, turn.interaction_id
    own = request.model_copy(update={"request_id": f"{request.request_id}-turn-{number}"})
    alone = RequestWithInteractions(request=own, interactions=[turn])
    names = [f"r:{request.request_id}", f"r:{own.request_id}", f"i:{number}"]
    return Copied("interaction", str(number), request.user_id, names, alone.model_dump_json())


def copy_of_learning(learning: Learning) -> Copied:
    """The recovery copy of a learning. It is found by its sources too."""
    names = [f"l:{learning.learning_id}", f"t:{learning.digest}"]
    names += [f"i:{one}" for one in sorted(learning.interaction_ids)] or [f"r:{learning.last_request_id}"]
    content = learning.row.model_dump_json() if learning.row else "{}"
    return Copied(learning.kind, learning.learning_id, learning.user_id, names, content)


def copied_request(copied: Copied) -> RequestWithInteractions | None:
    """The request that a recovery copy holds; `None` for a learning."""
    if copied.kind not in ("request", "interaction"):
        return None
    return RequestWithInteractions.model_validate_json(copied.content)


def copied_learning(copied: Copied) -> Learning | None:
    """The learning that a recovery copy holds; `None` for a request."""
    models: dict[str, Any] = {"profile": UserProfile, "user_playbook": UserPlaybook}
    model = models.get(copied.kind)
    return learning_of(model.model_validate_json(copied.content)) if model else None
