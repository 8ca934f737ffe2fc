"""What `contains` and `finding` select, and which part of a request has the words of `contains`."""

from collections.abc import Iterator, Sequence
from typing import cast

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.results.reading import Matched
from reflexio_mcp.traffic.audit.rules import FINDINGS, RULES, select
from reflexio_mcp.traffic.audit.rules.content import PersonalData, PlantedInstructions, Secret
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.words import Words, words_of

__all__ = ["FINDINGS", "check_search", "judges_alone", "matched", "search"]

MASKED = (
    "is not offered here: this server hides what is stored, and words that are found would tell it. "
    "Use finding or the other filters."
)
NO_FILTER_TELLS = "cannot be {finding}: no filter selects it. audit_traffic gives the call for what it finds."

Items = Sequence[RequestWithInteractions]


def check_search(contains: str, finding: str, *, masked: bool = False) -> None:
    """Refuse what cannot be looked for, before anything is read.

    Args:
        masked: the caller must not learn what is stored, so words must not be tried out either.

    Raises:
        InvalidInput: an unknown finding, no word, or words under the mask.
    """
    if contains and masked:
        raise InvalidInput("contains", MASKED)
    if contains and not words_of(contains):
        raise InvalidInput("contains", "has no word in it.")
    if finding and finding not in FINDINGS:
        if any(finding in rule.names() for rule in RULES):
            raise InvalidInput("finding", NO_FILTER_TELLS.format(finding=finding))
        raise InvalidInput("finding", f"must be one of {', '.join(FINDINGS)}.")


def search(contains: str, finding: str, items: Items) -> Items:
    """Those of a session's requests, newest first, that show `finding` and have the words of `contains`."""
    if finding:
        items = select(finding, items)
    if not contains:
        return items
    words = words_of(contains)
    return [item for item in items if words.are_in(_texts(item), _ids(item).values())]


def judges_alone(finding: str) -> bool:
    """Whether each request shows by itself if it is found, without the others of its session."""
    return not finding or any(finding in rule.names() for rule in (Secret, PlantedInstructions, PersonalData))


def matched(item: RequestWithInteractions, words: Words) -> tuple[Matched, int | None]:
    """The part of a request that has one of the words, and the interaction if it is in a text."""
    for index, turn in enumerate(item.interactions):
        if any(words.place_in(text) is not None for text in texts_of(turn)):
            return "text", index
    for turn in item.interactions:
        if any(words.place_in(text) is not None for text in _tool_texts(turn)):
            return "tool data", None
        if words.place_in(turn.interacted_image_url) is not None:
            return "image address", None
    for name, value in _ids(item).items():
        if words.any_in_id(value):
            return name, None
    return "text", None  # in letters that are written in another way


def _ids(item: RequestWithInteractions) -> dict[Matched, str]:
    request = item.request
    return {
        "request_id": request.request_id,
        "session_id": request.session_id,
        "user_id": request.user_id,
    }


def _texts(item: RequestWithInteractions) -> Iterator[str]:
    for turn in item.interactions:
        yield from filter(None, (*texts_of(turn), turn.interacted_image_url))
        yield from _tool_texts(turn)


def _tool_texts(turn: StoredInteraction) -> Iterator[str]:
    # A stack of its own: what a tool was given may be nested deeper than Python calls.
    left: list[object] = [*turn.tools_used, *turn.retrieved_learnings]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left.extend(cast("dict[object, object]", one).keys())
            left.extend(cast("dict[object, object]", one).values())
        elif isinstance(one, list):
            left.extend(cast("list[object]", one))
        elif one is not None:
            yield str(one)
