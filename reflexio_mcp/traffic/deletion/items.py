"""The items of a deletion and their recovery copies."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError

from reflexio_mcp.matching.words import tool_texts
from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.rest.models import (
    TEXT_FIELDS,
    Interaction,
    RequestWithInteractions,
    SessionOutcome,
    StoredInteraction,
    UnreadableRequest,
    UserPlaybook,
    UserProfile,
)
from reflexio_mcp.results.deletion import Counts
from reflexio_mcp.state.records import Copied, Name
from reflexio_mcp.traffic.content import add_texts, interaction_digest, texts_of
from reflexio_mcp.traffic.learnings.records import Learning, Sources, learning_of
from reflexio_mcp.traffic.learnings.shared import RuleSource, SharedRule, rule_id
from reflexio_mcp.traffic.policy import Hold, Policy

__all__ = ["content_of", "item_of", "restored_interaction"]

Content = RequestWithInteractions | Learning
Kind = Literal["request", "interaction", "profile", "user_playbook", "session_outcome", "agent_playbook"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a deletion.

    Args:
        digest: differs if something else is stored under the same id later.
        created_at: epoch seconds.
        request_id: the request itself, or the request of an interaction; empty for other kinds.
        said: a digest of what each interaction says, in the order of `interaction_ids`.
        source: the source of the request, or of the last request that a learning came from.
        unreadable: the service fails to return it, so only its id is known.
        rests_on: the stored playbooks from which a shared rule was made.
    """

    kind: Kind
    id: str
    user_id: str
    digest: str
    created_at: int = 0
    session_id: str = ""
    request_id: str = ""
    interaction_ids: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    source: str = ""
    unreadable: bool = False
    learning: Learning | None = field(default=None, compare=False, repr=False)
    rests_on: tuple[RuleSource, ...] = ()

    def held_by(self, policy: Policy) -> Hold | None:
        """Return the hold on the item's own names, or one that may be on it if the names cannot be read.

        `holds_on` also looks at what a learning, or a playbook that a shared rule was made from, came from.
        """
        if self.unreadable:
            return policy.may_hold(self.user_id)
        named = [
            (self.user_id, self.session_id, self.source),
            *((playbook.user_id, "", playbook.source) for playbook in self.rests_on),
        ]
        return next(filter(None, (policy.held_by(*names) for names in named)), None)

    @property
    def is_learning(self) -> bool:
        return self.kind in LEARNING_MODELS


LEARNING_MODELS: Final[dict[str, Any]] = {"profile": UserProfile, "user_playbook": UserPlaybook}


def item_of(stored: RequestWithInteractions, interaction: StoredInteraction | None = None) -> Item:
    request, interactions = stored.request, [interaction] if interaction else stored.interactions
    digest = hashlib.sha256()
    add_texts(digest, (f"{request.created_at} {request.arrival}", request.user_id, request.session_id))
    said = tuple(map(interaction_digest, interactions))
    for included, says in zip(interactions, said, strict=True):
        add_texts(digest, (str(included.interaction_id), says))
    return Item(
        kind="interaction" if interaction else "request",
        id=str(interaction.interaction_id) if interaction else request.request_id,
        user_id=request.user_id,
        digest=digest.hexdigest(),
        created_at=request.created_at,
        session_id=request.session_id,
        request_id=request.request_id,
        interaction_ids=tuple(included.interaction_id for included in interactions),
        said=said,
        source=request.source,
        unreadable=isinstance(stored, UnreadableRequest),
    )


def learning_item(learning: Learning) -> Item:
    source = learning.row.source if learning.row else ""
    return Item(
        kind=learning.kind,
        id=learning.learning_id,
        user_id=learning.user_id,
        digest=learning.digest,
        created_at=learning.changed_at,
        source=source,
        learning=learning,
    )


def rule_item(rule: SharedRule) -> Item:
    row = rule.row
    digest = hashlib.sha256()
    add_texts(digest, (row.content, row.trigger, row.rationale, row.playbook_status))
    return Item(
        kind="agent_playbook",
        id=rule_id(rule.number),
        user_id="",
        digest=digest.hexdigest(),
        created_at=row.created_at,
        rests_on=rule.sources,
    )


def outcome_item(outcome: SessionOutcome) -> Item:
    return Item(
        kind="session_outcome",
        id=f"outcome:{outcome.session_id}",
        user_id=outcome.user_id,
        digest=f"{outcome.outcome} {outcome.occurred_at}",
        created_at=outcome.occurred_at,
        session_id=outcome.session_id,
    )


def content_item(content: Content) -> Item:
    return learning_item(content) if isinstance(content, Learning) else item_of(content)


def counts_of(items: Iterable[Item], copied: Sequence[Item] = ()) -> Counts:
    """Count items. Only recovery copies contain the `copied` items."""
    counted: Counter[str] = Counter(only_in_copies=len(copied))
    for item in items:
        counted[item.kind] += 1
        counted["interaction"] += len(item.interaction_ids) if item.kind == "request" else 0
    return kinds_counted(counted)


def kinds_counted(kinds: Mapping[str, int]) -> Counts:
    return Counts(
        requests=kinds.get("request", 0),
        interactions=kinds.get("interaction", 0),
        learnings=sum(kinds.get(kind, 0) for kind in LEARNING_MODELS),
        session_outcomes=kinds.get("session_outcome", 0),
        shared_rules=kinds.get("agent_playbook", 0),
        only_in_copies=kinds.get("only_in_copies", 0),
    )


def sources_of(items: Iterable[Item]) -> dict[str, Sources]:
    by_user: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_user[item.user_id].append(item)
    return {
        user: Sources(
            frozenset(item.id for item in of_user if item.kind == "request"),
            frozenset(id_ for item in of_user for id_ in item.interaction_ids),
        )
        for user, of_user in by_user.items()
    }


def said_by(items: Iterable[Item], interactions: Collection[int]) -> dict[int, str]:
    """Return the digests of what those of these interactions say that are among items, by their ids."""
    return {
        number: digest
        for item in items
        for number, digest in zip(item.interaction_ids, item.said, strict=True)
        if number in interactions
    }


def names_of(item: Item) -> list[Name]:
    if item.request_id:
        interactions = [
            interaction_name(item.user_id, interaction_id) for interaction_id in item.interaction_ids
        ]
        return [Name.of("request", item.request_id), *interactions]
    return [Name.of("learning", item.id), Name.of("text", item.digest)]


def interaction_name(user_id: str, interaction_id: int) -> Name:
    return Name.of("interaction", f"{user_id}/{interaction_id}")


def sources_named(names: Iterable[Name]) -> Sources:
    """Return the requests and the interactions among names."""
    requests, interactions = set[str](), set[int]()
    for name in names:
        if name.kind == "request":
            requests.add(name.id)
        elif name.kind == "interaction":
            interactions.add(int(name.id.rpartition("/")[2]))
    return Sources(frozenset(requests), frozenset(interactions))


_OF_INTERACTION: Final = re.compile(r"(?P<request>.+)-interaction-(?P<interaction>\d{1,18})", re.DOTALL)


def _own_request(request_id: str, interaction_id: str) -> str:
    """Return the id of the request as which an interaction is restored."""
    return f"{request_id}-interaction-{interaction_id}"


def restored_interaction(request_id: str) -> tuple[str, int] | None:
    """Return the request and the id of an interaction that was restored under this id; `None` for other requests."""
    found = _OF_INTERACTION.fullmatch(request_id)
    return (found["request"], int(found["interaction"])) if found else None


def copy_of(stored: RequestWithInteractions, interaction: StoredInteraction | None = None) -> Copied:
    """Return the recovery copy of a request, or of one interaction of it.

    The API cannot add an interaction to a request, so an interaction is restored as its own request. The id of that
    request depends only on the interaction, so that nothing is restored twice.
    """
    item, kept = item_of(stored, interaction), stored
    names = names_of(item)
    if interaction:
        own = _own_request(item.request_id, item.id)
        request = stored.request.model_copy(update={"request_id": own})
        kept = RequestWithInteractions(request=request, interactions=[interaction])
        names.append(Name.of("request", own))
    names += [
        Name.of("text", said_digest(kept)),
        Name.of("session", stored.request.session_id),
        Name.of("requests_of", item.user_id),
    ]
    return Copied(
        kind=item.kind,
        id=item.id,
        user=item.user_id,
        names=names,
        content=kept.model_dump_json(),
        said=interactions_said(kept),
        request_says=said_digest(stored),
    )


def copy_of_learning(learning: Learning, corrected: Learning | None = None) -> Copied:
    """Return the recovery copy of a learning; its sources are names of the copy, too.

    Args:
        corrected: the learning with its new text, by which an erasure finds this copy, too.
    """
    names = names_of(learning_item(learning))
    if corrected:
        names.append(Name.of("text", corrected.digest))
    sources = [
        interaction_name(learning.user_id, interaction_id)
        for interaction_id in sorted(learning.interaction_ids)
    ]
    names += sources or [Name.of("request", learning.last_request_id)]
    content = learning.row.model_dump_json() if learning.row else "{}"
    return Copied(learning.kind, learning.learning_id, learning.user_id, names, content)


def publishable(stored: StoredInteraction) -> Interaction | None:
    """Return an interaction for publishing again; `None` if that is not possible."""
    said = any(text.strip() for text in texts_of(stored))
    if not (said or stored.interacted_image_url or stored.tools_used):
        return None
    with suppress(ValidationError):
        fields = stored.model_dump(exclude={"citations", "image_encoding"})
        return Interaction.model_validate(fields, extra="ignore")
    return None


def said_digest(stored: RequestWithInteractions) -> str:
    """A digest of whose a request is, and what was said in which order. Names of copies and notes contain it."""
    digest = hashlib.sha256()
    add_texts(digest, (stored.request.user_id, stored.request.session_id))
    for interaction in stored.interactions:
        if not publishable(interaction):
            continue
        add_texts(digest, (interaction_digest(interaction), interaction.user_action))
        add_texts(digest, (interaction.interacted_image_url, *_tool_uses(interaction)))
    return digest.hexdigest()


REQUEST_FIELDS: Final = {"user_id", "session_id", "source", "agent_version", "evaluation_only"}

EXPERIMENT_FIELDS: Final = {"retrieval_experiment_id", "retrieval_experiment_arm"}
"""Fields of a request that the embedded store does not keep."""

INTERACTION_FIELDS: Final = {
    *TEXT_FIELDS,
    "tools_used",
    "retrieved_learnings",
    "citations",
    "image_encoding",
}


def is_stored_as(
    stored: RequestWithInteractions, copied: RequestWithInteractions, *, put_back: bool = False
) -> bool:
    """Whether a stored request has in each field what a restore of a copy stores there, apart from times and numbers.

    Args:
        put_back: the restore puts the copy back with every field of the embedded store, images and citations too.
            Otherwise it publishes what is `publishable`, without images and citations, because Reflexio does not return
            those.
    """
    return _compared(stored, put_back=put_back) == _compared(copied, put_back=put_back)


def _compared(item: RequestWithInteractions, *, put_back: bool) -> list[str]:
    labels = item.request.model_dump(
        include=REQUEST_FIELDS if put_back else REQUEST_FIELDS | EXPERIMENT_FIELDS
    )
    sent = item.interactions if put_back else filter(None, map(publishable, item.interactions))
    return [
        _canonical(labels | {"agent_version": labels["agent_version"] or DEFAULT_AGENT_VERSION}),
        # Stores return interactions by time, and those of one time in the order of new numbers.
        *sorted(_canonical(interaction.model_dump(include=INTERACTION_FIELDS)) for interaction in sent),
    ]


def _canonical(fields: Mapping[str, Any]) -> str:
    """Write fields so that equal ones are equal texts. In Python, `True` equals 1."""
    return json.dumps({name: value for name, value in fields.items() if value}, sort_keys=True)


def _tool_uses(interaction: StoredInteraction) -> Iterator[str]:
    """Yield the name of each tool, and its data with their numbers, in an order that no service changes."""
    for tool in interaction.tools_used:
        yield str(tool.get("tool_name", ""))
        yield from sorted(tool_texts(tool.get("tool_data")))


def interactions_said(stored: RequestWithInteractions) -> list[str]:
    """Return a digest of what each interaction says."""
    return [interaction_digest(interaction) for interaction in stored.interactions]


def content_of(copied: Copied) -> Content:
    if model := LEARNING_MODELS.get(copied.kind):
        return learning_of(model.model_validate_json(copied.content))
    return RequestWithInteractions.model_validate_json(copied.content)
