"""From a finding to the call that acts on it, with its exact arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION, SOURCE_PATTERN
from reflexio_mcp.traffic.reading.filters import UNSEEN, WHOLE_SESSIONS, TrafficFilter
from reflexio_mcp.traffic.rules.found import Found, Next
from reflexio_mcp.traffic.rules.secrets import secret_in_name
from reflexio_mcp.traffic.times import iso

__all__ = ["Offer", "go_on_call", "look_at", "look_first", "next_call"]

ALL_IDS_CHARS: Final = 800
"""Room for ids in one call's arguments, where no filter can select the finding."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools that the caller has, and whether `user_id` is one of their arguments."""

    tools: frozenset[str]
    takes_user: bool = True


def next_call(
    found: Found, wanted: TrafficFilter, first: int, offer: Offer, *, whole: bool = True
) -> Next | None:
    """The call to make about a finding: it selects exactly as many of its units as it says.

    Args:
        first: the oldest second that was looked at.
        whole: whether its rule looked at everything that `wanted` selects; else the call names ids and no filter.

    Returns:
        `None` where no offered tool can help.
    """
    one = found.rule
    window = _window(wanted, offer)
    if one.id in WHOLE_SESSIONS:
        window.pop("end_time", None)
        # A deletion refuses a filter without a user, session, source, version or time.
        window.setdefault("start_time", iso(first))
    deletes = one.remedy == "delete"
    if whole and one.selects and not wanted.contains and not wanted.finding:
        arguments = window | {"finding": one.id}
        if deletes and "delete_requests" in offer.tools:
            return Next("delete_requests", arguments, found.count)
        if not (deletes and offer.tools & _DELETIONS) and (
            following := _listed(offer, arguments, found.count)
        ):
            return following
    if one.unit == "learning":
        return _forgotten(found, offer)
    subjects = [subject for subject in found.subjects if _sayable(subject)]
    if deletes and subjects and (following := _deleted(found, subjects, wanted, offer, window)):
        return following
    return _look(found, subjects, wanted, offer, window)


def look_first(following: Next | None, offer: Offer) -> Next | None:
    """The call that shows what a deletion takes, so that the person sees it before the plan; `None` for other calls."""
    if following is None or not following.tool.startswith("delete_"):
        return None
    chosen = dict(following.arguments)
    if (ids := chosen.get("request_ids")) or "request_id" in chosen:
        one = {"request_id": ids[0] if ids else chosen["request_id"], "detail": "masked"}
        return Next("get_request", one, 1) if "get_request" in offer.tools else None
    if ids := chosen.pop("learning_ids", None):
        return Next("list_learnings", chosen, len(ids)) if "list_learnings" in offer.tools else None
    return _listed(offer, chosen, following.selects)


def look_at(request_ids: Sequence[str], offer: Offer) -> Next | None:
    """The call that shows the first of some requests that a call can name; `None` where none can."""
    ids = [one for one in request_ids if _sayable(one)]
    if not ids or "get_request" not in offer.tools:
        return None
    return Next("get_request", {"request_id": ids[0], "detail": "masked"}, 1)


def go_on_call(cursor: str, offer: Offer) -> Next | None:
    """The audit of what an audit has left out, from its cursor on."""
    return Next("audit_traffic", {"cursor": cursor}, 0) if "audit_traffic" in offer.tools else None


_DELETIONS: Final = frozenset({"delete_request", "delete_session"})


def _deleted(
    found: Found, subjects: list[str], wanted: TrafficFilter, offer: Offer, window: dict[str, Any]
) -> Next | None:
    if found.rule.unit == "request":
        if "delete_requests" in offer.tools:
            ids = _fitting(subjects)
            return Next("delete_requests", {"request_ids": ids}, len(ids)) if ids else None
        if "delete_request" in offer.tools:
            return Next("delete_request", {"request_id": subjects[0]}, 1)
    if (
        found.rule.unit == "session"
        and "delete_requests" in offer.tools
        and (chosen := _fitting_parts(found))
    ):
        return Next("delete_requests", {"request_ids": [one for ids in chosen for one in ids]}, len(chosen))
    # Where a part of it goes, or it may have older requests than were seen, it does not go as a whole.
    alone = [
        one for one in subjects if one not in found.parts or (found.parts[one][1] and wanted.start is None)
    ]
    if found.rule.unit == "session" and "delete_session" in offer.tools and alone:
        user = {"user_id": window["user_id"]} if "user_id" in window else {}
        return Next("delete_session", user | {"session_id": alone[0]}, 1)
    return None


def _fitting_parts(found: Found) -> list[Sequence[str]]:
    """The ids of the requests that go of the first sessions for which a call has room."""
    chosen: list[Sequence[str]] = []
    for ids, _ in found.parts.values():
        together = [one for part in (*chosen, ids) for one in part]
        if len(_fitting(together)) < len(together) or not all(map(_sayable, ids)):
            break
        chosen.append(ids)
    return chosen


def _forgotten(found: Found, offer: Offer) -> Next | None:
    ids = _fitting([subject for subject in found.subjects[: found.owned] if _sayable(subject)])
    if "delete_learnings" not in offer.tools or not ids or not _sayable(found.owner):
        return None
    user = {"user_id": found.owner} if offer.takes_user else {}
    return Next("delete_learnings", user | {"learning_ids": ids}, len(ids))


def _look(
    found: Found, subjects: list[str], wanted: TrafficFilter, offer: Offer, window: dict[str, Any]
) -> Next | None:
    if found.rule.unit in ("source", "user", "version"):
        subjects = [one for one in subjects if not secret_in_name(one)]
    if found.rule.unit == "source":
        # There is no filter for what has no source.
        named = next((one for one in subjects if SOURCE_PATTERN.fullmatch(one)), "")
        if not named:
            return None
        only = {"agent_version": DEFAULT_AGENT_VERSION} if found.rule.id == "unversioned" else {}
        return _listed(offer, window | {"source": named} | only, 1)
    if found.rule.unit in ("user", "version"):
        name = "user_id" if found.rule.unit == "user" else "agent_version"
        if not subjects or (name == "user_id" and not offer.takes_user):
            return None
        return _listed(offer, window | {name: subjects[0]}, 1)
    group = found.group
    if group and any(map(secret_in_name, (group.user_id, group.source, group.agent_version))):
        group = None
    if group and not wanted.contains and not wanted.finding:
        caller = {"user_id": group.user_id} if offer.takes_user else {}
        caller |= {"source": group.source, "agent_version": group.agent_version}
        times = {"start_time": iso(group.start), "end_time": iso(group.end)}
        if following := _listed(offer, window | caller | times, group.count):
            return following
    if found.rule.unit == "period":
        return _listed(offer, window, 1, first="list_sessions")
    alone = found.rule.unit == "session" and subjects and not wanted.contains and not wanted.finding
    if alone and (following := _listed(offer, window | {"session_id": subjects[0]}, 1)):
        return following
    ids = [one.request_id for one in found.examples if _sayable(one.request_id)]
    if ids and "get_request" in offer.tools:
        return Next("get_request", {"request_id": ids[0], "detail": "masked"}, 1)
    if found.rule.id == "split-conversation" and _sayable(session := found.examples[0].session_id):
        # Each of these sessions has one request.
        return _listed(offer, window | {"session_id": session}, 1)
    return None


def _listed(
    offer: Offer, arguments: dict[str, Any], selects: int, *, first: str = "list_requests"
) -> Next | None:
    for tool in (first, "list_requests", "list_sessions"):
        if tool in offer.tools:
            hidden = {"detail": "masked"} if arguments.get("finding") == UNSEEN else {}
            return Next(tool, arguments | hidden, selects)
    return None


def _sayable(name: str) -> bool:
    """Whether a call's argument can be exactly this: blanks around it are stripped, invisible letters are shown."""
    return bool(name) and name.isprintable() and name == name.strip()


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
        "finding": wanted.finding,
    }
    return {name: value for name, value in given.items() if value}


def _fitting(ids: list[str]) -> list[str]:
    chosen: list[str] = []
    room = ALL_IDS_CHARS
    for one in ids:
        room -= len(one) + 4
        if room < 0:
            break
        chosen.append(one)
    return chosen
