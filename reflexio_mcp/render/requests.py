"""One stored request, in brief or with its interactions."""

from collections.abc import Mapping
from typing import Any, Final, Required, TypedDict, cast

from reflexio_mcp.render.masking import as_name, masked_request, masked_words
from reflexio_mcp.render.result import Facts, Unlisted, compact_json, counted, dense, indented, joined
from reflexio_mcp.render.stored_text import beginning, clip, hanging, shown_id, shown_name, visible
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import Fingerprints, first_words, texts_of
from reflexio_mcp.traffic.reading.words import Words
from reflexio_mcp.traffic.times import iso

__all__ = [
    "RequestFacts",
    "found_beside",
    "found_in",
    "has_all_turns",
    "request_facts",
    "request_head",
    "request_text",
    "turn_facts",
    "turn_text",
]

EXCERPT_CHARS: Final = 400
"""Characters of one content in `detail="full"`."""

FOUND_BEFORE: Final = 25
FOUND_BEHIND: Final = 45
"""Characters before and behind a word that was looked for, where it is shown."""

FOUND_WITHIN: Final = 2_000
"""How far into a text one is shown. Secrets are covered further on too, so that none is shown in part."""


def turn_facts(turn: StoredInteraction, chars: int, offset: int = 0) -> Facts:
    """One interaction; contents cut to `chars`, `content` from `offset` on."""
    shown, used = beginning(turn.content, chars, offset)
    return dense(
        {
            "interaction_id": turn.interaction_id,
            "role": shown_name(turn.role),
            "content": shown,
            "content_chars": len(turn.content) if used < len(turn.content) else None,
            "content_from": offset or None,
            "user_action": shown_name(turn.user_action) if turn.user_action != "none" else "",
            "user_action_description": clip(turn.user_action_description, chars),
            "interacted_image_url": shown_name(turn.interacted_image_url, chars),
            "shadow_content": clip(turn.shadow_content, chars),
            "expert_content": clip(turn.expert_content, chars),
            "tools_used": [clip(compact_json(used), chars) for used in turn.tools_used],
            "retrieved_learnings": [clip(compact_json(used), chars) for used in turn.retrieved_learnings],
        }
    )


def turn_text(facts: Mapping[str, Any]) -> str:
    content = facts.get("content", "")
    if "content_chars" in facts:
        content += f"… [{facts['content_chars']:,} characters"
        content += f", from {facts['content_from']:,}]" if "content_from" in facts else "]"
    head = joined((f"{facts['interaction_id']} {facts.get('role', 'User')}", facts.get("created_at", "")))
    lines = [f"{head}: {hanging(content)}".rstrip()]
    for key, value in facts.items():
        if key not in ("interaction_id", "role", "created_at", "content", "content_chars", "content_from"):
            many = cast("list[object]", value) if isinstance(value, list) else [cast("object", value)]
            lines += [f"  {key}: {hanging(str(one))}" for one in many]
    return "\n".join(lines)


class RequestFacts(TypedDict, total=False):
    """One stored request. Masked, a fingerprint, its size and its roles stand for its words."""

    request_id: Required[str]
    user_id: Unlisted[str]
    created_at: Unlisted[str]
    source: Unlisted[str]
    agent_version: Unlisted[str]
    evaluation_only: Unlisted[bool]
    retrieval_experiment_id: Unlisted[str]
    retrieval_experiment_arm: Unlisted[str]
    interaction_count: Unlisted[int]
    first_words: Unlisted[str]
    found: Unlisted[str]
    found_in: Unlisted[str]
    fingerprint: Unlisted[str]
    chars: Unlisted[int]
    roles: Unlisted[list[str]]


class ListedRequestFacts(RequestFacts, total=False):
    """One stored request in a list."""

    interactions: list[Facts]


def request_facts(
    item: RequestWithInteractions, *, full: bool, masked: Fingerprints | None = None
) -> ListedRequestFacts:
    """One request; `full` brings its interactions, else only its first words; `masked`, where given, neither,
    but a fingerprint made by it."""
    request = item.request
    named = as_name if masked else str
    experiment, arm = request.retrieval_experiment_id, request.retrieval_experiment_arm
    facts: ListedRequestFacts = dense(
        {
            "request_id": shown_id(request.request_id),
            "user_id": shown_id(request.user_id),
            "created_at": iso(request.created_at),
            "source": shown_name(request.source),
            "agent_version": shown_name(named(request.agent_version)),
            "evaluation_only": request.evaluation_only,
            "retrieval_experiment_id": shown_name(named(experiment)) if experiment else "",
            "retrieval_experiment_arm": shown_name(named(arm)) if arm else "",
            "interaction_count": len(item.interactions),
            "first_words": "" if full or masked else visible(first_words(item)),
            "interactions": [turn_facts(turn, EXCERPT_CHARS) for turn in item.interactions]
            if full and not masked
            else [],
        }
    )
    return {**facts, **dense(masked_request(item, masked))} if masked else facts


def found_in(item: RequestWithInteractions, words: Words) -> tuple[int, str] | None:
    """Where words that were looked for are shown, because the first words of the request have none of them.

    Returns:
        The turn's place among those of the request, and the words around the first one that was looked for.
    """
    if words.place_in(first_words(item)) is not None:
        return None
    for index, turn in enumerate(item.interactions):
        for text in texts_of(turn):
            place = words.place_in(text[:FOUND_WITHIN])
            if place is not None:
                begin, end = max(0, place - FOUND_BEFORE), min(FOUND_WITHIN, place + FOUND_BEHIND)
                before = text[begin:place].partition(" ")[2] if begin else text[:place]
                around = " ".join((before + text[place:end]).split())
                return index, visible(f"{'…' * (begin > 0)}{around}{'…' * (end < len(text))}")
    return None


def found_beside(item: RequestWithInteractions, words: Words, *, has_all: bool) -> str:
    """In what else words that were looked for are, where neither the first words nor `found_in` show them.

    Args:
        has_all: the words themselves stand there, in a tool or in letters written otherwise; only an id is named then.
    """
    request = item.request
    place = words.id_with((request.request_id, request.session_id, request.user_id))
    if place is not None:
        return ("its id", "the session's id", "the user's id")[place]
    return "" if has_all else "a part that get_request shows"


def has_all_turns(facts: Mapping[str, Any], item: RequestWithInteractions) -> bool:
    """Whether the facts of a request have all its turns, with nothing in them cut."""
    longer = [turn_facts(turn, 2 * EXCERPT_CHARS) for turn in item.interactions]
    return facts.get("interactions", []) == longer


def request_head(facts: Mapping[str, Any]) -> str:
    return joined(
        (
            facts["request_id"],
            f"user {facts['user_id']}" if "user_id" in facts else "",
            facts["created_at"],
            f"source {facts['source']}" if "source" in facts else "",
            f"agent {facts['agent_version']}" if "agent_version" in facts else "",
            "evaluation only" if "evaluation_only" in facts else "",
            f"experiment {facts['retrieval_experiment_id']}" if "retrieval_experiment_id" in facts else "",
            f"arm {facts['retrieval_experiment_arm']}" if "retrieval_experiment_arm" in facts else "",
            counted(facts["interaction_count"], "interaction") if "interaction_count" in facts else "",
            f"roles {', '.join(facts['roles'])}" if "roles" in facts else "",
            masked_words(dict(facts)),
        )
    )


def request_text(facts: Mapping[str, Any]) -> str:
    words = f"“{facts['first_words']}”" if "first_words" in facts else ""
    if "found" in facts:
        words = joined((words, f"found “{facts['found']}”"))
    if "found_in" in facts:
        words = joined((words, f"found in {facts['found_in']}"))
    turns = [indented(turn_text(turn)) for turn in facts.get("interactions", [])]
    return "\n".join([joined((request_head(facts), words)), *turns])
