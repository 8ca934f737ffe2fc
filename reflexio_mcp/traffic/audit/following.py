"""From a finding to the call that acts on it, with its exact arguments."""

from dataclasses import dataclass
from typing import Any, Final

from reflexio_mcp.rest.limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.traffic.audit.findings import Found, Next
from reflexio_mcp.traffic.filters import TrafficFilter
from reflexio_mcp.traffic.reach import Reach
from reflexio_mcp.traffic.times import iso

__all__ = ["Offer", "next_call"]

ID_CHARS: Final = 800
"""Room for ids in one call's arguments, where no filter can select the finding."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the caller can call: the names of the tools, and whether `user_id` is one of their arguments."""

    tools: frozenset[str]
    takes_user: bool = True


def next_call(found: Found, wanted: TrafficFilter, offer: Offer, reach: Reach) -> Next | None:
    """The call to make about a finding; `None` where no offered tool can help."""
    one = found.rule
    deletes = one.remedy == "delete" and "delete_requests" in offer.tools
    window = _window(wanted, offer)
    if one.selects and not wanted.contains:
        arguments = window | {"contains": f"rule:{one.id}"}
        if deletes:
            return Next("delete_requests", arguments, found.count)
        return _listed(offer, arguments, found.count)
    if one.unit == "request" and deletes:
        ids = _fitting(found.subjects)
        return Next("delete_requests", {"request_ids": ids}, len(ids)) if ids else None
    return _look(found, wanted, offer, window)


def _look(found: Found, wanted: TrafficFilter, offer: Offer, window: dict[str, Any]) -> Next | None:
    match found.rule.id:
        case "volatile-source":
            return _listed(offer, window | {"source": found.subjects[0]}, 1)
        case "unversioned":
            source = {"source": found.subjects[0]} if found.subjects[0] else {}
            return _listed(offer, window | source | {"agent_version": DEFAULT_AGENT_VERSION}, 1)
        case "split-conversation":
            first = found.examples[0]
            user = {"user_id": first.user_id} if offer.takes_user else {}
            source = {"source": first.source} if first.source else {}
            tool = "list_sessions" if "list_sessions" in offer.tools else ""
            covers = sum(one.user_id == first.user_id for one in found.examples)
            arguments = window | user | source | {"detail": "masked"}
            return (
                Next(tool, arguments, found.count if covers == len(found.examples) else covers)
                if tool
                else None
            )
        case "many-sources":
            return (
                Next("list_sessions", window | {"detail": "masked"}, 1)
                if "list_sessions" in offer.tools
                else None
            )
        case _:
            if not found.examples or "get_request" not in offer.tools:
                return None
            return Next("get_request", {"request_id": found.examples[0].request_id, "detail": "masked"}, 1)


def _listed(offer: Offer, arguments: dict[str, Any], selects: int) -> Next | None:
    if "list_requests" not in offer.tools:
        return None
    return Next("list_requests", arguments | {"detail": "masked"}, selects)


def _window(wanted: TrafficFilter, offer: Offer) -> dict[str, Any]:
    # The audit's own window and not the finding's: what is a copy depends on what came before it.
    given: dict[str, Any] = {
        "user_id": wanted.user_id if offer.takes_user else "",
        "session_id": wanted.session_id,
        "source": wanted.source,
        "agent_version": wanted.agent_version,
        "start_time": iso(wanted.start) if wanted.start is not None else "",
        "end_time": iso(wanted.end) if wanted.end is not None else "",
        "contains": wanted.contains,
    }
    return {name: value for name, value in given.items() if value}


def _fitting(ids: list[str]) -> list[str]:
    chosen: list[str] = []
    room = ID_CHARS
    for one in ids:
        room -= len(one) + 4
        if room < 0:
            break
        chosen.append(one)
    return chosen
