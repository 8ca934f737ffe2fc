"""Rows as Reflexio's API returns them, and what the package makes of them."""

from typing import Any

from reflexio_mcp.rest.models import StoredInteraction, StoredRequest, UserPlaybook, UserProfile
from reflexio_mcp.traffic.learnings.evidence import Turn, Turns
from reflexio_mcp.traffic.learnings.records import Learning, learning_of

PREFIX = "Original source evidence values (separate excerpts):\n"
SEPARATOR = "\n\n--- Separate source evidence value ---\n\n"

Row = dict[str, Any]


def interactions(*said: str | Row) -> dict[int, Row]:
    """Interactions with the ids 1, 2, …"""
    rows = ({"content": one} if isinstance(one, str) else one for one in said)
    return {number: {"interaction_id": number, **row} for number, row in enumerate(rows, 1)}


def turns_of(rows: dict[int, Row], *, missing_are_gone: bool = True) -> Turns:
    """Each interaction in a request of its own: `r1`, `r2`, …"""
    return Turns(
        {
            number: Turn(
                StoredRequest(request_id=f"r{number}", session_id=f"s{number}", user_id="ada"),
                1,
                StoredInteraction.model_validate(row),
            )
            for number, row in rows.items()
        },
        missing_are_gone=missing_are_gone,
    )


def merged(*quotes: str) -> str:
    """The quote of a profile that was merged of profiles with these quotes."""
    different = list(dict.fromkeys(quotes))
    return different[0] if len(different) == 1 else PREFIX + SEPARATOR.join(different)


def profile(
    name: str,
    ids: list[int],
    quote: str | None,
    *,
    status: str | None = None,
    at: int = 0,
    run: str = "",
    content: str = "",
) -> Row:
    return {
        "profile_id": name,
        "user_id": "ada",
        "content": content or name,
        "source_interaction_ids": ids,
        "source_span": quote,
        "status": status,
        "last_modified_timestamp": at,
        "generated_from_request_id": run or name,
    }


def playbook(number: int, ids: list[int], quote: str | None, *, status: str | None = None) -> Row:
    return {
        "user_playbook_id": number,
        "user_id": "ada",
        "content": f"playbook {number}",
        "source_interaction_ids": ids,
        "source_span": quote,
        "status": status,
        "created_at": 0,
        "request_id": "r",
    }


def learned(row: Row) -> Learning:
    model = UserProfile if "profile_id" in row else UserPlaybook
    return learning_of(model.model_validate(row))
