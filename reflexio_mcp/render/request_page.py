"""One request in full, a part at a time where it is long."""

import re
from typing import Any, Final, Required

from reflexio_mcp.render.masking import masked_turn, masked_turn_text
from reflexio_mcp.render.publishing import learning_words
from reflexio_mcp.render.requests import RequestFacts, request_facts, request_head, turn_facts, turn_text
from reflexio_mcp.render.result import BUDGET, Facts, Rendered, Unlisted, indented
from reflexio_mcp.render.stored_text import NOTICE, beginning, fence, shown_id
from reflexio_mcp.rest.models import LearningStatus, RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.times import iso

__all__ = ["RequestPageFacts", "inspected"]

SIDE_CHARS: Final = 2_000
"""Characters of what stands beside the content: descriptions, tool data, expert and shadow content."""

SAME_SECONDS: Final = 60
"""A turn's own time is shown from so many seconds before or after the arrival of its request on."""

_PLACE = re.compile(r"(\d{1,4})(?:\.(\d{1,7}))?")


def _place(text: str, turns: int) -> tuple[int, int]:
    if not text:
        return 0, 0
    match = _PLACE.fullmatch(text)
    if not match or int(match[1]) >= max(turns, 1):
        raise InvalidInput("cursor", "is not one that this request gave; start again without it.")
    return int(match[1]), int(match[2] or 0)


def _time_of_its_own(turn: StoredInteraction, arrived: int) -> Facts:
    """When a turn was said, where whoever published it gave a time that is not the one of its arrival."""
    apart = turn.created_at and abs(turn.created_at - arrived) > SAME_SECONDS
    return {"created_at": iso(turn.created_at)} if apart else {}


class RequestPageFacts(RequestFacts, total=False):
    """One request with its interactions; the tool answers with rows of them, which `tabled` makes."""

    notice: Unlisted[str]
    columns: Unlisted[dict[str, list[str]]]
    session_id: Required[str]
    interactions: Required[list[Any]]
    learning_status: Required[str]
    learning_reason: Unlisted[str]
    cursor: str
    not_all_because: Unlisted[str]


def inspected(
    item: RequestWithInteractions,
    learning: LearningStatus | None,
    cursor: str = "",
    budget: int = BUDGET,
    *,
    masked: Fingerprints | None = None,
) -> Rendered:
    """A request with its interactions and the state of its learning.

    Args:
        item: the request.
        learning: where its learning stands, if the service knows.
        cursor: the interaction to start with and the character of its content, as `3` or `3.8000`.
        budget: characters of text at the most.
        masked: shows who spoke and how much instead of what was said, with fingerprints of this kind.

    Raises:
        InvalidInput: the cursor does not belong to this request.
    """
    turns = item.interactions
    index, offset = _place(cursor, len(turns))
    facts = request_facts(item, full=False, masked=masked)
    facts.pop("first_words", None)
    head = request_head(facts)
    session = shown_id(item.request.session_id)
    room = budget - len(head) - len(session)
    shown: list[Facts] = []
    lines: list[str] = []
    following = ""
    while index < len(turns):
        most = max(room, 200)
        at = _time_of_its_own(turns[index], item.request.created_at)
        if masked:
            turn = masked_turn(turns[index]) | at
            text = masked_turn_text(turn)
        else:
            turn = turn_facts(turns[index], most, offset)
            # The content may take all the room; what stands beside it has its own, smaller bound.
            beside = turn_facts(turns[index], SIDE_CHARS)
            turn |= {key: value for key, value in beside.items() if not key.startswith("content")} | at
            text = turn_text(turn)
        if shown and len(text) > room:
            following = str(index)
            break
        shown.append(turn)
        lines.append(indented(text))
        room -= len(text) + (40 if masked else 0)
        end = offset + beginning(turns[index].content, most, offset)[1]
        if not masked and len(turns[index].content) > end:
            following = f"{index}.{end}"
            break
        index, offset = index + 1, 0
    state, reason, told = learning_words(
        learning.status if learning else "unknown",
        (learning.reason if learning else None) or "",
        evaluation_only=item.request.evaluation_only,
    )
    structured: RequestPageFacts = {
        "notice": NOTICE,
        "session_id": session,
        **facts,
        "learning_status": state,
        "interactions": shown,
    }
    if reason:
        structured["learning_reason"] = reason
    text = "\n".join([fence("\n".join([f"session {session}", head, *lines])), told])
    if following:
        last = f"a part of turn {index + 1}" if "." in following else f"turn {index}"
        why = f"Shown to {last} of {len(turns):,}: an answer has room for about {budget:,} characters."
        structured["cursor"], structured["not_all_because"] = following, why
        text += f"\n{why} Call again with cursor={following}"
    return Rendered(text, structured)
