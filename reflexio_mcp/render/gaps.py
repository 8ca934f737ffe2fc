"""What the service could not return, in words: a list or a plan that left it out must say so."""

from collections.abc import Sequence
from typing import Final

from reflexio_mcp.render.result import GapFacts, dense
from reflexio_mcp.traffic.reading.gaps import Gap
from reflexio_mcp.traffic.times import iso

__all__ = ["gap_facts", "gap_lines"]

NAMED: Final = 5

REST: Final = (
    "list_requests with the session_id shows what else such a session holds. delete_request deletes a request "
    "that cannot be shown, when you know its id."
)


def gap_facts(gaps: Sequence[Gap]) -> GapFacts:
    """The gaps as facts; none when there are none."""
    if not gaps:
        return {}
    first = [
        dense({"from": _time(one.first), "to": _time(one.last), "session": one.session or None})
        for one in gaps[:NAMED]
    ]
    return {"unreadable": first, "unreadable_count": len(gaps), "unreadable_next": REST}


def gap_lines(gaps: Sequence[Gap]) -> list[str]:
    """The gaps as sentences, with what to do about them."""
    if not gaps:
        return []
    lines = [f"Not all of it could be read: Reflexio fails to return {_what(one)}." for one in gaps[:NAMED]]
    if len(gaps) > NAMED:
        lines.append(f"There are {len(gaps) - NAMED:,} more such gaps.")
    return [*lines, REST]


def _what(gap: Gap) -> str:
    what = "a session whose newest request arrived" if gap.session else "what arrived"
    match _time(gap.first), _time(gap.last):
        case None, None:
            return f"{what} at a time that is not known"
        case None, last:
            return f"{what} by {last}"
        case first, None:
            return f"{what} at {first} or later"
        case first, last:
            return f"{what} from {first} to {last}"


def _time(second: int | None) -> str | None:
    return None if second is None else iso(second)
