import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from reflexio_mcp.rest.models import UserPlaybook, UserProfile
from reflexio_mcp.traffic.content import add_texts

__all__ = ["Learning", "Sources", "learning_of", "listed_by"]

Kind = Literal["profile", "user_playbook"]

AnyInteraction = TypeVar("AnyInteraction")

HowKnown = Literal["recorded", "reconstructed", "not_known"]
"""How it is known where a learning comes from.

- `recorded`: it lists its interactions.
- `reconstructed`: it lists none, but names the last request of its window, and this is one of the requests in question.
- `not_known`: neither.
"""


@dataclass(frozen=True, slots=True)
class Learning:
    """A profile or a user playbook.

    Args:
        number: the id in the API.
        trigger: when a playbook applies.
        state: such as `current`, `pending`, `archived`, `merged`, `superseded` or `expired`.
        changed_at: epoch seconds. Of a playbook, its creation; of a replaced profile, when it was replaced.
        interaction_ids: the listed sources, stored or not.
        last_request_id: the request that closed the window.
    """

    kind: Kind
    number: str
    user_id: str
    content: str
    trigger: str
    state: str
    changed_at: int
    quote: str
    interaction_ids: frozenset[int]
    last_request_id: str
    row: UserProfile | UserPlaybook | None = field(default=None, compare=False, repr=False)

    @property
    def learning_id(self) -> str:
        """`profile:…` or `user_playbook:…`."""
        return f"{self.kind}:{self.number}"

    @property
    def is_replaced(self) -> bool:
        """Whether another learning took its place, or Reflexio forgot it: the state does not tell these apart."""
        return self.state in {"merged", "superseded"}

    def is_same_as(self, other: "Learning") -> bool:
        """Whether this is the other learning, perhaps under another id or in another state."""
        return self.digest == other.digest and self.interaction_ids == other.interaction_ids

    @property
    def digest(self) -> str:
        """A digest of the texts, which can be edited under the same id."""
        digest = hashlib.sha256()
        add_texts(digest, (self.user_id, self.content, self.trigger, self.quote))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Sources:
    """Some requests and their interactions, by id."""

    request_ids: frozenset[str]
    interaction_ids: frozenset[int]

    def link_of(self, learning: Learning) -> HowKnown | None:
        """How a learning is linked to these requests; `None` if it is not."""
        if learning.interaction_ids:
            return None if self.interaction_ids.isdisjoint(learning.interaction_ids) else "recorded"
        return "reconstructed" if learning.last_request_id in self.request_ids else None

    def united(self, other: "Sources") -> "Sources":
        return Sources(self.request_ids | other.request_ids, self.interaction_ids | other.interaction_ids)

    def among(self, interactions: Mapping[int, AnyInteraction]) -> dict[int, AnyInteraction]:
        """Return those of some interactions that belong to these requests, by id."""
        return {id_: found for id_, found in interactions.items() if id_ in self.interaction_ids}

    def listing_only_others(self, learnings: Iterable[Learning]) -> list[Learning]:
        """Return the learnings that list only interactions of other requests."""
        return [learning for learning in learnings if learning.interaction_ids and not self.link_of(learning)]


def how_recorded(learning: Learning) -> HowKnown:
    """How it is known where a learning comes from, if no requests are in question: never `reconstructed`."""
    return "recorded" if learning.interaction_ids else "not_known"


def listed_by(learnings: Iterable[Learning]) -> frozenset[int]:
    """Return the ids of all interactions that learnings list."""
    return frozenset[int]().union(*(learning.interaction_ids for learning in learnings))


def learning_of(row: UserProfile | UserPlaybook) -> Learning:
    if isinstance(row, UserProfile):
        kind, number, trigger = "profile", row.profile_id, ""
        changed_at, last_request_id = row.last_modified_timestamp, row.generated_from_request_id
    else:
        kind, number, trigger = "user_playbook", str(row.user_playbook_id), row.trigger
        changed_at, last_request_id = row.created_at, row.request_id
    return Learning(
        kind,
        number,
        row.user_id or "",
        row.content,
        trigger,
        row.status or "current",
        changed_at,
        row.source_span,
        frozenset(row.source_interaction_ids),
        last_request_id,
        row,
    )
